"""A click: levels against a plain search, segments on a scene whose answer is known, what changes."""

import dataclasses
import itertools
import time

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from click_scene import (
    BACKGROUND,
    BLUE,
    CAMERA,
    PLACES,
    RED,
    RED_LID,
    SUPPORT,
    UNSEEN,
    decomposed_scene,
    disks,
    frames,
    labels_of,
)
from scipy.spatial import cKDTree

from instascene_core.camera import PinholeCamera
from instascene_core.config import ClickConfig
from instascene_core.errors import InputError, NotReadyError
from instascene_core.features import click_pixel, make_surface, reference
from instascene_core.features.click import find_near_ray
from instascene_core.features.segments import compute_levels, enclose, find_stable_thresholds
from instascene_core.frame import UNLABELLED
from instascene_core.rendering import rasterize, trace
from instascene_core.rendering.library import ISA_VARIABLE, runnable_instruction_sets
from instascene_core.scene import Scene
from instascene_core.scene.label_images import label_images

CONFIG = ClickConfig()


@pytest.fixture(scope="module")
def shared():
    """A scene that no test changes."""
    return decomposed_scene()


@pytest.fixture
def fresh():
    return decomposed_scene()


def pixel_of(view, point) -> tuple[int, int]:
    """(column, row) of a world point."""
    pose = view.camera_from_world
    pixel, _ = view.camera.project(np.asarray(point, float) @ pose[:3, :3].T + pose[:3, 3])
    return int(pixel[0]), int(pixel[1])


def top_of(owner: int) -> np.ndarray:
    return np.array([*PLACES[owner], 0.1])


def pretend_completed(scene: Scene, number: int) -> None:
    """As if the instance had been completed: what it is does not matter here."""
    objects = {**scene.objects, number: object()}
    scene.state = dataclasses.replace(scene.state, objects=objects)


def share(found: np.ndarray, truth: np.ndarray) -> float:
    """IoU of indices [K] and a mask [N]."""
    chosen = np.zeros(len(truth), dtype=bool)
    chosen[found] = True
    return (chosen & truth).sum() / (chosen | truth).sum()


def images_rendered_anew(scene) -> dict[str, np.ndarray]:
    """Frame name → [H, W] int32: the label images of all frames from the labels of the Gaussians."""
    labels = scene.instances.gaussian_labels
    return label_images(scene.posed_frames, scene.gaussians, labels, scene.config.pixel_labels)


# --- levels ---


def widest_paths(seed: int, values: np.ndarray, edges: set[tuple[int, int]]) -> np.ndarray:
    """By definition: for every threshold, what a search reaches; the highest one counts."""
    best = np.full(len(values), -np.inf)
    for threshold in sorted(set(values.tolist())):
        reached, front = {seed}, [seed]
        while front:
            here = front.pop()
            for a, b in edges:
                for one, other in ((a, b), (b, a)):
                    if one == here and other not in reached and values[other] >= threshold:
                        reached.add(other)
                        front.append(other)
        best[list(reached)] = threshold
    return best


@pytest.mark.parametrize("seed", range(5))
def test_levels_are_the_widest_paths(seed):
    rng = np.random.default_rng(seed)
    count = 40
    values = np.round(rng.uniform(-0.2, 1, count), 1).astype(np.float32)  # with many ties
    edges = {(int(min(e)), int(max(e))) for e in rng.integers(0, count, (55, 2)) if e[0] != e[1]}
    a, b = np.array(sorted(edges)).T
    graph = sp.csr_matrix((np.ones(len(a)), (a, b)), (count, count))
    graph = (graph + graph.T).tocsr()
    start = int(rng.integers(count))
    levels = compute_levels(start, values, graph, floor=0.2)
    expected = widest_paths(start, values, edges)
    for node in range(count):
        if node == start:
            assert levels[node] >= 1.0
        elif expected[node] >= np.float32(0.2):
            assert levels[node] == pytest.approx(expected[node], abs=1e-6)
        else:
            assert levels[node] == -np.inf


def random_surface(seed: int, count: int = 400) -> tuple[sp.csr_matrix, np.random.Generator]:
    """Neighbours of random points in a square, both ways."""
    rng = np.random.default_rng(seed)
    pairs = cKDTree(rng.uniform(size=(count, 2))).query_pairs(0.08, output_type="ndarray")
    half = sp.csr_matrix((np.ones(len(pairs), np.float32), pairs.T), (count, count))
    return (half + half.T).tocsr(), rng


@pytest.mark.parametrize("instructions", runnable_instruction_sets())
@pytest.mark.parametrize("seed", range(3))
def test_the_kernel_answers_as_the_reference_does(monkeypatch, seed, instructions):
    monkeypatch.setenv(ISA_VARIABLE, instructions)
    graph, rng = random_surface(seed)
    values = rng.uniform(-0.2, 1, 400).astype(np.float32)
    levels = compute_levels(7, values, graph, 0.3)
    np.testing.assert_array_equal(levels, reference.compute_levels(7, values, graph, 0.3))
    assert 5 < np.isfinite(levels).sum() < 400
    allowed = rng.uniform(size=400) < 0.9
    for threshold in (0.4, 0.6):
        inner = enclose(values >= threshold, allowed, graph, 3)
        np.testing.assert_array_equal(inner, reference.enclose(values >= threshold, allowed, graph, 3))
        assert inner.sum() > (values >= threshold).sum()


def test_stable_thresholds_by_hand():
    """40 at 0.95, 60 more at 0.6, one at 0.55, 300 more at 0.3: three plateaus, the odd one is none."""
    levels = np.repeat([0.95, 0.6, 0.55, 0.3, -np.inf], [40, 60, 1, 300, 50]).astype(np.float32)
    found = find_stable_thresholds(levels, 0.2, CONFIG)
    assert len(found) == 3
    assert 0.6 < found[0] <= 0.95 and 0.3 < found[1] <= 0.6 and 0.2 <= found[2] <= 0.3
    assert find_stable_thresholds(np.full(10, -np.inf, np.float32), 0.2, CONFIG) == []


def test_coarser_groups_come_from_features_in_between():
    """Two boxes whose features are half alike: one at τ, both when coarser."""
    scene, owner = decomposed_scene()
    red, blue = np.isin(owner, (RED, RED_LID)), owner == BLUE
    features = scene.gaussians.features.numpy()
    mean = features[red].mean(axis=0)
    mean /= np.linalg.norm(mean)
    features[blue] += 0.8 * mean
    features[blue] /= np.linalg.norm(features[blue], axis=1, keepdims=True)
    # Neighbours on the surface: what is far apart is never one.
    apart = scene.segment_at(point=top_of(RED), preview=True)
    assert apart.sizes[-1] == red.sum()
    means = scene.gaussians.means.numpy()
    means[blue] -= (0.09, 0, 0)
    scene.restore(scene.gaussians, scene.posed_frames, scene.instances)
    selection = scene.segment_at(point=top_of(RED), level=1, preview=True)
    assert share(selection.gaussians, red | blue) > 0.9
    at_tau = scene.segment_at(point=top_of(RED), preview=True)
    assert at_tau.instance.id == RED and share(at_tau.gaussians, red) == 1.0
    assert at_tau.sizes[at_tau.index] < at_tau.sizes[at_tau.index + 1]


# --- a click on a known scene ---


def test_a_pixel_is_traced_alone_as_the_whole_image_shows_it(shared):
    scene, owner = shared
    view, labels, surface = scene.posed_frames[2], labels_of(owner), scene.surface()
    whole = rasterize(scene.gaussians, view.camera, view.world_from_camera, colors=scene.gaussians.features)
    pixels = [(80, 60), (40, 70), (100, 90), (0, 0), (159, 119)]
    covered = [(column, row) for column, row in pixels if whole.alpha[row, column] >= 0.6]
    assert len(covered) >= 3
    for column, row in covered:
        click = click_pixel(
            surface, scene.gaussians, view.camera, view.world_from_camera, (column, row), labels, CONFIG
        )
        expected = whole.color[row, column].numpy()
        expected /= np.linalg.norm(expected)
        assert click.feature @ expected > 0.9999
        along = (view.camera_from_world @ np.r_[click.point, 1])[2]
        assert along == pytest.approx(float(whole.median_depth[row, column]), rel=0.01)
        assert click.label == scene.instances.label_images[view.name][row, column]


def test_tracing_only_what_is_near_the_ray_leaves_nothing_out(shared):
    scene, _ = shared
    model, rng, radii = scene.gaussians, np.random.default_rng(0), scene.surface().radii
    for view in scene.posed_frames[:3]:
        for column, row in zip(rng.integers(160, size=30), rng.integers(120, size=30)):
            one = PinholeCamera(1, 1, CAMERA.fx, CAMERA.fy, CAMERA.cx - column, CAMERA.cy - row)
            near = find_near_ray(model.means.numpy(), radii, one, view.world_from_camera)
            all_ = trace(model, one, view.world_from_camera)
            few = trace(model.select(torch.from_numpy(near)), one, view.world_from_camera)
            np.testing.assert_array_equal(near[few.indices], all_.indices)
            np.testing.assert_array_equal(few.weights, all_.weights)
            assert len(near) < len(model) / 4


def test_a_pixel_or_a_point_on_a_known_object_gives_it(shared):
    scene, owner = shared
    view = scene.posed_frames[0]
    for selection in (
        scene.segment_at(view.name, pixel_of(view, top_of(BLUE))),
        scene.segment_at(point=top_of(BLUE) * 1.02),
    ):
        assert selection.instance is scene.instances[BLUE] and not selection.created
        assert share(selection.gaussians, owner == BLUE) == 1.0 and selection.notes == ()
        np.testing.assert_allclose(selection.point, top_of(BLUE), atol=0.02)


def test_the_table_is_the_support(shared):
    scene, _ = shared
    selection = scene.segment_at(point=np.array([-0.2, -0.2, 0.0]))
    assert selection.instance.id == SUPPORT and not selection.created


def test_what_no_mask_covered_is_grown_and_becomes_an_instance(fresh):
    scene, owner = fresh
    pretend_completed(scene, BLUE)  # stays: blue is not touched
    view = scene.posed_frames[0]
    selection = scene.segment_at(view.name, pixel_of(view, top_of(UNSEEN)))
    assert selection.created and selection.instance.id == 5 and selection.instance.kind == "object"
    assert share(selection.gaussians, owner == UNSEEN) == 1.0
    assert "No mask was ever seen here" in selection.notes[0]
    instance = scene.instances[5]
    assert instance.num_gaussians == (scene.instances.gaussian_labels == 5).sum()
    assert 0 < instance.confidence <= 1 and instance.num_views == 0
    np.testing.assert_allclose(instance.box_max - instance.box_min, 0.1, atol=0.011)
    wall = scene.instances[BACKGROUND]
    assert wall.num_gaussians == (scene.instances.gaussian_labels == BACKGROUND).sum()
    assert wall.box_min[2] > 0.01 and list(scene.objects) == [BLUE]
    # A second click, from another side, knows it.
    again = scene.segment_at(point=top_of(UNSEEN))
    assert again.instance.id == 5 and not again.created
    # The images tell the same as if all had been rendered anew.
    anew = images_rendered_anew(scene)
    assert set(scene.instances.label_images) == set(anew)
    for name, image in anew.items():  # but for borders, judged by what the rectangle around the change shows
        assert (scene.instances.label_images[name] != image).mean() < 0.003
    assert any((image == 5).sum() > 100 for image in anew.values())


def test_a_click_on_large_frames_with_normals():
    """What changes is rendered anew on a rectangle of each view, whatever the view carries."""
    scene, owner = decomposed_scene(CAMERA.scaled(2.5), with_normals=True)
    selection = scene.segment_at(point=top_of(UNSEEN))
    assert selection.created and share(selection.gaussians, owner == UNSEEN) == 1.0
    anew = images_rendered_anew(scene)
    for name, image in anew.items():
        assert image.shape == (300, 400) and (scene.instances.label_images[name] != image).mean() < 0.003


def test_a_preview_changes_nothing(shared):
    scene, _ = shared
    before = scene.instances
    selection = scene.segment_at(point=top_of(UNSEEN), preview=True)
    assert selection.created and selection.instance.id == 5
    assert scene.instances is before


def test_parts_of_one_feature_are_cut_by_colour_and_said_to_be(fresh):
    scene, owner = fresh
    selection = scene.segment_at(point=top_of(RED), level=-1)
    assert selection.created and selection.instance.id == 5
    # The outermost of its ten rows see both colours and stay with the body.
    assert (owner[selection.gaussians] == RED_LID).all() and len(selection.gaussians) >= 60
    assert any("cut at creases and steps of colour" in note for note in selection.notes)
    body = scene.instances[RED]
    assert body.num_gaussians == (scene.instances.gaussian_labels == RED).sum() < (owner <= RED_LID).sum()


def test_a_threshold_grows_and_shrinks(shared):
    """Falling thresholds give nested segments."""
    scene, owner = shared
    found = [
        scene.segment_at(point=top_of(RED), threshold=t, preview=True).gaussians
        for t in (0.99, 0.9, 0.7, 0.5)
    ]
    assert all(set(a) <= set(b) for a, b in itertools.pairwise(found))
    assert len(found[0]) < len(found[-1])
    assert share(found[1], np.isin(owner, (RED, RED_LID))) > 0.9


def test_resizing_a_known_instance_keeps_its_id_and_ends_its_mesh(fresh):
    scene, owner = fresh
    half = np.flatnonzero(owner == BLUE)[::2]
    labels = scene.instances.gaussian_labels.copy()
    labels[half[: len(half) // 2]] = UNLABELLED
    known = scene.state.decomposition
    instances = dataclasses.replace(scene.instances, gaussian_labels=labels)
    scene.state = dataclasses.replace(scene.state, decomposition=known.with_instances(instances))
    pretend_completed(scene, BLUE)
    selection = scene.segment_at(point=top_of(BLUE), threshold=0.8)
    assert selection.instance.id == BLUE and not selection.created
    assert share(selection.gaussians, owner == BLUE) > 0.9
    assert scene.instances[BLUE].num_gaussians == len(selection.gaussians)
    assert scene.objects == {}


def test_ids_are_never_given_twice(fresh):
    scene, _ = fresh
    assert scene.segment_at(point=top_of(UNSEEN)).instance.id == 5
    scene.remove(5)
    assert [i.id for i in scene.instances.instances] == [RED, BLUE, SUPPORT, BACKGROUND]
    assert scene.segment_at(point=top_of(RED), level=-1).instance.id == 6


# --- taken away ---


def test_a_removed_object_leaves_and_the_table_under_it_is_covered(fresh):
    scene, owner = fresh
    # A real scene has no disks under a box.
    feet = np.array(list(PLACES.values()))
    means = scene.gaussians.means.numpy()
    bare = (owner == SUPPORT) & (np.abs(means[:, None, :2] - feet).max(-1) < 0.06).any(1)
    keep = torch.from_numpy(np.flatnonzero(~bare))
    kept = scene.instances.gaussian_labels[keep.numpy()]
    views = scene.posed_frames
    scene.restore(
        scene.gaussians.select(keep), views, dataclasses.replace(scene.instances, gaussian_labels=kept)
    )
    pretend_completed(scene, RED)
    result = scene.remove(RED)
    assert result.removed == np.isin(owner, (RED, RED_LID)).sum() and result.filled > 80
    assert "covered by" in result.notes[0]
    assert scene.objects == {} and RED not in [i.id for i in scene.instances.instances]
    labels = scene.instances.gaussian_labels
    assert len(labels) == len(scene.gaussians) and not (labels == RED).any()
    new = scene.gaussians.select(torch.arange(len(labels) - result.filled, len(labels)))
    assert np.abs(new.means.numpy()[:, 2]).max() < 0.002
    np.testing.assert_allclose(new.base_colors.numpy(), [[0.5, 0.4, 0.3]] * len(new), atol=0.02)
    np.testing.assert_allclose(np.abs(new.normals.numpy()[:, 2]), 1, atol=1e-4)
    # Where the box stood the table now shows, and is labelled so.
    view = views[0]
    column, row = pixel_of(view, (*PLACES[RED], 0.0))
    shown = rasterize(scene.gaussians, view.camera, view.world_from_camera)
    assert shown.alpha[row, column] > 0.9
    np.testing.assert_allclose(shown.color[row, column], [0.5, 0.4, 0.3], atol=0.05)
    assert scene.instances.label_images[view.name][row, column] == SUPPORT
    # Its pixels do not count any more.
    frame = scene.frames[0]
    column, row = pixel_of(view, top_of(RED))
    assert not frame.valid[row, column] and frame.depth[row, column] == 0 and frame.valid.mean() > 0.7
    assert views[0].valid is None  # the caller's frame is as it was


@pytest.mark.parametrize("number", [SUPPORT, BACKGROUND, 77])
def test_only_objects_can_be_taken_away(shared, number):
    with pytest.raises(InputError, match=f"nstance {number}"):
        shared[0].remove(number)


# --- refused ---


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"pixel": (160, 5)}, "outside the image of 160×120"),
        ({"pixel": (5, -1)}, "outside the image"),
        ({"frame": "view99", "pixel": (5, 5)}, "no frame 'view99'"),
        ({"point": np.array([0.0, 0.0, 2.0])}, "1.741 m from the nearest surface"),
        ({"point": np.array([0.0, np.nan, 2.0])}, "NaN"),
        ({}, "either a pixel"),
        ({"pixel": (80, 60), "point": np.zeros(3)}, "either a pixel"),
        ({"point": np.array([0.1, 0, 0.1]), "threshold": 1.5}, "between 0 and 1"),
        ({"point": np.array([0.1, 0, 0.1]), "level": 9}, "no level 9"),
    ],
)
def test_bad_requests_are_one_sentence(shared, request_, words):
    with pytest.raises(InputError, match=words) as caught:
        shared[0].segment_at(**request_)
    assert "\n" not in str(caught.value)


def test_a_pixel_where_nothing_is(shared):
    scene, _ = shared
    model = scene.gaussians
    faint = dataclasses.replace(model, logit_opacities=torch.full_like(model.logit_opacities, -6.0))
    with pytest.raises(InputError, match="Nothing is reconstructed at pixel"):
        click_pixel(
            scene.surface(),
            faint,
            CAMERA,
            scene.frames[0].world_from_camera,
            (80, 60),
            scene.instances.gaussian_labels,
            CONFIG,
        )


def test_nothing_to_click_on_yet():
    with pytest.raises(NotReadyError, match="There is no reconstruction yet"):
        Scene().segment_at(point=np.zeros(3))


def test_features_that_are_not_finite_are_refused():
    model, _ = disks()
    model.features[7, 3] = float("nan")
    with pytest.raises(InputError, match="1 Gaussians contain NaN"):
        make_surface(model, frames(model, 2), CONFIG)
    with pytest.raises(InputError, match="no instance features yet"):
        make_surface(dataclasses.replace(model, features=None), [], CONFIG)


def test_same_click_same_answer(shared):
    scene, _ = shared
    first = scene.segment_at(point=top_of(UNSEEN), preview=True)
    other, _ = decomposed_scene()
    again = other.segment_at(point=top_of(UNSEEN), preview=True)
    np.testing.assert_array_equal(first.gaussians, again.gaussians)
    assert first.thresholds == again.thresholds and first.sizes == again.sizes


@pytest.mark.slow
def test_a_click_is_answered_within_a_tenth_of_a_second(shared):
    scene, _ = shared
    scene.surface()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        scene.segment_at(point=top_of(UNSEEN), preview=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1

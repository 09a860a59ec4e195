"""Completion of known bodies on a table, from ray-traced depth and labels."""

import re
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from completion_scene import bowl, mug, orbit, render, table_mesh, volume_iou

from instascene_core.completion import complete, make_prior, observe
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import (
    ConvexPartsConfig,
    ExplanationsConfig,
    ObservingConfig,
    RevolutionConfig,
    SurfaceAdoptionConfig,
)
from instascene_core.errors import Cancelled, InputError
from instascene_core.frame import UNLABELLED
from instascene_core.geometry import Plane
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.depth_maps import edge_keeping_normals
from instascene_core.ownership.by_surface import adopt_surface, surroundings

TABLE_PLANE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)
BOX, CAN, MUG, BOWL = 2, 3, 4, 5
FAST = CompletionConfig(
    observing=ObservingConfig(max_voxels=150_000),
    convex_parts=ConvexPartsConfig(max_triangles=250, aim=1.0),
)
COARSE = CompletionConfig(
    observing=ObservingConfig(max_voxels=60_000),
    explanations=ExplanationsConfig(revolution=RevolutionConfig(max_thin_voxels=150_000)),
    convex_parts=ConvexPartsConfig(max_parts=1),
)


def bodies() -> list[trimesh.Trimesh]:
    box = trimesh.creation.box((0.12, 0.06, 0.1))
    box.apply_transform(trimesh.transformations.rotation_matrix(0.4, (0, 0, 1)))
    box.apply_translation((0.1, 0, 0.05))
    can = trimesh.creation.cylinder(0.033, 0.11, sections=64)
    can.apply_translation((0.0, 0.08, 0.055))
    cup, dish = mug(), bowl()
    cup.apply_translation((-0.1, 0.0, 0))
    dish.apply_translation((0.0, -0.12, 0))
    return [table_mesh(), box, can, cup, dish]


@pytest.fixture(scope="module")
def around():
    """24 noisy views from all sides, labels bleeding by a pixel."""
    return render(bodies(), orbit(24, (25, 45, 60)), noise=0.002, bleed=1)


@pytest.fixture(scope="module")
def from_one_side():
    return render(bodies(), orbit(10, (30, 50), (0, 150)), noise=0.002, bleed=1)


@pytest.fixture(scope="module")
def completed(around):
    """`completed(label)` → the object seen from all sides, made once."""
    results = {}

    def get(label):
        if label not in results:
            results[label] = complete(around, label, TABLE_PLANE, FAST)
        return results[label]

    return get


def refused(sentence):
    """Expects an InputError that starts with this sentence."""
    return pytest.raises(InputError, match="^" + re.escape(sentence))


def check_sound(result, support=TABLE_PLANE):
    """What must hold of every completed object."""
    mesh = meshes.to_trimesh(result.mesh)
    assert result.watertight
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    assert mesh.body_count == 1
    assert result.volume == pytest.approx(mesh.volume, rel=1e-6)
    assert len(result.mesh.triangles) <= CompletionConfig().meshing.max_triangles
    count = len(result.mesh.vertices)
    assert result.colors.shape == (count, 3)
    assert result.observed.shape == result.vertex_uncertainty.shape == (count,)
    assert result.observed.min() >= 0
    assert result.observed.max() <= 1
    assert (result.vertex_uncertainty > 0).all()
    assert 1 <= len(result.convex_parts) <= CompletionConfig().convex_parts.max_parts
    if support is not None:
        assert support.height(result.mesh.vertices).min() > -0.0003


@pytest.mark.parametrize(
    ("label", "least", "mean", "worst"),
    [
        (BOX, 0.98, 0.00021, 0.00055),
        (CAN, 0.98, 0.0002, 0.00053),
        (MUG, 0.84, 0.0005, 0.00185),
        (BOWL, 0.86, 0.00021, 0.0008),
    ],
)
def test_bodies_seen_from_all_sides(completed, label, least, mean, worst):
    """least: IoU; mean, worst (of 95 %): metres between observed vertices and the true surface."""
    result = completed(label)
    check_sound(result)
    truth = bodies()[label - 1]
    assert volume_iou(meshes.to_trimesh(result.mesh), truth) > least
    observed = result.observed > 0.5
    error = meshes.distance(meshes.from_trimesh(truth), result.mesh.vertices)
    assert error[observed].mean() < mean
    assert np.percentile(error[observed], 95) < worst
    assert result.observed_fraction > 0.8


def test_a_bowl_and_a_mug_stay_hollow(completed):
    for label, inside in ((BOWL, [0.0, -0.12, 0.04]), (MUG, [-0.1, 0.0, 0.06])):
        result = completed(label)
        assert meshes.signed_distance(result.mesh, np.array([inside]))[0] > 0.032


@pytest.mark.parametrize(("label", "seen"), [(BOX, 0.59), (CAN, 0.70)])
def test_half_seen_bodies_are_filled_and_marked(from_one_side, label, seen):
    result = complete(from_one_side, label, TABLE_PLANE, FAST)
    check_sound(result)
    truth = bodies()[label - 1]
    assert volume_iou(meshes.to_trimesh(result.mesh), truth) > 0.975
    assert result.observed_fraction == pytest.approx(seen, rel=0.1)
    error = meshes.distance(meshes.from_trimesh(truth), result.mesh.vertices)
    # What faces down was never seen.
    lifted = result.mesh.vertices * [1, 1, 0] + [0, 0, 0.05]
    far_from_sides = meshes.signed_distance(meshes.from_trimesh(truth), lifted) < -0.012
    bottom = far_from_sides & (result.mesh.vertices[:, 2] < 0.003)
    assert bottom.sum() >= 40
    assert result.observed[bottom].max() < 0.02
    generated = result.observed < 0.5
    assert error[generated].mean() < 0.00028  # a plain body's hidden side may be righter than its seen one
    assert result.vertex_uncertainty[generated].mean() > 1.65 * result.vertex_uncertainty[~generated].mean()


def test_pose_and_dimensions_of_the_turned_box(completed):
    result = completed(BOX)
    np.testing.assert_allclose(result.dimensions, [0.12, 0.06, 0.1], rtol=0.06)
    np.testing.assert_allclose(result.world_from_object[:3, 3], [0.1, 0, 0], atol=0.004)
    np.testing.assert_allclose(result.world_from_object[:3, 2], [0, 0, 1], atol=1e-6)
    x = result.world_from_object[:3, 0]
    assert abs(x @ [np.cos(0.4), np.sin(0.4), 0]) > np.cos(np.deg2rad(4))


def test_colours_come_from_the_object(completed):
    result = completed(CAN)
    off = np.abs(result.colors.astype(int) - [60, 80, 200]).max(axis=1)
    assert (off < 3).mean() > 0.98  # the label bleeds onto the table a little


def test_print_on_flat_faces_stays_sharp():
    """A box with 10 mm checks: vertices in the middle of a check have its colour, not the mean."""
    box = trimesh.creation.box((0.1, 0.08, 0.06))
    box.apply_translation((0, 0, 0.03))
    frames = render([table_mesh(), box], orbit(12, (35, 55)), noise=0.001)

    def check(points):  # [..., 3] → [...]: 0 or 1
        return np.floor(points / 0.01 + 0.5).astype(int).sum(axis=-1) % 2

    printed = []
    for frame in frames:
        local = frame.camera.back_project(frame.depth)
        world = local @ frame.world_from_camera[:3, :3].T + frame.world_from_camera[:3, 3]
        color = np.where(check(world)[..., None] > 0, [230, 230, 230], [20, 40, 90]).astype(np.uint8)
        printed.append(frame.with_(rgb=np.where((frame.labels == BOX)[..., None], color, frame.rgb)))
    result = complete(printed, BOX, TABLE_PLANE, FAST)
    points = result.mesh.vertices
    top = points[:, 2] > 0.059
    phase = np.abs((points / 0.01 + 0.5) % 1 - 0.5)[:, :2].max(axis=1)  # 0 in the middle of a check
    middle = top & (phase < 0.25) & (np.abs(points[:, :2]) < [0.045, 0.035]).all(axis=1)
    assert middle.sum() > 340
    expected = np.where(check(points[middle] * [1, 1, 0] + [0, 0, 0.06]) > 0, 230, 20)
    assert np.median(np.abs(result.colors[middle, 0] - expected)) < 3.4
    assert (np.abs(result.colors[middle, 0] - expected) < 60).mean() > 0.99


def test_ragged_labels_do_not_shrink_a_box():
    """A rim of three pixels (7 mm) of the box has no label."""
    import cv2

    box, other = trimesh.creation.box((0.1, 0.08, 0.06)), trimesh.creation.box((0.05, 0.08, 0.05))
    box.apply_translation((0, 0, 0.03))
    other.apply_translation((0.077, 0, 0.025))  # two millimetres beside it
    frames = render([table_mesh(), box, other], orbit(16, (25, 50)), noise=0.001)
    ragged = []
    for frame in frames:
        mask = (frame.labels == BOX).astype(np.uint8)
        labels = frame.labels.copy()
        labels[(mask > 0) & (cv2.erode(mask, np.ones((7, 7), np.uint8)) == 0)] = UNLABELLED
        ragged.append(frame.with_(labels=labels))
    whole = complete(frames, BOX, TABLE_PLANE, FAST)
    result = complete(ragged, BOX, TABLE_PLANE, FAST)
    check_sound(result)
    assert volume_iou(meshes.to_trimesh(result.mesh), box) > 0.965
    assert result.volume == pytest.approx(whole.volume, rel=0.032)


def test_only_surface_that_goes_on_is_adopted():
    box = trimesh.creation.box((0.1, 0.08, 0.06))
    box.apply_translation((0, 0, 0.03))
    frame = render([table_mesh(), box], orbit(1, (45,)))[0]
    mask = frame.labels == BOX
    rows = np.flatnonzero(mask.any(axis=1))
    labels = frame.labels.copy()
    labels[rows[0] : rows[0] + 2][mask[rows[0] : rows[0] + 2]] = UNLABELLED  # the far rim of the top
    labels[frame.labels == 1] = UNLABELLED  # the table has no label either
    near = surroundings(labels == BOX, SurfaceAdoptionConfig())
    normals = edge_keeping_normals(frame.depth, frame.camera, near)
    adopted = adopt_surface(frame.with_(labels=labels), BOX, TABLE_PLANE, normals, SurfaceAdoptionConfig())
    assert (adopted[mask] == BOX).all()
    assert not ((adopted == BOX) & ~mask).any()
    # Without a plane to tell the table, it is still not the continuation of the box's upright sides.
    adopted = adopt_surface(frame.with_(labels=labels), BOX, None, normals, SurfaceAdoptionConfig())
    assert ((adopted == BOX) & ~mask).sum() < 0.046 * mask.sum()


def test_it_does_not_enter_a_touching_neighbour():
    left = trimesh.creation.box((0.06, 0.06, 0.08))
    left.apply_translation((-0.03, 0, 0.04))
    right = trimesh.creation.box((0.06, 0.1, 0.12))
    right.apply_translation((0.03, 0, 0.06))
    frames = render([table_mesh(), left, right], orbit(24, (25, 50)), noise=0.001, bleed=1)
    result = complete(frames, 2, TABLE_PLANE, FAST)
    check_sound(result)
    assert result.mesh.vertices[:, 0].max() < 0
    assert volume_iou(meshes.to_trimesh(result.mesh), left) > 0.96


def test_a_body_on_another_ends_where_that_begins():
    below = trimesh.creation.box((0.16, 0.16, 0.06))
    below.apply_translation((0, 0, 0.03))
    above = trimesh.creation.box((0.06, 0.06, 0.06))
    above.apply_translation((0, 0, 0.09))
    frames = render([table_mesh(), below, above], orbit(24, (25, 50)), noise=0.001, bleed=1)
    result = complete(frames, 3, TABLE_PLANE, FAST)
    check_sound(result)
    assert result.mesh.vertices[:, 2].min() > 0.0594
    assert volume_iou(meshes.to_trimesh(result.mesh), above) > 0.975


def test_floaters_and_wrong_labels_are_outvoted():
    frames = render(bodies(), orbit(24, (25, 45, 60)), noise=0.001)
    rng = np.random.default_rng(0)
    spoiled = []
    for index, frame in enumerate(frames):
        depth, labels = frame.depth.copy(), frame.labels.copy()
        pixels = rng.integers(0, depth.size, 150)  # floaters between camera and scene
        depth.ravel()[pixels] = depth.ravel()[pixels] * rng.uniform(0.6, 0.95, 150).astype(np.float32)
        labels.ravel()[pixels] = CAN
        if index % 4 == 0:  # every fourth mask takes the box along
            labels[labels == BOX] = CAN
        spoiled.append(frame.with_(depth=depth, labels=labels))
    result = complete(spoiled, CAN, TABLE_PLANE, FAST)
    check_sound(result)
    assert volume_iou(meshes.to_trimesh(result.mesh), bodies()[CAN - 1]) > 0.98


def test_without_support_and_gravity_there_is_a_closed_result_and_a_note(around):
    result = complete(around, CAN, None, FAST)
    check_sound(result, support=None)
    assert any("up is estimated" in note for note in result.notes)
    assert volume_iou(meshes.to_trimesh(result.mesh), bodies()[CAN - 1]) > 0.965


def test_scale_does_not_matter():
    """A scene from RGB only has an arbitrary scale: the bowl, once in metres, once 20 times as large."""
    results = []
    for scale in (1.0, 20.0):
        scaled = [mesh.copy().apply_scale(scale) for mesh in bodies()]
        poses = orbit(12, (25, 45, 60), distance=0.7 * scale, target=(0, 0, 0.04 * scale))
        results.append(complete(render(scaled, poses), BOWL, TABLE_PLANE, COARSE))
    small, large = results
    assert large.watertight and large.prior == small.prior
    np.testing.assert_allclose(large.dimensions, 20 * small.dimensions, rtol=0.0036)
    back = meshes.distance(small.mesh, large.mesh.vertices / 20)
    assert np.quantile(back, 0.95) < 0.00035
    assert large.observed_fraction == pytest.approx(small.observed_fraction, rel=0.002)


def test_a_single_view_gives_less_confidence_but_a_closed_mesh(completed):
    frames = render(bodies(), orbit(1, (40,)), noise=0.001)
    result = complete(frames, CAN, TABLE_PLANE, FAST)
    check_sound(result)
    assert result.confidence < 0.8 < 0.9 < completed(CAN).confidence
    assert any("1 view" in note for note in result.notes)


def test_the_same_input_gives_the_same_mesh(around):
    first, again = (complete(around, CAN, TABLE_PLANE, COARSE) for _ in range(2))
    np.testing.assert_array_equal(first.mesh.vertices, again.mesh.vertices)
    np.testing.assert_array_equal(first.mesh.triangles, again.mesh.triangles)


def test_samples_differ_from_each_other_and_the_first_is_the_mesh(from_one_side):
    config = replace(COARSE, candidates=False)
    one = complete(from_one_side, CAN, TABLE_PLANE, config)
    several = complete(from_one_side, CAN, TABLE_PLANE, config, num_samples=4, seed=3)
    np.testing.assert_array_equal(several.mesh.vertices, one.mesh.vertices)
    assert len(several.hypotheses) == 3
    samples = [several.mesh, *several.hypotheses]
    for index, sample in enumerate(samples):
        for other in samples[:index]:
            apart = np.abs(meshes.signed_distance(other, sample.vertices))
            assert np.quantile(apart, 0.99) > 0.00028


def test_samples_of_the_prior_are_distinct_and_seeded(from_one_side):
    observation = observe(from_one_side, CAN, TABLE_PLANE, None, COARSE)
    prior = make_prior("carving")
    fields = prior.predict(observation, 3, seed=1).fields
    assert fields.shape[0] == 3
    assert len({int((field < 0).sum()) for field in fields}) == 3
    np.testing.assert_array_equal(fields, prior.predict(observation, 3, seed=1).fields)
    assert (fields[1] != prior.predict(observation, 3, seed=2).fields[1]).any()


def test_observation_knows_free_space_neighbours_and_noise(around):
    observation = observe(around, CAN, TABLE_PLANE, np.array([0, 0, 1.0]), FAST)
    centers = observation.grid.centers()
    can = bodies()[CAN - 1]
    distance = meshes.signed_distance(meshes.from_trimesh(can), centers)
    assert observation.free[(distance > 0.01) & (centers[..., 2] > 0.005)].all()
    assert not observation.free[distance < -0.003].any()
    assert observation.noise == pytest.approx(0.002 * 0.7**2, rel=0.1)  # 2 mm at 1 m, seen from 0.7 m
    assert observation.num_views == 24
    np.testing.assert_allclose(observation.grid.world_from_grid[:3, 2], [0, 0, 1], atol=1e-9)
    assert observation.trust.max() == 1.0


def test_too_little_evidence_is_one_sentence(around):
    with refused("No depth was measured on instance 99, so it cannot be completed."):
        complete(around, 99, TABLE_PLANE)
    speck = []
    for frame in around:
        labels = np.where(frame.labels == CAN, -1, frame.labels).astype(np.int32)
        speck.append(frame.with_(labels=labels))
    labels = speck[0].labels.copy()
    rows, columns = np.nonzero(around[0].labels == CAN)
    labels[rows[:3], columns[:3]] = CAN
    speck[0] = speck[0].with_(labels=labels)
    with refused("Instance 3 has only 3 confirmed surface points (40 are needed)"):
        complete(speck, CAN, TABLE_PLANE)


def test_frames_without_depth_or_labels_are_refused(around):
    sentence = "Completion needs frames with depth and labels, and there are none."
    with refused(sentence):
        complete([frame.with_(depth=None) for frame in around], CAN, TABLE_PLANE)
    with refused(sentence):
        complete([], CAN, TABLE_PLANE)


def test_bad_requests_are_refused(around):
    priors = "carving, learned, multiview, zero123plus, queue"
    with refused(f"Unknown completion prior 'oracle'; known are {priors}."):
        complete(around, CAN, TABLE_PLANE, CompletionConfig(prior="oracle"))
    with refused("The up direction must be three finite numbers, not all zero; got [0. 0. 0.]."):
        complete(around, CAN, TABLE_PLANE, up=np.zeros(3))
    with refused("The setting 'num_samples' must be at least 1, not 0."):
        complete(around, CAN, TABLE_PLANE, num_samples=0)
    with refused("The setting 'num_samples' must be at most 1000, not 5000."):  # all are in memory at once
        complete(around, CAN, TABLE_PLANE, num_samples=5000)
    with refused("The setting 'seed' must be at least 0, not -1."):
        complete(around, CAN, TABLE_PLANE, seed=-1)


def test_a_wrong_support_plane_is_not_believed(around):
    result = complete(around, CAN, Plane(np.array([0.0, 0.0, 1.0]), 0.3), FAST)
    assert any("not used" in note for note in result.notes)
    assert volume_iou(meshes.to_trimesh(result.mesh), bodies()[CAN - 1]) > 0.965


def test_a_cup_seen_from_above_is_hollow_to_its_floor():
    """Only half-way down its inside is in view; the wall's thickness tells how to go on."""
    cup = mug()
    frames = render([table_mesh(), cup], orbit(16, (32, 42)), noise=0.001)
    result = complete(frames, 2, TABLE_PLANE, FAST)
    check_sound(result)
    assert meshes.signed_distance(result.mesh, np.array([[0.0, 0.0, 0.012]]))[0] > 0.0073
    assert meshes.signed_distance(result.mesh, np.array([[0.0, 0.0, 0.002]]))[0] < -0.0014
    assert volume_iou(meshes.to_trimesh(result.mesh), cup) > 0.82


def test_a_bowl_is_as_thick_below_as_its_wall_and_what_lies_in_it_is_no_lid():
    dish, ball = bowl(), trimesh.creation.icosphere(subdivisions=3, radius=0.03)
    ball.apply_translation((0.01, 0, 0.055))  # rises above the middle of the bowl
    frames = render([table_mesh(), dish, ball], orbit(20, (25, 45, 65)), noise=0.001)
    result = complete(frames, BOX, TABLE_PLANE, FAST)
    check_sound(result)
    assert volume_iou(meshes.to_trimesh(result.mesh), dish) > 0.82
    assert result.volume < 1.13 * dish.volume


def test_progress_is_reported_and_can_cancel(around):
    seen = []
    complete(around, CAN, TABLE_PLANE, FAST, progress=lambda stage, part, message: seen.append(part))
    assert seen == sorted(seen)
    assert seen[0] == 0.0
    assert seen[-1] == 1.0

    def stop(stage, part, message):
        if part > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        complete(around, CAN, TABLE_PLANE, FAST, progress=stop)

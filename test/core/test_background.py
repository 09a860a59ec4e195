"""Planes behind removed objects: seen head on, painted, and covered."""

import dataclasses

import numpy as np
import pytest
import torch
from click_scene import BACKGROUND, CAMERA, COLORS, PLACES, RED, SUPPORT, decomposed_scene
from tiny_checkpoints import write_inpainting

from instascene_core.config import Config, RemovalConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry import Plane
from instascene_core.geometry import mesh as meshes
from instascene_core.pipelines import NO_LICENCE, licence_of
from instascene_core.rendering import rasterize
from instascene_core.scene import Scene
from instascene_core.scene.background.bare import bare_support, slab
from instascene_core.scene.background.filling import Hidden
from instascene_core.scene.background.head_on import HeadOn, main_direction, plane_axes
from instascene_core.scene.background.painters import DiffusersPainter, PropagationPainter, make_painter
from instascene_core.scene.label_images import label_images
from instascene_core.transforms import look_at

TILTED = Plane(np.array([0.6, 0.0, 0.8]), 0.5)


# --- head on ---


def test_pixels_of_the_image_of_a_plane_are_places_on_it():
    axes = plane_axes(TILTED)
    corners = np.array([[0, 0], [0.3, 0.2]]) @ axes[:, :2].T + 0.5 * TILTED.normal
    view = HeadOn.over(TILTED, axes, corners, margin=0.1, pixel=0.01, max_side=500)
    assert (view.camera.width, view.camera.height) == (50, 40) and view.pixel == 0.01
    places = view.places
    np.testing.assert_allclose(TILTED.height(places), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(np.diff(places, axis=1), axis=-1), 0.01)
    row, column, inside = view.pixels_of(places.reshape(-1, 3))
    assert inside.all() and np.array_equal(row * 50 + column, np.arange(2000))
    local = (places.reshape(-1, 3) - view.world_from_camera[:3, 3]) @ view.world_from_camera[:3, :3]
    pixels, z = view.camera.project(local)
    np.testing.assert_allclose(pixels, np.stack([column + 0.5, row + 0.5], axis=1), atol=1e-6)
    assert np.linalg.det(view.world_from_camera[:3, :3]) == pytest.approx(1) and (z > 0).all()
    assert HeadOn.over(TILTED, axes, corners, 0.1, 0.01, max_side=25).pixel == pytest.approx(0.02)


@pytest.mark.parametrize("degrees", [0, 30, 90, 150])
def test_the_main_direction_is_that_of_stripes(degrees):
    v, u = np.mgrid[40:0:-1, 0:60]  # up, right
    across = -np.sin(np.deg2rad(degrees)) * u + np.cos(np.deg2rad(degrees)) * v
    image = np.repeat(0.5 + 0.4 * np.sin(across / 2)[..., None], 3, axis=2)
    off = np.rad2deg(main_direction(image, np.ones((40, 60), dtype=bool))) - degrees
    assert abs((off + 90) % 180 - 90) < 2


# --- propagation ---


def hole(shape=(30, 40)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[10:20, 12:28] = True
    return mask


def test_a_gradient_goes_on_through_a_hole_and_the_rest_stays():
    v, u = np.mgrid[0:30, 0:40] / 50
    image, wanted = np.stack([u, v, 0.5 * (u + v)], axis=-1), hole()
    blank = np.where(wanted[..., None], 0, image)
    painted = PropagationPainter().paint(blank, ~wanted, wanted)
    np.testing.assert_allclose(painted, image, atol=1e-3)
    np.testing.assert_array_equal(painted[~wanted], image[~wanted])


def test_stripes_go_on_along_themselves():
    stripes = np.where(np.arange(30) % 6 < 3, 0.2, 0.8)
    image, wanted = np.broadcast_to(stripes[:, None, None], (30, 40, 3)).copy(), hole()
    painted = PropagationPainter().paint(np.where(wanted[..., None], 0, image), ~wanted, wanted)
    assert np.abs(painted - image)[wanted].mean() < 0.1  # their mean would be 0.3 off


def test_where_nothing_known_is_near_the_mean_is_painted():
    image, wanted, known = np.full((30, 40, 3), 0.7), np.ones((30, 40), dtype=bool), ~hole()
    known[:] = False
    known[0, 0] = True
    wanted[:2, :2] = False
    painted = PropagationPainter().paint(np.where(known[..., None], image, 0), known, wanted)
    np.testing.assert_allclose(painted[wanted], 0.7, atol=1e-6)


# --- a pipeline ---


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inpainting") / "tiny"
    write_inpainting(folder)
    (folder / "README.md").write_text(
        "---\ntags:\n- art\nlicense: openrail\n---\n# Tiny\nlicense: none of these\n"
    )
    return folder


def test_a_pipeline_paints_the_hole_and_nothing_else(pipeline):
    config = RemovalConfig(painter="diffusers", checkpoint=str(pipeline), steps=2, image_side=64)
    painter = make_painter(config)
    assert painter.name == "tiny (openrail)"
    image, wanted = np.random.default_rng(0).uniform(size=(30, 40, 3)), hole()
    painted = painter.paint(image, ~wanted, wanted)
    np.testing.assert_array_equal(painted[~wanted], image[~wanted])
    assert painted[wanted].std() > 0.01 and painted.min() >= 0 and painted.max() <= 1
    np.testing.assert_array_equal(painted, painter.paint(image, ~wanted, wanted))
    other = DiffusersPainter(pipeline, dataclasses.replace(config, seed=1)).paint(image, ~wanted, wanted)
    assert not np.array_equal(painted, other)


@pytest.mark.parametrize("damage", ["", "absent", "pickle", "text"])
def test_what_is_no_pipeline_is_refused_in_one_sentence(pipeline, tmp_path, damage):
    folder = tmp_path / "copy"
    if damage in ("pickle", "text"):
        write_inpainting(folder)
        weights = next((folder / "unet").glob("*.safetensors"))
        if damage == "pickle":  # only weights that could run code
            weights.rename(folder / "unet" / "diffusion_pytorch_model.bin")
        else:
            weights.write_text("no weights")
    with pytest.raises(InputError) as caught:
        make_painter(RemovalConfig(painter="diffusers", checkpoint=str(folder) if damage else ""))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert ("removal.checkpoint" in str(caught.value)) == (damage in ("", "absent"))


def test_licences_are_read_from_the_head_of_a_card(tmp_path):
    assert licence_of(tmp_path) == NO_LICENCE
    for text, licence in (
        ("---\nlicense: cc-by-nc-4.0\n---\n", "cc-by-nc-4.0"), ("---\nlicense: 'mit'\n---\n", "mit"),
        ("# card\nlicense: mit\n", NO_LICENCE), ("---\ntags: x\n---\nlicense: mit\n---\n", NO_LICENCE),
    ):  # fmt: skip
        (tmp_path / "README.md").write_text(text)
        assert licence_of(tmp_path) == licence


# --- what an object hides ---


def test_hidden_is_what_only_the_object_hides():
    scene, _ = decomposed_scene()
    known = scene.state.require_decomposition()
    hidden = Hidden(RED, known.views, known.instances.label_images, [2], 0.002)
    under_red, under_blue, beside, far = (*PLACES[RED], 0), (*PLACES[2], 0), (-0.1, -0.15, 0), (0, 5, 0)
    found = hidden.at(np.array([under_red, under_blue, beside, far], dtype=float), RemovalConfig())
    assert found.tolist() == [True, False, True, False]  # beside: hidden in a view, if it is no hole there
    through = Hidden(RED, [v.with_(depth=v.depth + 1) for v in known.views], hidden.images, [2], 0.002)
    assert not through.at(np.array([beside], dtype=float), RemovalConfig()).any()
    points = hidden.on(Plane(np.array([0.0, 0, 1]), 0.0), RemovalConfig())
    np.testing.assert_allclose(points[:, 2], 0, atol=1e-9)
    assert np.linalg.norm(points[:, :2] - PLACES[RED], axis=1).min() < 0.01


# --- the scene ---


@pytest.fixture(scope="module")
def torn():
    """(scene, place): the wall has no disks within 4 cm of a place that the red box hides in a low view, and
    the table none under the box."""
    scene, owner = decomposed_scene()
    place, eye = np.array([-0.1, 0.3, 0.1]), np.array([-0.1, -0.6, 0.06])
    pose = look_at(eye, place)
    shown = rasterize(scene.gaussians, CAMERA, pose)
    rgb = (255 * shown.color.clamp(0, 1)).byte().numpy()
    depth = np.where(shown.alpha.numpy() > 0.5, shown.depth.numpy(), 0).astype(np.float32)
    views = (*scene.posed_frames, Frame("low", 9.0, CAMERA, pose, rgb, depth))
    means = scene.gaussians.means.numpy()
    bare = (owner == BACKGROUND) & (np.linalg.norm(means - place, axis=1) < 0.04)
    bare |= (owner == SUPPORT) & (np.abs(means[:, :2] - PLACES[RED]).max(axis=1) < 0.05)
    assert bare.sum() > 60
    keep = np.flatnonzero(~bare)
    labels = scene.instances.gaussian_labels[keep]
    model = scene.gaussians.select(torch.from_numpy(keep))
    images = label_images(views, model, labels, Config().pixel_labels)
    scene.restore(
        model, views, dataclasses.replace(scene.instances, gaussian_labels=labels, label_images=images)
    )
    return scene, place


def without_red(torn, removal: RemovalConfig) -> tuple[Scene, int]:
    scene = Scene(Config(removal=removal))
    scene.state = torn[0].state
    return scene, scene.remove(RED).filled


def test_the_wall_behind_a_removed_object_is_covered_in_its_colour(torn):
    scene, filled = without_red(torn, RemovalConfig())
    new = scene.gaussians.select(torch.arange(len(scene.gaussians) - filled, len(scene.gaussians)))
    labels = scene.instances.gaussian_labels[-filled:]
    wall, table = labels == BACKGROUND, labels == SUPPORT
    assert wall.sum() > 20 and table.sum() > 50 and (wall | table).all()
    means, colors = new.means.numpy(), new.base_colors.numpy()
    assert np.abs(means[wall, 1] - 0.3).max() < 0.003 and np.abs(means[table, 2]).max() < 0.003
    assert (np.linalg.norm(means[wall] - torn[1], axis=1) < 0.06).mean() > 0.8
    for mine, label in ((wall, BACKGROUND), (table, SUPPORT)):
        np.testing.assert_allclose(
            colors[mine], np.broadcast_to(COLORS[label], colors[mine].shape), atol=0.03
        )


def test_without_a_painter_holes_stay(torn):
    scene, filled = without_red(torn, RemovalConfig(painter="none"))
    assert filled == 0 and RED not in [i.id for i in scene.instances.instances]


def test_colours_at_the_foot_are_those_of_the_plane(torn):
    scene = torn[0]
    state = scene.state
    model = scene.gaussians.detached()
    means, labels = model.means.numpy(), scene.instances.gaussian_labels
    ring = (labels == SUPPORT) & (np.abs(means[:, :2] - PLACES[RED]).max(axis=1) < 0.07)
    model.sh[torch.from_numpy(np.flatnonzero(ring))] = 1.0  # of the box's colour, say
    known = dataclasses.replace(state.require_decomposition(), gaussians=model)
    bled = Scene(Config())
    bled.state = dataclasses.replace(state, decomposition=known)
    bled.remove(RED)
    after, at = bled.gaussians, bled.gaussians.means.numpy()
    near = (np.abs(at[:, :2] - PLACES[RED]).max(axis=1) < 0.07) & (np.abs(at[:, 2]) < 0.002)
    colors = after.base_colors.numpy()[near]
    assert near.sum() > 100
    np.testing.assert_allclose(colors, np.broadcast_to(COLORS[SUPPORT], colors.shape), atol=0.05)


def test_a_painter_that_cannot_paint_leaves_the_scene_as_it_was(torn):
    scene = Scene(Config(removal=RemovalConfig(painter="diffusers", checkpoint="/nowhere")))
    scene.state = torn[0].state
    with pytest.raises(InputError, match="model_index"):
        scene.remove(RED)
    assert scene.state is torn[0].state


# --- for a simulator ---


def test_the_bare_support_is_a_closed_slab_of_one_colour_without_the_boxes(torn, tmp_path):
    made = bare_support(torn[0].state.require_decomposition(), Config(), thickness=0.02)
    assert meshes.is_watertight(made.mesh)
    low, high = made.mesh.vertices.min(axis=0), made.mesh.vertices.max(axis=0)
    assert high[2] - low[2] == pytest.approx(0.02) and np.abs(high[2]) < 0.003
    area = meshes.volume(made.mesh) / 0.02
    assert 0.33 < area < 0.45  # the table: 0.36 m², and a margin of a cell or two
    close = np.linalg.norm(made.mesh.vertices[:, :2] - PLACES[RED], axis=1) < 0.03
    for colors in (made.colors[close], made.colors):
        assert len(colors) > 4 and np.abs(colors / 255 - COLORS[SUPPORT]).max() < 0.06


def test_a_slab_of_an_l_of_pixels_by_hand():
    axes = plane_axes(Plane(np.array([0.0, 0, 1]), 0.0))
    view = HeadOn.over(Plane(np.array([0.0, 0, 1]), 0.0), axes, np.zeros((1, 3)), 0.1, 0.1, 100)
    assert (view.camera.width, view.camera.height) == (2, 2)
    inside, image = np.array([[True, False], [True, True]]), np.full((2, 2, 3), 0.5)
    made = slab(view, inside, image, 0.1)
    assert meshes.is_watertight(made.mesh) and meshes.volume(made.mesh) == pytest.approx(3 * 0.1**3)
    assert len(made.mesh.vertices) == 16 and (made.colors == 128).all()

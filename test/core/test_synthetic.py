"""Procedural scenes: solids, physics, rendering and the written ground truth."""

import itertools
import json
import sys

import numpy as np
import pytest
import trimesh

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset
from instascene_core.synthetic.cameras import arc_poses, fitting_distance
from instascene_core.synthetic.household import KINDS, make
from instascene_core.synthetic.layouts import LAYOUTS
from instascene_core.synthetic.noise import DEPTH_NOISES, depth_noise
from instascene_core.synthetic.physics import Drop, mass_properties, settle
from instascene_core.synthetic.placed import Table
from instascene_core.synthetic.plans import slab
from instascene_core.synthetic.render import Body, Light, Renderer
from instascene_core.synthetic.solids import Solid, convex_slices, simplify_profile
from instascene_core.synthetic.textures import STYLES, Texture, finish, object_texture, random_palette
from instascene_core.synthetic.unseen import HELD_OUT

SMALL = SyntheticConfig(seed=5, num_objects=4, num_views=6, width=96, height=72)


def as_trimesh(mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)


@pytest.fixture(scope="module")
def scene():
    return generate_scene(SMALL)


@pytest.fixture(scope="module")
def views(scene):
    return [scene.view(i) for i in range(len(scene))]


# --- solids ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_solids_are_closed_and_of_household_size(kind, seed):
    solid = make(kind, np.random.default_rng(seed))
    mesh = as_trimesh(solid.mesh)
    assert mesh.is_watertight and mesh.volume > 0
    assert mesh.body_count == 1
    assert 0.04 <= solid.dimensions.max() <= 0.25
    low, high = solid.mesh.vertices.min(axis=0), solid.mesh.vertices.max(axis=0)
    np.testing.assert_allclose([*(low + high)[:2], low[2]], 0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_convex_parts_fit_the_solid(kind):
    """What collides is what is seen, within 1.5 mm both ways (hulls of hollow things stay hollow)."""
    solid = make(kind, np.random.default_rng(11))
    hulls = [trimesh.convex.convex_hull(part) for part in solid.parts]
    surface, _ = trimesh.sample.sample_surface(as_trimesh(solid.mesh), 300, seed=0)
    outside = np.min([signed_distance_to_hull(h, surface) for h in hulls], axis=0)
    assert outside.max() < 1.5e-3
    corners = np.concatenate([h.vertices for h in hulls])
    _, distance, _ = trimesh.proximity.closest_point(as_trimesh(solid.mesh), corners[::5])
    inside = as_trimesh(solid.mesh).contains(corners[::5])
    assert distance[~inside].max(initial=0) < 1.5e-3


def signed_distance_to_hull(hull: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    """A lower bound of the distance [N] outside a convex hull, negative inside."""
    offsets = np.einsum("fi,fi->f", hull.face_normals, hull.triangles[:, 0])
    return (points @ hull.face_normals.T - offsets).max(axis=1)


@pytest.mark.parametrize("kind", ["cup", "bowl", "mug"])
def test_vessels_are_hollow(kind):
    """The middle of a vessel is air; its floor and walls are not."""
    solid = make(kind, np.random.default_rng(4))
    mesh = as_trimesh(solid.mesh)
    assert mesh.volume < 0.55 * mesh.convex_hull.volume
    if kind != "mug":  # a mug's box is not centred on its axis
        height = solid.dimensions[2]
        np.testing.assert_array_equal(mesh.contains([[0, 0, 0.6 * height], [0, 0, 0.002]]), [False, True])


def test_same_seed_same_solid_other_seed_other_solid():
    a, b, c = (make("bottle", np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.mesh.vertices, b.mesh.vertices)
    assert not np.allclose(a.dimensions, c.dimensions)


def test_convex_slices_cut_where_the_outline_turns_inward():
    hourglass = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 1.0], [1.0, 2.0], [0.0, 2.0]])
    slices = convex_slices(hourglass, tolerance=0.01)
    assert len(slices) == 2
    assert [np.ptp(s[:, 2]) for s in slices] == [1.0, 1.0]
    cylinder = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [0.0, 2.0]])
    assert len(convex_slices(cylinder, tolerance=0.01)) == 1


def test_simplify_profile_keeps_corners_only():
    line = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1.0, 2.0], [2.0, 2.001]])
    np.testing.assert_array_equal(simplify_profile(line, 0.01), [0, 2, 4])


# --- physics ---


def cube(side: float, density: float = 1000.0) -> Solid:
    mesh = slab((-side / 2, -side / 2, 0), (side / 2, side / 2, side))
    return Solid("cube", mesh, (mesh.vertices,), "box", density)


def test_mass_properties_of_a_cube():
    mass, centre, inertia = mass_properties(cube(0.2))
    assert mass == pytest.approx(8.0)  # 0.008 m³ of water
    np.testing.assert_allclose(centre, [0, 0, 0.1], atol=1e-12)
    np.testing.assert_allclose(inertia, np.eye(3) * 8.0 * 0.2**2 / 6, atol=1e-12)


def test_a_dropped_cube_comes_to_rest_on_the_table_and_one_beside_it_falls_off():
    table = slab((-0.2, -0.2, -0.03), (0.2, 0.2, 0.0)).vertices
    drops = [
        Drop(cube(0.05), np.eye(3), np.array([0.1, 0.0])),
        Drop(cube(0.05), np.eye(3), np.array([0.4, 0.0])),
    ]
    poses = settle(drops, [table])
    np.testing.assert_allclose(poses[0, :3, 3], [0.1, 0.0, 0.0], atol=1e-3)
    np.testing.assert_allclose(poses[0, :3, :3], np.eye(3), atol=1e-2)
    assert poses[1, 2, 3] < -0.5


def test_the_second_cube_lands_on_the_first():
    table = slab((-0.2, -0.2, -0.03), (0.2, 0.2, 0.0)).vertices
    drops = [Drop(cube(0.05), np.eye(3), np.zeros(2)), Drop(cube(0.04), np.eye(3), np.array([0.005, 0.0]))]
    assert settle(drops, [table])[1, 2, 3] == pytest.approx(0.05, abs=1e-3)


# --- textures and cameras ---


@pytest.mark.parametrize("style", STYLES)
def test_prints_have_detail_of_a_few_millimetres(style):
    """RGB-only reconstruction matches features: contrast must remain after removing the coarse part."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(3)
    image = finish(style(rng, random_palette(rng)), rng)
    assert image.shape == (512, 512, 3) and image.dtype == np.float32
    assert image.min() >= 0 and image.max() <= 1
    grey = image.mean(axis=2)
    assert (grey - gaussian_filter(grey, 10, mode="wrap")).std() > 0.02  # 10 texels = 5 mm


def test_texture_lookup_is_in_metres_and_wraps():
    image = np.zeros((8, 8, 3), dtype=np.float32)
    image[2, 3] = 1.0  # row v, column u
    texture = Texture(image, 0.01, "box")
    up = np.tile(np.array([[0.0, 0.0, 1.0]], dtype=np.float32), (3, 1))
    offset = np.array([0.083 * 5, 0.047 * 5])  # the top side's part of the print
    u, v = 0.03 - offset[0], 0.02 - offset[1]
    points = np.array([[u, v, 0.5], [u + 0.08, v - 0.08, 0.5], [u + 0.02, v, 0.5]], dtype=np.float32)
    np.testing.assert_allclose(texture.sample(points, up)[:, 0], [1, 1, 0], atol=0.05)


def test_arcs_keep_their_distance_and_elevation():
    config = SyntheticConfig(
        num_views=31, elevations_degrees=(30.0, 60.0), arc_degrees=90, arc_start_degrees=10
    )
    target = np.array([0.1, 0.2, 0.05])
    poses = arc_poses(config, target, 0.8, np.random.default_rng(0))
    offset = poses[:, :3, 3] - target
    distance = np.linalg.norm(offset, axis=1)
    assert len(poses) == 31
    assert distance.min() > 0.75 and distance.max() < 0.87
    elevation = np.degrees(np.arcsin(offset[:, 2] / distance))
    assert np.abs(elevation[:16] - 30).max() < 5 and np.abs(elevation[16:] - 60).max() < 5
    azimuth = np.degrees(np.arctan2(offset[:, 1], offset[:, 0]))
    assert 5 < azimuth.min() < 15 and 95 < azimuth.max() < 105
    np.testing.assert_allclose(np.einsum("ni,ni->n", poses[:, :3, 2], -offset) / distance, 1, atol=5e-3)
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps.max() < 0.5  # a path, not jumps


def test_fitting_distance_fills_the_image():
    camera = PinholeCamera(200, 100, 100.0, 100.0, 100.0, 50.0)
    # Half the height is 50 px at 100 px focal length; a sphere touches that edge ray.
    assert fitting_distance(camera, 1.0) == pytest.approx(np.hypot(1, 0.5) / 0.5)


# --- rendering ---


def plain(value: float) -> Texture:
    return Texture(np.full((8, 8, 3), value, dtype=np.float32), 0.01, "box")


def test_depth_labels_normals_and_shading_of_a_wall():
    """A wall 2 m ahead with a block 1.5 m ahead covering the left half, lit along the axis."""
    camera = PinholeCamera(8, 6, 4.0, 4.0, 4.0, 3.0)
    wall, block = slab((-9, -9, 2.0), (9, 9, 2.1)), slab((-9, -9, 1.5), (0, 9, 1.6))
    bodies = [Body(UNLABELLED, wall, np.eye(4), plain(0.5)), Body(4, block, np.eye(4), plain(0.25))]
    light = Light(np.array([1e-9, 0.0, -1.0]), sun=0.8, sky=0.4, softness=0.0, shadows=False)
    view = Renderer(bodies, light, supersampling=2).render(camera, np.eye(4))
    np.testing.assert_allclose(view.depth[:, 4:], 2.0, atol=1e-6)  # z depth: constant, not ray length
    np.testing.assert_allclose(view.depth[:, :4], 1.5, atol=1e-6)
    assert (view.labels[:, 4:] == UNLABELLED).all() and (view.labels[:, :4] == 4).all()
    np.testing.assert_allclose(view.normals, np.broadcast_to([0, 0, -1.0], view.normals.shape), atol=1e-6)
    # Sky from below the horizon 0.4·(0.75 − 0.25) and the sun head on: 1.0 of the albedo.
    assert (view.rgb[:, 4:] == round(0.5 * 255)).all() and (view.rgb[:, :4] == round(0.25 * 255)).all()


def test_shadows_and_empty_sky():
    camera = PinholeCamera(4, 4, 4.0, 4.0, 2.0, 2.0)
    ground, roof = slab((-1, -1, 1.0), (1, 1, 1.1)), slab((-5, -5, -2.1), (5, 5, -2.0))
    light = Light(np.array([1e-9, 0.0, -1.0]), softness=0.0)
    bodies = [Body(1, ground, np.eye(4), plain(0.5))]
    lit = Renderer(bodies, light, 1).render(camera, np.eye(4))
    dark = Renderer([*bodies, Body(2, roof, np.eye(4), plain(0.5))], light, 1).render(camera, np.eye(4))
    assert (lit.rgb > dark.rgb).all()
    away = np.diag([1.0, -1.0, -1.0, 1.0])
    nothing = Renderer(bodies, light, 1).render(camera, away)
    assert (
        (nothing.depth == 0).all() and (nothing.labels == UNLABELLED).all() and (nothing.normals == 0).all()
    )


# --- whole scenes ---


def test_objects_lie_still_on_the_table(scene):
    assert [o.id for o in scene.objects] == [1, 2, 3, 4]
    for thing in scene.objects:
        assert thing.mesh.vertices[:, 2].min() > -1.5e-3
        assert as_trimesh(thing.mesh).is_watertight
    assert min(o.mesh.vertices[:, 2].min() for o in scene.objects) < 1e-3  # something stands on it
    assert min(scene.observed_fractions) >= SMALL.min_observed_fraction


def test_depth_and_labels_agree_with_the_true_surfaces(scene, views):
    """Back-projected pixels of object k lie on its mesh, those of the table on z = 0."""
    for pose, view in zip(scene.poses[:2], views[:2]):
        points = scene.camera.back_project(view.depth) @ pose[:3, :3].T + pose[:3, 3]
        for thing in scene.objects:
            mine = points[view.labels == thing.id]
            if len(mine):
                _, distance, _ = trimesh.proximity.closest_point(as_trimesh(thing.mesh), mine)
                assert distance.max() < 5e-5  # half a step of the written depth
        inside = (np.abs(points[..., :2]) < 0.5).all(axis=-1)
        table = (view.labels == UNLABELLED) & inside & (points[..., 2] > -0.1)
        assert table.sum() > 200
        np.testing.assert_allclose(points[table][:, 2], 0, atol=1e-5)


def test_every_object_is_seen(views):
    seen = set(np.unique(np.concatenate([v.labels.ravel() for v in views])))
    assert seen == {UNLABELLED, 1, 2, 3, 4}


def test_normals_face_the_camera_and_have_unit_length(scene, views):
    pose, view = scene.poses[0], views[0]
    hit = view.depth > 0
    directions = scene.camera.rays @ pose[:3, :3].T
    assert (np.einsum("hwi,hwi->hw", directions, view.normals)[hit] < 0).all()
    np.testing.assert_allclose(np.linalg.norm(view.normals[hit], axis=1), 1, atol=1e-5)


def test_the_same_seed_gives_the_same_bits(scene, views):
    again = generate_scene(SMALL)
    np.testing.assert_array_equal(again.poses, scene.poses)
    for a, b in zip(again.objects, scene.objects):
        np.testing.assert_array_equal(a.mesh.vertices, b.mesh.vertices)
    view = again.view(3)
    for name in ("rgb", "depth", "labels", "normals"):
        np.testing.assert_array_equal(getattr(view, name), getattr(views[3], name))


def test_another_seed_gives_another_scene(scene):
    other = generate_scene(SyntheticConfig(**{**vars(SMALL), "seed": 6}))
    assert not np.allclose(other.poses, scene.poses)


def test_observed_fraction_counts_what_views_can_see(scene):
    """One view cannot see more than all; nothing lying on a table is seen all over."""
    assert all(0 < f < 1 for f in scene.observed_fractions)
    from dataclasses import replace

    single = replace(scene, poses=scene.poses[:1])
    assert all(one <= every for one, every in zip(single.observed_fractions, scene.observed_fractions))


def small(layout, **changes):
    return SyntheticConfig(
        **{
            "seed": 1,
            "num_objects": 4,
            "num_views": 6,
            "width": 64,
            "height": 48,
            "layout": layout,
            **changes,
        }
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_makes_a_scene(layout):
    scene = generate_scene(small(layout))
    assert len(scene.objects) == 4
    lowest = min(o.mesh.vertices[:, 2].min() for o in scene.objects)
    assert scene.support.offset - 1.5e-3 < lowest < scene.support.offset + 2e-3
    labels = np.unique(np.concatenate([scene.view(i).labels.ravel() for i in range(6)]))
    np.testing.assert_array_equal(labels, [UNLABELLED, 1, 2, 3, 4])


def test_twins_are_alike_and_touch():
    scene = generate_scene(small("twins", num_objects=5))
    assert len(scene.objects) == 5
    for first, second in (scene.objects[:2], scene.objects[2:4]):
        np.testing.assert_array_equal(first.solid.mesh.vertices, second.solid.mesh.vertices)
        assert first.texture is second.texture
        _, gap, _ = trimesh.proximity.closest_point(as_trimesh(first.mesh), second.mesh.vertices)
        assert gap.min() < 2e-3
    assert scene.objects[0].texture is not scene.objects[2].texture


def test_stacks_are_flush_and_of_one_print():
    scene = generate_scene(small("stacks", num_objects=6))
    alike = [(a, b) for a, b in itertools.pairwise(scene.objects) if a.texture is b.texture]
    assert len(alike) >= 2
    for lower, upper in alike:
        np.testing.assert_array_equal(lower.solid.mesh.vertices, upper.solid.mesh.vertices)
        _, gap, _ = trimesh.proximity.closest_point(as_trimesh(lower.mesh), upper.mesh.vertices)
        assert gap.min() < 2e-3


def test_placed_things_touch_and_do_not_sink_into_each_other():
    table = Table(SyntheticConfig(num_objects=3))
    for side in (0.06, 0.04, 0.05):
        table.put(cube(side), np.eye(3), np.array([0.01 * side, 0.0]))
    np.testing.assert_allclose([d.height for d in table.drops], [0.0, 0.06, 0.1], atol=1e-3)
    assert table.full


def test_kinds_held_out_of_training_fill_every_role():
    """Layouts ask for roles; the unseen shapes suit all of them."""
    for layout in ("stacks", "nested", "flat", "heap"):
        scene = generate_scene(small(layout, seed=2, kinds=HELD_OUT))
        assert {o.kind for o in scene.objects} <= set(HELD_OUT)


def test_contents_lie_in_their_vessel():
    scene = generate_scene(small("contents"))
    vessel = scene.objects[0]
    box = vessel.mesh.vertices.min(axis=0), vessel.mesh.vertices.max(axis=0)
    centres = np.array([o.mesh.vertices.mean(axis=0) for o in scene.objects[1:]])
    assert ((centres > box[0]) & (centres < box[1] + [0, 0, 0.06])).all(axis=1).any()


def test_a_shelf_is_seen_from_the_front_and_a_bin_from_above():
    front = generate_scene(small("shelf"))
    assert (front.poses[:, 1, 3] < -0.2).all() and front.support.offset > 0
    above = generate_scene(small("bin"))
    down = -above.poses[:, 2, 2]  # cosine between the optical axis and straight down
    assert (down > np.cos(np.radians(50))).all()


def test_plain_objects_have_no_print():
    textured, plain = (generate_scene(small("spread", plain_fraction=f)) for f in (0.0, 1.0))
    for a, b in zip(textured.objects, plain.objects):
        assert b.texture.image.std(axis=(0, 1)).max() < 0.02 < a.texture.image.std(axis=(0, 1)).max()


# --- depth noise ---


def test_millimetre_noise_rounds():
    depth = np.array([[0.0, 0.12345, 1.0006]], dtype=np.float32)
    np.testing.assert_allclose(
        depth_noise("millimetre")(depth, np.random.default_rng(0)), [[0, 0.123, 1.001]]
    )


def test_kinect_noise_is_about_as_large_as_published():
    depth = np.full((100, 100), 1.0, dtype=np.float32)
    noisy = depth_noise("kinect")(depth, np.random.default_rng(0))
    assert 0.0012 < (noisy - 1).std() < 0.0035
    assert (depth_noise("kinect")(np.zeros((9, 9), np.float32), np.random.default_rng(0)) == 0).all()
    step = depth.copy()
    step[:, 50:] = 2.0
    holes = depth_noise("kinect")(step, np.random.default_rng(0)) == 0
    assert holes[:, 45:55].any() and not holes[:, :40].any()


def test_exact_depth_is_untouched():
    depth = np.array([[0.5]], dtype=np.float32)
    assert DEPTH_NOISES["none"](depth, np.random.default_rng(0)) is depth


# --- files ---


@pytest.fixture(scope="module")
def folder(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / "out"
    steps = []
    write_dataset(scene, folder, lambda stage, fraction, message: steps.append(fraction))
    assert steps[0] == 0 and steps[-1] == 1 and steps == sorted(steps)
    return folder


def test_written_images_hold_what_was_rendered(folder, views):
    from PIL import Image

    for i in (0, 5):
        np.testing.assert_array_equal(np.array(Image.open(folder / f"rgb/{i:06d}.png")), views[i].rgb)
        depth = np.array(Image.open(folder / f"depth/{i:06d}.png"))
        assert depth.dtype == np.uint16
        np.testing.assert_allclose(depth * 1e-4, views[i].depth, atol=0.51e-4)
        labels = np.array(Image.open(folder / f"masks/{i:06d}.png")).astype(int)
        np.testing.assert_array_equal(labels, np.where(views[i].labels < 0, 0, views[i].labels))


def test_transforms_json_is_nerfstudio(folder, scene):
    meta = json.loads((folder / "transforms.json").read_text())
    assert len(meta["frames"]) == 6 and meta["w"] == 96 and meta["depth_unit_scale_factor"] == 1e-4
    matrix = np.array(meta["frames"][2]["transform_matrix"])
    np.testing.assert_allclose(-matrix[:3, 2], scene.poses[2][:3, 2])  # OpenGL looks along −z
    np.testing.assert_allclose(-matrix[:3, 1], scene.poses[2][:3, 1])
    np.testing.assert_allclose(matrix[:3, 3], scene.poses[2][:3, 3])


def test_ground_truth_meshes_and_description(folder, scene):
    truth = json.loads((folder / "ground_truth/scene.json").read_text())
    assert truth["support_plane"] == {"normal": [0.0, 0.0, 1.0], "offset": 0.0}
    for entry, thing in zip(truth["objects"], scene.objects):
        mesh = trimesh.load(folder / "ground_truth" / entry["mesh"], process=False)
        np.testing.assert_array_equal(mesh.vertices, thing.mesh.vertices)
        assert mesh.is_watertight and mesh.volume == pytest.approx(entry["volume"])
        assert entry["kind"] == thing.kind and mesh.visual.vertex_colors.shape == (len(mesh.vertices), 4)


def test_a_folder_that_cannot_be_written_is_one_sentence(scene, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="Cannot save to"):
        write_dataset(scene, tmp_path / "file" / "out")


# --- bad configs ---


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_objects": 0}, "at least one object"),
        ({"num_views": 0}, "one view"),
        ({"width": 0}, "image"),
        ({"fov_degrees": 180.0}, "field of view"),
        ({"elevations_degrees": ()}, "elevations"),
        ({"elevations_degrees": (95.0,)}, "elevations"),
        ({"supersampling": 0}, "supersampling"),
        ({"seed": -1}, "seed"),
        ({"plain_fraction": 2.0}, "plain"),
        ({"layout": "tower of babel"}, "known layouts"),
        ({"kinds": ("spaceship",)}, "known kinds"),
        ({"depth_noise": "rain"}, "known"),
        ({"table_size": 0.02, "num_objects": 1}, "fell off"),
    ],
)
def test_unusable_configs_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        generate_scene(SyntheticConfig(**change))


def test_without_mujoco_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(InputError, match=r"instascene\[synthetic\]"):
        generate_scene(SyntheticConfig(num_objects=1, num_views=1))


def test_object_textures_differ():
    rng = np.random.default_rng(0)
    a, b = object_texture(rng, "box", 0.03), object_texture(rng, "box", 0.03)
    assert np.abs(a.image - b.image).mean() > 0.02

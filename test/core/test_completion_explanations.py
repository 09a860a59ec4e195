"""What was seen, explained: plain bodies, bodies of revolution, or nothing."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from completion_scene import bowl, mug, orbit, render, table_mesh, volume_iou

from instascene_core.completion import Prediction, complete, observe
from instascene_core.completion.explanations.explain import explain
from instascene_core.completion.explanations.explanation import Unexplained
from instascene_core.completion.explanations.outline import Axis, Outline
from instascene_core.completion.explanations.plain_body import PlainBody, find_plain_body
from instascene_core.completion.explanations.revolution import Revolution, find_revolution
from instascene_core.completion.explanations.shapes import Box, Cylinder, Sphere
from instascene_core.completion.observing import observation as observing
from instascene_core.completion.observing.observation import fuse_in_grid
from instascene_core.completion.observing.regridding import enlarge_box
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import (
    ConvexPartsConfig,
    ObservingConfig,
    OutlineConfig,
    WallConfig,
)
from instascene_core.geometry import Plane, SurfacePoints
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.tsdf import FusedVolume, VoxelGrid

TABLE_PLANE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)
FAST = CompletionConfig(
    prior="carving",
    observing=ObservingConfig(max_voxels=60_000),
    convex_parts=ConvexPartsConfig(max_parts=1),
)


def standing(mesh: trimesh.Trimesh, turned: float = 0.5, lying: bool = False) -> trimesh.Trimesh:
    if lying:
        mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
    mesh.apply_transform(trimesh.transformations.rotation_matrix(turned, (0, 0, 1)))
    mesh.apply_translation((0, 0, -mesh.bounds[0, 2]))
    return mesh


PLAIN = {
    "box": lambda: standing(trimesh.creation.box((0.12, 0.06, 0.1))),
    "flat box": lambda: standing(trimesh.creation.box((0.14, 0.1, 0.025))),
    "cylinder": lambda: standing(trimesh.creation.cylinder(0.033, 0.11, sections=64)),
    "lying cylinder": lambda: standing(trimesh.creation.cylinder(0.03, 0.13, sections=64), lying=True),
    "sphere": lambda: standing(trimesh.creation.icosphere(4, 0.04)),
}


def seen_from_one_side(body, noise=0.002, elevations=(30, 50)):
    return render([table_mesh(), body], orbit(6, elevations, (0, 100)), noise=noise)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_body_seen_from_one_side_is_completed_as_one(name):
    truth = PLAIN[name]()
    result = complete(seen_from_one_side(truth), 2, TABLE_PLANE, FAST)
    kind = name.split()[-1]
    assert result.prior == f"{FAST.prior} (Apache-2.0), {kind} fit"
    assert any(kind in note for note in result.notes)
    assert result.watertight
    assert volume_iou(meshes.to_trimesh(result.mesh), truth) > 0.965
    error = meshes.distance(meshes.from_trimesh(truth), result.mesh.vertices)
    assert np.percentile(error, 95) < 0.0009


def rounded_box() -> trimesh.Trimesh:
    """A pebble of soap: a box whose edges have a radius of 15 mm."""
    ball = trimesh.creation.icosphere(3, 0.015).vertices
    corners = np.stack(np.meshgrid(*[(-a, a) for a in (0.04, 0.02, 0.01)]), axis=-1).reshape(-1, 3)
    return standing(trimesh.convex.convex_hull((corners[:, None] + ball).reshape(-1, 3)))


def pillow() -> trimesh.Trimesh:
    """Nearly a box, but every face bulges (a superellipsoid of exponent 5)."""
    ball = trimesh.creation.icosphere(5)
    ball.vertices *= (np.abs(ball.vertices) ** 5).sum(axis=1, keepdims=True) ** (-1 / 5) * [0.06, 0.04, 0.03]
    return standing(ball)


def cone() -> trimesh.Trimesh:
    return standing(trimesh.creation.cone(0.04, 0.1, sections=48))


@pytest.mark.parametrize("make", [rounded_box, pillow, cone, mug, bowl])
def test_what_is_no_plain_body_is_left_to_the_prior(make):
    observation = observe(seen_from_one_side(make()), 2, TABLE_PLANE, None, FAST)
    assert find_plain_body(observation, FAST.explanations) is None


def test_a_can_whose_top_nobody_saw_may_be_open():
    can = standing(trimesh.creation.cylinder(0.035, 0.12, sections=64))
    frames = render([table_mesh(), can], orbit(6, (0.5,), (0, 100), target=(0, 0, 0.06)), noise=0.001)
    observation = observe(frames, 2, TABLE_PLANE, None, FAST)
    assert find_plain_body(observation, FAST.explanations) is None


def test_a_box_cut_by_what_stands_before_it_is_no_shorter_box():
    """A post hides the right half: where the box ends there is not known, so none is claimed."""
    box = trimesh.creation.box((0.2, 0.06, 0.06))
    box.apply_translation((0, 0, 0.03))
    screen = trimesh.creation.box((0.2, 0.01, 0.3))
    screen.apply_translation((0.12, -0.08, 0.15))
    poses = orbit(5, (30, 40), (-125, -95), target=(0, 0, 0.03))
    observation = observe(render([table_mesh(), box, screen], poses, noise=0.001), 2, TABLE_PLANE, None, FAST)
    assert find_plain_body(observation, FAST.explanations) is None


@pytest.mark.parametrize(
    "shape",
    [
        Box(np.diag([1.0, 1, 1, 1]), np.array([0.3, 0.2, 0.1])),
        Cylinder(np.array([0.1, 0.2, 0.3]), np.array([0.6, 0.0, 0.8]), 0.1, 0.3),
        Sphere(np.array([0.1, 0.0, 0.0]), 0.2),
    ],
)
def test_shapes_agree_with_their_surfaces(shape):
    points, normals, faces = shape.surface(800)
    assert 800 <= len(points) < 1000
    np.testing.assert_allclose(shape.signed_distance(points), 0, atol=1e-9)
    np.testing.assert_allclose(shape.signed_distance(points + 0.01 * normals), 0.01, atol=1e-9)
    assert (shape.signed_distance(points - 0.01 * normals) < 0).all()
    for face, outward in shape.ends.items():
        np.testing.assert_allclose(normals[faces == face] - outward, 0, atol=1e-12)
        moved = shape.with_end_moved(face, 0.05)
        np.testing.assert_allclose(
            moved.signed_distance(points[faces == face] + 0.05 * outward), 0, atol=1e-9
        )


# ── bodies of revolution ──────────────────────────────────────────────────────────────────────────


def bottle() -> trimesh.Trimesh:
    """A solid bottle with a neck, lying."""
    profile = [[0, 0], [0.03, 0], [0.034, 0.02], [0.034, 0.08], [0.012, 0.11], [0.012, 0.13], [0, 0.13]]
    return standing(trimesh.creation.revolve(np.array(profile), sections=64), lying=True)


def test_a_lying_bottle_is_completed_about_its_axis():
    truth = bottle()
    frames = seen_from_one_side(truth, noise=0.001)
    result = complete(frames, 2, TABLE_PLANE, FAST)
    assert result.prior == f"{FAST.prior} (Apache-2.0), symmetry about an axis"
    assert any("symmetric" in note for note in result.notes)
    assert result.watertight
    alone = complete(frames, 2, TABLE_PLANE, replace(FAST, candidates=False))
    better, worse = (volume_iou(meshes.to_trimesh(r.mesh), truth) for r in (result, alone))
    assert better > 0.95
    assert better > worse + 0.24


def test_the_axis_is_found_and_what_is_turned_is_where_the_body_is():
    truth = bottle()
    observation = observe(seen_from_one_side(truth, noise=0.001), 2, TABLE_PLANE, None, FAST)
    symmetry = find_revolution(observation, FAST.explanations, FAST.carving)
    along = np.array([-np.sin(0.5), np.cos(0.5), 0])
    assert abs(symmetry.axis.direction @ along) > np.cos(np.deg2rad(0.05))
    radius, _ = symmetry.axis.profile(truth.vertices)
    assert radius.max() == pytest.approx(0.034, abs=0.00012)
    turned = symmetry.known(observation)
    distance = meshes.signed_distance(meshes.from_trimesh(truth), turned.grid.centers())
    assert turned.believed.sum() > 2.5 * observation.believed.sum()
    new = turned.believed & ~observation.believed
    assert np.abs(distance - np.nan_to_num(turned.volume.tsdf))[new].mean() < 0.00014
    assert not turned.free[distance < -0.004].any()
    back = meshes.distance(meshes.from_trimesh(truth), turned.points.positions)
    assert np.quantile(back, 0.9) < 0.00066


@pytest.mark.parametrize("make", [rounded_box, lambda: standing(trimesh.creation.box((0.1, 0.1, 0.1)))])
def test_what_has_corners_is_left_alone(make):
    observation = observe(seen_from_one_side(make()), 2, TABLE_PLANE, None, FAST)
    assert find_revolution(observation, FAST.explanations, FAST.carving) is None


def cup_with_thin_wall() -> trimesh.Trimesh:
    """2 mm of wall on 10 cm: thinner than the voxels, and than the noise band of the depth."""
    outer = [[0, 0], [0.025, 0], [0.038, 0.1]]
    inner = [[0.036, 0.1], [0.0232, 0.003], [0, 0.003]]
    return standing(trimesh.creation.revolve(np.array(outer + inner), sections=96))


@pytest.mark.parametrize(("make", "least"), [(mug, 0.85), (bowl, 0.82), (cup_with_thin_wall, 0.75)])
def test_vessels_get_the_walls_that_were_not_seen(make, least):
    truth = make()
    frames = seen_from_one_side(truth, noise=0.001)
    config = replace(FAST, observing=ObservingConfig(max_voxels=250_000))
    result = complete(frames, 2, TABLE_PLANE, config)
    assert "symmetry about an axis" in result.prior
    assert result.watertight
    alone = complete(frames, 2, TABLE_PLANE, replace(config, candidates=False))
    better, worse = (volume_iou(meshes.to_trimesh(r.mesh), truth) for r in (result, alone))
    assert better > max(least, worse + 0.17)


def test_an_outline_keeps_the_sides_of_a_wall_apart_that_is_thinner_than_the_noise():
    rng = np.random.default_rng(0)
    angle, height = rng.uniform(0, 2 * np.pi, 20000), rng.uniform(0, 0.1, 20000)
    side = np.where(rng.uniform(size=20000) < 0.5, 1.0, -1.0)  # outer, inner
    radius = 0.05 + 0.001 * side + 0.001 * rng.standard_normal(20000)
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    positions = radius[:, None] * circle + height[:, None] * [0, 0, 1]
    zeros = np.zeros(20000, dtype=np.int32)
    points = SurfacePoints(positions, side[:, None] * circle, zeros[:, None].astype(np.uint8), zeros, zeros)
    axis = Axis(np.zeros(3), np.array([0.0, 0, 1]))
    curve = Outline(points, axis, None, 0.0008, OutlineConfig())
    probes = np.array(
        [[0.05, 0, 0.05], [0.0522, 0, 0.05], [0, 0.0478, 0.05], [0.06, 0, 0.05], [0.051, 0, 0.12]]
    )
    found = curve.signed_distance(probes, 0.003)
    np.testing.assert_allclose(found[:3], [-0.001, 0.0012, 0.0012], atol=3e-4)
    assert np.isnan(found[3:]).all()  # out of reach, beyond the end


# ── the choice, and what every explanation does ───────────────────────────────────────────────────


@pytest.fixture(scope="module")
def seen_box():
    return observe(seen_from_one_side(PLAIN["box"]()), 2, TABLE_PLANE, None, FAST)


@pytest.fixture(scope="module")
def seen_mug():
    return observe(seen_from_one_side(mug(), noise=0.001), 2, TABLE_PLANE, None, FAST)


def guess_of(observation, distance: float) -> Prediction:
    """Two guesses, everywhere `distance` metres outside, and a doubt of one metre."""
    fields = np.full((2, *observation.grid.shape), distance, dtype=np.float32)
    return Prediction(fields, np.ones(observation.grid.shape, dtype=np.float32))


def test_the_first_explanation_that_fits_is_taken(seen_box, seen_mug):
    assert isinstance(explain(seen_box, FAST, 0), PlainBody)
    assert isinstance(explain(seen_mug, FAST, 0), Revolution)
    soap = observe(seen_from_one_side(rounded_box()), 2, TABLE_PLANE, None, FAST)
    assert isinstance(explain(soap, FAST, 0), Unexplained)
    assert isinstance(explain(seen_box, replace(FAST, candidates=False), 0), Unexplained)


def test_thresholds_come_from_the_configuration(seen_box, seen_mug):
    settings = FAST.explanations
    strict = replace(settings, plain_body=replace(settings.plain_body, explained=1.01))
    assert find_plain_body(seen_box, strict) is None
    strict = replace(settings, revolution=replace(settings.revolution, agrees_vessel=1.01))
    assert find_revolution(seen_mug, strict, FAST.carving) is None


def test_without_an_explanation_nothing_changes(seen_box):
    nothing, prediction = Unexplained(), guess_of(seen_box, 0.1)
    assert nothing.fit_grid(seen_box) is nothing.known(seen_box) is seen_box
    assert nothing.adjust(prediction, seen_box) is prediction
    field = prediction.fields[0]
    assert nothing.confine(field, seen_box) is field
    assert nothing.suffix == "" and nothing.notes == ()


def test_a_plain_body_takes_the_first_place_and_lets_nothing_stick_out(seen_box):
    body = find_plain_body(seen_box, FAST.explanations)
    assert body.fit_grid(seen_box) is body.known(seen_box) is seen_box
    prediction = guess_of(seen_box, 0.001)
    adjusted = body.adjust(prediction, seen_box)
    distance = body.shape.signed_distance(seen_box.grid.centers())
    np.testing.assert_allclose(adjusted.fields[0], distance, atol=1e-6)
    np.testing.assert_array_equal(adjusted.fields[1], prediction.fields[1])
    # The doubt grows with the distance between body and prior.
    near, far = np.abs(distance - 0.001) < 0.001, distance < -0.01
    assert adjusted.uncertainty[near].max() < adjusted.uncertainty[far].min()
    solid = body.confine(np.full(seen_box.grid.shape, -1, dtype=np.float32), seen_box)
    assert (solid[distance > 0.005] > 0).all() and (solid[distance < 0] < 0).all()


def test_what_a_revolution_knows_is_there_in_every_grid(seen_mug):
    body = find_revolution(seen_mug, FAST.explanations, FAST.carving)
    known = body.known(body.fit_grid(seen_mug))
    again = fuse_in_grid(known, seen_mug.grid)
    direct = body.known(seen_mug)
    np.testing.assert_array_equal(again.volume.tsdf, direct.volume.tsdf)
    np.testing.assert_array_equal(again.points.positions, direct.points.positions)
    assert again.all_around and not again.underside_known and not seen_mug.all_around
    assert known.wall == again.wall == body.wall
    # What was turned is as sure as what was seen, the rest as the prior says.
    adjusted = body.adjust(guess_of(known, 0.001), known)
    assert adjusted.uncertainty[known.believed].max() == pytest.approx(0.5 * body.tolerance)
    assert (adjusted.uncertainty[~known.believed] == 1).all()


# ── the wall ──────────────────────────────────────────────────────────────────────────────────────


def test_a_vessels_wall_is_measured_and_what_is_solid_has_none(seen_box, seen_mug):
    assert seen_box.wall is None
    assert seen_mug.wall == pytest.approx(0.004, abs=seen_mug.grid.voxel)


def solid_as_seen_badly() -> tuple[FusedVolume, SurfacePoints, np.ndarray]:
    """A box of 8 × 8 × 5 cm whose normals a sensor's noise has tilted, many of its points near edges: the
    volume, the points, and [nx, ny, nz] where its surface is believed."""
    half, voxel = np.array([0.04, 0.04, 0.025]), 0.001
    place = trimesh.transformations.translation_matrix(-half - 0.005)
    nx, ny, nz = ((2 * half + 0.01) / voxel + 1).astype(int).tolist()
    grid = VoxelGrid(place, voxel, (nx, ny, nz))
    beyond = np.abs(grid.centers()) - half
    tsdf = np.linalg.norm(np.maximum(beyond, 0), axis=-1) + np.minimum(beyond.max(axis=-1), 0)
    rng = np.random.default_rng(0)
    axis, sign = rng.integers(0, 3, 3000), rng.choice([-1, 1], 3000)
    positions = rng.uniform(-1, 1, (3000, 3)) * half
    positions[np.arange(3000), axis] = sign * half[axis]
    normals = rng.normal(scale=0.35, size=(3000, 3))
    normals[np.arange(3000), axis] += sign
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    empty = np.zeros(grid.shape, dtype=np.float32)
    volume = FusedVolume(
        grid, 0.004, 0.008, tsdf.astype(np.float32), empty, empty, empty, empty, empty,
        np.zeros((*grid.shape, 3), np.uint8),
    )  # fmt: skip
    return volume, SurfacePoints(positions, normals), np.abs(tsdf) < 0.004


def test_a_solid_that_a_noisy_sensor_saw_has_no_wall():
    """Walks against tilted normals leave it through the next face; that one does not face the other way."""
    volume, points, believed = solid_as_seen_badly()
    free = ~believed & (volume.tsdf > 0)
    any_side = WallConfig(min_opposite=-1.0)
    assert observing.measure_wall(volume, points, free, believed, any_side) is not None
    assert observing.measure_wall(volume, points, free, believed, WallConfig()) is None


def test_the_wall_is_measured_once_for_a_grid(seen_mug, monkeypatch):
    measured = []
    measure = observing.measure_wall
    monkeypatch.setattr(observing, "measure_wall", lambda *args: measured.append(1) or measure(*args))
    fresh = replace(seen_mug)
    assert fresh.wall == fresh.wall == seen_mug.wall
    assert len(measured) == 1
    assert enlarge_box(fresh, 1.25).wall != fresh.wall  # coarser voxels measure for themselves
    assert len(measured) == 2

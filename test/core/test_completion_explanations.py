"""Plain bodies as candidates, and several hypotheses."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from completion_scene import bowl, mug, orbit, render, table_mesh, volume_iou

from instascene_core.completion import PRIORS, Prediction, complete, complete_observation, observe
from instascene_core.completion.explanations.outline import Axis, Outline
from instascene_core.completion.explanations.plain_body import find_plain_body
from instascene_core.completion.explanations.revolution import find_revolution
from instascene_core.completion.explanations.shapes import Box, Cylinder, Sphere
from instascene_core.completion.meshing import fusion
from instascene_core.completion.observing.regridding import observe_beyond_face
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ConvexPartsConfig, ObservingConfig, OutlineConfig
from instascene_core.errors import InputError
from instascene_core.geometry import Plane, SurfacePoints
from instascene_core.geometry import mesh as meshes

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
    assert volume_iou(meshes.to_trimesh(result.mesh), truth) > 0.95
    error = meshes.distance(meshes.from_trimesh(truth), result.mesh.vertices)
    assert np.percentile(error, 95) < 0.004


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
    assert 400 < len(points) < 1600
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
    assert better > 0.88
    assert better > worse + 0.03


def test_the_axis_is_found_and_what_is_turned_is_where_the_body_is():
    truth = bottle()
    observation = observe(seen_from_one_side(truth, noise=0.001), 2, TABLE_PLANE, None, FAST)
    symmetry = find_revolution(observation, FAST.explanations, FAST.carving)
    along = np.array([-np.sin(0.5), np.cos(0.5), 0])
    assert abs(symmetry.axis.direction @ along) > np.cos(np.deg2rad(3))
    radius, _ = symmetry.axis.profile(truth.vertices)
    assert radius.max() == pytest.approx(0.034, abs=0.003)
    turned = symmetry.known(observation)
    distance = meshes.signed_distance(meshes.from_trimesh(truth), turned.grid.centers())
    assert (turned.trust > 0.5).sum() > 1.5 * (observation.trust > 0.5).sum()
    new = (turned.trust > 0.5) & (observation.trust < 0.5)
    assert np.abs(distance - np.nan_to_num(turned.volume.tsdf))[new].mean() < 0.002
    assert turned.free[distance < -0.004].mean() < 0.01
    back = meshes.distance(meshes.from_trimesh(truth), turned.points.positions)
    assert np.quantile(back, 0.9) < 0.003


@pytest.mark.parametrize("make", [rounded_box, lambda: standing(trimesh.creation.box((0.1, 0.1, 0.1)))])
def test_what_has_corners_is_left_alone(make):
    observation = observe(seen_from_one_side(make()), 2, TABLE_PLANE, None, FAST)
    assert find_revolution(observation, FAST.explanations, FAST.carving) is None


def cup_with_thin_wall() -> trimesh.Trimesh:
    """2 mm of wall on 10 cm: thinner than the voxels, and than the noise band of the depth."""
    outer = [[0, 0], [0.025, 0], [0.038, 0.1]]
    inner = [[0.036, 0.1], [0.0232, 0.003], [0, 0.003]]
    return standing(trimesh.creation.revolve(np.array(outer + inner), sections=96))


@pytest.mark.parametrize(("make", "least"), [(mug, 0.75), (bowl, 0.8), (cup_with_thin_wall, 0.7)])
def test_vessels_get_the_walls_that_were_not_seen(make, least):
    truth = make()
    frames = seen_from_one_side(truth, noise=0.001)
    config = replace(FAST, observing=ObservingConfig(max_voxels=250_000))
    result = complete(frames, 2, TABLE_PLANE, config)
    assert "symmetry about an axis" in result.prior
    assert result.watertight
    alone = complete(frames, 2, TABLE_PLANE, replace(config, candidates=False))
    better, worse = (volume_iou(meshes.to_trimesh(r.mesh), truth) for r in (result, alone))
    assert better > max(least, worse + 0.05)


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


# ── several hypotheses ────────────────────────────────────────────────────────────────────────────


class Shells:
    """Carving, then bodies that are larger by given amounts; an infinite one leaves nothing."""

    name, licence = "shells", "test"

    def __init__(self, amounts):
        self.amounts = amounts

    def predict(self, observation, num_samples, seed):
        base = PRIORS["carving"]().predict(observation, 1, seed)
        fields = [base.fields[0] - np.float32(a) for a in self.amounts[:num_samples]]
        return Prediction(np.stack(fields), base.uncertainty)


@pytest.fixture(scope="module")
def half_seen():
    frames = seen_from_one_side(cone(), noise=0.001)
    return observe(frames, 2, TABLE_PLANE, None, FAST)


def completed_with(observation, amounts, **changes):
    config = replace(FAST, candidates=False, **changes)
    return complete_observation(observation, Shells(amounts), config, len(amounts), 0)


def test_the_spread_of_the_hypotheses_is_the_uncertainty(half_seen):
    near = completed_with(half_seen, (0.0, 0.002, -0.002))
    far = completed_with(half_seen, (0.0, 0.006, -0.006))
    assert len(near.hypotheses) == 2
    assert all(meshes.is_watertight(other) for other in far.hypotheses)
    np.testing.assert_array_equal(near.mesh.vertices, far.mesh.vertices)  # the first one is the mesh
    unseen = near.observed < 0.1
    assert near.uncertainty < far.uncertainty
    assert far.vertex_uncertainty[unseen].mean() > 1.5 * near.vertex_uncertainty[unseen].mean()
    seen = near.observed > 0.9
    assert far.vertex_uncertainty[seen].mean() < 0.3 * far.vertex_uncertainty[unseen].mean()


def test_an_empty_hypothesis_is_closed_too_and_one_that_leaves_nothing_is_dropped(half_seen, monkeypatch):
    """What was seen stays even where the guess is empty: a skin, but a closed one."""
    result = completed_with(half_seen, (0.0, -1.0, 0.002))
    assert len(result.hypotheses) == 2
    assert all(meshes.is_watertight(other) for other in result.hypotheses)
    assert meshes.volume(result.hypotheses[0]) < 0.7 * result.volume
    fuse = fusion.fuse_guess

    def contradicting(observation, predicted, config):
        if predicted.min() > 0.5:
            raise InputError("Nothing remains.")
        return fuse(observation, predicted, config)

    monkeypatch.setattr(fusion, "fuse_guess", contradicting)
    result = completed_with(half_seen, (0.0, -1.0, 0.002))
    assert len(result.hypotheses) == 1
    assert any("1 of 3 guesses" in note for note in result.notes)
    with pytest.raises(InputError, match="Nothing remains"):
        completed_with(half_seen, (-1.0, 0.0))


def test_every_hypothesis_counts_for_the_size_of_the_box(half_seen):
    """Only the second guess is too large for the box."""
    large = float(half_seen.grid.size.max())
    result = completed_with(half_seen, (0.0, large), max_growths=1)
    assert any("cut off" in note for note in result.notes)


# ── the box ───────────────────────────────────────────────────────────────────────────────────────


def test_a_body_cut_by_its_box_says_so():
    """The unseen side of a guess without end is cut; the mesh is closed there, and the notes tell."""
    observation = observe(seen_from_one_side(cone(), noise=0.001), 2, None, np.array([0, 0, 1.0]), FAST)
    result = completed_with(observation, (0.5,), max_growths=0)
    assert result.watertight
    assert any("cut off" in note for note in result.notes)
    assert not any("cut off" in note for note in completed_with(observation, (0.0,)).notes)


def test_a_face_where_something_says_that_the_body_ends_does_not_count(half_seen):
    field = np.ones(half_seen.grid.shape, dtype=np.float32)
    below = half_seen.support.height(observe_beyond_face(half_seen, 2, 0).grid.centers())[..., 0] < 0
    assert below.all()  # the box reaches below the support
    inside = field.copy()
    inside[..., 0] = -1
    assert not fusion.touches_unseen_face(half_seen, inside)
    for axis in range(3):
        free = observe_beyond_face(half_seen, axis, -1).free.take(0, axis=axis)
        known, unknown = np.argwhere(free), np.argwhere(~free & _above(half_seen, axis))
        if len(known):
            inside = field.copy()
            np.moveaxis(inside, axis, 0)[-1][tuple(known[0])] = -1
            assert not fusion.touches_unseen_face(half_seen, inside)
        if len(unknown):
            inside = field.copy()
            np.moveaxis(inside, axis, 0)[-1][tuple(unknown[0])] = -1
            assert fusion.touches_unseen_face(half_seen, inside)


def _above(observation, axis):
    layer = observe_beyond_face(observation, axis, -1)
    solid = layer.neighbour | (observation.support.height(layer.grid.centers()) < 0)
    return ~solid.take(0, axis=axis)

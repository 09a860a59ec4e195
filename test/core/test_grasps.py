"""examples/grasps.py: grasps on bodies whose good ones are known."""

import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
from grasps import Body, Gripper, crossings, is_clear, is_inside, pad_contacts, sample_grasps

GRIPPER = Gripper(opening=0.08, friction=0.4)
TABLE = np.array([0.0, 0.0, 1.0, 0.0])  # z = 0, free above


def body_of(mesh: trimesh.Trimesh, observed=None) -> Body:
    """observed: vertices [V, 3] → [V]."""
    vertices = np.asarray(mesh.vertices)
    seen = np.ones(len(vertices)) if observed is None else observed(vertices).astype(float)
    return Body(vertices, np.asarray(mesh.faces), seen)


def box(size=(0.05, 0.1, 0.06), at=(0.0, 0.0, 0.03), **kwargs) -> Body:
    mesh = trimesh.creation.box(size).subdivide().subdivide().subdivide()
    return body_of(mesh.apply_translation(at), **kwargs)


def cylinder(radius=0.03, height=0.12, **kwargs) -> Body:
    mesh = trimesh.creation.cylinder(radius=radius, height=height, sections=64)
    return body_of(mesh.apply_translation((0, 0, height / 2)), **kwargs)


def require_antipodal(body: Body, grasps, gripper=GRIPPER) -> None:
    """Contacts on the surface, normals within the cone of the closing line, and the gripper's frame right."""
    for grasp in grasps:
        line = np.diff(grasp.contacts, axis=0)[0]
        assert grasp.width == pytest.approx(np.linalg.norm(line)) and grasp.width < gripper.opening
        line /= np.linalg.norm(line)
        for contact, sign in zip(grasp.contacts, (-1, 1)):
            distance = np.abs(np.einsum("ij,ij->i", body.triangles[:, 0] - contact, body.normals))
            near = np.linalg.norm(body.triangles.mean(axis=1) - contact, axis=1) < 0.1
            cosines = sign * body.normals @ line
            assert (near & (distance < 1e-6) & (cosines >= np.cos(np.arctan(gripper.friction)) - 1e-9)).any()
        assert np.allclose(grasp.pose[:3, :3].T @ grasp.pose[:3, :3], np.eye(3), atol=1e-9)
        assert np.linalg.det(grasp.pose[:3, :3]) == pytest.approx(1)
        assert np.allclose(grasp.pose[:3, 1], line) and np.allclose(grasp.pose[:3, 3], grasp.contacts.mean(0))
        assert 0 <= grasp.slack <= np.arctan(gripper.friction)


# ── rays ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_line_crosses_a_box_twice():
    distances, faces = crossings(box(), np.array([0.001, -1.0, 0.031]), np.array([0.0, 1.0, 0.0]))
    assert distances == pytest.approx([0.95, 1.05]) and len(faces) == 2
    distances, _ = crossings(box(), np.array([0.5, -1.0, 0.03]), np.array([0.0, 1.0, 0.0]))
    assert len(distances) == 0


def test_inside_and_outside():
    body = cylinder()
    assert is_inside(body, np.array([0.0, 0.0, 0.06])) and is_inside(body, np.array([0.029, 0.0, 0.01]))
    assert not is_inside(body, np.array([0.031, 0.0, 0.06])) and not is_inside(body, np.array([0, 0, 0.13]))


# ── grasps ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("body", [box(), cylinder()], ids=["box", "cylinder"])
def test_grasps_are_antipodal(body):
    grasps = sample_grasps(body, gripper=GRIPPER, support=TABLE, count=10)
    assert len(grasps) == 10
    require_antipodal(body, grasps)
    for grasp in grasps:
        assert is_clear(grasp.pose, GRIPPER, [body], TABLE)


def test_what_is_wider_than_the_opening_is_not_grasped():
    """The box of 5 × 10 × 6 cm: never along its 10 cm; with 4 cm between the fingers not at all."""
    for grasp in sample_grasps(box(), gripper=GRIPPER, support=TABLE, count=30):
        assert abs(grasp.pose[1, 1]) < 0.5
    assert sample_grasps(box(), gripper=Gripper(opening=0.04), support=TABLE) == []


def test_friction_decides():
    """Sides that lean by 15° against each other (a wedge) need a coefficient of tan 15° = 0.27."""
    half = np.tan(np.radians(15)) * 0.06
    corners = [
        (x * (0.01 + s), y, z) for z, s in ((0, half), (0.06, 0)) for x in (-1, 1) for y in (-0.03, 0.03)
    ]
    wedge = trimesh.convex.convex_hull(np.array(corners))
    above = np.array([0.0, 1.0, 0.0, 1.0])  # no support in the way

    def between_the_sides(friction: float) -> int:
        gripper = Gripper(opening=0.08, friction=friction)
        found = sample_grasps(body_of(wedge), gripper=gripper, support=above, count=400, attempts=900)
        require_antipodal(body_of(wedge), found, gripper)
        return sum(abs(grasp.pose[0, 1]) > 0.8 for grasp in found)

    assert between_the_sides(0.2) == 0 and between_the_sides(0.6) > 3


def test_seen_surface_comes_first():
    """A long bar seen at one half only."""
    bar = box(size=(0.03, 0.3, 0.05), at=(0, 0, 0.025), observed=lambda v: v[:, 1] > 0.0)
    grasps = sample_grasps(bar, gripper=GRIPPER, support=TABLE, count=15)
    assert all(grasp.contacts[0, 1] > -0.02 and grasp.observed > 0.4 for grasp in grasps)
    scores = [grasp.observed for grasp in grasps[:5]]
    assert min(scores) > 0.9
    # Where only the unseen half can be reached, it is taken, and said.
    wall = box(size=(0.5, 0.2, 0.3), at=(0, 0.11, 0.15))
    blocked = sample_grasps(bar, [wall], GRIPPER, support=TABLE, count=5)
    assert blocked and all(grasp.contacts[0, 1] < 0.02 for grasp in blocked)
    assert all(grasp.observed < 0.5 for grasp in blocked)


def test_a_neighbour_is_avoided():
    """It stands beside one half of a box, closer than a finger is thick: only the other half is grasped."""
    target, neighbour = box(), box(size=(0.05, 0.05, 0.06), at=(0.056, 0.03, 0.03))
    free = sample_grasps(target, gripper=GRIPPER, support=TABLE, count=20)
    assert any(grasp.pose[1, 3] > 0.01 for grasp in free)
    assert any(not is_clear(grasp.pose, GRIPPER, [neighbour], TABLE) for grasp in free)
    beside = sample_grasps(target, [neighbour], GRIPPER, support=TABLE, count=20)
    assert beside and all(grasp.pose[1, 3] < 0 for grasp in beside)
    assert all(is_clear(grasp.pose, GRIPPER, [target, neighbour], TABLE) for grasp in beside)
    # Beside all of it there is no way left: 10 cm are too long, and below is the table.
    assert sample_grasps(target, [box(at=(0.056, 0, 0.03))], GRIPPER, support=TABLE) == []


def test_a_gripper_inside_a_large_body_is_not_clear():
    """None of the boxes touches the surface there."""
    huge = box(size=(2.0, 2.0, 2.0), at=(0, 0, 1.0))
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[:3, 3] = (0.1, 0.1, 1.0)
    assert not is_clear(pose, GRIPPER, [huge], None)
    pose[2, 3] = 3.0
    assert is_clear(pose, GRIPPER, [huge], None)


def test_no_grasp_from_below_the_support():
    for grasp in sample_grasps(box(size=(0.05, 0.05, 0.02), at=(0, 0, 0.01)), gripper=GRIPPER, support=TABLE):
        assert grasp.pose[2, 2] < 0.1  # never upwards


def test_same_seed_same_grasps():
    first, again = (sample_grasps(cylinder(), gripper=GRIPPER, seed=3, count=5) for _ in range(2))
    assert all(np.array_equal(a.pose, b.pose) for a, b in zip(first, again, strict=True))
    other = sample_grasps(cylinder(), gripper=GRIPPER, seed=4, count=5)
    assert not np.array_equal(first[0].pose, other[0].pose)


@pytest.mark.parametrize(
    ("values", "words"),
    [({"opening": 0.0}, "opening must be positive"), ({"friction": np.nan}, "friction must be positive"),
     ({"clearance": 0.05}, "leaves nothing")],
)  # fmt: skip
def test_grippers_that_cannot_be(values, words):
    with pytest.raises(ValueError, match=words):
        Gripper(**values)


def test_bodies_that_are_none():
    good = box()
    with pytest.raises(ValueError, match="names a vertex"):
        Body(good.vertices[:5], good.faces, np.ones(5))
    with pytest.raises(ValueError, match="at least one"):
        Body(good.vertices, np.empty((0, 3), int), good.observed)
    with pytest.raises(ValueError, match="observed"):
        Body(good.vertices, good.faces, np.ones(3))


# ── pads ──────────────────────────────────────────────────────────────────────────────────────────


def closing_at(x: float, y: float, z: float) -> np.ndarray:
    """A gripper from above that closes along the world's y."""
    pose = np.eye(4)
    pose[:3, :3] = np.stack([[-1, 0, 0], [0, 1, 0], [0, 0, -1]], axis=1)
    pose[:3, 3] = x, y, z
    return pose


def test_pads_touch_a_wall_flat_and_a_corner_not():
    flat = box(size=(0.1, 0.05, 0.06))
    for cosines in pad_contacts(flat, GRIPPER, closing_at(0, 0, 0.04)):
        assert len(cosines) == 9 and cosines == pytest.approx(1.0)
    half = pad_contacts(flat, GRIPPER, closing_at(0.05, 0, 0.04))  # on its edge: the inner places touch
    assert all(len(cosines) == 6 and cosines == pytest.approx(1.0) for cosines in half)
    turned = trimesh.creation.box((0.05, 0.05, 0.06)).apply_transform(
        trimesh.transformations.rotation_matrix(np.pi / 4, (0, 0, 1))
    )
    edges = pad_contacts(body_of(turned.subdivide()), GRIPPER, closing_at(0.004, 0, 0.0))
    assert all(len(cosines) and cosines.max() == pytest.approx(np.sqrt(0.5)) for cosines in edges)
    assert all(len(cosines) == 0 for cosines in pad_contacts(flat, GRIPPER, closing_at(0.3, 0, 0)))


def test_flat_pads_come_first():
    grasps = sample_grasps(cylinder(), gripper=GRIPPER, support=TABLE, count=10)
    assert grasps[0].steady > 0.5 and all(0 <= grasp.steady <= 1 for grasp in grasps)
    assert np.mean([g.steady for g in grasps[:3]]) >= np.mean([g.steady for g in grasps])

"""Objects that were completed one by one lie together: none in another, each on what carries it."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.optimize import minimize
from textured_box import painted_box

from instascene_core.config import Config, RestingConfig
from instascene_core.errors import Cancelled
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.convex import few_vertices
from instascene_core.geometry.convex_pairs import covering, cut, overlap
from instascene_core.instances import InstanceId
from instascene_core.objects import CompletedObject
from instascene_core.scene.resting import lay_to_rest
from instascene_core.scene.resting.bodies import BodiesBudget, collision_bodies
from instascene_core.scene.resting.carrying import Contact, carrying, contacts
from instascene_core.scene.resting.shifts import shifts
from instascene_core.scene.resting.things import Thing, spread

ONE, TWO, FAR = (InstanceId(k) for k in (1, 2, 3))
UP = np.array([0.0, 0.0, 1.0])
TABLE = Plane(UP, 0.0)
BUDGET = BodiesBudget(max_parts=64, max_vertices=60, max_filled=0.001, touch=0.001)
ERROR = 3e-4  # metres, of observed vertices


def box(low, high, edge: float = 0.006) -> TriangleMesh:
    return meshes.refine(meshes.from_trimesh(trimesh.creation.box(bounds=[low, high])), edge, 10**6)


def thing(number: int, mesh: TriangleMesh, unseen: np.ndarray) -> CompletedObject:
    """unseen: [V] bool."""
    observed = (~unseen).astype(np.float32)
    return replace(
        painted_box(100), instance_id=number, observed=observed, texture=None,
        colors=np.full((len(unseen), 3), 128, np.uint8),
        vertex_uncertainty=np.where(unseen, 2e-3, ERROR).astype(np.float32), hypotheses=(mesh,),
    ).with_mesh(mesh, (meshes.convex_hull(mesh.vertices),), np.zeros(3))  # fmt: skip


def cube(size: float = 2.0, at=(0, 0, 0)) -> TriangleMesh:
    return meshes.convex_hull(size / 2 * np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T + at)


# ── convex bodies ─────────────────────────────────────────────────────────────────────────────────


def test_two_cubes_overlap_by_as_much_as_they_do():
    found = overlap(cube(), cube(at=(1.9, 0.3, 0)))
    assert found is not None and found.depth == pytest.approx(0.1)
    np.testing.assert_allclose(found.normal, [1, 0, 0], atol=1e-6)
    assert (found.first, found.second) == pytest.approx((1.0, 0.9))
    assert overlap(cube(), cube(at=(2.1, 0, 0))) is None
    assert overlap(cube(), cube(at=(5, 5, 5))) is None


def test_a_plane_takes_a_corner_of_a_cube():
    normal = np.ones(3) / np.sqrt(3)
    left = cut(cube(), normal, 2 / np.sqrt(3))
    assert meshes.is_watertight(left) and (left.vertices @ normal).max() <= 2 / np.sqrt(3) + 1e-9
    assert meshes.volume(left) == pytest.approx(8 - 1 / 6)
    whole = cube()
    assert cut(whole, normal, 3) is whole


def test_parts_that_cover_hold_every_vertex():
    body = meshes.from_trimesh(trimesh.creation.icosphere(2, 1.0))
    halves = (cube(1.2, (0.6, 0, 0)), cube(1.2, (-0.6, 0, 0)))
    held = covering(body, halves)
    inside = np.min([meshes.signed_distance(part, body.vertices) for part in held], axis=0)
    assert inside.max() < 1e-6


def test_few_vertices_are_kept_where_they_matter():
    ball = meshes.convex_hull(trimesh.creation.icosphere(3, 1.0).vertices)
    low = few_vertices(ball, 40, lambda points: 1 / (points[:, 2] + 1.05))
    plain = few_vertices(ball, 40)
    foot = ball.vertices[ball.vertices[:, 2] < -0.8]
    off = [meshes.signed_distance(body, foot).max() for body in (low, plain)]
    assert len(low.vertices) <= 40 and off[0] < 0.5 * off[1]


def test_a_body_beside_another_is_no_worse_than_a_few_millimetres_far_from_it():
    """Many points at its foot, where the table is, must not take all vertices from its round top."""
    ball = trimesh.creation.icosphere(4, 0.05).vertices + np.array([0, 0, 0.05])
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    foot = np.stack([0.04 * np.cos(angles), 0.04 * np.sin(angles), np.zeros(400)], axis=1)
    body = meshes.convex_hull(np.concatenate([ball, foot]))
    ((kept,),) = collision_bodies([body], [(body,)], [[TABLE]], BUDGET)
    assert len(kept.vertices) <= 60
    off = meshes.signed_distance(kept, body.vertices)
    assert off.max() < 5e-3  # 12 mm, where what is far does not count
    assert off[body.vertices[:, 2] < 1e-6].max() < 3e-4


def test_bodies_do_not_overlap_and_what_a_hull_fills_is_divided():
    """A post in the corner of an L, whose hull fills the corner."""
    l_shape = trimesh.boolean.union(
        [trimesh.creation.box(bounds=[[0, 0, 0], [0.1, 0.02, 0.05]]),
         trimesh.creation.box(bounds=[[0, 0, 0], [0.02, 0.1, 0.05]])]
    )  # fmt: skip
    ell = meshes.refine(meshes.from_trimesh(l_shape), 0.01, 10**6)
    post = box([0.021, 0.021, 0.0], [0.04, 0.04, 0.05])
    parts = [(meshes.convex_hull(m.vertices),) for m in (ell, post)]
    first, second = collision_bodies([ell, post], parts, [[TABLE]] * 2, BUDGET)
    assert len(first) > 1 and all(len(part.vertices) <= 60 for part in first)
    depths = [found.depth for a in first for b in second if (found := overlap(a, b)) is not None]
    assert max(depths, default=0) < 1e-4
    kept = np.min([meshes.signed_distance(part, ell.vertices) for part in first], axis=0)
    assert kept.max() < 1.5e-3  # what a cut takes of the mesh is less than what a part may fill


def test_flat_parts_are_left_out_and_an_object_without_parts_gets_its_hull():
    body = box([0, 0, 0.0], [0.05, 0.05, 0.05])
    flat = TriangleMesh(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1e-17]]), cube().triangles[:4])
    hull = meshes.convex_hull(body.vertices)
    for parts in ((hull, flat), (flat,), ()):
        ((kept,),) = collision_bodies([body], [parts], [[TABLE]], BUDGET)
        assert meshes.volume(kept) == pytest.approx(0.05**3)


def test_bodies_that_were_handed_out_stay_and_the_new_one_is_cut():
    bodies = [box([0, 0, 0], [0.05, 0.05, 0.05]), box([0.049, 0, 0], [0.1, 0.05, 0.05])]
    parts = [(meshes.convex_hull(m.vertices),) for m in bodies]
    fixed, (new,) = collision_bodies(bodies, parts, [[TABLE]] * 2, BUDGET, [False, True])
    assert fixed == parts[0]
    assert new.vertices[:, 0].min() == pytest.approx(0.05) and new.vertices[:, 0].max() == pytest.approx(0.1)


# ── what carries ──────────────────────────────────────────────────────────────────────────────────


def as_thing(mesh: TriangleMesh, planes=(TABLE,)) -> Thing:
    size = len(mesh.vertices)
    return Thing(mesh, np.ones(size), np.full(size, ERROR), planes=planes)


def test_forces_go_through_the_contacts_with_the_least_gap():
    """A box a little above the table and beside another: the table carries it, the neighbour nothing."""
    config = replace(RestingConfig(), lean=0.0)
    a = as_thing(box([0, 0, 0.001], [0.05, 0.05, 0.06]))
    b = as_thing(box([0.052, 0, 0.0], [0.1, 0.05, 0.06]))
    found = contacts([a, b], config)
    used = [contact for contact, carries in zip(found, carrying(found, [a, b], UP, config)) if carries]
    assert {(c.upper, c.lower) for c in used} == {(0, -1), (1, -1)}
    assert max(c.gap for c in used) == pytest.approx(0.001, abs=1e-6)


def test_a_plate_on_two_posts_is_carried_by_both():
    config = RestingConfig()
    posts = [as_thing(box([x, 0, 0], [x + 0.02, 0.05, 0.05])) for x in (0.0, 0.1)]
    plate = as_thing(box([0, 0, 0.0515], [0.12, 0.05, 0.06]))
    things = [*posts, plate]
    found = contacts(things, config)
    used = [contact for contact, carries in zip(found, carrying(found, things, UP, config)) if carries]
    assert {frozenset((c.upper, c.lower)) for c in used if c.lower >= 0} == {
        frozenset((0, 2)),
        frozenset((1, 2)),
    }


def test_moves_fade_out_over_unseen_surface_only():
    mesh = box([0, 0, 0], [0.05, 0.05, 0.05])
    body = replace(as_thing(mesh), generated=(mesh.vertices[:, 2] < 0.03).astype(float))
    wanted = np.where(mesh.vertices[:, 2] < 1e-9, 1.0, 0.0)
    moves = spread(body, wanted, 6)
    low = (mesh.vertices[:, 2] > 1e-9) & (mesh.vertices[:, 2] < 0.012)
    assert (moves[wanted > 0] == 1).all() and (moves[~body.loose] == 0).all() and (moves[low] > 0).any()
    assert moves.max() <= 1


# ── whole scenes ──────────────────────────────────────────────────────────────────────────────────


def pair() -> dict[InstanceId, CompletedObject]:
    """Two boxes that reach 2 mm into each other where nobody has seen them; the second hangs 3 mm above the
    table, and nobody has seen its bottom."""
    a, b = box([0, 0, 0], [0.052, 0.05, 0.05]), box([0.05, 0, 0.003], [0.1, 0.05, 0.05])
    return {
        ONE: thing(ONE, a, a.vertices[:, 0] > 0.03),
        TWO: thing(TWO, b, (b.vertices[:, 0] < 0.07) | (b.vertices[:, 2] < 0.004)),
    }


def test_unseen_surface_gives_way_and_reaches_the_table():
    before = pair()
    result = lay_to_rest(before, [TABLE], UP, Config())
    a, b = result.objects[ONE], result.objects[TWO]
    assert meshes.signed_distance(b.mesh, a.mesh.vertices).min() > -2e-4
    assert b.mesh.vertices[:, 2].min() == pytest.approx(0, abs=1e-4)
    for number in (ONE, TWO):
        old, new, moved = before[number], result.objects[number], result.moved[number]
        seen = old.observed > 0.5
        way = np.linalg.norm(new.mesh.vertices - old.mesh.vertices, axis=1)
        assert way[seen].max() <= ERROR + moved.shift + 1e-6
        assert moved.overlap_before == pytest.approx(0.002, abs=1e-4) and moved.overlap < 2e-4
        assert new.watertight and np.array_equal(new.mesh.triangles, old.mesh.triangles)
        assert new.volume == pytest.approx(meshes.volume(new.mesh))
        low = new.mesh.vertices.min(axis=0)
        assert new.world_from_object[2, 3] == pytest.approx(low[2], abs=1e-9)
        assert np.array_equal(new.observed, old.observed)
    depths = [f.depth for p in a.convex_parts for q in b.convex_parts if (f := overlap(p, q)) is not None]
    assert max(depths, default=0) < 1e-4


def test_what_was_handed_out_stays():
    before = pair()
    result = lay_to_rest(before, [TABLE], UP, Config(), moving={TWO})
    assert result.objects[ONE] is before[ONE] and set(result.moved) == {TWO}
    away = box([1, 0, 0], [1.05, 0.05, 0.05])
    far = {**before, FAR: thing(FAR, away, np.zeros(len(away.vertices), dtype=bool))}
    assert lay_to_rest(far, [TABLE], UP, Config(), moving={TWO}).objects[FAR] is far[FAR]
    assert meshes.signed_distance(before[ONE].mesh, result.objects[TWO].mesh.vertices).min() > -1e-4


def test_observed_surfaces_that_overlap_are_moved_apart_as_wholes():
    """By no more than 2 mm in all, when no vertex may move by more than its error."""
    a, b = box([0, 0, 0], [0.0515, 0.05, 0.05]), box([0.05, 0, 0], [0.1, 0.05, 0.05])
    seen = {n: thing(n, m, np.zeros(len(m.vertices), dtype=bool)) for n, m in ((ONE, a), (TWO, b))}
    result = lay_to_rest(seen, [TABLE], UP, Config())
    assert result.moved[ONE].overlap_before == pytest.approx(0.0015, abs=1e-4)
    assert result.moved[ONE].overlap < 4e-4
    assert 1e-4 < max(result.moved[n].shift for n in (ONE, TWO)) <= 0.002
    (other,) = result.objects[ONE].hypotheses
    shift = other.vertices - seen[ONE].hypotheses[0].vertices
    assert np.allclose(shift, shift[0]) and np.linalg.norm(shift[0]) == pytest.approx(result.moved[ONE].shift)


def three_cubes() -> list[Thing]:
    """The outer two cannot move; observed to `ERROR`."""
    bodies = [cube(0.05, at=(x, 0, 0)) for x in (-0.05, 0, 0.05)]
    none, error = np.zeros(8), np.full(8, ERROR)
    return [Thing(mesh, none, error, moves=k == 1) for k, mesh in enumerate(bodies)]


def contact(upper: int, lower: int, normal, gap: float) -> Contact:
    return Contact(upper, lower, np.zeros(3), np.asarray(normal, dtype=float), gap)


def test_contacts_that_contradict_each_other_move_nothing_far():
    """A wedge between two that stay: only a long way up would free it, and it is not that far off."""
    steep = np.array([0.995, 0, 0.1]) / np.linalg.norm([0.995, 0, 0.1])
    found = [contact(1, 0, steep, -0.0009), contact(1, 2, steep * [-1, 1, 1], -0.0009)]
    moves = shifts(three_cubes(), found, np.zeros(2, dtype=bool), RestingConfig())
    assert np.array_equal(moves[[0, 2]], np.zeros((2, 3)))  # they may not
    assert moves[1, 0] == pytest.approx(0, abs=1e-9) and 0 < moves[1, 2] < ERROR
    freed = -(-0.0009 + RestingConfig().left) / steep[2]
    assert freed > 0.005  # metres: what these two contacts alone would ask for


def test_moves_are_the_likeliest_ones():
    """Against a general minimiser, in one dimension too many to guess."""
    rng = np.random.default_rng(5)
    things = [replace(one, moves=True) for one in three_cubes()]
    normals = rng.normal(size=(30, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    pairs, gaps = rng.permuted(np.tile([0, 1, 2], (30, 1)), axis=1)[:, :2], rng.uniform(-0.001, 0.001, 30)
    pulls, left = rng.uniform(size=30) < 0.4, RestingConfig().left
    found = [contact(a, b, n, g) for (a, b), n, g in zip(pairs, normals, gaps)]

    def cost(x: np.ndarray) -> float:
        moves = ERROR * x.reshape(3, 3)
        gap = gaps + (normals * (moves[pairs[:, 0]] - moves[pairs[:, 1]])).sum(axis=1)
        beyond = np.minimum(gap + left, 0) + pulls * np.maximum(gap - left, 0)
        return float(x @ x + (beyond**2).sum() / left**2)

    moves = shifts(things, found, pulls, RestingConfig())
    best = minimize(cost, np.zeros(9), method="BFGS", options={"gtol": 1e-9})
    assert np.linalg.norm(moves, axis=1).max() > 1e-4
    np.testing.assert_allclose(moves, ERROR * best.x.reshape(3, 3), atol=2e-8)


def test_the_same_bits_again_and_nothing_without_a_neighbour_or_a_plane():
    once, again = (lay_to_rest(pair(), [TABLE], UP, Config()) for _ in range(2))
    for number in (ONE, TWO):
        assert np.array_equal(once.objects[number].mesh.vertices, again.objects[number].mesh.vertices)
    alone = {TWO: pair()[TWO]}
    free = lay_to_rest(alone, [], None, Config())
    assert np.array_equal(free.objects[TWO].mesh.vertices, alone[TWO].mesh.vertices)
    assert lay_to_rest({}, [TABLE], UP, Config()).objects == {}


def test_lengths_shrink_with_the_objects():
    """The same pair ten times smaller: nothing moves farther than a tenth of what it does at full size."""
    tiny = {}
    for number, whole in pair().items():
        mesh = TriangleMesh(0.1 * whole.mesh.vertices, whole.mesh.triangles)
        tiny[number] = thing(number, mesh, whole.observed < 0.5)
    result = lay_to_rest(tiny, [TABLE], UP, Config())
    for number in (ONE, TWO):
        way = np.linalg.norm(result.objects[number].mesh.vertices - tiny[number].mesh.vertices, axis=1)
        assert 0 < way.max() <= 0.1 * (0.006 + 0.002) + 1e-6


def test_vertices_at_one_place_are_taken_apart():
    """Two boxes that touch at a corner, each closed: joined there, a reader counts one vertex too few."""
    two = trimesh.util.concatenate(
        [
            trimesh.creation.box(bounds=[[0, 0, 0], [1, 1, 1]]),
            trimesh.creation.box(bounds=[[1, 1, 1], [2, 2, 2]]),
        ]
    )
    mesh = meshes.from_trimesh(two)
    apart = meshes.separated(mesh)
    assert len(np.unique(apart.vertices.astype(np.float32), axis=0)) == len(mesh.vertices) == 16
    assert np.abs(apart.vertices - mesh.vertices).max() < 1e-3
    whole = cube()
    assert meshes.separated(whole) is whole


def test_what_lies_deep_in_another_changes_neither_surface():
    """A false object in a good one: only the convex bodies are taken apart."""
    good, false = box([0, 0, 0], [0.05, 0.05, 0.05]), box([0.03, 0.01, 0], [0.08, 0.04, 0.04])
    both = {n: thing(n, m, np.ones(len(m.vertices), dtype=bool)) for n, m in ((ONE, good), (TWO, false))}
    result = lay_to_rest(both, [TABLE], UP, Config())
    for number in (ONE, TWO):
        assert np.allclose(result.objects[number].mesh.vertices, both[number].mesh.vertices, atol=1e-6)
    bodies = [result.objects[number].convex_parts for number in (ONE, TWO)]
    depths = [f.depth for p in bodies[0] for q in bodies[1] if (f := overlap(p, q)) is not None]
    assert max(depths, default=0) < 1e-4


def test_a_wall_takes_what_reaches_behind_it_and_carries_nothing():
    """What nobody has seen of a box ends at the wall that it reaches 2 mm into; one that only leans stays."""
    wall = Plane(np.array([1.0, 0.0, 0.0]), 0.0)
    body = box([-0.002, 0, 0], [0.05, 0.05, 0.05])
    before = {ONE: thing(ONE, body, body.vertices[:, 0] < 0.01)}
    result = lay_to_rest(before, [TABLE, wall], UP, Config())
    made = result.objects[ONE]
    assert made.watertight and made.mesh.vertices[:, 0].min() == pytest.approx(0, abs=1e-4)
    assert min(part.vertices[:, 0].min() for part in made.convex_parts) > -1e-4
    leaning = box([0.004, 0, 0], [0.05, 0.05, 0.05])
    away = {ONE: thing(ONE, leaning, leaning.vertices[:, 0] < 0.01)}
    kept = lay_to_rest(away, [TABLE, wall], UP, Config()).objects[ONE]
    assert kept.mesh.vertices[:, 0].min() == pytest.approx(0.004, abs=1e-4)


def test_every_step_is_told_in_order_and_any_of_them_can_cancel():
    told: list[tuple[float, str]] = []
    lay_to_rest(pair(), [TABLE], UP, Config(), progress=lambda _, f, message: told.append((f, message)))
    assert told == sorted(told, key=lambda step: step[0]) and told[-1] == (1.0, "2 objects")
    assert [m for k, (_, m) in enumerate(told) if m != told[k - 1][1]][:5] == [
        "surfaces", "contacts", "gaps", "shifts", "convex bodies",
    ]  # fmt: skip
    for k in range(len(told)):
        left = iter(range(k))

        def stop(stage: str, fraction: float, message: str = "", left=left) -> None:
            if next(left, None) is None:
                raise Cancelled(message)

        with pytest.raises(Cancelled, match=told[k][1]):
            lay_to_rest(pair(), [TABLE], UP, Config(), progress=stop)

"""Convex bodies for collisions: they cover, they keep cavities, they keep within a budget."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from instascene_core.config.completion import ConvexPartsConfig
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.convex import few_vertices, surface_error
from instascene_core.geometry.convex_parts import PartsBudget, convex_parts

BUDGET = PartsBudget(**vars(ConvexPartsConfig()))


def cube() -> TriangleMesh:
    return meshes.from_trimesh(trimesh.creation.box((2, 2, 2)))


def bowl() -> TriangleMesh:
    """16 cm wide, 6 cm deep, 4 mm thick."""
    angles = np.linspace(0, np.pi / 2, 16)
    outer = np.stack([0.08 * np.sin(angles), 0.06 * (1 - np.cos(angles))], axis=1)
    inner = np.stack([0.076 * np.sin(angles), 0.004 + 0.056 * (1 - np.cos(angles))], axis=1)[::-1]
    body = trimesh.creation.revolve(np.concatenate([outer, inner]), sections=40)
    body.merge_vertices()
    mesh = meshes.from_trimesh(body)
    return mesh if meshes.volume(mesh) > 0 else TriangleMesh(mesh.vertices, mesh.triangles[:, ::-1])


def test_parts_cover_an_l_shape_and_keep_a_cube_whole():
    assert len(convex_parts(cube(), BUDGET)) == 1
    a = trimesh.creation.box(bounds=[[0, 0, 0], [3, 1, 1]])
    b = trimesh.creation.box(bounds=[[0, 0, 0.5], [1, 1, 3]])
    body = meshes.from_trimesh(trimesh.boolean.union([a, b]))
    parts = convex_parts(body, BUDGET)
    assert 2 <= len(parts) <= 12
    assert sum(meshes.volume(p) for p in parts) == pytest.approx(meshes.volume(body), rel=0.1)
    rng = np.random.default_rng(0)
    inside = rng.uniform([0, 0, 0], [3, 1, 3], (500, 3))
    inside = inside[meshes.signed_distance(body, inside) < -0.1]
    covered = np.min([meshes.signed_distance(p, inside) for p in parts], axis=0)
    assert (covered < 0.05).all()


def test_a_bowl_holds_something():
    """Its hull is 6 cm off at the bottom of the cavity, its parts no more than they may be."""
    mesh = bowl()
    assert meshes.is_watertight(mesh)
    allowed = BUDGET.allowed(mesh)
    assert allowed == pytest.approx(0.03 * np.linalg.norm([0.16, 0.16, 0.06]), rel=0.01)
    assert surface_error(mesh, (meshes.convex_hull(mesh.vertices),)) > 0.04
    parts = convex_parts(mesh, BUDGET)
    assert surface_error(mesh, parts) <= allowed
    assert 2 < len(parts) <= 64 and max(len(p.vertices) for p in parts) <= 60
    middle = np.array([[0.0, 0.0, z] for z in (0.02, 0.03, 0.05)])
    assert min(meshes.signed_distance(part, middle).min() for part in parts) > 0.005  # the cavity is free
    again = convex_parts(mesh, BUDGET)
    assert all(np.array_equal(a.vertices, b.vertices) for a, b in zip(parts, again, strict=True))


def test_the_budget_is_kept():
    parts = convex_parts(bowl(), replace(BUDGET, max_parts=6, max_vertices=12))
    assert 2 <= len(parts) <= 6 and max(len(p.vertices) for p in parts) <= 12
    assert len(convex_parts(bowl(), replace(BUDGET, max_parts=1))) == 1


def test_a_ball_rolls_to_the_middle_of_a_bowl_and_stays():
    import mujoco

    parts = convex_parts(bowl(), BUDGET)
    hulls = "".join(f'<mesh name="p{k}" vertex="{points(part)}"/>' for k, part in enumerate(parts))
    geoms = "".join(f'<geom type="mesh" mesh="p{k}"/>' for k in range(len(parts)))
    model = mujoco.MjModel.from_xml_string(
        f"<mujoco><asset>{hulls}</asset><worldbody>{geoms}"
        '<body pos="0.03 0 0.07"><freejoint/><geom type="sphere" size="0.015" density="500"'
        ' condim="6" friction="1 0.005 0.005"/></body></worldbody></mujoco>'
    )
    data = mujoco.MjData(model)
    while data.time < 2:
        mujoco.mj_step(model, data)
    assert np.linalg.norm(data.qpos[:2]) < 0.02 and 0.015 < data.qpos[2] < 0.03


def points(part: TriangleMesh) -> str:
    return " ".join(f"{x:.6f}" for x in part.vertices.ravel())


@pytest.mark.parametrize("cuts", [False, True])
def test_a_thin_ring_and_a_pan_stay_open(cuts):
    """A wall of 2 mm; with a rod for a handle that runs away from it.  First halves of a ring are no better
    than the ring, so a search by what one cut saves would not come far."""
    ring = trimesh.creation.annulus(r_min=0.088, r_max=0.09, height=0.04, sections=60)
    solids = [ring]
    if cuts:
        floor = trimesh.creation.cylinder(radius=0.089, height=0.002, sections=60)
        rod = trimesh.creation.box(bounds=[[0.089, -0.01, 0.01], [0.25, 0.01, 0.015]])
        solids += [floor.apply_translation([0, 0, -0.019]), rod]
    mesh = meshes.from_trimesh(trimesh.boolean.union(solids))
    parts = convex_parts(mesh, BUDGET)
    assert surface_error(mesh, parts) <= BUDGET.allowed(mesh)
    assert len(parts) <= 30
    middle = np.array([[0.03, 0.0, z] for z in (-0.005, 0.01, 0.019)])
    assert min(meshes.signed_distance(part, middle).min() for part in parts) > 0.005


def test_bodies_that_are_apart_share_no_part():
    one = trimesh.creation.box((1, 1, 1))
    other = one.copy().apply_translation([3, 0, 0])
    parts = convex_parts(meshes.from_trimesh(trimesh.util.concatenate([one, other])), BUDGET)
    assert [meshes.volume(part) for part in parts] == pytest.approx([1, 1])
    beside = convex_parts(
        meshes.from_trimesh(trimesh.util.concatenate([one, other])), replace(BUDGET, max_error_share=1.0)
    )
    assert len(beside) == 1


def test_the_error_is_how_far_surfaces_are_apart():
    box = cube()
    larger = TriangleMesh(box.vertices * 1.1, box.triangles)
    assert surface_error(box, (box,)) == pytest.approx(0, abs=1e-6)
    assert (
        0.1 <= surface_error(box, (larger,)) <= 0.1 * np.sqrt(3)
    )  # filled beyond the surface, most at corners
    assert surface_error(larger, (box,)) == pytest.approx(0.1, abs=1e-6)  # not covered


def test_a_ball_of_few_vertices_is_nearly_the_ball():
    ball = meshes.from_trimesh(trimesh.creation.icosphere(subdivisions=3))
    small = few_vertices(ball, 60)
    assert len(small.vertices) == 60 and meshes.is_watertight(small)
    assert meshes.volume(small) > 0.85 * meshes.volume(ball)
    assert few_vertices(small, 60) is small


def test_more_bodies_than_parts_share_some():
    boxes = [trimesh.creation.box((1, 1, 1)).apply_translation([x, 0, 0]) for x in (0, 3, 20)]
    mesh = meshes.from_trimesh(trimesh.util.concatenate(boxes))
    parts = convex_parts(mesh, replace(BUDGET, max_parts=2))
    assert sorted(meshes.volume(part) for part in parts) == pytest.approx([1, 4])

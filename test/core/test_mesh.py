"""Mesh helpers on bodies whose numbers are known."""

import numpy as np
import pytest
import trimesh

from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes


def sphere_field(count=40, radius=12.0, center=None) -> np.ndarray:
    index = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), -1)
    return np.linalg.norm(index - (center or [(count - 1) / 2] * 3), axis=-1) - radius


def cube(size=2.0) -> TriangleMesh:
    return meshes.from_trimesh(trimesh.creation.box((size, size, size)))


def test_volume_and_watertight_of_a_cube():
    assert meshes.volume(cube()) == pytest.approx(8.0)
    assert meshes.is_watertight(cube())
    assert not meshes.is_watertight(TriangleMesh(cube().vertices, cube().triangles[1:]))
    flipped = cube().triangles.copy()
    flipped[0] = flipped[0, ::-1]
    assert not meshes.is_watertight(TriangleMesh(cube().vertices, flipped))


def test_surface_of_a_sphere_field_is_closed_outward_and_exact():
    mesh = meshes.surface_from_field(sphere_field())
    assert meshes.is_watertight(mesh)
    assert meshes.volume(mesh) == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.01)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - 19.5, axis=1), 12.0, atol=0.02)
    outward = ((mesh.vertices - 19.5) * meshes.vertex_normals(mesh)).sum(axis=1)
    assert (outward > 0).all()


def test_a_body_cut_by_the_border_is_closed_there():
    mesh = meshes.surface_from_field(sphere_field(count=20))
    assert meshes.is_watertight(mesh)
    assert meshes.volume(mesh) > 0


def test_samples_exactly_on_the_surface_are_no_trouble():
    field = np.ones((8, 8, 8))
    field[3:5, 3:5, 3:5] = -1
    field[2, 3:5, 3:5] = 0.0
    mesh = meshes.surface_from_field(field)
    assert meshes.as_manifold(mesh) is not None


def test_empty_and_broken_fields_are_refused():
    with pytest.raises(InputError, match="nothing inside"):
        meshes.surface_from_field(np.ones((4, 4, 4)))
    with pytest.raises(InputError, match="NaN"):
        meshes.surface_from_field(np.full((4, 4, 4), np.nan))


def test_largest_solid_drops_cavities_and_crumbs():
    shell = np.maximum(sphere_field(radius=15.0), -sphere_field(radius=8.0))
    crumb = sphere_field(radius=2.0, center=[3, 3, 3])
    mesh = meshes.surface_from_field(np.minimum(shell, crumb))
    assert meshes.triangle_components(mesh)[0] == 3
    solid = meshes.largest_solid(mesh)
    assert meshes.triangle_components(solid)[0] == 1
    assert meshes.volume(solid) == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.02)
    with pytest.raises(InputError, match="2-manifold"):
        meshes.largest_solid(TriangleMesh(cube().vertices, cube().triangles[1:]))


def test_simplify_stays_closed_within_tolerance_and_bound():
    mesh = meshes.surface_from_field(sphere_field())
    small = meshes.simplify(mesh, 0.1, 100_000)
    assert len(small.triangles) < 0.7 * len(mesh.triangles)
    assert meshes.is_watertight(small)
    assert meshes.distance(mesh, small.vertices).max() < 0.11
    bounded = meshes.simplify(mesh, 0.1, 500)
    assert len(bounded.triangles) <= 500
    assert meshes.is_watertight(bounded)


def test_refining_bounds_the_edges_and_keeps_the_surface():
    fine = meshes.refine(cube(), 0.3, 10_000)
    edges = fine.vertices[fine.triangles] - fine.vertices[np.roll(fine.triangles, 1, axis=1)]
    assert np.linalg.norm(edges, axis=-1).max() < 0.6  # the longest was 2.8
    assert meshes.is_watertight(fine)
    assert meshes.volume(fine) == pytest.approx(8.0)
    assert meshes.refine(cube(), 0.01, 1000) is not None
    assert len(meshes.refine(cube(), 0.01, 1000).triangles) == 12


def test_smoothing_removes_noise_and_respects_its_bound():
    mesh = meshes.surface_from_field(sphere_field())
    rng = np.random.default_rng(0)
    rough = TriangleMesh(mesh.vertices + 0.1 * rng.standard_normal(mesh.vertices.shape), mesh.triangles)
    smooth = meshes.smooth(rough, 5, 1.0)

    def roughness(candidate):
        return np.std(np.linalg.norm(candidate.vertices - 19.5, axis=1))

    assert roughness(smooth) < 0.5 * roughness(rough)
    assert np.linalg.norm(smooth.vertices - 19.5, axis=1).mean() == pytest.approx(12.0, abs=0.1)
    held = meshes.smooth(rough, 5, 0.05)
    assert np.linalg.norm(held.vertices - rough.vertices, axis=1).max() <= 0.05 + 1e-9


def test_signed_distance_of_a_cube():
    points = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.5], [0.9, 0.0, 0.0]])
    np.testing.assert_allclose(meshes.signed_distance(cube(), points), [-1.0, 0.5, -0.1], atol=1e-5)
    np.testing.assert_allclose(meshes.distance(cube(), points), [1.0, 0.5, 0.1], atol=1e-5)


def test_a_hull_of_points_on_common_planes_is_closed():
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 5)] * 3), axis=-1).reshape(-1, 3)
    for points in (grid, np.concatenate([grid, grid + 1e-9])):
        hull = meshes._joggled_hull(points)
        assert meshes.is_watertight(hull)
        assert meshes.volume(hull) == pytest.approx(1, abs=1e-6)


def test_flat_points_have_no_hull():
    with pytest.raises(InputError, match="no volume"):
        meshes.convex_hull(np.random.default_rng(0).uniform(size=(20, 3)) * [1, 1, 0])


def test_smallest_rectangle_finds_a_turned_box():
    angle = 0.4
    turn = trimesh.transformations.rotation_matrix(angle, (0, 0, 1))
    box = trimesh.creation.box((0.3, 0.1, 0.2))
    box.apply_transform(turn)
    axes = meshes.smallest_rectangle(np.asarray(box.vertices), np.array([0, 0, 1.0]))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    np.testing.assert_allclose(np.ptp(box.vertices @ axes, axis=0), [0.3, 0.1, 0.2], atol=1e-6)


def test_smallest_rectangle_of_a_line_and_of_tilted_gravity():
    line = np.linspace(0, 1, 10)[:, None] * np.array([1.0, 1.0, 0.0])
    axes = meshes.smallest_rectangle(line, np.array([0, 0, 1.0]))
    np.testing.assert_allclose(np.ptp(line @ axes, axis=0), [np.sqrt(2), 0, 0], atol=1e-9)
    axes = meshes.smallest_rectangle(cube().vertices, np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(axes[:, 2], [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
def test_split_edges_keeps_surface_and_closedness(share):
    mesh = meshes.surface_from_field(sphere_field(16, 5.0))
    pairs, of_triangle = meshes.edges(mesh)
    assert len(mesh.vertices) - len(pairs) + len(mesh.triangles) == 2  # Euler: every edge once
    marked = np.random.default_rng(0).uniform(size=len(pairs)) < share
    finer = meshes.split_edges(mesh, pairs, of_triangle, marked)
    assert len(finer.triangles) == len(mesh.triangles) + 2 * marked.sum()
    assert meshes.is_watertight(finer)
    assert meshes.as_manifold(finer) is not None
    assert meshes.volume(finer) == pytest.approx(meshes.volume(mesh), rel=1e-9)
    np.testing.assert_array_equal(finer.vertices[: len(mesh.vertices)], mesh.vertices)

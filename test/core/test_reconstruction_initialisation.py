"""Where Gaussians start: normals of depth images, thinning out, triangulation, stereo."""

import numpy as np
import pytest
import torch
from reconstruction_scene import tabletop_frames

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.gaussians import gaussians_from_points
from instascene_core.geometry.depth_maps import normals_from_depth
from instascene_core.reconstruction.background import shell_points
from instascene_core.reconstruction.initialisation import (
    SurfacePoints,
    back_project_frames,
    gaussians_from_depth,
    initialise,
    thin_out,
)
from instascene_core.stereo import depth_from_stereo
from instascene_core.stereo.triangulation import neighbour_pairs, triangulate

CAMERA = PinholeCamera(64, 48, 60.0, 66.0, 30.0, 25.0)


def plane_depth(normal: np.ndarray, offset: float) -> np.ndarray:
    return (offset / (CAMERA.rays @ normal)).astype(np.float32)


def test_normals_of_a_plane_are_exact_and_face_the_camera():
    normal = np.array([0.3, -0.4, -1.0]) / np.linalg.norm([0.3, -0.4, -1.0])
    found = normals_from_depth(plane_depth(normal, -1.5), CAMERA)
    assert found.valid[3:-3, 3:-3].all()
    assert np.allclose(found.normals[found.valid], normal, atol=1e-3)


def test_edges_grazing_surfaces_and_holes_are_dropped():
    depth = np.full((48, 64), 1.0, dtype=np.float32)
    depth[:, 32:] = 1.5  # a step
    depth[10:20, 5:15] = 0  # a hole
    found = normals_from_depth(depth, CAMERA)
    assert not found.valid[:, 31:33].any()
    assert not found.valid[10:20, 5:15].any()
    assert found.valid[25:45, 5:25].all() and found.valid[25:45, 40:60].all()
    grazing = np.array([0.0, -1.0, -0.05]) / np.linalg.norm([0, 1, 0.05])
    depth = plane_depth(grazing, -0.2)
    depth = np.where(depth > 0, depth, 0).astype(np.float32)
    seen = normals_from_depth(depth, CAMERA)
    cosine = np.abs((CAMERA.rays @ grazing) / np.linalg.norm(CAMERA.rays, axis=-1))
    assert not seen.valid[cosine < 0.1].any() and (cosine < 0.1).sum() > 50


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_gaussians_lie_on_the_surface_in_any_unit(scale):
    frames = tabletop_frames(8, scale=scale)
    model = gaussians_from_depth(frames, 4000)
    assert 3800 <= len(model) <= 4200
    points, normals = model.means.numpy() / scale, model.normals.numpy()
    table = np.abs(points[:, 2]) < 0.004
    assert table.mean() > 0.75
    assert np.abs(normals[table, 2]).mean() > 0.99
    assert (points[:, 2] > -0.01).all() and (np.abs(points[:, :2]) < 0.61).all()
    # Neighbours overlap: a disk is about as wide as its neighbours are far.
    spacing = np.sqrt(1.2 * 1.2 / 4000)
    assert 0.6 * spacing < np.median(model.scales.numpy()) / scale < 0.7 * spacing


def flat_points(n: int, **changes) -> SurfacePoints:
    rng = np.random.default_rng(0)
    values = {
        "positions": (rng.random((n, 3)) * [1, 1, 0]).astype(np.float32),
        "normals": np.tile(np.float32([0, 0, 1]), (n, 1)),
        "colors": np.full((n, 3), 0.25, dtype=np.float32),
        "footprints": np.full(n, 1e-4, dtype=np.float32),
        "importances": np.ones(n, dtype=np.float32),
    }
    return SurfacePoints(**(values | changes))


def test_thin_out_meets_the_budget_and_averages():
    points = flat_points(40_000)
    thin = thin_out(points, 2000)
    # Uniform points split all at once, fourfold: as near to the budget as a power of four comes.
    assert 1900 < len(thin) < 2200
    assert np.allclose(thin.colors, 0.25) and np.allclose(thin.normals, [0, 0, 1])
    assert np.isclose(thin.importances.sum(), 40_000)
    weighted = np.average(thin.positions, axis=0, weights=thin.importances)
    assert np.allclose(weighted, points.positions.mean(axis=0), atol=1e-4)
    assert len(thin_out(points, 10**6)) > 39_000  # all but those within a pixel's footprint


def test_important_places_get_more_and_pixels_limit_the_detail():
    positions = flat_points(40_000).positions
    left = positions[:, 0] < 0.5
    busy = flat_points(40_000, importances=np.where(left, 10, 1).astype(np.float32))
    thin = thin_out(busy, 3000)
    assert 2750 < len(thin) < 3150
    assert (thin.positions[:, 0] < 0.5).mean() > 0.8
    # A pixel covers 5 cm: cells of 1.2 × that or up to half of it, so at most (1 / 0.03)² of them.
    coarse = thin_out(flat_points(40_000, footprints=np.full(40_000, 0.05, dtype=np.float32)), 20_000)
    assert 950 < len(coarse) < 1111


def test_disks_face_along_the_normals():
    normals = np.array([[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, -0.6, -0.8]], dtype=np.float32)
    positions = np.arange(12, dtype=np.float32).reshape(4, 3)
    colors = np.array([[0, 0.5, 1]] * 4, dtype=np.float32)
    model = gaussians_from_points(
        SurfacePoints(
            positions, normals, colors, footprints=np.ones(4, np.float32), importances=np.ones(4, np.float32)
        )
    )
    assert np.allclose(np.abs((model.normals.numpy() * normals).sum(1)), 1, atol=1e-6)
    assert torch.allclose(0.5 + 0.28209479 * model.sh[:, 0], torch.from_numpy(colors), atol=1e-6)


def test_depth_of_zeros_means_no_depth_and_empty_depth_is_refused():
    frames = [f.with_(depth=np.zeros_like(f.depth)) for f in tabletop_frames(2, 64, 48)]
    with pytest.raises(InputError, match="no surface"):
        gaussians_from_depth(frames, 100)
    with pytest.raises(InputError, match="triangulated"):  # too small and too few views for SIFT
        initialise(frames, 100)


def test_pairs_are_neighbours_by_pose():
    frames = tabletop_frames(20, 32, 24)
    pairs = neighbour_pairs(frames)
    assert len(pairs) < 67  # of 190
    assert all(i < j for i, j in pairs)
    assert {i for pair in pairs for i in pair} == set(range(20))
    forward = np.stack([f.world_from_camera[:3, 2] for f in frames])
    assert min(forward[i] @ forward[j] for i, j in pairs) > np.cos(np.deg2rad(56))


def test_noise_cannot_be_triangulated():
    rng = np.random.default_rng(0)
    frames = [
        f.with_(rgb=rng.integers(0, 255, f.rgb.shape, dtype=np.uint8), depth=None)
        for f in tabletop_frames(4, 160, 120)
    ]
    with pytest.raises(InputError, match="points could be triangulated from 4 images"):
        triangulate(frames)


@pytest.fixture(scope="module")
def textured() -> list[Frame]:
    return tabletop_frames(24, 240, 180)


def test_triangulated_points_lie_on_the_scene(textured):
    points = triangulate([f.with_(depth=None) for f in textured])
    assert len(points.positions) > 1150
    errors = []
    for index, frame in enumerate(textured):
        z = points.depths(index, frame)
        inside = points.positions[points.observations[index]]
        camera_points = (inside - frame.world_from_camera[:3, 3]) @ frame.world_from_camera[:3, :3]
        pixels, _ = frame.camera.project(camera_points)
        columns, rows = np.clip(pixels.astype(int), 0, [239, 179]).T
        errors.append(np.abs(frame.depth[rows, columns] - z))
    assert np.median(np.concatenate(errors)) < 0.0009


def test_stereo_depth_is_right_where_it_is_given(textured):
    frames = [f.with_(depth=None) for f in textured]
    estimated = depth_from_stereo(frames, triangulate(frames), max_frames=12)
    given = [(e, f) for e, f in zip(estimated, textured) if e.depth is not None]
    assert len(given) == 12
    errors, covered = [], []
    for mine, truth in given:
        both = (mine.depth > 0) & (truth.depth > 0)
        covered.append(both.sum() / (truth.depth > 0).sum())
        errors.append((mine.depth - truth.depth)[both])
    errors = np.concatenate(errors)
    assert np.mean(covered) > 0.8
    assert np.median(np.abs(errors)) < 0.0005
    assert np.quantile(np.abs(errors), 0.95) < 0.0035
    assert abs(np.median(errors)) < 0.0001


def test_gaps_are_shown_on_a_shell_behind_everything():
    frames = tabletop_frames(8)  # beyond the table: nothing, in a dark grey
    surface = back_project_frames(frames)
    shell = shell_points(frames, surface)
    assert len(shell) > 2600
    center = np.median(surface.positions, axis=0)
    radius = np.linalg.norm(shell.positions - center, axis=1)
    assert np.allclose(radius, radius[0], rtol=1e-4)
    assert radius[0] > 0.99 * np.quantile(np.linalg.norm(surface.positions - center, axis=1), 0.99)
    assert all(np.linalg.norm(f.world_from_camera[:3, 3] - center) < radius[0] for f in frames)
    assert np.allclose(shell.colors, 0.1, atol=0.01)
    frame = frames[1]  # what it shows lies in that frame's empty pixels
    alone = shell_points([frame], surface)
    pixels, z = frame.camera.project(
        (alone.positions - frame.world_from_camera[:3, 3]) @ frame.world_from_camera[:3, :3]
    )
    assert (z > 0).all()
    columns, rows = pixels.astype(int).T
    assert (frame.depth[rows, columns] == 0).all()

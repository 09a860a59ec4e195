"""TSDF fusion: distances, free space, other surfaces, thin walls, speed."""

import time

import numpy as np
import pytest
import trimesh
from completion_scene import orbit, render, table_mesh

from instascene_core.camera import PinholeCamera
from instascene_core.completion.observing.fusing import fuse_views
from instascene_core.errors import InputError
from instascene_core.geometry.tsdf import (
    BORDER,
    NOTHING,
    OTHER,
    TARGET,
    UNOWNED,
    DepthView,
    VoxelGrid,
    depth_slopes,
    fuse,
    visible_box,
)
from instascene_core.transforms import look_at


def wall_view(what=TARGET, depth=1.0, size=40) -> DepthView:
    """A camera at the origin looking along z at a wall."""
    camera = PinholeCamera(size, size, float(size), float(size), size / 2, size / 2)
    shape = (size, size)
    return DepthView(
        camera,
        np.eye(4),
        np.full(shape, depth, np.float32),
        np.full(shape, what, np.uint8),
        np.full((*shape, 3), 200, np.uint8),
    )


def grid_around_wall(voxel=0.01, count=21) -> VoxelGrid:
    matrix = np.eye(4)
    matrix[:3, 3] = [-0.1, -0.1, 0.9]
    return VoxelGrid(matrix, voxel, (count, count, count))


def test_wall_gives_exact_distances_and_free_space_in_front():
    grid = grid_around_wall()
    volume = fuse([wall_view()], grid, band=0.025, truncation=0.045)
    z = grid.centers()[..., 2]
    known = volume.views > 0
    expected = (1.0 - z > -0.025) & (1.0 - z < 0.045)
    near_limit = np.isclose(1.0 - z, -0.025, atol=1e-6) | np.isclose(1.0 - z, 0.045, atol=1e-6)
    assert (known == expected)[~near_limit].all()
    np.testing.assert_allclose(volume.tsdf[known], 1.0 - z[known], atol=1e-5)
    assert (volume.free_views[1.0 - z > 0.026] == 1).all()
    assert (volume.free_views[1.0 - z < 0.024] == 0).all()
    assert np.isnan(volume.tsdf[~known]).all()
    assert (volume.color[known] == 200).all()


def test_two_views_average_their_distances_by_weight():
    near, far = wall_view(depth=1.0), wall_view(depth=1.01)
    far = DepthView(
        far.camera,
        far.world_from_camera,
        far.depth,
        far.what,
        far.rgb,
        np.full((40, 40), 3.0, np.float32),
    )
    volume = fuse([near, far], grid_around_wall(), band=0.03, truncation=0.05)
    on_wall = volume.tsdf[10, 10, 10]  # z = 1.0
    assert on_wall == pytest.approx((0 * 1 + 0.01 * 3) / 4, abs=1e-5)
    assert volume.views[10, 10, 10] == 2


@pytest.mark.parametrize(("what", "votes"), [(OTHER, 1.0), (UNOWNED, 0.5)])
def test_other_surfaces_carve_in_front_and_claim_their_place(what, votes):
    volume = fuse([wall_view(what)], grid_around_wall(), band=0.025, truncation=0.045)
    assert (volume.views == 0).all()
    assert volume.free_views[10, 10, 2] == 1
    assert volume.free_views[10, 10, 15] == 0
    assert volume.other_views[10, 10, 10] == votes
    assert volume.other_tsdf[10, 10, 9] == pytest.approx(0.01, abs=1e-5)
    assert volume.other_views[10, 10, 18] == 0  # behind it: unknown


def test_border_pixels_only_carve_and_missing_depth_says_nothing():
    border = fuse([wall_view(BORDER)], grid_around_wall(), band=0.025, truncation=0.045)
    assert border.free_views[10, 10, 2] == 1
    assert (border.views == 0).all()
    assert (border.other_views == 0).all()
    nothing = fuse([wall_view(NOTHING, depth=0.0)], grid_around_wall(), band=0.025, truncation=0.045)
    assert (nothing.free_views == 0).all()
    assert (nothing.views == 0).all()


def test_a_ray_beside_an_outline_does_not_carve_the_rim():
    view = wall_view()
    view.depth[:, 20:] = 2.0  # the wall ends at column 20
    view.what[:, 20:] = OTHER
    volume = fuse([view], grid_around_wall(), band=0.025, truncation=0.045)
    beside = grid_around_wall().coordinates(np.array([[0.0125, 0.0, 1.0]]))[0]  # half a pixel outside
    assert volume.free_views[tuple(np.rint(beside).astype(int))] == 0


def test_a_thin_wall_seen_from_both_sides_keeps_its_thickness():
    plate = trimesh.creation.box((0.3, 0.003, 0.3))
    frames = render([plate], orbit(8, (5.0,), target=(0, 0, 0)), width=160, height=120, focal=150)
    views = [
        DepthView(
            f.camera,
            f.world_from_camera,
            f.depth,
            np.where(f.depth > 0, TARGET, NOTHING).astype(np.uint8),
            f.rgb,
        )
        for f in frames
    ]
    matrix = np.eye(4)
    matrix[:3, 3] = [-0.01, -0.02, -0.01]
    grid = VoxelGrid(matrix, 0.0005, (41, 81, 41))
    volume = fuse(views, grid, band=0.001, truncation=0.003)
    inside = np.where(np.isnan(volume.tsdf), volume.free_views == 0, volume.tsdf < 0)
    profile = inside[20, :, 20]
    between = profile[np.abs(grid.centers()[20, :, 20, 1]) < 0.01]
    assert between.sum() * 0.0005 == pytest.approx(0.003, abs=0.0008)


def test_slopes_do_not_cross_a_step():
    depth = np.tile(np.array([1.0, 1.01, 1.02, 2.0, 2.01], np.float32), (3, 1))
    du, dv = depth_slopes(depth)
    np.testing.assert_allclose(du[1], [0.0, 0.01, 0.01, 0.01, 0.0], atol=1e-5)
    np.testing.assert_array_equal(dv, 0)


def test_the_grid_converts_and_samples():
    grid = grid_around_wall()
    centers = grid.centers()
    np.testing.assert_allclose(grid.coordinates(centers[3, 4, 5]), [3, 4, 5], atol=1e-9)
    linear = centers[..., 0] + 2 * centers[..., 2]
    points = np.array([[0.012, -0.033, 0.987]])
    assert grid.sample(linear, points)[0] == pytest.approx(0.012 + 2 * 0.987, abs=1e-6)
    assert grid.contains(points).all()
    assert not grid.contains(points + 1.0).any()


def test_views_that_do_not_see_the_grid_are_skipped():
    behind = np.diag([1.0, -1.0, -1.0, 1.0])  # looks along −z
    view = wall_view()
    assert visible_box(grid_around_wall(), view.camera, behind) is None
    inside = np.eye(4)
    inside[2, 3] = 1.0  # the camera stands in the grid
    assert visible_box(grid_around_wall(), view.camera, inside) == (0, 0, 40, 40)


def test_bad_bands_are_refused():
    with pytest.raises(InputError, match="band"):
        fuse([wall_view()], grid_around_wall(), band=0.0, truncation=0.01)
    with pytest.raises(InputError, match="band"):
        fuse([wall_view()], grid_around_wall(), band=0.02, truncation=0.01)


def test_the_kernel_gives_the_same_bits():
    """Over views with every kind of pixel, holes, weights, a slanted grid, and voxels beside the image."""
    rng = np.random.default_rng(0)
    camera = PinholeCamera(40, 30, 35.0, 36.0, 19.7, 15.2)
    views = []
    for k in range(5):
        depth = (1.0 + 0.05 * rng.standard_normal((30, 40)).cumsum(axis=1) / 6).astype(np.float32)
        depth[rng.random(depth.shape) < 0.1] = 0
        what = np.where(depth > 0, rng.integers(1, 5, depth.shape), NOTHING).astype(np.uint8)
        rgb = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        weight = None if k == 0 else rng.random(depth.shape, dtype=np.float32)
        pose = look_at(np.array([0.2 * k - 0.4, 0.1, 0.0]), np.array([0.0, 0.0, 1.0]))
        views.append(DepthView(camera, pose, depth, what, rgb, weight))
    matrix = look_at(np.array([-0.5, -0.4, 0.6]), np.array([0.1, 0.0, 1.0]))
    grid = VoxelGrid(matrix, 0.021, (30, 41, 37))
    slow, fast = fuse(views, grid, 0.03, 0.07), fuse_views(views, grid, 0.03, 0.07)
    assert (slow.views > 1).any() and (slow.other_views > 0).any() and (slow.free_views > 1).any()
    for name in ("tsdf", "weight", "views", "free_views", "other_tsdf", "other_views", "color"):
        expected, found = getattr(slow, name), getattr(fast, name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_sixty_views_at_64_cubed_are_fast():
    frames = render([table_mesh(), trimesh.creation.box((0.1, 0.1, 0.1))], orbit(4, (40.0,)))
    views = [
        DepthView(
            f.camera,
            f.world_from_camera,
            f.depth,
            np.where(f.labels == 2, TARGET, OTHER).astype(np.uint8),
            f.rgb,
        )
        for f in frames
    ]
    matrix = np.eye(4)
    matrix[:3, 3] = -0.08
    grid = VoxelGrid(matrix, 0.16 / 63, (64, 64, 64))
    start = time.process_time()  # the machine is shared
    fuse_views(views * 15, grid, band=0.005, truncation=0.01)
    assert time.process_time() - start < 2.0

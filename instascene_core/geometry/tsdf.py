"""Fusion of masked, posed depth images into a dense grid: surface, free space, and what is unknown.

The signed distance is projective and averaged per voxel (Curless & Levoy 1996), with two changes
that matter for small objects seen from all around:

- a view counts only where it can see the voxel (up to `band` behind the surface), so that the far
  side of a thin wall does not thicken it;
- free space is kept apart from the surface: a ray that passes on to something farther away empties
  the voxel, a surface of something else empties only what lies in front of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.geometry.depth_maps import depth_slopes
from instascene_core.transforms import apply, inverse

# What a pixel of a DepthView shows.
# NOTHING: no depth.  BORDER: between target and other, belongs to nobody and only carves.
# UNOWNED: a surface without label, which may be anything: half a vote against the target.
NOTHING, TARGET, OTHER, BORDER, UNOWNED = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class VoxelGrid:
    """A box of cubic voxels, turned freely in the world; voxel [i, j, k] is centred at voxel·(i, j, k)."""

    world_from_grid: np.ndarray  # [4, 4] rigid; its origin is the centre of voxel [0, 0, 0]
    voxel: float  # edge length, metres
    shape: tuple[int, int, int]

    @property
    def size(self) -> np.ndarray:
        """[3] metres between the outermost voxel centres."""
        return (np.array(self.shape) - 1) * self.voxel

    def centers(self) -> np.ndarray:
        """World points [nx, ny, nz, 3] float64 of all voxel centres."""
        axes = [np.arange(n) * self.voxel for n in self.shape]
        return apply(self.world_from_grid, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))

    def coordinates(self, points: np.ndarray) -> np.ndarray:
        """Continuous voxel indices [..., 3] of world points [..., 3]."""
        return apply(inverse(self.world_from_grid), points) / self.voxel

    def sample(self, values: np.ndarray, points: np.ndarray, order: int = 1) -> np.ndarray:
        """`values` [nx, ny, nz] at world points [N, 3], linear (order 1) or nearest (order 0)."""
        from scipy.ndimage import map_coordinates

        return map_coordinates(values, self.coordinates(points).T, order=order, mode="nearest")

    def contains(self, points: np.ndarray) -> np.ndarray:
        """[N] bool: which world points [N, 3] lie in the grid's box."""
        coordinates = self.coordinates(points)
        inside = (coordinates >= -0.5) & (coordinates <= np.array(self.shape) - 0.5)
        return np.asarray(inside.all(axis=-1))


@dataclass(frozen=True)
class DepthView:
    """One posed depth image, seen from the point of view of one target object."""

    camera: PinholeCamera
    world_from_camera: np.ndarray  # [4, 4]
    depth: np.ndarray  # [H, W] float32 z-depth, metres, 0 = none
    what: np.ndarray  # [H, W] uint8: one of the five above
    rgb: np.ndarray  # [H, W, 3] uint8
    weight: np.ndarray | None = None  # [H, W] float32 ≥ 0, trust in each surface pixel (1 where None)

    def cropped(self, box: tuple[int, int, int, int]) -> "DepthView":
        """The part of the view in columns u0:u1, rows v0:v1 of `box` = (u0, v0, u1, v1)."""
        u0, v0, u1, v1 = box
        cam = self.camera
        camera = PinholeCamera(u1 - u0, v1 - v0, cam.fx, cam.fy, cam.cx - u0, cam.cy - v0)
        cut = np.s_[v0:v1, u0:u1]
        weight = None if self.weight is None else self.weight[cut]
        return replace(
            self, camera=camera, depth=self.depth[cut], what=self.what[cut], rgb=self.rgb[cut], weight=weight
        )


@dataclass(frozen=True)
class FusedVolume:
    """What K views say about every voxel; all arrays have the grid's shape."""

    grid: VoxelGrid
    band: float  # metres: how far behind a surface a view is believed to see, half the truncation
    truncation: float  # metres
    tsdf: np.ndarray  # float32 metres in ± truncation, positive outside; NaN where no target surface is near
    weight: np.ndarray  # float32: summed trust of the views that saw target surface near the voxel
    views: np.ndarray  # int16: number of those views
    free_views: np.ndarray  # int16: views whose ray passes the voxel to something behind it
    other_tsdf: np.ndarray  # float32, as tsdf, of surfaces that belong to something else
    other_views: np.ndarray  # float32: views of such a surface (an unowned one counts half)
    color: np.ndarray  # [nx, ny, nz, 3] uint8, meaningful where views > 0


def visible_box(
    grid: VoxelGrid, camera: PinholeCamera, world_from_camera: np.ndarray
) -> tuple[int, int, int, int] | None:
    """Pixel box (u0, v0, u1, v1) that the grid can project to, or None when the camera does not see it."""
    corners = np.stack(np.meshgrid(*[(-1.0, n) for n in grid.shape], indexing="ij"), -1).reshape(-1, 3)
    pixels, z = camera.project(apply(inverse(world_from_camera) @ grid.world_from_grid, corners * grid.voxel))
    if (z <= 1e-6).all():
        return None
    if (z <= 1e-6).any():  # the camera stands inside or beside the box: no bound
        return 0, 0, camera.width, camera.height
    low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 2, (camera.width, camera.height))
    if (low >= high).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def fuse(
    views: Sequence[DepthView],
    grid: VoxelGrid,
    band: float,
    truncation: float,
    add: "AddView | None" = None,
) -> FusedVolume:
    """Fuse `views` into `grid`.

    add: what adds one view to the sums; None takes `add_view`, whose compiled twin is faster
    (`completion/observing/fusing.py`).
    band: metres a view is believed to see into a surface (above the noise and one voxel).
    truncation: metres, ≥ band; surface distances are collected that far in front of a surface.
    A ray makes free what lies more than `band` in front of the surface it ends on.
    Raises InputError when band or truncation are not positive.
    """
    if not (0 < band <= truncation):
        raise InputError(f"TSDF fusion needs 0 < band ≤ truncation, got {band} and {truncation}.")
    sums, add = VoxelSums(grid), add or add_view
    for view in views:
        box = visible_box(grid, view.camera, view.world_from_camera)
        if box is not None:
            add(sums, view.cropped(box), grid, band, truncation)
    return sums.result(grid, band, truncation)


class VoxelSums:
    """Running sums of one fusion, flat over the voxels; what they mean: `FusedVolume`."""

    def __init__(self, grid: VoxelGrid) -> None:
        count = int(np.prod(grid.shape))
        self.distance = np.zeros(count, dtype=np.float32)
        self.weight = np.zeros(count, dtype=np.float32)
        self.views = np.zeros(count, dtype=np.int16)
        self.free_views = np.zeros(count, dtype=np.int16)
        self.other_distance = np.zeros(count, dtype=np.float32)
        self.other_views = np.zeros(count, dtype=np.float32)
        self.color = np.zeros((count, 3), dtype=np.float32)

    def result(self, grid: VoxelGrid, band: float, truncation: float) -> FusedVolume:
        with np.errstate(invalid="ignore", divide="ignore"):
            tsdf = self.distance / np.where(self.weight > 0, self.weight, np.nan)
            other = self.other_distance / np.where(self.other_views > 0, self.other_views, np.nan)
        color = self.color / np.maximum(self.weight, 1e-9)[:, None]
        return FusedVolume(
            grid=grid,
            band=band,
            truncation=truncation,
            tsdf=tsdf.reshape(grid.shape).astype(np.float32),
            weight=self.weight.reshape(grid.shape),
            views=self.views.reshape(grid.shape),
            free_views=self.free_views.reshape(grid.shape),
            other_tsdf=other.reshape(grid.shape).astype(np.float32),
            other_views=self.other_views.reshape(grid.shape),
            color=np.clip(np.rint(color), 0, 255).astype(np.uint8).reshape(*grid.shape, 3),
        )


def carving_depth(view: DepthView) -> np.ndarray:
    """[H, W] float32: the nearest depth of each pixel's 3×3 neighbourhood.

    A ray half a pixel beside an outline must not empty the object's own rim.  Pixels without
    depth say nothing and carve nothing, not even through their neighbours.
    """
    import cv2

    known = np.where(view.depth > 0, view.depth, np.float32(np.inf))
    nearest = cv2.erode(known, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.where(view.depth > 0, nearest, np.float32(0)).astype(np.float32)


# (sums, view cropped to the grid, grid, band, truncation): adds the view to the sums.
AddView = Callable[[VoxelSums, DepthView, VoxelGrid, float, float], None]


def steps_to_pixels(view: DepthView, grid: VoxelGrid) -> tuple[np.ndarray, np.ndarray]:
    """steps [3, 3] and start [3] float32: the homogeneous pixel (u·z, v·z, z) of voxel (i, j, k), metres, is
    start + steps · (i, j, k)."""
    grid_matrix = inverse(view.world_from_camera) @ grid.world_from_grid
    matrix = (view.camera.matrix @ grid_matrix[:3]).astype(np.float64)
    return (matrix[:, :3] * grid.voxel).astype(np.float32), matrix[:, 3].astype(np.float32)


def add_view(
    sums: VoxelSums, view: DepthView, grid: VoxelGrid, band: float, truncation: float, chunk: int = 65536
) -> None:
    """Add one cropped view to the sums, a few grid slices at a time (so that they stay in the cache)."""
    camera = view.camera
    steps, start = steps_to_pixels(view, grid)
    nx, ny, nz = grid.shape
    plane = (
        start[:, None, None]
        + steps[:, 1, None, None] * np.arange(ny, dtype=np.float32)[None, :, None]
        + steps[:, 2, None, None] * np.arange(nz, dtype=np.float32)[None, None, :]
    ).reshape(3, -1)  # [3, ny·nz]
    images = {
        "depth": np.ascontiguousarray(view.depth).ravel(),
        "carve": carving_depth(view).ravel(),
        "what": np.ascontiguousarray(view.what).ravel(),
        "rgb": view.rgb.reshape(-1, 3),
        "weight": None if view.weight is None else view.weight.ravel(),
    }
    images["du"], images["dv"] = (s.ravel() for s in depth_slopes(view.depth))
    per_chunk = max(1, chunk // (ny * nz))
    for i0 in range(0, nx, per_chunk):
        index = np.arange(i0, min(i0 + per_chunk, nx), dtype=np.float32)
        u, v, z = ((plane[c] + steps[c, 0] * index[:, None]).ravel() for c in range(3))
        _add_chunk(sums, i0 * ny * nz, u, v, z, images, camera, band, truncation)


def _add_chunk(sums, offset, u, v, z, images, camera, band, truncation) -> None:
    """Add the voxels offset … offset + len(z), given as homogeneous pixels (u, v, z)."""
    count = len(z)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = u / z, v / z
        inside = (z > 1e-6) & (u >= 0) & (v >= 0) & (u < camera.width) & (v < camera.height)
    if inside.all():
        voxel, column, row = None, u.astype(np.int32), v.astype(np.int32)
    else:
        voxel = np.flatnonzero(inside)
        u, v, z = u[voxel], v[voxel], z[voxel]
        column, row = u.astype(np.int32), v.astype(np.int32)
    pixel = row * np.int32(camera.width) + column
    free = images["carve"][pixel] - z > band
    depth = images["depth"][pixel]
    near = np.flatnonzero((np.abs(depth - z) < 2 * truncation) & (depth > 0))
    if voxel is None:
        sums.free_views[offset : offset + count] += free
    else:
        sums.free_views[offset + voxel[free]] += 1
    if len(near) == 0:
        return
    pixel, target = pixel[near], near if voxel is None else voxel[near]
    distance = depth[near] - z[near]
    distance += images["du"][pixel] * (u[near] - column[near] - 0.5)
    distance += images["dv"][pixel] * (v[near] - row[near] - 0.5)
    what = images["what"][pixel]
    close = (distance > -band) & (distance < truncation)
    mine = close & (what == TARGET)
    _add_target(sums, offset + target[mine], distance[mine], pixel[mine], images)
    for kind, vote in ((OTHER, np.float32(1.0)), (UNOWNED, np.float32(0.5))):
        other = close & (what == kind)
        sums.other_distance[offset + target[other]] += vote * distance[other]
        sums.other_views[offset + target[other]] += vote


def _add_target(sums, voxels, distance, pixel, images) -> None:
    """Add target surface observations; each voxel occurs at most once in a view."""
    weight = np.ones(len(voxels), np.float32) if images["weight"] is None else images["weight"][pixel]
    sums.distance[voxels] += weight * distance
    sums.weight[voxels] += weight
    sums.views[voxels] += 1
    sums.color[voxels] += weight[:, None] * images["rgb"][pixel]

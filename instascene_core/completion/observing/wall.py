"""Is the observed thing a thin-walled vessel, and how thick is its wall?"""

import numpy as np

from instascene_core.config.completion import WallConfig
from instascene_core.geometry import SurfacePoints
from instascene_core.geometry.tsdf import FusedVolume


def measure_wall(
    volume: FusedVolume,
    points: SurfacePoints,
    free: np.ndarray,
    believed: np.ndarray,
    config: WallConfig,
    known: float | None = None,
) -> float | None:
    """Metres: thickness of the wall, median over the points whose other side was observed, too; None where
    too few points have one for the thing to be a vessel.

    Walks from observed points against their normals until space is empty, or surface, again.
    free, believed: [nx, ny, nz] bool, known to be empty, and where the fused distance holds.  known: metres,
    a thickness that was measured better.
    """
    grid = volume.grid
    positions = points.positions
    step = max(1, len(positions) // config.max_points)
    positions, normals = positions[::step], points.normals[::step]
    with np.errstate(invalid="ignore"):
        state = np.where(free & ~believed, 2, np.where(believed & (volume.tsdf >= 0), 1, 0))
    limit = config.max_thickness * float(np.linalg.norm(np.ptp(positions, axis=0)))
    farthest = max(limit, config.min_walk * grid.voxel)
    depths = np.arange(grid.voxel, farthest, config.step * grid.voxel)  # [D]
    walk = grid.coordinates(positions[:, None] - depths[None, :, None] * normals[:, None])  # [N, D, 3]
    index = np.clip(np.rint(walk).astype(int), 0, np.array(grid.shape) - 1)
    met = state[tuple(np.moveaxis(index, -1, 0))]  # [N, D]
    # The first steps may still lie on the near side of the surface.
    first = np.argmax(met > 0, axis=1)
    exits = (met > 0).any(axis=1) & (first > 1)
    other_side = exits & (met[np.arange(len(met)), first] == 1)
    if exits.mean() < config.min_share or other_side.mean() < config.min_confirmed:
        return None
    if known is not None:
        return known
    if not other_side.any():
        return None
    end = np.clip(np.nan_to_num(volume.tsdf[tuple(index[other_side, first[other_side]].T)]), 0, None)
    thickness = float(np.median(depths[first[other_side]] - end))  # the walk's end lies that far outside
    return max(thickness, grid.voxel)

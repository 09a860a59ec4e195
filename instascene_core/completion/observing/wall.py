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

    Walks from observed points against their normals until space is empty, or surface, again.  The other side
    of a wall faces the other way: a walk that begins near an edge of a solid leaves it through the next face.
    free, believed: [nx, ny, nz] bool, known to be empty, and where the fused distance holds.  known: metres,
    a thickness that was measured better.
    """
    from scipy.spatial import cKDTree

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
    other_side = np.flatnonzero(exits & (met[np.arange(len(met)), first] == 1))
    ends = positions[other_side] - depths[first[other_side], None] * normals[other_side]
    facing = points.normals[cKDTree(points.positions).query(ends)[1]] if len(ends) else ends
    away = -np.einsum("nc,nc->n", facing, normals[other_side])
    other_side = other_side[away > config.min_opposite]
    if exits.mean() < config.min_share or len(other_side) < config.min_confirmed * len(positions):
        return None
    if known is not None:
        return known
    if not len(other_side):
        return None
    end = np.clip(np.nan_to_num(volume.tsdf[tuple(index[other_side, first[other_side]].T)]), 0, None)
    thickness = float(np.median(depths[first[other_side]] - end))  # the walk's end lies that far outside
    return max(thickness, grid.voxel)

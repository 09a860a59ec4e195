"""The same observation in a larger box, with finer voxels, or beyond a face of its box."""

import numpy as np

from instascene_core.completion.observing.observation import Observation, fuse_in_grid
from instascene_core.geometry.tsdf import VoxelGrid
from instascene_core.transforms import apply


def enlarge_box(observation: Observation, factor: float) -> Observation:
    """The same observation in a box `factor` times as large about the same centre (same voxel count)."""
    old = observation.grid
    voxel = old.voxel * factor
    center = apply(old.world_from_grid, old.size / 2)
    matrix = old.world_from_grid.copy()
    matrix[:3, 3] = center - matrix[:3, :3] @ ((np.array(old.shape) - 1) * voxel / 2)
    return fuse_in_grid(observation, VoxelGrid(matrix, voxel, old.shape))


def extend_box(observation: Observation, points: np.ndarray) -> Observation:
    """The same observation in a box with the same axes and voxel count that also holds points [N, 3]
    (metres, world frame)."""
    old = observation.grid
    found = old.coordinates(points)
    low = np.minimum(np.floor(found.min(axis=0)) - 4, 0)
    high = np.maximum(np.ceil(found.max(axis=0)) + 4, np.array(old.shape) - 1)
    if (low == 0).all() and (high == np.array(old.shape) - 1).all():
        return observation
    factor = max(1.0, float(np.prod((high - low + 1) / old.shape)) ** (1 / 3))
    matrix = old.world_from_grid.copy()
    matrix[:3, 3] = apply(old.world_from_grid, low * old.voxel)
    nx, ny, nz = (int(n) for n in np.ceil((high - low) / factor).astype(int) + 1)
    return fuse_in_grid(observation, VoxelGrid(matrix, old.voxel * factor, (nx, ny, nz)))


def refine_voxels(observation: Observation, voxel: float, max_voxels: int) -> Observation:
    """The same observation in the same box with voxels of about `voxel` metres, or as many as allowed."""
    old = observation.grid
    least = (float(np.prod(old.size)) / max_voxels) ** (1 / 3)
    voxel = max(voxel, least)
    if voxel >= old.voxel:
        return observation
    nx, ny, nz = (int(n) for n in np.floor(old.size / voxel).astype(int) + 1)
    return fuse_in_grid(observation, VoxelGrid(old.world_from_grid, voxel, (nx, ny, nz)))


def observe_beyond_face(observation: Observation, axis: int, end: int) -> Observation:
    """The same observation in the single layer of voxels beyond a face of the box.

    axis: 0, 1, 2; end: 0 (low face) or -1 (high face).
    """
    old = observation.grid
    corner, shape = np.zeros(3), list(old.shape)
    corner[axis] = -old.voxel if end == 0 else old.shape[axis] * old.voxel
    shape[axis] = 1
    nx, ny, nz = shape
    matrix = old.world_from_grid.copy()
    matrix[:3, 3] = apply(old.world_from_grid, corner)
    return fuse_in_grid(observation, VoxelGrid(matrix, old.voxel, (nx, ny, nz)))

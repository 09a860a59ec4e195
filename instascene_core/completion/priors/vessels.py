"""Vessels: where the walls that were seen are thin, what the eye did not reach inside is not filled.

Carving fills a cup below the line of sight and a bowl's footprint under it.  If many observed points
have a thin wall behind them, the other side of that wall in view, then the body is taken for a shell:
it is solid one wall's thickness behind what was seen, the unseen hull and the support, no farther.
"""

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors import hulls
from instascene_core.config.completion import CarvingConfig, VesselConfig
from instascene_core.transforms import apply


def hollow_out(
    observation: Observation, field: np.ndarray, hull: np.ndarray, thickness: float, config: CarvingConfig
) -> np.ndarray:
    """`field` (metres, negative inside) of a shell: solid only one wall's thickness behind the observed
    surface, the unseen part of the hull and the support.

    hull: signed distance to the hull of the observation, same grid; thickness: metres, of the wall.
    Where empty and unknown space meet without a surface, nothing was seen to end: no wall is put there.
    """
    from scipy.ndimage import binary_dilation, distance_transform_edt, label

    grid, vessel = observation.grid, config.vessel
    believed = observation.believed
    hidden = (field < 0) & ~believed
    outer = (hull >= 0) & ~observation.free | observation.neighbour & (hull > -vessel.rim_depth * thickness)
    near_hull = outer & (hull >= 0) & (hull < thickness + vessel.hull_slack * grid.voxel)
    outer[near_hull] = ~_claimed(observation, np.argwhere(near_hull), config)
    if observation.support is not None:
        outer |= observation.support.height(grid.centers()) < 0
    to_outer = distance_transform_edt(~outer, sampling=grid.voxel) - 0.5 * grid.voxel
    to_surface, under_floor = _behind_surface(observation, hidden, vessel.surface_reach * thickness, vessel)
    under_floor &= to_surface > thickness
    depth = np.where(under_floor, to_surface, np.minimum(to_outer, to_surface)) - thickness
    # Of what is deeper than the wall, the cavity is what empty space inside the hull leads to.
    reached = (field >= 0) & ~believed & (hull < -thickness)
    # It is nowhere narrower than the wall is thick: the core of a stem is no cavity.
    deep = hidden & (depth > 0)
    width = vessel.cavity_width * thickness
    wide = distance_transform_edt(deep, sampling=grid.voxel) > width
    deep &= distance_transform_edt(~wide, sampling=grid.voxel) <= width
    pieces, _ = label(deep)
    opened = np.unique(pieces[binary_dilation(reached, iterations=vessel.opening)])
    empty = np.isin(pieces, opened[opened > 0]) | (hidden & under_floor)
    return np.where(empty, np.maximum(field, depth), field).astype(np.float32)


def _claimed(observation: Observation, voxels: np.ndarray, config: CarvingConfig) -> np.ndarray:
    """[N] bool: which voxels [N, 3] lie inside the hull of another object's visible surface.  What lies
    in a vessel reaches through its mouth; the hull's lid there is no wall.

    The support claims nothing, nor does a neighbour that surrounds the target (its hull holds many of the
    observed points).
    """
    grid, support, vessel = observation.grid, observation.support, config.vessel
    on_support = vessel.support_footprints * observation.pixel
    claimed = np.zeros(len(voxels), dtype=bool)
    every = max(1, len(observation.points.positions) // vessel.hull_points)
    mine = grid.coordinates(observation.points.positions[::every])
    for surface in observation.neighbour_points:
        if support is not None and np.median(support.height(surface)) < on_support:
            continue  # the support itself
        if len(surface) < vessel.min_neighbour:
            continue
        theirs = grid.coordinates(surface)
        planes = hulls.hull_planes(theirs, config.hull_resolution)
        if _inside(mine, planes).mean() > vessel.surrounded:
            continue
        box = ((voxels >= theirs.min(axis=0)) & (voxels <= theirs.max(axis=0))).all(axis=1)
        claimed[box] |= _inside(voxels[box], planes)
    return claimed


def _inside(points: np.ndarray, planes: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """[N] bool: which points [N, 3] lie in the hull given by normals [F, 3] and offsets [F]."""
    normals, offsets = planes
    return (points.astype(np.float32) @ normals.T < offsets).all(axis=1)


def _behind_surface(
    observation: Observation, hidden: np.ndarray, reach: float, config: VesselConfig
) -> tuple[np.ndarray, np.ndarray]:
    """For the voxels in `hidden` [nx, ny, nz]: metres to the observed surface they lie behind
    (infinite beyond `reach`), and whether they lie under a surface that faces up."""
    from scipy.spatial import cKDTree

    grid, points = observation.grid, observation.points
    distance = np.full(hidden.shape, np.inf, dtype=np.float32)
    under = np.zeros(hidden.shape, dtype=bool)
    index = np.argwhere(hidden)
    centers = apply(grid.world_from_grid, index * grid.voxel)
    gap, nearest = cKDTree(points.positions).query(centers, distance_upper_bound=reach)
    found = np.isfinite(gap)
    index, gap, nearest = index[found], gap[found], nearest[found]
    normals = points.normals[nearest]
    behind = -np.einsum("nc,nc->n", centers[found] - points.positions[nearest], normals)
    distance[tuple(index.T)] = np.where(behind > 0, gap, np.inf)  # in front of it nothing was solid
    faces_up = normals @ observation.up > config.floor_up
    under[tuple(index.T)] = (behind > config.floor_cosine * gap) & faces_up
    return distance, under

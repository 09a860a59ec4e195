"""Vessels: where the walls that were seen are thin, what the eye did not reach inside is not filled.

Carving fills a cup below the line of sight and a bowl's footprint under it.  If many observed points
have a thin wall behind them, the other side of that wall in view, then the body is taken for a shell:
it is solid one wall's thickness behind what was seen, the unseen hull and the support, no farther.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors import hulls
from instascene_core.transforms import apply


@dataclass(frozen=True)
class Wall:
    """Thickness statistics of the observed surface."""

    thickness: float  # metres, median over points whose thin wall was seen from both sides
    share: float  # of the observed points, how many have a thin wall behind them
    confirmed: float  # of the observed points, how many have the wall's other side observed too


def measure_wall(observation: Observation, thin: float = 0.06, max_points: int = 4000) -> Wall:
    """Walk from observed points against their normals until space is empty again.

    thin: longest walk, as a share of the observed surface's diagonal.
    """
    grid, volume = observation.grid, observation.volume
    points = observation.points.positions
    step = max(1, len(points) // max_points)
    points, normals = points[::step], observation.points.normals[::step]
    trusted = observation.trust >= 0.5
    with np.errstate(invalid="ignore"):
        state = np.where(observation.free & ~trusted, 2, np.where(trusted & (volume.tsdf >= 0), 1, 0))
    limit = thin * float(np.linalg.norm(np.ptp(points, axis=0)))
    depths = np.arange(grid.voxel, max(limit, 2.5 * grid.voxel), 0.5 * grid.voxel)  # [D]
    walk = grid.coordinates(points[:, None] - depths[None, :, None] * normals[:, None])  # [N, D, 3]
    index = np.clip(np.rint(walk).astype(int), 0, np.array(grid.shape) - 1)
    met = state[tuple(np.moveaxis(index, -1, 0))]  # [N, D]
    # The first steps may still lie on the near side of the surface.
    first = np.argmax(met > 0, axis=1)
    exits = (met > 0).any(axis=1) & (first > 1)
    other_side = exits & (met[np.arange(len(met)), first] == 1)
    thickness = 0.0
    if other_side.any():
        end = np.clip(np.nan_to_num(volume.tsdf[tuple(index[other_side, first[other_side]].T)]), 0, None)
        thickness = float(np.median(depths[first[other_side]] - end))  # the walk's end lies that far outside
        thickness = max(thickness, grid.voxel)
    if observation.symmetry is not None and np.isfinite(observation.symmetry.wall):
        thickness = observation.symmetry.wall  # measured between the two sides of its outline
    return Wall(thickness, float(exits.mean()), float(other_side.mean()))


def is_shell(wall: Wall) -> bool:
    """Whether the body is to be taken for a thin-walled vessel."""
    return wall.share >= 0.04 and wall.confirmed >= 0.015 and wall.thickness > 0


def hollowed(observation: Observation, field: np.ndarray, hull: np.ndarray, wall: Wall) -> np.ndarray:
    """`field` (metres, negative inside) of a shell: solid only one wall's thickness behind the observed
    surface, the unseen part of the hull and the support.

    hull: signed distance to the hull of the observation, same grid.  Where empty and unknown space
    meet without a surface, nothing was seen to end: no wall is put there.
    """
    from scipy.ndimage import binary_dilation, distance_transform_edt, label

    grid, thickness = observation.grid, wall.thickness
    trusted = observation.trust >= 0.5
    hidden = (field < 0) & ~trusted
    outer = (hull >= 0) & ~observation.free | observation.neighbour & (hull > -1.5 * thickness)
    near_hull = outer & (hull >= 0) & (hull < thickness + 2 * grid.voxel)
    outer[near_hull] = ~_claimed(observation, np.argwhere(near_hull))
    if observation.support is not None:
        outer |= observation.support.height(grid.centers()) < 0
    to_outer = distance_transform_edt(~outer, sampling=grid.voxel) - 0.5 * grid.voxel
    to_surface, under_floor = _behind_surface(observation, hidden, 3 * thickness)
    under_floor &= to_surface > thickness
    depth = np.where(under_floor, to_surface, np.minimum(to_outer, to_surface)) - thickness
    # Of what is deeper than the wall, the cavity is what empty space inside the hull leads to.
    reached = (field >= 0) & ~trusted & (hull < -thickness)
    # It is nowhere narrower than the wall is thick: the core of a stem is no cavity.
    deep = hidden & (depth > 0)
    width = 1.5 * thickness
    wide = distance_transform_edt(deep, sampling=grid.voxel) > width
    deep &= distance_transform_edt(~wide, sampling=grid.voxel) <= width
    pieces, _ = label(deep)
    opened = np.unique(pieces[binary_dilation(reached, iterations=2)])
    empty = np.isin(pieces, opened[opened > 0]) | (hidden & under_floor)
    return np.where(empty, np.maximum(field, depth), field).astype(np.float32)


def _claimed(observation: Observation, voxels: np.ndarray, most: float = 0.2) -> np.ndarray:
    """[N] bool: which voxels [N, 3] lie inside the hull of another object's visible surface.  What lies
    in a vessel reaches through its mouth; the hull's lid there is no wall.

    The support claims nothing, nor does a neighbour that surrounds the target (its hull holds more than
    the share `most` of the observed points).
    """
    grid, support = observation.grid, observation.support
    claimed = np.zeros(len(voxels), dtype=bool)
    every = max(1, len(observation.points.positions) // 2000)
    mine = grid.coordinates(observation.points.positions[::every])
    for surface in observation.neighbour_points:
        if support is not None and np.median(support.height(surface)) < 2 * observation.pixel:
            continue  # the support itself
        if len(surface) < 20:
            continue
        theirs = grid.coordinates(surface)
        planes = hulls.hull_planes(theirs)
        if _inside(mine, planes).mean() > most:
            continue
        box = ((voxels >= theirs.min(axis=0)) & (voxels <= theirs.max(axis=0))).all(axis=1)
        claimed[box] |= _inside(voxels[box], planes)
    return claimed


def _inside(points: np.ndarray, planes: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """[N] bool: which points [N, 3] lie in the hull given by normals [F, 3] and offsets [F]."""
    normals, offsets = planes
    return (points.astype(np.float32) @ normals.T < offsets).all(axis=1)


def _behind_surface(
    observation: Observation, hidden: np.ndarray, reach: float
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
    under[tuple(index.T)] = (behind > 0.7 * gap) & (normals @ observation.up > 0.5)
    return distance, under

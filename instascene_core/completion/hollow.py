"""Vessels: where the walls that were seen are thin, what the eye did not reach inside is not filled.

Carving fills a cup below the line of sight.  If many observed points have, a thin wall behind them,
the other side of that wall in view, then the body is taken for a shell: its cavity goes on behind
the last ray, up to one wall's thickness from the observed surface, the hull and the support.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.completion.observation import Observation


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
    thickness = float(np.median(depths[first[other_side]])) if other_side.any() else 0.0
    return Wall(thickness, float(exits.mean()), float(other_side.mean()))


def is_shell(wall: Wall) -> bool:
    """Whether the body is to be taken for a thin-walled vessel."""
    return wall.share >= 0.04 and wall.confirmed >= 0.015 and wall.thickness > 0


def hollowed(observation: Observation, field: np.ndarray, hull: np.ndarray, wall: Wall) -> np.ndarray:
    """`field` (metres, negative inside) with seen cavities continued to a wall's thickness.

    hull: signed distance to the hull of the observation, same grid.
    """
    from scipy.ndimage import binary_dilation, distance_transform_edt, label

    grid = observation.grid
    thickness = wall.thickness + 0.5 * grid.voxel
    trusted = observation.trust >= 0.5
    # Empty space well inside the hull: the part of a cavity that rays reached.
    reached = (field >= 0) & ~trusted & (hull < -thickness)
    outer = (field >= 0) & ~reached
    with np.errstate(invalid="ignore"):
        surface = trusted & (np.abs(observation.volume.tsdf) < grid.voxel)
    if observation.support is not None:
        outer |= observation.support.height(grid.centers()) < 0
    depth = distance_transform_edt(~(outer | surface), sampling=grid.voxel).astype(np.float32)
    hidden = (field < 0) & (depth > thickness) & ~trusted
    pieces, count = label(hidden)
    if count == 0:
        return field
    opened = np.unique(pieces[binary_dilation(reached, iterations=2) & hidden])
    cavity = np.isin(pieces, opened[opened > 0])
    return np.where(cavity, np.maximum(field, depth - thickness), field).astype(np.float32)

"""The prior without learning: space carving inside the hull of the observation and its footprint.

What was not seen is filled, unless a ray passed through it, something else is there, or it lies
outside the convex hull of the observed surface and of that surface's footprint on the support.
Of the classical methods it is the best one measured (hull alone, screened Poisson and mirroring
are clearly worse).
"""

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors import hulls, vessels
from instascene_core.completion.priors.prior import Prediction
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import CarvingConfig
from instascene_core.transforms import apply


class CarvingPrior:
    """Fill the unseen inside hull and footprint."""

    name = "carving"
    licence = "Apache-2.0"

    def __init__(self, config: CarvingConfig | None = None) -> None:
        self.config = config or CarvingConfig()

    @classmethod
    def from_config(cls, config: CompletionConfig) -> "CarvingPrior":
        return cls(config.carving)

    def predict(self, observation: Observation, num_samples: int, seed: int) -> Prediction:
        """The carved body first; further samples move its unseen surface in or out by the
        uncertainty times a normal number drawn from `seed`."""
        field = carve(observation, self.config)
        uncertainty = self._uncertainty(observation)
        amounts = np.random.default_rng(seed).standard_normal(max(0, num_samples - 1))
        fields = [field] + [field + np.float32(a) * uncertainty for a in amounts]
        return Prediction(np.stack(fields), uncertainty)

    def _uncertainty(self, observation: Observation) -> np.ndarray:
        """Grows with the distance from the observed surface."""
        from scipy.ndimage import distance_transform_edt

        surface = observation.trust > self.config.surface_trust
        surface &= np.abs(observation.volume.tsdf) < observation.grid.voxel
        if not surface.any():
            surface = observation.volume.views > 0
        gap = distance_transform_edt(~surface, sampling=observation.grid.voxel) - observation.grid.voxel
        return (self.config.error_growth * np.maximum(gap, 0) + observation.noise).astype(np.float32)


def carve(observation: Observation, config: CarvingConfig) -> np.ndarray:
    """Signed distance [nx, ny, nz] float32 in metres of the carved body, negative inside."""
    empty = observation.free | observation.neighbour
    hull = _hull_distance(observation, empty, config)
    field = np.maximum(hull, _boundary_distance(empty, observation.grid.voxel)).astype(np.float32)
    if observation.wall is None:
        return field
    return vessels.hollow_out(observation, field, hull, observation.wall, config)


def _boundary_distance(mask: np.ndarray, voxel: float) -> np.ndarray:
    """Signed distance [nx, ny, nz] float32 in metres to the boundary of `mask`, positive inside the mask."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return np.full(mask.shape, -np.float32(np.linalg.norm(mask.shape) * voxel))
    inside = distance_transform_edt(mask).astype(np.float32)
    outside = distance_transform_edt(~mask).astype(np.float32)
    return np.where(mask, inside - 0.5, 0.5 - outside) * np.float32(voxel)


def _hull_distance(observation: Observation, empty: np.ndarray, config: CarvingConfig) -> np.ndarray:
    """Signed distance to the convex hull of the confirmed points and their footprint (exact inside,
    a lower bound outside)."""
    grid = observation.grid
    points = grid.coordinates(observation.points.positions)  # [N, 3] voxels
    points = np.concatenate([points, _footprint(points, observation, empty, config)])
    return hulls.distance_to_hull(points, grid.shape, config.hull_resolution) * np.float32(grid.voxel)


def claimed_by_neighbours(observation: Observation, resolution: float) -> np.ndarray:
    """[nx, ny, nz] bool: inside the hull of another object's visible surface and its foot on the
    support.

    resolution: of the hulls' normals (see `hulls.hull_planes`).
    """
    grid = observation.grid
    claimed = np.zeros(grid.shape, dtype=bool)
    for surface in observation.neighbour_points:
        if len(surface) >= 4:
            # Only the part of a neighbour near the target is known here, so it counts down to the support.
            if observation.support is not None:
                height = observation.support.height(surface)
                ground = surface - height[:, None] * observation.support.normal
                surface = np.concatenate([surface, ground])
            claimed |= hulls.distance_to_hull(grid.coordinates(surface), grid.shape, resolution) < 0
    return claimed


def _footprint(
    points: np.ndarray, observation: Observation, empty: np.ndarray, config: CarvingConfig
) -> np.ndarray:
    """Where observed points [N, 3] (voxels) fall when let down through space that may be filled:
    onto the support, or to where free space or a neighbour's hull begins (what lies on something
    hides where that begins).  [M, 3] voxels."""
    if observation.support is None or observation.underside_known:
        return np.zeros((0, 3))
    grid = observation.grid
    below = observation.support.height(grid.centers()) < 0
    blocked = empty | below | claimed_by_neighbours(observation, config.hull_resolution)
    levels = np.arange(grid.shape[2])[None, None, :]
    stop = np.maximum.accumulate(np.where(blocked, levels, -1), axis=2)  # highest blocked voxel at or below
    # Start a little under the surface: the surface itself may look free because of noise.
    below_points = np.rint(points).astype(int) - [0, 0, config.start_below]
    index = np.clip(below_points, 0, np.array(grid.shape) - 1)
    floor = stop[tuple(index.T)]
    dropped = points.copy()
    dropped[:, 2] = np.minimum(points[:, 2], floor + 0.5)
    if observation.all_around:
        # It is known well: what stops points less than the noise above the support is the
        # support, for a vessel's floor may be thinner than that.
        height = observation.support.height(apply(grid.world_from_grid, points * grid.voxel)) / grid.voxel
        ground = points[:, 2] - height / (observation.support.normal @ grid.world_from_grid[:3, 2])
        standing = dropped[:, 2] - ground < observation.volume.band / grid.voxel
        dropped[standing, 2] = np.minimum(points[:, 2], ground)[standing]
    falls = points[:, 2] - dropped[:, 2]
    possible = floor >= 0
    if not possible.any():
        return np.zeros((0, 3))
    facing_up = observation.points.normals @ observation.up > config.facing_up
    if facing_up.mean() < config.top_only:
        # The sides were seen, so only their lower ends stand on something; a body that leans or
        # overhangs is not filled down to the floor.
        least = np.quantile(falls[possible], config.fall_quantile)
        possible &= falls <= least + config.fall_range * np.ptp(points[:, 2])
    return np.unique(np.round(dropped[possible], 1), axis=0)

"""The observed surface, and how far it may lie from a body that explains it."""

from typing import Protocol

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.config.completion import SurfaceConfig


class HasDistance(Protocol):
    """A body or curve with a signed distance."""

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        """[N] metres of world points [N, 3]."""
        ...


def tolerance_of(observation: Observation, config: SurfaceConfig) -> float:
    """Metres that the locally averaged surface may lie beside a body that explains it."""
    noise, pixel = config.tolerance_noise * observation.noise, config.tolerance_footprints * observation.pixel
    return float(max(noise, pixel))


def point_error(observation: Observation, config: SurfaceConfig) -> float:
    """Metres: standard deviation of an observed point."""
    return float(np.hypot(observation.noise, config.point_footprints * observation.pixel))


class AveragedSurface:
    """Distances of the observed surface from a body, averaged over neighbouring points: noise cancels,
    what remains is shape."""

    def __init__(self, observation: Observation, config: SurfaceConfig) -> None:
        from scipy.spatial import cKDTree

        every = max(1, len(observation.points.positions) // config.max_points)
        self.positions = observation.points.positions[::every]
        self.normals = observation.points.normals[::every]
        count = len(self.positions)
        index = cKDTree(self.positions).query(self.positions, k=min(config.neighbours, count))[1]
        self._index = index.reshape(count, -1)
        self.tolerance = tolerance_of(observation, config)

    def residual(self, shape: HasDistance) -> np.ndarray:
        """[N] metres ≥ 0."""
        return np.abs(np.median(shape.signed_distance(self.positions)[self._index], axis=1))

    def explained(self, shape: HasDistance) -> float:
        """Share of the surface that lies on the body."""
        return float((self.residual(shape) < self.tolerance).mean())

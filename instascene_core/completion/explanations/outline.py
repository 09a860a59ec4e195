"""What was seen of a body of revolution, brought into one half plane: a curve of radius over height.

All points of a ring lie on one place of the curve, so that their noise averages out there: the two
sides of a wall that is thinner than a voxel stay apart.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.completion.explanations.shapes import perpendicular
from instascene_core.completion.observing.observation import Observation
from instascene_core.config.completion import OutlineConfig
from instascene_core.geometry import SurfacePoints
from instascene_core.transforms import dots, lengths


@dataclass(frozen=True)
class Axis:
    """A line."""

    point: np.ndarray  # [3] metres, world
    direction: np.ndarray  # [3] unit

    def profile(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Radius and height [...] in metres of points [..., 3]."""
        offset = points - self.point
        height = offset @ self.direction
        return lengths(offset - height[..., None] * self.direction), height

    def angle(self, points: np.ndarray) -> np.ndarray:
        """[...] radians."""
        x, y = perpendicular(self.direction)
        offset = points - self.point
        return np.arctan2(offset @ y, offset @ x)

    def rotate(self, points: np.ndarray, angle: float) -> np.ndarray:
        """Points [N, 3] rotated about the line by `angle` radians."""
        return self.point + (points - self.point) @ self.rotation(angle).T

    def rotation(self, angle: float) -> np.ndarray:
        """[3, 3] by `angle` radians."""
        from scipy.spatial.transform import Rotation

        return Rotation.from_rotvec(angle * self.direction).as_matrix()


class Rings:
    """Evidence of the voxels on circles about an axis, a voxel apart in radius and height."""

    def __init__(self, observation: Observation, axis: Axis, config: OutlineConfig) -> None:
        self._axis, self._voxel = axis, observation.grid.voxel
        radius, height = axis.profile(observation.grid.centers())
        self._low = float(height.min())
        self._shape = (
            int(radius.max() / self._voxel) + 2,
            int((height.max() - self._low) / self._voxel) + 2,
        )
        ring = self._ring(radius, height).ravel()
        size = int(np.prod(self._shape))
        trust = observation.trust.ravel()
        seen = np.bincount(ring, trust >= config.ring_trust, size)
        free = np.bincount(ring, (observation.free & ~observation.believed).ravel(), size)
        least = config.min_ring_voxels
        self._free = (free >= least) & ((seen < least) | (seen < config.ring_free * free))

    def _ring(self, radius: np.ndarray, height: np.ndarray) -> np.ndarray:
        row = np.clip(np.rint(radius / self._voxel).astype(int), 0, self._shape[0] - 1)
        column = np.rint((height - self._low) / self._voxel).astype(int)
        return row * self._shape[1] + np.clip(column, 0, self._shape[1] - 1)

    def empty(self, radius: np.ndarray, height: np.ndarray) -> np.ndarray:
        """[...] bool: rings of these radii and heights (metres) that are mostly known to be empty."""
        return self._free[self._ring(radius, height)]


class Outline:
    """The oriented curve."""

    def __init__(
        self, points: SurfacePoints, axis: Axis, rings: Rings | None, cell: float, config: OutlineConfig
    ) -> None:
        """rings: points on empty ones are left out; cell: metres within which points are averaged, the
        curve's detail."""
        radius, height = axis.profile(points.positions)
        radial = points.positions - axis.point - height[:, None] * axis.direction
        radial /= np.maximum(radius, 1e-12)[:, None]
        normals = np.stack([dots(points.normals, radial), points.normals @ axis.direction], axis=1)
        length = lengths(normals)
        fits = length > config.min_normal  # a normal across the half plane is no body of revolution's
        if rings is not None:  # an empty ring holds something else at this place
            fits &= ~rings.empty(radius, height)
        places = np.stack([radius, height], axis=1)[fits]
        normals = normals[fits] / length[fits, None]
        places, normals, weight = _average(places, normals, cell)
        for _ in range(3):
            places, normals, density = _straighten(
                places, normals, weight, config.straightened * cell, config.same_side
            )
        kept = _dense(places, normals, density, config.neighbourhood * cell, config)
        self.places, self.normals = places[kept], normals[kept]
        self._axis, self._cell, self._config = axis, cell, config

    def signed_distance(self, points: np.ndarray, reach: float) -> np.ndarray:
        """[...] metres of points [..., 3] from the curve, negative inside; NaN beyond `reach` metres and
        where the curve ends before."""
        from scipy.spatial import cKDTree

        flat = np.stack([axis.ravel() for axis in self._axis.profile(points)], axis=1)
        result = np.full(len(flat), np.nan)
        if len(self.places) < 3:
            return result.reshape(points.shape[:-1])
        gap, index = cKDTree(self.places).query(flat, k=3, distance_upper_bound=reach + self._cell)
        found = np.isfinite(gap[:, 0])
        gap, index, flat = gap[found], index[found], flat[found]
        known = np.isfinite(gap)
        index = np.where(known, index, 0)
        weight = np.where(known, 1 / (gap**2 + (self._config.interpolation * self._cell) ** 2), 0)
        offset = flat[:, None] - self.places[index]  # [M, 3, 2]
        beside = (offset * self.normals[index]).sum(axis=2)
        distance = (weight * beside).sum(axis=1) / weight.sum(axis=1)
        # Beyond an end of the curve the nearest place lies sideways.
        sideways = np.sqrt(np.maximum(gap[:, 0] ** 2 - beside[:, 0] ** 2, 0))
        ends = (sideways > self._config.end * self._cell) | (np.abs(distance) > reach)
        result[found] = np.where(ends, np.nan, distance)
        return result.reshape(points.shape[:-1])

    def measure_wall(self, limit: float) -> tuple[float | None, float]:
        """Thickness in metres, median over the places that have another side at most `limit` metres behind
        them (None without such), and the share of those places."""
        from scipy.spatial import cKDTree

        pairs = cKDTree(self.places).query_pairs(limit, output_type="ndarray")
        opposed = dots(self.normals[pairs[:, 0]], self.normals[pairs[:, 1]]) < self._config.opposed
        pairs = pairs[opposed]
        offset = self.places[pairs[:, 1]] - self.places[pairs[:, 0]]
        along = np.abs(dots(offset, self.normals[pairs[:, 0]]))
        behind = dots(offset, self.normals[pairs[:, 0]]) < 0
        straight = behind & (along > self._config.straight * lengths(offset))
        if not straight.any():
            return None, 0.0
        share = len(np.unique(pairs[straight])) / len(self.places)
        return float(np.median(along[straight])), share


def _average(
    places: np.ndarray, normals: np.ndarray, cell: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of the places and normals [N, 2] that share a cell and a direction (eighths), and counts."""
    direction = np.rint(np.arctan2(normals[:, 1], normals[:, 0]) / (np.pi / 4)).astype(int) % 8
    key = np.column_stack([np.floor(places / cell).astype(int), direction])
    _, group = np.unique(key, axis=0, return_inverse=True)
    group = group.ravel()
    count = np.bincount(group)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(group, column) / count for column in values.T], axis=1)

    return mean(places), _unit(mean(normals)), count.astype(float)


def _straighten(
    places: np.ndarray, normals: np.ndarray, weight: np.ndarray, radius: float, same_side: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every place moved onto the line through its neighbours within `radius` that face the same way (cosine
    over `same_side`), the normals of those lines, and the sum [N] of the neighbours' shares."""
    from scipy.spatial import cKDTree

    tree = cKDTree(places)
    pairs = tree.query_pairs(radius, output_type="ndarray")
    every = np.arange(len(places))
    first = np.concatenate([pairs[:, 0], pairs[:, 1], every])
    second = np.concatenate([pairs[:, 1], pairs[:, 0], every])
    share = weight[second] * (1 - (lengths(places[first] - places[second]) / radius) ** 2)
    share = share * np.clip(dots(normals[first], normals[second]) - same_side, 0, None)
    total = np.maximum(np.bincount(first, share, len(places)), 1e-12)

    def mean(values: np.ndarray) -> np.ndarray:
        columns = [np.bincount(first, share * c, len(places)) for c in values[second].T]
        return np.stack(columns, axis=1) / total[:, None]

    middle, facing = mean(places), _unit(mean(normals))
    onto = dots(middle - places, facing)[:, None]
    return places + onto * facing, facing, total


def _dense(
    places: np.ndarray, normals: np.ndarray, density: np.ndarray, radius: float, config: OutlineConfig
) -> np.ndarray:
    """[N] bool: places with enough points, next to the densest place within `radius`, above all to the
    densest that faces the same way: the others are single bad readings inside a wall, or a handle's root."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(places).query_pairs(radius, output_type="ndarray")
    alike = dots(normals[pairs[:, 0]], normals[pairs[:, 1]]) > config.same_side
    dense = np.ones(len(places), dtype=bool)
    for share, (first, second) in ((config.density_same_side, pairs[alike].T), (config.density, pairs.T)):
        densest = density.copy()
        np.maximum.at(densest, first, density[second])
        np.maximum.at(densest, second, density[first])
        dense &= density >= share * densest
    return dense


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(lengths(vectors), 1e-12)[:, None]

"""Bodies of revolution: what was seen anywhere on a circle about the axis was seen all around it.

Bottles, fruit, lamps, tools: half of their surface is in view.  Where most of it agrees with an axis,
surface and empty space are turned about that, and the prior completes the observation that results.
What does not agree (a handle, a spout) keeps its own evidence around it.  Thin-walled vessels are left
alone: a ring of voxels would mix the two sides of their wall.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from instascene_core.completion import hollow
from instascene_core.completion.evidence import SurfacePoints
from instascene_core.completion.observation import Observation
from instascene_core.completion.primitives import SteadySurface, tolerance
from instascene_core.completion.prior import Prediction
from instascene_core.completion.shapes import perpendicular

AGREES = 0.85  # share of the observed surface that must agree with the axis, and of its side alone
AROUND = 0.33  # share of the circle on which rings of it were seen, on average
TURNS = 12  # copies of the observed points about the axis
APART = 0.06  # of the observed diagonal: so far around what does not agree, nothing is turned


@dataclass(frozen=True)
class Axis:
    """A line."""

    point: np.ndarray  # [3] metres, world
    direction: np.ndarray  # [3] unit

    def profile(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Radius and height [...] in metres of points [..., 3]."""
        offset = points - self.point
        height = offset @ self.direction
        return np.linalg.norm(offset - height[..., None] * self.direction, axis=-1), height

    def angle(self, points: np.ndarray) -> np.ndarray:
        """[...] radians."""
        x, y = perpendicular(self.direction)
        offset = points - self.point
        return np.arctan2(offset @ y, offset @ x)

    def turned(self, points: np.ndarray, angle: float) -> np.ndarray:
        """Points [N, 3] turned about the line."""
        return self.point + (points - self.point) @ self.rotation(angle).T

    def rotation(self, angle: float) -> np.ndarray:
        """[3, 3] by `angle` radians."""
        from scipy.spatial.transform import Rotation

        return Rotation.from_rotvec(angle * self.direction).as_matrix()


@dataclass(frozen=True)
class Symmetry:
    """An axis that the observed surface agrees with."""

    axis: Axis
    agrees: float  # share of the observed surface
    outliers: np.ndarray  # [M, 3] world points of the rest
    reach: float  # metres around those, where nothing is turned

    def surface(self, points: SurfacePoints) -> SurfacePoints:
        """The points with copies about the axis of those that agree."""
        apart = self._apart(points.positions)
        mine = points.subset(~apart)
        every = max(1, len(mine.positions) * TURNS // 30000)
        mine = mine.subset(np.arange(0, len(mine.positions), every))
        copies = [points]
        for k in range(1, TURNS):
            angle = 2 * np.pi * k / TURNS
            normals = mine.normals @ self.axis.rotation(angle).T
            copies.append(replace(mine, positions=self.axis.turned(mine.positions, angle), normals=normals))
        columns = ("positions", "normals", "colors", "view", "support")
        return SurfacePoints(*(np.concatenate([getattr(c, name) for c in copies]) for name in columns))

    def applied(self, observation: Observation) -> Observation:
        """The observation as if it had been seen from all around."""
        profile = _Profile(observation, self.axis)
        centers = observation.grid.centers()
        kept = observation.free | observation.neighbour | (observation.trust >= 0.5) | self._near(observation)
        if observation.support is not None:
            kept |= observation.support.height(centers) < 0
        surface, free, distance = profile.at(centers)
        surface, free = surface & ~kept, free & ~kept
        volume, full = observation.volume, max(2, observation.num_views)
        turned = surface | free
        volume = replace(
            volume,
            tsdf=np.where(surface, distance, volume.tsdf).astype(np.float32),
            weight=np.where(surface, full, np.where(free, 0, volume.weight)).astype(np.float32),
            views=np.where(surface, full, np.where(free, 0, volume.views)).astype(np.int16),
            free_views=np.where(free, full, np.where(surface, 0, volume.free_views)).astype(np.int16),
            other_views=np.where(turned, 0, volume.other_views).astype(np.float32),
        )
        return replace(observation, volume=volume, points=self.surface(observation.points))

    def imposed(self, prediction: Prediction, observation: Observation) -> Prediction:
        """The prediction with what was turned in place of the guess (a prior that looks at the frames
        itself does not know of it); observation: as `applied` made it."""
        trust, free = observation.trust, observation.free
        seen = np.nan_to_num(observation.volume.tsdf)
        outside = np.float32(0.5 * observation.grid.voxel)
        fields = np.where(trust >= 0.5, seen, prediction.fields)
        fields = np.where(free & (trust < 0.5), np.maximum(fields, outside), fields)
        sure = np.float32(0.5 * tolerance(observation))
        uncertainty = np.where(trust >= 0.5, np.minimum(prediction.uncertainty, sure), prediction.uncertainty)
        return Prediction(fields.astype(np.float32), uncertainty)

    def _apart(self, positions: np.ndarray) -> np.ndarray:
        """[N] bool: which points lie near what does not agree."""
        from scipy.spatial import cKDTree

        if not len(self.outliers):
            return np.zeros(len(positions), dtype=bool)
        gap, _ = cKDTree(self.outliers).query(positions, distance_upper_bound=self.reach)
        return np.isfinite(gap)

    def _near(self, observation: Observation) -> np.ndarray:
        """[nx, ny, nz] bool: as `_apart`, of the voxels."""
        from scipy.ndimage import distance_transform_edt

        grid = observation.grid
        if not len(self.outliers):
            return np.zeros(grid.shape, dtype=bool)
        away = np.ones(grid.shape, dtype=bool)
        inside = self.outliers[grid.contains(self.outliers)]
        index = np.clip(np.rint(grid.coordinates(inside)).astype(int), 0, np.array(grid.shape) - 1)
        away[tuple(index.T)] = False
        return distance_transform_edt(away, sampling=grid.voxel) < self.reach


class _Profile:
    """What the rings of voxels about an axis hold together."""

    def __init__(self, observation: Observation, axis: Axis) -> None:
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
        seen = trust >= 0.3
        tsdf = np.nan_to_num(observation.volume.tsdf).ravel()
        # Nearer surface is known better.
        weight = trust[seen] / (np.abs(tsdf[seen]) + 0.5 * self._voxel)
        total = np.bincount(ring[seen], weight, size)
        count = np.bincount(ring[seen], minlength=size)
        free = np.bincount(ring, (observation.free.ravel() & (trust < 0.5)), size)
        self._surface = (count >= 3) & (count >= 0.5 * free)
        self._free = (free >= 3) & ~self._surface
        self._distance = np.bincount(ring[seen], weight * tsdf[seen], size) / np.maximum(total, 1e-12)

    def _ring(self, radius: np.ndarray, height: np.ndarray) -> np.ndarray:
        row = np.clip(np.rint(radius / self._voxel).astype(int), 0, self._shape[0] - 1)
        column = np.rint((height - self._low) / self._voxel).astype(int)
        return row * self._shape[1] + np.clip(column, 0, self._shape[1] - 1)

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[...] bool, bool and metres of points [..., 3]: surface near, known to be empty, distance."""
        ring = self._ring(*self._axis.profile(points))
        return self._surface[ring], self._free[ring], self._distance[ring]

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        """[...] metres of points [..., 3] from the mean surface of their rings, between the rings linear;
        far away where the rings hold no surface."""
        from scipy.ndimage import map_coordinates

        radius, height = self._axis.profile(points)
        field = np.where(self._surface, self._distance, 8 * self._voxel).reshape(self._shape)
        where = np.stack([radius / self._voxel, (height - self._low) / self._voxel])
        return map_coordinates(field, where.reshape(2, -1), order=1, mode="nearest").reshape(radius.shape)


def find_symmetry(observation: Observation) -> Symmetry | None:
    """The axis that most of the observed surface agrees with, or None where no axis explains it."""
    if hollow.is_shell(hollow.measure_wall(observation)):
        return None
    points = observation.points
    surface = SteadySurface(observation)
    best = None
    for start in _axes(points, observation.up):
        axis = _refined(start, points, observation)
        if not _within(axis, points.positions):
            continue
        profile = _Profile(observation, axis)
        residual = surface.residual(profile)
        agrees = residual < tolerance(observation)
        side = np.abs(surface.normals @ axis.direction) < 0.7  # ends across the axis agree with any
        share = min(float(agrees.mean()), float(agrees[side].mean())) if side.any() else 0.0
        if share < AGREES or (best is not None and share <= best.agrees):
            continue
        if _around(axis, surface.positions[agrees], observation) < AROUND:
            continue
        reach = APART * float(np.linalg.norm(np.ptp(points.positions, axis=0)))
        best = Symmetry(axis, share, surface.positions[~agrees], reach)
    if best is not None and hollow.is_shell(hollow.measure_wall(best.applied(observation))):
        return None
    return best


def _axes(points: SurfacePoints, up: np.ndarray) -> Iterator[Axis]:
    """Lines that the normals' lines meet: upright, and of any direction."""
    every = max(1, len(points.positions) // 4000)
    positions, normals = points.positions[::every], points.normals[::every]
    yield Axis(_meeting_point(positions, normals, up), up)
    # Normals' lines n, p × n meet a line (a, ā) where (p × n)·a + n·ā = 0 (Pottmann & Wallner 2001).
    middle = positions.mean(axis=0)
    scale = float(np.linalg.norm(np.ptp(positions, axis=0)))
    moments = np.cross((positions - middle) / scale, normals)
    weight = np.ones(len(normals))
    direction, point = up, middle
    for _ in range(5):
        a = (moments * weight[:, None]).T @ moments
        b = (moments * weight[:, None]).T @ normals
        c = (normals * weight[:, None]).T @ normals + 1e-4 * weight.sum() * np.eye(3)
        direction = np.linalg.eigh(a - b @ np.linalg.solve(c, b.T))[1][:, 0]
        moment = -np.linalg.solve(c, b.T @ direction)
        point = middle + scale * np.cross(direction, moment)
        weight = 1 / (1 + ((moments @ direction + normals @ moment) / 0.05) ** 2)
    if abs(direction @ up) < 0.98:
        yield Axis(point, direction)


def _meeting_point(positions: np.ndarray, normals: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """[3] a point on the line along `direction` that most normals' lines meet."""
    x, y = perpendicular(direction)
    flat = np.stack([positions @ x, positions @ y], axis=1)
    across = np.stack([-(normals @ y), normals @ x], axis=1)  # ⟂ to the normal, in the plane
    middle, scale = flat.mean(axis=0), float(np.linalg.norm(np.ptp(flat, axis=0)))
    offset = ((flat - middle) * across).sum(axis=1)
    weight, center = np.ones(len(flat)), np.zeros(2)
    for _ in range(8):
        rows = across * weight[:, None]
        center = np.linalg.lstsq(rows, offset * weight, rcond=None)[0]
        weight = 1 / (1 + ((across @ center - offset) / (0.03 * scale)) ** 2)
    center = center + middle
    return center[0] * x + center[1] * y + (positions @ direction).mean() * direction


def _refined(axis: Axis, points: SurfacePoints, observation: Observation, bins: int = 40) -> Axis:
    """Moved and tilted until the points of a ring have one radius (on its ends: one height)."""
    from scipy.optimize import least_squares

    every = max(1, len(points.positions) // 1500)
    positions, normals = points.positions[::every], points.normals[::every]
    x, y = perpendicular(axis.direction)
    scale = float(np.linalg.norm(np.ptp(positions, axis=0)))
    sigma = float(np.hypot(observation.noise, 0.3 * observation.pixel))

    def moved(v: np.ndarray) -> Axis:
        direction = axis.direction + v[2] * x + v[3] * y
        return Axis(axis.point + scale * (v[0] * x + v[1] * y), direction / np.linalg.norm(direction))

    radius, height = axis.profile(positions)
    radial = (positions - axis.point) - height[:, None] * axis.direction
    outward = np.sign((radial * normals).sum(axis=1)).astype(int)
    end = np.abs(normals @ axis.direction) > 0.7
    along = np.where(end, radius, height)
    ring = np.clip(((along - along.min()) / (np.ptp(along) + 1e-12) * bins).astype(int), 0, bins - 1)
    ring = ring + bins * ((outward + 1) + 3 * end)
    count = np.maximum(np.bincount(ring), 1)

    def residual(v: np.ndarray) -> np.ndarray:
        radius, height = moved(v).profile(positions)
        value = np.where(end, height, radius)
        return (value - (np.bincount(ring, value) / count)[ring]) / sigma

    result = least_squares(residual, np.zeros(4), loss="soft_l1", f_scale=1.5, max_nfev=15, diff_step=1e-5)
    return moved(result.x)


def _within(axis: Axis, positions: np.ndarray) -> bool:
    """Whether the line runs through the observed surface's box, and not near its rim."""
    x, y = perpendicular(axis.direction)
    flat = np.stack([(positions - axis.point) @ x, (positions - axis.point) @ y], axis=1)
    low, high = np.quantile(flat, [0.01, 0.99], axis=0)
    return bool((low < 0).all() and (high > 0).all())


def _around(axis: Axis, positions: np.ndarray, observation: Observation, sectors: int = 24) -> float:
    """Share of the circle on which rings of the surface were seen, on average over the points."""
    _, height = axis.profile(positions)
    level = np.floor((height - height.min()) / (4 * observation.grid.voxel)).astype(int)
    sector = np.floor((axis.angle(positions) / (2 * np.pi) % 1) * sectors).astype(int) % sectors
    seen = np.zeros((level.max() + 1, sectors), dtype=bool)
    seen[level, sector] = True
    return float(seen.mean(axis=1)[level].mean())

"""Bodies of revolution: what was seen anywhere on a circle about the axis was seen all around it.

Bottles, fruit, lamps, tools: half of their surface is in view.  Where most of it agrees with an axis,
surface and empty space are turned about that, and the prior completes the observation that results.
What does not agree (a handle, a spout) keeps its own evidence around it.  Of a thin wall the outline
that all its points make together is believed before the voxels, which mix its two sides.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from instascene_core.completion.explanations.outline import Axis, Outline, Rings
from instascene_core.completion.explanations.primitives import SteadySurface, tolerance
from instascene_core.completion.explanations.shapes import perpendicular
from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors import hollow
from instascene_core.completion.priors.prior import Prediction
from instascene_core.geometry import SurfacePoints

AGREES = 0.85  # share of the observed surface that must agree with the axis, and of its side alone
AGREES_THIN = 0.75  # of a vessel's, which may have handles; both sides of its wall agree with an axis
AROUND = 0.33  # share of the circle on which rings of it were seen, on average
BOTH_SIDES = 0.1  # share of an outline with another side behind it from which a body is a vessel
CONTRADICTED = 0.04  # share of the turned surface that may lie in known empty space
STEADY = 0.6  # of the noise, root mean square of what is left of the agreeing surface's distances ...
FINE = 0.0025  # ... or of the observed diagonal: a pebble is nearly round, too
TURNS = 12  # copies of the observed points about the axis
APART = 0.06  # of the observed diagonal: so far around what does not agree, nothing is turned


@dataclass(frozen=True)
class Symmetry:
    """An axis that the observed surface agrees with."""

    axis: Axis
    agrees: float  # share of the observed surface
    outliers: np.ndarray  # [M, 3] world points of the rest
    reach: float  # metres around those, where nothing is turned
    points: SurfacePoints  # what was seen, not turned
    wall: float  # metres, thickness of a vessel's wall; NaN where none was seen from both sides

    @property
    def direction(self) -> np.ndarray:
        """[3] unit, of the axis."""
        return self.axis.direction

    @property
    def thin(self) -> bool:
        """Whether the outline replaces the fused surface, too."""
        return bool(np.isfinite(self.wall))

    def surface(self) -> SurfacePoints:
        """The points with copies about the axis of those that agree."""
        mine = self.points.select(~self._apart(self.points.positions))
        every = max(1, len(mine.positions) * TURNS // 30000)
        mine = mine.select(np.arange(0, len(mine.positions), every))
        copies = [self.points]
        for k in range(1, TURNS):
            angle = 2 * np.pi * k / TURNS
            normals = mine.normals @ self.axis.rotation(angle).T
            copies.append(replace(mine, positions=self.axis.turned(mine.positions, angle), normals=normals))
        return SurfacePoints.joined(copies)

    def applied(self, observation: Observation) -> Observation:
        """The observation, in any grid, as if the body had been seen from all around."""
        rings = Rings(observation, self.axis)
        outline = _outline(observation, self.points, self.axis, rings)
        centers = observation.grid.centers()
        distance = outline.signed_distance(centers, 2 * observation.grid.voxel)
        kept = observation.neighbour | self._near(observation)
        if observation.support is not None:
            kept |= observation.support.height(centers) < 0
        seen = observation.free | (observation.trust >= 0.5)
        surface = np.isfinite(distance) & ~kept & (self.thin | ~seen)
        free = rings.empty(*self.axis.profile(centers)) & ~kept & ~seen & ~surface
        volume, full = observation.volume, max(2, observation.num_views)
        # Behind a thin wall's outline the fused surface, as deep as its band, knows nothing.
        gone = free | (self.thin & ~surface & ~kept & (np.nan_to_num(volume.tsdf) < 0))
        volume = replace(
            volume,
            tsdf=np.where(surface, distance, volume.tsdf).astype(np.float32),
            weight=np.where(surface, full, np.where(gone, 0, volume.weight)).astype(np.float32),
            views=np.where(surface, full, np.where(gone, 0, volume.views)).astype(np.int16),
            free_views=np.where(free, full, np.where(surface, 0, volume.free_views)).astype(np.int16),
            other_views=np.where(surface | free, 0, volume.other_views).astype(np.float32),
        )
        return replace(observation, volume=volume, points=self.surface(), symmetry=self)

    def surer(self, prediction: Prediction, observation: Observation) -> Prediction:
        """The prediction with no more doubt about what was turned than about what was seen;
        observation: as `applied` made it."""
        sure = np.float32(0.5 * tolerance(observation))
        doubt = np.where(
            observation.trust >= 0.5, np.minimum(prediction.uncertainty, sure), prediction.uncertainty
        )
        return replace(prediction, uncertainty=doubt)

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


def find_symmetry(observation: Observation) -> Symmetry | None:
    """The axis that most of the observed surface agrees with, or None where no axis explains it."""
    surface = SteadySurface(observation)
    thin = hollow.is_shell(hollow.measure_wall(observation))
    best = None
    for start, upright in _axes(observation.points, observation.up):
        found = _about(_refined(start, observation.points, observation, upright), observation, surface, thin)
        if found is not None and (best is None or found.agrees > best.agrees + 0.01):
            best = found
    return best


def _about(axis: Axis, observation: Observation, surface: SteadySurface, thin: bool) -> Symmetry | None:
    """The symmetry about this axis, or None where the evidence speaks against it (see the constants).

    thin: whether walls were seen from both sides.
    """
    points = observation.points
    if not _within(axis, points.positions):
        return None
    diagonal = float(np.linalg.norm(np.ptp(points.positions, axis=0)))
    reach = APART * diagonal
    outline = _outline(observation, points, axis, Rings(observation, axis))
    residual = surface.residual(_Reaching(outline, reach))
    agrees = residual < tolerance(observation)
    side = np.abs(surface.normals @ axis.direction) < 0.7  # ends across the axis agree with any
    share = min(float(agrees.mean()), float(agrees[side].mean())) if side.any() else 0.0
    if share < (AGREES_THIN if thin else AGREES):
        return None
    if np.sqrt(np.mean(residual[agrees] ** 2)) > max(STEADY * observation.noise, FINE * diagonal):
        return None
    if _around(axis, surface.positions[agrees], observation) < AROUND:
        return None
    if _contradicted(axis, surface.positions[agrees], observation) > CONTRADICTED:
        return None
    wall, both = outline.wall(reach)
    wall = wall if thin or both > BOTH_SIDES else float("nan")
    return Symmetry(axis, share, surface.positions[~agrees], reach, points, wall)


def _contradicted(axis: Axis, positions: np.ndarray, observation: Observation, most: int = 1500) -> float:
    """Share of the surface at `positions` [N, 3], turned about the axis, that lies where space is known to
    be empty: what has corners sweeps through it."""
    positions = positions[:: max(1, len(positions) // most)]
    angles = 2 * np.pi * np.arange(1, TURNS) / TURNS
    turned = np.concatenate([axis.turned(positions, angle) for angle in angles])
    return float(observation.grid.sample(observation.free.astype(np.float32), turned, order=0).mean())


def _outline(observation: Observation, points: SurfacePoints, axis: Axis, rings: Rings) -> Outline:
    return Outline(points, axis, rings, max(0.5 * observation.pixel, 0.7 * observation.noise))


@dataclass(frozen=True)
class _Reaching:
    """An outline as a shape: what is farther off than `reach` metres is just that far off."""

    outline: Outline
    reach: float

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        return np.nan_to_num(self.outline.signed_distance(points, self.reach), nan=self.reach)


def _axes(points: SurfacePoints, up: np.ndarray) -> Iterator[tuple[Axis, bool]]:
    """Lines that the normals' lines meet: upright, nearly upright, and of any direction; and whether they
    are to stay upright, as what stands on something is."""
    every = max(1, len(points.positions) // 4000)
    positions, normals = points.positions[::every], points.normals[::every]
    upright = Axis(_meeting_point(positions, normals, up), up)
    yield upright, True
    yield upright, False
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
        yield Axis(point, direction), False


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


def _refined(axis: Axis, points: SurfacePoints, observation: Observation, upright: bool) -> Axis:
    """Moved, and unless `upright` tilted, until the points of a ring have one radius (its ends: one height).

    First what lies off the middle of its ring is left out: a handle would pull the axis to its side.
    """
    every = max(1, len(points.positions) // 1500)
    positions, normals = points.positions[::every], points.normals[::every]
    sigma = float(np.hypot(observation.noise, 0.3 * observation.pixel))
    for allowed in (8.0, 4.0, 3.0):
        ring, value = _rings(axis, positions, normals)
        kept = np.abs(value(axis) - _medians(ring, value(axis))) < allowed * sigma
        if kept.sum() < 20:
            return axis
        axis = _centered(axis, positions[kept], normals[kept], sigma, upright)
    return axis


def _rings(axis: Axis, positions: np.ndarray, normals: np.ndarray, bins: int = 40):
    """[N] number of the ring that each point lies on, apart for surface that faces in, out and along the
    axis; and what is constant on a ring, as a function of the axis: [N] metres."""
    radius, height = axis.profile(positions)
    radial = (positions - axis.point) - height[:, None] * axis.direction
    outward = np.sign((radial * normals).sum(axis=1)).astype(int)
    end = np.abs(normals @ axis.direction) > 0.7
    along = np.where(end, radius, height)
    ring = np.clip(((along - along.min()) / (np.ptp(along) + 1e-12) * bins).astype(int), 0, bins - 1)
    ring = ring + bins * ((outward + 1) + 3 * end)
    return ring, lambda moved: np.where(end, *moved.profile(positions)[::-1])


def _medians(ring: np.ndarray, value: np.ndarray) -> np.ndarray:
    """[N] the median of each point's ring."""
    from scipy.ndimage import median

    names, group = np.unique(ring, return_inverse=True)
    return median(value, group.ravel(), np.arange(len(names)))[group.ravel()]


def _centered(axis: Axis, positions: np.ndarray, normals: np.ndarray, sigma: float, upright: bool) -> Axis:
    """The axis about which the rings of these points differ least from their means."""
    from scipy.optimize import least_squares

    x, y = perpendicular(axis.direction)
    scale = float(np.linalg.norm(np.ptp(positions, axis=0)))
    ring, value = _rings(axis, positions, normals)
    count = np.maximum(np.bincount(ring), 1)

    def moved(v: np.ndarray) -> Axis:
        direction = axis.direction if upright else axis.direction + v[2] * x + v[3] * y
        return Axis(axis.point + scale * (v[0] * x + v[1] * y), direction / np.linalg.norm(direction))

    def residual(v: np.ndarray) -> np.ndarray:
        now = value(moved(v))
        return (now - (np.bincount(ring, now) / count)[ring]) / sigma

    start = np.zeros(2 if upright else 4)
    result = least_squares(residual, start, loss="soft_l1", f_scale=1.5, max_nfev=15, diff_step=1e-5)
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

"""Bodies of revolution: what was seen anywhere on a circle about the axis was seen all around it.

Bottles, fruit, lamps, tools: half of their surface is in view.  Where most of it agrees with an axis,
surface and empty space are turned about that, and the prior completes the observation that results.
What does not agree (a handle, a spout) keeps its own evidence around it.  Of a thin wall the outline
that all its points make together is believed before the voxels, which mix its two sides.
"""

from dataclasses import dataclass, replace

import numpy as np

from instascene_core.completion.explanations.axes import axis_candidates, refine_axis
from instascene_core.completion.explanations.outline import Axis, Outline, Rings
from instascene_core.completion.explanations.shapes import perpendicular
from instascene_core.completion.explanations.surface import AveragedSurface, point_error
from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.observing.regridding import extend_box, refine_voxels
from instascene_core.completion.priors.carving import carve
from instascene_core.completion.priors.prior import Prediction
from instascene_core.config.completion import CarvingConfig, ExplanationsConfig, RevolutionConfig
from instascene_core.geometry import SurfacePoints


@dataclass(frozen=True)
class Revolution:
    """A body of revolution: an axis that the observed surface agrees with."""

    axis: Axis
    agrees: float  # share of the observed surface
    outliers: np.ndarray  # [M, 3] world points of the rest
    reach: float  # metres around those, where nothing is turned
    points: SurfacePoints  # what was seen, not turned
    wall: float | None  # metres, thickness of a vessel's wall; None where none was seen from both sides
    tolerance: float  # metres that the observed surface may lie beside the body
    config: RevolutionConfig
    carving: CarvingConfig

    suffix = ", symmetry about an axis"

    @property
    def notes(self) -> tuple[str, ...]:
        return (
            f"{100 * self.agrees:.0f} % of what was seen is symmetric about an axis; "
            "it was taken to be so all around.",
        )

    @property
    def thin(self) -> bool:
        """Whether the outline replaces the fused surface, too."""
        return self.wall is not None

    def fit_grid(self, observation: Observation) -> Observation:
        """The observation in a box that holds the turned surface, with voxels finer than a vessel's wall."""
        observation = extend_box(observation, self.turned_points().positions)
        if self.wall is None:
            return observation
        return refine_voxels(observation, self.wall / self.config.wall_voxels, self.config.max_thin_voxels)

    def turned_points(self) -> SurfacePoints:
        """The points with copies about the axis of those that agree."""
        turns = self.config.turns
        mine = self.points.select(~self._near_outliers(self.points.positions))
        every = max(1, len(mine.positions) * turns // self.config.max_points)
        mine = mine.select(np.arange(0, len(mine.positions), every))
        copies = [self.points]
        for k in range(1, turns):
            angle = 2 * np.pi * k / turns
            normals = mine.normals @ self.axis.rotation(angle).T
            copies.append(replace(mine, positions=self.axis.rotate(mine.positions, angle), normals=normals))
        return SurfacePoints.joined(copies)

    def known(self, observation: Observation) -> Observation:
        """The observation, in any grid, as if the body had been seen from all around."""
        rings = Rings(observation, self.axis, self.config.outline)
        outline = _outline(observation, self.points, self.axis, rings, self.config)
        centers = observation.grid.centers()
        distance = outline.signed_distance(centers, self.config.surface_reach * observation.grid.voxel)
        kept = observation.neighbour | self._voxels_near_outliers(observation)
        if observation.support is not None:
            kept |= observation.support.height(centers) < 0
        seen = observation.free | observation.believed
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
        lies = abs(self.axis.direction @ observation.up) < self.config.lying_cosine
        return replace(
            observation,
            volume=volume,
            points=self.turned_points(),
            known_wall=self.wall,
            all_around=True,
            underside_known=bool(lies),
            add_known=self.known,
        )

    def adjust(self, prediction: Prediction, known: Observation) -> Prediction:
        """The prediction with no more doubt about what was turned than about what was seen; of a vessel,
        solid is only what the prior and the thickness of the wall leave."""
        sure = np.float32(self.config.doubt_tolerance * self.tolerance)
        doubt = np.where(known.believed, np.minimum(prediction.uncertainty, sure), prediction.uncertainty)
        fields = prediction.fields
        if self.thin:
            fields = np.maximum(fields, carve(known, self.carving))
        return Prediction(fields, doubt)

    def confine(self, field: np.ndarray, known: Observation) -> np.ndarray:
        """The field itself: what does not agree with the axis, a handle, is part of the body."""
        return field

    def _near_outliers(self, positions: np.ndarray) -> np.ndarray:
        """[N] bool: which points [N, 3] lie near what does not agree."""
        from scipy.spatial import cKDTree

        if not len(self.outliers):
            return np.zeros(len(positions), dtype=bool)
        gap, _ = cKDTree(self.outliers).query(positions, distance_upper_bound=self.reach)
        return np.isfinite(gap)

    def _voxels_near_outliers(self, observation: Observation) -> np.ndarray:
        """[nx, ny, nz] bool: which voxels lie near what does not agree."""
        from scipy.ndimage import distance_transform_edt

        grid = observation.grid
        if not len(self.outliers):
            return np.zeros(grid.shape, dtype=bool)
        away = np.ones(grid.shape, dtype=bool)
        inside = self.outliers[grid.contains(self.outliers)]
        index = np.clip(np.rint(grid.coordinates(inside)).astype(int), 0, np.array(grid.shape) - 1)
        away[tuple(index.T)] = False
        return distance_transform_edt(away, sampling=grid.voxel) < self.reach


def find_revolution(
    observation: Observation, config: ExplanationsConfig, carving: CarvingConfig
) -> Revolution | None:
    """The axis that most of the observed surface agrees with, or None where no axis explains it."""
    own = config.revolution
    surface = AveragedSurface(observation, config.surface)
    sigma = point_error(observation, config.surface)
    best = None
    for start, upright in axis_candidates(observation.points, observation.up, own):
        axis = refine_axis(start, observation.points, sigma, upright, own)
        found = _judge(axis, observation, surface, own, carving)
        if found is not None and (best is None or found.agrees > best.agrees + own.better):
            best = found
    return best


def _judge(
    axis: Axis,
    observation: Observation,
    surface: AveragedSurface,
    config: RevolutionConfig,
    carving: CarvingConfig,
) -> Revolution | None:
    """The body of revolution about this axis, or None where the evidence speaks against it."""
    points, vessel = observation.points, observation.wall is not None
    if not _runs_within(axis, points.positions, config.within_quantile):
        return None
    diagonal = float(np.linalg.norm(np.ptp(points.positions, axis=0)))
    reach = config.apart * diagonal
    rings = Rings(observation, axis, config.outline)
    outline = _outline(observation, points, axis, rings, config)
    residual = surface.residual(_BoundedOutline(outline, reach))
    agrees = residual < surface.tolerance
    # Ends across the axis agree with any.
    side = np.abs(surface.normals @ axis.direction) < config.side_cosine
    share = min(float(agrees.mean()), float(agrees[side].mean())) if side.any() else 0.0
    if share < (config.agrees_vessel if vessel else config.agrees):
        return None
    steady = max(config.steady_noise * observation.noise, config.steady_size * diagonal)
    if np.sqrt(np.mean(residual[agrees] ** 2)) > steady:
        return None
    if _share_around(axis, surface.positions[agrees], observation.grid.voxel, config) < config.around:
        return None
    if _share_contradicted(axis, surface.positions[agrees], observation, config) > config.contradicted:
        return None
    wall, both = outline.measure_wall(reach)
    if not (vessel or both > config.both_sides):
        wall = None
    outliers = surface.positions[~agrees]
    return Revolution(axis, share, outliers, reach, points, wall, surface.tolerance, config, carving)


def _share_contradicted(
    axis: Axis, positions: np.ndarray, observation: Observation, config: RevolutionConfig
) -> float:
    """Share of the surface at `positions` [N, 3], turned about the axis, that lies where space is known to
    be empty: what has corners sweeps through it."""
    positions = positions[:: max(1, len(positions) // config.contradicted_points)]
    angles = 2 * np.pi * np.arange(1, config.turns) / config.turns
    turned = np.concatenate([axis.rotate(positions, angle) for angle in angles])
    return float(observation.grid.sample(observation.free.astype(np.float32), turned, order=0).mean())


def _share_around(axis: Axis, positions: np.ndarray, voxel: float, config: RevolutionConfig) -> float:
    """Share of the circle on which rings of the surface were seen, on average over the points [N, 3].

    voxel: metres, of the observation's grid.
    """
    _, height = axis.profile(positions)
    sectors = config.around_sectors
    level = np.floor((height - height.min()) / (config.around_level * voxel)).astype(int)
    sector = np.floor((axis.angle(positions) / (2 * np.pi) % 1) * sectors).astype(int) % sectors
    seen = np.zeros((level.max() + 1, sectors), dtype=bool)
    seen[level, sector] = True
    return float(seen.mean(axis=1)[level].mean())


def _runs_within(axis: Axis, positions: np.ndarray, quantile: float) -> bool:
    """Whether the line runs through the observed surface's box, and not near its rim."""
    x, y = perpendicular(axis.direction)
    flat = np.stack([(positions - axis.point) @ x, (positions - axis.point) @ y], axis=1)
    low, high = np.quantile(flat, [quantile, 1 - quantile], axis=0)
    return bool((low < 0).all() and (high > 0).all())


def _outline(
    observation: Observation, points: SurfacePoints, axis: Axis, rings: Rings, config: RevolutionConfig
) -> Outline:
    outline = config.outline
    cell = max(outline.cell_footprints * observation.pixel, outline.cell_noise * observation.noise)
    return Outline(points, axis, rings, cell, outline)


@dataclass(frozen=True)
class _BoundedOutline:
    """An outline as a shape: what is farther off than `reach` metres is just that far off."""

    outline: Outline
    reach: float

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        return np.nan_to_num(self.outline.signed_distance(points, self.reach), nan=self.reach)

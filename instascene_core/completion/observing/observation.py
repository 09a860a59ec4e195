"""What the frames say about one instance: its surface, the space known to be free, and the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from instascene_core.completion.observing import evidence
from instascene_core.completion.observing.fusing import fuse_views
from instascene_core.completion.observing.wall import measure_wall
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ObservingConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry import Plane, SurfacePoints
from instascene_core.geometry.mesh import smallest_rectangle
from instascene_core.geometry.tsdf import TARGET, DepthView, FusedVolume, VoxelGrid
from instascene_core.instances import InstanceId


@dataclass(frozen=True)
class Observation:
    """One instance in its object box; the grid's z axis points up."""

    instance_id: InstanceId
    config: ObservingConfig  # by which it was made, and is made again in another grid
    volume: FusedVolume
    points: SurfacePoints  # confirmed surface, world frame
    support: Plane | None
    up: np.ndarray  # [3] unit, world frame
    noise: float  # metres: standard deviation of one depth reading, from the views' disagreement
    pixel: float  # metres: footprint of a pixel at the object
    num_views: int  # views with confirmed surface
    views: tuple[DepthView, ...]  # what was fused (to fuse again in another box)
    neighbour_points: tuple[np.ndarray, ...] = ()  # per other instance in the box: [N, 3] world points
    cut_views: float = 0.0  # share of those views whose image ends before the object does
    notes: tuple[str, ...] = ()
    # What an explanation adds (see `explanations`).
    known_wall: float | None = None  # metres: a vessel's wall, measured better than the voxels can
    all_around: bool = False  # points and volume are known on all sides, not only where cameras looked
    underside_known: bool = False  # nothing is to be added between it and the support
    add_known: "Callable[[Observation], Observation] | None" = None  # adds all that, in any grid

    @property
    def grid(self) -> VoxelGrid:
        return self.volume.grid

    @property
    def free(self) -> np.ndarray:
        """[nx, ny, nz] bool: known to be empty."""
        volume, config = self.volume, self.config
        needed = 2 if self.num_views >= config.many_views else 1
        passed = (volume.free_views >= needed) & (volume.free_views > config.free_ratio * volume.views)
        in_front_of_other = (volume.other_tsdf > 0) & (volume.other_views > volume.views)
        return passed | in_front_of_other

    @property
    def neighbour(self) -> np.ndarray:
        """[nx, ny, nz] bool: just inside the observed surface of something else."""
        volume = self.volume
        return (volume.other_tsdf <= 0) & (volume.other_views > volume.views) & ~self.free

    @property
    def trust(self) -> np.ndarray:
        """[nx, ny, nz] float32 in [0, 1]: how far the fused surface distance is to be believed."""
        volume, config = self.volume, self.config
        full = np.float32(min(config.full_views, max(1, self.num_views)))
        trust = np.clip(volume.views / full, 0, 1)
        trust = trust * np.clip(volume.weight / (config.full_weight * full), 0, 1)
        trust[volume.free_views > config.free_ratio * volume.views] = 0
        trust[volume.other_views > volume.views] = 0
        return trust.astype(np.float32)

    @property
    def believed(self) -> np.ndarray:
        """[nx, ny, nz] bool: voxels whose fused surface distance holds."""
        return self.trust >= self.config.believed_trust

    @cached_property
    def wall(self) -> float | None:
        """Metres: thickness of the wall of a thin-walled vessel; None where the thing is none."""
        return measure_wall(
            self.volume, self.points, self.free, self.believed, self.config.wall, self.known_wall
        )


def observe(
    frames: Sequence[Frame],
    instance_id: InstanceId,
    support: Plane | None,
    up: np.ndarray | None,
    config: CompletionConfig,
) -> Observation:
    """Collect what `frames` (with depth in metres and labels) say about instance `instance_id`.

    up: direction against gravity, world frame; None takes the support's normal, else an estimate
    from the cameras (said in the notes).
    Raises InputError when no frame has depth and labels, or too little of the instance was seen.
    """
    settings = config.observing
    views = evidence.views_of_instance(frames, instance_id, support, settings)
    up, notes = _upward(views, support, up, settings.min_common_up)
    points, noise, pixel = evidence.confirmed_points(views, instance_id, settings)
    if support is not None:
        below = support.height(points.positions) < -settings.below_support * pixel
        if below.mean() > settings.max_below_support:
            support = None
            notes = (*notes, "Most of the object lies below the support plane, so the plane was not used.")
    num_views, cut_views = len(np.unique(points.column("view"))), _cut_share(views, settings)
    notes += _notes(num_views, support, cut_views, settings)
    grid = _object_grid(points.positions, views, support, up, pixel, settings)
    volume = _fused(views, grid, noise, pixel, settings)
    neighbours = evidence.neighbour_points(
        frames, instance_id, volume, settings.neighbour_views, settings.neighbour_points
    )
    return Observation(
        instance_id=instance_id,
        config=settings,
        volume=volume,
        points=points,
        support=support,
        up=up,
        noise=noise,
        pixel=pixel,
        num_views=num_views,
        cut_views=cut_views,
        views=tuple(views),
        neighbour_points=neighbours,
        notes=notes,
    )


def fuse_in_grid(observation: Observation, grid: VoxelGrid) -> Observation:
    """The same observation in another grid, with what an explanation adds to it."""
    volume = _fused(observation.views, grid, observation.noise, observation.pixel, observation.config)
    again = replace(observation, volume=volume)
    return again if observation.add_known is None else observation.add_known(again)


def _fused(
    views: Sequence[DepthView], grid: VoxelGrid, noise: float, pixel: float, config: ObservingConfig
) -> FusedVolume:
    band = max(config.band_voxels * grid.voxel, config.band_noise * noise, config.band_footprints * pixel)
    truncation = max(config.truncation_bands * band, config.truncation_voxels * grid.voxel)
    return fuse_views(views, grid, band, truncation)


def _notes(
    num_views: int, support: Plane | None, cut_views: float, config: ObservingConfig
) -> tuple[str, ...]:
    """Sentences about what was missing."""
    notes: tuple[str, ...] = ()
    if num_views < config.few_views:
        notes = (*notes, f"Seen from {num_views} view(s) only: most of the shape is a guess.")
    if support is None:
        notes = (*notes, "No plane is known that the object stands on: where it ends below is a guess.")
    if cut_views > config.many_cut:
        notes = (*notes, f"In {100 * cut_views:.0f} % of the views the images end before the object does.")
    return notes


def _cut_share(views: Sequence[DepthView], config: ObservingConfig) -> float:
    """Share of the views of the target in which it goes on beyond the image's border."""
    cut, rim = [], config.cut_rim
    for view in views:
        target = view.what == TARGET
        if target.any():
            # Flying pixels and eroded masks may leave out the outermost ones.
            border = np.concatenate(
                [target[:rim].any(0), target[-rim:].any(0), target[:, :rim].any(1), target[:, -rim:].any(1)]
            )
            cut.append(border.sum() > config.cut_length * np.sqrt(target.sum()))
    return float(np.mean(cut)) if cut else 0.0


def _upward(
    views: Sequence[DepthView], support: Plane | None, up: np.ndarray | None, min_common: float
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The upward direction [3] unit and notes about where it came from.

    min_common: least length of the mean of the cameras' own up directions.
    """
    if up is not None:
        up = np.asarray(up, dtype=np.float64)
        if up.shape != (3,) or not np.isfinite(up).all() or np.linalg.norm(up) < 1e-6:
            raise InputError(f"The up direction must be three finite numbers, not all zero; got {up}.")
        return up / np.linalg.norm(up), ()
    if support is not None:
        return support.normal, ()
    mean = -np.mean([view.world_from_camera[:3, 1] for view in views], axis=0)
    if np.linalg.norm(mean) < min_common:
        mean = np.array([0.0, 0.0, 1.0])
    note = "Neither gravity nor a support plane is known: up is estimated from how the cameras were held."
    return mean / np.linalg.norm(mean), (note,)


def _object_grid(
    positions: np.ndarray,
    views: Sequence[DepthView],
    support: Plane | None,
    up: np.ndarray,
    pixel: float,
    config: ObservingConfig,
) -> VoxelGrid:
    """Object box: observed points [N, 3] in their smallest upright box, down to the support, enlarged
    by `box_scale` away from the cameras."""
    rotation = smallest_rectangle(positions, up)
    local = positions @ rotation  # [N, 3] in upright axes
    low, high = local.min(axis=0), local.max(axis=0)
    extent = np.maximum(high - low, config.min_box_footprints * pixel)
    if support is not None:
        # Lowest point of the support under the box; it may be slightly tilted against `up`.
        cosine = max(config.min_support_cosine, support.normal @ up)
        drop = float(support.height(positions).min() / cosine)
        if 0 < drop < extent.max():
            low[2] -= drop
    extent = np.maximum(high - low, config.min_box_footprints * pixel)
    center = (local.min(axis=0) + local.max(axis=0)) / 2
    cameras = np.stack([view.world_from_camera[:3, 3] for view in views]) @ rotation - center
    toward = (cameras / np.linalg.norm(cameras, axis=1, keepdims=True)).mean(axis=0)  # [3] in [-1, 1]
    growth = (config.box_scale - 1.0) * extent
    low = low - growth * (0.5 + 0.5 * toward)
    high = high + growth * (0.5 - 0.5 * toward)
    least = config.min_voxel_pixels * pixel
    voxel = max((float(np.prod(high - low)) / config.max_voxels) ** (1 / 3), least)
    low, high = low - 4 * voxel, high + 4 * voxel
    nx, ny, nz = (int(n) for n in np.ceil((high - low) / voxel).astype(int) + 1)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = rotation @ low
    return VoxelGrid(matrix, float(voxel), (nx, ny, nz))

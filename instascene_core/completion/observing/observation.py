"""What the frames say about one instance: its surface, the space known to be free, and the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from instascene_core.completion.observing import evidence
from instascene_core.config import CompletionConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry import Plane, SurfacePoints
from instascene_core.geometry.mesh import smallest_rectangle
from instascene_core.geometry.tsdf import TARGET, DepthView, FusedVolume, VoxelGrid, fuse
from instascene_core.transforms import apply


class Turning(Protocol):
    """A symmetry of the observed thing."""

    direction: np.ndarray  # [3] unit, of its axis
    wall: float  # metres, thickness of a vessel's wall; NaN where the thing is none

    def applied(self, observation: "Observation") -> "Observation":
        """The observation, in any grid, with what follows from the symmetry."""


@dataclass(frozen=True)
class Observation:
    """One instance in its object box; the grid's z axis points up."""

    instance_id: int
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
    symmetry: "Turning | None" = None  # by which more than was seen is known

    @property
    def grid(self) -> VoxelGrid:
        return self.volume.grid

    @property
    def free(self) -> np.ndarray:
        """[nx, ny, nz] bool: known to be empty."""
        volume = self.volume
        needed = 2 if self.num_views >= 6 else 1
        passed = (volume.free_views >= needed) & (volume.free_views > 2 * volume.views)
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
        volume = self.volume
        full = np.float32(min(2, max(1, self.num_views)))
        trust = np.clip(volume.views / full, 0, 1) * np.clip(volume.weight / (0.3 * full), 0, 1)
        trust[volume.free_views > 2 * volume.views] = 0
        trust[volume.other_views > volume.views] = 0
        return trust.astype(np.float32)


def observe(
    frames: Sequence[Frame],
    instance_id: int,
    support: Plane | None,
    up: np.ndarray | None,
    config: CompletionConfig,
) -> Observation:
    """Collect what `frames` (with depth in metres and labels) say about instance `instance_id`.

    up: direction against gravity, world frame; None takes the support's normal, else an estimate
    from the cameras (said in the notes).
    Raises InputError when no frame has depth and labels, or too little of the instance was seen.
    """
    views = evidence.views_of_instance(frames, instance_id, support, config)
    up, notes = _upward(views, support, up)
    points, noise, pixel = evidence.confirmed_points(views, instance_id, config)
    if support is not None and (support.height(points.positions) < -3 * pixel).mean() > 0.5:
        support = None
        notes = (*notes, "Most of the object lies below the support plane, so the plane was not used.")
    num_views = len(np.unique(points.view))
    if num_views < 3:
        notes = (*notes, f"Seen from {num_views} view(s) only: most of the shape is a guess.")
    if support is None:
        notes = (*notes, "No plane is known that the object stands on: where it ends below is a guess.")
    cut_views = _cut_views(views)
    if cut_views > 0.5:
        notes = (*notes, f"In {100 * cut_views:.0f} % of the views the images end before the object does.")
    grid = _object_grid(points.positions, views, support, up, pixel, config)
    volume = _fused(views, grid, noise, pixel)
    return Observation(
        instance_id=instance_id,
        volume=volume,
        points=points,
        support=support,
        up=up,
        noise=noise,
        pixel=pixel,
        num_views=num_views,
        cut_views=cut_views,
        views=tuple(views),
        neighbour_points=evidence.neighbour_points(frames, instance_id, volume),
        notes=notes,
    )


def grown(observation: Observation, factor: float = 1.25) -> Observation:
    """The same observation in a box `factor` times as large about the same centre (same voxel count)."""
    old = observation.grid
    voxel = old.voxel * factor
    center = apply(old.world_from_grid, old.size / 2)
    matrix = old.world_from_grid.copy()
    matrix[:3, 3] = center - matrix[:3, :3] @ ((np.array(old.shape) - 1) * voxel / 2)
    return fused_again(observation, VoxelGrid(matrix, voxel, old.shape))


def finer(observation: Observation, voxel: float, max_voxels: int) -> Observation:
    """The same observation in the same box with voxels of about `voxel` metres, or as many as allowed."""
    old = observation.grid
    least = (float(np.prod(old.size)) / max_voxels) ** (1 / 3)
    voxel = max(voxel, least)
    if voxel >= old.voxel:
        return observation
    shape = tuple(int(n) for n in np.floor(old.size / voxel).astype(int) + 1)
    return fused_again(observation, VoxelGrid(old.world_from_grid, voxel, shape))


def fused_again(observation: Observation, grid: VoxelGrid) -> Observation:
    """The same observation in another grid."""
    volume = _fused(observation.views, grid, observation.noise, observation.pixel)
    again = replace(observation, volume=volume)
    return again if observation.symmetry is None else observation.symmetry.applied(again)


def covering(observation: Observation, points: np.ndarray) -> Observation:
    """The same observation in a box with the same axes and voxel count that also holds points [N, 3]."""
    old = observation.grid
    found = old.coordinates(points)
    low = np.minimum(np.floor(found.min(axis=0)) - 4, 0)
    high = np.maximum(np.ceil(found.max(axis=0)) + 4, np.array(old.shape) - 1)
    if (low == 0).all() and (high == np.array(old.shape) - 1).all():
        return observation
    factor = max(1.0, float(np.prod((high - low + 1) / old.shape)) ** (1 / 3))
    matrix = old.world_from_grid.copy()
    matrix[:3, 3] = apply(old.world_from_grid, low * old.voxel)
    shape = tuple(int(n) for n in np.ceil((high - low) / factor).astype(int) + 1)
    return fused_again(observation, VoxelGrid(matrix, old.voxel * factor, shape))


def beyond_face(observation: Observation, axis: int, end: int) -> Observation:
    """The same observation in the single layer of voxels beyond a face of the box.

    axis: 0, 1, 2; end: 0 (low face) or -1 (high face).
    """
    old = observation.grid
    corner, shape = np.zeros(3), list(old.shape)
    corner[axis] = -old.voxel if end == 0 else old.shape[axis] * old.voxel
    shape[axis] = 1
    matrix = old.world_from_grid.copy()
    matrix[:3, 3] = apply(old.world_from_grid, corner)
    return fused_again(observation, VoxelGrid(matrix, old.voxel, tuple(shape)))


def _fused(views: Sequence[DepthView], grid: VoxelGrid, noise: float, pixel: float) -> FusedVolume:
    band = max(1.5 * grid.voxel, 2.5 * noise, 0.5 * pixel)
    return fuse(views, grid, band, max(2 * band, 3 * grid.voxel))


def _cut_views(views: Sequence[DepthView]) -> float:
    """Share of the views of the target in which it goes on beyond the image's border."""
    cut = []
    for view in views:
        target = view.what == TARGET
        if target.any():
            # Flying pixels and eroded masks may leave out the outermost ones.
            rim = np.concatenate(
                [target[:3].any(0), target[-3:].any(0), target[:, :3].any(1), target[:, -3:].any(1)]
            )
            cut.append(rim.sum() > 0.2 * np.sqrt(target.sum()))
    return float(np.mean(cut)) if cut else 0.0


def _upward(
    views: Sequence[DepthView], support: Plane | None, up: np.ndarray | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The upward direction [3] unit and notes about where it came from."""
    if up is not None:
        up = np.asarray(up, dtype=np.float64)
        if up.shape != (3,) or not np.isfinite(up).all() or np.linalg.norm(up) < 1e-6:
            raise InputError(f"The up direction must be three finite numbers, not all zero; got {up}.")
        return up / np.linalg.norm(up), ()
    if support is not None:
        return support.normal, ()
    mean = -np.mean([view.world_from_camera[:3, 1] for view in views], axis=0)
    if np.linalg.norm(mean) < 0.1:
        mean = np.array([0.0, 0.0, 1.0])
    note = "Neither gravity nor a support plane is known: up is estimated from how the cameras were held."
    return mean / np.linalg.norm(mean), (note,)


def _object_grid(
    positions: np.ndarray,
    views: Sequence[DepthView],
    support: Plane | None,
    up: np.ndarray,
    pixel: float,
    config: CompletionConfig,
) -> VoxelGrid:
    """Object box: observed points [N, 3] in their smallest upright box, down to the support, enlarged
    by `box_scale` away from the cameras."""
    rotation = smallest_rectangle(positions, up)
    local = positions @ rotation  # [N, 3] in upright axes
    low, high = local.min(axis=0), local.max(axis=0)
    extent = np.maximum(high - low, 4 * pixel)
    if support is not None:
        # Lowest point of the support under the box; it may be slightly tilted against `up`.
        drop = float(support.height(positions).min() / max(0.3, support.normal @ up))
        if 0 < drop < extent.max():
            low[2] -= drop
    extent = np.maximum(high - low, 4 * pixel)
    center = (local.min(axis=0) + local.max(axis=0)) / 2
    cameras = np.stack([view.world_from_camera[:3, 3] for view in views]) @ rotation - center
    toward = (cameras / np.linalg.norm(cameras, axis=1, keepdims=True)).mean(axis=0)  # [3] in [-1, 1]
    growth = (config.box_scale - 1.0) * extent
    low = low - growth * (0.5 + 0.5 * toward)
    high = high + growth * (0.5 - 0.5 * toward)
    voxel = max((float(np.prod(high - low)) / config.max_voxels) ** (1 / 3), config.min_voxel_pixels * pixel)
    low, high = low - 4 * voxel, high + 4 * voxel
    shape = tuple(int(n) for n in np.ceil((high - low) / voxel).astype(int) + 1)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = rotation @ low
    return VoxelGrid(matrix, float(voxel), shape)

"""One new frame against what the Gaussians let its camera expect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from instascene_core.config.following import FollowingConfig
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.geometry import Plane
from instascene_core.instances import THINGS, InstanceId
from instascene_core.ownership.by_gaussians import label_pixels
from instascene_core.rendering import rasterize, trace
from instascene_core.scene.background.disks import select
from instascene_core.scene.results import SceneState

_COVERED = 0.5  # of a pixel by Gaussians, from which a depth is expected there
_TO_SIGMA = 1.4826  # median of absolute deviations → standard deviation of a normal distribution
_THIN = 2.0  # standard deviations that a thing must stand before what is behind it to be missed


@dataclass(frozen=True)
class Expectation:
    """What a scene lets cameras expect."""

    gaussians: GaussianModel
    labels: np.ndarray  # [N] int32 ids
    structure: GaussianModel  # those of no thing: the support, walls, what nobody knows
    background: torch.Tensor | None  # [3] colour behind the Gaussians
    plane: Plane | None  # the support's

    @classmethod
    def of(cls, state: SceneState) -> Expectation:
        known = state.require_decomposition()
        labels = known.instances.gaussian_labels
        things = [i.id for i in known.instances.instances if i.kind in THINGS]
        structure = select(known.gaussians, np.flatnonzero(~np.isin(labels, things)))
        background = state.require_reconstruction().background
        return cls(known.gaussians, labels, structure, background, known.instances.support)

    def depth(self, frame: Frame, gaussians: GaussianModel) -> np.ndarray:
        """[H, W] float32 metres at the frame's pose; 0 where nothing is expected."""
        images = rasterize(gaussians, frame.camera, frame.world_from_camera, background=self.background)
        seen = images.alpha.numpy() >= _COVERED
        return np.where(seen, images.median_depth.numpy(), 0).astype(np.float32)

    def depth_without_things(self, frame: Frame) -> np.ndarray:
        """[H, W] float32 metres: structure as it was seen, the support's plane where things hid it; infinite
        where neither is."""
        depth = self.depth(frame, self.structure)
        behind = np.full(depth.shape, np.inf, np.float32)
        if self.plane is not None:
            pose = frame.world_from_camera
            falling = frame.camera.rays @ (pose[:3, :3].T @ self.plane.normal).astype(np.float32)
            height = float(self.plane.height(pose[:3, 3]))
            with np.errstate(divide="ignore"):
                behind = np.where(falling < 0, -height / falling, np.inf).astype(np.float32)
        return np.where(depth > 0, depth, behind)


@dataclass(frozen=True)
class Comparison:
    """A frame's depth beside the expected one.  Where poses are a little off, at the rim of a surface,
    neither `through` nor `before` holds."""

    frame: Frame
    labels: np.ndarray  # [H, W] int32 ids of what is expected
    noise: np.ndarray  # [H, W] metres: standard deviation of the measured depth from the expected one
    tolerance: np.ndarray  # [H, W] metres: larger differences are changes
    through: np.ndarray  # [H, W] bool: the camera looked through what is expected
    before: np.ndarray  # [H, W] bool: something stands before it
    agrees: np.ndarray  # [H, W] bool
    # [H, W] metres: all around the pixel the camera saw at least so far; 0 where some of that is not known
    empty_to: np.ndarray

    def seen_through(self, instance_id: InstanceId, config: FollowingConfig) -> float | None:
        """Share of a thing's pixels, those hidden by something else aside; None where too few are seen."""
        own = self.labels == instance_id
        return _share(own & self.through, own & self.agrees, config)

    def doubted(self, instance_id: InstanceId, config: FollowingConfig) -> float | None:
        """Share of a thing's pixels whose depth is another than expected; None where too few are seen."""
        own = self.labels == instance_id
        return _share(own & (self.through | self.before), own & self.agrees, config)


def _share(these: np.ndarray, others: np.ndarray, config: FollowingConfig) -> float | None:
    count, rest = int(these.sum()), int(others.sum())
    return count / (count + rest) if count + rest >= config.min_pixels else None


def compare(frame: Frame, expectation: Expectation, config: FollowingConfig) -> Comparison:
    """frame: with depth.

    The noise is taken from the frame itself: most of it has not changed.  That of stereo and of structured
    light grows with the square of the distance (`docs/sensors.md`).  What is flat is held against what lies
    behind it: depth nearer to that than to the thing has looked through it.
    """
    expected, measured = expectation.depth(frame, expectation.gaussians), frame.require_depth()
    known = (measured > 0) & (expected > 0)
    difference = measured - expected
    growth = float(np.median(np.abs(difference[known]) / expected[known] ** 2)) if known.any() else 0.0
    noise = (_TO_SIGMA * growth * expected**2).astype(np.float32)
    tolerance = np.clip(config.noises * noise, config.min_tolerance, config.max_tolerance)
    near, far = _range_around(expected, config.outline_pixels)
    gap = expectation.depth_without_things(frame) - expected
    halfway = np.minimum(tolerance, gap / 2)
    telling = known & (gap > np.maximum(_THIN * noise, config.min_tolerance))
    view_trace = trace(expectation.gaussians, frame.camera, frame.world_from_camera)
    through = telling & (measured > far + halfway)
    return Comparison(
        frame=frame,
        labels=label_pixels(expectation.labels, view_trace),
        noise=noise,
        tolerance=tolerance,
        through=through,
        before=known & (measured < near - tolerance),
        agrees=telling & (np.abs(difference) <= tolerance) & (difference < halfway),
        empty_to=least_around(measured, config.outline_pixels),
    )


def _range_around(depth: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest depth [H, W] within so many pixels, of those that have one."""
    import cv2

    near = least_around(np.where(depth > 0, depth, np.float32(np.inf)), pixels)
    return near, cv2.dilate(depth, _window(pixels))


def least_around(depth: np.ndarray, pixels: int) -> np.ndarray:
    """[H, W]: the least of depth [H, W] within so many pixels."""
    import cv2

    return cv2.erode(depth, _window(pixels))


def _window(pixels: int) -> np.ndarray:
    return np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)


def gone(
    comparisons: Sequence[Comparison], ids: Iterable[InstanceId], config: FollowingConfig
) -> dict[InstanceId, int]:
    """Things that are not where they were: by id, the index of the first frame from which on all frames that
    show the place see through a part of them, and most of these through most of them."""
    runs = {i: _newest([c.seen_through(i, config) for c in comparisons], config) for i in ids}
    return {i: run[0] for i, run in runs.items() if run is not None and np.median(run[1]) >= config.gone}


def doubtful(
    comparisons: Sequence[Comparison], ids: Iterable[InstanceId], config: FollowingConfig
) -> dict[InstanceId, int]:
    """As `gone`, of things of which no more than a part is not where it was: they may have been pushed."""
    runs = {i: _newest([c.doubted(i, config) for c in comparisons], config) for i in ids}
    return {i: run[0] for i, run in runs.items() if run is not None}


def _newest(shares: Sequence[float | None], config: FollowingConfig) -> tuple[int, list[float]] | None:
    """From which frame on all that say something say at least `shifted`, and what they say; None where these
    are not enough."""
    telling = [(k, share) for k, share in enumerate(shares) if share is not None]
    last_no = max((n for n, (_, share) in enumerate(telling) if share < config.shifted), default=-1)
    run = [share for _, share in telling[last_no + 1 :]]
    if len(run) < config.min_views:
        return None
    return telling[last_no][0] + 1 if last_no >= 0 else 0, run

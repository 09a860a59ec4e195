"""From frames to frames whose poses agree; or the same frames, where that explains nothing better."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from instascene_core.config import RegistrationConfig
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.registration.images import Stack, stack, with_smoothing
from instascene_core.registration.pairs import choose_pairs
from instascene_core.registration.residuals import Samples, draw_samples, residuals
from instascene_core.registration.solver import Noise, PosePrior, costs, solve
from instascene_core.transforms import image_motion

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registered:
    """Frames, and what was measured on them."""

    frames: tuple[Frame, ...]
    corrected: bool = False  # whether any pose was changed
    pixels: float = 0.0  # by which the estimate moves the images, mean
    gain: float = 0.0  # standard errors by which pixels that had no say agree better


def register(
    frames: Sequence[Frame],
    config: RegistrationConfig | None = None,
    progress: ProgressCallback = no_progress,
) -> Registered:
    """Correct the poses of the frames that have depth, if pixels that had no say agree better then.

    The mean motion of the cameras stays about zero: the world the poses were given in stays in place.
    Recordings of which no two views overlap are returned as they are.
    """
    config = config or RegistrationConfig()
    measured = [i for i, frame in enumerate(frames) if frame.depth is not None and (frame.depth > 0).any()]
    if not config.correct_poses or len(measured) < 2:
        return Registered(tuple(frames))
    problem = _Problem.of([frames[i] for i in measured], config)
    poses = problem.estimate(progress)
    pixels, gain = problem.image_motion(poses), problem.gain(poses)
    progress("register", 1.0, f"poses {pixels:.2f} pixels from the given ones")
    if gain <= config.significance or pixels <= config.least_pixels:
        return Registered(tuple(frames), False, pixels, gain)
    logger.info("poses corrected: by %.2f pixels in the mean", pixels)
    new = list(frames)
    for i, pose in zip(measured, poses):
        new[i] = frames[i].with_(world_from_camera=pose)
    return Registered(tuple(new), True, pixels, gain)


@dataclass(frozen=True)
class _Problem:
    """Frames with depth, and how they are compared."""

    frames: Sequence[Frame]
    config: RegistrationConfig
    given: np.ndarray  # [N, 4, 4] world_from_camera
    scale: float  # metres, typical depth
    images: Stack
    generator: torch.Generator

    @staticmethod
    def of(frames: Sequence[Frame], config: RegistrationConfig) -> "_Problem":
        given = np.stack([frame.world_from_camera for frame in frames])
        depths = [frame.require_depth() for frame in frames]
        scale = float(np.median([np.median(depth[depth > 0]) for depth in depths]))
        images = stack(frames, config.smoothing[-1], _pixels_each(len(frames), config))
        return _Problem(frames, config, given, scale, images, torch.Generator().manual_seed(0))

    def estimate(self, progress: ProgressCallback) -> np.ndarray:
        """Poses [N, 4, 4], coarse to fine; the given ones where they are at rest already."""
        poses, config = self.given, self.config
        first = self._solve(poses, config.smoothing[-1], rounds=1)
        if self.image_motion(first) <= config.least_pixels:
            return poses
        for level, smoothing in enumerate(config.smoothing):
            progress("register", level / len(config.smoothing), f"smoothed by {smoothing:g} pixels")
            poses = self._solve(poses, smoothing, config.rounds)
        return poses

    def _solve(self, poses: np.ndarray, smoothing: float, rounds: int) -> np.ndarray:
        """From `poses` on, with colours smoothed; the same where no views overlap."""
        config = self.config
        images, samples, pairs = self._view(poses, smoothing)
        if len(pairs) == 0:
            return poses
        floor = config.noise_floor * (smoothing / config.smoothing[-1]) ** 2 / self.scale
        hold = PosePrior(self.given, config.pose_shift * self.scale, config.pose_turn)
        return solve(images, pairs, poses, hold, samples, floor, rounds, config.independence)

    def gain(self, poses: np.ndarray) -> float:
        """By how many standard errors new samples agree better than with the given poses.

        Pair by pair, against the noise there is with `poses`.
        """
        config = self.config
        images, samples, pairs = self._view(poses, config.smoothing[-1])
        if len(pairs) == 0:
            return 0.0
        after, before = (
            residuals(images, pairs, torch.from_numpy(p), samples, differentiate=False)
            for p in (poses, self.given)
        )
        noise = Noise.of(after, config.noise_floor / self.scale)
        better = (costs(before, noise) - costs(after, noise)).numpy()
        better = better[np.isfinite(better)]
        if len(better) < 2:
            return 0.0
        # The pairs of a view are not independent: as many votes as there are views.
        error = better.std() / np.sqrt(min(len(better), len(self.frames)))
        return float(better.mean() / max(error, 1e-9))

    def image_motion(self, poses: np.ndarray) -> float:
        """Pixels by which what lies at the typical depth ahead moves in the images; mean."""
        focal = np.array([frame.camera.fx for frame in self.frames])
        return float((image_motion(poses, self.given, self.scale) * focal).mean())

    def _view(self, poses: np.ndarray, smoothing: float) -> tuple[Stack, Samples, torch.Tensor]:
        """Images, samples that are new each time, and the pairs of views [M, 2]."""
        images = self.images
        if smoothing != self.config.smoothing[-1]:
            pixels = _pixels_each(len(self.frames), self.config)
            images = with_smoothing(images, self.frames, smoothing, pixels)
        samples = draw_samples(images, self.config.samples, self.generator)
        return images, samples, choose_pairs(images, poses, self.config, np.random.default_rng(0))


def _pixels_each(count: int, config: RegistrationConfig) -> int:
    """How many pixels of each of `count` views are held."""
    return max(1, min(config.max_pixels, config.max_pixels_together // count))

"""Sensors' depth that bends: what every frame of a camera is off alike is measured, and taken out.

A depth camera that was calibrated at the factory, and then heated, shipped and bumped, is off by a field that
changes slowly over the image: millimetres to centimetres, the same in all frames.  Fusion averages noise;
this it keeps, and so do poses and Gaussians.  Stereo of the colours does not share it: it goes by the poses.
So pixels of many frames are matched, and what their depth is off is fitted by a smooth field of disparity,
which is what bends in stereo and in structured light.

It is taken out only where it is there: measured on half the frames, it must hold for the other half.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.config.measured_depth import DepthBendConfig
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.stereo import DepthDifference, differences_from_stereo

logger = logging.getLogger(__name__)

_KNOWN = 0.5  # share of the parts of the image in which enough must match: a field is not made up beyond
_SMOOTHNESS = 0.01  # weight of a wave's squared number against one cell's: cells without a match stay calm


@dataclass(frozen=True, eq=False)
class DepthBend:
    """A smooth field over the image, by which a camera's inverse depth is too large."""

    waves: np.ndarray  # [A, B] float64, 1 / m: of cos(πa·x) · cos(πb·y), x and y shares of the image

    def at(self, places: np.ndarray) -> np.ndarray:
        """[P] 1 / m at places [P, 2]: shares of the image's width and height."""
        return _cosines(places, self.waves.shape) @ self.waves.ravel()

    def taken_out(self, depth: np.ndarray) -> np.ndarray:
        """Depth [H, W] float32 metres as the camera would have measured it without; 0 stays 0."""
        height, width = depth.shape
        across, down = (
            np.cos(np.pi * np.outer((np.arange(size) + 0.5) / size, np.arange(count)))
            for size, count in zip((width, height), self.waves.shape, strict=True)
        )
        field = down @ self.waves.T @ across.T
        with np.errstate(divide="ignore"):
            inverse = 1 / depth - field
        return np.where((depth > 0) & (inverse > 0), 1 / np.where(inverse > 0, inverse, 1), 0).astype(
            np.float32
        )


@dataclass(frozen=True)
class BendEstimate:
    """What was measured, and whether it is to be believed."""

    bend: DepthBend
    relative: float  # root mean square of the field, as a share of the typical depth
    left: float  # share of what one half of the frames is off that the other half's field leaves

    def is_there(self, config: DepthBendConfig) -> bool:
        """Whether it is large enough to matter, and holds for frames that had no say."""
        return self.relative >= config.least_share and self.left <= config.most_left


@dataclass(frozen=True)
class Straightened:
    """Frames whose depth no longer bends."""

    frames: tuple[Frame, ...]
    bends: tuple[tuple[PinholeCamera, DepthBend], ...] = ()  # of the cameras that bend
    metrics: tuple[dict, ...] = ()  # of each camera that was measured


def without_bend(frames: Sequence[Frame], bends: Sequence[tuple[PinholeCamera, DepthBend]]) -> list[Frame]:
    """Frames of the cameras of a scene, straightened as the scene's were."""
    known = dict(bends)
    return [
        frame.with_(depth=known[frame.camera].taken_out(frame.depth))
        if frame.depth is not None and frame.camera in known
        else frame
        for frame in frames
    ]


def straighten(
    frames: Sequence[Frame], config: DepthBendConfig, progress: ProgressCallback = no_progress
) -> Straightened:
    """The frames, the depth of each camera without its bend where it has one.  Their poses must be right to
    about a pixel: correct them first (`registration`)."""
    if not config.correct:
        return Straightened(tuple(frames))
    bends, metrics = [], []
    cameras = list(dict.fromkeys(frame.camera for frame in frames))
    for number, camera in enumerate(cameras):
        progress("straighten", number / len(cameras), f"camera {number + 1} of {len(cameras)}")
        own = [f for f in frames if f.camera == camera and f.depth is not None and (f.depth > 0).any()]
        estimate = measure_bend(own, config)
        if estimate is None:
            continue
        there = estimate.is_there(config)
        metrics.append({"corrected": there, "share": estimate.relative, "left": estimate.left})
        if there:
            logger.info("depth straightened: %.1f %% of the typical depth", 100 * estimate.relative)
            bends.append((camera, estimate.bend))
    progress("straighten", 1.0, f"{len(bends)} of {len(metrics)} cameras bend")
    return Straightened(tuple(without_bend(frames, bends)), tuple(bends), tuple(metrics))


def measure_bend(frames: Sequence[Frame], config: DepthBendConfig) -> BendEstimate | None:
    """The bend of one camera from frames with depth; None where too few could be matched."""
    if len(frames) < 2 * config.least_frames:
        return None
    found = differences_from_stereo(frames, config.frames, config.max_pixels)
    if len(found) < 2 * config.least_frames:
        return None
    halves = [_cells(found[k::2], config) for k in (0, 1)]
    everything = _cells(found, config)
    if any(np.isfinite(values).mean() < _KNOWN for values in halves):
        return None
    # Each half's field against the cells of the other.
    fields = [_fitted(half, config) for half in halves]
    left = before = 0.0
    for half, field in zip(halves, reversed(fields)):
        known = np.isfinite(half)
        left += float(np.abs(half[known] - field.at(_middles(config.cells))[known]).mean())
        before += float(np.abs(half[known]).mean())
    bend = _fitted(everything, config)
    field = bend.at(_middles(config.cells))
    typical = float(np.median([np.median(f.require_depth()[f.require_depth() > 0]) for f in frames]))
    return BendEstimate(bend, float(np.sqrt((field**2).mean())) * typical, left / max(before, 1e-12))


def _cells(found: Sequence[DepthDifference], config: DepthBendConfig) -> np.ndarray:
    """[cells] the median difference in each part of the image, 1 / m; NaN where too few pixels matched."""
    across, down = config.cells
    places = np.concatenate([difference.places for difference in found])
    inverse = np.concatenate([difference.inverse for difference in found])
    column, row = np.minimum((places * (across, down)).astype(int), (across - 1, down - 1)).T
    cell = row * across + column
    order = np.argsort(cell, kind="stable")
    borders = np.searchsorted(cell[order], np.arange(across * down + 1))
    held = np.split(inverse[order], borders[1:-1])
    return np.array([np.median(some) if len(some) >= config.least_pixels else np.nan for some in held])


def _middles(cells: tuple[int, int]) -> np.ndarray:
    """[cells, 2] where the parts of the image have their middles, row by row."""
    x, y = np.meshgrid(*[(np.arange(count) + 0.5) / count for count in cells])
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _fitted(values: np.ndarray, config: DepthBendConfig) -> DepthBend:
    """The smooth field that is nearest to the known of the values [cells]."""
    known, shape = np.isfinite(values), config.waves
    basis = _cosines(_middles(config.cells)[known], shape)
    a, b = np.meshgrid(*[np.arange(count) for count in shape], indexing="ij")
    calm = np.diag(_SMOOTHNESS * (a**2 + b**2).ravel().astype(float) + 1e-9)
    return DepthBend(np.linalg.solve(basis.T @ basis + calm, basis.T @ values[known]).reshape(shape))


def _cosines(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[P, A·B]: cos(πa·x) · cos(πb·y) at places [P, 2]."""
    across, down = (np.cos(np.pi * np.outer(places[:, k], np.arange(shape[k]))) for k in (0, 1))
    return (across[:, :, None] * down[:, None, :]).reshape(len(places), -1)

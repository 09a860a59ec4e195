"""Depth of a sensor and depth of the Gaussians, weighted by how noisy each is on this recording.

A sensor is off by a millimetre up close and by centimetres two metres away.  Fusing many views averages the
former; the latter spoils more than it tells: rays that end centimetres too late carve the object they hit.
The Gaussians average what all views measured, and what their colours say, but blur what is thinner than a
pixel.  So the noise of the sensor is measured against them, and where it is coarse, both are weighted by it;
what neither they nor other views confirm is no surface: pixels that fly between two depths, fattened rims.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.config.measured_depth import MeasuredDepthConfig
from instascene_core.frame import Frame

_MAD = 1.4826  # median absolute deviation of a normal distribution → standard deviation
_FEW = 200  # pixels that say nothing about the noise

Render = Callable[[Frame], np.ndarray]  # frame → depth [H, W] of the Gaussians, metres; 0 = none


@dataclass(frozen=True)
class DepthNoise:
    """Standard deviation of a sensor's depth, over the depth: between the bins linear."""

    depths: np.ndarray  # [B] metres, rising
    deviations: np.ndarray  # [B] metres

    def at(self, depth: np.ndarray) -> np.ndarray:
        """Metres, of depths of any shape."""
        return np.interp(depth, self.depths, self.deviations)


def measure_noise(frames: Sequence[Frame], render: Render, config: MeasuredDepthConfig) -> DepthNoise | None:
    """What the depth of the frames scatters about that of the Gaussians, their own error taken out.

    None where hardly a pixel has both.
    """
    with_depth = [frame for frame in frames if frame.depth is not None]
    count = min(len(with_depth), config.noise_frames)
    depths, errors = [], []
    for index in np.linspace(0, len(with_depth) - 1, count).round().astype(int):
        frame = with_depth[index]
        measured, rendered = frame.require_depth(), render(frame)
        both = (measured > 0) & (rendered > 0)
        depths.append(rendered[both])
        errors.append(np.abs(measured - rendered)[both])
    z = np.concatenate(depths) if depths else np.empty(0)
    if len(z) < _FEW:
        return None
    error = np.concatenate(errors)
    borders = np.quantile(z, np.linspace(0, 1, config.noise_bins + 1))
    held = np.clip(np.searchsorted(borders, z, side="right") - 1, 0, config.noise_bins - 1)
    bins = [held == k for k in range(config.noise_bins) if (held == k).any()]
    middle = np.array([np.median(z[inside]) for inside in bins])
    spread = np.array([_MAD * np.median(error[inside]) for inside in bins])
    own = config.rendered_error * footprint(middle, with_depth[0])
    return DepthNoise(middle, np.sqrt(np.maximum(spread**2 - own**2, 0)))


def footprint(depth: np.ndarray, frame: Frame) -> np.ndarray:
    """Metres that a pixel of the frame shows at `depth` (metres, any shape)."""
    return depth / np.sqrt(frame.camera.fx * frame.camera.fy)


def combined_depth(
    frames: Sequence[Frame],
    index: int,
    rendered: np.ndarray,
    others: Sequence[int],
    noise: DepthNoise,
    config: MeasuredDepthConfig,
) -> np.ndarray:
    """Depth [H, W] float32 of frame `index`, metres: the sensor's own, but where its noise is coarse.  There 0
    where the sensor has none or nothing confirms it.

    rendered: [H, W] of the Gaussians; others: frames it is compared with, the most similar first.
    """
    frame = frames[index]
    depth = frame.require_depth()
    place = np.where(rendered > 0, rendered, depth)
    own, deviation = config.rendered_error * footprint(place, frame), noise.at(place)
    coarse = (depth > 0) & (deviation > config.coarse_noise * footprint(place, frame))
    same = np.abs(depth - rendered) <= config.agreement * np.hypot(deviation, own)
    same &= rendered > 0
    share = own**2 / np.maximum(own**2 + deviation**2, 1e-20)  # of the sensor: the less, the noisier it is
    combined = np.where(coarse, np.where(same, share * depth + (1 - share) * rendered, 0), depth)
    rows, columns = np.nonzero(coarse & ~same)
    kept = _confirmed(frames, index, rendered, rows, columns, others, noise, config)
    combined[rows[kept], columns[kept]] = depth[rows[kept], columns[kept]]
    return combined.astype(np.float32)


def _confirmed(
    frames: Sequence[Frame],
    index: int,
    rendered: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    others: Sequence[int],
    noise: DepthNoise,
    config: MeasuredDepthConfig,
) -> np.ndarray:
    """[P] bool: which pixels (rows, columns) of a frame other frames have measured as well, and rather than
    what the Gaussians show there."""
    frame = frames[index]
    measured = _points(frame, frame.require_depth(), rows, columns)
    shown = _points(frame, rendered, rows, columns)
    empty = rendered[rows, columns] <= 0
    votes = np.zeros(len(rows), dtype=int)
    for j in others:
        other = frames[j]
        if other.depth is None:
            continue
        pose = other.world_from_camera
        pixels, there = other.camera.project((measured - pose[:3, 3]) @ pose[:3, :3])
        with np.errstate(invalid="ignore"):
            inside = np.all((pixels >= 0) & (pixels < [other.camera.width, other.camera.height]), axis=-1)
        u, v = np.where(inside[:, None], pixels, 0).astype(int).T
        seen = other.depth[v, u]
        off = np.abs(seen - there)
        otherwise = np.where(empty, np.inf, np.abs(seen - (shown - pose[:3, 3]) @ pose[:3, 2]))
        limit = np.hypot(noise.at(there) * np.sqrt(2), config.rendered_error * footprint(there, other))
        votes += inside & (seen > 0) & (off <= config.agreement * limit) & (off < otherwise)
    return votes >= config.confirming_views


def _points(frame: Frame, depth: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """[P, 3] float64, world frame, of pixels (rows, columns) at their depth [H, W]."""
    z = depth[rows, columns, None].astype(np.float64)
    pose = frame.world_from_camera
    return (frame.camera.rays[rows, columns] * z) @ pose[:3, :3].T + pose[:3, 3]

"""Depth of a sensor and depth of the Gaussians, weighted by how noisy each is on this recording.

A sensor is off by a millimetre up close and by centimetres two metres away.  Fusing many views averages the
former; the latter spoils more than it tells: rays that end centimetres too late carve the object they hit.
The Gaussians average what all views measured, and what their colours say, but blur what is thinner than a
pixel.  So the noise of the sensor is measured against them, and where it is coarse, both are weighted by it;
what neither they nor other views confirm is no surface: pixels that fly between two depths, fattened rims.
"""

from collections.abc import Sequence

import numpy as np

from instascene_core.config.measured_depth import MeasuredDepthConfig
from instascene_core.frame import Frame
from instascene_core.scene.depth_noise import (
    DepthNoise,
    Render,
    equal_bins,
    evenly_spread,
    footprint,
    spread,
)

_FEW = 200  # pixels that say nothing about the noise
_GOLDEN = 0.6180339887  # its multiples, but for whole numbers, spread evenly


def measure_noise(
    frames: Sequence[Frame], compared: Sequence[Sequence[int]], render: Render, config: MeasuredDepthConfig
) -> DepthNoise | None:
    """What the depth of the frames scatters about that of the Gaussians, their own error taken out, or about
    that of other frames, whichever is less: Gaussians that went astray are no reason to doubt a sensor.

    compared: per frame the indices of others, the most similar first.  None where hardly a pixel can be
    compared.
    """
    with_depth = [i for i, frame in enumerate(frames) if frame.depth is not None]
    depths, from_rendered, from_others = [], [], []
    for number, k in enumerate(evenly_spread(len(with_depth), config.noise_frames)):
        frame = _strip(frames[with_depth[k]], number, config.noise_pixels)
        measured, rendered = frame.require_depth(), render(frame)
        rows, columns = np.nonzero((measured > 0) & (rendered > 0))
        depths.append(rendered[rows, columns])
        from_rendered.append(np.abs(measured - rendered)[rows, columns])
        others = [frames[j] for j in compared[with_depth[k]] if frames[j].depth is not None]
        points = _points(frame, measured, rows, columns)
        from_others.append(_difference(points, others[0]) if others else np.full(len(rows), np.nan))
    z = np.concatenate(depths) if depths else np.empty(0)
    if len(z) < _FEW:
        return None
    middle, bins = equal_bins(z, config.noise_bins)
    own = config.rendered_error * footprint(middle, frames[with_depth[0]])
    about_rendered = spread(np.concatenate(from_rendered), bins)
    about_rendered = np.sqrt(np.maximum(about_rendered**2 - own**2, 0))
    about_others = spread(np.concatenate(from_others), bins) / np.sqrt(2)  # two readings differ
    return DepthNoise(middle, np.fmin(about_rendered, about_others))


def _strip(frame: Frame, number: int, pixels: int) -> Frame:
    """A strip of the frame of about so many pixels, another one with each number: together strips are as good
    as whole frames, and sooner rendered."""
    height, width = frame.camera.height, frame.camera.width
    rows = min(height, max(1, round(pixels / width)))
    first = round((number * _GOLDEN) % 1.0 * (height - rows))
    return frame.cropped(0, first, width, first + rows)


def is_coarse(frame: Frame, noise: DepthNoise, config: MeasuredDepthConfig) -> bool:
    """Whether the noise is coarse at any depth that the frame measured; else its depth stays as it is."""
    depth = frame.require_depth()
    depth = depth[depth > 0]
    return bool((noise.at(depth) > config.coarse_noise * footprint(depth, frame)).any())


def _difference(points: np.ndarray, other: Frame) -> np.ndarray:
    """[P] metres between what another frame measured and the points [P, 3] (world frame); NaN where it has
    nothing."""
    there, seen = _looked_up(points, other)
    return np.where(seen > 0, np.abs(seen - there), np.nan)


def combined_depth(
    frames: Sequence[Frame],
    index: int,
    rendered: np.ndarray,
    others: Sequence[int],
    noise: DepthNoise,
    config: MeasuredDepthConfig,
) -> np.ndarray:
    """Depth [H, W] float32 of frame `index`, metres: the sensor's own, but where its noise is coarse.  Coarse
    depth that nothing confirms becomes 0, none.

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
        there, seen = _looked_up(measured, other)
        off = np.abs(seen - there)
        pose = other.world_from_camera
        otherwise = np.where(empty, np.inf, np.abs(seen - (shown - pose[:3, 3]) @ pose[:3, 2]))
        limit = np.hypot(noise.at(there) * np.sqrt(2), config.rendered_error * footprint(there, other))
        votes += (seen > 0) & (off <= config.agreement * limit) & (off < otherwise)
    return votes >= config.confirming_views


def _looked_up(points: np.ndarray, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """z [P] of points [P, 3] (world frame) in a frame, and the depth [P] it measured there, 0 where none."""
    at = frame.locate(points)
    return at.z, np.where(at.inside, frame.require_depth()[at.row, at.column], 0)


def _points(frame: Frame, depth: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """[P, 3] float64, world frame, of pixels (rows, columns) at their depth [H, W]."""
    z = depth[rows, columns, None].astype(np.float64)
    pose = frame.world_from_camera
    return (frame.camera.rays[rows, columns] * z) @ pose[:3, :3].T + pose[:3, 3]

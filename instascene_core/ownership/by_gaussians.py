"""Rule 2: a pixel belongs to the label whose Gaussians explain best what the camera saw there.

A pixel at a border shows Gaussians of several instances, and their weights alone put the border about
half a Gaussian off.  The frame tells more: each label there predicts a colour and a depth, and the
measurement of the camera agrees with one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from instascene_core.config import PixelLabelsConfig
from instascene_core.frame import UNLABELLED

if TYPE_CHECKING:
    from instascene_core.frame import Frame
    from instascene_core.gaussians import GaussianModel
    from instascene_core.rendering.trace import PixelTrace


@dataclass(frozen=True)
class Evidence:
    """What a frame measured (colour or depth), and what each Gaussian predicts for it."""

    predicted: np.ndarray  # [N, C] float, of every Gaussian; RGB in [0, 1], or metres along the optical axis
    measured: np.ndarray  # [H, W, C] float, the same
    valid: np.ndarray  # [H, W] bool, False = no measurement


def evidence_of(frame: Frame, gaussians: GaussianModel) -> list[Evidence]:
    """What the frame says about whose a pixel is: its colour, and its depth where it has one."""
    import torch

    from instascene_core.rendering import evaluate_sh

    position = frame.world_from_camera[:3, 3]
    means = gaussians.means.detach().cpu()
    colors = evaluate_sh(means, gaussians.sh.detach().cpu(), torch.tensor(position, dtype=torch.float32))
    valid = np.ones(frame.rgb.shape[:2], dtype=bool) if frame.valid is None else frame.valid
    result = [Evidence(colors.numpy(), frame.rgb / np.float32(255), valid)]
    if frame.depth is not None:
        along = (means.numpy() - position) @ frame.world_from_camera[:3, 2]  # metres along the optical axis
        result.append(Evidence(along[:, None], frame.depth[:, :, None], frame.depth > 0))
    return result


def label_pixels(
    gaussian_labels: np.ndarray,
    trace: PixelTrace,
    evidence: Sequence[Evidence] = (),
    config: PixelLabelsConfig | None = None,
) -> np.ndarray:
    """[H, W] int32: the label most likely to be what the pixel shows.

    gaussian_labels: [N] int32.  Unlabelled Gaussians count as a label of their own, so a pixel that shows
    mostly them is UNLABELLED, as is one without any Gaussian.  The probability of a label is its summed
    blending weight times, for each evidence, a Laplace density of the deviation of the label's rendered value
    from the measured one.  The scale of that density is taken from the pixels that show one label only.
    """
    config = config or PixelLabelsConfig()
    labels = np.where(gaussian_labels < 0, UNLABELLED, gaussian_labels).astype(np.int64)
    entry_labels = labels[trace.indices] - UNLABELLED
    counts = np.diff(trace.offsets)
    filled = np.flatnonzero(counts)
    result = np.full(len(counts), UNLABELLED, dtype=np.int32)
    if not len(filled):
        return result.reshape(trace.height, trace.width)
    starts = trace.offsets[filled]
    low, high = np.minimum.reduceat(entry_labels, starts), np.maximum.reduceat(entry_labels, starts)
    result[filled] = low + UNLABELLED
    mixed = np.zeros(len(counts), dtype=bool)
    mixed[filled[low != high]] = True
    entries = np.flatnonzero(np.repeat(mixed, counts))
    if not len(entries):
        return result.reshape(trace.height, trace.width)
    # One group per mixed pixel and label, in the order of pixels.
    span = int(high.max()) + 1
    keys = np.repeat(np.arange(len(counts)), counts)[entries] * span + entry_labels[entries]
    keys, group = np.unique(keys, return_inverse=True)
    pixel, label = keys // span, keys % span
    weight = np.bincount(group, trace.weights[entries])
    score = np.log(np.maximum(weight, 1e-12))
    for source in evidence:
        score -= _measure_deviation(source, trace, entries, group, pixel, weight, filled[low == high], config)
    score[weight < config.min_weight] -= 1e3  # these compete only among themselves
    order = np.lexsort((score, pixel))
    result[pixel[order]] = label[order] + UNLABELLED  # the last written is the likeliest
    return result.reshape(trace.height, trace.width)


def _measure_deviation(source: Evidence, trace, entries, group, pixel, weight, pure, config) -> np.ndarray:
    """[G] float ≥ 0: how far each group's rendered value is from the measured one, in scales.

    entries: indices of the trace's entries in mixed pixels; group: [E] int the group of each; pixel, weight:
    [G] of each group.  pure: the pixels that show one label only, which give the scale.
    """
    channels = source.measured.shape[-1]
    measured, valid = source.measured.reshape(-1, channels), source.valid.ravel()
    pure = pure[valid[pure]]
    deviation, typical = np.zeros(len(pixel)), np.zeros(len(pure))
    filled = np.flatnonzero(np.diff(trace.offsets))
    starts = trace.offsets[filled]
    total = np.add.reduceat(trace.weights, starts, dtype=np.float64)
    place = np.searchsorted(filled, pure)
    for channel in range(channels):
        weighted = trace.weights * source.predicted[trace.indices, channel]
        own = np.bincount(group, weighted[entries]) / np.maximum(weight, 1e-12)
        deviation += np.abs(own - measured[pixel, channel])
        rendered = np.add.reduceat(weighted, starts, dtype=np.float64) / np.maximum(total, 1e-12)
        typical += np.abs(rendered[place] - measured[pure, channel])
    scale = config.deviations_per_scale * float(np.median(typical)) if len(pure) else 0.0
    if scale <= 0:
        return np.zeros(len(pixel))
    return np.where(valid[pixel], np.minimum(deviation / scale, config.max_scales), 0.0)

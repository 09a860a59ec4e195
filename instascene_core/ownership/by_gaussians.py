"""Rule 2: a pixel belongs to the label whose Gaussians explain best what the camera saw there.

A pixel at a border shows Gaussians of several instances, and their weights alone put the border about
half a Gaussian off.  The frame tells more: each label there predicts a colour and a depth, and the
measurement of the camera agrees with one of them.

Few pixels lie at borders.  A trace at a lower resolution tells which, and whose Gaussians are near; these few
are then traced at the image's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from instascene_core.config import PixelLabelsConfig
from instascene_core.frame import UNLABELLED
from instascene_core.images import resize

if TYPE_CHECKING:
    from instascene_core.frame import Frame
    from instascene_core.gaussians import GaussianModel
    from instascene_core.rendering.trace import PixelTrace

_MIXED, _EMPTY = -1, -2  # of pixels of a trace that show several labels, and none
_AT_ONCE = 4_000_000  # numbers of a table of pixels, labels and channels: bounds memory


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
    retrace: Callable[[np.ndarray], PixelTrace] | None = None,
) -> np.ndarray:
    """[H, W] int32: the label most likely to be what the pixel shows.

    gaussian_labels: [N] int32.  Unlabelled Gaussians count as a label of their own, so a pixel that shows
    mostly them is UNLABELLED, as is one without any Gaussian.  The probability of a label is its summed
    blending weight times, for each evidence, a Laplace density of the deviation of the label's rendered value
    from the measured one.  The scale of that density is taken from the pixels that show one label only.
    trace: of the view, at the size [H, W] of the evidence.  With `retrace` it may be smaller or leave more
    out: what it shows of one label only is not looked at again; for the rest `retrace` is asked (indices [K]
    of Gaussians → the trace of them alone, [H, W], its indices count among them).
    """
    config = config or PixelLabelsConfig()
    names, number = np.unique(np.maximum(gaussian_labels, UNLABELLED), return_inverse=True)
    names = np.append(names, UNLABELLED).astype(np.int32)  # the last serves pixels without any Gaussian
    blended = _Blended.of(number.ravel().astype(np.int32), trace, [source.predicted for source in evidence])
    known = blended.only_labels()
    scales = blended.scales(known, evidence, config)
    if retrace is not None:
        blended, known = _looked_at_again(blended, known, retrace, evidence[0].valid.shape)
    result = names[np.where(known == _EMPTY, len(names) - 1, np.maximum(known, 0))]
    mixed = np.flatnonzero(known == _MIXED)
    step = max(1, _AT_ONCE // (len(names) * blended.values.shape[1]))
    for start in range(0, len(mixed), step):
        pixels = mixed[start : start + step]
        table, present = blended.by_label(pixels)
        result.ravel()[pixels] = names[present[_likeliest(table, pixels, evidence, scales, config)]]
    return result


def _looked_at_again(
    blended: _Blended,
    only: np.ndarray,
    retrace: Callable[[np.ndarray], PixelTrace],
    shape: tuple[int, ...],
) -> tuple[_Blended, np.ndarray]:
    """(the Gaussians about the doubtful pixels of a smaller trace, traced again; [H, W] labels known then).

    only: [h, w] of the smaller trace, as of `only_labels`.
    """
    import cv2

    around = np.ones((3, 3), np.uint8)
    shown = only.astype(np.float32)  # OpenCV's morphology knows no int32; label numbers are exact in it
    doubtful = (cv2.dilate(shown, around) != cv2.erode(shown, around)) | (only == _MIXED)
    entries, _ = blended.entries_of(np.flatnonzero(doubtful))
    shown = np.unique(blended.trace.indices[entries]).astype(np.int64)
    known = resize(np.where(doubtful, _MIXED, only), shape[1], shape[0], smooth=False)
    if not len(shown):
        return blended, known
    again = blended.of_some(shown, retrace(shown))
    return again, np.where(known == _MIXED, again.only_labels(), known)


@dataclass(frozen=True)
class _Blended:
    """A trace, the labels of its Gaussians and what evidence they predict: sums by pixel and label."""

    trace: PixelTrace
    number: np.ndarray  # [N] int32 of the label of each Gaussian
    values: np.ndarray  # [N, 1 + C] float32: 1, then the predictions of one evidence after the other

    @classmethod
    def of(cls, number: np.ndarray, trace: PixelTrace, predicted: Sequence[np.ndarray]) -> _Blended:
        columns = [np.ones((len(number), 1)), *predicted]
        return cls(trace, number, np.concatenate(columns, axis=1).astype(np.float32))

    def of_some(self, chosen: np.ndarray, trace: PixelTrace) -> _Blended:
        """The same of some Gaussians (indices [K]), in a trace of theirs."""
        return _Blended(trace, self.number[chosen], self.values[chosen])

    def only_labels(self) -> np.ndarray:
        """[H, W] int32: the label that all Gaussians of a pixel have, or _MIXED, or _EMPTY."""
        trace = self.trace
        filled = np.flatnonzero(np.diff(trace.offsets))
        only = np.full(trace.height * trace.width, _EMPTY, dtype=np.int32)
        if len(filled):
            labels, starts = self.number[trace.indices], trace.offsets[filled]
            low, high = np.minimum.reduceat(labels, starts), np.maximum.reduceat(labels, starts)
            only[filled] = np.where(low == high, low, _MIXED)
        return only.reshape(trace.height, trace.width)

    def scales(
        self, only: np.ndarray, evidence: Sequence[Evidence], config: PixelLabelsConfig
    ) -> list[float]:
        """The scale of each evidence's deviations, from pixels that show one label only; 0 = none."""
        pure = np.flatnonzero(only.ravel() >= 0)
        pure = pure[:: max(1, len(pure) // config.scale_pixels)]
        entries, counts = self.entries_of(pure)
        begin = np.concatenate([[0], np.cumsum(counts)])
        columns = (self.trace.weights[entries].astype(np.float32), self.trace.indices[entries], begin)
        rendered = sp.csr_matrix(columns, shape=(len(pure), len(self.values))) @ self.values
        rendered /= np.maximum(rendered[:, :1], 1e-12)
        row, column = np.unravel_index(pure, only.shape)
        scales, first = [], 1
        for source in evidence:
            height, width, channels = source.measured.shape
            # The middle of a pixel, which may be one of a smaller image
            there = (
                (row * 2 + 1) * height // (2 * only.shape[0]),
                (column * 2 + 1) * width // (2 * only.shape[1]),
            )
            off = np.abs(rendered[:, first : first + channels] - source.measured[there]).sum(axis=1)
            known = off[source.valid[there]]
            scales.append(config.deviations_per_scale * float(np.median(known)) if len(known) else 0.0)
            first += channels
        return scales

    def by_label(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """([P, L, 1 + C] float32 of pixels (row-major, ascending), per label its weight and weighted
        predictions; [L] the numbers of the labels that they show)."""
        entries, counts = self.entries_of(pixels)
        index = self.trace.indices[entries]
        labels, weights, values = self.number[index], self.trace.weights[entries], self.values[index]
        present = np.flatnonzero(np.bincount(labels))
        place = np.zeros(int(present[-1]) + 1, dtype=np.int64)
        place[present] = np.arange(len(present))
        key = np.repeat(np.arange(len(pixels)) * len(present), counts) + place[labels]
        table = np.empty((len(pixels) * len(present), values.shape[1]), dtype=np.float32)
        for channel, predicted in enumerate(values.T):
            table[:, channel] = np.bincount(key, weights * predicted, minlength=len(table))
        return table.reshape(len(pixels), len(present), -1), present

    def entries_of(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(indices of the entries of pixels [P], which ascend; [P] how many each has)."""
        counts = np.diff(self.trace.offsets)
        chosen = np.zeros(len(counts), dtype=bool)
        chosen[pixels] = True
        return np.flatnonzero(np.repeat(chosen, counts)), counts[pixels]


def _likeliest(
    mixed: np.ndarray,
    pixels: np.ndarray,
    evidence: Sequence[Evidence],
    scales: Sequence[float],
    config: PixelLabelsConfig,
) -> np.ndarray:
    """[P] place of the most probable label of each pixel (row-major index).

    mixed: [P, L, 1 + C] as of `_Blended.by_label`.
    """
    pixel, label = np.nonzero(mixed[..., 0])
    weight, predicted = mixed[pixel, label, 0], mixed[pixel, label, 1:]
    score = np.log(np.maximum(weight, 1e-12))
    first = 0
    for source, scale in zip(evidence, scales, strict=True):
        channels = source.measured.shape[-1]
        own = predicted[:, first : first + channels] / np.maximum(weight, 1e-12)[:, None]
        first += channels
        if scale <= 0:
            continue
        measured, valid = source.measured.reshape(-1, channels)[pixels], source.valid.ravel()[pixels]
        deviation = np.abs(own - measured[pixel]).sum(axis=1) / scale
        score -= np.where(valid[pixel], np.minimum(deviation, config.max_scales), 0.0)
    score[weight < config.min_weight] -= 1e3  # these compete only among themselves
    scores = np.full(mixed.shape[:2], -np.inf)
    scores[pixel, label] = score
    return scores.argmax(axis=1)

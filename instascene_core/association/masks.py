"""Which Gaussians each 2D mask shows: the tracker P(i, j) of InstaScene section 3.1 as sparse matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from instascene_core.config import AssociationConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.progress import ProgressCallback, no_progress

if TYPE_CHECKING:
    from instascene_core.rendering.trace import PixelTrace

TOLERANCE = 1e-6  # ratios of counts are compared as "at least", whatever the rounding


@dataclass(frozen=True)
class MaskMatrices:
    """All masks of all frames over all Gaussians; the masks of one frame are disjoint."""

    frame: np.ndarray  # [M] int32: frame index of each mask
    label: np.ndarray  # [M] int32: its id in that frame's label image
    membership: sp.csr_matrix  # B [N, M] float32 0/1: Gaussian seen in mask
    visible: sp.csr_matrix  # V [N, F] float32 0/1: Gaussian seen in frame
    num_dropped: int  # masks too small to be used

    @property
    def num_frames(self) -> int:
        _, num_frames = self.visible.get_shape()
        return num_frames

    @cached_property
    def columns(self) -> sp.csc_matrix:
        """B by columns."""
        return sp.csc_matrix(self.membership)

    @cached_property
    def first_gaussian(self) -> np.ndarray:
        """[M] int64: the smallest Gaussian of each mask, which does not depend on any order."""
        starts = self.columns.indptr[:-1]
        self.columns.sort_indices()
        return self.columns.indices[np.minimum(starts, max(self.columns.nnz - 1, 0))].astype(np.int64)

    @cached_property
    def frame_of_mask(self) -> sp.csr_matrix:
        """E [M, F] float32: one 1 per row, in the mask's frame."""
        count = len(self.frame)
        ones = np.ones(count, dtype=np.float32)
        return sp.csr_matrix((ones, (np.arange(count), self.frame)), shape=(count, self.num_frames))


def build_masks(
    label_images: Sequence[np.ndarray],
    traces: Sequence[PixelTrace],
    num_gaussians: int,
    config: AssociationConfig,
    progress: ProgressCallback = no_progress,
) -> MaskMatrices:
    """Look up every frame's masks in its trace.

    label_images: per frame [H, W] integer, ids ≥ 1, everything ≤ 0 is unlabelled.
    A Gaussian on the border of two masks of one frame belongs to the one that shows more of it
    (summed blending weight), so masks of one frame never share a Gaussian.
    Raises InputError when images and traces do not match.
    """
    check_label_images(label_images, traces)
    mask_rows, mask_columns, seen_rows, seen_columns, frames, labels = [], [], [], [], [], []
    num_masks = num_dropped = 0
    for index, (image, trace) in enumerate(zip(label_images, traces, strict=True)):
        progress("association", 0.6 * index / len(traces), f"masks of frame {index + 1}/{len(traces)}")
        gaussians, ids = label_visible_gaussians(image, trace, num_gaussians, config)
        seen_rows.append(gaussians)
        seen_columns.append(np.full(len(gaussians), index, dtype=np.int32))
        counts = np.bincount(np.maximum(ids, 0))
        counts[0] = 0
        kept = np.flatnonzero(counts >= config.min_gaussians)
        num_dropped += int(np.count_nonzero(counts)) - len(kept)
        column_of_label = np.full(len(counts), -1, dtype=np.int32)
        column_of_label[kept] = num_masks + np.arange(len(kept))
        columns = column_of_label[np.maximum(ids, 0)]
        mask_rows.append(gaussians[columns >= 0])
        mask_columns.append(columns[columns >= 0])
        frames.append(np.full(len(kept), index, dtype=np.int32))
        labels.append(kept.astype(np.int32))
        num_masks += len(kept)
    return MaskMatrices(
        frame=np.concatenate(frames),
        label=np.concatenate(labels),
        membership=_incidence_matrix(mask_rows, mask_columns, (num_gaussians, num_masks)),
        visible=_incidence_matrix(seen_rows, seen_columns, (num_gaussians, len(traces))),
        num_dropped=num_dropped,
    )


def label_visible_gaussians(
    image: np.ndarray, trace: PixelTrace, num_gaussians: int, config: AssociationConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The Gaussians on the visible surface of one frame, [K] int64, and their label there, [K] int32.

    Visible: it contributes at least `min_weight` to a pixel while the transmittance in front of it
    exceeds `min_transmittance`.  Its label is the one with the largest
    summed weight; pixels where labels meet do not vote, since disks reach over their object's edge.
    """
    keep = (trace.transmittance > config.min_transmittance) & (trace.weights >= config.min_weight)
    pixel_labels = np.maximum(remove_borders(np.asarray(image)).ravel(), 0)
    labels_here = np.flatnonzero(np.bincount(pixel_labels))
    local_of_label = np.zeros(int(pixel_labels.max(initial=0)) + 1, dtype=np.int64)
    local_of_label[labels_here] = np.arange(len(labels_here))
    entry_labels = np.repeat(local_of_label[pixel_labels], np.diff(trace.offsets))[keep]

    entry_gaussians = trace.indices[keep]
    seen = np.zeros(num_gaussians, dtype=bool)
    seen[entry_gaussians] = True
    gaussians = np.flatnonzero(seen)
    row_of_gaussian = np.cumsum(seen) - 1
    keys = row_of_gaussian[entry_gaussians] * len(labels_here) + entry_labels
    weights = np.bincount(keys, trace.weights[keep], minlength=len(gaussians) * len(labels_here))
    weights = weights.reshape(len(gaussians), len(labels_here))  # [K, labels of this frame]
    ids = labels_here[weights.argmax(axis=1)] if len(gaussians) else np.zeros(0, dtype=np.int64)
    return gaussians, np.where(ids == 0, UNLABELLED, ids).astype(np.int32)


def remove_borders(labels: np.ndarray) -> np.ndarray:
    """Labels [H, W] with the pixels on both sides of every border between two labels unlabelled."""
    border = np.zeros(labels.shape, dtype=bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return np.where(border, UNLABELLED, labels)


def check_label_images(label_images: Sequence[np.ndarray], traces: Sequence[PixelTrace]) -> None:
    """Raise InputError unless there is one integer label image of the right size for every trace."""
    if len(label_images) != len(traces):
        raise InputError(f"There are {len(label_images)} label images for {len(traces)} traced frames.")
    if not traces:
        raise InputError("There is no frame to associate masks of.")
    for index, (image, trace) in enumerate(zip(label_images, traces, strict=True)):
        if image.shape != (trace.height, trace.width):
            raise InputError(
                f"Label image {index} has shape {image.shape}, its frame is {(trace.height, trace.width)}."
            )
        if not np.issubdtype(image.dtype, np.integer):
            raise InputError(f"Label image {index} has type {image.dtype}; labels are integers.")
        if image.size and image.max() > 65535:
            raise InputError(f"Label image {index} contains id {image.max()}; ids go up to 65535.")


def _incidence_matrix(rows: list, columns: list, shape: tuple[int, int]) -> sp.csr_matrix:
    row, column = np.concatenate(rows), np.concatenate(columns)
    return sp.csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=shape)

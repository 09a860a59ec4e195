"""Rule 1: a pixel belongs to the cluster of the mask that covers it, or to the structure behind all masks.

Clusters are the 3D instances that association found, then the support and the background; an index counts
them from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from instascene_core.frame import UNLABELLED

if TYPE_CHECKING:
    from instascene_core.rendering.trace import PixelTrace


def labels_of_masks(
    label_images: Sequence[np.ndarray],
    frame_of_mask: np.ndarray,
    label_of_mask: np.ndarray,
    cluster_of_mask: np.ndarray,
) -> list[np.ndarray]:
    """Per frame [H, W] int32: index of the mask's cluster in place of the mask's id, else UNLABELLED.

    label_images: per frame [H, W] integer, ids ≥ 1, everything ≤ 0 is unlabelled.  For each mask that is
    used, [M] int32: its frame's index, its id in that frame's label image, and its cluster's index
    (UNLABELLED = the mask shows no cluster, or several).
    """
    filtered = []
    for index, image in enumerate(label_images):
        image = np.maximum(np.asarray(image), 0)
        table = np.full(int(image.max(initial=0)) + 1, UNLABELLED, dtype=np.int32)
        here = (frame_of_mask == index) & (cluster_of_mask >= 0)
        table[label_of_mask[here]] = cluster_of_mask[here]
        filtered.append(table[image])
    return filtered


def add_structure(
    filtered_labels: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    traces: Sequence[PixelTrace],
    structure_of_gaussian: np.ndarray,
) -> list[np.ndarray]:
    """Per frame [H, W] int32: the labels of `labels_of_masks` with the pixels of the structure added.

    masks: per frame [H, W] integer, ≤ 0 = no mask.  structure_of_gaussian: [N] int32 cluster index of the
    Gaussians of support and background, else UNLABELLED.  A pixel without a mask is evidence for structure
    only where the Gaussian it mostly shows is part of it, because segmenters miss objects.
    """
    result = []
    for labels, mask, trace in zip(filtered_labels, masks, traces, strict=True):
        front = frontmost(trace)
        shown = np.where(front >= 0, structure_of_gaussian[front], UNLABELLED).reshape(labels.shape)
        result.append(np.where((mask <= 0) & (shown >= 0), shown, labels))
    return result


def frontmost(trace: PixelTrace) -> np.ndarray:
    """[H·W] int64: the Gaussian with the largest weight in each pixel, −1 where there is none."""
    counts = np.diff(trace.offsets)
    winner = np.full(len(counts), -1, dtype=np.int64)
    filled = counts > 0
    if filled.any():
        largest = np.maximum.reduceat(trace.weights, trace.offsets[:-1][filled])
        is_largest = np.flatnonzero(trace.weights == np.repeat(largest, counts[filled]))[::-1]
        rows = np.repeat(np.arange(len(counts)), counts)
        winner[rows[is_largest]] = trace.indices[is_largest]  # of equals the first, written last
    return winner

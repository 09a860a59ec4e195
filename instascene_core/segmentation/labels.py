"""Label images: checked, tidied, or given with the frames by a folder, a topic, or any other segmenter."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from instascene_core.config.segmentation import MaskConfig
from instascene_core.errors import InputError
from instascene_core.frame import MAX_LABEL, UNLABELLED, Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.segmenter import LabelImage


def check_labels(labels: np.ndarray, shape: tuple[int, int], what: str) -> np.ndarray:
    """Labels [H, W] int32 (UNLABELLED or ≥ 1) from any integer label image where ≤ 0 is unlabelled.

    Raises InputError naming `what` when the image is not [H, W] integer of `shape`, or holds ids
    beyond 65,535.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.shape != tuple(shape):
        raise InputError(f"{what} has shape {labels.shape}, the image has {tuple(shape)}.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{what} has type {labels.dtype}; label images hold integer ids.")
    if labels.size and labels.max() > MAX_LABEL:
        raise InputError(f"{what} contains id {labels.max()}; ids must lie in 1 … {MAX_LABEL}.")
    labels = labels.astype(np.int32)
    return np.where(labels <= 0, np.int32(UNLABELLED), labels)


def tidy_labels(labels: np.ndarray, config: MaskConfig) -> np.ndarray:
    """[H, W] int32: `labels` ([H, W], ids ≥ 1) with small holes closed and without small connected pieces."""
    if not (labels >= 1).any():
        return labels
    distance, nearest = ndimage.distance_transform_edt(labels < 1, return_indices=True)
    near = distance <= config.max_hole_distance
    surrounded = ndimage.uniform_filter((labels >= 1).astype(np.float32), 3) > config.min_hole_surroundings
    labels = np.where(near & surrounded, labels[tuple(nearest)], labels)
    result = labels.copy()
    for label, window in enumerate(ndimage.find_objects(np.maximum(labels, 0)), start=1):
        if window is None:
            continue
        pieces, count = ndimage.label(labels[window] == label)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        sizes[0] = config.min_mask_pixels
        result[window][(sizes < config.min_mask_pixels)[pieces]] = UNLABELLED
    return result.astype(np.int32)


class GivenLabels:
    """Takes `Frame.labels` as they are; scores are 1.

    ids_are_global: the ids already agree between frames (a tracker made them).  min_pixels: smaller masks
    are left out.  A frame without labels, or with an empty label image, gives no masks and a warning, so
    that one missing file does not end a run.
    """

    name = "labels"
    needs_depth = False
    side_by_side = True

    def __init__(self, ids_are_global: bool, min_pixels: int) -> None:
        self.ids_are_global = ids_are_global
        self.min_pixels = min_pixels

    def prepare(self, frames: Sequence[Frame], progress: ProgressCallback = no_progress) -> None:
        """Raise InputError when no frame has a mask at all."""
        if not any(f.labels is not None and (f.labels >= 1).any() for f in frames):
            raise InputError(
                f"None of the {len(frames)} frames has a mask; give label images or use the built-in one."
            )
        progress("segmentation", 1.0, f"{sum(f.labels is not None for f in frames)} label images given")

    def segment(self, frame: Frame) -> LabelImage:
        """The frame's label image without specks below `min_pixels`."""
        shape = (frame.camera.height, frame.camera.width)
        if frame.labels is None:
            empty = np.full(shape, UNLABELLED, dtype=np.int32)
            return LabelImage(empty, {}, (f"Frame '{frame.name}' has no label image.",))
        labels = check_labels(frame.labels, shape, f"The label image of '{frame.name}'")
        counts = np.bincount(np.maximum(labels, 0).ravel())
        counts[0] = 0
        small = (counts > 0) & (counts < self.min_pixels)
        if small.any():
            labels = np.where(small[np.maximum(labels, 0)], UNLABELLED, labels).astype(np.int32)
        ids = np.flatnonzero(counts >= self.min_pixels)
        warnings = [] if len(ids) else [f"The label image of '{frame.name}' is empty."]
        if small.any():
            warnings.append(
                f"{small.sum()} masks of '{frame.name}' with under {self.min_pixels} pixels left out."
            )
        return LabelImage(labels, {int(i): 1.0 for i in ids}, tuple(warnings))

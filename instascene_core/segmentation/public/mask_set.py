"""From the overlapping, scored masks of a network to one label image; the same for every network."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from instascene_core.config.segmentation import MaskConfig, PublicSegmentersConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.segmentation.labels import tidy_labels
from instascene_core.segmentation.segmenter import LabelImage


@dataclass(frozen=True)
class MaskSet:
    """The masks a network proposes for one image; they may overlap and repeat one another."""

    masks: torch.Tensor  # [N, h, w] on the CPU: logits (> 0 inside) or bool, stretched over the image
    scores: np.ndarray  # [N] float64 in [0, 1]

    def only(self, chosen: np.ndarray) -> "MaskSet":
        """The masks where `chosen` ([N] bool) holds."""
        return MaskSet(self.masks[torch.from_numpy(chosen)], self.scores[chosen])


def masks_of_queries(class_logits: torch.Tensor, mask_logits: torch.Tensor, min_score: float) -> MaskSet:
    """What the queries of a mask classifier say (Cheng et al. 2022, "Masked-attention Mask Transformer").

    class_logits: [Q, C + 1], the last class is "no object".  mask_logits: [Q, h, w].  A query's score is
    the probability that there is an object of whatever class, times the mean probability inside its
    mask.  Queries below `min_score`, or with an empty mask, are left out.
    """
    something = 1 - class_logits.float().softmax(dim=-1)[:, -1]
    mask_logits = mask_logits.float()
    inside = mask_logits > 0
    pixels = inside.sum(dim=(1, 2))
    quality = (mask_logits.sigmoid() * inside).sum(dim=(1, 2)) / pixels.clamp(min=1)
    scores = something * quality
    require_finite(scores)
    keep = (scores >= min_score) & (pixels > 0)
    return MaskSet(mask_logits[keep].cpu(), scores[keep].double().cpu().numpy())


def require_finite(values: torch.Tensor) -> None:
    """InputError where a network returned NaN or infinity."""
    if not torch.isfinite(values).all():
        raise InputError("The network returned NaN or infinite scores; its checkpoint is damaged.")


def label_image(
    found: MaskSet, frame: Frame, config: PublicSegmentersConfig, masks: MaskConfig
) -> LabelImage:
    """One label a pixel; ids 1, 2, … by falling score.

    1. Masks below `min_mask_score` go; of masks that repeat one another the best stays.
    2. The rest is painted, best score first or smallest first (`overlap_order`); a pixel belongs to the
       first mask that takes it.  Equal scores: the larger mask first.
    3. A mask that finds less than `min_visible_share` of its pixels free takes none.
    4. Pieces below `min_mask_pixels` go.
    """
    shape = (frame.camera.height, frame.camera.width)
    inside = (found.masks > 0).numpy()
    areas = inside.sum(axis=(1, 2))
    chosen = np.flatnonzero((found.scores >= config.min_mask_score) & (areas > 0))
    chosen = chosen[without_repetitions(inside[chosen], found.scores[chosen], config.max_mask_overlap)]
    if config.overlap_order == "smallest":
        chosen = chosen[np.argsort(areas[chosen], kind="stable")]
    free = np.ones(shape, dtype=bool) if frame.valid is None else frame.valid
    enlarged = (_enlarged(found.masks[i], shape) for i in chosen)
    labels = paint(enlarged, free, config.min_visible_share, masks.min_mask_pixels)
    labels = tidy_labels(labels, masks)
    labels[~free] = UNLABELLED
    present = np.unique(labels[labels >= 1])
    scores = found.scores[chosen[present - 1]]
    by_score = np.argsort(-scores, kind="stable")
    number = np.full(len(chosen) + 1, UNLABELLED, dtype=np.int32)  # painted label → id; 0 is never painted
    number[present[by_score]] = np.arange(1, len(present) + 1)
    labels = np.where(labels >= 1, number[np.maximum(labels, 0)], UNLABELLED).astype(np.int32)
    warnings = () if len(present) else (f"No mask was found in '{frame.name}'.",)
    return LabelImage(labels, {i + 1: float(scores[j]) for i, j in enumerate(by_score)}, warnings)


def paint(
    masks: Iterable[np.ndarray], free: np.ndarray, min_visible_share: float, min_pixels: int
) -> np.ndarray:
    """[H, W] int32: 1 + the number of the first mask that covers each pixel, else UNLABELLED.

    masks: [H, W] bool each, in the order in which they take what is still `free` ([H, W] bool); one that
    finds less than `min_visible_share` of its pixels free, or fewer than `min_pixels`, takes none.
    """
    labels = np.full(free.shape, UNLABELLED, dtype=np.int32)
    free = free.copy()
    for index, mask in enumerate(masks):
        visible = mask & free
        pixels = np.count_nonzero(visible)
        least = max(min_pixels, min_visible_share * np.count_nonzero(mask), 1)
        if pixels >= least:
            labels[visible] = index + 1
            free &= ~mask
    return labels


def without_repetitions(masks: np.ndarray, scores: np.ndarray, max_overlap: float) -> np.ndarray:
    """Indices of the masks that stay, best first: none has an IoU above `max_overlap` with a better one.

    Greedy non-maximum suppression on the masks themselves.  masks: [N, h, w] bool, none empty.
    """
    areas = masks.sum(axis=(1, 2))
    boxes = _boxes(masks)
    kept: list[int] = []
    for index in np.lexsort((-areas, -scores)):
        others = np.array(kept, dtype=np.int64)
        y0, x0, y1, x1 = boxes[index]
        height = np.minimum(boxes[others, 2], y1) - np.maximum(boxes[others, 0], y0)
        width = np.minimum(boxes[others, 3], x1) - np.maximum(boxes[others, 1], x0)
        both = areas[others] + areas[index]
        # The boxes bound the intersection from above: few pairs of masks need a closer look.
        most = np.minimum(np.maximum(height, 0) * np.maximum(width, 0), areas[others])
        others = others[most > max_overlap * (both - most)]
        shared = (masks[others, y0:y1, x0:x1] & masks[index, y0:y1, x0:x1]).sum(axis=(1, 2))
        if not (shared > max_overlap * (areas[others] + areas[index] - shared)).any():
            kept.append(int(index))
    return np.array(kept, dtype=np.int64)


def _boxes(masks: np.ndarray) -> np.ndarray:
    """[N, 4] int64: y0, x0, y1, x1 of non-empty masks, the ends exclusive."""
    rows, columns = np.any(masks, axis=2), np.any(masks, axis=1)
    last_row = masks.shape[1] - rows[:, ::-1].argmax(axis=1)
    last_column = masks.shape[2] - columns[:, ::-1].argmax(axis=1)
    return np.stack([rows.argmax(axis=1), columns.argmax(axis=1), last_row, last_column], axis=1)


def _enlarged(mask: torch.Tensor, shape: tuple[int, int]) -> np.ndarray:
    """[H, W] bool: logits are interpolated before they are cut at 0; bool is taken as ±½."""
    logits = mask.float() - 0.5 if mask.dtype == torch.bool else mask.float()
    if tuple(mask.shape) == shape:
        return (logits > 0).numpy()
    return (F.interpolate(logits[None, None], size=shape, mode="bilinear")[0, 0] > 0).numpy()

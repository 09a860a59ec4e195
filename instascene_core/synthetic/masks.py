"""True label images damaged at random, mask by mask, to test what comes after; see `segmenter_damage` for
errors that follow the image."""

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED


def damage_labels(
    labels: np.ndarray,
    rng: np.random.Generator,
    *,
    missing: float = 0.15,
    merged: float = 0.2,
    split: float = 0.2,
    border: int = 3,
) -> np.ndarray:
    """A view's true labels [H, W] int as a poor segmenter would give them, int32, UNLABELLED or ≥ 1.

    Every mask has one fate: `missing` of them are gone, `merged` are one with the nearest other mask,
    `split` are cut in two by a line that leaves the smaller part at least 30 %.  Then the border of
    every mask moves in or out by a whole number of pixels up to `border`, and all ids are shuffled,
    so that none means the same in two views.  Raises InputError for shares that exceed 1 together.
    """
    if min(missing, merged, split, border) < 0 or missing + merged + split > 1:
        raise InputError("The shares of damaged masks must not be negative, nor exceed 1 together.")
    labels = np.maximum(np.asarray(labels), 0)
    ids = np.unique(labels[labels > 0])
    fate = np.searchsorted(np.cumsum([missing, merged, split]), rng.random(len(ids)), side="right")
    result = np.where(np.isin(labels, ids[fate == 0]), 0, labels).astype(np.int32)
    whole = result.copy()
    for mask_id in ids[fate == 1]:
        other = _nearest_other(whole, int(mask_id))
        if other:  # what the other was merged into already takes both
            result[result == mask_id] = result[whole == other][0]
    next_id = int(ids.max(initial=0)) + 1
    for mask_id in ids[fate == 2]:
        rows, columns = np.nonzero(result == mask_id)
        if len(rows) > 1:
            part = _cut(rows, columns, rng)
            result[rows[part], columns[part]] = next_id
            next_id += 1
    return shuffled(_moved_borders(result, rng, border), rng)


def _nearest_other(labels: np.ndarray, mask_id: int) -> int:
    """The id whose pixels come closest to those of `mask_id`; 0 = there is no other."""
    others = (labels > 0) & (labels != mask_id)
    if not others.any() or not (labels == mask_id).any():
        return 0
    distance = np.asarray(distance_transform_edt(labels != mask_id))
    return int(labels[others][distance[others].argmin()])


def _cut(rows: np.ndarray, columns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[K] bool: the pixels on one side of a random line."""
    angle = rng.uniform(0, np.pi)
    along = np.cos(angle) * columns + np.sin(angle) * rows
    return along > np.quantile(along, rng.uniform(0.3, 0.7))


def _moved_borders(labels: np.ndarray, rng: np.random.Generator, border: int) -> np.ndarray:
    """Each region grown or shrunk by its own offset; where two claim a pixel the deeper one has it."""
    result, claim = np.zeros_like(labels), np.zeros(labels.shape)
    for index, box in enumerate(find_objects(labels), 1):
        if box is None:
            continue
        offset = int(rng.integers(-border, border + 1))
        box = tuple(slice(max(s.start - border - 1, 0), s.stop + border + 1) for s in box)
        inside = np.pad(labels[box] == index, border + 1, mode="edge")  # the image's rim is no border
        # The border runs between pixel centres, half a pixel from either.
        inner, outer = (np.asarray(distance_transform_edt(part)) for part in (inside, ~inside))
        depth = np.where(inside, inner - 0.5, 0.5 - outer)[border + 1 : -border - 1, border + 1 : -border - 1]
        depth = depth + offset
        wins = (depth > 0) & (depth > claim[box])
        result[box][wins] = index
        claim[box][wins] = depth[wins]
    return result


def shuffled(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[H, W] int32: the regions ≥ 1 of `labels` under ids drawn anew, the rest UNLABELLED."""
    ids = np.unique(labels[labels > 0])
    table = np.full(int(labels.max(initial=0)) + 1, UNLABELLED, dtype=np.int32)
    table[ids] = rng.permutation(np.arange(1, 4 * len(ids) + 1))[: len(ids)]
    return table[labels]

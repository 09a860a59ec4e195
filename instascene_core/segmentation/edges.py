"""Label borders brought to the edges of the image's colours.

Depth edges of real sensors lie pixels beside the object's: stereo fattens, depth and colour are not quite
registered, poses are off.  How far is measured on the recording itself: across a border of the labels, colour
gradients peak where the objects really end.  Within twice that distance of a border each pixel then
takes the label of those around it that look like it: a bilateral vote.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from instascene_core.config.segmentation import EdgeConfig
from instascene_core.frame import UNLABELLED

REACH = 5  # pixels beside a border within which the colours' edges are looked for


def border_offset(labels: Sequence[np.ndarray], colors: Sequence[np.ndarray]) -> float:
    """How far borders of label images [H, W] lie from edges in their images [H, W, 3] uint8, in pixels.

    The standard deviation of the offset, from the mean colour gradient at each distance across the borders:
    what exceeds the least of them is due to edges that belong to the borders.  0 without borders.
    """
    profile = np.zeros(2 * REACH + 1)
    for image, rgb in zip(labels, colors, strict=True):
        lab, image = _lab(rgb), np.maximum(image, 0)
        for axis in (0, 1):
            gradient = np.linalg.norm(np.diff(lab, axis=axis), axis=-1)
            border = np.diff(image, axis=axis) != 0
            if axis == 0:
                gradient, border = gradient.T, border.T
            row, column = np.nonzero(border[:, REACH:-REACH])
            profile += [gradient[row, column + step].sum() for step in range(2 * REACH + 1)]
    peak = profile - profile.min()
    if not peak.sum() > 0:
        return 0.0
    return float(np.sqrt((peak * np.arange(-REACH, REACH + 1) ** 2).sum() / peak.sum()))


def band_width(offset: float, config: EdgeConfig) -> float:
    """Pixels on both sides of a border in which labels are in doubt, for borders off by `offset` pixels.

    Borders without any error still show `sharp_offset`: an edge has a width of its own.
    """
    return config.band_offsets * float(np.sqrt(max(offset**2 - config.sharp_offset**2, 0.0)))


def snap_to_edges(labels: np.ndarray, rgb: np.ndarray, band: float, config: EdgeConfig) -> np.ndarray:
    """Labels [H, W] (ids ≥ 1, others none) whose pixels within `band` of a border voted anew.

    rgb: [H, W, 3] uint8.  A vote counts by likeness of colour, nearness, and distance of the voter from the
    borders.  The label images come back unchanged where the band is less than half a pixel.
    """
    if band < 0.5:
        return labels
    ids, index = np.unique(np.maximum(labels, 0), return_inverse=True)
    index = index.reshape(labels.shape)
    distance = ndimage.distance_transform_edt(~_at_border(index))
    row, column = np.nonzero(distance < band)
    if not len(row):
        return labels
    trust = np.maximum(np.clip(distance / band, 0, 1) ** 2, config.least_trust).astype(np.float32)
    stride = 1 if band < 2 else 2  # of the voters: as good in wide bands, four times as fast
    reach = stride * int(np.ceil(2 * band / stride))
    lab = np.pad(_lab(rgb), ((reach, reach), (reach, reach), (0, 0)))
    trust, index = np.pad(trust, reach), np.pad(index, reach)  # what lies outside has no vote
    row, column = row + reach, column + reach
    own, voter = lab[row, column], np.arange(len(row))
    votes = np.zeros((len(row), len(ids)), dtype=np.float32)
    for dy in range(-reach, reach + 1, stride):
        for dx in range(-reach, reach + 1, stride):
            if dy * dy + dx * dx > reach * reach:
                continue
            there = (row + dy, column + dx)
            unlike = ((lab[there] - own) ** 2).sum(axis=1) / (2 * config.color_difference**2)
            weight = np.exp(-unlike - (dy * dy + dx * dx) / (2 * band**2)) * trust[there]
            votes[voter, index[there]] += weight
    snapped = labels.copy()
    chosen = ids[votes.argmax(axis=1)]
    changed = chosen != np.maximum(labels, 0)[row - reach, column - reach]
    voted = np.where(chosen > 0, chosen, UNLABELLED)
    snapped[row[changed] - reach, column[changed] - reach] = voted[changed]
    return snapped


def _at_border(index: np.ndarray) -> np.ndarray:
    """[H, W] bool: pixels with a neighbour (of four) of another label."""
    border = np.zeros(index.shape, dtype=bool)
    for axis in (0, 1):
        change = np.diff(index, axis=axis) != 0
        first = [slice(None), slice(None)]
        second = [slice(None), slice(None)]
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        border[tuple(first)] |= change
        border[tuple(second)] |= change
    return border


def _lab(rgb: np.ndarray) -> np.ndarray:
    """[H, W, 3] float32 CIE Lab in 8 bits: lightness counts 2.55 times."""
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB).astype(np.float32)

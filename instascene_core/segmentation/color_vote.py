"""Label borders brought to the edges of the image's colours by a bilateral vote.

Within a band around a border each pixel takes the label of those around it that look like it.
"""

import numpy as np
from scipy import ndimage

from instascene_core.frame import UNLABELLED
from instascene_core.segmentation.edges import cielab
from instascene_core.transforms import dots

# Set on household scenes through four simulated sensors (seeds 70001, 70003, 70007).
SHARP_OFFSET = 0.85  # pixels that borders without error lie off, as it is measured
BAND_OFFSETS = 2.0  # labels are in doubt within so many offsets beyond that
COLOR_DIFFERENCE = 8.0  # of CIE Lab in 8 bits, at which a pixel's vote counts 60 %
LEAST_TRUST = 0.05  # of a pixel right at a border, for what is thinner than the doubt


def band_width(offset: float) -> float:
    """Pixels on both sides of a border in which labels are in doubt, for borders off by `offset` pixels.

    Borders without any error still show `SHARP_OFFSET`: an edge has a width of its own.
    """
    return BAND_OFFSETS * float(np.sqrt(max(offset**2 - SHARP_OFFSET**2, 0.0)))


def snap_to_edges(labels: np.ndarray, rgb: np.ndarray, band: float) -> np.ndarray:
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
    trust = np.maximum(np.clip(distance / band, 0, 1) ** 2, LEAST_TRUST).astype(np.float32)
    stride = 1 if band < 2 else 2  # of the voters: as good in wide bands, four times as fast
    reach = stride * int(np.ceil(2 * band / stride))
    lab = np.pad(cielab(rgb), ((reach, reach), (reach, reach), (0, 0)))
    trust, index = np.pad(trust, reach), np.pad(index, reach)  # what lies outside has no vote
    row, column = row + reach, column + reach
    own, voter = lab[row, column], np.arange(len(row))
    votes = np.zeros((len(row), len(ids)), dtype=np.float32)
    for dy in range(-reach, reach + 1, stride):
        for dx in range(-reach, reach + 1, stride):
            if dy * dy + dx * dx > reach * reach:
                continue
            there = (row + dy, column + dx)
            unlike = dots(off := lab[there] - own, off) / (2 * COLOR_DIFFERENCE**2)
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

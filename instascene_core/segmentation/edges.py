"""How far borders of labels lie from the edges of the image's colours.

Depth edges of real sensors lie pixels beside the object's: stereo fattens, depth and colour are not quite
registered, poses are off.  How far is measured on the recording itself: across a border of the labels, colour
gradients peak where the objects really end.
"""

from collections.abc import Sequence

import numpy as np

REACH = 5  # pixels beside a border within which the colours' edges are looked for


def border_offset(labels: Sequence[np.ndarray], colors: Sequence[np.ndarray]) -> float:
    """How far borders of label images [H, W] lie from edges in their images [H, W, 3] uint8, in pixels.

    The standard deviation of the offset, from the mean colour gradient at each distance across the borders:
    what exceeds the least of them is due to edges that belong to the borders.  0 without borders.
    """
    profile = np.zeros(2 * REACH + 1)
    for image, rgb in zip(labels, colors, strict=True):
        lab, image = cielab(rgb), np.maximum(image, 0)
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


def cielab(rgb: np.ndarray) -> np.ndarray:
    """[H, W, 3] float32 CIE Lab in 8 bits: lightness counts 2.55 times."""
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB).astype(np.float32)

"""Depth of a lower resolution on the colour's pixel grid.

The inverse of depth is linear over a plane in the image.  Between four measurements of one surface it is
interpolated; across an edge each pixel takes the surface whose measurement has its colour, continued by that
surface's own slope.  Nothing is ever a mean across an edge.  Pixel centres lie at half pixels in both grids.
"""

import numpy as np

from instascene_core.images import resize

SAME_SURFACE = 0.01  # of the inverse depth: how far the continuations of two measurements may lie apart
COLOR_SIGMA = 20.0  # of 255: how far the colours of one surface lie apart
LEAST_WEIGHT = 0.02  # of a measurement next to the pixel, so that its colour can still decide
UNLIKE_COLOR = 1e-6  # weight of a measurement of quite another colour: only where there is no other one
LONGEST_STEP = 0.1  # of the inverse depth: as far as a slope may continue a measurement


def lift_depth(depth: np.ndarray, rgb: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """[H, W] float32 metres, 0 = not measured, at the pixels of `rgb` [H, W, 3] uint8.

    depth: [h, w] metres of the same view, each at least 2 and not larger than the image.
    shift: colour pixels, right and down, from the middle of its block to where a measurement was taken.
    """
    (h, w), (height, width) = depth.shape, rgb.shape[:2]
    inverse = np.divide(1, depth, out=np.zeros_like(depth, np.float32), where=depth > 0)
    slopes = _slope(inverse.T).T, _slope(inverse)  # along x is along rows
    column, across = _cells(width, w, shift)
    row, down = _cells(height, h, shift)
    left = (1 - across) * inverse[:, column] + across * inverse[:, column + 1]
    lifted = (1 - down)[:, None] * left[row] + down[:, None] * left[row + 1]
    rough = ~_on_one_surface(inverse, slopes[1], slopes[0])[row[:, None], column]
    y, x = np.nonzero(rough)
    lifted[y, x] = _at_edges(
        inverse, slopes, resize(rgb, w, h, smooth=False), rgb[y, x], (row[y], column[x]), (down[y], across[x])
    )
    return np.divide(1, lifted, out=np.zeros_like(lifted), where=lifted > 0)


def _cells(size: int, count: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """For each of `size` pixels: the measurement (of `count`) before it, how far on it lies [float32].

    Before the first and after the last measurement the nearest cell is continued.
    """
    place = (np.arange(size) + 0.5 - shift) * count / size - 0.5
    cell = np.clip(np.floor(place).astype(int), 0, count - 2)
    return cell, (place - cell).astype(np.float32)


def _slope(inverse: np.ndarray) -> np.ndarray:
    """Change of `inverse` per row [h, w]: the smaller one of both sides, which stays on the own surface."""
    step = np.diff(inverse, axis=0)
    step[(inverse[1:] <= 0) | (inverse[:-1] <= 0)] = np.nan
    before, after = (np.full_like(inverse, np.nan) for _ in range(2))
    before[1:], after[:-1] = step, step
    before, after = np.where(np.isnan(before), after, before), np.where(np.isnan(after), before, after)
    return np.nan_to_num(np.where(np.abs(before) < np.abs(after), before, after))


def _on_one_surface(inverse: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """[h − 1, w − 1] bool: which cells' four corners, continued to the middle by their slopes, agree."""
    h, w = inverse.shape
    middles, known = [], np.ones((h - 1, w - 1), bool)
    for a in (0, 1):
        for b in (0, 1):
            part = np.s_[a : h - 1 + a, b : w - 1 + b]
            middles.append(inverse[part] + (0.5 - a) * down[part] + (0.5 - b) * across[part])
            known &= inverse[part] > 0
    return known & (np.ptp(middles, axis=0) < SAME_SURFACE * np.abs(np.mean(middles, axis=0)))


def _at_edges(
    inverse: np.ndarray,
    slopes: tuple[np.ndarray, np.ndarray],
    sampled: np.ndarray,
    colors: np.ndarray,
    cell: tuple[np.ndarray, np.ndarray],
    offset: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Inverse depth [N] of pixels in cells with an edge or a hole.

    slopes: along x and y.  sampled: [h, w, 3] the colour at each measurement; colors: [N, 3] the pixels' own.
    cell: row and column of each pixel's cell; offset: how far below and right of that corner it lies.
    """
    guesses, weights, scores = [], [], []
    for a in (0, 1):
        for b in (0, 1):
            corner = cell[0] + a, cell[1] + b
            dy, dx = offset[0] - a, offset[1] - b
            value = inverse[corner]
            step = slopes[0][corner] * dx + slopes[1][corner] * dy
            guesses.append(value + np.clip(step, -LONGEST_STEP * value, LONGEST_STEP * value))
            near = np.clip((1 - np.abs(dx)) * (1 - np.abs(dy)), LEAST_WEIGHT, 1) * (value > 0)
            distance = ((sampled[corner].astype(np.float32) - colors) ** 2).sum(axis=1)
            weights.append(near)
            scores.append(near * (np.exp(-distance / (2 * COLOR_SIGMA**2)) + UNLIKE_COLOR))
    guess, weight = np.array(guesses), np.array(weights)
    best = np.take_along_axis(guess, np.argmax(scores, axis=0)[None], axis=0)
    weight *= np.abs(guess - best) < SAME_SURFACE * best
    total = weight.sum(axis=0)
    return np.divide((weight * guess).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)

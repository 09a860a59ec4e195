"""Where, within its block of colour pixels, a measurement of shrunken depth was taken.

A depth image of a quarter of the colour's size has blocks of 4 × 4 colour pixels.  A sensor of its own
measures at the middle of a block; who shrinks images takes the pixel behind the middle, or the first of the
block, as OpenCV does.  Half a pixel of error is nothing in one view, but spoils thin walls
where views from all sides are joined; so the views are asked which place makes them agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.camera import LensModel, PinholeCamera

CLEARLY = 0.7  # of the disagreement with measurements at the middle: another place must be this much better
GATE = 0.03  # of the depth: what disagrees by more is another surface
SAME_SURFACE = 0.02  # of the depth: how much the four measurements around a place may differ
MIN_POINTS = 500  # on which two views must be compared
MAX_POINTS = 4000  # a view gives


@dataclass(frozen=True)
class LowDepth:
    """A depth image of a lower resolution than its colour image."""

    depth: np.ndarray  # [h, w] float32 metres, 0 = not measured
    lens: LensModel  # of the colour image
    world_from_camera: np.ndarray  # [4, 4]


def sampling_shift(views: Sequence[LowDepth]) -> float:
    """Colour pixels, in x and y, from the middle of its block to where a measurement was taken.

    0 where the views do not clearly say otherwise, where blocks are not whole pixels, or where the lens is
    distorted (there is no recording of that kind to learn from).
    """
    if len(views) < 2 or any(view.lens.is_distorted for view in views):
        return 0.0
    camera, (h, w) = views[0].lens.camera, views[0].depth.shape
    step = camera.width / w
    if any(v.depth.shape != (h, w) for v in views) or step != camera.height / h or step != int(step):
        return 0.0
    places = {0.0, (1 - step) / 2} | ({0.5} if step % 2 == 0 else set())
    disagreement = {shift: _disagreement(views, shift) for shift in places}
    best = min(disagreement, key=lambda shift: disagreement[shift])
    return best if disagreement[best] < CLEARLY * disagreement[0.0] else 0.0


def _disagreement(views: Sequence[LowDepth], shift: float) -> float:
    """Median relative difference of the depth of neighbouring views; infinite where they share too little."""
    found = []
    for i, first in enumerate(views):
        for second in views[i + 1 : i + 3]:
            found += [_differences(first, second, shift), _differences(second, first, shift)]
    together = np.concatenate([d for d in found if len(d) >= MIN_POINTS] or [np.empty(0)])
    return float(np.median(together)) if len(together) else np.inf


def _differences(first: LowDepth, second: LowDepth, shift: float) -> np.ndarray:
    """[N] |z − z'| / z of the first view's points where the second one sees the same surface."""
    h, w = first.depth.shape
    own, other = (_camera(view, shift) for view in (first, second))
    rows, columns = np.nonzero(first.depth)
    some = slice(None, None, max(1, len(rows) // MAX_POINTS))
    rows, columns = rows[some], columns[some]
    points = own.rays[rows, columns] * first.depth[rows, columns, None].astype(np.float64)
    second_from_first = np.linalg.inv(second.world_from_camera) @ first.world_from_camera
    pixels, z = other.project(points @ second_from_first[:3, :3].T + second_from_first[:3, 3])
    with np.errstate(invalid="ignore"):
        x, y = pixels[:, 0] - 0.5, pixels[:, 1] - 0.5
        inside = (x >= 0) & (y >= 0) & (x < w - 1) & (y < h - 1)
    x, y, z = x[inside], y[inside], z[inside]
    column, row = x.astype(int), y.astype(int)
    corners = np.array([second.depth[row + a, column + b] for a in (0, 1) for b in (0, 1)], np.float64)
    smooth = (corners.min(axis=0) > 0) & (np.ptp(corners, axis=0) < SAME_SURFACE * z)
    fx, fy = x - column, y - row
    weights = np.array([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx])
    seen = 1 / (weights[:, smooth] / corners[:, smooth]).sum(axis=0)
    difference = np.abs(seen - z[smooth]) / z[smooth]
    return difference[difference < GATE]


def _camera(view: LowDepth, shift: float) -> PinholeCamera:
    """The camera of the measurements when they were taken `shift` colour pixels off the blocks' middles."""
    camera, (h, w) = view.lens.camera, view.depth.shape
    moved = PinholeCamera(
        camera.width, camera.height, camera.fx, camera.fy, camera.cx - shift, camera.cy - shift
    )
    return moved.resized(w, h)

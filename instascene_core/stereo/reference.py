"""The cost of slanted patches in float64, pixel by pixel: slow, to be read and compared with."""

from collections.abc import Sequence

import numpy as np

from instascene_core.stereo.patches import GREY_SIGMA, LEAST_VARIANCE, SPACING
from instascene_core.stereo.views import StereoView

_RADIUS = 2  # of the window, in taps


def patch_costs(view: StereoView, sources: Sequence[StereoView], inverse: np.ndarray) -> np.ndarray:
    """[H, W] float64: 1 − NCC of the two views that agree best (of one or two: of the best), 1 where a view
    has nothing to compare; `inverse` [3, H, W] as in DepthPlanes."""
    height, width = view.grey.shape
    costs = np.empty((height, width))
    for row in range(height):
        for column in range(width):
            plane = inverse[:, row, column].astype(np.float64)
            scores = sorted(_score(view, source, row, column, plane) for source in sources)
            costs[row, column] = (scores[0] + scores[1]) / 2 if len(scores) > 2 else scores[0]
    return costs


def _score(view: StereoView, source: StereoView, row: int, column: int, plane: np.ndarray) -> float:
    """1 − weighted NCC of the window around one pixel and its image in one other view."""
    taps = np.arange(-_RADIUS, _RADIUS + 1)
    below, right = np.meshgrid(taps, taps, indexing="ij")
    dy, dx = (SPACING * grid[(below + right) % 2 == 0] for grid in (below, right))  # as on a chessboard
    height, width = view.grey.shape
    own = view.grey[np.clip(row + dy, 0, height - 1), np.clip(column + dx, 0, width - 1)].astype(np.float64)
    weights = np.exp(-np.abs(own - view.grey[row, column]) / GREY_SIGMA)
    weights /= weights.sum()
    # Back-projected, moved, projected: inverse depth is affine in the pixel.
    depth = 1 / (plane[0] + plane[1] * dx + plane[2] * dy)
    u, v = column + 0.5 + dx, row + 0.5 + dy
    camera, pose = view.camera, np.linalg.inv(source.world_from_camera) @ view.world_from_camera
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(len(u))], axis=-1)
    pixels, z = source.camera.project((rays * depth[:, None]) @ pose[:3, :3].T + pose[:3, 3])
    x, y = pixels[:, 0] - 0.5, pixels[:, 1] - 0.5
    there_height, there_width = source.grey.shape
    inside = (z > 0) & (x >= 0) & (y >= 0) & (x <= there_width - 1) & (y <= there_height - 1)
    variance = weights @ own**2 - (weights @ own) ** 2
    if not inside.all() or variance < LEAST_VARIANCE:
        return 1.0
    left, top = (np.minimum(np.floor(k), n - 2).astype(int) for k, n in ((x, there_width), (y, there_height)))
    fx, fy = x - left, y - top
    grey = source.grey.astype(np.float64)
    upper = (1 - fx) * grey[top, left] + fx * grey[top, left + 1]
    lower = (1 - fx) * grey[top + 1, left] + fx * grey[top + 1, left + 1]
    seen = (1 - fy) * upper + fy * lower
    if seen.min() < -0.5:
        return 1.0
    seen_variance = max(weights @ seen**2 - (weights @ seen) ** 2, LEAST_VARIANCE)
    covariance = weights @ (seen * own) - (weights @ seen) * (weights @ own)
    return float(1 - covariance / np.sqrt(seen_variance * variance))

"""A plane sweep on one small image: the first guess of every pixel's depth.

Planes parallel to the image are swept in steps of equal disparity (Collins 1996); the match of a plane is the
zero-mean NCC of small windows with several neighbouring views, the best two of which count (the others may be
hidden).  Semi-global matching (Hirschmüller 2008) carries depth over weak texture.
"""

from collections.abc import Sequence

import numpy as np

from instascene_core.stereo.triangulation import SparsePoints
from instascene_core.stereo.views import OUTSIDE, StereoView, points_seen

_MAX_PLANES = 112
_BEYOND = 2.0  # the sweep goes this much farther than the farthest points found
_WINDOW = 5  # pixels
_MIN_VARIANCE = 1.0  # grey levels²: flatter windows match anything, so they get the neutral cost 1
_MAX_COST = 0.9  # of a plane that matches
_P1, _P2 = 0.08, 0.6  # smoothness: for one plane's step, for a jump


def swept_range(
    views: Sequence[StereoView], index: int, sources: Sequence[int], points: SparsePoints
) -> np.ndarray:
    """[D] planes, equally spaced in inverse depth, about one pixel of disparity apart, near to far."""
    view = views[index]
    pose = view.world_from_camera
    _, z, inside = view.locate(points.positions)
    own = (points_seen(view, index, points) - pose[:3, 3]) @ pose[:3, 2]
    own = own[own > 0]
    everything = z[inside]
    if not sources or len(own) < 3:
        return np.empty(0)
    # The frame's own points set the range; all points in its view may widen it a little.
    near = min(np.quantile(own, 0.02), max(np.quantile(everything, 0.02), 0.7 * np.quantile(own, 0.02)))
    far = max(np.quantile(own, 0.98), min(np.quantile(everything, 0.98), 1.5 * np.quantile(own, 0.98)))
    first, last = 1 / (0.8 * near), 1 / (_BEYOND * far)
    baseline = max(float(np.linalg.norm(views[j].world_from_camera[:3, 3] - pose[:3, 3])) for j in sources)
    planes = int(np.ceil((first - last) * baseline * view.camera.fx))
    return np.linspace(first, last, int(np.clip(planes, 16, _MAX_PLANES)))


def sweep(view: StereoView, sources: Sequence[StereoView], inverse_depths: np.ndarray) -> np.ndarray:
    """Depth [H, W] float32 of one view, 0 where nothing matches."""
    cost = _matching_cost(view, sources, inverse_depths)
    smoothed = _semi_global(cost)
    best = smoothed.argmin(axis=2)
    inside = (best > 0) & (best < len(inverse_depths) - 1)
    inner = np.clip(best, 1, len(inverse_depths) - 2)
    before, at, after = (
        np.take_along_axis(smoothed, (inner + k)[..., None], axis=2)[..., 0] for k in (-1, 0, 1)
    )
    curvature = before - 2 * at + after
    shift = np.where(curvature > 1e-6, 0.5 * (before - after) / np.maximum(curvature, 1e-6), 0)
    step = inverse_depths[1] - inverse_depths[0]
    inverse = inverse_depths[inner] + np.clip(shift, -0.5, 0.5) * step
    matched = np.take_along_axis(cost, inner[..., None], axis=2)[..., 0] < _MAX_COST
    matched &= view.grey >= 0
    return np.where(inside & matched, 1 / inverse, 0).astype(np.float32)


def _matching_cost(view: StereoView, sources: Sequence[StereoView], inverse_depths: np.ndarray) -> np.ndarray:
    """1 − NCC of the best two of the sources (one of two), [H, W, D] float32 in [0, 2]."""
    import cv2

    height, width = view.grey.shape
    size = (_WINDOW, _WINDOW)

    def mean(image: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(image, -1, size, borderType=cv2.BORDER_REFLECT)

    grey = view.grey
    own_mean = mean(grey)
    own_variance = np.maximum(mean(grey * grey) - own_mean**2, 0)
    silent = (own_variance < _MIN_VARIANCE) | (own_mean < 0)
    own_spread = np.maximum(own_variance, _MIN_VARIANCE)
    cost = np.empty((len(inverse_depths), height, width), dtype=np.float32)
    for d, inverse_depth in enumerate(inverse_depths):
        best = np.full(grey.shape, 2, dtype=np.float32)
        second = best.copy()
        for source in sources:
            homography = _homography(source, view, inverse_depth)
            warped = cv2.warpPerspective(
                source.grey, homography, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_CONSTANT, borderValue=OUTSIDE,
            )  # fmt: skip
            its_mean = mean(warped)
            variance = np.maximum(mean(warped * warped) - its_mean**2, _MIN_VARIANCE)
            covariance = mean(grey * warped) - own_mean * its_mean
            score = 1 - covariance / np.sqrt(variance * own_spread)
            score[(its_mean < 0) | silent] = 1  # outside the source, or nothing to match: says nothing
            np.minimum(second, np.maximum(best, score), out=second)
            np.minimum(best, score, out=best)
        cost[d] = 0.5 * (best + second) if len(sources) > 2 else best
    return np.ascontiguousarray(np.clip(cost, 0, 2).transpose(1, 2, 0))


def _homography(source: StereoView, view: StereoView, inverse_depth: float) -> np.ndarray:
    """[3, 3]: OpenCV pixel of the view → OpenCV pixel of the source, for one swept plane."""
    pose = np.linalg.inv(source.world_from_camera) @ view.world_from_camera
    plane = pose[:3, :3] + np.outer(pose[:3, 3], [0, 0, inverse_depth])
    half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])  # to OpenCV's pixel centres
    return half @ source.camera.matrix @ plane @ np.linalg.inv(view.camera.matrix) @ np.linalg.inv(half)


def _semi_global(cost: np.ndarray) -> np.ndarray:
    """Costs [H, W, D] summed along paths from four sides."""
    total = np.zeros_like(cost)
    columns = np.ascontiguousarray(cost.transpose(1, 0, 2))
    total_columns = np.zeros_like(columns)
    for lines, sums in ((cost, total), (columns, total_columns)):
        for order in (range(len(lines)), range(len(lines) - 1, -1, -1)):
            path = None
            for row in order:
                path = _path_step(path, lines[row])
                sums[row] += path
    return total + total_columns.transpose(1, 0, 2)


def _path_step(path: np.ndarray | None, cost: np.ndarray) -> np.ndarray:
    """One step of all parallel paths [L, D] (Hirschmüller 2008, eq. 13)."""
    if path is None:
        return cost.copy()
    least = path.min(axis=1, keepdims=True)
    best = np.minimum(path, least + np.float32(_P2))
    stepped = path + np.float32(_P1)
    np.minimum(best[:, 1:], stepped[:, :-1], out=best[:, 1:])
    np.minimum(best[:, :-1], stepped[:, 1:], out=best[:, :-1])
    best += cost
    best -= least
    return best

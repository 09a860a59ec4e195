"""What a depth image says beyond depth: points, normals, and which pixels can be trusted.

Three ways to normals, for three needs, all of z-depth [H, W] in metres (0 = no measurement) and in the
camera's axes, toward the camera:

- `normals_from_depth` fits a plane around every pixel: exact on planes, for Gaussians and for measuring;
- `smooth_geometry` smooths first and leaves steps out: calm enough for networks and for cutting;
- `edge_keeping_normals` takes the nearer neighbours: defined at every pixel, up to the outline.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.transforms import cross, dots, lengths

# Rows and columns of an image, both with a start and a stop.
Part = tuple[slice, slice]

# A pixel is kept when its surface is seen at less than about 83° and the plane fitted to its
# neighbourhood passes within this share of its depth: else it lies on or beside a depth edge.
_MIN_COSINE = 0.12
_MAX_RELATIVE_RESIDUAL = 0.01


@dataclass(frozen=True)
class DepthNormals:
    """Per-pixel planes of a depth image."""

    normals: np.ndarray  # [H, W, 3] float32 unit, camera frame, toward the camera; 0 where not valid
    valid: np.ndarray  # [H, W] bool: measured, smooth, not grazing


def normals_from_depth(depth: np.ndarray, camera: PinholeCamera, radius: int = 2) -> DepthNormals:
    """Fit a plane to the (2·radius + 1)² neighbourhood of every pixel of `depth` [H, W] (metres, 0 = none).

    The inverse depth of a plane is affine in the pixel (n·ray = d/z), so the fit is linear least
    squares on 1/z, and its sums over windows are box filters.
    """
    import cv2

    measured = np.isfinite(depth) & (depth > 0)
    inverse = np.where(measured, 1.0 / np.where(measured, depth, 1.0), 0.0)  # [H, W] 1/metres
    rays = camera.rays.astype(np.float64)
    x, y = rays[..., 0], rays[..., 1]
    mask = measured.astype(np.float64)

    def window_mean(values: np.ndarray) -> np.ndarray:
        size = (2 * radius + 1, 2 * radius + 1)
        return cv2.boxFilter(values, cv2.CV_64F, size, borderType=cv2.BORDER_CONSTANT)

    weight = np.maximum(window_mean(mask), 1e-12)

    def moment(values: np.ndarray) -> np.ndarray:
        return window_mean(values * mask) / weight

    mean_x, mean_y, mean_w = moment(x), moment(y), moment(inverse)
    xx, xy, yy = (
        moment(x * x) - mean_x**2,
        moment(x * y) - mean_x * mean_y,
        moment(y * y) - mean_y**2,
    )
    xw, yw = moment(x * inverse) - mean_x * mean_w, moment(y * inverse) - mean_y * mean_w
    determinant = xx * yy - xy * xy
    enough = measured & (weight > 0.4) & (determinant > 1e-3 * np.maximum(xx, yy) ** 2)
    determinant = np.where(enough, determinant, 1.0)
    slope_x = (yy * xw - xy * yw) / determinant  # n_x / d
    slope_y = (xx * yw - xy * xw) / determinant
    fitted = mean_w + slope_x * (x - mean_x) + slope_y * (y - mean_y)  # 1/z of the plane at the pixel
    normals = np.stack([slope_x, slope_y, fitted - slope_x * x - slope_y * y], axis=-1)
    normals /= -np.maximum(lengths(normals), 1e-12)[..., None]  # toward the camera

    cosine = -dots(normals, rays) / lengths(rays)
    residual = np.abs(inverse - fitted) / np.maximum(inverse, 1e-12)
    valid = enough & (cosine > _MIN_COSINE) & (residual < _MAX_RELATIVE_RESIDUAL)
    return DepthNormals(np.where(valid[..., None], normals, 0).astype(np.float32), valid)


def smooth_geometry(depth: np.ndarray, camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [H, W, 3], normals [H, W, 3] (camera frame, toward the camera), valid [H, W] bool.

    Central differences over two pixels each way on a lightly smoothed depth; pixels next to a depth
    step or a hole have no normal and are not valid.
    """
    import cv2

    inverse = inverse_depth(depth)
    measured = inverse > 0
    # Averaged in 1/z, where planes stay planes, over neighbours on the same surface only.
    scale = float(np.median(inverse[measured])) if measured.any() else 1.0
    smooth = cv2.bilateralFilter(inverse, 7, 0.02 * scale, 2.0)
    smooth = np.where(measured & (smooth > 0), smooth, 0)
    step = max(1, round(camera.width / 160))
    rays = [np.ascontiguousarray(camera.rays[..., axis]) for axis in range(3)]
    far = np.maximum(smooth, 1e-9)
    points = [ray / far for ray in rays]
    down, right = ([_difference(channel, axis, step) for channel in points] for axis in (0, 1))
    normals = _cross(down, right)
    length = _length(normals)
    normals = [channel / np.maximum(length, 1e-12) for channel in normals]
    z = points[2]
    # Curvature of 1/z along the two directions: zero on a plane at any slant, large at a step.
    bend = np.zeros_like(smooth)
    valid = measured & (length > 1e-12)
    for axis in (0, 1):
        ahead, back = _shifted(smooth, axis, step)
        valid &= (ahead > 0) & (back > 0)
        bend = np.maximum(bend, np.abs(ahead + back - 2 * smooth) / far)
    valid &= bend < 0.02
    margin = step + 3  # the smoothing mirrors the image at its border
    inner = np.zeros_like(valid)
    inner[margin:-margin, margin:-margin] = True
    valid &= inner
    # Grazing rays measure poorly.
    facing = -(normals[0] * rays[0] + normals[1] * rays[1] + normals[2] * rays[2]) / _length(rays)
    away = facing < 0
    normals = np.stack([np.where(away, -channel, channel) for channel in normals], axis=-1)
    valid &= (np.abs(facing) > 0.1) & (z > 0)
    return _back_projected(inverse, camera), normals.astype(np.float32), valid


def points_of_depth(depth: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Points [H, W, 3] float32 in the camera frame, small holes closed; z = 0 where nothing is measured."""
    return _back_projected(inverse_depth(depth), camera)


def _back_projected(inverse: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    return camera.back_project(np.where(inverse > 0, 1 / np.maximum(inverse, 1e-9), 0))


def inverse_depth(depth: np.ndarray) -> np.ndarray:
    """1/z [H, W] float32, 0 where nothing is measured; small holes closed."""
    measured = (depth > 0) & np.isfinite(depth)
    depth = np.where(measured, depth, 1.0)
    return _fill_small_holes(np.where(measured, 1 / np.maximum(depth, 1e-6), 0).astype(np.float32))


def _fill_small_holes(inverse: np.ndarray, relative: float = 0.03) -> np.ndarray:
    """1/z [H, W] with holes of a few pixels closed where all measured neighbours lie on one surface.

    Depth registered to a larger colour image comes with such holes in a regular pattern.
    """
    import cv2

    measured = inverse > 0
    window = np.ones((5, 5), dtype=np.uint8)
    highest = cv2.dilate(inverse, window)
    lowest = cv2.erode(np.where(measured, inverse, np.float32(np.inf)).astype(np.float32), window)
    count = cv2.boxFilter(measured.astype(np.float32), -1, (5, 5), normalize=False)
    total = cv2.boxFilter(inverse, -1, (5, 5), normalize=False)
    closed = ~measured & (count >= 5) & (highest - lowest <= relative * highest)
    return np.where(closed, total / np.maximum(count, 1), inverse).astype(np.float32)


def depth_slopes(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth change per pixel [H, W] along u and v, the smaller of both one-sided differences.

    With them a depth is read between pixel centres without mixing across a step.
    """

    def slope(depth: np.ndarray) -> np.ndarray:  # along the last axis
        step = np.diff(depth, axis=-1)
        step = np.where((depth[..., 1:] > 0) & (depth[..., :-1] > 0), step, 0)
        edge = np.zeros((*depth.shape[:-1], 1), dtype=depth.dtype)
        forward, backward = np.concatenate([step, edge], -1), np.concatenate([edge, step], -1)
        return np.where(np.abs(forward) < np.abs(backward), forward, backward).astype(np.float32)

    return slope(image), slope(image.T).T


def depth_slopes_within(image: np.ndarray, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """The `part` [h, w] of the slopes of the whole image [H, W]: the same numbers, without the rest."""
    around = grown(part, 1)
    inner = tuple(slice(one.start - outer.start, one.stop - outer.start) for one, outer in zip(part, around))
    du, dv = depth_slopes(image[around])
    return du[inner], dv[inner]


def edge_keeping_normals(depth: np.ndarray, camera: PinholeCamera, part: Part | None = None) -> np.ndarray:
    """Unit normals [H, W, 3] toward the camera, camera frame, from z-depth [H, W]; or that part of them."""
    part = part or np.s_[0 : depth.shape[0], 0 : depth.shape[1]]
    du, dv = depth_slopes_within(depth, part)
    rays, depth = camera.rays[part], depth[part]
    along_u = rays * du[..., None]
    along_u[..., 0] += depth / camera.fx
    along_v = rays * dv[..., None]
    along_v[..., 1] += depth / camera.fy
    normals = cross(along_v, along_u)
    length = lengths(normals)[..., None]
    return np.where(length > 0, normals / np.maximum(length, 1e-20), [0.0, 0.0, -1.0])


def part_holding(mask: np.ndarray, margin: int = 0) -> Part | None:
    """The smallest part of an image that holds all pixels of `mask` [H, W], grown by `margin` pixels as far
    as the image goes; None where the mask is empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return (
        slice(max(0, rows[0] - margin), min(mask.shape[0], rows[-1] + margin + 1)),
        slice(max(0, columns[0] - margin), min(mask.shape[1], columns[-1] + margin + 1)),
    )


def grown(part: Part, margin: int) -> Part:
    """The part with `margin` more pixels on each side, where the image has them (slices end with it)."""
    rows, columns = (slice(max(0, one.start - margin), one.stop + margin) for one in part)
    return rows, columns


def _shifted(image: np.ndarray, axis: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """(image [H, W] `step` pixels ahead, and back) along an axis, the border repeated."""
    margin = [(0, 0), (0, 0)]
    margin[axis] = (step, step)
    padded = np.moveaxis(np.pad(image, margin, mode="edge"), axis, 0)
    return np.moveaxis(padded[2 * step :], 0, axis), np.moveaxis(padded[: -2 * step], 0, axis)


def _difference(image: np.ndarray, axis: int, step: int) -> np.ndarray:
    ahead, back = _shifted(image, axis, step)
    return ahead - back


def _cross(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The cross product of vectors given by their three components, each [H, W]."""
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def _length(vectors: Sequence[np.ndarray]) -> np.ndarray:
    return np.sqrt(vectors[0] ** 2 + vectors[1] ** 2 + vectors[2] ** 2)

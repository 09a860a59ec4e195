"""What a depth image says beyond depth: normals, and which pixels can be trusted."""

from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera

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
    normals /= -np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)  # toward the camera

    cosine = -(normals * rays).sum(-1) / np.linalg.norm(rays, axis=-1)
    residual = np.abs(inverse - fitted) / np.maximum(inverse, 1e-12)
    valid = enough & (cosine > _MIN_COSINE) & (residual < _MAX_RELATIVE_RESIDUAL)
    return DepthNormals(np.where(valid[..., None], normals, 0).astype(np.float32), valid)

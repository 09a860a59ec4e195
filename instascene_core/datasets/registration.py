"""Depth of another camera seen from the colour camera."""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets.fitting import same_shape
from instascene_core.errors import InputError

logger = logging.getLogger(__name__)

SLACK = 1.05  # of a depth pixel's size in the colour image, so that slanted surfaces keep few gaps
LARGEST_HALF = 4.0  # colour pixels: half of what one measurement may cover
SAME_SURFACE = 0.02  # of the inverse depth: how much four measurements of one surface may differ
MARGIN = 2.0  # pixels around the undistorted image; what lies beyond is never shown


@dataclass(frozen=True)
class DepthCamera:
    """A camera that measures depth, calibrated against a colour camera."""

    lens: LensModel
    _rays: dict = field(default_factory=dict, repr=False, compare=False)
    # The last other size of depth that came, and the camera of that size.
    _sizes: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def rays(self) -> np.ndarray:
        """Directions [H, W, 3] float32 through the pixel centres of the image as recorded, z = 1."""
        camera = self.lens.camera
        if not self.lens.is_distorted:
            return camera.rays
        if "rays" not in self._rays:
            import cv2

            matrix = opencv_matrix(self.lens)
            rows, columns = np.mgrid[: camera.height, : camera.width].astype(np.float64)
            pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)[:, None]
            coefficients = np.array(self.lens.coefficients)
            undistort = cv2.fisheye.undistortPoints if self.lens.model == "fisheye" else cv2.undistortPoints
            xy = undistort(pixels, matrix, coefficients).reshape(camera.height, camera.width, 2)
            self._rays["rays"] = np.dstack([xy, np.ones(xy.shape[:2])]).astype(np.float32)
        return self._rays["rays"]

    def _resized(self, width: int, height: int) -> "DepthCamera":
        """The camera of the same image at another size; InputError where that is no scale of its own."""
        own = self.lens.camera
        if not same_shape(own.width, own.height, width, height):
            raise InputError(
                f"The depth image is {width}×{height}, but its camera_info says {own.width}×{own.height}; "
                "publish the camera_info of this image size."
            )
        if self._sizes.get("size") != (width, height):
            logger.warning(
                "the depth images are %d×%d, their camera %d×%d; its intrinsics are scaled to the images",
                width, height, own.width, own.height,
            )  # fmt: skip
            self._sizes.update(size=(width, height), camera=DepthCamera(self.lens.resized(width, height)))
        return self._sizes["camera"]

    def seen_from(self, depth: np.ndarray, color: LensModel, color_from_depth: np.ndarray) -> np.ndarray:
        """[H, W] float32 metres in the pixels of the colour image as recorded, 0 = not measured.

        depth: [h, w] metres of this camera; color_from_depth [4, 4].  Each measurement covers the colour
        pixels whose centres lie in its own pixel; of several the nearest counts.  Where both cameras look
        from one place through lenses without distortion, depth is interpolated on surfaces instead.  Depth of
        another size is taken for this camera's image resized; InputError where it has another shape.
        """
        camera, own = color.camera, self.lens.camera
        if depth.shape != (own.height, own.width):
            return self._resized(*depth.shape[::-1]).seen_from(depth, color, color_from_depth)
        if np.array_equal(color_from_depth, np.eye(4)) and not (color.is_distorted or self.lens.is_distorted):
            return _resampled(depth, own, camera)
        result = np.full((camera.height, camera.width), np.inf, np.float32)
        rows, columns = np.nonzero(depth)
        z = depth[rows, columns]
        points = self.rays()[rows, columns] * z[:, None]
        points = points @ color_from_depth[:3, :3].T.astype(np.float32)
        points += color_from_depth[:3, 3].astype(np.float32)
        shown = _inside(points, color)
        points, z = points[shown], z[shown]
        pixels = _project(points, color)
        scale = np.array([camera.fx / self.lens.camera.fx, camera.fy / self.lens.camera.fy]) * SLACK
        half = np.minimum(0.5 * scale * (z / points[:, 2])[:, None], LARGEST_HALF)
        first = np.ceil(pixels - half - 0.5).astype(np.int64)
        last = np.ceil(pixels + half - 0.5).astype(np.int64)  # exclusive
        for dy in range(int((last - first)[:, 1].max(initial=0))):
            for dx in range(int((last - first)[:, 0].max(initial=0))):
                x, y = first[:, 0] + dx, first[:, 1] + dy
                covers = (x < last[:, 0]) & (y < last[:, 1])
                covers &= (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
                np.minimum.at(result, (y[covers], x[covers]), points[covers, 2])
        return np.where(np.isfinite(result), result, np.float32(0))


def _resampled(depth: np.ndarray, own: PinholeCamera, other: PinholeCamera) -> np.ndarray:
    """[H, W] float32: depth [h, w] of `own` in the pixels of `other` at the same place.

    Between four measurements of one surface its inverse, which is linear over a plane, is interpolated; at an
    edge or a hole the nearest measurement counts, so that nothing is a mean across an edge.
    """
    x = (np.arange(other.width) + 0.5 - other.cx) / other.fx * own.fx + own.cx - 0.5
    y = ((np.arange(other.height) + 0.5 - other.cy) / other.fy * own.fy + own.cy - 0.5)[:, None]
    seen = (x > -0.5) & (x < own.width - 0.5) & (y > -0.5) & (y < own.height - 0.5)
    x, y = np.clip(x, 0, own.width - 1), np.clip(y, 0, own.height - 1)
    column = np.minimum(x.astype(int), max(own.width - 2, 0))
    row = np.minimum(y.astype(int), max(own.height - 2, 0))
    right, below = np.minimum(column + 1, own.width - 1), np.minimum(row + 1, own.height - 1)
    with np.errstate(divide="ignore"):
        inverse = 1 / depth.astype(np.float64)
    corners = np.array([inverse[r, c] for r in (row, below) for c in (column, right)])
    u, v = x - column, y - row
    weights = np.array([(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u])
    with np.errstate(invalid="ignore"):
        smooth = corners.max(axis=0) - corners.min(axis=0) < SAME_SURFACE * corners.max(axis=0)
        between = 1 / np.where(smooth, (weights * corners).sum(axis=0), 1)
    nearest = depth[np.round(y).astype(int), np.round(x).astype(int)]
    return np.where(seen, np.where(smooth, between, nearest), 0).astype(np.float32)


def opencv_matrix(lens: LensModel) -> np.ndarray:
    """K [3, 3] with OpenCV's pixel centres, which lie at whole numbers."""
    matrix = lens.camera.matrix.copy()
    matrix[:2, 2] -= 0.5
    return matrix


def _inside(points: np.ndarray, lens: LensModel) -> np.ndarray:
    """[N] bool: which points the undistorted image shows; polynomials hold no farther out."""
    camera = lens.camera
    pixels, z = camera.project(points)
    with np.errstate(invalid="ignore"):
        near = (pixels > -MARGIN) & (pixels < np.array([camera.width, camera.height]) + MARGIN)
    return near.all(axis=1) & (z > 1e-3)


def _project(points: np.ndarray, lens: LensModel) -> np.ndarray:
    """[N, 2] pixels (centres at +0.5) of points [N, 3] in the image as recorded, distortion included."""
    if not lens.is_distorted or not len(points):
        return lens.camera.project(points)[0]
    import cv2

    zero, coefficients = np.zeros(3), np.array(lens.coefficients)
    given = points.astype(np.float64)[:, None]
    if lens.model == "fisheye":
        pixels = cv2.fisheye.projectPoints(given, zero, zero, opencv_matrix(lens), coefficients)[0]
    else:
        pixels = cv2.projectPoints(given, zero, zero, opencv_matrix(lens), coefficients)[0]
    return pixels.reshape(-1, 2) + 0.5

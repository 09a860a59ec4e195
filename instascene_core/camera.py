"""Pinhole cameras and the removal of lens distortion.

Pixel convention (COLMAP, nerfstudio, gsplat): the centre of the top-left pixel is (0.5, 0.5).
ROS and OpenCV put it at (0, 0); conversions at those borders shift the principal point by half
a pixel.  Camera axes are OpenCV: x right, y down, z forward.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from instascene_core.errors import InputError
from instascene_core.lens_formulas import FORMULAS


@dataclass(frozen=True)
class PinholeCamera:
    """An ideal camera: pixel = (fx·x/z + cx, fy·y/z + cy)."""

    width: int
    height: int
    fx: float  # pixels
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InputError(f"The camera's image size {self.width}×{self.height} is empty.")
        values = (self.fx, self.fy, self.cx, self.cy)
        if not np.isfinite(values).all() or self.fx <= 0 or self.fy <= 0:
            raise InputError(f"The camera's intrinsics fx fy cx cy = {values} are not usable.")

    @property
    def matrix(self) -> np.ndarray:
        """K [3, 3] float64."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    def scaled(self, factor: float) -> "PinholeCamera":
        """The camera of the same image resized by `factor` (sizes rounded to whole pixels)."""
        return self.resized(max(1, round(self.width * factor)), max(1, round(self.height * factor)))

    def limited(self, max_pixels: int) -> "PinholeCamera":
        """The camera of the same image resized to about `max_pixels`, or itself where it has no more."""
        pixels = self.width * self.height
        return self if pixels <= max_pixels else self.scaled((max_pixels / pixels) ** 0.5)

    def resized(self, width: int, height: int) -> "PinholeCamera":
        """The camera of the same image at another size in pixels."""
        sx, sy = width / self.width, height / self.height
        return PinholeCamera(width, height, self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy)

    def cropped(self, x0: int, y0: int, x1: int, y1: int) -> "PinholeCamera":
        """The camera of the rectangle of pixels x0 … x1 − 1, y0 … y1 − 1 of the same image.

        Raises InputError where the rectangle is empty or reaches beyond the image.
        """
        if not (0 <= x0 < x1 <= self.width and 0 <= y0 < y1 <= self.height):
            raise InputError(
                f"The rectangle x {x0} … {x1}, y {y0} … {y1} is empty or not inside the image of "
                f"{self.width}×{self.height} pixels."
            )
        return PinholeCamera(x1 - x0, y1 - y0, self.fx, self.fy, self.cx - x0, self.cy - y0)

    @property
    def rays(self) -> np.ndarray:
        """Directions [H, W, 3] float32 through the pixel centres, camera frame, with z = 1; read-only."""
        return _rays(self)

    def back_project(self, depth: np.ndarray) -> np.ndarray:
        """Points [H, W, 3] float32 in the camera frame from z-depth [H, W] in metres."""
        return self.rays * depth[..., None].astype(np.float32)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [..., 2] and z-depth [...] of camera-frame points [..., 3].

        Points at or behind the camera get NaN pixels.
        """
        z = points[..., 2]
        safe = np.where(z > 1e-9, z, np.nan)
        pixels = np.stack(
            [points[..., 0] / safe * self.fx + self.cx, points[..., 1] / safe * self.fy + self.cy], axis=-1
        )
        return pixels, z

    def shows(self, pixels: np.ndarray) -> np.ndarray:
        """[...] bool: whether pixels [..., 2] lie in the image; those that are NaN do not."""
        u, v = pixels[..., 0], pixels[..., 1]
        return (u >= 0) & (u < self.width) & (v >= 0) & (v < self.height)

    def locate(self, points: np.ndarray) -> "PixelsOfPoints":
        """The pixels that show camera-frame points [N, 3]."""
        pixels, z = self.project(points)
        with np.errstate(invalid="ignore"):
            inside = self.shows(pixels)
        column, row = np.where(inside[:, None], pixels, 0).astype(int).T
        return PixelsOfPoints(row, column, z, inside)


@dataclass(frozen=True, eq=False)
class PixelsOfPoints:
    """Where an image shows points; row and column are 0 of those that it does not."""

    row: np.ndarray  # [N] int
    column: np.ndarray  # [N] int
    z: np.ndarray  # [N] metres along the optical axis
    inside: np.ndarray  # [N] bool: before the camera and in the image


# Frames bring a camera object each, of few kinds: rays kept with the objects would outweigh the images.
@lru_cache(maxsize=8)
def _rays(camera: PinholeCamera) -> np.ndarray:
    # In float64, so that equal cameras have the same rays whatever kind of number their fields are.
    u = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    v = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    rays = np.ones((camera.height, camera.width, 3), dtype=np.float32)
    rays[..., 0], rays[..., 1] = u[None, :], v[:, None]
    rays.flags.writeable = False
    return rays


# OpenCV's coefficient order; nerfstudio and ROS use the same names.  OpenCV tells the two polynomial models
# apart by the number of coefficients alone, and so do the drivers that fill camera_info with its results.
POLYNOMIAL_SIZES = (0, 4, 5, 8, 12, 14)
DISTORTION_SIZES = {
    "none": (0,),
    "plumb_bob": POLYNOMIAL_SIZES,
    "rational_polynomial": POLYNOMIAL_SIZES,
    "fisheye": (4,),
    **{name: (formula.size,) for name, formula in FORMULAS.items()},
}
# Of the longer side of the image: what no lens goes beyond, neither fisheye (whose f stays about 0.3) nor
# telescope; cut-outs of an image have their principal point far outside.
SHORTEST_FOCAL, LONGEST_FOCAL, FARTHEST_CENTER = 0.05, 1000.0, 100.0
OUTSIDE = -1e4  # a pixel that no image has
RADIUS_STEPS = 4096  # between the optical axis and the farthest corner, to find where a lens model folds back


@dataclass(frozen=True)
class LensModel:
    """A camera as calibrated: pinhole plus distortion, and the map that removes the latter."""

    camera: PinholeCamera
    model: str = "none"  # a key of DISTORTION_SIZES (`equidistant` is ROS' name for fisheye)
    # OpenCV order: k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tx ty]]]], fisheye k1..k4; others: `lens_formulas`
    coefficients: tuple[float, ...] = ()
    _maps: dict = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        model = {"equidistant": "fisheye", "": "none"}.get(self.model, self.model)
        object.__setattr__(self, "model", model)
        if model not in DISTORTION_SIZES:
            known = ", ".join(DISTORTION_SIZES)
            raise InputError(f"Unknown distortion model '{self.model}'; known are {known}.")
        if model != "none" and len(self.coefficients) not in DISTORTION_SIZES[model]:
            raise InputError(
                f"Distortion model '{model}' takes {DISTORTION_SIZES[model]} coefficients, "
                f"got {len(self.coefficients)}."
            )
        if not np.isfinite(self.coefficients).all():
            raise InputError("The distortion coefficients contain NaN or infinity.")
        _require_of_a_lens(self.camera)

    @property
    def is_distorted(self) -> bool:
        # A fisheye without coefficients still bends lines: its radius is the angle, not the tangent.
        return self.model in ("fisheye", *FORMULAS) or any(c != 0 for c in self.coefficients)

    def resized(self, width: int, height: int) -> "LensModel":
        """The lens of the same image at another size in pixels: coefficients do not depend on it."""
        return LensModel(self.camera.resized(width, height), self.model, self.coefficients)

    def undistort(self, image: np.ndarray, interpolate: bool = True) -> np.ndarray:
        """`image` [H, W, ...] as the pinhole `camera` would have seen it.

        interpolate=False takes the nearest pixel: for depth and labels, whose values must not mix.
        Pixels outside the source become 0.
        """
        if not self.is_distorted:
            return image
        import cv2

        maps = self._undistortion_maps()
        dtype = image.dtype
        if dtype == np.int32:  # cv2.remap has no int32; float64 holds it exactly
            image = image.astype(np.float64)
        if not interpolate:
            return cv2.remap(image, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT).astype(dtype)
        # Replicated, so that the pixels along the border are not mixed with black.
        result = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(dtype)
        result[~self.valid_pixels()] = 0
        return result

    def valid_pixels(self) -> np.ndarray:
        """[H, W] bool: which pixels of the undistorted image come from inside the source image.

        InputError where there are none.
        """
        if "valid" not in self._maps:
            inside = np.ones((self.camera.height, self.camera.width), dtype=np.uint8)
            self._maps["valid"] = self.undistort(inside, interpolate=False) > 0
            if not self._maps["valid"].any():
                raise InputError(
                    f"With the distortion coefficients {self.coefficients} ({self.model}) the lens would "
                    "show nothing at all; check the calibration."
                )
        return self._maps["valid"]

    def _undistortion_maps(self) -> tuple[np.ndarray, np.ndarray]:
        import cv2

        if "maps" not in self._maps:
            matrix = self.camera.matrix.copy()
            matrix[:2, 2] -= 0.5  # OpenCV's pixel centres
            coefficients = np.array(self.coefficients, dtype=np.float64)
            size = (self.camera.width, self.camera.height)
            if self.model == "fisheye":
                args = (matrix, coefficients, np.eye(3), matrix, size, cv2.CV_32FC1)
                self._maps["maps"] = cv2.fisheye.initUndistortRectifyMap(*args)
            elif self.model in FORMULAS:
                seen = FORMULAS[self.model].distorted(self.camera.rays[..., :2], self.coefficients)
                pixels = seen * (self.camera.fx, self.camera.fy) + matrix[:2, 2]
                x, y = np.where(np.isfinite(pixels), pixels, OUTSIDE).astype(np.float32).transpose(2, 0, 1)
                self._maps["maps"] = np.ascontiguousarray(x), np.ascontiguousarray(y)
            else:
                args = (matrix, coefficients, None, matrix, size, cv2.CV_32FC1)
                self._maps["maps"] = cv2.initUndistortRectifyMap(*args)
            radius = self._largest_radius()
            if np.isfinite(radius):
                folded = np.linalg.norm(self.camera.rays[..., :2], axis=2) > radius
                for pixels in self._maps["maps"]:
                    pixels[folded] = OUTSIDE
        return self._maps["maps"]

    def _largest_radius(self) -> float:
        """Up to which distance from the axis (in the plane z = 1) the distorted radius grows with it.

        Beyond it the polynomial, which was fitted to what the sensor sees, folds back into the image and
        would show things twice.
        """
        c = self.camera
        corner = np.hypot(max(c.cx, c.width - c.cx) / c.fx, max(c.cy, c.height - c.cy) / c.fy)
        r = np.linspace(0, 1.01 * corner, RADIUS_STEPS)
        k = self.coefficients
        if self.model == "fisheye":
            angle = np.arctan(r)
            seen = angle * (1 + sum(k[i] * angle ** (2 * i + 2) for i in range(4)))
        elif self.model in FORMULAS:
            with np.errstate(invalid="ignore", divide="ignore"):
                seen = FORMULAS[self.model].radial(r, k)
        else:
            k = (*k, *[0.0] * (14 - len(k)))
            seen = r * (1 + k[0] * r**2 + k[1] * r**4 + k[4] * r**6)
            seen /= 1 + k[5] * r**2 + k[6] * r**4 + k[7] * r**6
        falling = np.flatnonzero(~(np.diff(seen) > 0))
        return float(r[falling[0]]) if len(falling) else np.inf


def _require_of_a_lens(camera: PinholeCamera) -> None:
    """InputError for intrinsics that no camera has: of another unit (millimetres, degrees), or made up."""
    side = max(camera.width, camera.height)
    focal = np.array([camera.fx, camera.fy]) / side
    center = np.array([camera.cx, camera.cy]) / side
    if (focal < SHORTEST_FOCAL).any() or (focal > LONGEST_FOCAL).any():
        what = f"a focal length of {camera.fx:.6g}, {camera.fy:.6g} pixels"
    elif (np.abs(center) > FARTHEST_CENTER).any():
        what = f"a principal point at {camera.cx:.6g}, {camera.cy:.6g} pixels"
    else:
        return
    raise InputError(
        f"No camera whose images are {camera.width}×{camera.height} has {what}; check the calibration and "
        "its unit."
    )

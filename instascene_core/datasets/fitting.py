"""Images of another size than the camera says: depth lifted to the colour's grid, cameras resized."""

import numpy as np

from instascene_core.camera import LensModel
from instascene_core.datasets.lifting import lift_depth
from instascene_core.datasets.remarks import Remarks
from instascene_core.errors import InputError
from instascene_core.images import resize

MAX_FITTED = 16  # lenses at the size of images, with their maps of 8 bytes a pixel
FARTHEST_M = 10_000.0  # no camera measures depth beyond; larger values are errors of the recording
NO_MEASUREMENT = (
    "depth values (negative, infinite or beyond 10 km)"  # zero and NaN are the usual marks for none
)


def same_shape(width: int, height: int, other_width: int, other_height: int) -> bool:
    """Whether one size is the other one scaled, up to one pixel of the smaller for rounding."""
    (w, h), (large_w, large_h) = sorted([(width, height), (other_width, other_height)])
    return min(w, h) > 0 and h <= large_h and abs(h * large_w - w * large_h) <= max(large_w, large_h)


def fit_lens(lens: LensModel, width: int, height: int, remarks: Remarks) -> LensModel:
    """`lens` for images of width×height: resized where these are the calibrated ones at another scale.

    Other sizes are left to the check that refuses them.
    """
    camera = lens.camera
    if (camera.width, camera.height) == (width, height):
        return lens
    if not same_shape(camera.width, camera.height, width, height):
        return lens
    remarks.say(
        f"the images are {width}×{height}, their camera {camera.width}×{camera.height}; "
        "its intrinsics are scaled to the images"
    )
    return lens.resized(width, height)


class FittedLenses:
    """Calibrated lenses at the sizes of the images that are read; frames that share a lens share its maps.

    The newest MAX_FITTED are kept: a camera that focuses has another lens with every image.
    """

    def __init__(self, remarks: Remarks) -> None:
        self._remarks = remarks
        self._fitted: dict[tuple, LensModel] = {}  # by (calibrated lens, width, height of the image)

    def at(self, lens: LensModel, rgb: np.ndarray) -> LensModel:
        """`fit_lens` for the image `rgb` [H, W, 3]."""
        key = (lens, rgb.shape[1], rgb.shape[0])
        if key not in self._fitted:
            if len(self._fitted) >= MAX_FITTED:
                del self._fitted[next(iter(self._fitted))]
            self._fitted[key] = fit_lens(*key, self._remarks)
        return self._fitted[key]


def fit_depth(
    depth: np.ndarray, rgb: np.ndarray, what: str, remarks: Remarks | None = None, shift: float = 0.0
) -> np.ndarray:
    """`depth` [h, w] at the pixels of `rgb` [H, W, 3]: lifted, or the nearest where there are fewer of them.

    shift: see `lift_depth`.

    Raises InputError where it is not the same view at another resolution; `what` names it.
    """
    (h, w), (height, width) = depth.shape, rgb.shape[:2]
    if (h, w) == (height, width):
        return depth
    if not same_shape(width, height, w, h):
        raise InputError(
            f"The {what} is {w}×{h}, the colour image {width}×{height}: not the same view at another "
            "resolution; register the depth to the colour image."
        )
    if remarks is not None:
        remarks.say(f"the depth is {w}×{h}, the colour {width}×{height}; it is lifted to the colour's grid")
    if w > width or min(h, w) < 2:
        return resize(depth, width, height, smooth=False)
    return lift_depth(depth, rgb, shift)


def measured(depth: np.ndarray) -> tuple[np.ndarray, int]:
    """([H, W] float32 metres with 0 for no measurement, how many values no sensor can have measured).

    Zero and NaN are sensors' usual marks for no measurement and not counted.
    """
    with np.errstate(invalid="ignore"):
        good = (depth > 0) & (depth <= FARTHEST_M)
    if good.all():
        return depth.astype(np.float32, copy=False), 0
    bad = np.count_nonzero(~good & (depth != 0) & ~np.isnan(depth))
    return np.where(good, depth, 0).astype(np.float32), int(bad)

"""Pixels to ignore, such as those of a gripper that is in every view: nothing may be made of them."""

from dataclasses import dataclass

import numpy as np

from instascene_core.camera import LensModel
from instascene_core.errors import InputError


@dataclass(frozen=True)
class Visible:
    """Which pixels of an undistorted image show the scene."""

    valid: np.ndarray | None  # [H, W] bool; None = all
    hidden: np.ndarray | None  # [H, W] bool: inside the source image but to be ignored; None = none

    def depth(self, depth: np.ndarray | None) -> np.ndarray | None:
        """Depth, labels or normals [H, W, ...] with 0 where pixels are hidden."""
        if depth is None or self.hidden is None:
            return depth
        result = depth.copy()
        result[self.hidden] = 0
        return result

    def colors(self, rgb: np.ndarray) -> np.ndarray:
        """`rgb` [H, W, 3] with the colour of the nearest other pixel where pixels are hidden.

        A segmenter sees whole images: what is hidden must not draw a border into them.
        """
        if self.hidden is None or self.hidden.all() or self.valid is None or not self.valid.any():
            return rgb
        import cv2

        away = (~self.valid).astype(np.uint8)
        _, nearest = cv2.distanceTransformWithLabels(
            away, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        nearest = nearest.astype(np.int64)
        source = np.zeros(int(nearest.max()) + 1, dtype=np.int64)
        source[nearest[self.valid]] = np.flatnonzero(self.valid)
        result = rgb.copy()
        result[self.hidden] = rgb.reshape(-1, 3)[source[nearest[self.hidden]]]
        return result


def visible(lens: LensModel, kept: np.ndarray | None) -> Visible:
    """What the undistorted image shows; kept: [H, W] bool of the image as it came, None = every pixel."""
    inside = lens.valid_pixels() if lens.is_distorted else None
    if kept is None:
        return Visible(None if inside is None or inside.all() else inside, None)
    shown = lens.undistort(kept.astype(np.uint8), interpolate=False) > 0
    hidden = ~shown if inside is None else ~shown & inside
    valid = shown if inside is None else shown & inside
    return Visible(None if valid.all() else valid, hidden if hidden.any() else None)


def both_kept(kept: np.ndarray | None, always: np.ndarray) -> np.ndarray:
    """[H, W] bool: what a frame keeps of the pixels that every frame keeps; InputError where sizes differ."""
    if kept is not None and kept.shape != always.shape:
        raise InputError(
            f"The image of pixels to ignore is {always.shape[1]}×{always.shape[0]}, a frame's own is "
            f"{kept.shape[1]}×{kept.shape[0]}; make them of one size."
        )
    return always if kept is None else kept & always

"""Arrays of pixels: at another size, and whether they show anything."""

import numpy as np

BLANK = 2  # grey levels (standard deviation): an image with less shows nothing


def resize(image: np.ndarray, width: int, height: int, smooth: bool) -> np.ndarray:
    """`image` [H, W, ...] at another size: area means (linear when growing), or the nearest pixel."""
    if smooth:
        import cv2

        growing = width > image.shape[1]
        return cv2.resize(
            image, (width, height), interpolation=cv2.INTER_LINEAR if growing else cv2.INTER_AREA
        )
    rows = ((np.arange(height) + 0.5) * image.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * image.shape[1] / width).astype(int)
    return image[rows[:, None], columns]


def is_blank(rgb: np.ndarray, valid: np.ndarray | None = None) -> bool:
    """Whether an image [H, W, 3] uint8 shows nothing but one colour, where it is `valid` [H, W] bool."""
    pixels = rgb.reshape(-1, 3) if valid is None else rgb[valid]
    return not pixels.size or float(pixels.mean(axis=1).std()) < BLANK

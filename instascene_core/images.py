"""Arrays of pixels at another size."""

import numpy as np


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

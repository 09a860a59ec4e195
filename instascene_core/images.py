"""Arrays of pixels: at another size, and whether they show anything."""

import numpy as np

_LOOKED_AT = 320  # pixels: width from which an image's sharpness is judged
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


def sharpness(rgb: np.ndarray) -> np.ndarray:
    """[2]: how much of the finest detail along rows and along columns is in an image [H, W, 3] uint8.

    The strongest structures (95 % quantile) of one octave over those of the next coarser one, so that what
    the image shows hardly matters: blur takes the fine ones first, and motion those along its way.  Looked
    at from 320 pixels of width: what is blurred by less is of use.  0 for an image of one colour.
    """
    import cv2

    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    height, width = gray.shape
    if width > _LOOKED_AT:
        gray = resize(gray, _LOOKED_AT, max(1, round(height * _LOOKED_AT / width)), smooth=True)
    gray, found = gray.astype(np.float32), []
    for turned in (gray, gray.T):
        fine, middle, coarse = (
            cv2.GaussianBlur(turned, (8 * sigma + 1, 1), sigmaX=sigma) for sigma in (1, 2, 4)
        )
        above, below = (np.quantile(np.abs(band), 0.95) for band in (fine - middle, middle - coarse))
        found.append(above / below if below > 0 else 0.0)
    return np.array(found)

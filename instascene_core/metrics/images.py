"""How close two images are."""

import numpy as np


def psnr(image: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB of two images of equal shape, uint8 or float in [0, 1].

    mask: [H, W] bool, the pixels that count.  Infinite for equal images.
    """
    a, b = _unit(image), _unit(reference)
    if a.shape != b.shape:
        raise ValueError(f"images of shape {a.shape} and {b.shape} cannot be compared")
    squared = (a - b) ** 2
    mean = squared.mean() if mask is None else squared[mask].mean()
    return float(-10 * np.log10(mean)) if mean > 0 else float("inf")


def ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """Mean structural similarity of two images [H, W(, C)] (Wang et al. 2004).

    Gaussian window σ = 1.5 over 11×11 pixels, K1 = 0.01, K2 = 0.03, population covariances; the mean
    is over the pixels whose window lies inside the image, and over channels.
    """
    from scipy.ndimage import gaussian_filter

    a, b = _unit(image), _unit(reference)
    if a.shape != b.shape or min(a.shape[:2]) < 11:
        raise ValueError(f"images of shape {a.shape} and {b.shape} cannot be compared by 11×11 windows")

    def blur(values: np.ndarray) -> np.ndarray:
        sigma = (1.5, 1.5) + (0.0,) * (values.ndim - 2)
        return gaussian_filter(values, sigma, radius=(5, 5) + (0,) * (values.ndim - 2))

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    quality = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    quality /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(quality[5:-5, 5:-5].mean())


def _unit(image: np.ndarray) -> np.ndarray:
    """float64 in [0, 1]."""
    return image / 255.0 if image.dtype == np.uint8 else image.astype(np.float64)

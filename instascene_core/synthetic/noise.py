"""What a depth camera does to exact depth: cheap models of single errors; `sensors` has whole cameras."""

from collections.abc import Callable

import numpy as np

from instascene_core.errors import InputError


def exact(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Depth as it is."""
    return depth


def millimetre(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rounded to whole millimetres, as most drivers deliver it."""
    return (np.round(depth * 1000) / 1000).astype(np.float32)


def kinect(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A structured-light camera: lateral and axial noise, 1/8 px disparity steps, holes at edges.

    Axial standard deviation 1.2 mm + 1.9 mm/m²·(z − 0.4 m)² and lateral 0.8 px (Nguyen, Izadi and
    Lovell 2012, "Modeling Kinect sensor noise"); disparity from a 75 mm baseline and 580 px focal length.
    """
    height, width = depth.shape
    rows, columns = np.mgrid[:height, :width]
    rows = np.clip(np.round(rows + rng.normal(0, 0.8, depth.shape)), 0, height - 1).astype(int)
    columns = np.clip(np.round(columns + rng.normal(0, 0.8, depth.shape)), 0, width - 1).astype(int)
    noisy = depth[rows, columns].astype(np.float64)
    valid = noisy > 0
    sigma = 0.0012 + 0.0019 * (noisy - 0.4) ** 2
    noisy = noisy + sigma * rng.standard_normal(depth.shape)
    baseline_focal = 0.075 * 580.0  # metres · pixels of the sensor itself
    disparity = np.round(8 * baseline_focal / np.maximum(noisy, 0.1)) / 8
    noisy = np.where(valid, baseline_focal / np.maximum(disparity, 1e-6), 0)
    # No measurement where the projector's pattern tears: beside depth steps.
    holes = beside_steps(depth) & (rng.uniform(size=depth.shape) < 0.6)
    return np.where(holes, 0, noisy).astype(np.float32)


def beside_steps(depth: np.ndarray) -> np.ndarray:
    """[H, W] bool: pixels left and right of a step of 2 cm + 2 %."""
    step = np.zeros(depth.shape, dtype=bool)
    jump = np.abs(np.diff(depth, axis=1)) > 0.02 + 0.02 * depth[:, 1:]
    step[:, 1:] |= jump
    step[:, :-1] |= jump
    return step


def splat(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Depth rendered from a scene of Gaussians: edges smeared over pixels, creases round, slow bumps."""
    import cv2

    inverse = np.where(depth > 0, 1 / np.maximum(depth, 1e-6), 0).astype(np.float32)
    weight = (depth > 0).astype(np.float32)
    sigma = float(rng.uniform(0.6, 2.0))
    smooth = cv2.GaussianBlur(inverse, (0, 0), sigma) / np.maximum(
        cv2.GaussianBlur(weight, (0, 0), sigma), 1e-6
    )
    for size, strength in ((2.0, 0.002), (7.0, 0.005)):
        field = cv2.GaussianBlur(rng.standard_normal(depth.shape).astype(np.float32), (0, 0), size)
        smooth *= 1 + rng.uniform(0, strength) * field / max(float(field.std()), 1e-9)
    return np.where(depth > 0, 1 / np.maximum(smooth, 1e-6), 0).astype(np.float32)


DEPTH_NOISES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "none": exact,
    "millimetre": millimetre,
    "kinect": kinect,
    "splat": splat,
}


def depth_noise(name: str) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """The noise of that name; InputError names the known ones."""
    if name not in DEPTH_NOISES:
        raise InputError(f"There is no depth noise '{name}'; known: {', '.join(DEPTH_NOISES)}.")
    return DEPTH_NOISES[name]

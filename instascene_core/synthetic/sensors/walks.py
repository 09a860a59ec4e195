"""Smooth random walks: what drifts in the course of a recording."""

import numpy as np


def smooth_walk(rng: np.random.Generator, count: int, channels: int, smoothness: float) -> np.ndarray:
    """[count, channels] float64: integrated noise, smooth over `smoothness` frames, that starts at 0.

    Each channel is scaled so that its largest value is between 0.5 and 1 in size (0 where count is 1).
    """
    import cv2

    steps = rng.standard_normal((count, channels))
    walk = cv2.GaussianBlur(
        np.cumsum(steps, axis=0), (1, 0), sigmaX=0.1, sigmaY=smoothness, borderType=cv2.BORDER_REPLICATE
    )
    walk -= walk[:1]
    largest = np.abs(walk).max(axis=0)
    return walk / np.maximum(largest, 1e-9) * rng.uniform(0.5, 1.0, channels)

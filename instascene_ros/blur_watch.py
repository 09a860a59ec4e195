"""Frames that a camera in motion has blurred."""

from collections import deque

import numpy as np

from instascene_core.images import sharpness

NEWEST = 8  # images of a camera that the next one is held against
FIRST = 3  # of them from which on that says something
SHARPER = 0.75  # quantile of their sharpness: a camera that moves fast for a while does not set the measure


class BlurWatch:
    """Holds each image against the sharper ones of those before it, by camera.

    min_sharpness: of theirs, along rows or columns, below which an image is blurred; 0 lets everything pass
    (what 0.8 leaves out: docs/ros/tuning.md).
    """

    def __init__(self, min_sharpness: float) -> None:
        self.min_sharpness = min_sharpness
        self._before: dict[str, deque[np.ndarray]] = {}

    def is_blurred(self, rgb: np.ndarray, camera: str) -> bool:
        """rgb: [H, W, 3] uint8; camera: any name that tells it from the others."""
        if self.min_sharpness <= 0:
            return False
        before = self._before.setdefault(camera, deque(maxlen=NEWEST))
        now = sharpness(rgb)
        sharp = np.quantile(before, SHARPER, axis=0) if len(before) >= FIRST else np.zeros(2)
        before.append(now)
        return bool((now < self.min_sharpness * sharp).any())

    def clear(self) -> None:
        """What comes now is of another scene."""
        self._before.clear()

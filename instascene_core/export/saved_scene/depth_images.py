"""Depth as 16-bit images in steps of a common unit."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from instascene_core.files import write_image

_STEPS = 65535  # of a 16-bit image


def depth_unit(depths: Iterable[np.ndarray | None]) -> float:
    """Metres a step such that the largest depth just fits: 0.1 mm at 6.5 m; 1 where there is no depth."""
    return max((float(depth.max()) for depth in depths if depth is not None), default=0.0) / _STEPS or 1.0


def write_depth(path: Path, depth: np.ndarray, unit: float) -> None:
    """Write depth [H, W] in metres, rounded to steps of `unit` metres; 0 = none."""
    write_image(path, np.round(depth.astype(np.float64) / unit).astype(np.uint16))

"""How far apart two depths of the same pixels lie, as a function of the depth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.frame import Frame

Render = Callable[[Frame], np.ndarray]  # frame → depth [H, W] of the Gaussians, metres; 0 = none

_MAD = 1.4826  # median absolute deviation of a normal distribution → standard deviation


@dataclass(frozen=True)
class DepthNoise:
    """Standard deviation of a depth, over the depth: between the bins linear."""

    depths: np.ndarray  # [B] metres, rising
    deviations: np.ndarray  # [B] metres

    def at(self, depth: np.ndarray) -> np.ndarray:
        """Metres, of depths of any shape."""
        return np.interp(depth, self.depths, self.deviations)


def equal_bins(depths: np.ndarray, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """([B] median depth, B times [P] bool what is in it): up to `count` bins of about as many depths [P]."""
    borders = np.quantile(depths, np.linspace(0, 1, count + 1))
    held = np.clip(np.searchsorted(borders, depths, side="right") - 1, 0, count - 1)
    bins = [held == k for k in range(count) if (held == k).any()]
    return np.array([np.median(depths[inside]) for inside in bins]), bins


def spread(errors: np.ndarray, bins: Sequence[np.ndarray]) -> np.ndarray:
    """[B] standard deviation of absolute errors [P] in each of the bins [P] bool; NaN where none is known."""
    known = [errors[inside & ~np.isnan(errors)] for inside in bins]
    return np.array([_MAD * np.median(some) if len(some) else np.nan for some in known])


def evenly_spread(count: int, limit: int) -> np.ndarray:
    """[min(count, limit)] of the indices 0 … count − 1, evenly spaced: frames that noise is measured on."""
    return np.linspace(0, count - 1, min(count, limit)).round().astype(int)


def footprint(depth: np.ndarray, frame: Frame) -> np.ndarray:
    """Metres that a pixel of the frame shows at `depth` (metres, any shape)."""
    return depth / np.sqrt(frame.camera.fx * frame.camera.fy)

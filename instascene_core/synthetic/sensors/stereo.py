"""Intel RealSense D435: active infrared stereo."""

from dataclasses import dataclass

import numpy as np

from instascene_core.synthetic.sensors.depth import DepthSensor, DepthState, Range
from instascene_core.synthetic.sensors.fields import (
    blobs,
    contrast,
    facing,
    fatten,
    grey,
    inverse_of,
    odd,
    shadowed,
)
from instascene_core.synthetic.sensors.materials import Seen


@dataclass(frozen=True)
class D435(DepthSensor):
    """All errors are made in disparity; "pixel" means one of the sensor's own 640 × 480 image.

    Baseline, focal length, minimum range and 0.08 px of noise on a good wall: Intel's datasheet 337029 and
    "Tuning depth cameras for best performance" (Grunnet-Jepsen et al.).  Bending and holes: the size people
    measure who calibrate used cameras on a flat wall (1 … 2 % at 1 m).
    """

    min_range: float = 0.175  # m at 640 × 480
    max_range: float = 6.0  # m
    bend: Range = (0.15, 0.42)  # pixels: 0.5 … 1.4 cm at 0.8 m
    bend_drift: float = 0.06  # pixels: 2 mm at 0.8 m
    noise: Range = (0.08, 0.15)  # pixels: 2.7 … 5 mm at 0.8 m
    edge: Range = (1.0, 4.0)  # pixels that the foreground grows
    registration_m: Range = (0.0005, 0.002)  # m: colour and depth are calibrated at the factory, and age
    registration_degrees: Range = (0.05, 0.2)  # degrees: half a pixel to two of the sensor
    baseline: float = 0.05  # m
    focal: float = 385.0  # pixels
    window: float = 7.0  # pixels: side of the matching window
    subpixel: float = 1 / 32  # pixels: step of the disparity
    fine_share: float = 0.8  # share of the noise within a window; the rest are bumps three windows wide
    enough_contrast: float = 0.025  # of full brightness within a window: matches without the projector
    grazing_cosine: float = 0.2  # more grazing than this (78°), windows do not match

    def _measure(
        self, depth: np.ndarray, seen: Seen, state: DepthState, rng: np.random.Generator, moment: float
    ) -> np.ndarray:
        shape = depth.shape
        scale = float(seen.camera.fx) / self.focal  # image pixels a pixel of the sensor
        exact = inverse_of(depth)
        # The window snaps to the foreground more here, less there.
        reach = scale * state.edge * np.clip(0.8 + 0.4 * blobs(rng, shape, 3 * scale), 0, 1.25)
        inverse = fatten(exact, reach, int(np.ceil(1.25 * scale * state.edge)), 0.03)
        hidden = shadowed(inverse * (self.baseline * float(seen.camera.fx)))

        weakness = self._weakness(depth, seen, state, rng, scale)
        fine = blobs(rng, shape, self.window * scale / 3.5)
        wide = blobs(rng, shape, self.window * scale)
        noise = self.fine_share**0.5 * fine + (1 - self.fine_share) ** 0.5 * wide
        noise *= state.noise * (1 + np.clip(weakness, 0, 1))  # weak matches are worse before they are dropped
        disparity = inverse * (self.baseline * self.focal) + noise + state.bend.at(moment, shape)
        disparity = np.round(disparity / self.subpixel) * self.subpixel
        measured = self.baseline * self.focal / np.maximum(disparity, 1e-3)

        grazing = facing(exact, seen.camera) < self.grazing_cosine * (1 + 0.3 * wide)
        lost = hidden | (weakness > 1) | grazing | (inverse == 0)
        return np.where(lost, 0, measured)

    def _weakness(
        self, depth: np.ndarray, seen: Seen, state: DepthState, rng: np.random.Generator, scale: float
    ) -> np.ndarray:
        """[H, W] how little there is to match, > 1 = no match: no print, and weak dots."""
        brightness = grey(seen.rgb)
        print_ = contrast(brightness, odd(self.window * scale)) / self.enough_contrast
        # The dots fade with distance, on dark surfaces and toward the corners of the image.
        x, y = seen.camera.rays[0, :, 0], seen.camera.rays[:, 0, 1][:, None]
        dots = np.sqrt(brightness + 0.02) / ((0.8 + 0.15 * depth * depth) * (1 + 0.5 * (x * x + y * y)))
        chance = blobs(rng, depth.shape, 6 * scale)
        return 0.75 + 0.5 * state.holes - 0.4 * print_ - 0.9 * dots + 0.2 * chance

"""A time-of-flight camera, as Kinect v2 and Azure Kinect."""

from dataclasses import dataclass

import numpy as np

from instascene_core.synthetic.sensors.depth import DepthSensor, DepthState, Range
from instascene_core.synthetic.sensors.fields import blobs, facing, grey, inverse_of
from instascene_core.synthetic.sensors.materials import Seen


@dataclass(frozen=True)
class TimeOfFlight(DepthSensor):
    """Noise and wiggling by Lachat et al. 2015 and Sarbolandi et al. 2015 ("Kinect range sensing"); rounded
    corners by multipath: centimetres (Fuchs 2010, "Multipath interference compensation").
    """

    min_range: float = 0.25  # m
    max_range: float = 5.5  # m
    bend: Range = (0.001, 0.004)  # m
    bend_drift: float = 0.0005  # m
    noise: Range = (0.0008, 0.0014)  # m at 1 m on a surface of half brightness
    edge: Range = (1.0, 2.0)  # image pixels at 320: width of the band in which depths of two surfaces mix
    wiggle: float = 0.003  # m
    wiggle_period: float = 0.47  # m: a quarter of half the wave of 80 MHz
    multipath: float = 0.025  # m around a concave corner that light takes round it
    multipath_gain: float = 0.8  # of the corner's rounding
    scatter: float = 0.2  # share of that beside depth steps
    step_bend: float = 0.02  # m within a pixel's neighbours: more is a step
    dark_reflectance: float = 0.04  # darker surfaces than this return nothing beyond 3 m
    grazing_cosine: float = 0.12

    def _measure(
        self, depth: np.ndarray, seen: Seen, state: DepthState, rng: np.random.Generator, moment: float
    ) -> np.ndarray:
        shape = depth.shape
        valid = depth > 0
        reflectance = np.maximum(grey(seen.rgb), 0.02)
        rounded = self._round_corners(depth, seen.camera.fx)
        mixed, flying = self._mix_edges(rounded, state.edge * shape[1] / 320, rng)
        phase = 2 * np.pi * mixed / self.wiggle_period
        sigma = state.noise * np.square(mixed) * np.sqrt(0.5 / reflectance)
        sigma = np.maximum(sigma, 0.3 * state.noise)
        noise = 0.8 * rng.standard_normal(shape, dtype=np.float32) + 0.6 * blobs(rng, shape, 1.0)
        measured = mixed + self.wiggle * np.sin(phase) + state.bend.at(moment, shape) + sigma * noise
        wide = blobs(rng, shape, 3.0)
        grazing = facing(inverse_of(depth), seen.camera) < self.grazing_cosine * (1 + 0.3 * wide)
        weak = reflectance < self.dark_reflectance * (1 + state.holes) * (1 + 0.3 * wide) * mixed / 3
        # Drivers drop most, not all, of the pixels that fly between two surfaces.
        dropped = flying & (rng.random(shape, dtype=np.float32) < 0.3 + 0.4 * state.holes)
        return np.where(valid & ~grazing & ~weak & ~dropped, measured, 0)

    def _round_corners(self, depth: np.ndarray, focal: float) -> np.ndarray:
        """Depth [H, W] with concave corners filled, and their surroundings deeper."""
        import cv2

        if not (depth > 0).any():
            return depth
        sigma = self.multipath * focal / float(np.median(depth[depth > 0])) / 2
        # In inverse depth, in which planes are straight; at a quarter of the size, the kernel is wide.
        exact, size = inverse_of(depth), depth.shape[::-1]
        small = (max(1, size[0] // 4), max(1, size[1] // 4))

        def widen(image: np.ndarray) -> np.ndarray:
            blurred = cv2.GaussianBlur(
                cv2.resize(image, small, interpolation=cv2.INTER_AREA), (0, 0), sigma / 4
            )
            return cv2.resize(blurred, size, interpolation=cv2.INTER_LINEAR)

        mean = widen(exact) / np.maximum(widen((depth > 0).astype(np.float32)), 1e-3)
        deeper = np.clip(depth - 1 / np.maximum(mean, 1e-3), 0, self.multipath)
        # Beside a step from one thing to another is no corner, only a little light scattered in the lens.
        bend = np.abs(cv2.Laplacian(exact, cv2.CV_32F)) * depth * depth
        reach = 2 * max(1, round(1.5 * sigma)) + 1
        step = cv2.dilate((bend > self.step_bend).astype(np.uint8), np.ones((reach, reach), np.uint8))
        deeper = np.where(step > 0, self.scatter, np.float32(1)) * deeper
        rounded = depth + self.multipath_gain * (widen(deeper) - deeper)
        return np.where(depth > 0, rounded, 0).astype(np.float32)

    def _mix_edges(
        self, depth: np.ndarray, width: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Depth [H, W] in which pixels at edges lie between the two surfaces, and which do [H, W] bool."""
        import cv2

        kernel = np.ones((odd_width := 2 * max(1, round(width / 2)) + 1, odd_width), np.uint8)
        far = cv2.dilate(depth, kernel)
        near = cv2.erode(np.where(depth > 0, depth, np.float32(1e3)), kernel)
        edge = (far - near > 0.02 + 0.03 * near) & (depth > 0)
        # The light of both returns to a pixel: weights change from pixel to pixel.
        weight = np.clip(0.5 + 0.35 * rng.standard_normal(depth.shape, dtype=np.float32), 0, 1)
        own = (depth - near) / np.maximum(far - near, 1e-6)
        mixed = near + np.clip(own + (weight - own) * 0.6, 0, 1) * (far - near)
        return np.where(edge, mixed, depth).astype(np.float32), edge

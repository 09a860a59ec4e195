"""Kinect of the first kind: structured light."""

from dataclasses import dataclass

import numpy as np

from instascene_core.synthetic.noise import beside_steps
from instascene_core.synthetic.sensors.depth import DepthSensor, DepthState, Range
from instascene_core.synthetic.sensors.fields import blobs, facing, grey, inverse_of, shadowed
from instascene_core.synthetic.sensors.materials import Seen


@dataclass(frozen=True)
class Kinect(DepthSensor):
    """Noise along and across the ray by Nguyen, Izadi and Lovell 2012 ("Modeling Kinect sensor noise");
    baseline, focal length and steps by Khoshelham and Elberink 2012 ("Accuracy and resolution of Kinect
    depth data").  "Pixel" means one of the sensor's own 640 × 480 image.
    """

    min_range: float = 0.4  # m: the near mode
    max_range: float = 4.5  # m
    bend: Range = (0.1, 0.3)  # pixels of disparity: 1.5 … 4.4 mm at 0.8 m
    bend_drift: float = 0.03  # pixels
    noise: Range = (0.9, 1.2)  # times the published size, 1.2 mm + 1.9 mm/m² · (z − 0.4 m)²
    edge: Range = (0.6, 1.0)  # pixels: standard deviation across the ray
    baseline: float = 0.075  # m
    focal: float = 580.0  # pixels
    subpixel: float = 1 / 8  # pixels: step of the disparity
    torn: float = 0.6  # chance of a hole beside a depth step, where the pattern tears
    dark: float = 0.05  # of full brightness: darker surfaces return too little
    grazing_cosine: float = 0.2

    def _measure(
        self, depth: np.ndarray, seen: Seen, state: DepthState, rng: np.random.Generator, moment: float
    ) -> np.ndarray:
        shape = depth.shape
        height, width = shape
        across = state.edge * float(seen.camera.fx) / self.focal
        shifts = np.rint(across * rng.standard_normal((2, *shape), dtype=np.float32)).astype(np.int32)
        rows = np.clip(np.arange(height)[:, None] + shifts[0], 0, height - 1)
        columns = np.clip(np.arange(width) + shifts[1], 0, width - 1)
        noisy = depth[rows, columns]
        sigma = state.noise * (0.0012 + 0.0019 * (noisy - 0.4) ** 2)
        noisy = np.where(noisy > 0, noisy + sigma * rng.standard_normal(shape, dtype=np.float32), 0)
        disparity = inverse_of(noisy) * (self.baseline * self.focal) + state.bend.at(moment, shape)
        disparity = np.round(disparity / self.subpixel) * self.subpixel
        measured = self.baseline * self.focal / np.maximum(disparity, 1e-3)

        exact = inverse_of(depth)
        wide = blobs(rng, shape, 3.0)
        weak = grey(seen.rgb) < self.dark * (1 + 2 * state.holes) * (1 + 0.3 * wide)
        grazing = facing(exact, seen.camera) < self.grazing_cosine * (1 + 0.3 * wide)
        torn = beside_steps(depth) & (rng.random(shape, dtype=np.float32) < self.torn)
        hidden = shadowed(exact * (self.baseline * float(seen.camera.fx)))
        return np.where(weak | grazing | torn | hidden | (noisy <= 0), 0, measured)

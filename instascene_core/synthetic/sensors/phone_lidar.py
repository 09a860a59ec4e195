"""The LiDAR of a phone, as ARKit's depth map delivers it."""

from dataclasses import dataclass

import numpy as np

from instascene_core.synthetic.sensors.depth import DepthSensor, DepthState, Range
from instascene_core.synthetic.sensors.fields import blobs
from instascene_core.synthetic.sensors.materials import Seen


@dataclass(frozen=True)
class PhoneLidar(DepthSensor):
    """A map of 256 × 192 for the whole field of view, itself guessed between some 600 points and the
    colours, enlarged to the image.  About 1 cm, 1 % (Luetzenburg et al. 2021, "Evaluation of the Apple iPhone
    12 Pro LiDAR"); the map's size: Apple's documentation of ARDepthData.
    """

    min_range: float = 0.2  # m
    max_range: float = 5.0  # m
    bend: Range = (0.005, 0.01)  # share of the depth
    bend_drift: float = 0.003  # share of the depth
    noise: Range = (0.001, 0.003)  # share of the depth, in bumps of `bump` cells
    edge: Range = (1.0, 2.0)  # cells: standard deviation of the smoothing
    registration_m: Range = (0.0, 0.001)  # m: calibrated at the factory
    registration_degrees: Range = (0.0, 0.1)
    bump: float = 8.0  # cells
    columns: int = 256  # cells over the image's width; as many rows as keep cells square (192 at 4 : 3)
    hole_share: float = 0.01  # of the area at most

    def _measure(
        self, depth: np.ndarray, seen: Seen, state: DepthState, rng: np.random.Generator, moment: float
    ) -> np.ndarray:
        import cv2

        height, width = depth.shape
        columns, rows = self.columns, max(1, round(self.columns * height / width))
        valid = (depth > 0).astype(np.float32)
        cells = cv2.resize(depth, (columns, rows), interpolation=cv2.INTER_AREA)
        weight = cv2.resize(valid, (columns, rows), interpolation=cv2.INTER_AREA)
        smooth = cv2.GaussianBlur(cells, (0, 0), state.edge)
        smooth /= np.maximum(cv2.GaussianBlur(weight, (0, 0), state.edge), 1e-3)
        smooth *= 1 + state.noise * blobs(rng, (rows, columns), self.bump)
        smooth *= 1 + state.bend.at(moment, (rows, columns))
        measured = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
        spots = blobs(rng, (rows, columns), 3.0)
        empty = (weight < 0.5) | (spots > np.quantile(spots, 1 - self.hole_share * state.holes))
        empty = cv2.resize(empty.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        return np.where(empty > 0, 0, measured)

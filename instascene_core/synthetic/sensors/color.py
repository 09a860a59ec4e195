"""What a colour camera on the move does to its image."""

from dataclasses import dataclass

import numpy as np

from instascene_core.synthetic.render import Motion
from instascene_core.synthetic.sensors.depth import Range, random_direction
from instascene_core.synthetic.sensors.walks import smooth_walk


@dataclass(frozen=True)
class ColorState:
    """What changes slowly, or stays, through a recording of N frames."""

    gains: np.ndarray  # [N, 3] factors of red, green, blue
    motions: tuple[Motion, ...]  # one a frame
    electrons: float  # at full brightness
    quality: int  # of the JPEG


@dataclass(frozen=True)
class ColorErrors:
    """Sizes for the colour camera of an RGB-D module or a phone, indoors."""

    exposure: float = 0.15  # share by which brightness drifts at most, up or down
    white_balance: float = 0.05  # share by which red and blue drift against green at most
    smoothness: float = 4.0  # frames
    electrons: Range = (3000.0, 9000.0)  # at full brightness: 1 … 2 % shot noise
    read_noise: float = 0.004  # of full brightness: 1 of 255
    speed: Range = (0.05, 0.3)  # m/s: a robot's arm or a calm hand
    turning: Range = (5.0, 30.0)  # degrees/s
    exposure_s: Range = (0.008, 0.020)  # s
    readout_s: Range = (0.015, 0.030)  # s from the first row to the last
    quality: Range = (80.0, 95.0)  # JPEG

    def draw_state(self, count: int, rng: np.random.Generator) -> ColorState:
        """The state of one recording of `count` frames."""
        walk = smooth_walk(rng, count, 3, self.smoothness)
        gains = np.exp(np.log1p(self.exposure) * walk[:, :1]) * np.ones(3)
        gains[:, [0, 2]] *= np.exp(np.log1p(self.white_balance) * walk[:, 1:])
        exposure, readout = rng.uniform(*self.exposure_s), rng.uniform(*self.readout_s)
        motions = tuple(
            Motion(
                rng.uniform(*self.speed) * random_direction(rng),
                np.radians(rng.uniform(*self.turning)) * random_direction(rng),
                exposure,
                readout,
            )
            for _ in range(count)
        )
        return ColorState(gains, motions, rng.uniform(*self.electrons), round(rng.uniform(*self.quality)))

    def measure(self, rgb: np.ndarray, state: ColorState, index: int, rng: np.random.Generator) -> np.ndarray:
        """The image [H, W, 3] uint8 of frame `index` as the file has it; motion is in `rgb` already."""
        import cv2

        light = rgb.astype(np.float32) / 255 * state.gains[index].astype(np.float32)
        sigma = np.sqrt(light / np.float32(state.electrons) + np.float32(self.read_noise) ** 2)
        light += sigma * rng.standard_normal(rgb.shape, dtype=np.float32)
        image = np.clip(np.round(light * 255), 0, 255).astype(np.uint8)
        done, code = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, state.quality])
        if not done:
            raise RuntimeError("OpenCV cannot encode JPEG.")
        decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
        return np.ascontiguousarray(np.asarray(decoded)[..., ::-1])

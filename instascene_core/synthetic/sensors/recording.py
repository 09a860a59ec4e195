"""A sensor on its way through one scene: what is drawn once, so that frames may be asked for in any order."""

from dataclasses import dataclass, field

import numpy as np

from instascene_core.synthetic.render import Motion
from instascene_core.synthetic.sensors.color import ColorErrors, ColorState
from instascene_core.synthetic.sensors.depth import DepthSensor, DepthState
from instascene_core.synthetic.sensors.materials import Seen
from instascene_core.synthetic.sensors.poses import PoseErrors


@dataclass(frozen=True)
class Sensor:
    """A camera with all it gets wrong."""

    depth: DepthSensor
    color: ColorErrors = field(default_factory=ColorErrors)
    poses: PoseErrors = field(default_factory=PoseErrors)

    def record(self, poses: np.ndarray, seed: int) -> "Recording":
        """The recording along the true `world_from_camera` [N, 4, 4]; the same bits for the same seed."""
        return Recording(
            sensor=self,
            seed=seed,
            depth=self.depth.draw_state(np.random.default_rng([seed, 10])),
            color=self.color.draw_state(len(poses), np.random.default_rng([seed, 11])),
            poses=self.poses.reported(poses, np.random.default_rng([seed, 12])),
        )


@dataclass(frozen=True)
class Recording:
    """What a sensor has through one recording of N frames."""

    sensor: Sensor
    seed: int
    depth: DepthState
    color: ColorState
    poses: np.ndarray  # [N, 4, 4] world_from_camera as reported

    def motion(self, index: int) -> Motion:
        """How the camera moves while it takes frame `index`."""
        return self.color.motions[index]

    def measure(self, index: int, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        """(colour [H, W, 3] uint8, depth [H, W] float32 m) of frame `index`, 0 = no measurement."""
        rng = np.random.default_rng([self.seed, 13, index])
        depth = self.sensor.depth.measure_depth(seen, self.depth, rng, index)
        return self.sensor.color.measure(seen.rgb, self.color, index, rng), depth

"""How the poses that come with the frames differ from the true ones."""

from dataclasses import dataclass

import numpy as np

from instascene_core.synthetic.sensors.depth import Range, random_offset
from instascene_core.synthetic.sensors.walks import smooth_walk


@dataclass(frozen=True)
class PoseErrors:
    """Sizes for a camera on a robot's arm whose calibration is a little off, located by SLAM."""

    hand_eye_m: Range = (0.001, 0.003)  # m: constant in the camera's frame
    hand_eye_degrees: Range = (0.1, 0.3)
    base_m: Range = (0.0005, 0.0015)  # m: constant in the world's frame
    base_degrees: Range = (0.03, 0.1)
    drift_m: Range = (0.002, 0.005)  # m: largest slow drift of a recording, along each axis
    drift_degrees: Range = (0.1, 0.25)  # about each axis
    smoothness: float = 3.0  # frames
    white_m: float = 0.0003  # m: standard deviation from frame to frame, along each axis
    white_degrees: float = 0.02

    def reported(self, poses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """`world_from_camera` [N, 4, 4] as a recording has them, from the true `poses` [N, 4, 4]."""
        from scipy.spatial.transform import Rotation

        count = len(poses)
        base = random_offset(rng, self.base_m, self.base_degrees)
        hand_eye = random_offset(rng, self.hand_eye_m, self.hand_eye_degrees)
        walk = smooth_walk(rng, count, 6, self.smoothness)
        metres, degrees = rng.uniform(*self.drift_m), rng.uniform(*self.drift_degrees)
        white = rng.standard_normal((count, 6))
        # In the camera's frame: a turn about the far origin of the world would also shift the camera.
        drift = np.tile(np.eye(4), (count, 1, 1))
        turns = np.radians(degrees * walk[:, 3:] + self.white_degrees * white[:, 3:])
        drift[:, :3, :3] = Rotation.from_rotvec(turns).as_matrix()
        drift[:, :3, 3] = metres * walk[:, :3] + self.white_m * white[:, :3]
        return base @ poses @ drift @ hand_eye

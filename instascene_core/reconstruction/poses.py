"""Camera poses refined along with the scene: a small motion of every frame, held to the given pose.

On a robot, hand-eye calibration and joint encoders leave poses that are some pixels off.  The images say by
how much: the loss is differentiated by the pose, and the pose steps downhill beside the Gaussians.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from instascene_core.rendering.view import SurfaceImages

_BETAS = (0.8, 0.98)  # of each frame, visited some ten to a hundred times; of all frames together
_EPSILON = 1e-12


@dataclass(frozen=True)
class PoseRates:
    """How fast poses may move and how strongly they are held."""

    rotation: float = 4e-3  # radians a step at the start
    translation: float = 6e-3  # of the scene's scale a step at the start
    prior: float = 50.0  # ½·prior·(angle² + (shift / scale)²) is added to each frame's loss


class PoseRefiner:
    """Poses [F, 4, 4] that follow gradients, one frame at a time, by momentum on SE(3).

    A step is a twist in the camera's own frame about the point `scale` ahead on its axis, where the scene is:
    about the camera's centre, turning and shifting would show the same in the image, and the steps would
    crawl along the valley between the two.  As in Adam, steps are divided by the root mean square of the
    gradients, but over all frames and axes: a frame whose pose is better than others' moves less, and so does
    a direction in which the image hardly changes.
    With `fix_gauge`, the mean motion of all frames stays zero: the world the poses were given in stays in
    place, as moving every camera and the scene alike changes no image.
    """

    def __init__(
        self, given: np.ndarray, scale: float, rates: PoseRates | None = None, fix_gauge: bool = True
    ) -> None:
        self._given = np.array(given, dtype=np.float64)  # [F, 4, 4]
        self._poses = self._given.copy()
        self._scale = scale  # world units: typical depth of the scene
        self._rates = rates or PoseRates()
        self._fix_gauge = fix_gauge
        n = len(self._given)
        self._first, self._second = np.zeros((n, 2, 3)), np.zeros((2, 1))
        self._steps = 0

    @property
    def world_from_camera(self) -> np.ndarray:
        """[F, 4, 4] float64, as refined so far."""
        return self._poses.copy()

    def pose(self, index: int) -> np.ndarray:
        """[4, 4] float64 of frame `index`."""
        return self._poses[index]

    def step(self, index: int, gradient: torch.Tensor, share: float = 1.0) -> None:
        """Move frame `index` against dL/d world_from_camera [4, 4], at `share` of the learning rates."""
        twist = self._twist_gradient(index, gradient.numpy().astype(np.float64)) + self._pull(index)
        self._steps += 1
        first = self._first[index]
        first += (1 - _BETAS[0]) * (twist - first)
        self._second += (1 - _BETAS[1]) * ((twist**2).mean(axis=1, keepdims=True) - self._second)
        root = np.sqrt(self._second / (1 - _BETAS[1] ** self._steps))
        rates = np.array([[self._rates.rotation], [self._rates.translation]])
        rotation, shift = -share * rates * first / (root + _EPSILON)
        pose = self._poses[index]
        rotated = pose[:3, :3] @ Rotation.from_rotvec(rotation).as_matrix()
        pose[:3, 3] += self._scale * (pose[:3, :3] @ shift + pose[:3, 2] - rotated[:, 2])
        pose[:3, :3] = _orthonormal(rotated)
        if self._fix_gauge:
            self._remove_mean_motion()

    def _twist_gradient(self, index: int, gradient: np.ndarray) -> np.ndarray:
        """[2, 3] dL/d(rotation, shift / scale) of a motion in the camera's frame."""
        rotation = self._poses[index, :3, :3]
        m = rotation.T @ gradient[:3, :3]
        by_rotation = np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
        by_shift = self._scale * (rotation.T @ gradient[:3, 3])
        # Turning about (0, 0, scale) by ω also shifts the centre by −ω × (0, 0, scale).
        by_rotation -= np.cross([0, 0, 1], by_shift)
        return np.stack([by_rotation, by_shift])

    def _pull(self, index: int) -> np.ndarray:
        """[2, 3] gradient of the prior."""
        return self._rates.prior * self._motion(index)

    def _motion(self, index: int) -> np.ndarray:
        """[2, 3] how far the pose has come from the given one: rotation; shift of the point ahead / scale."""
        given, pose = self._given[index], self._poses[index]
        rotation = Rotation.from_matrix(given[:3, :3].T @ pose[:3, :3]).as_rotvec()
        ahead = pose[:3, 3] - given[:3, 3] + self._scale * (pose[:3, 2] - given[:3, 2])
        return np.stack([rotation, pose[:3, :3].T @ ahead / self._scale])

    def image_motion(self) -> float:
        """How far refinement has moved the images' centres, over the focal length: median of the frames."""
        return float(np.median([np.linalg.norm(self._motion(i)[1, :2]) for i in range(len(self._poses))]))

    def _remove_mean_motion(self) -> None:
        turns = self._poses[:, :3, :3] @ self._given[:, :3, :3].transpose(0, 2, 1)
        back = Rotation.from_rotvec(-Rotation.from_matrix(turns).as_rotvec().mean(axis=0)).as_matrix()
        centre = self._given[:, :3, 3].mean(axis=0)
        self._poses[:, :3, :3] = back @ self._poses[:, :3, :3]
        # Turned about the mean of the given centres, and the mean of the centres put back there.
        arms = (self._poses[:, :3, 3] - self._poses[:, :3, 3].mean(axis=0)) @ back.T
        given = self._given[:, :3, 3] - centre
        growth = (given * (arms - given)).sum() / ((given**2).sum() + len(arms) * (0.1 * self._scale) ** 2)
        self._poses[:, :3, 3] = centre + arms - growth * given


def add_normal_torque(
    images: SurfaceImages, gradients: SurfaceImages, world_from_camera: np.ndarray, gradient: torch.Tensor
) -> None:
    """Add to `gradient` [4, 4] what the kernel does not see: the pose turns the normals compared with.

    Normal consistency and prior, −w·n·(R m), depend on R = `world_from_camera` also directly.
    `gradients.normal` is −w·(R m), so the torque is the sum of its cross products with the rendered n.
    """
    cross = torch.linalg.cross(gradients.normal.reshape(-1, 3), images.normal.reshape(-1, 3))
    x, y, z = cross.sum(dim=0).tolist()
    skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    gradient[:3, :3] += 0.5 * skew @ torch.from_numpy(world_from_camera[:3, :3]).float()


def _orthonormal(rotation: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(rotation)
    return u @ vt

"""A plane of the scene seen head on: what its Gaussians show there, and where there is none."""

from dataclasses import dataclass

import numpy as np
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.gaussians import GaussianModel
from instascene_core.geometry import Plane
from instascene_core.rendering import rasterize

FAR = 20.0  # longest sides of the image that the camera is away: what is near the plane stays at its place


@dataclass(frozen=True)
class HeadOn:
    """A camera whose image is parallel to a plane, so that all its pixels are of one size on it."""

    plane: Plane
    axes: np.ndarray  # [3, 3] columns: the image's right and up, and the plane's normal
    low: np.ndarray  # [2] metres along the first two axes: the image's lower left corner
    pixel: float  # metres
    camera: PinholeCamera
    world_from_camera: np.ndarray  # [4, 4]

    @classmethod
    def over(
        cls, plane: Plane, axes: np.ndarray, places: np.ndarray, margin: float, pixel: float, max_side: int
    ) -> "HeadOn":
        """The view of `places` [K, 3] on the plane and `margin` metres around them; a pixel is larger than
        `pixel` metres where the image had more than `max_side` of them along a side."""
        flat = places @ axes[:, :2]
        low, high = flat.min(axis=0) - margin, flat.max(axis=0) + margin
        pixel = max(pixel, float((high - low).max()) / max_side)
        width, height = np.maximum(1, np.ceil((high - low) / pixel)).astype(int)
        distance = FAR * pixel * max(width, height)
        focal = distance / pixel
        camera = PinholeCamera(int(width), int(height), focal, focal, width / 2, height / 2)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([axes[:, 0], -axes[:, 1], -axes[:, 2]], axis=1)
        center = low + pixel * np.array([width, height]) / 2
        pose[:3, 3] = axes[:, :2] @ center + (plane.offset + distance) * axes[:, 2]
        return cls(plane, axes, low, pixel, camera, pose)

    @property
    def places(self) -> np.ndarray:
        """[H, W, 3] world points: where the pixels' centres meet the plane."""
        height, width = self.camera.height, self.camera.width
        u = self.low[0] + self.pixel * (np.arange(width) + 0.5)
        v = self.low[1] + self.pixel * (height - np.arange(height) - 0.5)
        grid = np.stack(np.broadcast_arrays(u[None, :], v[:, None]), axis=-1)
        return grid @ self.axes[:, :2].T + self.plane.offset * self.axes[:, 2]

    def pixels_of(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and columns [K] of the pixels that points [K, 3] lie over, and which [K] lie in the image."""
        flat = (points @ self.axes[:, :2] - self.low) / self.pixel
        column = np.floor(flat[:, 0]).astype(np.int64)
        row = self.camera.height - 1 - np.floor(flat[:, 1]).astype(np.int64)
        inside = (column >= 0) & (row >= 0) & (column < self.camera.width) & (row < self.camera.height)
        return np.where(inside, row, 0), np.where(inside, column, 0), inside

    def rendered(self, gaussians: GaussianModel) -> tuple[np.ndarray, np.ndarray]:
        """Colours [H, W, 3] in [0, 1] without what depends on the direction of view, as far as they cover,
        and cover [H, W] in [0, 1], of some Gaussians alone."""
        if not len(gaussians):
            shape = (self.camera.height, self.camera.width)
            return np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32)
        with torch.no_grad():
            shown = rasterize(without_view_dependence(gaussians), self.camera, self.world_from_camera)
        alpha = shown.alpha.numpy()
        color = shown.color.numpy() / np.maximum(alpha, 1e-6)[..., None]
        return np.clip(color, 0, 1), alpha


def without_view_dependence(gaussians: GaussianModel) -> GaussianModel:
    """The same Gaussians with their base colours alone."""
    return GaussianModel(
        gaussians.means, gaussians.quaternions, gaussians.log_scales, gaussians.logit_opacities,
        gaussians.sh[:, :1],
    )  # fmt: skip


def plane_axes(plane: Plane, along: np.ndarray | None = None) -> np.ndarray:
    """[3, 3] rotation whose columns are two directions in the plane and its normal.

    along: [3] direction in the plane that the first one takes.
    """
    normal = plane.normal / np.linalg.norm(plane.normal)
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin()]) if along is None else along
    first = first - (first @ normal) * normal
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first), normal], axis=1)


def main_direction(image: np.ndarray, known: np.ndarray) -> float:
    """Angle (radians, from the image's right toward its up) along which the known pixels change least; 0
    where they do not change.

    image: [H, W, 3]; known: [H, W] bool.
    """
    both = known[1:, 1:] & known[1:, :-1] & known[:-1, 1:]
    du = (image[1:, 1:] - image[1:, :-1])[both].ravel()
    dv = -(image[1:, 1:] - image[:-1, 1:])[both].ravel()  # rows go down
    # The structure tensor's smaller eigenvector.
    values, vectors = np.linalg.eigh(np.array([[du @ du, du @ dv], [du @ dv, dv @ dv]], dtype=np.float64))
    return float(np.arctan2(vectors[1, 0], vectors[0, 0])) if values[1] > 0 else 0.0

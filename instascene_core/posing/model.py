"""A mapped model as plain values."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from instascene_core.camera import LensModel
from instascene_core.datasets.colmap import lens_from_colmap
from instascene_core.transforms import inverse, require_rigid


@dataclass(frozen=True)
class MappedImages:
    """Registered images and the points that they see, in one world whose unit is not known at first."""

    names: tuple[str, ...]  # file names, in order
    lenses: tuple[LensModel, ...]  # one an image, pixel centres at +0.5
    poses: np.ndarray  # [N, 4, 4] float64 world_from_camera, OpenCV camera axes
    points: np.ndarray  # [P, 3] float64
    seen: tuple[np.ndarray, ...]  # per image [K] int, indices of the points in it
    pixels: tuple[np.ndarray, ...]  # per image [K, 2] float64, where it sees them (as recorded)

    def moved(self, scale: float, rotation: np.ndarray, translation: np.ndarray) -> "MappedImages":
        """The same with x → scale · rotation · x + translation: [3, 3], [3] in the new unit."""
        poses = self.poses.copy()
        poses[:, :3, :3] = rotation @ self.poses[:, :3, :3]
        poses[:, :3, 3] = scale * self.poses[:, :3, 3] @ rotation.T + translation
        return replace(self, poses=poses, points=scale * self.points @ rotation.T + translation)

    def depths(self, index: int) -> np.ndarray:
        """[K] z of the points that image `index` sees, along its optical axis."""
        camera_from_world = inverse(self.poses[index])
        return self.points[self.seen[index]] @ camera_from_world[2, :3] + camera_from_world[2, 3]


def mapped_images(reconstruction: Any) -> MappedImages:
    """Plain values of a `pycolmap.Reconstruction`, images by name."""
    images = sorted((i for i in reconstruction.images.values() if i.has_pose), key=lambda i: i.name)
    lenses = {key: lens_from_colmap(camera) for key, camera in reconstruction.cameras.items()}
    order = {key: place for place, key in enumerate(reconstruction.points3D)}
    seen, pixels = [], []
    for image in images:
        observed = [p for p in image.points2D if p.has_point3D()]
        seen.append(np.array([order[p.point3D_id] for p in observed], dtype=np.int64))
        pixels.append(np.array([p.xy for p in observed], dtype=np.float64).reshape(-1, 2))
    matrices = [require_rigid(i.cam_from_world().matrix(), f"The pose of '{i.name}'") for i in images]
    points = np.array([p.xyz for p in reconstruction.points3D.values()], dtype=np.float64).reshape(-1, 3)
    return MappedImages(
        names=tuple(i.name for i in images),
        lenses=tuple(lenses[i.camera_id] for i in images),
        poses=inverse(np.stack(matrices)),
        points=points,
        seen=tuple(seen),
        pixels=tuple(pixels),
    )

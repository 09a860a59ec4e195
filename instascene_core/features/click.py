"""What one click hits: the feature rendered at a pixel, or what is at a point (InstaScene section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.config import ClickConfig
from instascene_core.errors import InputError
from instascene_core.features.surface import Surface

if TYPE_CHECKING:
    from instascene_core.gaussians import GaussianModel

# How far the renderer draws a disk, with some to spare; both only decide what is traced.
DISK_REACH = 4.0  # standard deviations; the renderer draws a little over 3
FILTER_PIXELS = 4.0  # its screen filter makes small disks this wide at most


@dataclass(frozen=True)
class Click:
    """What was clicked."""

    gaussian: int
    point: np.ndarray  # [3] metres, world frame
    feature: np.ndarray  # [D] unit
    label: int  # InstanceId that most of the clicked surface belongs to, or UNLABELLED


def click_pixel(
    surface: Surface,
    gaussians: GaussianModel,
    camera: PinholeCamera,
    world_from_camera: np.ndarray,
    pixel: tuple[int, int],
    labels: np.ndarray,
    config: ClickConfig,
) -> Click:
    """The surface at a pixel (column, row): its rendered feature, traced through that pixel only.

    surface: of these Gaussians; labels: [N] int32 InstanceId of each, or UNLABELLED.  Raises InputError
    outside the image and where nothing is reconstructed.
    """
    import torch

    from instascene_core.rendering.trace import trace

    column, row = pixel
    if not (0 <= column < camera.width and 0 <= row < camera.height):
        raise InputError(
            f"The pixel ({column}, {row}) lies outside the image of {camera.width}×{camera.height}."
        )
    one = PinholeCamera(1, 1, camera.fx, camera.fy, camera.cx - column, camera.cy - row)
    near = find_near_ray(surface.means, surface.radii, one, world_from_camera)
    ray = trace(gaussians.select(torch.from_numpy(near)), one, world_from_camera)
    shown = near[ray.indices]
    if ray.weights.sum() < config.min_coverage:
        raise InputError(f"Nothing is reconstructed at pixel ({column}, {row}); click on a surface.")
    # The front Gaussian: where the summed weight reaches a half, as for the median depth.
    front = int(shown[np.searchsorted(np.cumsum(ray.weights), 0.5 * ray.weights.sum())])
    direction = world_from_camera[:3, :3] @ one.rays[0, 0].astype(np.float64)
    disk = gaussians.select(torch.tensor([front])).detached()
    origin, normal = world_from_camera[:3, 3], disk.normals[0].numpy().astype(np.float64)
    mean = disk.means[0].numpy().astype(np.float64)
    facing = direction @ normal
    along = direction if abs(facing) > 1e-3 else normal  # a disk seen edge-on has no intersection
    point = origin + direction * ((mean - origin) @ normal / facing) if along is direction else mean
    feature = ray.weights @ gaussians.require_features()[torch.from_numpy(shown)].detach().numpy()
    return Click(front, point, _normalised(feature), _majority_label(labels[shown], ray.weights))


def find_near_ray(
    means: np.ndarray, radii: np.ndarray, camera: PinholeCamera, world_from_camera: np.ndarray
) -> np.ndarray:
    """[K] int64, ascending: the Gaussians that may show in a camera of one pixel, and a few more.

    means, radii: of a `Surface`.
    """
    pose = np.linalg.inv(world_from_camera).astype(np.float32)
    # Depth along the line of sight, and how far from the ray across it: x − ray_x · z and y − ray_y · z.
    ray_x, ray_y, _ = camera.rays[0, 0]
    across = pose[:2] - np.array([[ray_x], [ray_y]], np.float32) * pose[2]  # [2, 4]
    x, y = (means @ row[:3] + row[3] for row in across)
    z = means @ pose[2, :3] + pose[2, 3]
    reach = DISK_REACH * radii + np.float32(FILTER_PIXELS / min(camera.fx, camera.fy)) * z
    slant = 1.0 + ray_x**2 + ray_y**2  # a disk tilted along the line of sight reaches further
    near = (z > -reach) & (x * x + y * y <= slant * np.maximum(reach, 0) ** 2)
    return np.flatnonzero(near)


def click_point(surface: Surface, point: np.ndarray, labels: np.ndarray, config: ClickConfig) -> Click:
    """The surface at a point [3] (metres, world frame); InputError where there is none near it."""
    point = np.asarray(point, dtype=np.float64)
    if not np.isfinite(point).all():
        raise InputError("The clicked point contains NaN or infinity.")
    distance, index = surface.tree.query(point, k=min(config.neighbours, len(surface.means)))
    distance, index = np.atleast_1d(distance), np.atleast_1d(index)
    if distance[0] > config.max_point_spacings * surface.spacing:
        raise InputError(
            f"The clicked point is {distance[0]:.3f} m from the nearest surface; click on a surface."
        )
    weights = np.exp(-0.5 * ((distance - distance[0]) / surface.spacing) ** 2)
    feature = weights @ surface.features[index]
    return Click(int(index[0]), point, _normalised(feature), _majority_label(labels[index], weights))


def _normalised(vector: np.ndarray) -> np.ndarray:
    return (vector / max(float(np.linalg.norm(vector)), 1e-8)).astype(np.float32)


def _majority_label(labels: np.ndarray, weights: np.ndarray) -> int:
    """The label with the largest summed weight, the smaller of equals."""
    names, index = np.unique(labels, return_inverse=True)
    return int(names[np.bincount(index, weights).argmax()])

"""Frames made ready for training: a pyramid of resolutions, tensors on demand."""

from dataclasses import dataclass

import numpy as np
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel

_EDGE_SPREAD = 0.02  # relative spread of inverse depth above which a coarse pixel straddles an edge


@dataclass(frozen=True)
class View:
    """One frame at one resolution."""

    camera: PinholeCamera
    world_from_camera: np.ndarray  # [4, 4]
    rgb: torch.Tensor  # [H, W, 3] uint8
    depth: torch.Tensor | None  # [H, W] float32, 0 = no measurement
    trust: torch.Tensor | None  # [H, W] float32 ≥ 0: weight of the depth
    valid: torch.Tensor | None  # [H, W] bool: pixels that show something; None = all
    normals: torch.Tensor | None = None  # [H, W, 3] float32, towards the camera in its axes, 0 = unknown

    def color(self) -> torch.Tensor:
        """[H, W, 3] float32 in [0, 1] (made when asked for: uint8 is a quarter of the memory)."""
        return self.rgb.float() / 255

    def to(self, device: torch.device) -> "View":
        """The same view with its images on `device`."""
        optional = (self.depth, self.trust, self.valid, self.normals)
        moved = (None if image is None else image.to(device) for image in optional)
        return View(self.camera, self.world_from_camera, self.rgb.to(device), *moved)


def scale_view(frame: Frame, factor: float, reference_depth: float) -> View:
    """`frame` resized by `factor` ≤ 1.

    Depth is averaged as inverse depth (exact on planes) where the coarse pixel lies on one surface.
    Its trust falls with the square of the distance beyond `reference_depth`, as triangulating
    sensors' noise grows so.
    """
    import cv2

    camera = frame.camera if factor >= 1 else frame.camera.scaled(factor)
    size = (camera.width, camera.height)

    def shrink(image: np.ndarray) -> np.ndarray:
        return image if factor >= 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    rgb = torch.from_numpy(np.ascontiguousarray(shrink(frame.rgb)))
    valid = None
    if frame.valid is not None:  # a coarse pixel counts where it is made of valid ones only
        valid = torch.from_numpy(shrink(frame.valid.astype(np.float32)) > 0.999)
    normals = None
    if frame.normals is not None:
        mean = shrink(frame.normals)
        length = np.linalg.norm(mean, axis=2, keepdims=True)
        # Of a coarse pixel over an edge, or partly unknown, nothing is said.
        normals = torch.from_numpy(np.where(length > 0.9, mean / np.maximum(length, 1e-6), 0))
    if frame.depth is None:
        return View(camera, frame.world_from_camera, rgb, None, None, valid, normals)
    measured = np.isfinite(frame.depth) & (frame.depth > 0)
    inverse = np.where(measured, 1 / np.where(measured, frame.depth, 1), 0)
    share, mean, square = (shrink(a.astype(np.float64)) for a in (measured, inverse, inverse**2))
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    good = (share > 0.999) & (spread < _EDGE_SPREAD * mean)
    depth = np.where(good, 1 / np.where(good, mean, 1), 0).astype(np.float32)
    trust = np.minimum(1, reference_depth / np.maximum(depth, 1e-9)) ** 2
    return View(
        camera,
        frame.world_from_camera,
        rgb,
        torch.from_numpy(depth),
        torch.from_numpy((trust * good).astype(np.float32)),
        valid,
        normals,
    )


def typical_depth(gaussians: GaussianModel, frames: list[Frame]) -> float:
    """Median depth of the Gaussians in front of the cameras: the scene's size as the cameras see it."""
    means = gaussians.means.detach().cpu().numpy().astype(np.float64)
    means = means[:: max(1, len(means) // 5000)]
    depths = []
    for frame in frames[:: max(1, len(frames) // 30)]:
        pixels, z = frame.camera.project(
            (means - frame.world_from_camera[:3, 3]) @ frame.world_from_camera[:3, :3]
        )
        inside = (z > 0) & (pixels > 0).all(-1) & (pixels < [frame.camera.width, frame.camera.height]).all(-1)
        depths.append(z[inside])
    depths = np.concatenate(depths)
    if not len(depths):
        raise InputError(
            "No camera sees the initial Gaussians; check that poses and depth share one frame and unit."
        )
    return float(np.median(depths))

"""One view to render and the images it becomes: what the kernel and the GPU path share."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.rendering.library import Images, Scene, num_threads, pointer

NEAR_PLANE = 0.01  # metres; Gaussians whose centre is nearer are not drawn


@dataclass
class RasterView:
    """What one view is rendered from: float32, contiguous, all on one device."""

    means: torch.Tensor  # [N, 3]
    quaternions: torch.Tensor  # [N, 4]
    log_scales: torch.Tensor  # [N, 2]
    logit_opacities: torch.Tensor  # [N]
    colors: torch.Tensor  # [N, C]
    world_from_camera: torch.Tensor  # [4, 4]
    camera: PinholeCamera
    background: torch.Tensor | None = None  # [C]
    near: float = NEAR_PLANE

    def scene(self) -> Scene:
        """The kernel's view of the tensors; valid while this object lives."""
        camera = self.camera
        scene = Scene(
            len(self.means), self.colors.shape[1], camera.width, camera.height, num_threads(),
            camera.fx, camera.fy, camera.cx, camera.cy, self.near,
        )  # fmt: skip
        scene.world_from_camera[:] = self.world_from_camera[:3].flatten().tolist()
        scene.means, scene.quaternions = pointer(self.means), pointer(self.quaternions)
        scene.log_scales, scene.logit_opacities = pointer(self.log_scales), pointer(self.logit_opacities)
        scene.colors, scene.background = pointer(self.colors), pointer(self.background)
        return scene


@dataclass
class RasterImages:
    """The six images of RenderResult."""

    color: torch.Tensor  # [H, W, C]
    alpha: torch.Tensor  # [H, W]
    depth: torch.Tensor  # [H, W]
    median_depth: torch.Tensor | None  # [H, W]; None where it was not asked for
    normal: torch.Tensor  # [H, W, 3]
    distortion: torch.Tensor | None  # [H, W]; None where it was not asked for

    @classmethod
    def empty(cls, camera: PinholeCamera, channels: int) -> "RasterImages":
        """Uninitialised images, to be filled (and refilled) by `forward`."""
        shape = (camera.height, camera.width)
        plain = [torch.empty(shape) for _ in range(4)]
        return cls(
            torch.empty((*shape, channels)), plain[0], plain[1], plain[2], torch.empty((*shape, 3)), plain[3]
        )

    def pointers(self) -> Images:
        return image_pointers(
            self.color, self.alpha, self.depth, self.median_depth, self.normal, self.distortion
        )


@dataclass
class ImageGradients:
    """Gradients of a loss by the six images, shaped like them."""

    color: torch.Tensor  # [H, W, C]
    alpha: torch.Tensor  # [H, W]
    depth: torch.Tensor  # [H, W]
    median_depth: torch.Tensor  # [H, W]
    normal: torch.Tensor  # [H, W, 3]
    distortion: torch.Tensor  # [H, W]

    @classmethod
    def zeros(
        cls,
        camera: PinholeCamera,
        channels: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "ImageGradients":
        """All zero, to be filled."""
        shape = (camera.height, camera.width)
        sizes = ((*shape, channels), shape, shape, shape, (*shape, 3), shape)
        return cls(*(torch.zeros(size, dtype=dtype, device=device) for size in sizes))

    def pointers(self, median_depth: bool = True, distortion: bool = True) -> Images:
        """For the kernel; False leaves an image out, which counts as zero."""
        return image_pointers(
            self.color,
            self.alpha,
            self.depth,
            self.median_depth if median_depth else None,
            self.normal,
            self.distortion if distortion else None,
        )


class SurfaceImages(Protocol):
    """What the losses on the rendered surface look at, and where they write: images or their gradients."""

    normal: torch.Tensor  # [H, W, 3]
    depth: torch.Tensor  # [H, W]
    alpha: torch.Tensor  # [H, W]


def image_pointers(*images: torch.Tensor | None) -> Images:
    """The kernel's view of colour, alpha, depth, median depth, normal and distortion (None: zero).

    Valid while the tensors live.
    """
    color, alpha, depth, median_depth, normal, distortion = images
    return Images(
        pointer(color), pointer(alpha), pointer(depth), pointer(median_depth), pointer(normal),
        pointer(distortion),
    )  # fmt: skip


def float32_tensor(tensor: torch.Tensor, device: torch.device | None = None) -> torch.Tensor:
    """Contiguous float32 on the CPU or a CUDA GPU; on `device`, where one is given."""
    if tensor.device.type not in ("cpu", "cuda"):
        raise InputError(f"Rendering works on the CPU and on CUDA, not on {tensor.device}.")
    if device is not None and tensor.device != device:
        raise InputError(f"Gaussians on {device} cannot be rendered with a tensor on {tensor.device}.")
    return tensor.float().contiguous()


def pose_tensor(
    world_from_camera: np.ndarray | torch.Tensor, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """[4, 4] float32 contiguous on `device`, differentiable where the input is."""
    pose = torch.as_tensor(world_from_camera)
    if tuple(pose.shape) != (4, 4):
        raise InputError(f"world_from_camera must be a 4×4 matrix, got shape {tuple(pose.shape)}.")
    if not torch.isfinite(pose).all():
        raise InputError("world_from_camera contains NaN or infinity.")
    return float32_tensor(pose.to(device))

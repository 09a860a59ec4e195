"""Losses with their gradients, and Adam, in single passes of the C++ kernel (float32).

Tensors on a GPU go through torch instead (`fused_torch.py`).

Two faces of the same functions: `add_…` work on preallocated gradient images and return the loss as a float,
for loops without autograd (`training_pass.py`); `photometric_loss`, `normal_consistency_loss` and
`depth_loss` are differentiable torch functions.  Their readable torch twins are in `losses.py`.
"""

import ctypes
from dataclasses import dataclass

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.rendering import fused_torch
from instascene_core.rendering.library import check, kernel, num_threads, pointer
from instascene_core.rendering.view import SurfaceImages

_BETAS, _EPSILON = (0.9, 0.999), 1e-15


def write_photometric(
    image: torch.Tensor,
    target: torch.Tensor,
    gradient: torch.Tensor | None,
    ssim_weight: float = 0.2,
    valid: torch.Tensor | None = None,
) -> float:
    """(1 − w)·L1 + w·(1 − SSIM) of images [H, W, C]; overwrites `gradient` [H, W, C] by `image`.

    Mean over the pixels `valid` [H, W] bool (None: all).  SSIM with 11×11 Gaussian windows, σ = 1.5.
    """
    _require(image, target, "target")
    if valid is not None and valid.shape != image.shape[:2]:
        raise InputError(f"valid must have shape {tuple(image.shape[:2])}, got {tuple(valid.shape)}.")
    if image.device.type != "cpu":
        return fused_torch.write_photometric(image, target, gradient, ssim_weight, valid)
    height, width, channels = image.shape
    mask = None if valid is None else valid.to(torch.uint8).contiguous()
    loss = ctypes.c_double()
    check(
        kernel().isk_photometric(
            pointer(image), pointer(target), pointer(mask), width, height, channels, ssim_weight,
            num_threads(), pointer(gradient), ctypes.byref(loss),
        )
    )  # fmt: skip
    return loss.value


def add_normal_consistency(
    images: SurfaceImages,
    camera: PinholeCamera,
    world_from_camera: torch.Tensor,
    weight: float,
    gradients: SurfaceImages,
) -> float:
    """weight · mean(alpha − normal·N), N the normal of the depth image by central differences.

    2DGS eq. 14; border pixels and those beside missing depth do not count.  `images.normal` is in the world
    frame of `world_from_camera` [4, 4].  Adds to the gradients' normal, depth and alpha.
    """
    if images.depth.device.type != "cpu":
        return fused_torch.add_normal_consistency(images, camera, world_from_camera, weight, gradients)
    intrinsics = (ctypes.c_double * 4)(camera.fx, camera.fy, camera.cx, camera.cy)
    pose = (ctypes.c_float * 12)(*world_from_camera[:3].flatten().tolist())
    loss = ctypes.c_double()
    check(
        kernel().isk_normal_consistency(
            camera.width, camera.height, intrinsics, pose, pointer(images.normal), pointer(images.depth),
            pointer(images.alpha), weight, num_threads(), pointer(gradients.normal),
            pointer(gradients.depth), pointer(gradients.alpha), ctypes.byref(loss),
        )
    )  # fmt: skip
    return loss.value


def add_depth_loss(
    depth: torch.Tensor,
    measured: torch.Tensor,
    trust: torch.Tensor,
    weight: float,
    gradient: torch.Tensor,
    tolerance: float = 0.02,
) -> float:
    """weight · mean(trust · e / (e + tolerance)) with e the relative error where `measured` [H, W] > 0.

    Adds to `gradient` [H, W] by `depth`.
    """
    _require(depth, measured, "measured")
    _require(depth, trust, "trust")
    if depth.device.type != "cpu":
        return fused_torch.add_depth_loss(depth, measured, trust, weight, gradient, tolerance)
    loss = ctypes.c_double()
    check(
        kernel().isk_robust_depth(
            depth.numel(), pointer(depth), pointer(measured), pointer(trust), tolerance, weight,
            num_threads(), pointer(gradient), ctypes.byref(loss),
        )
    )  # fmt: skip
    return loss.value


def adam_step(
    parameter: torch.Tensor,
    gradient: torch.Tensor,
    mean: torch.Tensor,
    square: torch.Tensor,
    step: int,
    learning_rate: float,
    betas: tuple[float, float] = _BETAS,
    epsilon: float = _EPSILON,
    chosen: torch.Tensor | None = None,
) -> None:
    """One step of Adam (Kingma and Ba 2015) in place on `parameter` [N, …] and its moments.

    `step` counts from 1.  `chosen` [N] bool leaves the other rows and their moments untouched.
    """
    for name, tensor in (("gradient", gradient), ("mean", mean), ("square", square)):
        _require(parameter, tensor, name)
    rows = len(parameter)
    if rows == 0:
        return
    if chosen is not None and chosen.shape != (rows,):
        raise InputError(f"chosen must have shape ({rows},), got {tuple(chosen.shape)}.")
    if parameter.device.type != "cpu":
        moments = (mean, square, step, learning_rate, betas, epsilon, chosen)
        fused_torch.adam_step(parameter, gradient, *moments)
        return
    mask = None if chosen is None else chosen.to(torch.uint8).contiguous()
    check(
        kernel().isk_adam(
            rows, parameter.numel() // rows, pointer(parameter), pointer(gradient), pointer(mean),
            pointer(square), pointer(mask), learning_rate, *betas, epsilon, 1 - betas[0] ** step,
            1 - betas[1] ** step, num_threads(),
        )
    )  # fmt: skip


def adam_steps(
    parameters: list[torch.Tensor],
    gradients: list[torch.Tensor],
    means: list[torch.Tensor],
    squares: list[torch.Tensor],
    step: int,
    learning_rates: list[float],
) -> None:
    """`adam_step` of several parameters on one device, each with a learning rate of its own."""
    if parameters and parameters[0].device.type != "cpu":
        fused_torch.adam_steps(parameters, gradients, means, squares, step, learning_rates, _BETAS, _EPSILON)
        return
    together = zip(parameters, gradients, means, squares, learning_rates, strict=True)
    for parameter, gradient, mean, square, rate in together:
        adam_step(parameter, gradient, mean, square, step, rate)


def _require(like: torch.Tensor, tensor: torch.Tensor, name: str) -> None:
    if tensor.shape != like.shape:
        raise InputError(f"{name} must have shape {tuple(like.shape)}, got {tuple(tensor.shape)}.")
    for t in (like, tensor):
        if t.dtype != torch.float32 or not t.is_contiguous() or t.device != like.device:
            raise InputError(
                f"{name} and what it goes with must be contiguous float32 tensors on one device."
            )


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().float().contiguous()


class _Photometric(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image, target, ssim_weight, valid):
        image, target = _plain(image), _plain(target)
        ctx.gradient = torch.empty_like(image) if ctx.needs_input_grad[0] else None
        return torch.tensor(write_photometric(image, target, ctx.gradient, ssim_weight, valid))

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        return ctx.gradient * upstream, None, None, None


def photometric_loss(
    image: torch.Tensor, target: torch.Tensor, ssim_weight: float = 0.2, valid: torch.Tensor | None = None
) -> torch.Tensor:
    """`write_photometric` as a scalar differentiable by `image`."""
    return _Photometric.apply(image, target, ssim_weight, valid)


@dataclass
class _Surface:
    """Images that make SurfaceImages."""

    normal: torch.Tensor
    depth: torch.Tensor
    alpha: torch.Tensor


class _NormalConsistency(torch.autograd.Function):
    @staticmethod
    def forward(ctx, normal, depth, alpha, camera, pose):
        normal, depth, alpha = _plain(normal), _plain(depth), _plain(alpha)
        images = _Surface(normal, depth, alpha)
        gradients = _Surface(torch.zeros_like(normal), torch.zeros_like(depth), torch.zeros_like(alpha))
        ctx.gradients = gradients
        return torch.tensor(add_normal_consistency(images, camera, pose, 1.0, gradients))

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        g = ctx.gradients
        return g.normal * upstream, g.depth * upstream, g.alpha * upstream, None, None


def normal_consistency_loss(
    normal: torch.Tensor,
    depth: torch.Tensor,
    alpha: torch.Tensor,
    camera: PinholeCamera,
    world_from_camera: np.ndarray | torch.Tensor | None = None,
) -> torch.Tensor:
    """`add_normal_consistency` with weight 1 as a scalar differentiable by the three images.

    Without `world_from_camera` the normals are taken in the camera's frame.
    """
    pose = torch.eye(4) if world_from_camera is None else torch.as_tensor(world_from_camera)
    return _NormalConsistency.apply(normal, depth, alpha, camera, pose)


class _DepthLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, depth, measured, trust, tolerance):
        depth = _plain(depth)
        ctx.gradient = torch.zeros_like(depth)
        loss = add_depth_loss(depth, _plain(measured), _plain(trust), 1.0, ctx.gradient, tolerance)
        return torch.tensor(loss)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        return ctx.gradient * upstream, None, None, None


def depth_loss(
    depth: torch.Tensor, measured: torch.Tensor, weight: torch.Tensor, tolerance: float = 0.02
) -> torch.Tensor:
    """`add_depth_loss` with weight 1 as a scalar differentiable by `depth`; `weight` [H, W] the trust."""
    return _DepthLoss.apply(depth, measured, weight, tolerance)

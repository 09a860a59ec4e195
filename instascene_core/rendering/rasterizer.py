"""Differentiable rendering of 2D Gaussians (Huang et al. 2024).

`rasterize` is the differentiable function for everyday use, on the device of the Gaussians: the C++ kernel on
the CPU, `cuda.py` on a GPU.  `forward` and `backward` are the kernel's two passes without autograd, for loops
that bring their own gradients.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering.library import Gradients, Images, Workspace, check, pointer
from instascene_core.rendering.sh import evaluate_sh
from instascene_core.rendering.view import (
    NEAR_PLANE,
    ImageGradients,
    RasterImages,
    RasterView,
    float32_tensor,
    image_pointers,
    pose_tensor,
)


@dataclass
class RenderResult:
    """Images of one view, float32.  Pixels that nothing covers are 0 (color: the background).

    With weights w_i = α_i · Π_{j<i} (1 − α_j) over the Gaussians front to back:
    """

    color: torch.Tensor  # [H, W, C]  Σ w c + (1 − Σ w) · background
    alpha: torch.Tensor  # [H, W]  Σ w
    depth: torch.Tensor  # [H, W] metres along z: Σ w d / (Σ w n · ray), n·x = d the disk's plane
    median_depth: torch.Tensor  # [H, W] metres: intersection where transmittance falls to 0.5, or 0
    normal: torch.Tensor  # [H, W, 3]  Σ w n, world frame, towards the camera, not normalised
    distortion: torch.Tensor | None  # [H, W]  Σ_{i<j} w_i w_j (m_i − m_j)², m = 1 − 0.2 m / z
    visible: torch.Tensor  # [N] bool: the Gaussian reaches the image (before occlusion)
    screen_gradients: torch.Tensor  # [N] |dL/d projected mean| per pixel; filled by backward()


@dataclass
class RasterGradients:
    """Gradients of `backward`, shaped like the parameters."""

    means: torch.Tensor
    quaternions: torch.Tensor
    log_scales: torch.Tensor
    logit_opacities: torch.Tensor
    colors: torch.Tensor
    screen: torch.Tensor  # [N]
    camera: torch.Tensor  # [4, 4], by the entries of world_from_camera
    background: torch.Tensor | None  # [C]

    @classmethod
    def empty_like(cls, view: RasterView) -> "RasterGradients":
        """Uninitialised gradients, to be filled (and refilled) by `backward`."""
        n, background = len(view.means), view.background
        return cls(
            means=torch.empty((n, 3)),
            quaternions=torch.empty((n, 4)),
            log_scales=torch.empty((n, 2)),
            logit_opacities=torch.empty(n),
            colors=torch.empty((n, view.colors.shape[1])),
            screen=torch.empty(n),
            camera=torch.zeros((4, 4)),
            background=None if background is None else torch.empty_like(background),
        )


def forward(view: RasterView, images: RasterImages, workspace: Workspace) -> None:
    """Fill `images`; `workspace` then holds what `backward` needs."""
    check(workspace.library.isk_forward(workspace.handle, view.scene(), images.pointers()))


def backward(
    view: RasterView,
    image_gradients: RasterImages | ImageGradients,
    workspace: Workspace,
    gradients: RasterGradients,
) -> None:
    """Overwrite `gradients` with those of the view last rendered by `forward` in `workspace`."""
    backward_from_pointers(view, image_gradients.pointers(), workspace, gradients)


def backward_from_pointers(
    view: RasterView, image_gradients: Images, workspace: Workspace, gradients: RasterGradients
) -> None:
    """As `backward`, for some of the images; their tensors must live until this returns."""
    out = Gradients(
        pointer(gradients.means), pointer(gradients.quaternions), pointer(gradients.log_scales),
        pointer(gradients.logit_opacities), pointer(gradients.colors), pointer(gradients.screen),
        pointer(gradients.camera), pointer(gradients.background),
    )  # fmt: skip
    check(workspace.library.isk_backward(workspace.handle, view.scene(), image_gradients, out))


def visible(view: RasterView, workspace: Workspace) -> torch.Tensor:
    """[N] bool: which Gaussians reach the image rendered last in `workspace`."""
    result = torch.empty(len(view.means), dtype=torch.uint8)
    workspace.library.isk_visible(workspace.handle, view.scene(), pointer(result))
    return result.view(torch.bool)


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, means, quaternions, log_scales, logits, colors, pose, background, camera, near, screen, extra
    ):
        view = RasterView(means, quaternions, log_scales, logits, colors, pose, camera, background, near)
        images = RasterImages.empty(camera, colors.shape[1])
        workspace = Workspace()
        forward(view, images, workspace)
        ctx.save_for_backward(means, quaternions, log_scales, logits, colors, pose, background)
        ctx.workspace, ctx.camera, ctx.near, ctx.screen = workspace, camera, near, screen
        ctx.set_materialize_grads(False)
        extra.append(visible(view, workspace))
        return (
            images.color, images.alpha, images.depth, images.median_depth, images.normal, images.distortion
        )  # fmt: skip

    @staticmethod
    @once_differentiable
    def backward(ctx, *image_gradients):
        means, quaternions, log_scales, logits, colors, pose, background = ctx.saved_tensors
        view = RasterView(
            means, quaternions, log_scales, logits, colors, pose, ctx.camera, background, ctx.near
        )
        gradients = RasterGradients.empty_like(view)
        gradients.screen = ctx.screen
        contiguous = [None if g is None else g.float().contiguous() for g in image_gradients]
        backward_from_pointers(view, image_pointers(*contiguous), ctx.workspace, gradients)
        return (
            gradients.means, gradients.quaternions, gradients.log_scales, gradients.logit_opacities,
            gradients.colors, gradients.camera, gradients.background, None, None, None, None,
        )  # fmt: skip


def rasterize(
    gaussians: GaussianModel,
    camera: PinholeCamera,
    world_from_camera: np.ndarray | torch.Tensor,
    *,
    colors: torch.Tensor | None = None,
    background: torch.Tensor | None = None,
    sh_degree: int | None = None,
    near: float = NEAR_PLANE,
    distortion: bool = True,
) -> RenderResult:
    """Render `gaussians` as seen by `camera` from `world_from_camera` [4, 4], on the Gaussians' device.

    `colors` [N, C] is blended as it is, any C ≥ 1; None evaluates the spherical harmonics for this view, up
    to `sh_degree` (None: all).  `background` [C] shows where alpha < 1 (None: black).  `near` in metres.
    `distortion` False leaves that image None: free on the CPU, but a pass of its own on a GPU.

    Differentiable (once) by the Gaussians' parameters, `colors` or `sh`, `background` and
    `world_from_camera`.  The pose's gradient is by its twelve entries and holds along rigid motions;
    moves that break the rotation have no meaning to the kernel.  On the CPU the same input gives the same
    bits, whatever the number of threads; how a GPU differs says `cuda.py`.  Method: 2DGS sections 4.2 and
    4.3, with the screen filter of eq. 11; depth from blended planes.  InputError where shapes do not fit.
    """
    if near <= 0:
        raise InputError(f"near must be positive, got {near}.")
    means = float32_tensor(gaussians.means)
    device = means.device
    pose = pose_tensor(world_from_camera, device)
    if colors is None:
        colors = evaluate_sh(means, float32_tensor(gaussians.sh, device), pose[:3, 3], sh_degree)
    elif colors.ndim != 2 or len(colors) != len(means) or colors.shape[1] < 1:
        raise InputError(f"colors must have shape ({len(means)}, C ≥ 1), got {tuple(colors.shape)}.")
    if background is not None and background.shape != colors.shape[1:]:
        raise InputError(f"background must have shape ({colors.shape[1]},), got {tuple(background.shape)}.")
    view = RasterView(
        means,
        float32_tensor(gaussians.quaternions, device),
        float32_tensor(gaussians.log_scales, device),
        float32_tensor(gaussians.logit_opacities, device),
        float32_tensor(colors, device),
        pose,
        camera,
        None if background is None else float32_tensor(background, device),
        near,
    )
    result = _by_kernel(view) if device.type == "cpu" else _by_cuda(view, distortion)
    if not distortion:
        result.distortion = None
    return result


def _by_kernel(view: RasterView) -> RenderResult:
    screen, extra = torch.zeros(len(view.means)), []
    images = _Rasterize.apply(
        view.means,
        view.quaternions,
        view.log_scales,
        view.logit_opacities,
        view.colors,
        view.world_from_camera,
        view.background,
        view.camera,
        view.near,
        screen,
        extra,
    )
    return RenderResult(*images, visible=extra[0], screen_gradients=screen)


def _by_cuda(view: RasterView, distortion: bool) -> RenderResult:
    from instascene_core.rendering.cuda import render

    screen = torch.zeros(len(view.means), dtype=view.means.dtype, device=view.means.device)
    found = render(view, screen, distortion=distortion)
    return RenderResult(**vars(found.images), visible=found.visible, screen_gradients=screen)

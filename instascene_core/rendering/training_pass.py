"""Rendering and its gradients without autograd, on buffers that are kept: the inside of a training loop.

images = passes.render(model, camera, pose)            # passes = make_training_pass(device)
loss = write_photometric(images.color, target, passes.image_gradients.color)
loss += add_normal_consistency(images, camera, pose, 0.05, passes.image_gradients)
gradients = passes.backward()
adam_step(model.means, gradients.means, …)
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering.library import Workspace
from instascene_core.rendering.rasterizer import RasterGradients, backward_from_pointers, forward, visible
from instascene_core.rendering.sh import sh_backward, sh_forward
from instascene_core.rendering.view import (
    NEAR_PLANE,
    ImageGradients,
    RasterImages,
    RasterView,
    float32_tensor,
    pose_tensor,
)


@dataclass
class ModelGradients:
    """dL/d of a GaussianModel's tensors and of the camera; valid until the next `backward`."""

    means: torch.Tensor  # [N, 3]
    quaternions: torch.Tensor  # [N, 4]
    log_scales: torch.Tensor  # [N, 2]
    logit_opacities: torch.Tensor  # [N]
    sh: torch.Tensor  # [N, K, 3]
    screen: torch.Tensor  # [N] |dL/d projected mean| per pixel
    world_from_camera: torch.Tensor  # [4, 4], always on the CPU


class TrainingPass:
    """One view at a time on the CPU: `render`, fill `image_gradients`, `backward`.

    The same kernel, hence the same numbers, as `rasterize`.  Images and gradients are overwritten by the next
    call; copy what must last.
    """

    def __init__(self) -> None:
        self._workspace = Workspace()
        self._view: RasterView | None = None
        self._images: RasterImages | None = None
        self._image_gradients: ImageGradients | None = None
        self._raster_gradients: RasterGradients | None = None

    @property
    def image_gradients(self) -> ImageGradients:
        """Zero after `render`, to be filled."""
        return rendered(self._image_gradients)

    @torch.no_grad()
    def render(
        self,
        gaussians: GaussianModel,
        camera: PinholeCamera,
        world_from_camera: np.ndarray | torch.Tensor,
        *,
        sh_degree: int | None = None,
        background: torch.Tensor | None = None,
        near: float = NEAR_PLANE,
    ) -> RasterImages:
        """The view's images (as `rasterize`); gradients of all six are set to zero."""
        pose, means = pose_tensor(world_from_camera), float32_tensor(gaussians.means.detach())
        self._sh = float32_tensor(gaussians.sh.detach())
        self._degree = gaussians.sh_degree if sh_degree is None else min(sh_degree, gaussians.sh_degree)
        self._position = pose[:3, 3].contiguous()
        self._view = RasterView(
            means,
            float32_tensor(gaussians.quaternions.detach()),
            float32_tensor(gaussians.log_scales.detach()),
            float32_tensor(gaussians.logit_opacities.detach()),
            sh_forward(means, self._sh, self._position, self._degree),
            pose,
            camera,
            None if background is None else background.detach().clone(),  # it may step before `backward`
            near,
        )
        if self._images is None or self._images.alpha.shape != (camera.height, camera.width):
            self._images = RasterImages.empty(camera, 3)
            self._image_gradients = ImageGradients.zeros(camera, 3)
        for tensor in vars(self.image_gradients).values():
            tensor.zero_()
        forward(self._view, self._images, self._workspace)
        return self._images

    @property
    def visible(self) -> torch.Tensor:
        """[N] bool: the Gaussians that reach the image rendered last."""
        return visible(rendered(self._view), self._workspace)

    @torch.no_grad()
    def backward(self, median_depth: bool = False, distortion: bool = False) -> ModelGradients:
        """Gradients of the loss whose image gradients are in `image_gradients`.

        Gradients of the median depth and the distortion are read only where asked for: the pass is faster
        without them.
        """
        view = rendered(self._view)
        upstream = self.image_gradients.pointers(median_depth, distortion)
        raster = self._buffers(view)
        backward_from_pointers(view, upstream, self._workspace, raster)
        position = torch.zeros(3)
        sh_backward(
            view.means, self._sh, self._position, self._degree, view.colors, raster.colors, self._g_sh,
            raster.means, position,
        )  # fmt: skip
        raster.camera[:3, 3] += position
        return ModelGradients(
            raster.means, raster.quaternions, raster.log_scales, raster.logit_opacities, self._g_sh,
            raster.screen, raster.camera,
        )  # fmt: skip

    def _buffers(self, view: RasterView) -> RasterGradients:
        kept = self._raster_gradients
        if kept is None or len(kept.means) != len(view.means) or self._g_sh.shape != self._sh.shape:
            kept, self._g_sh = RasterGradients.empty_like(view), torch.empty_like(self._sh)
            self._raster_gradients = kept
        return kept


_Rendered = TypeVar("_Rendered")


def rendered(part: _Rendered | None) -> _Rendered:
    """`part`, which exists once something has been rendered; RuntimeError before."""
    if part is None:
        raise RuntimeError("Nothing has been rendered yet; call `render` first.")
    return part

"""`TrainingPass` for Gaussians on a GPU: the same methods, by autograd over `cuda.render`."""

import numpy as np
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering.cuda import CudaRendering, blend
from instascene_core.rendering.cuda_graphs import Recorder
from instascene_core.rendering.sh import sh_colors
from instascene_core.rendering.splats import Splats, project
from instascene_core.rendering.training_pass import ModelGradients, rendered
from instascene_core.rendering.view import NEAR_PLANE, ImageGradients, RasterImages, RasterView, pose_tensor

_TRAINED = ("means", "quaternions", "log_scales", "logit_opacities", "sh")


def recordable(tensor: torch.Tensor) -> bool:
    """Whether CUDA graphs can take it: on a GPU (one that only says so has none), and not empty."""
    return tensor.is_cuda and len(tensor) > 0


class CudaTrainingPass:
    """One view at a time: `render`, fill `image_gradients`, `backward`.

    The images median_depth and distortion cost passes of their own and stay None; gradients given for them
    are followed where `backward` is asked to.
    """

    def __init__(self) -> None:
        self._leaves: dict[str, torch.Tensor] = {}
        self._recorder = Recorder()
        self._rendering: CudaRendering | None = None
        self._screen: torch.Tensor | None = None
        self._image_gradients: ImageGradients | None = None

    @property
    def image_gradients(self) -> ImageGradients:
        """Zero after `render`, to be filled."""
        return rendered(self._image_gradients)

    @torch.enable_grad()
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
        like = gaussians.means
        leaves = {name: getattr(gaussians, name).detach().requires_grad_() for name in _TRAINED}
        pose = pose_tensor(world_from_camera, like.device).to(like.dtype).requires_grad_()
        degree = gaussians.sh_degree if sh_degree is None else min(sh_degree, gaussians.sh_degree)
        self._leaves = {**leaves, "world_from_camera": pose}
        view = RasterView(
            leaves["means"],
            leaves["quaternions"],
            leaves["log_scales"],
            leaves["logit_opacities"],
            like,
            pose,
            camera,
            None if background is None else background.detach().clone(),  # it may step before `backward`
            near,
        )
        splats, view.colors = self._project(view, leaves, degree)
        self._rendering = blend(view, splats, median_depth=False, distortion=False)
        images = self._rendering.images
        self._image_gradients = ImageGradients.zeros(camera, 3, images.color.dtype, like.device)
        return RasterImages(  # median_depth and distortion were not asked for
            images.color.detach().contiguous(),
            images.alpha.detach().contiguous(),
            images.depth.detach().contiguous(),
            None,
            images.normal.detach().contiguous(),
            None,
        )

    def _project(
        self, view: RasterView, leaves: dict[str, torch.Tensor], degree: int
    ) -> tuple[Splats, torch.Tensor]:
        """The Gaussians as the view shows them, and their colours [N, 3]; `_screen` takes their pull."""
        if recordable(view.means):
            splats, colors, self._screen = self._recorder.project(
                leaves, view.world_from_camera, view.camera, view.near, degree
            )
            return splats, colors
        self._screen = torch.zeros_like(view.means[:, 0])
        colors = sh_colors(view.means, leaves["sh"], view.world_from_camera[:3, 3], degree)
        return project(view, self._screen), colors

    @property
    def visible(self) -> torch.Tensor:
        """[N] bool: the Gaussians that reach the image rendered last."""
        return rendered(self._rendering).visible

    @torch.enable_grad()
    def backward(self, median_depth: bool = False, distortion: bool = False) -> ModelGradients:
        """Gradients of the loss whose image gradients are in `image_gradients`; once after each `render`."""
        rendering, upstream = rendered(self._rendering), vars(self.image_gradients)
        images = rendering.images
        outputs = {name: getattr(images, name) for name in ("color", "alpha", "depth", "normal")}
        if median_depth:
            outputs["median_depth"] = rendering.lists.median_depth()
        if distortion:
            outputs["distortion"] = rendering.lists.distortion()
        found = torch.autograd.grad(
            list(outputs.values()),
            list(self._leaves.values()),
            [upstream[name] for name in outputs],
            allow_unused=True,
        )
        gradients = {
            name: torch.zeros_like(leaf) if gradient is None else gradient
            for (name, leaf), gradient in zip(self._leaves.items(), found)
        }
        gradients["world_from_camera"] = gradients["world_from_camera"].cpu()
        return ModelGradients(**gradients, screen=rendered(self._screen))

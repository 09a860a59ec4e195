"""Projection and colours of all Gaussians as CUDA graphs: one launch in place of some two hundred.

On a GPU these kernels take microseconds; starting them one by one takes longer than all the rest of a
training step.  A graph is of one number of Gaussians: another is recorded when densification changes it, a
few times in a run.  Poses and cameras are read where they were put, so one graph serves all views.
"""

import warnings
from collections.abc import Callable

import torch

from instascene_core.camera import PinholeCamera
from instascene_core.rendering.sh import band_factors, sh_colors
from instascene_core.rendering.splats import Lens, Splats, project_all

# `make_graphed_callables` takes leaves that were made on another stream than it records on, and torch warns.
warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match")

_DIFFERENTIABLE = ("mean", "opacity", "normal", "offset", "matrix", "center", "tangents", "scales")
_OTHERS = ("edge_on", "crossing", "box_center", "box_radius", "ids")


class RecordedProjection:
    """`project_all` and `sh_colors`, differentiable, of Gaussians of one number and degree.

    What a call returns, and the gradients that flow back through it, lie where the next call will write.
    """

    def __init__(
        self,
        leaves: dict[str, torch.Tensor],
        pose: torch.Tensor,
        lens: torch.Tensor,
        near: float,
        degree: int,
    ) -> None:
        means = leaves["means"]
        self.screen = torch.zeros(len(means), device=means.device)  # |dL/d projected mean|, after `backward`
        self._factors = band_factors(means, degree)  # what the graphs read must live as long as they do

        def compute(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            *parameters, sh, pose, lens = tensors
            splats = project_all(Lens.of(lens), near, parameters, pose, self.screen)
            colors = sh_colors(parameters[0], sh, pose[:3, 3], degree, self._factors)
            return (colors, *(getattr(splats, name) for name in _DIFFERENTIABLE + _OTHERS))

        samples = [tensor.detach().clone().requires_grad_() for tensor in (*leaves.values(), pose)]
        self._compute: Callable = torch.cuda.make_graphed_callables(compute, (*samples, lens.clone()))

    def __call__(
        self, leaves: dict[str, torch.Tensor], pose: torch.Tensor, lens: torch.Tensor
    ) -> tuple[Splats, torch.Tensor]:
        """leaves: means, quaternions, log_scales, logit_opacities and sh, in this order; colours [N, 3]."""
        colors, *found = self._compute(*leaves.values(), pose, lens)
        fields = dict(zip(_DIFFERENTIABLE + _OTHERS, found, strict=True))
        return Splats(**fields, focal=Lens.of(lens).focal), colors


class Recorder:
    """The recorded projections of a training run: of the number and degree of its Gaussians at present."""

    def __init__(self) -> None:
        self._key: tuple | None = None
        self._recorded: RecordedProjection | None = None

    def project(
        self,
        leaves: dict[str, torch.Tensor],
        pose: torch.Tensor,
        camera: PinholeCamera,
        near: float,
        degree: int,
    ) -> tuple[Splats, torch.Tensor, torch.Tensor]:
        """The Gaussians as a camera shows them, their colours [N, 3], and where their pull will be noted."""
        lens = leaves["means"].new_tensor(Lens.numbers(camera), dtype=torch.float64)
        key = (leaves["sh"].shape, near, degree)
        if self._recorded is None or key != self._key:
            self._recorded, self._key = RecordedProjection(leaves, pose, lens, near, degree), key
        return *self._recorded(leaves, pose, lens), self._recorded.screen

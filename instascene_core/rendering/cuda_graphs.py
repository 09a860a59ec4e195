"""Projection and colours of all Gaussians as CUDA graphs: one launch in place of some two hundred.

On a GPU these kernels take microseconds; starting them one by one takes longer than all the rest of a
training step.  A graph is of one number of Gaussians and one camera: another is recorded when densification
changes the number, a few times in a run.
"""

from collections.abc import Callable

import torch

from instascene_core.camera import PinholeCamera
from instascene_core.rendering.sh import band_factors, sh_colors
from instascene_core.rendering.splats import Lens, Splats, project_all

MAX_GRAPHS = 8  # cameras of one recording whose graphs are kept

_DIFFERENTIABLE = ("mean", "opacity", "normal", "offset", "matrix", "center", "tangents", "scales")
_OTHERS = ("edge_on", "crossing", "box_center", "box_radius", "ids")


class RecordedProjection:
    """`project_all` and `sh_colors`, differentiable, of Gaussians of one number and degree for one camera.

    What a call returns, and the gradients that flow back through it, lie where the next call will write.
    """

    def __init__(
        self,
        leaves: dict[str, torch.Tensor],
        pose: torch.Tensor,
        camera: PinholeCamera,
        near: float,
        degree: int,
    ) -> None:
        means = leaves["means"]
        self.screen = torch.zeros(len(means), device=means.device)  # |dL/d projected mean|, after `backward`
        # What the graphs read besides their inputs must live as long as they do.
        self._lens, self._factors = Lens.of(camera, means), band_factors(means, degree)

        def compute(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            *parameters, sh, pose = tensors
            splats = project_all(self._lens, near, parameters, pose, self.screen)
            colors = sh_colors(parameters[0], sh, pose[:3, 3], degree, self._factors)
            return (colors, *(getattr(splats, name) for name in _DIFFERENTIABLE + _OTHERS))

        samples = tuple(tensor.detach().clone().requires_grad_() for tensor in (*leaves.values(), pose))
        self._compute: Callable = torch.cuda.make_graphed_callables(compute, samples)

    def __call__(self, leaves: dict[str, torch.Tensor], pose: torch.Tensor) -> tuple[Splats, torch.Tensor]:
        """leaves: means, quaternions, log_scales, logit_opacities and sh, in this order; colours [N, 3]."""
        colors, *found = self._compute(*leaves.values(), pose)
        fields = dict(zip(_DIFFERENTIABLE + _OTHERS, found, strict=True))
        return Splats(**fields, focal=self._lens.focal), colors


class Recorder:
    """The recorded projections of a training run."""

    def __init__(self) -> None:
        self._count = -1  # of the Gaussians
        self._recorded: dict[tuple, RecordedProjection] = {}

    def projection(
        self,
        leaves: dict[str, torch.Tensor],
        pose: torch.Tensor,
        camera: PinholeCamera,
        near: float,
        degree: int,
    ) -> RecordedProjection:
        """The one for such tensors, recorded when they are first seen."""
        if len(leaves["means"]) != self._count or len(self._recorded) >= MAX_GRAPHS:
            self._recorded, self._count = {}, len(leaves["means"])
        key = (camera, near, degree, leaves["sh"].shape[1])
        if key not in self._recorded:
            self._recorded[key] = RecordedProjection(leaves, pose, camera, near, degree)
        return self._recorded[key]

"""The poses of frames found in a finished scene: as pose refinement, with the Gaussians held still."""

import torch

from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.reconstruction.poses import PoseRefiner
from instascene_core.reconstruction.views import scale_view
from instascene_core.rendering.fused import write_photometric
from instascene_core.rendering.training_pass import TrainingPass

_LEVELS = ((0.25, 40, 1.0), (0.5, 30, 0.5), (1.0, 30, 0.15))  # (resolution, steps, share of the rates)


def align_frame(
    gaussians: GaussianModel, frame: Frame, scale: float, background: torch.Tensor | None = None
) -> Frame:
    """`frame` with the pose near its own from which the Gaussians look most like its image.

    `scale` is the typical depth of the scene in world units (limits the steps); coarse to fine.
    """
    refiner = PoseRefiner(frame.world_from_camera[None], scale, fix_gauge=False)
    passes = TrainingPass()
    for factor, steps, share in _LEVELS:
        view = scale_view(frame.with_(depth=None), factor, scale)
        target = view.color()
        for i in range(steps):
            images = passes.render(gaussians, view.camera, refiner.pose(0), background=background)
            write_photometric(images.color, target, passes.image_gradients.color, valid=view.valid)
            decay = 0.1 ** (i / steps)
            refiner.step(0, passes.backward().world_from_camera, share * decay)
    return frame.with_(world_from_camera=refiner.world_from_camera[0])

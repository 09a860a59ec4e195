"""Rasterising and tracing 2D Gaussians.

    rasterize(gaussians, camera, world_from_camera) -> RenderResult      differentiable images
    trace(gaussians, camera, world_from_camera) -> PixelTrace            who makes up each pixel
    evaluate_sh(means, sh, position) -> colours                          differentiable
    TrainingPass                                                         both passes without autograd
    fused                                                                losses with gradients, Adam

The work is done by a C++ kernel (`csrc/`) for the CPU; `rendering.reference` is its slow, readable
float64 twin, against which values and gradients are tested.

Threads: torch's number (OMP_NUM_THREADS or torch.set_num_threads); the result does not depend on it.
`import instascene_core` sets OMP_WAIT_POLICY=passive unless it is set, which counts only if torch has not
been imported before: with spinning threads on shared cores the kernel takes up to twice the processor time.
"""

from instascene_core.rendering.rasterizer import RenderResult, rasterize
from instascene_core.rendering.sh import evaluate_sh
from instascene_core.rendering.trace import PixelTrace, trace
from instascene_core.rendering.training_pass import ModelGradients, TrainingPass

__all__ = [
    "ModelGradients",
    "PixelTrace",
    "RenderResult",
    "TrainingPass",
    "evaluate_sh",
    "rasterize",
    "trace",
]

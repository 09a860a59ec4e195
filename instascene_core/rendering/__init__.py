"""Rasterising and tracing 2D Gaussians.

    rasterize(gaussians, camera, world_from_camera) -> RenderResult      differentiable images
    trace(gaussians, camera, world_from_camera) -> PixelTrace            who makes up each pixel
    evaluate_sh(means, sh, position) -> colours                          differentiable
    make_training_pass(device)                                           both passes without autograd
    choose_device(wanted)                                                CPU or CUDA
    fused                                                                losses with gradients, Adam

The Gaussians' device decides: on the CPU a C++ kernel (`csrc/`) does the work, on a GPU gsplat (`cuda.py`),
with the same meaning.  `rendering.reference` is the slow, readable float64 twin, against which values and
gradients of both are tested.

Threads: torch's number (OMP_NUM_THREADS or torch.set_num_threads); the result does not depend on it.
`import instascene_core` sets OMP_WAIT_POLICY=passive unless it is set, which counts only if torch has not
been imported before: with spinning threads on shared cores the kernel takes up to twice the processor time.
"""

from instascene_core.rendering.device import choose_device, device_name, make_training_pass
from instascene_core.rendering.rasterizer import RenderResult, rasterize
from instascene_core.rendering.sh import evaluate_sh
from instascene_core.rendering.trace import PixelTrace, trace
from instascene_core.rendering.training_pass import ModelGradients, TrainingPass

__all__ = [
    "ModelGradients",
    "PixelTrace",
    "RenderResult",
    "TrainingPass",
    "choose_device",
    "device_name",
    "evaluate_sh",
    "make_training_pass",
    "rasterize",
    "trace",
]

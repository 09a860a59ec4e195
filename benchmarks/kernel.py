"""Timings of the 2D Gaussian kernel: `python -m benchmarks.kernel [--quick]`.

Prints forward and forward + backward times of each instruction set, what autograd adds, a whole training
iteration by part, and the ratio to the float64 torch twin in the same process; writes
benchmarks/results/kernel.json.  Every figure is the least of several runs, and beside wall time (ms) stands
processor time (cpu_ms, summed over threads): on a shared machine wall time measures the neighbours too.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.camera import PinholeCamera
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering import TrainingPass, evaluate_sh, fused, library, rasterize, trace
from instascene_core.rendering.rasterizer import RasterGradients, backward, forward
from instascene_core.rendering.reference import rasterize_reference
from instascene_core.rendering.view import RasterImages, RasterView

PARAMETERS = ("means", "quaternions", "log_scales", "logit_opacities", "sh")


def surface_scene(count: int, width: int, height: int, seed: int = 0) -> tuple[GaussianModel, PinholeCamera]:
    """What training produces: disks lying in two wavy surfaces, one behind the other, all in view.

    Standard deviations are 0.4 to 1.2 of the spacing, tilts within 10° of the surface, opacities 0.2 to 0.99.
    """
    rng = np.random.default_rng(seed)
    camera = PinholeCamera(width, height, 0.9 * width, 0.9 * width, width / 2, height / 2)
    u, v = rng.uniform(0, width, count), rng.uniform(0, height, count)
    wave = 0.3 * np.sin(6 * u / width) * np.cos(5 * v / height)
    z = np.where(rng.random(count) < 0.6, 1.5, 2.8) + wave
    means = np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], axis=1)
    spacing = np.sqrt(width * height / (0.6 * count)) / camera.fx * z
    log_scales = np.log(spacing[:, None] * rng.uniform(0.4, 1.2, (count, 2)))
    quaternions = np.concatenate([np.ones((count, 1)), rng.normal(0, 0.09, (count, 3))], axis=1)
    opacities = rng.uniform(0.2, 0.99, count)
    return _model(means, quaternions, log_scales, np.log(opacities / (1 - opacities)), rng), camera


def fog_scene(count: int, width: int, height: int, seed: int = 0) -> tuple[GaussianModel, PinholeCamera]:
    """Harder: disks of 3 pixels standard deviation, any orientation and depth, everywhere."""
    rng = np.random.default_rng(seed)
    camera = PinholeCamera(width, height, 0.9 * width, 0.9 * width, width / 2, height / 2)
    u, v, z = rng.uniform(0, width, count), rng.uniform(0, height, count), rng.uniform(1, 5, count)
    means = np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], axis=1)
    log_scales = np.log(3.0 / camera.fx * z)[:, None] + rng.normal(0, 0.3, (count, 2))
    return _model(means, rng.normal(size=(count, 4)), log_scales, rng.normal(1, 1.5, count), rng), camera


def _model(means, quaternions, log_scales, logits, rng) -> GaussianModel:
    arrays = (means, quaternions, log_scales, logits, rng.normal(0, 0.2, (len(means), 16, 3)))
    return GaussianModel(*(torch.from_numpy(a).float().contiguous() for a in arrays))


def least(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Least wall and processor time of `work` in milliseconds."""
    work()
    wall, processor = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return {"ms": round(1e3 * min(wall), 3), "cpu_ms": round(1e3 * min(processor), 3)}


def kernel_times(model: GaussianModel, camera: PinholeCamera, repeats: int) -> dict[str, Any]:
    """Kernel alone (three channels, all images, reused buffers), and through `rasterize`."""
    pose = torch.eye(4)
    colors = evaluate_sh(model.means, model.sh, pose[:3, 3])
    view = RasterView(
        model.means, model.quaternions, model.log_scales, model.logit_opacities, colors, pose, camera
    )
    images, upstream = RasterImages.empty(camera, 3), RasterImages.empty(camera, 3)
    for name in ("color", "alpha", "depth", "normal"):
        getattr(upstream, name).normal_()
    upstream.median_depth = upstream.distortion = None
    workspace, gradients = library.Workspace(), RasterGradients.empty_like(view)

    def both():
        forward(view, images, workspace)
        backward(view, upstream, workspace, gradients)

    everything = RasterImages(*[torch.randn_like(t) for t in vars(images).values()])

    def both_everything():
        forward(view, images, workspace)
        backward(view, everything, workspace, gradients)

    leaves = {name: getattr(model, name).clone().requires_grad_() for name in PARAMETERS}
    trained = GaussianModel(**leaves)
    weights = [upstream.color, upstream.alpha, upstream.depth, upstream.normal]

    def autograd():
        result = rasterize(trained, camera, pose)
        outputs = [result.color, result.alpha, result.depth, result.normal]
        torch.autograd.grad(outputs, list(leaves.values()), weights)

    return {
        "forward": least(lambda: forward(view, images, workspace), repeats),
        "forward_backward": least(both, repeats),
        "forward_backward_all_images": least(both_everything, repeats),
        "rasterize_sh3_autograd": least(autograd, repeats),
        "trace": least(lambda: trace(model, camera, pose), max(3, repeats // 3)),
        "pairs": workspace.pairs,
        "workspace_mb": round(workspace.bytes / 1e6, 1),
    }


# Floating point operations a (pixel, Gaussian) pair, three channels, as written in csrc/blend.hpp,
# forward.cpp and backward.cpp: a fused multiply-add counts two, a division or an exponential ten.
FORWARD_FLOPS, BACKWARD_FLOPS = 80, 190
PARAMETER_FLOATS = 3 + 4 + 2 + 1 + 3  # of one Gaussian as the kernel reads it
IMAGE_FLOATS = 3 + 1 + 1 + 1 + 3 + 1  # of one pixel in all images


def peak_flops() -> float:
    """GFLOP/s of a large single-precision matrix product: what this machine can do at best."""
    a = torch.rand(1536, 1536)
    return 2 * len(a) ** 3 / (1e6 * least(lambda: a @ a, 12)["ms"])


def peak_bytes() -> float:
    """GB/s of copying 256 MB, reading and writing counted."""
    source = torch.rand(64 * 2**20)
    target = torch.empty_like(source)
    return 8 * len(source) / (1e6 * least(lambda: target.copy_(source), 6)["ms"])


def utilisation(count: int, width: int, height: int, repeats: int) -> dict[str, Any]:
    """Useful operations and unavoidable bytes of forward + backward a second, against the measured peaks.

    Useful are pairs that contribute to a pixel; unavoidable is every parameter and image value moved once
    each way.  What the kernel does besides (pixels of a block that a Gaussian misses, sorting, its own state)
    is not counted, so that both shares are lower bounds.
    """
    model, camera = surface_scene(count, width, height)
    contributing = len(trace(model, camera, torch.eye(4), weight_min=0.0).indices)
    milliseconds = kernel_times(model, camera, repeats)["forward_backward"]["ms"]
    flops, bandwidth = peak_flops(), peak_bytes()
    achieved = contributing * (FORWARD_FLOPS + BACKWARD_FLOPS) / (1e6 * milliseconds)
    moved = 4 * (3 * count * PARAMETER_FLOATS + 2 * width * height * IMAGE_FLOATS) / (1e6 * milliseconds)
    return {
        "gaussians": count, "width": width, "height": height, "pairs": contributing, "ms": milliseconds,
        "gflops": round(achieved, 1), "peak_gflops": round(flops, 1),
        "flops_share": round(achieved / flops, 3),
        "gbytes": round(moved, 2), "peak_gbytes": round(bandwidth, 1),
        "bytes_share": round(moved / bandwidth, 3),
    }  # fmt: skip


def iteration_times(count: int, width: int, height: int, repeats: int) -> dict[str, Any]:
    """A training iteration (SH degree 1, L1 + SSIM, normals, sensor depth, Adam) by part."""
    model, camera = surface_scene(count, width, height)
    model.sh = model.sh[:, :4].contiguous()
    passes, pose = TrainingPass(), torch.eye(4)
    target, measured, trust = torch.rand(height, width, 3), torch.full((height, width), 2.0), torch.ones(1)
    trust = trust.expand(height, width).contiguous()
    images = passes.render(model, camera, pose)
    moments: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    given, gradients = passes.image_gradients, passes.backward()
    for name in PARAMETERS:
        moments[name] = (torch.zeros_like(getattr(model, name)), torch.zeros_like(getattr(model, name)))

    def adam():
        for name in PARAMETERS:
            fused.adam_step(getattr(model, name), getattr(gradients, name), *moments[name], 1, 1e-9)

    parts = {
        "render": lambda: passes.render(model, camera, pose),
        "photometric": lambda: fused.write_photometric(images.color, target, given.color),
        "normals": lambda: fused.add_normal_consistency(images, camera, pose, 0.05, given),
        "depth": lambda: fused.add_depth_loss(images.depth, measured, trust, 0.5, given.depth),
        "backward": passes.backward,
        "adam": adam,
    }
    times = {name: least(work, repeats) for name, work in parts.items()}
    kernel = kernel_times(model, camera, repeats)["forward_backward"]
    total = {unit: round(sum(t[unit] for t in times.values()), 3) for unit in ("ms", "cpu_ms")}
    return {
        "gaussians": count, "width": width, "height": height, "parts": times, "total": total,
        "kernel_forward_backward": kernel, "ratio": round(total["cpu_ms"] / kernel["cpu_ms"], 2),
    }  # fmt: skip


def twin_times(count: int, width: int, height: int, chunk: int = 512) -> dict[str, Any]:
    """Forward + backward of the kernel and of its torch twin (in chunks of pixels) on the same scene."""
    model, camera = surface_scene(count, width, height)
    kernel = kernel_times(model, camera, 20)["rasterize_sh3_autograd"]
    leaves = {name: getattr(model, name).double().requires_grad_() for name in PARAMETERS}
    twin, pose = GaussianModel(**leaves), torch.eye(4, dtype=torch.float64)
    start = time.perf_counter(), time.process_time()
    for first in range(0, width * height, chunk):
        images = rasterize_reference(twin, camera, pose, pixels=slice(first, first + chunk))
        (images.color.sum() + images.depth.sum() + images.normal.sum()).backward()
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    return {
        "gaussians": count,
        "width": width,
        "height": height,
        "kernel": kernel,
        "twin": {"ms": round(1e3 * wall, 1), "cpu_ms": round(1e3 * processor, 1)},
        "ratio": round(1e3 * wall / kernel["ms"]),
        "cpu_ratio": round(1e3 * processor / kernel["cpu_ms"]),
    }


COLUMNS = ("forward", "forward_backward", "forward_backward_all_images", "rasterize_sh3_autograd", "trace")


def run(repeats: int, with_twin: bool = True) -> dict[str, Any]:
    """All measurements, printed as they come."""
    show, results = sys.stdout.write, []
    show("wall ms (processor ms over all threads)\n")
    show(f"{'scene':8}{'Gaussians':>10}{'image':>9}{'set':>9}{'fwd':>14}{'fwd+bwd':>15}{'all images':>15}")
    show(f"{'autograd SH3':>15}{'trace':>15}\n")
    for name, make in (("surface", surface_scene), ("fog", fog_scene)):
        for count, width, height in ((20_000, 320, 240), (100_000, 640, 480)):
            model, camera = make(count, width, height)
            for instruction_set in library.runnable_instruction_sets():
                os.environ[library.ISA_VARIABLE] = instruction_set
                times = kernel_times(model, camera, repeats)
                del os.environ[library.ISA_VARIABLE]
                entry = {"scene": name, "gaussians": count, "width": width, "height": height}
                results.append({**entry, "instruction_set": instruction_set, **times})
                figures = (f"{times[k]['ms']:.1f} ({times[k]['cpu_ms']:.1f})" for k in COLUMNS)
                row = "".join(f"{figure:>15}" for figure in figures)
                show(f"{name:8}{count:10}{f'{width}×{height}':>9}{instruction_set:>9}{row}\n")
    found: dict[str, Any] = {"least_of": repeats, "kernel": results, "iteration": []}
    for size in ((20_000, 320, 240), (100_000, 640, 480)):
        iteration = iteration_times(*size, repeats)
        found["iteration"].append(iteration)
        parts = ", ".join(f"{k} {t['ms']:.1f} ({t['cpu_ms']:.1f})" for k, t in iteration["parts"].items())
        show(f"training iteration {size}: {parts}; {iteration['ratio']} of the kernel's processor time\n")
    found["utilisation"] = used = utilisation(100_000, 640, 480, repeats)
    show(f"100k at 640×480: {used['pairs'] / 1e6:.1f} M contributing pairs, {used['gflops']} GFLOP/s ")
    show(f"= {100 * used['flops_share']:.0f} % of a matrix product's {used['peak_gflops']}; ")
    show(f"{used['gbytes']} GB/s = {100 * used['bytes_share']:.0f} % of a copy's {used['peak_gbytes']}\n")
    if with_twin:
        found["twin"] = twin = twin_times(5_000, 160, 120)
        times = f"{twin['twin']['ms']:.0f} ms, kernel {twin['kernel']['ms']:.2f} ms"
        show(f"twin, 5k Gaussians at 160×120: {times}, ")
        show(f"ratio {twin['ratio']} (processor time {twin['cpu_ratio']})\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats, no twin, nothing written")
    arguments = parser.parse_args()
    made_by = provenance_of("kernel")
    found = run(5 if arguments.quick else 25, with_twin=not arguments.quick)
    if not arguments.quick:
        write_results(RESULTS / "kernel.json", "kernel", found, made_by)


if __name__ == "__main__":
    main()

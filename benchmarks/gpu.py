"""The CUDA backend against the CPU kernel: `python -m benchmarks.gpu [--recording FOLDER] [--quick]`.

Prints and writes to benchmarks/results/gpu.json: quantiles of the difference of images and gradients,
rendering frames per second at 1280×720 with 500k Gaussians, forward + backward times, the seconds in which
training on the GPU reaches what the CPU ends with, and the whole job on a recording, reconstructed on either.
Without a GPU it says so in one sentence and measures nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.kernel import fog_scene, surface_scene
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.camera import PinholeCamera
from instascene_core.config import ReconstructionConfig, SyntheticConfig
from instascene_core.gaussians import GaussianModel
from instascene_core.reconstruction import ReconstructionResult, reconstruct
from instascene_core.rendering import TrainingPass, device_name, make_training_pass, rasterize
from instascene_core.rendering.cuda import GSPLAT_VERSION, cuda_problem

QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)
IMAGES = ("color", "alpha", "depth", "normal")
GPU = torch.device("cuda")


def gradients_of(passes, model: GaussianModel, camera: PinholeCamera) -> dict[str, torch.Tensor]:
    """Images and gradients of one view, on the CPU, for the same random image gradients each time."""
    images = passes.render(model, camera, torch.eye(4))
    generator = torch.Generator().manual_seed(0)
    for name in IMAGES:
        given = getattr(passes.image_gradients, name)
        given.copy_(torch.randn(given.shape, generator=generator).to(given.device))
    found = dict(vars(passes.backward()))
    pose = found.pop("world_from_camera")
    turn = pose[:3, :3] - pose[:3, :3].T  # by rigid motions of a camera at the identity
    found["pose"] = torch.cat([turn[[0, 0, 1], [1, 2, 2]], pose[:3, 3]])
    values = {name: getattr(images, name) for name in IMAGES}
    values |= {f"d {name}": gradient for name, gradient in found.items()}
    return {name: value.detach().cpu().clone() for name, value in values.items()}


def parity(model: GaussianModel, camera: PinholeCamera) -> dict[str, list[float]]:
    """Quantiles of |GPU − CPU| over the largest value on the CPU, by name."""
    ours = gradients_of(TrainingPass(), model, camera)
    found = gradients_of(make_training_pass(GPU), model.to(GPU), camera)
    result = {}
    for name, truth in ours.items():
        difference = (found[name] - truth).abs().double() / truth.abs().max().clamp(min=1e-12)
        result[name] = np.quantile(difference.numpy(), QUANTILES).tolist()
    return result


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time of `work` on the GPU."""
    times = []
    for _ in range(repeats + 3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[3:]))  # the first calls set things up


def speed(count: int, width: int, height: int, repeats: int) -> dict[str, float]:
    """Rendering (SH degree 3, no gradients) and a training view, milliseconds."""
    model, camera = surface_scene(count, width, height)
    model, pose, passes = model.to(GPU), torch.eye(4), make_training_pass(GPU)

    @torch.no_grad()
    def render():
        rasterize(model, camera, pose, distortion=False)

    def train():
        passes.render(model, camera, pose)
        passes.image_gradients.color.fill_(1e-6)
        passes.image_gradients.depth.fill_(1e-6)
        passes.backward()

    torch.cuda.reset_peak_memory_stats()
    rendering = milliseconds(render, repeats)
    found = {"gaussians": count, "width": width, "height": height, "render_ms": rendering}
    found["frames_per_second"] = 1e3 / rendering
    found["forward_backward_ms"] = milliseconds(train, max(3, repeats // 4))
    found["peak_gpu_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return found


def seconds_to(psnr: float, result: ReconstructionResult) -> float | None:
    """When training first was at `psnr`; None where it never was."""
    return next((entry.seconds for entry in result.history if entry.psnr >= psnr), None)


def training(seed: int, iterations: int) -> dict[str, object]:
    """The same scene trained on both."""
    from instascene_core.synthetic import generate_scene

    frames = list(generate_scene(SyntheticConfig(seed=seed)).frames())
    config = ReconstructionConfig(iterations=iterations)
    ours = reconstruct(frames, replace(config, device="cpu"))
    found = reconstruct(frames, replace(config, device="cuda"))
    return {
        "seed": seed, "iterations": iterations, "cpu_seconds": ours.seconds, "cpu_psnr": ours.psnr_train,
        "gpu_seconds": found.seconds, "gpu_psnr": found.psnr_train,
        "gpu_seconds_to_cpu_psnr": seconds_to(ours.psnr_train, found),
        "gpu_curve": [asdict(entry) for entry in found.history],
    }  # fmt: skip


def whole_job(recording: Path, device: str) -> dict:
    """`instascene run`, reconstructed on a device: seconds by stage and in all, and what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        code = "import sys; from instascene_core.start import main; sys.argv[0] = 'instascene'; main()"
        command = [sys.executable, "-c", code, "run", str(recording), "--quiet"]
        command += ["--output", str(Path(folder) / "out"), "--set", f"reconstruction.device={device}"]
        start = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - start
        metrics = json.loads((Path(folder) / "out" / "metrics.json").read_text())
    accuracy = metrics.get("accuracy", {})
    return {
        "recording": recording.name, "device": device, "cores": os.cpu_count(), "frames": metrics["frames"],
        "seconds": seconds, "stages": metrics["seconds"], "psnr": metrics["psnr"],
        "peak_memory_mb": metrics["peak_memory_mb"], "instances": metrics["instances"],
        "mean_volume_iou": accuracy.get("mean_volume_iou_all"),
    }  # fmt: skip


def run(seed: int, quick: bool, recordings: list[Path], devices: list[str]) -> dict[str, object]:
    """All measurements, printed as they come."""
    show = sys.stdout.write
    found: dict = {"gpu": device_name(GPU), "gsplat": GSPLAT_VERSION}
    parities: list[dict[str, object]] = []
    found.update(quantiles=QUANTILES, parity=parities)
    show(f"{found['gpu']}, gsplat {GSPLAT_VERSION}, torch {torch.__version__}\n")
    show(f"parity: {', '.join(f'{100 * q:g} %' for q in QUANTILES)} of |GPU − CPU| / largest\n")
    for name, make in (("surface", surface_scene), ("fog", fog_scene)):
        quantiles = parity(*make(20_000, 320, 240))
        parities.append({"scene": name, "quantiles": quantiles})
        for what, values in quantiles.items():
            show(f"  {name:8}{what:22}{''.join(f'{value:10.1e}' for value in values)}\n")
    sizes = ((20_000, 320, 240), (100_000, 640, 480), (500_000, 1280, 720))
    found["speed"] = [speed(*size, 10 if quick else 50) for size in sizes]
    for entry in found["speed"]:
        size = f"{entry['gaussians']:8} Gaussians {entry['width']}×{entry['height']}"
        show(f"{size}: {entry['render_ms']:.2f} ms ({entry['frames_per_second']:.0f} frames/s), forward + ")
        show(f"backward {entry['forward_backward_ms']:.2f} ms, {entry['peak_gpu_mb']:.0f} MB\n")
    found["training"] = trained = training(seed, 200 if quick else ReconstructionConfig.iterations)
    reached = trained["gpu_seconds_to_cpu_psnr"]
    show(
        f"training: CPU {trained['cpu_seconds']:.1f} s to {trained['cpu_psnr']:.2f} dB, GPU "
        f"{'never there' if reached is None else f'there after {reached:.1f} s'}, "
        f"{trained['gpu_psnr']:.2f} dB after {trained['gpu_seconds']:.1f} s\n"
    )
    found["jobs"] = []
    for recording in recordings:
        for device in devices:
            found["jobs"].append(job := whole_job(recording, device))
            stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in job["stages"].items())
            show(f"{recording.name} on {device}: {job['seconds']:.1f} s ({stages}), {job['psnr']:.2f} dB, ")
            show(f"mean IoU {job['mean_volume_iou']}\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the procedural scene trained on")
    parser.add_argument("--recording", type=Path, action="append", default=[], help="for the whole job")
    parser.add_argument(
        "--devices", nargs="+", default=["cpu", "cuda"], choices=["cpu", "cuda"], help="of the job"
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats, nothing written")
    arguments = parser.parse_args()
    if problem := cuda_problem():
        sys.stdout.write(f"Nothing measured: {problem}\n")
        return
    made_by = provenance_of("gpu")
    found = run(arguments.seed, arguments.quick, arguments.recording, arguments.devices)
    if not arguments.quick:
        write_results(RESULTS / "gpu.json", "gpu", found, made_by)


if __name__ == "__main__":
    main()

"""Quality and time of the reconstruction: `python -m benchmarks.reconstruction [--seeds 1 2 3] [--data DIR]`.

On procedural scenes (60 training views of 320×240, 8 held out, exact truth), with and without depth,
and on recorded sets (every 8th view held out; with and without pose refinement) where `--data` holds them.
`held_out_aligned`: after the pose of each held-out view has been fitted to the finished scene.  Writes
benchmarks/results/reconstruction.json.  `--speed`: only 2,000 iterations of 20,000 Gaussians at 320×240, and
the PSNR on held-out views over seconds of training.  Beside wall seconds stand processor seconds (summed over
threads): on a shared machine wall time measures the neighbours too.
"""

import argparse
import logging
import resource
import time
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import ReconstructionConfig, SyntheticConfig
from instascene_core.datasets import open_dataset
from instascene_core.frame import Frame
from instascene_core.reconstruction import evaluate, reconstruct
from instascene_core.synthetic import generate_scene

HELD_OUT = 8  # every 8th view
RECORDED = ("fox", "redkitchen", "apc_shelf")

logger = logging.getLogger("benchmarks.reconstruction")


def split(frames: list[Frame]) -> tuple[list[Frame], list[Frame]]:
    """(training views, held-out views)."""
    held = range(HELD_OUT // 2, len(frames), HELD_OUT)
    return [f for i, f in enumerate(frames) if i not in held], [frames[i] for i in held]


def measure(name: str, train: list[Frame], test: list[Frame], config: ReconstructionConfig) -> dict:
    """One reconstruction: figures on views it has not seen."""
    cpu = time.process_time()
    result = reconstruct(train, config)
    cpu = time.process_time() - cpu
    figures = {
        "name": name,
        "views": len(train),
        "width": train[0].camera.width,
        "height": train[0].camera.height,
        "seconds": result.seconds,
        "cpu_seconds": cpu,
        "iterations": result.iterations,
        "gaussians": len(result.gaussians),
        "device": result.device,
        "psnr_train": result.psnr_train,
        "held_out": evaluate(result.gaussians, test, result.background).summary(),
        "held_out_aligned": evaluate(result.gaussians, test, result.background, align=True).summary(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "curve": [asdict(entry) for entry in result.history],
    }
    held = figures["held_out"]
    logger.info(
        "%-24s %6.1f s  %6.1f cpu s  %6d Gaussians  %5.2f dB held out  %6.2f mm  %4.1f°",
        name, result.seconds, cpu, len(result.gaussians), held["psnr"], 1e3 * held["depth_error"],
        held["normal_error"],
    )  # fmt: skip
    return figures


def synthetic(seed: int, config: ReconstructionConfig, depth_noise: str) -> list[dict]:
    """The same scene with and without depth; the truth is exact in both."""
    scene = generate_scene(SyntheticConfig(seed=seed, num_views=68, depth_noise=depth_noise))
    train, test = split(list(scene.frames()))
    exact = {f"{i:06d}": scene.view(i).depth for i in range(len(scene))}
    test = [frame.with_(depth=exact[frame.name]) for frame in test]
    blind = [frame.with_(depth=None) for frame in train]
    return [
        measure(f"synthetic {seed} RGB-D", train, test, config),
        measure(f"synthetic {seed} RGB", blind, test, config),
    ]


def speed(seed: int) -> dict:
    """A run of fixed size, complete: losses, growing spherical harmonics, Adam, densification."""
    scene = generate_scene(SyntheticConfig(seed=seed, num_views=68))
    train, test = split(list(scene.frames()))
    config = replace(ReconstructionConfig(), iterations=2000, max_gaussians=20_000, finer_at=())
    return measure("2,000 iterations, 20k", train, test, config)


def quality_over_time(name: str, train: list[Frame], test: list[Frame]) -> list[dict]:
    """Runs of growing length: seconds, and PSNR on views not trained on."""
    runs = []
    for iterations in (100, 200, 400, 800, 1600):
        config = replace(ReconstructionConfig(), iterations=iterations)
        runs.append(measure(f"{name} {iterations} its", train, test, config))
    return runs


def main() -> None:
    """Run what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--data", type=Path, help="folder of recorded sets: fox, redkitchen, apc_shelf")
    parser.add_argument("--iterations", type=int, default=ReconstructionConfig.iterations)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--depth-noise", default="none")
    parser.add_argument("--output", type=Path, default=RESULTS / "reconstruction.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    record = "reconstruction_speed" if arguments.speed else "reconstruction"
    made_by = provenance_of(record)
    config = replace(ReconstructionConfig(), iterations=arguments.iterations)
    if arguments.speed:
        runs = [speed(arguments.seeds[0])]
        if arguments.data is not None:
            runs += quality_over_time("fox", *split(list(open_dataset(arguments.data / "fox"))))
        path = arguments.output.with_stem(arguments.output.stem + "_speed")
        write_results(path, record, {"runs": runs}, made_by)
        logger.info("written to %s", path)
        return
    runs = []
    for seed in arguments.seeds:
        runs += synthetic(seed, config, arguments.depth_noise)
    for name in RECORDED:
        if arguments.data is not None and (arguments.data / name).exists():
            train, test = split(list(open_dataset(arguments.data / name)))
            runs.append(measure(name, train, test, config))
            refined = replace(config, refine_poses=True)
            runs.append(measure(f"{name} poses refined", train, test, refined))
    write_results(arguments.output, record, {"config": asdict(config), "runs": runs}, made_by)
    logger.info("written to %s", arguments.output)


if __name__ == "__main__":
    main()

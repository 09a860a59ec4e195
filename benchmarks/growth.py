"""How the stages grow: `python -m benchmarks.growth [--only frames …]`.

A small procedural job (RGB-D), of which one of frames, pixels, Gaussians and objects doubles three times
while the others stay.  Processor seconds of every stage.  Writes benchmarks/results/growth.json.
"""

import argparse
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import Config, SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.scene import stages
from instascene_core.synthetic import generate_scene

# Of each the least and its three doublings.
AXES: dict[str, tuple[int, ...]] = {
    "frames": (10, 20, 40, 80),
    "pixels": (9600, 19_200, 38_400, 76_800),  # fewer show no object well enough to be found
    "gaussians": (2000, 4000, 8000, 16_000),
    "objects": (1, 2, 4, 8),
}
# What the others stay at
BASE = {"frames": 20, "pixels": 19_200, "gaussians": 4000, "objects": 4}
ITERATIONS = 200
STAGES: tuple[str, ...] = ("register", "straighten", "reconstruct", "depth", "masks", "decompose", "complete")

logger = logging.getLogger("benchmarks.growth")


@contextmanager
def processor_times(into: dict[str, float]) -> Iterator[None]:
    """Inside, the stages of the job note the processor seconds that they take in `into`."""
    known = stages.timed

    @contextmanager
    def timed(stage: str, metrics: dict) -> Iterator[None]:
        start = time.process_time()
        with known(stage, metrics):
            yield
        into[stage] = into.get(stage, 0.0) + time.process_time() - start

    stages.timed = timed
    try:
        yield
    finally:
        stages.timed = known


def measure(size: dict[str, int]) -> dict:
    """One job: processor seconds by stage, and what came of it."""
    height = round((size["pixels"] * 3 / 4) ** 0.5)
    scene = generate_scene(
        SyntheticConfig(
            seed=17, layout="spread", num_objects=size["objects"], num_views=size["frames"],
            width=round(size["pixels"] / height), height=height,
        )
    )  # fmt: skip
    frames = [frame.with_(labels=None) for frame in scene.frames()]
    config = Config()
    share = size["gaussians"] / (size["pixels"] * 4 / 3)  # it may grow by a third
    settings = replace(config.reconstruction, max_gaussians=size["gaussians"], gaussians_per_pixel=share)
    config = replace(config, reconstruction=settings)
    seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
    with processor_times(seconds):
        made = stages.reconstruct(frames, config, iterations=ITERATIONS)
        found = stages.decompose(made, config)
    start, completed = time.process_time(), 0
    for instance in found.instances.objects:
        try:
            stages.complete(found, instance.id, config)
            completed += 1
        except InputError as error:
            logger.info("object %d: %s", instance.id, error)
    seconds["complete"] = time.process_time() - start
    return {
        **size, "cpu_seconds": seconds, "trained_gaussians": len(made.gaussians),
        "instances": len(found.instances.objects), "completed": completed,
    }  # fmt: skip


def main() -> None:
    """Run what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(AXES), choices=list(AXES))
    parser.add_argument("--output", type=Path, default=RESULTS / "growth.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    made_by = provenance_of("growth")
    measure({axis: values[0] for axis, values in AXES.items()})  # libraries are loaded by it, and not timed
    rows, base = [], None
    for axis in arguments.only:
        for value in AXES[axis]:
            size = {**BASE, axis: value}
            if size != BASE:
                row = measure(size)
            else:  # the same job for every axis
                row = base = base or measure(size)
            rows.append({"axis": axis, "value": value, **row})
            logger.info("%s", rows[-1])
    write_results(arguments.output, "growth", {"runs": rows}, made_by)


if __name__ == "__main__":
    main()

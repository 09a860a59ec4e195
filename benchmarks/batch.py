"""Throughput of a batch by its workers: `python -m benchmarks.batch [--recordings 24] [--workers 1 2]`.

Small procedural recordings go through `instascene batch` on a Ray of this machine, a thread a worker, each
time into a new folder.  Of each run: wall time without the start of Ray, processor time of all tasks, and the
share of the time in which workers had a task (the rest is their start and waiting).

On a machine that others use as well wall times tell of them.  `expected` is what they change least: workers
times the share of their time that they are busy, over what one recording takes of the processor; the ratio
of two runs is their speedup where every worker has a core of its own.  `load_before` says how quiet it was.
Writes benchmarks/results/batch.json; runs that are not measured now stay.
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.batch import Plan, Reading, Recording, run_batch
from instascene_core.batch.ray_workers import LOCAL, RayWorkers
from instascene_core.batch.records import all_records
from instascene_core.config import SyntheticConfig
from instascene_core.config.batch import BatchConfig
from instascene_core.config_file import load_config
from instascene_core.synthetic import generate_scene, write_dataset

VIEWS, WIDTH, HEIGHT, OBJECTS = 8, 128, 96, 1
SETTINGS = (
    "reconstruction.iterations=100", "reconstruction.max_gaussians=4000", "completion.prior=carving",
    "completion.num_samples=1", "completion.observing.max_voxels=30000", "export.formats=[obj, collision]",
    "export.texture.enabled=false",
)  # fmt: skip

logger = logging.getLogger("benchmarks.batch")


def recordings(folder: Path, count: int) -> list[Recording]:
    """So many, each of a scene of its own."""
    made = []
    for seed in range(1, count + 1):
        config = SyntheticConfig(
            seed=seed, num_objects=OBJECTS, num_views=VIEWS, width=WIDTH, height=HEIGHT, supersampling=1,
            layout="spread", kinds=("box", "can"),
        )  # fmt: skip
        path = folder / f"scene_{seed:03d}"
        write_dataset(generate_scene(config), path)
        made.append(Recording(path.name, path))
    return made


def measure(made: Sequence[Recording], output: Path, workers: int) -> dict:
    """One run, one row."""
    plan = Plan.of(output, load_config(None, SETTINGS), Reading(), BatchConfig())
    started, load = 0.0, round(os.getloadavg()[0], 1)

    def begin() -> RayWorkers:
        nonlocal started
        start = time.perf_counter()
        ready = RayWorkers(plan, LOCAL, workers)
        started = time.perf_counter() - start
        return ready

    result = run_batch(made, plan, begin)
    found = list(all_records(plan))
    busy = sum(sum(record.seconds.values()) for record in found)
    processor = sum(sum(record.processor_seconds.values()) for record in found)
    seconds = result.seconds - started
    return {
        "workers": workers,
        "load_before": load,
        "recordings": len(made),
        "count": result.count,
        "objects": result.summary.objects,
        "ray_start_s": started,
        "seconds": seconds,
        "processor_s": processor,
        "by_stage_processor_s": dict(result.summary.processor_seconds),
        "busy": busy / (workers * seconds),
        "expected": workers * busy / (workers * seconds) / (processor / len(made)),
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--recordings", type=int, default=24)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--output", type=Path, default=RESULTS / "batch.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    made_by = provenance_of("batch")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        made = recordings(Path(folder) / "in", arguments.recordings)
        for workers in arguments.workers:
            rows.append(measure(made, Path(folder) / f"out_{workers}", workers))
            logger.info("%s", rows[-1])
    write_results(arguments.output, "batch", {"runs": rows}, made_by)


if __name__ == "__main__":
    main()

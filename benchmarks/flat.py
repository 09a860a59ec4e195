"""A flat by tiles: `python -m benchmarks.flat [--rooms 1 2 3 6] [--size 4]`.

Synthetic flats (`instascene synth --layout rooms`), 25 objects and 56 RGB-D views of 320×240 a room, exact
poses, are made by `instascene run --tiles SIZE`, each in a process of its own, with a prior that only carves
and few voxels: what is measured is whether rooms come together, not the finest shape.  Found: a true object
that a completed one meets at a volume IoU of 0.5; false: a completed one that meets none at 0.25.  Of each
flat: found, false, how often a thing was seen by two tiles, processor time, peak memory of the process until
all tiles were done, and at all.  Writes benchmarks/results/flat.json; rows that are not measured now stay.
"""

import argparse
import json
import logging
import multiprocessing
import resource
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core import cli
from instascene_core.config import SyntheticConfig
from instascene_core.synthetic import generate_scene, write_dataset

# Seed 1 was used to choose the settings, and which frames are a tile's.  Objects and views a room.
SEED, OBJECTS, VIEWS, WIDTH, HEIGHT = 301, 25, 56, 320, 240
SETTINGS = (
    "reconstruction.iterations=300", "reconstruction.gaussians_per_pixel=1.0", "completion.prior=carving",
    "completion.num_samples=1", "completion.observing.max_voxels=30000",
    "completion.convex_parts.max_parts=1", "export.formats=[ply, obj, collision]",
    "export.texture.enabled=false",
)  # fmt: skip

logger = logging.getLogger("benchmarks.flat")


def flat_of(rooms: int, folder: Path) -> Path:
    """The recording of a flat, made once."""
    config = SyntheticConfig(
        seed=SEED, layout="rooms", rooms=rooms, num_objects=OBJECTS * rooms, num_views=VIEWS * rooms,
        width=WIDTH, height=HEIGHT, fov_degrees=60.0, supersampling=1, shadows=False,
        min_observed_fraction=0.1,
    )  # fmt: skip
    if not (folder / "transforms.json").exists():
        write_dataset(generate_scene(config), folder)
    return folder


def run_one(recording: Path, output: Path, size: float, answer: Path) -> None:
    """Make the flat in this very process, which is new, and write what it took to the file `answer`."""
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    began, wall = time.process_time(), time.perf_counter()
    try:
        cli.main(["run", str(recording), "--output", str(output), "--tiles", f"{size:g}", "--quiet", *words])
    except SystemExit as ended:
        raise RuntimeError(f"the run ended with status {ended.code}") from ended
    answer.write_text(
        json.dumps({
            "processor_s": time.process_time() - began,
            "wall_s": time.perf_counter() - wall,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        })
    )  # fmt: skip


def measure(rooms: int, size: float, folder: Path) -> dict:
    """The row of a flat."""
    recording, output = flat_of(rooms, folder / f"flat_{rooms}"), folder / f"out_{rooms}_{size:g}"
    shutil.rmtree(output, ignore_errors=True)
    answer = folder / f"answer_{rooms}_{size:g}.json"
    process = multiprocessing.get_context("spawn").Process(
        target=run_one, args=(recording, output, size, answer)
    )
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"The flat of {rooms} rooms failed with status {process.exitcode}.")
    metrics = json.loads((output / "metrics.json").read_text())
    accuracy, tiles = metrics["accuracy"], metrics["tiles"]
    return {
        "rooms": rooms,
        "size_m": size,
        "tiles": tiles["done"],
        "true_objects": accuracy["true_objects"],
        "found": round(accuracy["recall_50"] * accuracy["true_objects"]),
        "delivered": accuracy["instances"],
        "false": accuracy["spurious"],
        "found_twice": tiles["found_twice"],
        "mean_iou_found": accuracy["mean_volume_iou"],
        "frames": metrics["frames"],
        "gaussians": metrics["gaussians"],
        "tiles_peak_mb": metrics["peak_memory_mb"],
        **json.loads(answer.read_text()),
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rooms", type=int, nargs="+", default=[1, 2, 3, 6])
    parser.add_argument("--size", type=float, default=4.0, help="side of a tile, metres; a room has 4")
    parser.add_argument("--work", type=Path, default=None, help="folder for recordings and scenes, kept")
    parser.add_argument("--output", type=Path, default=RESULTS / "flat.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for rooms in arguments.rooms:
            made_by = provenance_of("flat")
            row = measure(rooms, arguments.size, folder)
            logger.info("%s", row)
            write_results(arguments.output, "flat", {"runs": [row]}, made_by)


if __name__ == "__main__":
    main()

"""Peak memory of a whole job: `python -m benchmarks.memory [--views 60] [--size 320 240]`.

A procedural RGB-D scene is read frame by frame, reconstructed, segmented and completed in this process.  What
the libraries take once they are loaded (measured after a tiny job) is told apart.  Writes
benchmarks/results/memory.json.
"""

import argparse
import logging
import resource
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.records import RESULTS, provenance_of, write_results
from benchmarks.streaming import resident_mb
from instascene_core.config import Config, SyntheticConfig
from instascene_core.datasets import open_dataset
from instascene_core.errors import InputError
from instascene_core.scene import Scene
from instascene_core.synthetic import generate_scene, write_dataset

logger = logging.getLogger("benchmarks.memory")


def job(folder: Path, config: Config) -> dict[str, float]:
    """Everything from files to completed objects; resident and peak memory (MB) after each stage."""
    scene, found = Scene(config), {}
    for frame in open_dataset(folder, use_masks=False):
        scene.add_frame(frame)
    for stage in ("reconstruct", "segment", "complete"):
        if stage == "complete":
            for instance in scene.require_instances().objects:
                try:
                    scene.complete(instance.id)
                except InputError as error:
                    logger.info("object %d: %s", instance.id, error)
        else:
            getattr(scene, stage)()
        found[f"{stage}_resident_mb"], found[f"{stage}_peak_mb"] = resident_mb(), peak_mb()
        logger.info("%s: %.0f MB now, %.0f MB at most", stage, resident_mb(), peak_mb())
    return found


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--views", type=int, default=60)
    parser.add_argument("--size", type=int, nargs=2, default=[320, 240])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS / "memory.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    made_by = provenance_of("memory")
    width, height = arguments.size
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small", Path(folder) / "large"
        tiny = SyntheticConfig(seed=1, num_objects=2, num_views=6, width=96, height=72)
        write_dataset(generate_scene(tiny), small)
        source = SyntheticConfig(seed=arguments.seed, num_views=arguments.views, width=width, height=height)
        write_dataset(generate_scene(source), large)
        quick = replace(Config(), reconstruction=replace(Config().reconstruction, iterations=20))
        job(small, quick)
        libraries = resident_mb()
        logger.info("libraries, loaded and used once: %.0f MB", libraries)
        found = job(large, Config())
    beyond = peak_mb() - libraries
    logger.info(
        "%d views of %d×%d: %.0f MB at most beyond the libraries", arguments.views, width, height, beyond
    )
    result = {"views": arguments.views, "width": width, "height": height, "libraries_mb": libraries, **found}
    write_results(arguments.output, "memory", {**result, "beyond_libraries_mb": beyond}, made_by)


if __name__ == "__main__":
    main()

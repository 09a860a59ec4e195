"""How long mask clustering takes, and how far the set-based oracle is behind it.

`python -m benchmarks.association`: 100 frames × 30 masks × 100k Gaussians, a small case against the plain
loops of the tests, and how processor time grows to 500 frames.  Writes benchmarks/results/association.json.
"""

import argparse
import logging
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.association import associate
from instascene_core.association.consensus import cluster_masks, observe
from instascene_core.association.masks import build_masks
from instascene_core.config import AssociationConfig
from instascene_core.rendering.trace import PixelTrace

GROWING = 60, 100, 200, 500  # frames
GROWING_GAUSSIANS = 20_000

logger = logging.getLogger("benchmarks.association")


def scene(frames: int, objects: int, gaussians: int, height: int = 240, width: int = 320, seed: int = 0):
    """Spheres in rows; every view shows the Gaussians that face it, two to a pixel."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(gaussians, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    owner = np.sort(rng.integers(0, objects, gaussians))
    means = np.stack([owner % 6, owner // 6, np.zeros(gaussians)], axis=1) * 0.2 + 0.08 * normals
    pixels = height * width
    traces, images = [], []
    for _ in range(frames):
        direction = rng.normal(size=3)
        facing = np.flatnonzero(normals @ (direction / np.linalg.norm(direction)) > 0.3)
        front = np.sort(rng.choice(facing, pixels))
        indices = np.stack([front, np.roll(front, 1)], axis=1).ravel().astype(np.int32)
        weights = np.tile(np.array([0.6, 0.3], dtype=np.float32), pixels)
        before = np.tile(np.array([1.0, 0.7], dtype=np.float32), pixels)
        offsets = np.arange(pixels + 1, dtype=np.int64) * 2
        traces.append(PixelTrace(height, width, offsets, indices, weights, before))
        ids = rng.permutation(objects) + 1
        images.append(ids[owner[front]].reshape(height, width).astype(np.int32))
    return means, traces, images


def timed(action, repeats: int = 5) -> tuple[float, float]:
    """The least of several runs: seconds by the wall, seconds of processor."""
    wall, processor = [], []
    for _ in range(repeats):
        start, start_processor = time.perf_counter(), time.process_time()
        action()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return min(wall), min(processor)


def compare_with_oracle() -> dict:
    """Groups of masks by sparse algebra and by loops over sets, on 12 frames × 6 masks × 3,000 Gaussians."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "core"))
    # The folder of the line before is not on the path otherwise.
    from association_cases import oracle_groups, oracle_masks  # pyright: ignore[reportMissingImports]  # see above

    config = AssociationConfig(min_gaussians=5)
    means, traces, images = scene(12, 6, 3000, 60, 80)

    def ours():
        masks = build_masks(images, traces, len(means), config)
        return cluster_masks(masks, observe(masks, config), config)

    def loops():
        masks, _ = oracle_masks(images, traces, config)
        return oracle_groups(masks, len(traces), config)

    groups, (expected, _) = ours(), loops()
    found = {frozenset(np.flatnonzero(groups == g).tolist()) for g in np.unique(groups) if g >= 0}
    fast, slow = timed(ours)[1], timed(loops, 1)[1]
    logger.info("same groups: %s; %.1f ms against %.0f ms, %.0f times", found == expected, 1e3 * fast,
                1e3 * slow, slow / fast)  # fmt: skip
    return {"same_groups": found == expected, "ms": 1e3 * fast, "oracle_ms": 1e3 * slow, "ratio": slow / fast}


def growth(objects: int) -> list[dict]:
    """Processor seconds of clustering over the number of frames, of small images of the same Gaussians."""
    rows = []
    for frames in GROWING:
        means, traces, images = scene(frames, objects, GROWING_GAUSSIANS, 96, 128)
        for clustering in ("votes", "consensus"):
            config = AssociationConfig(clustering=clustering)
            instances = len(associate(images, traces, means, config).clusters)
            wall, processor = timed(partial(associate, images, traces, means, config), 2)
            rows.append({"clustering": clustering, "frames": frames, "masks": objects, "seconds": wall,
                         "cpu_seconds": processor, "instances": instances})  # fmt: skip
            logger.info("%s", rows[-1])
    return rows


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--objects", type=int, default=30)
    parser.add_argument("--gaussians", type=int, default=100_000)
    parser.add_argument("--output", type=Path, default=RESULTS / "association.json")
    args = parser.parse_args()
    made_by = provenance_of("association")
    means, traces, images = scene(args.frames, args.objects, args.gaussians)
    runs = []
    for clustering in ("votes", "consensus"):
        config = AssociationConfig(clustering=clustering)
        wall, processor = timed(lambda config=config: associate(images, traces, means, config))
        found = len(associate(images, traces, means, config).clusters)
        logger.info(
            "%s: %d frames × %d masks × %d Gaussians: %.2f s (processor %.2f s), %d found",
            clustering,
            args.frames,
            args.objects,
            args.gaussians,
            wall,
            processor,
            found,
        )
        runs.append({"clustering": clustering, "seconds": wall, "cpu_seconds": processor, "instances": found})
    size = {"frames": args.frames, "objects": args.objects, "gaussians": args.gaussians}
    found = {**size, "runs": runs, "oracle": compare_with_oracle(), "growth": growth(args.objects)}
    write_results(args.output, "association", found, made_by)


if __name__ == "__main__":
    main()

"""What is one object: `python -m benchmarks.wholes [--sensors d435 perfect] [--scenes N]`.

Things of several parts, of kinds that no training has seen, have to come out in one piece; equal things in
one stack have to come out as many as they are.  The built-in 2D segmenter alone is measured, on the sensor's
frames without a reconstruction, so that a scene takes seconds.  A thing is in one piece where one instance
holds at least half of its pixels, no less than 80 % of those that any instance holds, and at most 20 % of
that instance's pixels on things are on others; twins are apart where each of them is.  How well the masks
cover the things is another question: their IoU tells.  Writes benchmarks/results/wholes.json.
"""

import argparse
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import Config, SyntheticConfig
from instascene_core.metrics import mask_iou
from instascene_core.segmentation import CONVENTION, find_support, make_segmenter
from instascene_core.synthetic import generate_scene
from instascene_core.synthetic.household import make
from instascene_core.synthetic.unseen import HELD_OUT
from instascene_core.synthetic.unseen_assemblies import HELD_OUT_ASSEMBLIES

# As in benchmarks.conditions: a seed whose result was looked at to change something is replaced, and noted.
SEEDS = {
    "parts": (54011, 54013, 54037, 54049, 54059, 54083, 54091, 54101),
    "twins": (55009, 55021, 55049, 55051, 55057, 55061),
}
# Seed that was looked at → seed that stands for it.  The first measure asked for 80 % of all pixels; its
# results showed that it measured how the masks cover thin things, not what is one, and it was changed.
# Results on the second seeds were seen before the segmenter was trained further, on the third before the
# judges were trained anew on corrected poses.
RETIRED = {
    52009: 52103, 52021: 52121, 52027: 52127, 52051: 52147, 52057: 52153, 52067: 52163, 52069: 52177,
    52081: 52181, 53003: 53087, 53017: 53089, 53047: 53093, 53051: 53101, 53069: 53113, 53077: 53117,
    52103: 52189, 52121: 52201, 52127: 52223, 52147: 52237, 52153: 52249, 52163: 52253, 52177: 52259,
    52181: 52267, 53087: 53129, 53089: 53147, 53093: 53149, 53101: 53161, 53113: 53171, 53117: 53173,
    52189: 54011, 52201: 54013, 52223: 54037, 52237: 54049, 52249: 54059, 52253: 54083, 52259: 54091,
    52267: 54101, 53129: 55009, 53147: 55021, 53149: 55049, 53161: 55051, 53171: 55057, 53173: 55061,
}  # fmt: skip
VIEWS, THINGS = 24, 5
COVERED, TOGETHER = 0.5, 0.8  # of a thing's pixels, and of those in any instance, in one at least
ALIEN = 0.2  # of an instance's pixels on things, on others at most

logger = logging.getLogger("benchmarks.wholes")


def settings_of(group: str, number: int, sensor: str) -> SyntheticConfig:
    """The scene of the `number`-th seed of a group."""
    config = SyntheticConfig(seed=SEEDS[group][number], num_views=VIEWS, sensor=sensor, num_objects=THINGS)
    if group == "twins":
        return replace(config, layout="twins_cross", num_objects=8, kinds=(*HELD_OUT, *HELD_OUT_ASSEMBLIES))
    # Every kind comes once.
    kinds = HELD_OUT_ASSEMBLIES[number * THINGS : (number + 1) * THINGS]
    return replace(config, layout="assemblies", kinds=kinds, num_objects=len(kinds))


def measure(group: str, number: int, sensor: str, config: Config) -> dict:
    """One row: how many things there are, and how many of them are in one piece and alone."""
    settings = settings_of(group, number, sensor)
    scene = generate_scene(settings)
    frames = list(scene.frames())
    truth = [frame.require_labels() for frame in frames]
    frames = [frame.with_(labels=None) for frame in frames]
    up = CONVENTION
    start = time.perf_counter()
    support = find_support(frames, up, config.segmentation.support)
    segmenter = make_segmenter(
        replace(config.segmentation, segmenter="builtin"), frames, support, up=up, seek_support=False
    )
    found = [segmenter.segment(frame).labels for frame in frames]
    seconds = time.perf_counter() - start
    composed = {o.id: o.kind for o in scene.objects if group == "twins" or o.solid.pieces}
    iou, ids_p, ids_t = mask_iou(found, truth)
    whole = _whole(found, truth)
    counted = [i for i in ids_t if i in composed]
    best = iou.max(axis=0, initial=0)
    return {
        "sensor": sensor, "group": group, "seed": settings.seed, "things": len(counted),
        "whole": sum(i in whole for i in counted), "instances": len(ids_p), "true_objects": len(ids_t),
        "false_instances": int((iou.max(axis=1, initial=0) < 0.5).sum()), "miou": float(best.mean()),
        "kinds": {f"{composed[i]} {i}": [i in whole, float(best[ids_t.index(i)])] for i in counted},
        "seconds": seconds,
    }  # fmt: skip


def _whole(found: list[np.ndarray], truth: list[np.ndarray]) -> set[int]:
    """The true ids that are in one piece and alone."""
    pair = np.stack([np.concatenate([i.ravel() for i in images]) for images in (found, truth)])
    pair = np.maximum(pair, 0).astype(np.int64)
    shape = (int(pair[0].max()) + 1, int(pair[1].max()) + 1)
    table = np.zeros(shape, dtype=np.int64)
    np.add.at(table, tuple(pair), 1)
    whole = set()
    for true_id in range(1, table.shape[1]):
        held = table[1:, true_id]
        if not len(held) or not held.max():
            continue
        on_things = table[1 + int(held.argmax()), 1:].sum()
        covered = held.max() >= COVERED * table[:, true_id].sum()
        together, alone = held.max() >= TOGETHER * held.sum(), on_things - held.max() <= ALIEN * on_things
        if covered and together and alone:
            whole.add(true_id)
    return whole


def with_summary(results: dict) -> dict:
    """The rows in order, and their sums by sensor and group."""
    rows = sorted(results["runs"], key=lambda row: (row["sensor"], row["group"], row["seed"]))
    summary = []
    for sensor, group in dict.fromkeys((row["sensor"], row["group"]) for row in rows):
        chosen = [row for row in rows if (row["sensor"], row["group"]) == (sensor, group)]
        things = sum(row["things"] for row in chosen)
        summary.append(
            {
                "sensor": sensor, "group": group, "scenes": len(chosen), "things": things,
                "whole": sum(row["whole"] for row in chosen) / max(things, 1),
                "miou": float(np.mean([row["miou"] for row in chosen])),
                "false_instances": sum(row["false_instances"] for row in chosen) / len(chosen),
            }
        )  # fmt: skip
        logger.info("%s", summary[-1])
    return {"runs": rows, "summary": summary}


def main() -> None:
    """Run what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sensors", nargs="*", default=["d435", "perfect"])
    parser.add_argument("--groups", nargs="*", default=list(SEEDS), choices=list(SEEDS))
    parser.add_argument("--scenes", type=int, default=100, help="only the first so many of each group")
    parser.add_argument("--output", type=Path, default=RESULTS / "wholes.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    for kind in HELD_OUT_ASSEMBLIES:  # a kind that is gone must not shrink the benchmark silently
        make(kind, np.random.default_rng(0))
    made_by = provenance_of("wholes")
    for sensor in arguments.sensors:
        for group in arguments.groups:
            for number in range(min(len(SEEDS[group]), arguments.scenes)):
                row = measure(group, number, sensor, Config())
                logger.info("%s", {name: value for name, value in row.items() if name != "kinds"})
                write_results(arguments.output, "wholes", {"runs": [row]}, made_by, with_summary)


if __name__ == "__main__":
    main()

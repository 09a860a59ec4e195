"""Geometry alone, with true masks: `python -m benchmarks.geometry [--conditions d435 …] [--clutter FOLDER]`.

What `benchmarks.conditions` measures from images to objects, less what finding the objects costs: the frames
carry their true labels, poses and support are found as ever, and every object that is shown is completed.
The scenes are those of `benchmarks.conditions`; --development takes scenes of thin things, vessels and tools
instead, on which rules may be tuned; --clutter FOLDER the recordings d1, d2, d3 of development.  A row per
scene goes to benchmarks/results/geometry.json as it comes; one that is there by today's code and weights is
not measured again.  `--summary` only prints.
"""

import argparse
import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.cached_scenes import (
    RECONSTRUCTION,
    cached_reconstruction,
    cached_scene,
    content_key,
    true_meshes,
)
from benchmarks.common_motion import Truths, figures_beside_motion
from benchmarks.conditions import CONDITIONS, DEVELOPMENT, SEEDS, settings_of, with_sensor
from benchmarks.delivery import object_figures, summarised
from benchmarks.records import RECORDS, RESULTS, mark_of, provenance_of, write_results
from instascene_core.completion import complete
from instascene_core.config import Config, SyntheticConfig
from instascene_core.datasets import open_dataset
from instascene_core.datasets.images import read_labels
from instascene_core.errors import InputError
from instascene_core.frame import Frame, labels_from_image
from instascene_core.instances import InstanceId
from instascene_core.metrics import ObjectAccuracy, compare_objects, load_truth
from instascene_core.scene import Reconstruction
from instascene_core.scene.dense_views import dense_views
from instascene_core.segmentation import find_support_and_up
from instascene_core.synthetic import generate_scene

RECORD = RECORDS["geometry"]
# Scenes to tune on: seed → layout, kinds.  Thin things, vessels and tools that no training has seen.
THIN = ("plate", "pan", "bowl", "mug", "tray", "pot", "shears", "rim_plate", "cup", "spoon")
DEVELOPMENT_SEEDS = {
    71003: ("spread", THIN),
    71011: ("pile", THIN),
    71023: ("contents", ()),
    71039: ("nested", ()),
}
OBJECTS = 8  # in a scene of development
HEADLINE = (
    "mean_volume_iou_all", "mean_f_score_all", "iou_of_poses", "placed_iou_all", "recall_75", "seconds",
)  # fmt: skip

logger = logging.getLogger("benchmarks.geometry")


# ── one scene ─────────────────────────────────────────────────────────────────────────────────────


def completed(
    labelled: Sequence[Frame],
    reconstruction: Reconstruction,
    truths: Truths,
    config: Config,
    true_poses: np.ndarray | None = None,
) -> dict:
    """One row: every true object completed from the frames' true labels and the poses that were found.

    labelled: the frames with true labels, ids as in `truths`; their depth is what the sensor measured.
    true_poses: [V, 4, 4] of the frames, where they are known.
    """
    labels = {frame.name: frame.require_labels() for frame in labelled}
    views = dense_views(reconstruction, config)
    found, up = find_support_and_up(views, config.up, config.segmentation.support)
    support = None if found is None else found.plane
    views = [view.with_(labels=labels[view.name]) for view in views]
    start, objects, failures = time.perf_counter(), [], {}
    for _, truth in truths:
        try:
            thing = complete(views, InstanceId(truth.truth_id), support, config.completion, up=up.direction)
        except InputError as error:
            failures[truth.name] = str(error)
        else:
            objects.append(thing)
            logger.info("%s: %.0f s, %s", truth.name, thing.duration_s, thing.prior)
    seconds = time.perf_counter() - start
    accuracy = compare_objects(objects, truths)
    return {
        **object_figures(accuracy),
        **figures_beside_motion(objects, truths, true_poses, reconstruction.posed_frames),
        "f_scores": {row.name: row.f_score for row in accuracy.objects},
        "failures": failures,
        "seconds": seconds,
    }  # fmt: skip


def development_settings(seed: int, sensor: str) -> SyntheticConfig:
    """A scene of development as a sensor sees it."""
    layout, kinds = DEVELOPMENT_SEEDS[seed]
    return replace(
        with_sensor(settings_of(CONDITIONS["perfect"], next(iter(SEEDS))), sensor),
        seed=seed, layout=layout, num_objects=OBJECTS, kinds=kinds,
    )  # fmt: skip


def measure(condition: str, seed: int, cache: Path, config: Config) -> dict:
    """The row of one scene."""
    how = CONDITIONS[condition]
    tuned = seed in DEVELOPMENT_SEEDS
    settings = development_settings(seed, how.sensor) if tuned else settings_of(how, seed)
    made = cached_scene(
        f"{how.sensor}-{seed}", settings, config.reconstruction, how.depth, cache, trust=False
    )
    truths = [
        (mesh, ObjectAccuracy(number, f"{kind} {number}", math.nan))
        for number, kind, mesh in true_meshes(settings, cache)
    ]
    poses = generate_scene(settings).poses
    row = completed(made.frames, made.reconstruction, truths, config, poses)
    return {"condition": condition, "seed": seed, "layout": settings.layout, "development": tuned, **row}


def measure_recording(folder: Path, cache: Path, config: Config) -> dict:
    """The row of a rendered recording with its ground truth."""
    frames = list(open_dataset(folder, use_masks=False))
    masks = folder / "ground_truth" / "masks"
    truth = [f.with_(labels=labels_from_image(read_labels(masks / f"{f.name}.png"))) for f in frames]
    key = content_key(RECONSTRUCTION, frames, Config(reconstruction=config.reconstruction))
    made, _ = cached_reconstruction(folder.name, frames, config.reconstruction, True, cache, key)
    row = completed(truth, made, load_truth(folder / "ground_truth"), config)
    return {"recording": folder.name, **row}


# ── the record ────────────────────────────────────────────────────────────────────────────────────


def is_known(path: Path, name: str, row: dict) -> bool:
    """Whether a row of this identity by today's code and weights is on record in list `name`."""
    rows = json.loads(path.read_text()).get(name, []) if path.exists() else []
    return any(
        all(old[key] == row[key] for key in RECORD[name].identity) and not mark_of(old, RECORD[name].sources)
        for old in rows
    )


def with_summary(results: dict) -> dict:
    """The rows in order, and the means over the scenes of the report and those of development."""
    scenes = sorted(
        results.get("scenes", []), key=lambda row: (list(CONDITIONS).index(row["condition"]), row["seed"])
    )
    groups = dict.fromkeys((row["condition"], row["development"]) for row in scenes)
    summary = []
    for condition, development in groups:
        rows = [row for row in scenes if (row["condition"], row["development"]) == (condition, development)]
        summary.append({"condition": condition, "development": development, **summarised(rows, HEADLINE)})
    recordings = sorted(results.get("recordings", []), key=lambda row: row["recording"])
    return {"scenes": scenes, "scenes_summary": summary, "recordings": recordings}


def reported(results: dict) -> list[str]:
    """Lines: the summaries, then the recordings object by object."""
    lines = []
    for entry in results.get("scenes_summary", []):
        figures = "  ".join(f"{key} {entry[key][0]:.3f}" for key in HEADLINE)
        which = "development" if entry["development"] else "report"
        lines.append(f"{entry['condition']} ({which}): {entry['scenes']} scenes  {figures}")
    for row in results.get("recordings", []):
        figures = "  ".join(f"{key} {row[key]:.3f}" for key in HEADLINE if key in row)
        objects = ", ".join(f"{name} {value:.2f}" for name, value in row["objects"].items())
        lines.append(f"{row['recording']}: {figures}  ({objects})")
    return lines


def run(conditions: Sequence[str], seeds: Sequence[int], cache: Path, output: Path) -> None:
    """Measure the scenes that are not on record yet, and write each row as it comes."""
    made_by, config = provenance_of("geometry"), Config()
    for seed in seeds:
        for condition in conditions:
            if is_known(output, "scenes", {"condition": condition, "seed": seed}):
                logger.info("%s %d: on record", condition, seed)
                continue
            row = measure(condition, seed, cache, config)
            write_results(output, "geometry", {"scenes": [row]}, made_by, with_summary)


def run_recordings(folder: Path, cache: Path, output: Path) -> None:
    """Measure the recordings of development that are there and not on record yet."""
    made_by = provenance_of("geometry")
    for name in DEVELOPMENT:
        if not (folder / name / "ground_truth").is_dir():
            logger.warning("There is no recording '%s' with ground truth in %s.", name, folder)
        elif not is_known(output, "recordings", {"recording": name}):
            row = measure_recording(folder / name, cache, Config())
            write_results(output, "geometry", {"recordings": [row]}, made_by, with_summary)


def main() -> None:
    """Run what was asked for and print the summary of all that is on record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--conditions", nargs="*", default=["d435"], choices=list(CONDITIONS))
    parser.add_argument("--scenes", type=int, default=10, help="only the first so many seeds")
    parser.add_argument("--development", action="store_true", help="the scenes that rules are tuned on")
    parser.add_argument("--clutter", type=Path, help="folder of the recordings d1, d2, d3: run these instead")
    parser.add_argument("--cache", type=Path, default=Path(".cache/conditions"))
    parser.add_argument("--summary", action="store_true", help="run nothing")
    parser.add_argument("--output", type=Path, default=RESULTS / "geometry.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    logging.getLogger("instascene_core").setLevel(logging.ERROR)
    if arguments.clutter is not None and not arguments.summary:
        run_recordings(arguments.clutter, arguments.cache, arguments.output)
    elif not arguments.summary:
        seeds = list(DEVELOPMENT_SEEDS if arguments.development else SEEDS)[: arguments.scenes]
        run(arguments.conditions, seeds, arguments.cache, arguments.output)
    if not arguments.output.exists():
        raise SystemExit(f"Nothing is on record in {arguments.output} yet.")
    for line in reported(json.loads(arguments.output.read_text())):
        logger.info("%s", line)


if __name__ == "__main__":
    main()

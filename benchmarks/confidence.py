"""Whether `confidence` is the probability it claims: `python -m benchmarks.confidence [--clutter FOLDER]`.

Jobs from images to completed objects, as those that the confidence is trained on (few views, built-in masks,
six sensors in turn), on 40 scenes of other seeds and of kinds that neither the masks nor the confidence were
trained on; `--clutter FOLDER` adds the recordings d1, d2, d3 of development, which no training uses.  Good is
a volume IoU of 0.7 with a true object.  A row per scene goes to benchmarks/results/confidence.json as it
comes; one that is there is not measured again (`--again` does).  What an object is judged by does not depend
on the weights of the judgement, so the figures are of the rows on record, judged by today's weights.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.provenance import Provenance
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.completion.confidence.model import GOOD_IOU, load_confidence_model
from instascene_core.config import Config
from instascene_core.datasets import open_dataset
from instascene_core.metrics import load_truth
from instascene_core.metrics.calibration import (
    area_under_roc,
    brier_score,
    calibration_error_by_chance,
    expected_calibration_error,
    precision_from,
    reliability,
)
from instascene_core.training.confidence.jobs import KEPT_UNSEEN, Job, cheap, delivered, job_of, run_job

# As in benchmarks.conditions: nobody tunes on them; a seed whose result was looked at to change something is
# replaced, and noted.  The first 20 alone could not tell an error of .08 from none.
SEEDS = tuple(range(89001, 89041))
DEVELOPMENT = ("d1", "d2", "d3")
GROUPS = ("synthetic", "clutter")
THRESHOLDS = tuple(round(0.1 * k, 1) for k in range(10))

logger = logging.getLogger("benchmarks.confidence")


def kept_job(seed: int) -> Job:
    """The scene of a seed, of the kinds that training leaves out."""
    job = job_of(seed)
    return replace(job, scene=replace(job.scene, kinds=KEPT_UNSEEN))


def measure_synthetic(seed: int) -> dict:
    """One row."""
    facts = run_job(kept_job(seed))
    about = {
        "layout": facts["scene"]["layout"],
        "true_objects": facts["true_objects"],
        "objects": facts["rows"],
    }
    return {"group": "synthetic", "scene": str(seed), "condition": facts["condition"], **about}


def measure_clutter(folder: Path) -> dict:
    """One row."""
    truths = load_truth(folder / "ground_truth")
    rows = delivered(list(open_dataset(folder, use_masks=False)), truths, cheap(Config()))
    about = {"layout": "", "true_objects": len(truths), "objects": rows}
    return {"group": "clutter", "scene": folder.name, "condition": "recording", **about}


def figures(rows: Sequence[dict]) -> list[dict]:
    """One row a group: what the confidences of all its delivered objects are worth."""
    model, found = load_confidence_model(), []
    for group in GROUPS:
        scenes = [row for row in rows if row["group"] == group]
        objects = [thing for row in scenes for thing in row["objects"]]
        if not objects:
            continue
        probability = model.probabilities([thing["evidence"] for thing in objects])
        good = np.array([thing["iou"] >= GOOD_IOU for thing in objects])
        false = np.array([not thing["true"] for thing in objects])
        found.append({
            "group": group, "scenes": len(scenes), "objects": len(objects), "good": int(good.sum()),
            "false": int(false.sum()),
            "expected_calibration_error": expected_calibration_error(probability, good),
            "calibration_error_by_chance": calibration_error_by_chance(probability),
            "brier_score": brier_score(probability, good),
            "brier_score_of_the_base_rate": float(good.mean() * (1 - good.mean())),
            "auc_bad": known(area_under_roc(-probability, ~good)),
            "auc_false": known(area_under_roc(-probability[good | false], false[good | false])),
            "reliability": [
                {"from": b.low, "to": b.high, "count": b.count, "confidence": known(b.predicted),
                 "good": known(b.true)}
                for b in reliability(probability, good)
            ],
            "precision": [
                {"from": threshold, "kept": kept, "precision": known(precision), "recall": known(recall)}
                for threshold, kept, precision, recall in precision_from(probability, good, THRESHOLDS)
            ],
        })  # fmt: skip
    return found


def known(value: float) -> float | None:
    """None for NaN, which JSON lacks."""
    return None if np.isnan(value) else value


def write(output: Path, rows: list[dict], made_by: dict[str, Provenance]) -> None:
    """Add rows to the record, and the figures of all that are on it."""
    on_record = json.loads(output.read_text())["scenes"] if output.exists() else []
    names = {(row["group"], row["scene"]) for row in rows}
    others = [row for row in on_record if (row["group"], row["scene"]) not in names]
    found = {"scenes": rows, "figures": figures([*others, *rows])}
    write_results(output, "confidence", found, made_by)


def main() -> None:
    """Measure what is not on record yet and print the figures of all that is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clutter", type=Path, help="holds " + ", ".join(DEVELOPMENT))
    parser.add_argument("--scenes", type=int, default=len(SEEDS), help="only the first so many seeds")
    parser.add_argument("--again", action="store_true", help="measure also what is on record")
    parser.add_argument("--output", type=Path, default=RESULTS / "confidence.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    made_by = provenance_of("confidence")
    on_record = json.loads(arguments.output.read_text())["scenes"] if arguments.output.exists() else []
    done = set() if arguments.again else {(row["group"], row["scene"]) for row in on_record}
    for name in DEVELOPMENT if arguments.clutter else ():
        if ("clutter", name) not in done:
            write(arguments.output, [measure_clutter(arguments.clutter / name)], made_by)
            logger.info("%s", name)
    for seed in SEEDS[: arguments.scenes]:
        if ("synthetic", str(seed)) not in done:
            write(arguments.output, [measure_synthetic(seed)], made_by)
            logger.info("%d", seed)
    write(arguments.output, [], made_by)  # judged by today's weights
    for row in json.loads(arguments.output.read_text())["figures"]:
        logger.info("%s", {name: value for name, value in row.items() if not isinstance(value, list)})


if __name__ == "__main__":
    main()

"""Completion of single objects on a table: against simpler methods, and with more and more views."""

import argparse
import json
import logging
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.completion_methods import methods
from benchmarks.completion_observations import (
    OBJECT,
    TABLE,
    kind_of,
    load_objects,
    one_sided_frames,
    plain_objects,
    vessels_mouth_up,
)
from benchmarks.completion_scores import calibration, mean, score, summary
from benchmarks.provenance import cache_key
from benchmarks.records import RECORDS
from instascene_core.completion import PRIORS, complete_observation, make_prior, observe
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ConvexPartsConfig
from instascene_core.errors import InputError
from instascene_core.files import write_bytes
from instascene_core.geometry import TriangleMesh
from instascene_core.objects import CompletedObject

CONFIG = CompletionConfig(convex_parts=ConvexPartsConfig(max_parts=1))
VIEWS = (2, 4, 8, 16)
PLAIN = ("box", "can")
UPRIGHT = "mouth up"  # the vessels once more, as they are used

logger = logging.getLogger("benchmarks.completion")


# ── single objects ────────────────────────────────────────────────────────────────────────────────


def kept_rows(cache: Path) -> Path:
    """File of the rows of single cases, so that methods can be measured one after the other.

    It is named by code, weights and configuration: rows by others stay in files of their own and are not
    counted, so that every mean is over rows of one and the same code.
    """
    return cache / f"objects-{cache_key(RECORDS['completion']['objects'].sources, CONFIG)}.json"


def run_objects(arguments: argparse.Namespace) -> dict:
    """Every chosen method on every observation; the summary over all rows kept in `--cache`."""
    path = kept_rows(arguments.cache)
    rows = json.loads(path.read_text()) if path.exists() else []
    known = {(row["case"], row["method"]): row for row in rows}
    chosen = {n: m for n, m in methods(CONFIG).items() if not arguments.methods or n in arguments.methods}
    for name, group, truth in _things(arguments):
        for k in range(arguments.observations if group not in PLAIN else arguments.plain_observations):
            frames = one_sided_frames(truth, np.random.default_rng([zlib.crc32(name.encode()), k]))
            try:
                observation = observe(frames, OBJECT, TABLE, None, CONFIG)
            except InputError as error:
                logger.info("%s %d: %s", name, k, error)
                continue
            line = []
            for method, run in chosen.items():
                row = _measured(run, observation, truth, frames)
                row.update(case=f"{name}/{k}", group=group, method=method)
                known[row["case"], method] = row
                line.append(f"{method} {row['iou']:.2f} ({row['seconds']:.1f} s)")
            logger.info("%-14s %-7s %d  %s", name, group, k, "  ".join(line))
        # After every thing, so that a run that was cut short is not lost.
        write_bytes(path, json.dumps(list(known.values())).encode())
    rows = list(known.values())
    scanned = [row for row in rows if row["group"] not in (*PLAIN, UPRIGHT)]
    rows += [{**row, "group": "all scanned"} for row in scanned]
    return {"objects": summary(rows)}


def _things(arguments: argparse.Namespace) -> list[tuple[str, str, TriangleMesh]]:
    """Name, group and mesh of all things, always in the same order."""
    things = []
    if arguments.meshes.is_dir():
        scanned = load_objects(arguments.meshes)
        things = [(name, kind_of(mesh), mesh) for name, mesh in scanned.items()]
        upright = vessels_mouth_up(arguments.meshes)
        things += [(f"{name}, {UPRIGHT}", UPRIGHT, mesh) for name, mesh in upright.items()]
    else:
        logger.info("There are no meshes at %s; give a folder of closed STL files with --meshes.",
                    arguments.meshes)  # fmt: skip
    things += [(name, name.split()[0], mesh) for name, mesh in plain_objects().items()]
    return [thing for thing in things if not arguments.only or thing[0] in arguments.only]


def _measured(run, observation, truth: TriangleMesh, frames) -> dict:
    start, processor = time.perf_counter(), time.process_time()
    try:
        result = run(observation)
    except InputError as error:
        return {"iou": 0.0, "sound": False, "seconds": time.perf_counter() - start, "error": str(error)}
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    whole = isinstance(result, CompletedObject)
    row: dict = {**score(result.mesh if whole else result, truth, frames)}
    if whole:
        row.update(calibration(result, truth), made_by=result.prior)
    return {**row, "seconds": seconds, "cpu_seconds": processor}


# ── more views ────────────────────────────────────────────────────────────────────────────────────


def run_views(arguments: argparse.Namespace) -> dict:
    """Spread of four guesses and error, as the same object is seen by more and more of 16 views."""
    config = replace(CONFIG, candidates=False)
    rows = []
    for name in [p for p in PRIORS if not arguments.methods or p in arguments.methods]:
        for thing, _, truth in _things(arguments):
            rng = np.random.default_rng([zlib.crc32(thing.encode()), 99])
            frames = one_sided_frames(truth, rng, 16, 337.5)
            diagonal = float(np.linalg.norm(np.ptp(truth.vertices, axis=0)))
            for count in VIEWS:
                # Each set of views holds the smaller ones: they start side by side and end all around.
                observation = observe(frames[:count], OBJECT, TABLE, None, config)
                result = complete_observation(observation, make_prior(name), config, 4, 0)
                row = {"prior": name, "thing": thing, "views": count, "iou": score(result.mesh, truth)["iou"]}
                rows.append({**row, "spread": result.uncertainty / diagonal})
            spread = [f"{row['spread']:.4f}" for row in rows[-len(VIEWS) :]]
            logger.info("%-10s %-14s spread %s", name, thing, " ".join(spread))
    table = []
    for name in dict.fromkeys(row["prior"] for row in rows):
        of_prior = [row for row in rows if row["prior"] == name]
        falls = [
            [row["spread"] for row in of_prior if row["thing"] == thing]
            for thing in dict.fromkeys(row["thing"] for row in of_prior)
        ]
        for count in VIEWS:
            chosen = [row for row in of_prior if row["views"] == count]
            table.append({"prior": name, "views": count, "things": len(chosen), "iou": mean(chosen, "iou"),
                          "spread": mean(chosen, "spread"),
                          "monotone": float(np.mean([np.all(np.diff(f) < 0) for f in falls]))})  # fmt: skip
    return {"views": table}

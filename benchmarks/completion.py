"""How good completion is, next to simpler methods: `python -m benchmarks.completion MODE …`.

objects    closed meshes (default: ../shared/data/meshes_contactdb beside the clone) in their likeliest
           stable pose, the vessels among them also mouth up, and procedural boxes and cans, each alone on a
           table, about half of its surface seen by six noisy views from one side
views      spread of several guesses of such objects, seen by 2, 4, 8, 16 views from all around
pipeline   whole scenes, segmented and completed by `Scene`, from RGB-D and from RGB only
folder     the paper's protocol on a folder that `instascene run` wrote and its ground truth

Writes benchmarks/results/completion.json; what is there for other methods, seeds or things stays.  Single
rows are kept in --cache, so that methods can be measured one after the other.  Skips with a message where
the meshes are absent.
"""

import argparse
import json
import logging
import resource
import time
import zlib
from collections.abc import Sequence
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
from benchmarks.completion_scenes import PLAIN_KINDS, measure_folder, measure_scene
from benchmarks.completion_scores import calibration, mean, score, summary
from benchmarks.kernel import machine
from instascene_core.completion import PRIORS, complete_observation, make_prior, observe
from instascene_core.config import CompletionConfig
from instascene_core.errors import InputError
from instascene_core.files import write_bytes, write_json
from instascene_core.geometry import TriangleMesh
from instascene_core.objects import CompletedObject

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "completion.json"
MESHES = ROOT.parent / "shared" / "data" / "meshes_contactdb"
CONFIG = CompletionConfig(max_convex_parts=1)
VIEWS = (2, 4, 8, 16)
PLAIN = ("box", "can")
UPRIGHT = "mouth up"  # the vessels once more, as they are used

logger = logging.getLogger("benchmarks.completion")


# ── single objects ────────────────────────────────────────────────────────────────────────────────


def run_objects(arguments: argparse.Namespace) -> dict:
    """Every chosen method on every observation; the summary over all rows on record."""
    known = {(row["case"], row["method"]): row for row in _read(arguments.cache / "objects.json")}
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
        write_bytes(arguments.cache / "objects.json", json.dumps(list(known.values())).encode())
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
    row = score(result.mesh if whole else result, truth, frames)
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
        its = [row for row in rows if row["prior"] == name]
        falls = [
            [row["spread"] for row in its if row["thing"] == t]
            for t in dict.fromkeys(r["thing"] for r in its)
        ]
        for count in VIEWS:
            chosen = [row for row in its if row["views"] == count]
            table.append({"prior": name, "views": count, "things": len(chosen), "iou": mean(chosen, "iou"),
                          "spread": mean(chosen, "spread"),
                          "monotone": float(np.mean([np.all(np.diff(f) < 0) for f in falls]))})  # fmt: skip
    return {"views": table}


# ── whole scenes ──────────────────────────────────────────────────────────────────────────────────


def run_pipeline(arguments: argparse.Namespace) -> dict:
    """Scenes of `--seeds` and, of boxes alone, `--box-seeds`, with depth and (unless --rgbd-only) without."""
    rows = []
    for seed in (*arguments.seeds, *arguments.box_seeds):
        kinds = PLAIN_KINDS if seed in arguments.box_seeds else ()
        for depth in (True, False):
            if (depth and arguments.rgb_only) or (not depth and arguments.rgbd_only):
                continue
            config = replace(CompletionConfig(), **({"prior": arguments.prior} if arguments.prior else {}))
            row = measure_scene(seed, depth, arguments.views, config, arguments.cache, kinds)
            rows.append(row)
            logger.info("%s", {k: v for k, v in row.items() if k != "objects"})
    return {"pipeline": rows}


# ── results ───────────────────────────────────────────────────────────────────────────────────────

KEYS = {"objects": ("group", "method"), "views": ("prior", "views"), "pipeline": ("seed", "depth", "prior")}


def write_results(path: Path, new: dict) -> None:
    """Into the results on record, row by row."""
    results = json.loads(path.read_text()) if path.exists() else {}
    for name, rows in new.items():
        merged = {tuple(row[k] for k in KEYS[name]): row for row in [*results.get(name, []), *rows]}
        results[name] = list(merged.values())
    results["machine"] = machine()
    memory = results.setdefault("peak_memory_mb", {})
    memory.update({name: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 for name in new})
    write_json(path, _rounded(results))
    logger.info("written to %s", path)


def _rounded(value):
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value


def _read(path: Path) -> list[dict]:
    return json.loads(path.read_text()) if path.exists() else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache/completion"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    modes = parser.add_subparsers(dest="mode", required=True)
    for mode in ("objects", "views"):
        objects = modes.add_parser(mode)
        objects.add_argument("--meshes", type=Path, default=MESHES)
        objects.add_argument("--methods", nargs="*", default=[], help="only these (views: priors)")
        objects.add_argument("--only", nargs="*", default=[], help="only the things of these names")
        objects.add_argument("--observations", type=int, default=5)
        objects.add_argument("--plain-observations", type=int, default=1, help="of boxes and cans")
    pipeline = modes.add_parser("pipeline")
    pipeline.add_argument("--seeds", type=int, nargs="+", default=[801, 802, 803, 804, 805])
    pipeline.add_argument(
        "--box-seeds", type=int, nargs="*", default=[811, 812], help="scenes of boxes alone"
    )
    pipeline.add_argument("--views", type=int, default=60)
    pipeline.add_argument("--prior", default="", help="another prior than the default")
    pipeline.add_argument("--rgbd-only", action="store_true")
    pipeline.add_argument("--rgb-only", action="store_true")
    folder = modes.add_parser("folder")
    folder.add_argument("run", type=Path, help="what `instascene run` wrote")
    folder.add_argument("truth", type=Path, help="folder with meshes/<id>.ply (ground_truth)")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    logging.getLogger("instascene_core").setLevel(logging.ERROR)
    chosen.cache.mkdir(parents=True, exist_ok=True)
    if chosen.mode == "folder":
        try:
            for row in measure_folder(chosen.run, chosen.truth):
                logger.info("%s", _rounded(row))
        except InputError as error:
            parser.error(str(error))
        return
    modes = {"objects": run_objects, "views": run_views, "pipeline": run_pipeline}
    write_results(chosen.output, modes[chosen.mode](chosen))


if __name__ == "__main__":
    main()

"""How good completion is, next to simpler methods: `python -m benchmarks.completion MODE …`.

objects    closed meshes (default: ../shared/data/meshes_contactdb beside the clone) in their likeliest
           stable pose, the vessels among them also mouth up, and procedural boxes and cans, each alone on a
           table, about half of its surface seen by six noisy views from one side
views      spread of several guesses of such objects, seen by 2, 4, 8, 16 views from all around
pipeline   whole scenes, segmented and completed by `Scene`, from RGB-D and from RGB only
folder     the paper's protocol on a folder that `instascene run` wrote and its ground truth

Writes benchmarks/results/completion.json; what is there for other methods, seeds or things stays.  Single
rows are kept in --cache, so that methods can be measured one after the other; once code or weights change,
they are measured again.  Skips with a message where the meshes are absent.
"""

import argparse
import logging
import resource
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.completion_objects import run_objects, run_views
from benchmarks.completion_scenes import PLAIN_KINDS, measure_folder, measure_scene
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import CompletionConfig
from instascene_core.errors import InputError

MESHES = Path(__file__).resolve().parents[2] / "shared" / "data" / "meshes_contactdb"

logger = logging.getLogger("benchmarks.completion")


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


def with_memory(results: dict, mode: str) -> dict:
    """Four digits of each figure, and the peak memory of the mode that ran."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return _rounded({**results, "peak_memory_mb": {**results.get("peak_memory_mb", {}), mode: peak}})


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache/completion"))
    parser.add_argument("--output", type=Path, default=RESULTS / "completion.json")
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
    made_by = provenance_of("completion")
    modes = {"objects": run_objects, "views": run_views, "pipeline": run_pipeline}
    found = modes[chosen.mode](chosen)
    write_results(chosen.output, "completion", found, made_by, lambda all_: with_memory(all_, chosen.mode))
    logger.info("written to %s", chosen.output)


if __name__ == "__main__":
    main()

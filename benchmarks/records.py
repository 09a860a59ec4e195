"""benchmarks/results/*.json: what their rows depend on, how they are written, which of them are today's."""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.provenance import BENCHMARKS, CORE, UNKNOWN, Provenance, Sources, source_hash, weights_hashes
from instascene_core.files import write_json

RESULTS = Path(__file__).resolve().parent / "results"
WHOLE = ""  # in place of the name of a list: the file is one row
DECOMPOSITION = tuple(f"{CORE}.{step}" for step in ("segmentation", "association", "features"))
COMPLETION = (f"{CORE}.completion",)
PEERS = ("mask_clustering", "insta_scene")  # drivers, run in processes of their own
JOINT = (f"{CORE}.completion.priors.multiview.joint",)  # which renders; off where shapes are measured


@dataclass(frozen=True)
class Rows:
    """One list of rows in a file of results (or a single row in place of a list)."""

    sources: Sources
    identity: tuple[str, ...] = ()  # fields that name a row; a row of that name is replaced, others stay


def _rows(module: str, unused: tuple[str, ...] = (), identity: tuple[str, ...] = ()) -> Rows:
    return Rows(Sources((f"{BENCHMARKS}.{module}",), unused), identity)


_kernel, _association, _gpu = _rows("kernel"), _rows("association"), _rows("gpu")
_reconstruction = _rows("reconstruction")
_streaming = _rows("streaming", (*DECOMPOSITION, *COMPLETION))

# By file and list.  A list that is absent here (a summary) is computed from the rows of the others.
RECORDS: dict[str, dict[str, Rows]] = {
    "kernel": dict.fromkeys(("kernel", "iteration", "utilisation", "twin"), _kernel),
    "gpu": {
        **dict.fromkeys(("parity", "speed", "training"), _gpu),
        "jobs": _rows("gpu", identity=("recording", "device")),
    },
    "registration": {"runs": _rows("registration")},
    "reconstruction": {"runs": _reconstruction},
    "reconstruction_speed": {"runs": _reconstruction},
    "streaming": {"runs": _streaming, "objects": _rows("streaming", identity=("recording", "hz"))},
    "streaming_memory": {"long": _streaming},
    "memory": {WHOLE: _rows("memory")},
    "association": dict.fromkeys(("runs", "oracle", "growth"), _association),
    "peers": {
        "clustering": Rows(
            Sources(
                (f"{BENCHMARKS}.peers_clustering", *(f"{BENCHMARKS}.drivers.{name}" for name in PEERS)),
                COMPLETION,
            ),
            ("method", "frames"),
        ),
        "splatting": _rows("peers_splatting", identity=("method", "iterations")),
    },
    "growth": {"runs": _rows("growth", identity=("axis", "value"))},
    "decomposition": {
        name: _rows("decomposition", COMPLETION, ("scene", "masks", "depth", *keys))
        for name, keys in (("runs", ("masks",)), ("ablation", ("mode", "losses")), ("fractions", ("share",)))
    },
    "conditions": {
        "masks": _rows("conditions", COMPLETION, ("condition", "seed")),
        "objects": _rows("conditions", identity=("condition", "seed")),
        "development": _rows("conditions", identity=("recording",)),
    },
    "geometry": {
        "scenes": _rows("geometry", identity=("condition", "seed")),
        "recordings": _rows("geometry", identity=("recording",)),
    },
    "wholes": {
        "runs": Rows(
            Sources((f"{BENCHMARKS}.wholes",), (f"{CORE}.association", f"{CORE}.features", *COMPLETION)),
            ("sensor", "group", "seed"),
        )
    },
    "plausibility": dict.fromkeys(("good", "damaged"), _rows("plausibility", (*DECOMPOSITION, *COMPLETION))),
    "recordings": {"runs": _rows("recordings", COMPLETION, ("recording",))},
    "confidence": {
        "scenes": _rows("confidence", identity=("group", "scene")),
        "figures": _rows("confidence"),
    },
    "generation": {
        "runs": _rows("generation", identity=("group", "method", "views")),
        "views": _rows("generation_views", identity=("views",)),
        "stages": _rows("generation_views", identity=("stage",)),
        "scanned": _rows("generation_scanned", identity=("method",)),
    },
    "assets": {"runs": _rows("assets", identity=("scene",))},
    "grasping": {"runs": _rows("grasping", identity=("seed", "object"))},
    "points": {
        "unseen": _rows("points", COMPLETION, ("network",)),
        "speed": _rows("points", COMPLETION),
        "recordings": _rows("points", COMPLETION, ("recording", "masks")),
        "convolution": _rows("points", COMPLETION, ("library", "threads")),
    },
    "parsers": {"runs": _rows("parsers", identity=("scene",))},
    "parts": {
        "runs": _rows("parts", identity=("network", "seen")),
        "contactdb": _rows("parts", identity=("mesh",)),
    },
    "settling": {"runs": _rows("settling", identity=("scene",))},
    "background": {"runs": _rows("background", COMPLETION, ("seed", "method"))},
    # The node imports the scene in a process of its own.
    "ros": {"runs": Rows(Sources((f"{BENCHMARKS}.ros", f"{CORE}.scene")), ("qos",))},
    # Tasks are imported by name, in processes of their own.
    "batch": {"runs": Rows(Sources((f"{BENCHMARKS}.batch", f"{CORE}.batch")), ("workers", "recordings"))},
    "flat": {"runs": _rows("flat", identity=("rooms", "size_m"))},
    "following": {"runs": _rows("following", identity=("seed", "condition"))},
    "completion": {
        "objects": _rows("completion_objects", JOINT, ("group", "method")),
        "views": _rows("completion_objects", JOINT, ("prior", "views")),
        "pipeline": _rows("completion_scenes", identity=("seed", "depth", "prior")),
    },
}


def provenance_of(record: str) -> dict[str, Provenance]:
    """What makes the figures of a file of results, by list.  To be called before they are measured."""
    return {name: Provenance.now(rows.sources) for name, rows in RECORDS[record].items()}


def write_results(
    path: Path,
    record: str,
    found: Mapping[str, Any],
    made_by: Mapping[str, Provenance],
    finish: Callable[[dict], dict] = dict,
) -> None:
    """Write the figures `found` of a benchmark to `path`, each row with its provenance.

    record: a name of RECORDS; found: lists of rows or single rows by name, and facts about all of them;
    made_by: from `provenance_of`; finish: makes the content of the file of all rows on record and new.
    Rows with an identity are merged into those on record; all else is replaced.
    """
    layout = RECORDS[record]
    merges = any(rows.identity for rows in layout.values())
    results = json.loads(path.read_text()) if merges and path.exists() else {}
    for name, value in found.items():
        if name not in layout:
            results[name] = value
        elif isinstance(value, Mapping):
            results[name] = {**value, **made_by[name].fields()}
        else:
            new = [{**row, **made_by[name].fields()} for row in value]
            results[name] = merge(results.get(name, []), new, layout[name].identity)
    if WHOLE in layout:
        results.update(made_by[WHOLE].fields())
    write_json(path, finish(results))


def merge(old: list[dict], new: list[dict], identity: tuple[str, ...]) -> list[dict]:
    """Rows on record, those replaced that are measured anew; without an identity only the new ones."""
    if not identity:
        return new
    return list({tuple(row[key] for key in identity): row for row in [*old, *new]}.values())


def rows_of(record: str, results: dict) -> Iterator[tuple[Rows, dict]]:
    """Every row of the content of a file of results, with what it depends on."""
    for name, rows in RECORDS[record].items():
        value = results if name == WHOLE else results.get(name, [])
        for row in [value] if isinstance(value, dict) else value:
            yield rows, row


# ── which rows are today's ────────────────────────────────────────────────────────────────────────

MARKS = OUTDATED, UNRECORDED = " †", " ‡"


def mark_of(row: dict, sources: Sources) -> str:
    """Nothing for a row by today's code and weights, OUTDATED for one by others, UNRECORDED where the row
    does not say."""
    if row.get("code", UNKNOWN) == UNKNOWN or "weights" not in row:
        return UNRECORDED
    return "" if (row["code"], row["weights"]) == _today(sources) else OUTDATED


@functools.cache
def _today(sources: Sources) -> tuple[str, dict[str, str]]:
    return source_hash(sources), weights_hashes(sources)

"""Parts of things: `python -m benchmarks.parts [--seeds 3] [--ablation FOLDER] [--meshes FOLDER] [--sheet]`.

Things of kinds that no training has seen, a few of each kind, turned about z: seen from all sides, and half
seen (what one to three neighbouring cameras see).  Rows: mAP50 and shape-mAP50 of each level (PartNet's
scores), and how many handles are found.  --ablation: weights of networks with and without parts of the
fusion, a file each, trained alike (`instascene_core.training.parts --size small --without …`).  --meshes: the
STL files of ContactDB, whose handles `contactdb_handles.json` has by hand.  --sheet: docs/images/parts.png.

A handle is found where what is called `handle` at the coarse level covers it with an IoU of at least 0.5.
"""

import argparse
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import PartsConfig
from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.mesh import from_trimesh
from instascene_core.geometry.sampling import even_samples
from instascene_core.metrics.parts import part_scores
from instascene_core.parts.network import WEIGHTS, load_network
from instascene_core.parts.segment import PartLabels, PartSegmenter
from instascene_core.synthetic.household import make
from instascene_core.synthetic.unseen import HELD_OUT
from instascene_core.synthetic.unseen_assemblies import HELD_OUT_ASSEMBLIES
from instascene_core.training.parts.data import half_seen_rows
from instascene_core.training.parts.partnet.run import judged_parts
from instascene_core.training.parts.things import Thing, thing_of

# Those of the kinds kept out of training that know their parts.
KINDS = (*(k for k in HELD_OUT if k not in ("board", "soap", "vase", "weight")), *HELD_OUT_ASSEMBLIES)
SEEN = ("all sides", "half")
FIRST_SEED = 47_000  # looked at by nobody before the figures were made
HANDLES = Path(__file__).with_name("contactdb_handles.json")
FOUND = 0.5  # IoU from which a handle is found
FALSE = 0.05  # of the surface called handle, from which a thing without one has a false one

logger = logging.getLogger("benchmarks.parts")


@dataclass(frozen=True)
class Case:
    """A thing as it is shown."""

    kind: str
    seen: str  # of SEEN
    thing: Thing
    rows: np.ndarray  # of its points that are shown


def cases(seeds: int, kinds: tuple[str, ...] = KINDS) -> Iterator[Case]:
    """Every kind as often as `seeds` says, in both ways of being seen."""
    for k, kind in enumerate(kinds):
        for seed in range(seeds):
            rng = np.random.default_rng([FIRST_SEED, k, seed])
            thing = thing_of(make(kind, rng), rng, PartsConfig.points, upright=1.0)
            yield Case(kind, SEEN[0], thing, np.arange(len(thing.points)))
            yield Case(kind, SEEN[1], thing, half_seen_rows(thing, rng))


def figures(segmenter: PartSegmenter, shown: list[Case]) -> dict:
    """Scores of the levels, share of handles found, seconds a thing; of cases of one way of being seen."""
    names, judged, handles, start = segmenter.trained.names, [], [], time.perf_counter()
    for case in shown:
        thing, rows = case.thing, case.rows
        labels = segmenter.label_points(thing.points[rows], thing.normals[rows])
        semantic = thing.semantic[:, rows].astype(int)
        judged.append(judged_parts(labels, names, semantic, thing.instance[:, rows].astype(int)))
        true = semantic[0] == names[0].index("handle")
        if true.sum() > 10:
            handles.append(handle_iou(labels, true))
    seconds = (time.perf_counter() - start) / len(shown)
    levels = []
    for level, known in enumerate(names):
        scores = part_scores([one[level] for one in judged])
        levels.append({
            "map50": scores.mean_ap,
            "shape_map50": scores.shape_mean_ap,
            "names": {known[name]: [scores.ap[name], scores.true_parts[name]] for name in scores.ap},
        })  # fmt: skip
    found = float(np.mean([iou >= FOUND for iou in handles]))
    return {
        "things": len(shown), "levels": levels, "with_handle": len(handles), "handles_found": found,
        "seconds": seconds,
    }  # fmt: skip


def handle_iou(labels: PartLabels, true: np.ndarray) -> float:
    """IoU of the points called handle at the coarse level with those that are [N] bool."""
    said = labels.levels[0].name_of_point() == "handle"
    return float((said & true).sum() / max((said | true).sum(), 1))


# ── ContactDB ─────────────────────────────────────────────────────────────────────────────────────


def handles_by_hand() -> dict[str, np.ndarray]:
    """[B, 6] boxes (lower, upper corner) of each mesh's handles, metres, in its own frame."""
    said = json.loads(HANDLES.read_text())["handles"]
    return {name: np.array(boxes, dtype=float).reshape(-1, 6) for name, boxes in said.items()}


def in_boxes(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """[N] bool: which of points [N, 3] lie in one of boxes [B, 6]."""
    low, high = boxes[:, None, :3], boxes[:, None, 3:]
    return np.asarray(((points >= low) & (points <= high)).all(axis=2).any(axis=0))


def read_mesh(folder: Path, name: str) -> TriangleMesh:
    import trimesh

    path = folder / f"{name}.stl"
    if not path.is_file():
        raise InputError(f"There is no '{path}'; --meshes takes the folder of ContactDB's STL files.")
    return from_trimesh(trimesh.load(path))


def contactdb(segmenter: PartSegmenter, folder: Path) -> list[dict]:
    """A row a mesh: whether it has a handle, what was called one."""
    rows = []
    for name, boxes in handles_by_hand().items():
        points, normals, _ = even_samples(
            read_mesh(folder, name), PartsConfig.points, np.random.default_rng(0)
        )
        labels = segmenter.label_points(points, normals)
        true = in_boxes(points, boxes)
        said = labels.levels[0].name_of_point() == "handle"
        iou = handle_iou(labels, true)
        good = iou >= FOUND if len(boxes) else said.mean() < FALSE
        rows.append({
            "mesh": name, "handles": len(boxes), "iou": iou if len(boxes) else None,
            "called_handle": float(said.mean()), "right": bool(good),
            "parts": [list(level.names) for level in labels.levels],
        })  # fmt: skip
        logger.info("%s: %s", name, rows[-1])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="things of each kind")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--ablation", type=Path, help="folder of weights to compare")
    parser.add_argument("--meshes", type=Path, help="folder of ContactDB's STL files")
    parser.add_argument("--sheet", action="store_true", help="also the picture")
    parser.add_argument("--output", type=Path, default=RESULTS / "parts.json")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    made_by = provenance_of("parts")
    shown = list(cases(args.seeds))
    networks = {"package": args.weights}
    if args.ablation:
        networks |= {path.stem: path for path in sorted(args.ablation.glob("*.safetensors"))}
    runs = []
    for name, path in networks.items():
        segmenter = PartSegmenter(load_network(path), PartsConfig())
        for seen in SEEN:
            found = figures(segmenter, [case for case in shown if case.seen == seen])
            runs.append({"network": name, "seen": seen, **found})
            logger.info("%s, %s: %s", name, seen, [round(lv["map50"], 3) for lv in found["levels"]])
    results: dict = {"runs": runs}
    segmenter = PartSegmenter(load_network(args.weights), PartsConfig())
    if args.meshes:
        results["contactdb"] = contactdb(segmenter, args.meshes)
    write_results(args.output, "parts", results, made_by)
    if args.sheet:
        from benchmarks.parts_sheet import write_sheet

        write_sheet(segmenter, shown, args.meshes)


if __name__ == "__main__":
    main()

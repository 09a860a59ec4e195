"""The one scene of all tiles: what stays of each, and what metrics.json and scene.json tell of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.config import Config
from instascene_core.config.tiles import TilesConfig
from instascene_core.export.saved_scene import Part, join_scenes
from instascene_core.gaussians_ply import read_gaussians
from instascene_core.instances import THINGS, InstanceId
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.saved_facts import read_scene_facts
from instascene_core.tiles.layout import Tiling
from instascene_core.tiles.seams import Seams, Thing, match_things
from instascene_core.untrusted import read_json_object


@dataclass(frozen=True)
class Whole:
    """What the joined scene holds."""

    objects: int  # completed ones
    found_twice: int  # things that another tile's stand for
    not_completed: Mapping[int, str]  # id of an object that stays → why it has no mesh


def join_tiles(
    tiling: Tiling,
    done: Mapping[int, Path],
    output: Path,
    config: Config,
    how: TilesConfig,
    frame_order: Sequence[str],
    failed: Mapping[str, str],
    progress: ProgressCallback = no_progress,
) -> Whole:
    """Join the saved scenes of tiles, by their indices, to the scene in `output`.

    failed: name of a tile that has none → why; its neighbours keep what they saw of its area.
    """
    progress("seams", 0.0, f"{len(done)} tiles")
    among = sorted(done)
    things = [thing for k in among for thing in _things(tiling, k, done[k], among)]
    seams = match_things(things, how)
    progress("seams", 1.0, f"{len(seams.kept)} things, {len(seams.stands_for)} found twice")
    parts = [_part(tiling, k, done, frame_order, seams) for k in among]
    measured = [read_json_object(part.folder / "metrics.json") for part in parts]
    told = {
        number: why
        for one in measured
        for number, why in dict(one.get("not_completed") or {}).items()
        if int(number) in seams.kept
    }
    metrics = {**joined_metrics(measured, seams), "not_completed": told}
    metrics["tiles"] = {
        "done": len(parts), "failed": len(failed), "found_twice": len(seams.stands_for),
        "frames_unused": len(tiling.unused),
    }  # fmt: skip
    more = {"tiles": _described(tiling, done, failed), "floor_axes": tiling.axes}
    join_scenes(parts, output, config.export, frame_order, more, metrics, progress)
    objects = sum(1 for _ in output.glob("objects/*/object.json"))
    return Whole(objects, len(seams.stands_for), {int(number): why for number, why in told.items()})


def _things(tiling: Tiling, index: int, folder: Path, among: Sequence[int]) -> list[Thing]:
    """The things that a tile found, with the Gaussians that they are made of as their surface."""
    facts, file = read_scene_facts(folder), read_gaussians(folder / "scene.ply")
    if file.instance_ids is None:
        return []
    means = file.gaussians.means.numpy().astype(np.float64) + _offset(facts)
    found = []
    for entry in facts["instances"]["list"]:
        points = means[file.instance_ids == entry["id"]]
        if entry["kind"] not in THINGS or not len(points):
            continue
        centre = (np.array(entry["box_min"]) + entry["box_max"]) / 2
        own = tiling.owner(centre[None], among)[0] == index
        completed = (folder / "objects" / str(entry["id"]) / "object.json").is_file()
        found.append(Thing(InstanceId(entry["id"]), index, points, completed, bool(own)))
    return found


def _offset(facts: Mapping[str, Any]) -> np.ndarray:
    return np.array(facts.get("world_offset_m", (0.0, 0.0, 0.0)))


def _part(
    tiling: Tiling, index: int, done: Mapping[int, Path], frame_order: Sequence[str], seams: Seams
) -> Part:
    """A tile as part of the whole."""
    among = sorted(done)
    facts = read_scene_facts(done[index])
    ids = {entry["id"] for entry in facts["instances"]["list"]}
    main = {name for name, k in zip(frame_order, tiling.main_tile) if k == index}
    return Part(
        name=tiling.tiles[index].name,
        folder=done[index],
        kept=frozenset(int(number) for number in seams.kept & ids),
        stands_for={int(a): int(b) for a, b in seams.stands_for.items() if a in ids},
        owns=lambda points: tiling.owner(points, among) == index,
        frames=frozenset(main),
    )


def joined_metrics(measured: Sequence[Mapping[str, Any]], seams: Seams) -> dict[str, Any]:
    """What tiles measured, of all: times add up, of memory the most counts, of PSNR the mean over frames."""
    result: dict[str, Any] = {}
    for name, together in (("seconds", sum), ("memory_mb", max)):
        groups = [dict(one.get(name) or {}) for one in measured]
        stages = dict.fromkeys(stage for group in groups for stage in group)
        result[name] = {
            stage: together([group[stage] for group in groups if stage in group]) for stage in stages
        }
    result["peak_memory_mb"] = max((float(one.get("peak_memory_mb") or 0.0) for one in measured), default=0.0)
    result["mask_warnings"] = sum(int(one.get("mask_warnings") or 0) for one in measured)
    frames = np.array([float(one.get("frames") or 0) for one in measured])
    psnr = np.array([float(one.get("psnr") or np.nan) for one in measured])
    known = np.isfinite(psnr) & (frames > 0)
    if known.any():
        result["psnr"] = float(np.average(psnr[known], weights=frames[known]))
    resting = {number: moves for one in measured for number, moves in dict(one.get("resting") or {}).items()}
    result["resting"] = {number: moves for number, moves in resting.items() if int(number) in seams.kept}
    return result


def _described(tiling: Tiling, done: Mapping[int, Path], failed: Mapping[str, str]) -> list[dict[str, Any]]:
    """For scene.json; corners in metres along the two floor axes."""
    return [
        {
            "name": tile.name, "low": tile.low, "high": tile.high, "overlap_m": tiling.overlap,
            "frames": len(tile.frames), "done": index in done, "problem": failed.get(tile.name, ""),
        }
        for index, tile in enumerate(tiling.tiles)
    ]  # fmt: skip

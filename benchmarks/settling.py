"""Do scenes stand still in a simulator?  `python -m benchmarks.settling [--scenes N] [--kept FOLDER]`.

Procedural piles are reconstructed and completed, each object by itself; MuJoCo
lets them go for 2 s as they are, after they were laid to rest together (`scene/resting/`), and in place of
them the true meshes, whose convex bodies are made and fitted to each other with the same settings.  Of each
object that was correctly found (volume IoU ≥ 0.5): drift, tilt, overlap at first and volume IoU, before and
after.  An object holds where it drifts by less than 1 cm and tilts by less than 5° beyond what its true mesh
does.

--kept: scenes are saved there, and taken from there where they have been.  Writes
benchmarks/results/settling.json; scenes that are not measured now stay.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import Config, ExportConfig, RestingConfig, SyntheticConfig
from instascene_core.export.object_files import write_object
from instascene_core.export.places import ObjectPlace, Places
from instascene_core.export.room import room_of
from instascene_core.export.saved_scene import load_scene, save_scene
from instascene_core.export.scene_files import PlacedAsset, WholeScene, write_scene
from instascene_core.export.settling import Settled, settle
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.convex_parts import PartsBudget, convex_parts
from instascene_core.instances import InstanceId
from instascene_core.metrics import volume_iou
from instascene_core.objects import CompletedObject
from instascene_core.scene import Scene
from instascene_core.scene.resting import lay_to_rest
from instascene_core.scene.resting.bodies import BodiesBudget, collision_bodies
from instascene_core.synthetic import generate_scene

# Nobody tunes on them; 801, 803 and d1 are for that.  64917 came for 64915, which was looked at before
# the last rule: pairs deeper than `max_generated` move no surface.  64918 came for 64911, whose shifts were
# seen before these became the likeliest ones.
SEEDS = (64918, 64912, 64913, 64914, 64917)
SECONDS = 2.0
FOUND_IOU = 0.5
FORMATS = ("ply", "collision", "mjcf")
DRIFT, TILT = 0.01, 5.0  # metres, degrees: beyond what the true mesh does

logger = logging.getLogger("benchmarks.settling")


def measure(scene: Scene, truth: Sequence[TriangleMesh], name: str) -> dict:
    """One row; scene: its objects as they were completed by themselves."""
    known = scene.state.require_decomposition()
    support = known.instances.support
    walls = known.support.walls if known.support is not None else ()
    planes = [*([] if support is None else [support]), *walls]
    alone = dict(scene.objects)
    start = time.process_time()
    rested = lay_to_rest(alone, planes, known.up, scene.config)
    seconds = time.process_time() - start
    partners = _partners(alone, truth)
    exact = _as_objects(scene, truth, planes)
    states = {
        "alone": _settled(scene, alone),
        "rested": _settled(scene, rested.objects),
        "true": _settled(scene, exact),
    }
    rows = [
        _row(number, partner, truth, alone, rested.objects, states) for number, partner in partners.items()
    ]
    return {
        "scene": name,
        "true_objects": len(truth),
        "objects": len(alone),
        "resting_processor_s": seconds,
        "hold": sum(row["holds"] for row in rows),
        "found": rows,
        "moves": {str(number): moved.as_dict() for number, moved in rested.moved.items()},
        "others": {
            state: [_numbers(one) for n, one in settled.items() if n not in partners]
            for state, settled in states.items()
            if state != "true"
        },
        "watertight": all(meshes.is_watertight(thing.mesh) for thing in rested.objects.values()),
    }


def _partners(things: Mapping[InstanceId, CompletedObject], truth: Sequence[TriangleMesh]) -> dict:
    """Id of each correctly found object → number of the true one, from 1."""
    found = {}
    for number, thing in things.items():
        iou = [volume_iou(thing.mesh, mesh) for mesh in truth]
        if iou and max(iou) >= FOUND_IOU:
            found[number] = int(np.argmax(iou)) + 1
    return found


def _row(number: int, partner: int, truth, alone, rested, states) -> dict:
    exact = states["true"][partner]
    after = states["rested"][number]
    return {
        "id": int(number),
        "iou_alone": volume_iou(alone[number].mesh, truth[partner - 1]),
        "iou": volume_iou(rested[number].mesh, truth[partner - 1]),
        "alone": _numbers(states["alone"][number]),
        "rested": _numbers(after),
        "true": _numbers(exact),
        "held_alone": _holds(states["alone"][number], exact),
        "holds": _holds(after, exact),
    }


def _holds(one: Settled, exact: Settled) -> bool:
    return bool(one.drift < exact.drift + DRIFT and one.tilt < exact.tilt + TILT)


def _numbers(one: Settled) -> dict:
    return {"drift_m": one.drift, "tilt_deg": one.tilt, "overlap_m": one.start_penetration}


def _as_objects(scene: Scene, truth: Sequence[TriangleMesh], planes: Sequence[Plane]) -> dict:
    """The true meshes as objects, numbered from 1, with convex parts made and fitted as found ones' are."""
    pieces, resting = scene.config.completion.convex_parts, scene.config.resting
    parts = [convex_parts(mesh, PartsBudget(**vars(pieces))) for mesh in truth]
    budget = BodiesBudget(pieces.max_parts, pieces.max_vertices, resting.max_filled, resting.touch)
    bodies = collision_bodies(truth, parts, [planes] * len(truth), budget)
    example = next(iter(scene.objects.values()))
    return {
        number: replace(
            example, instance_id=number, mesh=mesh, observed=np.ones(len(mesh.vertices), np.float32),
            colors=np.full((len(mesh.vertices), 3), 128, np.uint8), texture=None,
            vertex_uncertainty=np.zeros(len(mesh.vertices), np.float32),
        ).with_mesh(mesh, body, np.zeros(3))
        for number, (mesh, body) in enumerate(zip(truth, bodies, strict=True), 1)
    }  # fmt: skip


def _settled(scene: Scene, things: Mapping[Any, CompletedObject]) -> dict[int, Settled]:
    """Written for MuJoCo and let go; by id."""
    config = ExportConfig(formats=FORMATS)
    with tempfile.TemporaryDirectory() as folder:
        root, written = Path(folder), []
        places = Places(root)
        for number, thing in things.items():
            place = ObjectPlace(places, f"objects/{number}")
            asset = write_object(replace(thing, texture=None), root / place.folder, config, (), place)
            written.append(PlacedAsset(asset, place.folder))
        room = room_of(scene.state.require_decomposition(), scene.config)
        write_scene(WholeScene(tuple(written), room, places), root, FORMATS)
        return {int(one.name.rpartition("_")[2]): one for one in settle(root, SECONDS)}


def completed(seed: int, kept: Path | None) -> Scene:
    """The scene of a seed, each object completed by itself."""
    if kept is not None and (kept / str(seed) / "scene.json").is_file():
        return load_scene(kept / str(seed)).scene
    config = replace(Config(), resting=RestingConfig(enabled=False))
    scene = Scene(replace(config, export=ExportConfig(formats=("ply", "collision"))))
    for frame in generate_scene(SyntheticConfig(seed=seed)).frames():
        scene.add_frame(frame.with_(labels=None))
    scene.run()
    if kept is not None:
        save_scene(scene, kept / str(seed), with_frames=True)
    return scene


def main() -> None:
    """Run what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=len(SEEDS), help="only the first so many")
    parser.add_argument("--seeds", type=int, nargs="*", default=None, help="others, of development")
    parser.add_argument("--kept", type=Path, default=None, help="folder of completed scenes")
    parser.add_argument("--output", type=Path, default=RESULTS / "settling.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    made_by = provenance_of("settling")
    for seed in arguments.seeds or SEEDS[: arguments.scenes]:
        truth = [thing.mesh for thing in generate_scene(SyntheticConfig(seed=seed)).objects]
        row = measure(completed(seed, arguments.kept), truth, str(seed))
        logger.info("%s: %d of %d hold", seed, row["hold"], len(row["found"]))
        write_results(arguments.output, "settling", {"runs": [row]}, made_by)


if __name__ == "__main__":
    main()

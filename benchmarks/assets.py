"""What simulators get: `python -m benchmarks.assets [--scenes N] [--saved FOLDER ...]`.

Procedural scenes (or saved ones) are exported in every format.  Texture: PSNR over the objects' pixels of
every eighth view, which the texture was not baked from, against that of the Gaussians' rendering, which has
seen those views: the comparison favours the Gaussians.  Collision bodies: how far their surface is off.
Settling: 2 s of gravity in MuJoCo, against the true meshes with collision bodies made the same way, where the
truth is known.  Writes benchmarks/results/assets.json.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.records import RESULTS, provenance_of, write_results
from benchmarks.textured_views import shown_colors
from instascene_core.config import Config, ExportConfig, SyntheticConfig
from instascene_core.export.asset import ObjectAsset
from instascene_core.export.object_facts import object_facts
from instascene_core.export.object_files import write_object
from instascene_core.export.places import ObjectPlace, Places
from instascene_core.export.room import room_of
from instascene_core.export.saved_scene import load_scene
from instascene_core.export.scene_files import PlacedAsset, WholeScene, write_scene
from instascene_core.export.settling import Settled, settle
from instascene_core.export.texturing import textured
from instascene_core.frame import Frame
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.convex_parts import PartsBudget, convex_parts
from instascene_core.objects import CompletedObject
from instascene_core.rendering import rasterize
from instascene_core.scene import Scene
from instascene_core.synthetic import generate_scene

SEEDS = (801, 802, 803, 804, 805)
EVERY = 8  # view that no texture is baked from
SECONDS = 2.0  # of gravity

logger = logging.getLogger("benchmarks.assets")


def measure(scene: Scene, name: str, truth: Sequence[TriangleMesh] = ()) -> dict:
    """One row: the scene's objects as files."""
    views = scene.state.labelled_views
    held, rest = views[::EVERY], [view for k, view in enumerate(views) if k % EVERY]
    objects = list(scene.objects.values())
    export = scene.config.export
    start = time.perf_counter()
    baked = [textured(thing, rest, export.texture) for thing in objects]
    seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = _settled(scene, [replace(t, texture=None) for t in objects], Path(folder) / "found", views)
        writing = time.perf_counter() - start
        exact = [_as_object(scene, mesh, number) for number, mesh in enumerate(truth, 1)]
        true = _settled(scene, exact, Path(folder) / "true")
    facts = [object_facts(ObjectAsset(thing, export))["collision"] for thing in objects]
    return {
        "scene": name,
        "objects": len(objects),
        "baking_seconds": seconds / max(len(objects), 1),
        "writing_and_settling_seconds": writing / max(len(objects), 1),
        "psnr_texture": _psnr(baked, held),
        "psnr_vertices": _psnr([replace(thing, texture=None) for thing in objects], held),
        "psnr_gaussians": _psnr_of_gaussians(scene, baked, held),
        "texture_sizes": [len(t.texture.image) for t in baked if t.texture is not None],
        "hulls": [f["hulls"] for f in facts],
        "hull_errors_m": [f["surface_error_m"] for f in facts],
        "hull_volume_ratios": [f["volume_ratio"] for f in facts],
        "settled": _summary(found),
        "settled_true": _summary(true) if truth else None,
    }


def _psnr(things: Sequence[CompletedObject], frames: Sequence[Frame]) -> float:
    squares, count = 0.0, 0
    for frame in frames:
        image = frame.rgb.reshape(-1, 3).astype(np.float64)
        for thing in things:
            colors, pixels = shown_colors(thing, frame)
            squares += float(((colors - image[pixels]) ** 2).sum())
            count += 3 * len(pixels)
    return float(10 * np.log10(255**2 * count / max(squares, 1e-12)))


def _psnr_of_gaussians(scene: Scene, things: Sequence[CompletedObject], frames: Sequence[Frame]) -> float:
    """Over the same pixels."""
    gaussians, background = scene.require_gaussians(), scene.background_color
    color = None if background is None else torch.tensor(background, dtype=torch.float32)
    squares, count = 0.0, 0
    for frame in frames:
        with torch.no_grad():
            shown = rasterize(gaussians, frame.camera, frame.world_from_camera, background=color)
        rendered = 255 * shown.color.clamp(0, 1).numpy().reshape(-1, 3).astype(np.float64)
        for thing in things:
            _, pixels = shown_colors(thing, frame)
            squares += float(((rendered[pixels] - frame.rgb.reshape(-1, 3)[pixels]) ** 2).sum())
            count += 3 * len(pixels)
    return float(10 * np.log10(255**2 * count / max(squares, 1e-12)))


def _as_object(scene: Scene, mesh: TriangleMesh, number: int) -> CompletedObject:
    """A true mesh, standing in its own frame as a completed object would."""
    budget = PartsBudget(**vars(scene.config.completion.convex_parts))
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    pose = np.eye(4)
    pose[:3, 3] = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]]
    one = np.ones(len(mesh.vertices), dtype=np.float32)
    example = next(iter(scene.objects.values()))
    return replace(
        example, instance_id=number, mesh=mesh, colors=np.full((len(one), 3), 128, np.uint8), observed=one,
        vertex_uncertainty=0 * one, world_from_object=pose, dimensions=high - low,
        volume=meshes.volume(mesh), convex_parts=convex_parts(mesh, budget), texture=None,
    )  # fmt: skip


def _settled(
    scene: Scene, things: Sequence[CompletedObject], root: Path, views: Sequence[Frame] = ()
) -> list[Settled]:
    """Written in every format that needs no extra, and let go."""
    if not things:
        return []
    config = replace(ExportConfig(), texture=scene.config.export.texture)
    places, written = Places(root), []
    for thing in things:
        place = ObjectPlace(places, f"objects/{thing.instance_id}")
        asset = write_object(thing, root / place.folder, config, views, place)
        written.append(PlacedAsset(asset, place.folder))
    room = room_of(scene.state.require_decomposition(), scene.config)
    write_scene(WholeScene(tuple(written), room, places), root, config.formats)
    return settle(root, SECONDS)


def _summary(settled: Sequence[Settled]) -> dict:
    return {
        "stay": sum(one.stays for one in settled) / max(len(settled), 1),
        "drift_m": [one.drift for one in settled],
        "tilt_deg": [one.tilt for one in settled],
        "start_penetration_m": [one.start_penetration for one in settled],
    }


def procedural(seed: int) -> tuple[Scene, list[TriangleMesh]]:
    """The scene of a seed after the whole job, and its true meshes."""
    made = generate_scene(SyntheticConfig(seed=seed))
    scene = Scene(Config())
    for frame in made.frames():
        scene.add_frame(frame.with_(labels=None))
    scene.run()
    return scene, [thing.mesh for thing in made.objects]


def main() -> None:
    """Run what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=len(SEEDS), help="only the first so many")
    parser.add_argument("--saved", nargs="*", type=Path, default=[], help="saved scenes, by their folders")
    parser.add_argument("--output", type=Path, default=RESULTS / "assets.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    made_by = provenance_of("assets")
    for folder in arguments.saved:
        _record(arguments.output, measure(load_scene(folder).scene, folder.name), made_by)
    for seed in SEEDS[: arguments.scenes]:
        scene, truth = procedural(seed)
        _record(arguments.output, measure(scene, str(seed), truth), made_by)


def _record(output: Path, row: dict, made_by: dict) -> None:
    logger.info("%s", row)
    write_results(output, "assets", {"runs": [row]}, made_by)


if __name__ == "__main__":
    main()

"""A whole scene on disk, in the layout of the README ("Output on disk").

Every function here changes the folder as `instascene_core.owned_folder` does: all of it or nothing, and no
file that is not of an earlier save.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core import __version__
from instascene_core.config import ExportConfig
from instascene_core.config_file import config_with, flatten, settings_of
from instascene_core.errors import InputError
from instascene_core.export.asset import ObjectAsset
from instascene_core.export.descriptions.model import StaticBox
from instascene_core.export.known_physics import objects_elsewhere
from instascene_core.export.object_facts import OBJECT_FRAME
from instascene_core.export.object_files import write_object
from instascene_core.export.object_layout import stale_collision
from instascene_core.export.object_loading import load_object, require_bodies
from instascene_core.export.part_files import PartedMesh, write_parts
from instascene_core.export.readme import README
from instascene_core.export.room import room_of, room_to_json
from instascene_core.export.saved_scene.depth_images import depth_unit, write_depth
from instascene_core.export.saved_scene.layout import (
    ESTIMATED,
    FRAMES,
    MARKER,
    README_FILE,
    SCENE,
    instances_to_json,
)
from instascene_core.export.saved_scene.objects import write_objects
from instascene_core.export.saved_scene.recording import write_recording
from instascene_core.export.saved_scene.whole import (
    all_assets,
    object_folder,
    object_place,
    saved_room,
    write_whole_scene,
)
from instascene_core.files import write_bytes, write_image, write_json
from instascene_core.frame import Frame, image_from_labels
from instascene_core.gaussians_ply import write_gaussians
from instascene_core.instances import InstanceId
from instascene_core.local_frame import moved
from instascene_core.objects import CompletedObject
from instascene_core.owned_folder import Change, finish, inside, owned_files, require_writable, writing
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.saved_facts import MarkerFacts, read_object_facts, read_scene_facts
from instascene_core.scene import Scene
from instascene_core.untrusted import read_json_object
from instascene_core.viewer.pictures import objects_picture, overview_picture
from instascene_core.viewer.report import PICTURES, report_page
from instascene_core.viewer.report.drawing import all_objects_pictures, objects_pictures, scene_pictures

logger = logging.getLogger(__name__)


def save_scene(
    scene: Scene,
    folder: Path,
    source: str = "",
    progress: ProgressCallback = no_progress,
    with_frames: bool = False,
) -> list[Path]:
    """Write the scene under `folder` and return the files written.

    with_frames: also the frames, as frames/transforms.json and images, where they are not known to be on
    disk already.

    The new scene takes the place of an earlier one, complete or not at all, whenever the process is killed;
    files that are not of an earlier scene stay.  Raises InputError for a folder that holds other files in the
    way, lies around the scene's input or cannot be written (`require_savable` asks before), and NotReadyError
    when there is nothing to save yet.
    """
    gaussians = scene.require_gaussians()
    ids = [] if scene.instances is None else [i.id for i in scene.instances.instances]
    if sentence := objects_elsewhere(scene.config.export.physics.file, ids):
        logger.warning("%s", sentence)
    scene.state.posed_frame()  # NotReadyError where none is left
    folder, origin = Path(folder), scene.origin
    _require_apart(origin.get("source", ""), folder)
    with writing(folder, SCENE) as change:
        staging = change.staging
        labels = scene.instances.gaussian_labels if scene.instances else None
        progress("save", 0.0, "Gaussians")
        write_gaussians(staging / "scene.ply", gaussians, labels)
        _write_label_images(scene, staging)
        unit = _write_estimated_depth(scene, staging)
        objects = [scene.objects[number] for number in sorted(scene.objects)]
        frames, config = scene.state.labelled_views, readable(scene.config.export)
        assets = write_objects(objects, staging, folder, config, frames, progress)
        room = () if scene.state.decomposition is None else room_of(scene.state.decomposition, scene.config)
        if scene.objects:
            write_bytes(staging / README_FILE, README.encode())
            write_whole_scene(assets, room, staging, folder, config, change.written)
        if with_frames and not origin:
            progress("save", 1.0, "frames")
            write_recording(staging / FRAMES, scene.frames, scene.world_offset)
            origin = {"source": FRAMES, "use_depth": True, "use_masks": True}
        progress("save", 1.0, "pictures")
        with ThreadPoolExecutor(1) as beside:
            sheets = beside.submit(_write_sheets, scene, staging)
            _write_pictures(staging, scene_pictures(scene, [asset.obj for asset in assets]))
            sheets.result()
        seal(change, _description(scene, source, origin, unit, room), scene.metrics)
    return owned_files(folder)


def _write_sheets(scene: Scene, staging: Path) -> None:
    write_image(staging / "overview.png", overview_picture(scene))
    if scene.objects:
        write_image(staging / "objects.png", objects_picture(scene))


def seal(change: Change, description: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    """The last files of a scene that is written anew: metrics.json, the report of all that is there, and
    scene.json with the checksums.  What was there before and is not written goes."""
    staging = change.staging
    write_json(staging / "metrics.json", metrics)
    write_json(staging / MARKER, description)
    measured = read_json_object(staging / "metrics.json")
    write_bytes(staging / "report.html", report_page(staging, measured))
    sums = _checksums(staging, change.written - {MARKER})
    write_json(staging / MARKER, {**description, "checksums_sha256": sums})
    change.stale.update(change.owned)


def _write_pictures(staging: Path, drawn: Mapping[str, bytes]) -> None:
    """pictures/, which the report shows."""
    for name, content in drawn.items():
        write_bytes(staging / PICTURES / name, content)


def _write_label_images(scene: Scene, staging: Path) -> None:
    """instances/ and, where pixels do not count (outside a lens' image, or taken away), valid/."""
    if scene.instances:
        for name, image in scene.instances.label_images.items():
            write_image(inside(staging, f"instances/{name}.png"), image_from_labels(image))
    for frame in scene.posed_frames:
        if frame.valid is not None:
            write_image(inside(staging, f"valid/{frame.name}.png"), 255 * frame.valid.astype(np.uint8))


def _write_estimated_depth(scene: Scene, staging: Path) -> float:
    """estimated_depth/, where no sensor measured; returns the metres of a step in these images."""
    unit = depth_unit(frame.estimated_depth for frame in scene.posed_frames)
    for frame in scene.posed_frames:
        if frame.estimated_depth is not None:
            write_depth(inside(staging, f"{ESTIMATED}/{frame.name}.png"), frame.estimated_depth, unit)
    return unit


def require_savable(folder: Path, source: Path | str = "", frame_names: Iterable[str] = ()) -> None:
    """InputError when `save_scene` could not write to `folder`; to be asked before the long work.

    source: the input of the scene, where it is on disk; it must not lie in the folder.
    frame_names: files are named by them, which may be too long for the file system.
    """
    folder = Path(folder)
    require_writable(folder, SCENE, (f"{name}.png" for name in frame_names))
    _require_apart(source, folder)


def _require_apart(source: Path | str, folder: Path) -> None:
    """InputError where the input lies in the folder: a scene that is replaced must not take it along."""
    if str(source) and Path(source).resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"Cannot save to {folder}: the input {source} lies in it; choose another folder with --output."
        )


@contextmanager
def _changing(folder: Path) -> Iterator[Change]:
    """Change some files of a saved scene; scene.json follows.  InputError where there is none."""
    finish(folder)
    _saved_description(folder)  # before `writing`, which would make a folder that is not there
    with writing(folder, SCENE) as change:
        yield change
        description, sums = _saved_description(folder)
        written, kept = change.written, change.owned - change.stale - {MARKER}
        unlisted = [name for name in kept - sums.keys() if (folder / name).is_file()]
        sums = {name: value for name, value in sums.items() if name in kept}
        sums |= _checksums(folder, unlisted) | _checksums(change.staging, written)
        write_json(change.staging / MARKER, {**description, "checksums_sha256": dict(sorted(sums.items()))})


def _saved_description(folder: Path) -> tuple[dict, dict[str, str]]:
    """(scene.json, the checksums in it); InputError where there is none."""
    description = read_scene_facts(folder, MarkerFacts)
    return description, dict(description.get("checksums_sha256", {}))


def put_object(
    folder: Path, result: CompletedObject, config: ExportConfig, frames: Sequence[Frame] = ()
) -> list[Path]:
    """Write a completed object into a saved scene, in place of an earlier one; the files written.

    frames: see `write_object`.  Raises InputError where there is no saved scene or it cannot be written.
    """
    folder, number = Path(folder), result.instance_id
    start = f"{object_folder(number)}/"
    with _changing(folder) as change:
        place = object_place(folder, result.instance_id, config)
        asset = write_object(result, change.staging / start, readable(config), frames, place)
        write_bytes(change.staging / README_FILE, README.encode())
        change.stale.update(name for name in change.owned if name.startswith(start))
        change.stale.update(name for name in change.owned if name.startswith(f"{PICTURES}/object_{number}_"))
        everything = _renew_whole_scene(change, [asset], config)
        _write_pictures(change.staging, objects_pictures([asset.obj], among=len(everything)))
        _write_pictures(change.staging, all_objects_pictures(a.obj for a in everything))
    return [path for path in owned_files(folder) if path.is_relative_to(folder / start)]


def export_saved(
    folder: Path, objects: Sequence[CompletedObject], config: ExportConfig, frames: Sequence[Frame] = ()
) -> None:
    """Write objects of a saved scene in `config.formats`, beside the formats that are there.

    frames: see `write_object`.  Raises InputError for an unknown format, where an object's convex bodies are
    lost, and where there is no saved scene or it cannot be written.
    """
    folder = Path(folder)
    require_bodies(folder, objects)
    with _changing(folder) as change:
        assets = write_objects(objects, change.staging, folder, readable(config), frames)
        for thing in objects:
            start = object_folder(thing.instance_id)
            if read_object_facts(folder / start).get("frame") != OBJECT_FRAME:  # of an earlier version
                change.stale.update(name for name in change.owned if name.startswith(f"{start}/"))
        write_bytes(change.staging / README_FILE, README.encode())
        change.stale.update(stale_collision(change.written, change.owned))
        _renew_whole_scene(change, assets, config)


def _renew_whole_scene(
    change: Change, assets: Sequence[ObjectAsset], config: ExportConfig
) -> list[ObjectAsset]:
    """scene.* in the formats of `config`; all its objects: `assets`, and those that are saved already."""
    names = (change.owned - change.stale) | change.written
    room = saved_room(change.folder, config.friction)
    everything = all_assets(change.folder, assets, config)
    write_whole_scene(everything, room, change.staging, change.folder, config, names)
    return everything


def put_parts(folder: Path, parted: Mapping[InstanceId, PartedMesh]) -> list[Path]:
    """Write the parts of completed objects beside their meshes; the files written.

    Raises InputError where there is no saved scene or it cannot be written.
    """
    folder = Path(folder)
    with _changing(folder) as change:
        for instance_id, one in parted.items():
            write_parts(change.staging / object_folder(instance_id), one)
        written = sorted(change.written)
    return [folder / name for name in written if name != MARKER]


def put_metrics(folder: Path, metrics: dict) -> Path:
    """Write metrics.json and the report of a saved scene anew; returns the report.

    Raises InputError where there is no saved scene or it cannot be written.
    """
    folder = Path(folder)
    with _changing(folder) as change:
        write_json(change.staging / "metrics.json", metrics)
        drawn = _missing_pictures(folder)
        _write_pictures(change.staging, drawn)
        write_bytes(change.staging / "report.html", report_page(folder, metrics, drawn))
    return folder / "report.html"


def _missing_pictures(folder: Path) -> dict[str, bytes]:
    """Those of the objects of a scene that was saved before there were any; empty where they are there."""
    if (folder / PICTURES).is_dir():
        return {}
    objects = [load_object(path.parent) for path in sorted(folder.glob("objects/*/object.json"))]
    return {**all_objects_pictures(objects), **objects_pictures(objects)}


def readable(config: ExportConfig) -> ExportConfig:
    """With PLY and convex bodies among the formats: `load_objects` reads a saved scene from them."""
    return replace(config, formats=tuple(dict.fromkeys(("ply", "collision", *config.formats))))


def saved_export_config(folder: Path) -> ExportConfig:
    """The export settings a saved scene was made with; the defaults where it does not tell."""
    finish(folder)
    settings = read_scene_facts(Path(folder), MarkerFacts).get("parameters", {}).get("export", {})
    if not isinstance(settings, dict):
        raise InputError(f"{Path(folder) / MARKER} has export settings that are no object.")
    known = set(settings_of(ExportConfig()))
    return config_with(ExportConfig(), {k: v for k, v in flatten(settings).items() if k in known})


def _checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files `names`."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sorted(names)}


def _description(
    scene: Scene,
    source: str,
    origin: dict,
    depth_unit_m: float,
    room: tuple[StaticBox, ...],
) -> dict:
    """Everything of scene.json but the checksums: what went in, what came out, with which parameters.

    Poses, boxes and planes are of the world, in 64-bit numbers.  scene.ply is in the scene's frame:
    world = vertex + world_offset_m.
    """
    offset = scene.world_offset
    return {
        "instascene_version": __version__,
        "source": source or origin.get("source", ""),
        "input": origin,
        "world_offset_m": offset,
        "frames": [
            {
                "name": frame.name,
                "stamp": frame.stamp,
                "camera": asdict(frame.camera),
                "world_from_camera": moved(frame.world_from_camera, offset),
                "given_world_from_camera": moved(given.world_from_camera, offset),
            }
            for frame, given in zip(scene.posed_frames, scene.frames)
        ],
        "estimated_depth_unit_m": depth_unit_m,
        "background_color": scene.background_color,
        "instances": instances_to_json(scene.instances and scene.instances.moved(offset)),
        "room": room_to_json(room, offset),
        "highest_instance_id": scene.state.ids.highest,
        "parameters": asdict(scene.config),
    }

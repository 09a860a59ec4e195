"""scene.* of a saved scene: its objects in their room, one file a program."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from instascene_core.config import ExportConfig
from instascene_core.export.asset import ObjectAsset
from instascene_core.export.descriptions.model import StaticBox
from instascene_core.export.models import SURFACE
from instascene_core.export.object_files import COLLIDING, export_object, require_exportable
from instascene_core.export.object_loading import load_objects, require_bodies
from instascene_core.export.places import ObjectPlace, Places
from instascene_core.export.room import room_from_json
from instascene_core.export.scene_files import SCENE, PlacedAsset, WholeScene, write_scene
from instascene_core.export.texturing import textured
from instascene_core.frame import Frame
from instascene_core.instances import instance_id_from
from instascene_core.objects import CompletedObject
from instascene_core.owned_folder import require_writable, writing
from instascene_core.saved_facts import read_scene_facts

FOLDER = "scene"  # of scene.* beside the folders of objects that were exported elsewhere


def object_folder(instance_id: object) -> str:
    """The folder of an object within the scene; InputError where the id would make it another."""
    return f"objects/{instance_id_from(instance_id)}"


def object_place(root: Path, instance_id: object, config: ExportConfig) -> ObjectPlace:
    """Where the files of an object of the scene in `root` are."""
    return ObjectPlace(Places(root.absolute(), config.mesh_uri), object_folder(instance_id))


def write_whole_scene(
    assets: Iterable[ObjectAsset],
    room: tuple[StaticBox, ...],
    staging: Path,
    root: Path,
    config: ExportConfig,
    names: Collection[str],
) -> None:
    """Write scene.* into `staging`, for the folder `root`.

    names: of the files that the folder will have; an object without the meshes that scene.* refer to is left
    out.
    """
    things = [PlacedAsset(asset, object_folder(asset.obj.instance_id)) for asset in assets]
    things = [
        t for t in things if {f"{t.folder}/{SURFACE}", f"{t.folder}/collision/part_000.obj"} <= {*names}
    ]
    if things:
        scene = WholeScene(tuple(things), room, Places(root.absolute(), config.mesh_uri))
        write_scene(scene, staging, config.formats)


def saved_room(folder: Path, friction: float) -> tuple[StaticBox, ...]:
    """The support and the walls of a saved scene, in its frame."""
    saved = read_scene_facts(folder)
    return room_from_json(saved, np.array(saved.get("world_offset_m", (0.0, 0.0, 0.0))), friction)


def all_assets(folder: Path, written: Sequence[ObjectAsset], config: ExportConfig) -> list[ObjectAsset]:
    """All objects of a saved scene by their ids, those of `written` in place of the saved ones."""
    saved = load_objects(folder) if any(folder.glob("objects/*/object.json")) else {}
    assets = {number: ObjectAsset(thing, config) for number, thing in saved.items()}
    assets |= {asset.obj.instance_id: asset for asset in written}
    return [assets[number] for number in sorted(assets)]


def export_elsewhere(
    saved: Path,
    objects: Sequence[CompletedObject],
    to: Path,
    config: ExportConfig,
    frames: Sequence[Frame] = (),
) -> None:
    """Write objects of the scene saved in `saved` to the folders `to`/<id>, and their scene.* to `to`/scene.

    Each of these folders is new, empty or of an earlier export, else InputError, before anything is written.
    """
    if COLLIDING.intersection(config.formats):
        require_bodies(saved, objects)
    room, places = saved_room(saved, config.friction), Places(to.absolute(), config.mesh_uri)
    for thing in objects:
        require_exportable(to / str(thing.instance_id), config)
    require_writable(to / FOLDER, SCENE)
    things = []
    for thing in objects:
        folder = str(thing.instance_id)
        if thing.texture is None:
            thing = textured(thing, frames, config.texture)
        export_object(thing, to / folder, config, (), ObjectPlace(places, folder))
        things.append(PlacedAsset(ObjectAsset(thing, config), folder))
    with writing(to / FOLDER, SCENE) as change:
        write_scene(WholeScene(tuple(things), room, places, FOLDER), change.staging, config.formats)

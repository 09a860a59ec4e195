"""Two objects in a room, written in every format: what the programs of each format are given to read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from textured_box import frames_of, painted_box

from instascene_core.config import ExportConfig
from instascene_core.export.descriptions.model import StaticBox
from instascene_core.export.object_files import write_object
from instascene_core.export.places import ObjectPlace, Places
from instascene_core.export.scene_files import PlacedAsset, WholeScene, write_scene
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import CompletedObject
from instascene_core.transforms import apply, inverse, matrix_from_quaternion


def things() -> list[CompletedObject]:
    """The painted box, and the same lying on its side elsewhere."""
    box = painted_box(800)
    box = replace(box, convex_parts=(meshes.convex_hull(box.mesh.vertices),))
    pose = np.eye(4)
    pose[:3, :3] = matrix_from_quaternion(np.array([0.8, 0.5, -0.2, 0.25]))
    pose[:3, 3] = [-0.4, 0.3, 0.9]
    move = pose @ inverse(box.world_from_object)
    mesh = replace(box.mesh, vertices=apply(move, box.mesh.vertices))
    hull = meshes.convex_hull(mesh.vertices)
    other = replace(box, instance_id=9, mesh=mesh, world_from_object=pose, convex_parts=(hull,))
    return [box, other]


def room() -> tuple[StaticBox, ...]:
    pose = np.eye(4)
    pose[:3, 3] = [0.1, 0, 0.65]
    wall = np.eye(4)
    wall[:3, :3] = matrix_from_quaternion(np.array([np.sqrt(0.5), np.sqrt(0.5), 0, 0]))
    wall[:3, 3] = [0, 1, 1]
    color = np.array([0.4, 0.3, 0.2])
    return (
        StaticBox("support", np.array([2.0, 1.0, 0.1]), pose, color, 0.8),
        StaticBox("wall_1", np.array([2.0, 1.0, 0.05]), wall, color, 0.8),
    )


def write_all(root: Path, formats: tuple[str, ...], **settings) -> list[PlacedAsset]:
    """objects/<id> and scene.* below `root`; textured."""
    config = ExportConfig(formats=formats, **settings)
    places, written = Places(root.absolute(), config.mesh_uri), []
    for thing in things():
        folder = f"objects/{thing.instance_id}"
        place = ObjectPlace(places, folder)
        asset = write_object(thing, root / folder, config, frames_of(thing, 5), place)
        written.append(PlacedAsset(asset, folder))
    write_scene(WholeScene(tuple(written), room(), places), root, formats)
    return written

"""One file of a whole scene for each program: its objects at their poses, in their room."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instascene_core.export.asset import ObjectAsset
from instascene_core.export.descriptions.mjcf import scene_mjcf
from instascene_core.export.descriptions.model import SceneModel, StaticBox, Uri
from instascene_core.export.descriptions.sdf import scene_sdf
from instascene_core.export.descriptions.urdf import scene_urdf
from instascene_core.export.descriptions.usd import write_scene_usd
from instascene_core.export.glb import Placed, Shape, glb
from instascene_core.export.models import model_of
from instascene_core.export.places import RELATIVE, Places
from instascene_core.export.shapes import placed
from instascene_core.geometry import mesh as meshes
from instascene_core.owned_folder import Layout

NAME = "scene"


@dataclass(frozen=True)
class PlacedAsset:
    """An object of the scene and where its files are."""

    asset: ObjectAsset
    folder: str  # relative to the root of the output, with '/'


@dataclass(frozen=True)
class WholeScene:
    """What the files tell."""

    things: tuple[PlacedAsset, ...]
    room: tuple[StaticBox, ...]
    places: Places
    beside: str = ""  # folder of the scene's files, relative to the root

    @property
    def model(self) -> SceneModel:
        poses = [(thing, thing.asset.obj.world_from_object) for thing in self.things]
        models = tuple(model_of(thing.asset, thing.folder, pose) for thing, pose in poses)
        return SceneModel(NAME, models, self.room)

    @property
    def uri(self) -> Uri:
        return self.places.uri(self.beside)

    @property
    def relative(self) -> Uri:
        return self.places.uri(self.beside, RELATIVE)


# Format → (its file, what writes it there).
SCENE_WRITERS: dict[str, tuple[str, Callable[[WholeScene, Path], object]]] = {
    "urdf": ("scene.urdf", lambda s, path: path.write_text(scene_urdf(s.model, s.uri))),
    "sdf": ("scene.sdf", lambda s, path: path.write_text(scene_sdf(s.model, s.uri))),
    "mjcf": ("scene.xml", lambda s, path: path.write_text(scene_mjcf(s.model, s.relative))),
    "glb": ("scene.glb", lambda s, path: path.write_bytes(_glb(s.things, s.room))),
    "usd": ("scene.usda", lambda s, path: write_scene_usd(path, s.model, s.relative)),
}
SCENE_FILES = r"scene\.(urdf|sdf|xml|glb|usda)"
SCENE = Layout("scene of objects", "another folder with --to", re.compile(SCENE_FILES), re.compile(r"(?!)"))


def write_scene(scene: WholeScene, folder: Path, formats: Collection[str]) -> list[str]:
    """Write scene.* in those of the formats that have such a file into `folder`; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in formats:
        if name in SCENE_WRITERS:
            file, write = SCENE_WRITERS[name]
            write(scene, folder / file)
            written.append(file)
    return written


def _glb(things: Sequence[PlacedAsset], room: Sequence[StaticBox]) -> bytes:
    shown = [placed(thing.asset, thing.asset.obj.world_from_object) for thing in things]
    return glb([*(_placed_box(box) for box in room), *shown], NAME)


def _placed_box(box: StaticBox) -> Placed:
    """With corners of its own for each side, so that its edges are sharp."""
    import trimesh

    body = trimesh.creation.box(box.size)
    body.unmerge_vertices()
    mesh = meshes.from_trimesh(body)
    colors = np.tile(np.rint(255 * box.color).astype(np.uint8), (len(mesh.vertices), 1))
    return Placed(Shape(box.name, mesh, colors), {"static": True}, box.pose)

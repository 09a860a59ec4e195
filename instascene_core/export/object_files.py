"""One completed object as a folder of files, all of them in the object's own frame.

Its origin is the centre of the bounding box's bottom, z is up, lengths are metres, so that a simulator can
put the object anywhere.  object.json tells where it stood in the world, in 64-bit numbers.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from instascene_core.config import ExportConfig
from instascene_core.errors import InputError
from instascene_core.export import obj, ply
from instascene_core.export.asset import ObjectAsset
from instascene_core.export.descriptions.mjcf import object_mjcf
from instascene_core.export.descriptions.model import Model, Uri
from instascene_core.export.descriptions.sdf import model_config, object_sdf
from instascene_core.export.descriptions.urdf import object_urdf
from instascene_core.export.descriptions.usd import OBJECT_FILE, require_usd, write_object_usd
from instascene_core.export.glb import glb
from instascene_core.export.known_physics import require_known
from instascene_core.export.lods import reduced
from instascene_core.export.models import IMAGE, MATERIAL, SURFACE, model_of, part_names
from instascene_core.export.object_facts import object_facts
from instascene_core.export.object_layout import OBJECT, stale_collision
from instascene_core.export.places import RELATIVE, ObjectPlace, require_mesh_uri
from instascene_core.export.shapes import placed
from instascene_core.export.texturing import textured
from instascene_core.frame import Frame
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import CompletedObject
from instascene_core.owned_folder import require_writable, writing


def export_object(
    thing: CompletedObject,
    folder: str | Path,
    config: ExportConfig | None = None,
    frames: Sequence[Frame] = (),
    place: ObjectPlace | None = None,
) -> list[Path]:
    """Write an object into `folder` (created; files of an earlier export there are replaced).

    config.formats: some of FORMATS; object.json is always written.  All files appear or none
    (`instascene_core.owned_folder`).  frames, place: see `write_object`; None = the folder is no scene's.
    Returns the files.  Raises InputError for an unknown format, and for a folder that cannot be written or
    holds files that are not of an earlier export.
    """
    folder, config = Path(folder), config or ExportConfig()
    place = place or ObjectPlace.alone(folder, config.mesh_uri)
    require_formats(config)
    with writing(folder, OBJECT) as change:
        write_object(thing, change.staging, config, frames, place)
        change.stale.update(stale_collision(change.written, change.owned))
        return sorted(folder / name for name in change.written)


def require_exportable(folder: Path, config: ExportConfig) -> None:
    """InputError when `export_object` could not write to `folder`; to be asked before the long work."""
    require_formats(config)
    require_writable(folder, OBJECT)


def require_formats(config: ExportConfig) -> None:
    """InputError for a format that is not known, a way to name meshes that is none, and a file of known
    masses that cannot be read."""
    unknown = [name for name in config.formats if name not in FORMATS]
    if unknown:
        raise InputError(f"Unknown export format '{unknown[0]}'; known are {', '.join(FORMATS)}.")
    require_mesh_uri(config.mesh_uri)
    require_known(config.physics.file)
    if "usd" in config.formats:
        require_usd()


def write_object(
    thing: CompletedObject,
    folder: Path,
    config: ExportConfig,
    frames: Sequence[Frame] = (),
    place: ObjectPlace | None = None,
) -> ObjectAsset:
    """Write the files of an object into a new or empty folder; what was written.

    frames: with labels, in the object's frame of reference, from which it gets a texture where it has none;
    without them its vertices' colours are all there is.  place: where the files will be; None = here.
    Raises InputError for an unknown format, and for settings that cannot be used.
    """
    require_formats(config)
    folder.mkdir(parents=True, exist_ok=True)
    if thing.texture is None and COLORED.intersection(config.formats):
        thing = textured(thing, frames, config.texture)
    files = _Writing(ObjectAsset(thing, config), folder, place or ObjectPlace.alone(folder, config.mesh_uri))
    for name in config.formats:
        WRITERS[name](files)
    (folder / "object.json").write_text(json.dumps(object_facts(files.asset), indent=2) + "\n")
    return files.asset


@dataclass(frozen=True)
class _Writing:
    """One object on its way into a folder; what several formats share is written once, when asked for."""

    asset: ObjectAsset
    folder: Path
    place: ObjectPlace

    @cached_property
    def surface(self) -> None:
        """mesh.obj and, where there is a texture, its material and image."""
        asset = self.asset
        obj.write_surface(self.folder / SURFACE, asset.mesh, asset.obj.colors, asset.obj.texture, asset.name)
        if asset.obj.texture is not None:
            (self.folder / IMAGE).write_bytes(asset.png)
            obj.write_material(self.folder / MATERIAL, asset.name, IMAGE)

    @cached_property
    def parts(self) -> None:
        """The convex bodies."""
        (self.folder / "collision").mkdir()
        for name, part in zip(part_names(self.asset), self.asset.parts):
            obj.write_body(self.folder / name, part)

    @cached_property
    def model(self) -> Model:
        """What the descriptions tell; writes the files that they name."""
        self.surface, self.parts  # noqa: B018 (written when first asked for)
        return model_of(self.asset, self.place.folder)

    @property
    def uri(self) -> Uri:
        """How a description in the object's folder names the files."""
        return self.place.places.uri(self.place.folder)

    def urdf(self) -> None:
        (self.folder / "object.urdf").write_text(object_urdf(self.model, self.uri))

    def sdf(self) -> None:
        description = f"Object {self.asset.obj.instance_id}, {self.asset.physics.material}"
        (self.folder / "model.sdf").write_text(object_sdf(self.model, self.uri))
        (self.folder / "model.config").write_text(model_config(self.model, description))

    def mjcf(self) -> None:
        relative = self.place.places.uri(self.place.folder, RELATIVE)
        (self.folder / "object.xml").write_text(object_mjcf(self.model, relative))

    def usd(self) -> None:
        asset = self.asset
        write_object_usd(
            self.folder / OBJECT_FILE, self.model, asset.obj, asset.mesh, asset.parts, "instascene"
        )

    def lods(self) -> None:
        """mesh_lod1.glb … with fewer and fewer triangles; those that would not have fewer are left out."""
        for level, triangles in enumerate(self.asset.config.lod_triangles, start=1):
            small = reduced(self.asset.obj, triangles, self.asset.config.texture.padding)
            if small is not None:
                asset = replace(self.asset, obj=small)
                path = self.folder / f"mesh_lod{level}.glb"
                path.write_bytes(glb([placed(asset)], asset.name))


# Format → what writes it.  A new one is a line here and its name in `config.ExportConfig`.
WRITERS: dict[str, Callable[[_Writing], object]] = {
    "ply": lambda w: ply.write(w.folder / "mesh.ply", w.asset),
    "glb": lambda w: (w.folder / "mesh.glb").write_bytes(glb([placed(w.asset)], w.asset.name)),
    "stl": lambda w: (w.folder / "mesh.stl").write_bytes(_stl(w.asset.mesh)),
    "obj": lambda w: w.surface,
    "lods": lambda w: w.lods(),
    "collision": lambda w: w.parts,
    "urdf": lambda w: w.urdf(),
    "sdf": lambda w: w.sdf(),
    "mjcf": lambda w: w.mjcf(),
    "usd": lambda w: w.usd(),
}
FORMATS = tuple(WRITERS)
COLORED = frozenset(FORMATS) - {"ply", "stl", "collision"}  # those that show a texture
COLLIDING = frozenset({"collision", "urdf", "sdf", "mjcf", "usd"})  # those with convex bodies


def _stl(mesh: TriangleMesh) -> bytes:
    """Binary STL (trimesh's other formats are text or a dict)."""
    data = meshes.to_trimesh(mesh).export(file_type="stl")
    if not isinstance(data, bytes):
        raise TypeError(f"trimesh writes STL as {type(data).__name__}, not as bytes.")
    return data

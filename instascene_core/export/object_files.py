"""One completed object as a folder of files, all of them in the object's own frame.

Its origin is the centre of the bounding box's bottom, z is up, lengths are metres, so that a simulator can
put the object anywhere.  object.json tells where it stood in the world, in 64-bit numbers.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from instascene_core.config import ExportConfig
from instascene_core.errors import InputError
from instascene_core.export import descriptions, ply
from instascene_core.export.asset import ObjectAsset
from instascene_core.export.object_facts import object_facts
from instascene_core.export.object_layout import OBJECT, stale_collision
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import CompletedObject
from instascene_core.owned_folder import require_writable, writing


def export_object(obj: CompletedObject, folder: str | Path, config: ExportConfig | None = None) -> list[Path]:
    """Write `obj` into `folder` (created; files of an earlier export there are replaced).

    config.formats: some of FORMATS; object.json is always written.  All files appear or none
    (`instascene_core.owned_folder`).
    Returns the files.  Raises InputError for an unknown format, and for a folder that cannot be written or
    holds files that are not of an earlier export.
    """
    folder, config = Path(folder), config or ExportConfig()
    require_formats(config)
    with writing(folder, OBJECT) as change:
        write_object(obj, change.staging, config)
        change.stale.update(stale_collision(change.written, change.owned))
        return sorted(folder / name for name in change.written)


def require_exportable(folder: Path, config: ExportConfig) -> None:
    """InputError when `export_object` could not write to `folder`; to be asked before the long work."""
    require_formats(config)
    require_writable(folder, OBJECT)


def require_formats(config: ExportConfig) -> None:
    """InputError for a format that is not known."""
    unknown = [name for name in config.formats if name not in FORMATS]
    if unknown:
        raise InputError(f"Unknown export format '{unknown[0]}'; known are {', '.join(FORMATS)}.")


def write_object(obj: CompletedObject, folder: Path, config: ExportConfig) -> None:
    """Write the files of `obj` into a new or empty folder.  Raises InputError for an unknown format."""
    require_formats(config)
    folder.mkdir(parents=True, exist_ok=True)
    files = _Writing(ObjectAsset(obj, config), folder)
    for name in config.formats:
        WRITERS[name](files)
    (folder / "object.json").write_text(json.dumps(object_facts(files.asset), indent=2) + "\n")


@dataclass(frozen=True)
class _Writing:
    """One object on its way into a folder; what several formats share is written once, when asked for."""

    asset: ObjectAsset
    folder: Path

    @cached_property
    def model(self) -> descriptions.Model:
        """What the descriptions tell; writes the collision bodies and the visual that they name."""
        asset = self.asset
        parts = _write_collision(asset, self.folder / "collision")
        visual = "collision/visual.obj"
        _write_obj(self.folder / visual, asset.mesh, asset.obj.colors)
        paths = tuple(f"collision/{part}" for part in parts)
        return descriptions.Model(asset.name, visual, paths, asset.body, asset.config.friction)


# Format → what writes it.  A new one is a line here and its name in `config.ExportConfig`.
WRITERS: dict[str, Callable[[_Writing], object]] = {
    "ply": lambda w: ply.write(w.folder / "mesh.ply", w.asset),
    "glb": lambda w: (w.folder / "mesh.glb").write_bytes(_glb(w.asset)),
    "stl": lambda w: (w.folder / "mesh.stl").write_bytes(_encoded(w.asset.mesh, None, "stl")),
    "collision": lambda w: w.model,
    "urdf": lambda w: (w.folder / "object.urdf").write_text(descriptions.urdf(w.model)),
    "sdf": lambda w: (w.folder / "model.sdf").write_text(descriptions.sdf(w.model)),
    "mjcf": lambda w: (w.folder / "object.xml").write_text(descriptions.mjcf(w.model)),
}
FORMATS = tuple(WRITERS)


def _glb(asset: ObjectAsset) -> bytes:
    """Binary glTF; glTF is y up by definition, and its readers for z-up worlds turn it back, so the
    vertices are kept as they are, like most robotics tools do."""
    colors = asset.obj.colors
    rgba = np.concatenate([colors, np.full((len(colors), 1), 255, np.uint8)], axis=1)
    return _encoded(asset.mesh, rgba, "glb")


def _encoded(mesh: TriangleMesh, rgba: np.ndarray | None, kind: str) -> bytes:
    """The file of a binary format (trimesh's other formats are text or a dict)."""
    data = meshes.to_trimesh(mesh, rgba).export(file_type=kind)
    if not isinstance(data, bytes):
        raise TypeError(f"trimesh writes {kind} as {type(data).__name__}, not as bytes.")
    return data


def _write_collision(asset: ObjectAsset, folder: Path) -> list[str]:
    """The convex parts as part_000.obj …; returns the file names."""
    folder.mkdir()
    names = []
    for index, part in enumerate(asset.parts):
        names.append(f"part_{index:03d}.obj")
        _write_obj(folder / names[-1], part)
    return names


def _write_obj(path: Path, mesh: TriangleMesh, colors: np.ndarray | None = None) -> None:
    """Wavefront OBJ; vertex colours as the common extension (three more numbers on each v line)."""
    rows = mesh.vertices if colors is None else np.concatenate([mesh.vertices, colors / 255.0], axis=1)
    pattern = "v " + " ".join(["%.7g"] * rows.shape[1])
    with path.open("w") as file:
        np.savetxt(file, rows, fmt=pattern)
        np.savetxt(file, mesh.triangles + 1, fmt="f %d %d %d")

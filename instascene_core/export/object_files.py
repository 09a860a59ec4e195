"""One completed object as a folder of files.

mesh.ply/glb/stl are in the input's world frame; in a world far from the origin, for which their 32-bit
numbers are too coarse, in a local frame: adding `world_offset_m` of object.json to a vertex gives the world's
coordinates.  What object.json tells is of the world in 64-bit numbers.  The descriptions (URDF, SDF, MJCF)
and the collision bodies they name are in the object's own frame (origin at the bottom centre, z up), so that
a simulator can put the object anywhere; object.json tells where it stood.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from instascene_core.config import ExportConfig
from instascene_core.errors import InputError
from instascene_core.export import descriptions, ply
from instascene_core.export.inertia import Inertial, inertial
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.local_frame import moved
from instascene_core.objects import CompletedObject
from instascene_core.owned_folder import Layout, require_writable, writing
from instascene_core.transforms import apply, inverse, quaternion_from_matrix
from instascene_core.untrusted import read_json

if TYPE_CHECKING:
    import trimesh


# The names of all files that `write_object` makes, and of the folders; see WRITERS.
OBJECT_FILES = r"mesh\.(ply|glb|stl)|object\.(json|urdf|xml)|model\.sdf|collision/(part_\d{3,}|visual)\.obj"
OBJECT_FOLDERS = r"collision"


def _earlier_object(folder: Path) -> frozenset[str]:
    """The object's files in a folder that was written before there were manifests."""
    try:
        known = isinstance(read_json(folder / "object.json")["instance_id"], int)
    except (ValueError, KeyError, TypeError):
        return frozenset()
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*")) if known else ()
    return frozenset(name for name in names if re.fullmatch(OBJECT_FILES, name))


OBJECT = Layout(
    "object",
    "another folder with --to",
    re.compile(OBJECT_FILES),
    re.compile(OBJECT_FOLDERS),
    _earlier_object,
)


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
    files = _Writing(obj, folder, config)
    for name in config.formats:
        WRITERS[name](files)
    (folder / "object.json").write_text(json.dumps(_facts(obj, files.body, config), indent=2) + "\n")


def stale_collision(written: frozenset[str], owned: frozenset[str]) -> set[str]:
    """Which of the files `owned` are collision bodies of an object whose bodies are written anew.

    Names may begin with the object's own folder.
    """
    renewed = {start for name in written for start, found, _ in [name.rpartition("collision/")] if found}
    return {name for name in owned if any(name.startswith(f"{start}collision/") for start in renewed)}


@dataclass(frozen=True)
class _Writing:
    """One object on its way into a folder; what several formats share is made once, when first asked for."""

    obj: CompletedObject
    folder: Path
    config: ExportConfig

    @cached_property
    def body(self) -> Inertial:
        """Mass and inertia, object frame."""
        return inertial(_in_object_frame(self.obj, self.obj.mesh), self.config.density)

    @cached_property
    def model(self) -> descriptions.Model:
        """What the descriptions tell; writes the collision bodies and the visual that they name."""
        parts = _write_collision(self.obj, self.folder / "collision")
        visual = "collision/visual.obj"
        _write_obj(self.folder / visual, _in_object_frame(self.obj, self.obj.mesh), self.obj.colors)
        paths = tuple(f"collision/{part}" for part in parts)
        name = f"object_{self.obj.instance_id}"
        return descriptions.Model(name, visual, paths, self.body, self.config.friction)


# Format → what writes it.  A new one is a line here and its name in `config.ExportConfig`.
WRITERS: dict[str, Callable[[_Writing], object]] = {
    "ply": lambda w: ply.write(w.folder / "mesh.ply", w.obj),
    "glb": lambda w: (w.folder / "mesh.glb").write_bytes(_glb(w.obj)),
    "stl": lambda w: (w.folder / "mesh.stl").write_bytes(_encoded(meshes.to_trimesh(w.obj.mesh), "stl")),
    "collision": lambda w: w.model,
    "urdf": lambda w: (w.folder / "object.urdf").write_text(descriptions.urdf(w.model)),
    "sdf": lambda w: (w.folder / "model.sdf").write_text(descriptions.sdf(w.model)),
    "mjcf": lambda w: (w.folder / "object.xml").write_text(descriptions.mjcf(w.model)),
}
FORMATS = tuple(WRITERS)


def _in_object_frame(obj: CompletedObject, mesh: TriangleMesh) -> TriangleMesh:
    return TriangleMesh(apply(inverse(obj.world_from_object), mesh.vertices), mesh.triangles)


def _glb(obj: CompletedObject) -> bytes:
    """Binary glTF; glTF is y up by definition, and its readers for z-up worlds turn it back, so the
    vertices are kept as they are, like most robotics tools do."""
    rgba = np.concatenate([obj.colors, np.full((len(obj.colors), 1), 255, np.uint8)], axis=1)
    return _encoded(meshes.to_trimesh(obj.mesh, rgba), "glb")


def _encoded(mesh: "trimesh.Trimesh", kind: str) -> bytes:
    """The file of a binary format (trimesh's other formats are text or a dict)."""
    data = mesh.export(file_type=kind)
    if not isinstance(data, bytes):
        raise TypeError(f"trimesh writes {kind} as {type(data).__name__}, not as bytes.")
    return data


def _write_collision(obj: CompletedObject, folder: Path) -> list[str]:
    """The convex parts as part_000.obj …; the hull where there are none.  Returns the file names."""
    folder.mkdir()
    parts = obj.convex_parts or (meshes.convex_hull(obj.mesh.vertices),)
    names = []
    for index, part in enumerate(parts):
        names.append(f"part_{index:03d}.obj")
        _write_obj(folder / names[-1], _in_object_frame(obj, part))
    return names


def _write_obj(path: Path, mesh: TriangleMesh, colors: np.ndarray | None = None) -> None:
    """Wavefront OBJ; vertex colours as the common extension (three more numbers on each v line)."""
    rows = mesh.vertices if colors is None else np.concatenate([mesh.vertices, colors / 255.0], axis=1)
    pattern = "v " + " ".join(["%.7g"] * rows.shape[1])
    with path.open("w") as file:
        np.savetxt(file, rows, fmt=pattern)
        np.savetxt(file, mesh.triangles + 1, fmt="f %d %d %d")


def _facts(obj: CompletedObject, body, config: ExportConfig) -> dict:
    """The object's numbers, for object.json."""
    return {
        "instance_id": obj.instance_id,
        "frame": "world (that of the input)",
        "world_offset_m": np.asarray(obj.world_offset, dtype=np.float64).tolist(),
        "position_m": moved(obj.world_from_object, obj.world_offset)[:3, 3].tolist(),
        "orientation_wxyz": quaternion_from_matrix(obj.world_from_object[:3, :3]).tolist(),
        "dimensions_m": np.asarray(obj.dimensions).tolist(),
        "volume_m3": obj.volume,
        "mass_kg": body.mass,
        "density_kg_m3": config.density,
        "center_of_mass_m": body.center.tolist(),
        "watertight": obj.watertight,
        "vertices": len(obj.mesh.vertices),
        "triangles": len(obj.mesh.triangles),
        "convex_parts": len(obj.convex_parts),
        "observed_fraction": obj.observed_fraction,
        "uncertainty_m": obj.uncertainty,
        "confidence": obj.confidence,
        "evidence": dict(obj.evidence),
        "prior": obj.prior,
        "next_best_view": _next_view(obj),
        "duration_s": obj.duration_s,
        "notes": list(obj.notes),
    }


def _next_view(obj: CompletedObject) -> dict | None:
    """Camera pose (optical axes, looking at the object) in the world, and what it would reveal."""
    if obj.next_best_view is None:
        return None
    return {
        "position_m": moved(obj.next_best_view, obj.world_offset)[:3, 3].tolist(),
        "orientation_wxyz": quaternion_from_matrix(obj.next_best_view[:3, :3]).tolist(),
        "reveals": obj.next_view_reveals,
    }

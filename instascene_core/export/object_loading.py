"""Completed objects read back from the files of a saved scene."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from instascene_core.errors import InputError
from instascene_core.export.asset import in_scene_frame
from instascene_core.export.obj import read_body, read_texture_coordinates
from instascene_core.export.object_facts import OBJECT_FRAME
from instascene_core.export.ply import FACE, VERTEX
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.mesh import require_mesh
from instascene_core.instances import InstanceId, instance_id_from
from instascene_core.local_frame import moved
from instascene_core.objects import CompletedObject, Texture
from instascene_core.owned_folder import finish
from instascene_core.saved_facts import read_object_facts
from instascene_core.transforms import matrix_from_quaternion
from instascene_core.untrusted import opened_image


def load_objects(folder: Path) -> dict[InstanceId, CompletedObject]:
    """The completed objects of a saved scene by instance id.

    Raises InputError when there are none, a file is damaged, or one lies in the folder of another object.
    """
    finish(folder)
    paths = sorted(Path(folder).glob("objects/*/object.json"))
    if not paths:
        raise InputError(f"There are no completed objects under {folder}; run `instascene run` first.")
    objects = [load_object(path.parent) for path in paths]
    for path, thing in zip(paths, objects):
        if path.parent.name != str(thing.instance_id):
            raise InputError(
                f"{path} is of object {thing.instance_id}; put it back into objects/{thing.instance_id}."
            )
    return {o.instance_id: o for o in sorted(objects, key=lambda o: o.instance_id)}


def load_object(folder: Path) -> CompletedObject:
    """One completed object from its mesh.ply, object.json and collision/part_*.obj (where it has them)."""
    try:
        facts = read_object_facts(folder)
        vertices, faces = _read_ply(folder / "mesh.ply")
        offset = np.array(facts.get("world_offset_m", (0.0, 0.0, 0.0)))
        pose = moved(_pose(facts), -offset)
        view = facts.get("next_best_view")
        positions = np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(np.float64)
        mesh = TriangleMesh(positions, faces["indices"].astype(np.int32))
        mesh = require_mesh(mesh, folder / "mesh.ply")
        return CompletedObject(
            instance_id=instance_id_from(facts["instance_id"]),
            mesh=in_scene_frame(pose, mesh) if facts.get("frame") == OBJECT_FRAME else mesh,
            colors=np.stack([vertices[c] for c in ("red", "green", "blue")], axis=1),
            observed=vertices["observed"].copy(),
            vertex_uncertainty=vertices["uncertainty"].copy(),
            world_from_object=pose,
            dimensions=np.array(facts["dimensions_m"]),
            watertight=facts["watertight"],
            volume=facts["volume_m3"],
            observed_fraction=facts["observed_fraction"],
            uncertainty=facts["uncertainty_m"],
            confidence=facts["confidence"],
            prior=facts["prior"],
            duration_s=facts["duration_s"],
            convex_parts=_read_parts(folder / "collision", facts["convex_parts"], pose),
            next_best_view=None if view is None else moved(_pose(view), -offset),
            next_view_reveals=0.0 if view is None else view["reveals"],
            notes=tuple(facts["notes"]),
            world_offset=offset,
            evidence=facts.get("evidence", {}),
            texture=_read_texture(folder, facts, mesh),
        )
    except (OSError, KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"The object in {folder} cannot be read: {error}.") from error


def _pose(facts: dict) -> np.ndarray:
    """[4, 4] from `orientation_wxyz` and `position_m`."""
    pose = np.eye(4)
    pose[:3, :3] = matrix_from_quaternion(np.array(facts["orientation_wxyz"]))
    pose[:3, 3] = facts["position_m"]
    return pose


def require_bodies(folder: Path, objects: Iterable[CompletedObject]) -> None:
    """InputError where an object of a saved scene has lost its convex bodies: its hull is none of them."""
    for thing in objects:
        place = folder / "objects" / str(thing.instance_id)
        count = 0 if thing.convex_parts else read_object_facts(place)["convex_parts"]
        if count:
            raise InputError(
                f"The {count} convex bodies of object {thing.instance_id} are not in {place / 'collision'}; "
                f"`instascene complete {folder} --instance {thing.instance_id}` makes the object anew."
            )


def _read_parts(folder: Path, count: int, world_from_object: np.ndarray) -> tuple[TriangleMesh, ...]:
    """The convex parts in the world frame from the OBJ files, which are in the object's own.

    None where there are no files: earlier versions wrote them on request only.  InputError where there are
    more or fewer than `count`, what object.json says.
    """
    paths = sorted(folder.glob("part_*.obj")) if count else []
    if paths and len(paths) != count:
        raise InputError(
            f"{folder} holds {len(paths)} convex bodies, object.json beside it tells of {count}; make the "
            "object again."
        )
    return tuple(in_scene_frame(world_from_object, require_mesh(read_body(path), path)) for path in paths)


def _read_texture(folder: Path, facts: dict, mesh: TriangleMesh) -> Texture | None:
    """The texture in mesh.obj and mesh.png; None where the object has none.  InputError where they are not of
    this mesh."""
    described, image, surface = facts.get("texture"), folder / "mesh.png", folder / "mesh.obj"
    if described is None or not image.is_file() or not surface.is_file():
        return None
    with opened_image(image, "The texture") as opened:
        pixels = np.array(opened.convert("RGB"))
    uv, triangles = read_texture_coordinates(surface)
    fits = triangles.shape == mesh.triangles.shape and uv.ndim == 2 and np.isfinite(uv).all()
    if not fits or triangles.min() < 0 or triangles.max() >= len(uv) or pixels.shape[0] != pixels.shape[1]:
        raise InputError(f"The texture in {surface} and {image.name} is not of the mesh beside it.")
    return Texture(pixels, uv, triangles, described["texel_m"], described["observed_share"])


def _read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a PLY as `ply.write` makes it."""
    data = path.read_bytes()
    header, separator, body = data.partition(b"end_header\n")
    words = (line.split() for line in header.decode("ascii", "replace").splitlines())
    counts = {w[1]: int(w[2]) for w in words if w[:1] == ["element"]}
    size, rest = counts.get("vertex", 0) * VERTEX.itemsize, counts.get("face", 0) * FACE.itemsize
    if not separator or min(counts.values(), default=0) < 0 or len(body) != size + rest:
        raise InputError(f"{path} is not a mesh of a saved scene, or cut short.")
    return np.frombuffer(body[:size], VERTEX), np.frombuffer(body[size:], FACE)

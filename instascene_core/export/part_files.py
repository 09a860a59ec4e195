"""An object's parts as files: parts.ply (labels of all levels), parts.glb (a primitive a part), parts.json.

All in the object's own frame, metres, z up; vertices and triangles as in mesh.ply.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instascene_core.colors import part_color
from instascene_core.errors import InputError
from instascene_core.export.glb import Group, Placed, Shape, glb
from instascene_core.export.ply import FACE
from instascene_core.files import write_bytes, write_json
from instascene_core.geometry import TriangleMesh
from instascene_core.parts.segment import PartLabels, PartLevel
from instascene_core.untrusted import read_json_object

PLY, GLB, FACTS = "parts.ply", "parts.glb", "parts.json"
MOST_LEVELS = 8


@dataclass(frozen=True)
class PartedMesh:
    """A mesh and the parts of its vertices."""

    name: str  # "object_3"
    mesh: TriangleMesh  # object frame
    labels: PartLabels  # of each vertex
    shown: int  # the level whose parts are coloured and are the GLB's primitives, from 0


def write_parts(folder: Path, parted: PartedMesh) -> None:
    """Write the three files into `folder`."""
    shown, index = parted.labels.levels[parted.shown], parted.labels.levels
    vertices = np.empty(len(parted.mesh.vertices), dtype=_vertex_type(len(index)))
    for k, axis in enumerate("xyz"):
        vertices[axis] = parted.mesh.vertices[:, k]
    colors = np.stack([part_color(p) for p in range(len(shown.names))])[shown.part]
    for k, channel in enumerate(("red", "green", "blue")):
        vertices[channel] = colors[:, k]
    for level, one in enumerate(index):
        vertices[f"part_{level + 1}"] = one.part
    write_bytes(folder / PLY, _ply(vertices, parted))
    write_bytes(folder / GLB, glb([Placed(_shape(parted), {"level": parted.shown + 1})], parted.name))
    write_json(folder / FACTS, part_facts(parted))


def read_parts(folder: Path) -> PartLabels:
    """The labels of an object's vertices in its folder, as `write_parts` wrote them.  InputError where they
    are missing or damaged."""
    facts = read_json_object(folder / FACTS, "The parts")
    try:
        levels = [[(str(p["name"]), float(p["score"])) for p in level["parts"]] for level in facts["levels"]]
        if not 1 <= len(levels) <= MOST_LEVELS or not all(levels):
            raise ValueError("levels")
        header, _, body = (folder / PLY).read_bytes().partition(b"end_header\n")
        words = [line.split() for line in header.decode("ascii").splitlines()]
        counts = {w[1]: int(w[2]) for w in words if w[:1] == ["element"]}
        kind = _vertex_type(len(levels))
        size = counts["vertex"] * kind.itemsize
        if len(body) != size + counts["face"] * FACE.itemsize:
            raise ValueError("it is cut short")
        vertices = np.frombuffer(body[:size], kind)
        labels = [vertices[f"part_{k + 1}"].astype(np.int32) for k in range(len(levels))]
        if any(part.min(initial=0) < 0 or part.max(initial=0) >= len(l) for part, l in zip(labels, levels)):
            raise ValueError("a vertex is of a part that there is not")
    except (OSError, KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The parts in {folder} cannot be read ({error}); run `instascene parts` again."
        ) from error
    return PartLabels(tuple(
        PartLevel(part, tuple(name for name, _ in level), np.array([score for _, score in level]))
        for part, level in zip(labels, levels)
    ))  # fmt: skip


def part_facts(parted: PartedMesh) -> dict:
    """What parts.json tells of each part: name, how sure, share of the surface, where (object frame)."""
    mesh = parted.mesh
    corners = mesh.vertices[mesh.triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area, middle = np.linalg.norm(cross, axis=1) / 2, corners.mean(axis=1)
    levels = []
    for level in parted.labels.levels:
        of_triangle, parts = part_of_triangles(mesh, level), []
        for p, name in enumerate(level.names):
            mine, vertices = of_triangle == p, mesh.vertices[level.part == p]
            weight = area[mine]
            described = {"name": name, "score": round(float(level.scores[p]), 4), "vertices": len(vertices)}
            described["surface_share"] = round(float(weight.sum() / max(area.sum(), 1e-30)), 5)
            if len(vertices):
                total = weight.sum()
                centre = weight @ middle[mine] / total if total > 0 else vertices.mean(axis=0)
                described |= {
                    "center_m": centre.tolist(),
                    "box_min_m": vertices.min(axis=0).tolist(),
                    "box_max_m": vertices.max(axis=0).tolist(),
                }
            parts.append(described)
        levels.append({"parts": parts})
    return {"frame": "object", "levels": levels}


def part_of_triangles(mesh: TriangleMesh, level: PartLevel) -> np.ndarray:
    """[F] part of each triangle: that of two of its corners, else of its first."""
    a, b, c = level.part[mesh.triangles].T
    return np.where(b == c, b, a)


def _shape(parted: PartedMesh) -> Shape:
    level, mesh = parted.labels.levels[parted.shown], parted.mesh
    of_triangle = part_of_triangles(mesh, level)
    groups = tuple(
        Group(
            name,
            np.flatnonzero(of_triangle == p),
            part_color(p),
            {"part": p, "score": float(level.scores[p])},
        )
        for p, name in enumerate(level.names)
        if (of_triangle == p).any()
    )
    gray = np.full((len(mesh.vertices), 3), 128, dtype=np.uint8)
    known = {f"_PART_{k + 1}": one.part.astype(np.float64) for k, one in enumerate(parted.labels.levels)}
    return Shape(parted.name, mesh, gray, attributes=known, groups=groups)


def _vertex_type(levels: int) -> np.dtype:
    place = [(axis, "<f4") for axis in "xyz"] + [(channel, "u1") for channel in ("red", "green", "blue")]
    return np.dtype(place + [(f"part_{k + 1}", "<i4") for k in range(levels)])


def _ply(vertices: np.ndarray, parted: PartedMesh) -> bytes:
    faces = np.empty(len(parted.mesh.triangles), dtype=FACE)
    faces["count"], faces["indices"] = 3, parted.mesh.triangles
    comments = [
        f"comment part_{k + 1}: " + ", ".join(f"{p} {name}" for p, name in enumerate(level.names))
        for k, level in enumerate(parted.labels.levels)
    ]
    header = [
        "ply", "format binary_little_endian 1.0", *comments, f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {channel}" for channel in ("red", "green", "blue")),
        *(f"property int part_{k + 1}" for k in range(len(parted.labels.levels))),
        f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header",
    ]  # fmt: skip
    return "\n".join(header).encode("ascii", "replace") + b"\n" + vertices.tobytes() + faces.tobytes()

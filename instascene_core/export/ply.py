"""Binary PLY of a completed object: per vertex its colour, how far it was observed, how uncertain it is."""

from pathlib import Path

import numpy as np

from instascene_core.export.asset import ObjectAsset

PROPERTIES = (  # of a vertex: name, type in the file, type in numpy
    *((axis, "float", "<f4") for axis in "xyz"),
    *((channel, "uchar", "u1") for channel in ("red", "green", "blue")),
    ("observed", "float", "<f4"),
    ("uncertainty", "float", "<f4"),
)
VERTEX = np.dtype([(name, numpy_type) for name, _, numpy_type in PROPERTIES])
FACE = np.dtype([("count", "u1"), ("indices", "<i4", (3,))])


def write(path: Path, asset: ObjectAsset) -> None:
    """Write the mesh with properties x y z (metres), red green blue, observed (0 generated … 1 observed)
    and uncertainty (metres)."""
    obj, mesh = asset.obj, asset.mesh
    vertices = np.empty(len(mesh.vertices), dtype=VERTEX)
    for k, axis in enumerate("xyz"):
        vertices[axis] = mesh.vertices[:, k]
    for k, channel in enumerate(("red", "green", "blue")):
        vertices[channel] = obj.colors[:, k]
    vertices["observed"], vertices["uncertainty"] = obj.observed, obj.vertex_uncertainty
    faces = np.empty(len(mesh.triangles), dtype=FACE)
    faces["count"], faces["indices"] = 3, mesh.triangles
    properties = [f"property {kind} {name}" for name, kind, _ in PROPERTIES]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment observed: 0 generated .. 1 observed; uncertainty: metres",
        f"element vertex {len(vertices)}",
        *properties,
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    path.write_bytes("\n".join(header).encode() + b"\n" + vertices.tobytes() + faces.tobytes())

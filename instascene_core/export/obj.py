"""Wavefront OBJ of an object, with its material and texture beside, and of plain bodies."""

from pathlib import Path

import numpy as np

from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import Texture


def write_body(path: Path, mesh: TriangleMesh) -> None:
    """Vertices and triangles alone, metres."""
    path.write_text(_rows("v %.7g %.7g %.7g\n", mesh.vertices) + _rows("f %d %d %d\n", mesh.triangles + 1))


def write_surface(
    path: Path, mesh: TriangleMesh, colors: np.ndarray, texture: Texture | None, material: str
) -> None:
    """With normals, and with the texture, which `write_material` puts beside; without one with the colours
    [V, 3] uint8 of the vertices, as the common extension of `v` lines.

    Vertices are not doubled at seams, so that a reader that does not double them has the closed mesh.
    """
    lines = [f"# {material}, metres, z up\n"]
    normals = meshes.vertex_normals(mesh)
    corner = mesh.triangles[..., None] + 1  # [F, 3, 1]
    if texture is None:
        lines.append(_rows("v %.7g %.7g %.7g %.4f %.4f %.4f\n", np.hstack([mesh.vertices, colors / 255.0])))
        lines.append(_rows("vn %.4f %.4f %.4f\n", normals))
        faces = np.concatenate([corner, corner], axis=2)
        lines.append(_rows("f %d//%d %d//%d %d//%d\n", faces.reshape(-1, 6)))
    else:
        lines.append(f"mtllib {path.with_suffix('.mtl').name}\n")
        lines.append(_rows("v %.7g %.7g %.7g\n", mesh.vertices))
        lines.append(_rows("vt %.7g %.7g\n", texture.uv))
        lines.append(_rows("vn %.4f %.4f %.4f\n", normals))
        lines.append(f"usemtl {material}\n")
        faces = np.concatenate([corner, texture.triangles[..., None] + 1, corner], axis=2)
        lines.append(_rows("f %d/%d/%d %d/%d/%d %d/%d/%d\n", faces.reshape(-1, 9)))
    path.write_text("".join(lines))


def write_material(path: Path, material: str, image: str) -> None:
    """The MTL file: a dull material called `material` with the image file `image` as its colour."""
    path.write_text(
        f"newmtl {material}\nKa 1 1 1\nKd 1 1 1\nKs 0.05 0.05 0.05\nNs 10\nd 1\nillum 2\nmap_Kd {image}\n"
    )


def read_body(path: Path) -> TriangleMesh:
    """The mesh of an OBJ file of triangles; ValueError, IndexError where it is none."""
    rows = [line.split() for line in path.read_text().splitlines()]
    vertices = np.array([row[1:4] for row in rows if row[:1] == ["v"]], dtype=np.float64)
    triangles = np.array([row[1:4] for row in rows if row[:1] == ["f"]], dtype=np.int32) - 1
    return TriangleMesh(vertices, triangles)


def read_texture_coordinates(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(uv [U, 2] float32, triangles [F, 3] int32 of them) of a file that `write_surface` made with a texture;
    ValueError, IndexError where it is none."""
    lines = path.read_text().splitlines()
    uv = [line[3:] for line in lines if line.startswith("vt ")]
    faces = [line[2:] for line in lines if line.startswith("f ")]
    # All numbers at once: three of a corner (vertex, texture, normal), three corners a triangle.
    corners = np.fromstring(" ".join(faces).replace("/", " "), np.int32, sep=" ").reshape(len(faces), 3, 3)
    return np.fromstring(" ".join(uv), np.float32, sep=" ").reshape(len(uv), 2), corners[..., 1] - 1


def _rows(pattern: str, values: np.ndarray) -> str:
    """A line a row."""
    return (pattern * len(values)) % tuple(values.ravel().tolist())

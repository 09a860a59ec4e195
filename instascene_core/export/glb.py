"""Binary glTF 2.0 of objects: y up by the root node, texture or linear vertex colours, what is known of each
vertex as attributes, what is known of the object as extras.

trimesh writes glTF, too, but vertex colours in 8 bits as they are, where the format asks for linear ones.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from instascene_core.colors import linear
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import Texture

Y_UP = [-float(np.sqrt(0.5)), 0.0, 0.0, float(np.sqrt(0.5))]  # xyzw: turns z up into glTF's y up
FLOAT, UINT32, UINT16 = 5126, 5125, 5123
VERTICES, INDICES = 34962, 34963
LINEAR, MIPMAPS, CLAMP = 9729, 9987, 33071
ROUGHNESS = 0.8  # of household things: nothing is known of it


@dataclass(frozen=True)
class Group:
    """Some of a shape's triangles as a primitive of their own, in one colour."""

    name: str
    triangles: np.ndarray  # indices of the shape's triangles
    color: np.ndarray  # [3] uint8 sRGB
    extras: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Shape:
    """A mesh as glTF shows it."""

    name: str
    mesh: TriangleMesh
    colors: np.ndarray  # [V, 3] uint8 sRGB; shown where there is no texture
    texture: Texture | None = None
    png: bytes = b""  # the texture's image
    attributes: dict[str, np.ndarray] = field(default_factory=dict)  # name → [V] float, a number a vertex
    groups: tuple[Group, ...] = ()  # a primitive each, without texture; none: one for all triangles


@dataclass(frozen=True)
class Placed:
    """A shape at its place in the scene."""

    shape: Shape
    extras: dict
    pose: np.ndarray | None = None  # [4, 4] in the scene; None = as it is


def glb(things: Sequence[Placed], name: str) -> bytes:
    """One file of all things, which are z up; `name` is the root node's where there are several."""
    document = _Document()
    nodes = [document.node(thing) for thing in things]
    if len(nodes) == 1 and things[0].pose is None:
        nodes[0]["rotation"] = Y_UP
    else:
        children = list(range(1, len(nodes) + 1))
        nodes.insert(0, {"name": name, "rotation": Y_UP, "children": children})
    return document.written(nodes)


class _Document:
    """The parts of a file, each added once."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._lists: dict[str, list] = {
            key: [] for key in ("meshes", "materials", "textures", "images", "accessors", "bufferViews")
        }

    def node(self, thing: Placed) -> dict:
        self._lists["meshes"].append(self._mesh(thing.shape))
        node = {"name": thing.shape.name, "mesh": len(self._lists["meshes"]) - 1}
        if thing.extras:
            node["extras"] = thing.extras
        if thing.pose is not None:
            node["matrix"] = thing.pose.T.ravel().tolist()  # column by column
        return node

    def written(self, nodes: list[dict]) -> bytes:
        self._pad()
        document = {
            "asset": {"version": "2.0", "generator": "instascene"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": nodes,
            "samplers": [{"magFilter": LINEAR, "minFilter": MIPMAPS, "wrapS": CLAMP, "wrapT": CLAMP}],
            **self._lists,
            "buffers": [{"byteLength": len(self._data)}],
        }
        if not document["textures"]:
            del document["samplers"]
        text = json.dumps({k: v for k, v in document.items() if v not in ([], {})}).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self._data), b"BIN\0") + bytes(self._data)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def _mesh(self, shape: Shape) -> dict:
        vertex, triangles = np.arange(len(shape.mesh.vertices)), shape.mesh.triangles
        if shape.texture is not None:  # a vertex on a seam is there once a chart
            vertex = np.zeros(len(shape.texture.uv), dtype=np.int64)
            vertex[shape.texture.triangles] = triangles
            triangles = shape.texture.triangles
        normals = meshes.vertex_normals(shape.mesh)
        normals[~(np.abs(np.linalg.norm(normals, axis=1) - 1) < 1e-6)] = [0, 0, 1]
        attributes = {
            "POSITION": self._floats(shape.mesh.vertices[vertex], limits=True),
            "NORMAL": self._floats(normals[vertex]),
        }
        if shape.texture is not None:
            uv = shape.texture.uv.astype(np.float64)
            attributes["TEXCOORD_0"] = self._floats(np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1))
        else:
            rgba = np.concatenate([linear(shape.colors / 255), np.ones((len(shape.colors), 1))], axis=1)
            data = np.rint(65535 * rgba).astype("<u2")
            attributes["COLOR_0"] = self._accessor(data, UINT16, VERTICES, normalized=True)
        for name, values in shape.attributes.items():
            attributes[name] = self._floats(values[vertex])
        if shape.groups:
            del attributes["COLOR_0"]  # it would multiply the groups' own
            return {
                "name": shape.name,
                "primitives": [self._group(shape, g, attributes) for g in shape.groups],
            }
        indices = self._accessor(triangles.astype("<u4").ravel(), UINT32, INDICES)
        primitive = {"attributes": attributes, "indices": indices, "material": self._material(shape)}
        return {"name": shape.name, "primitives": [primitive]}

    def _group(self, shape: Shape, group: Group, attributes: dict) -> dict:
        """A primitive of some triangles, which shares its vertices with the others."""
        corners = shape.mesh.triangles[group.triangles].astype("<u4").ravel()
        color = [*linear(group.color / 255).tolist(), 1.0]
        surface = {"baseColorFactor": color, "metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
        self._lists["materials"].append({"name": group.name, "pbrMetallicRoughness": surface})
        return {
            "attributes": attributes,
            "indices": self._accessor(corners, UINT32, INDICES),
            "material": len(self._lists["materials"]) - 1,
            "extras": {"name": group.name, **group.extras},
        }

    def _material(self, shape: Shape) -> int:
        surface: dict = {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
        if shape.texture is not None:
            view = self._view(shape.png)
            self._lists["images"].append({"name": shape.name, "mimeType": "image/png", "bufferView": view})
            self._lists["textures"].append({"sampler": 0, "source": len(self._lists["images"]) - 1})
            surface["baseColorTexture"] = {"index": len(self._lists["textures"]) - 1}
        self._lists["materials"].append({"name": shape.name, "pbrMetallicRoughness": surface})
        return len(self._lists["materials"]) - 1

    def _floats(self, values: np.ndarray, limits: bool = False) -> int:
        return self._accessor(values.astype("<f4"), FLOAT, VERTICES, limits=limits)

    def _accessor(
        self, values: np.ndarray, kind: int, target: int, normalized: bool = False, limits: bool = False
    ) -> int:
        """values: [N] numbers or [N, 2 … 4] vectors."""
        size = 1 if values.ndim == 1 else values.shape[1]
        accessor: dict = {
            "bufferView": self._view(values.tobytes(), target),
            "componentType": kind,
            "count": len(values),
            "type": "SCALAR" if size == 1 else f"VEC{size}",
        }
        if normalized:
            accessor["normalized"] = True
        if limits:
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        self._lists["accessors"].append(accessor)
        return len(self._lists["accessors"]) - 1

    def _view(self, data: bytes, target: int | None = None) -> int:
        self._pad()
        view = {"buffer": 0, "byteOffset": len(self._data), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self._data += data
        self._lists["bufferViews"].append(view)
        return len(self._lists["bufferViews"]) - 1

    def _pad(self) -> None:
        self._data += b"\0" * (-len(self._data) % 4)

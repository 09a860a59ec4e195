"""What a thing consists of: its named parts, at three levels from coarse to fine.

Who builds a thing knows its parts.  They are kept beside the mesh, an index a triangle, and where one body
has several parts (a bottle turned in one piece), as bands along an axis.  The finest names are those of
`FINE`; each belongs to a middle and a coarse one.  At a coarser level, parts that touch and bear one name
are one part: a pot's lid is the plate with its knob.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Finest name → (coarse, middle).  Coarse is what a robot wants it for, middle is the kind of shape.
FINE: dict[str, tuple[str, str]] = {
    "body": ("body", "body"),
    "rim": ("body", "body"),  # of an open vessel
    "grip": ("handle", "grip"),  # straight, for a fist
    "ear": ("handle", "loop"),  # a loop at the side, for fingers
    "bow": ("handle", "loop"),  # a loop over the top
    "blade": ("end", "blade"),  # `end`: what the thing works with
    "head": ("end", "head"),
    "bristles": ("end", "head"),
    "jaw": ("end", "head"),
    "shade": ("end", "head"),
    "shaft": ("end", "shaft"),
    "spout": ("end", "spout"),
    "nozzle": ("end", "spout"),
    "lid": ("cover", "lid"),
    "knob": ("cover", "lid"),
    "cap": ("cover", "cap"),
    "base": ("support", "base"),
    "foot": ("support", "base"),
    "stem": ("support", "stem"),
    "wheel": ("support", "wheel"),
    "button": ("control", "button"),
    "trigger": ("control", "button"),
    "panel": ("control", "panel"),
    "limb": ("limb", "limb"),  # arms, wings, antennas, cables
}
LEVEL_NAMES: tuple[tuple[str, ...], ...] = (
    tuple(dict.fromkeys(coarse for coarse, _ in FINE.values())),
    tuple(dict.fromkeys(middle for _, middle in FINE.values())),
    tuple(FINE),
)
LEVELS = len(LEVEL_NAMES)
RIM = 0.12  # of a vessel's height that its rim is high ...
THINNEST_RIM = 0.004  # ... in metres, at least


@dataclass(frozen=True)
class Band:
    """What of a part lies above a plane is another part."""

    of: int  # index of the part that is cut
    becomes: int
    object_from_band: np.ndarray  # [4, 4] rigid; the plane is z = low in the band's frame
    low: float  # metres


@dataclass(frozen=True)
class Anatomy:
    """The parts of one solid."""

    names: tuple[str, ...]  # [P] keys of FINE
    of_triangle: np.ndarray  # [F] int32, the part of each triangle of the solid's mesh
    bands: tuple[Band, ...] = ()  # applied one after the other

    def moved(self, offset: np.ndarray) -> "Anatomy":
        """That of the solid moved by `offset` [3] metres."""
        shift = np.eye(4)
        shift[:3, 3] = offset
        bands = (Band(b.of, b.becomes, shift @ b.object_from_band, b.low) for b in self.bands)
        return Anatomy(self.names, self.of_triangle, tuple(bands))

    def parts_at(self, points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """[N] int32 indices into `names` of surface points [N, 3] (object frame) on triangles [N]."""
        part = self.of_triangle[triangles].copy()
        for band in self.bands:
            frame = band.object_from_band
            above = (points - frame[:3, 3]) @ frame[:3, 2] >= band.low
            part[above & (part == band.of)] = band.becomes
        return part


@dataclass(frozen=True)
class PartLevels:
    """Truth at points, coarse to fine."""

    names: tuple[tuple[str, ...], ...]  # per level the class names
    semantic: np.ndarray  # [L, N] int32, index into the level's names
    instance: np.ndarray  # [L, N] int32, which of the thing's parts, 0 … of each level


def part_levels(
    anatomy: Anatomy, mesh_triangles: np.ndarray, points: np.ndarray, triangles: np.ndarray
) -> PartLevels:
    """Names and instances, at every level, of surface points [N, 3] on triangles [N].

    mesh_triangles: [F, 3] of the solid's mesh, by which parts are found to touch.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    part = anatomy.parts_at(points, triangles)
    pairs = _touching(anatomy, mesh_triangles)
    semantic, instance = [], []
    for level, names in enumerate(LEVEL_NAMES):
        name = np.array([names.index(name_at(fine, level)) for fine in anatomy.names])
        same = pairs[name[pairs[:, 0]] == name[pairs[:, 1]]] if level < LEVELS - 1 else pairs[:0]
        graph = coo_array((np.ones(len(same)), (same[:, 0], same[:, 1])), shape=(len(name),) * 2)
        group = connected_components(graph, directed=False)[1]
        semantic.append(name[part])
        instance.append(group[part])
    return PartLevels(LEVEL_NAMES, np.array(semantic, np.int32), np.array(instance, np.int32))


def whole_body(num_triangles: int) -> Anatomy:
    """Of a thing that is nothing but a body."""
    return Anatomy(("body",), np.zeros(num_triangles, dtype=np.int32))


def name_at(fine: str, level: int) -> str:
    """The name at a level (0 coarse, 1 middle, 2 fine) of what is finely called `fine`."""
    return (*FINE[fine], fine)[level]


def _touching(anatomy: Anatomy, mesh_triangles: np.ndarray) -> np.ndarray:
    """[K, 2] pairs of parts that share a vertex of the mesh, or of which one is a band of the other."""
    corners = np.column_stack([mesh_triangles.ravel(), np.repeat(anatomy.of_triangle, 3)])
    vertex, part = np.unique(corners, axis=0).T  # sorted by vertex: the parts at one follow each other
    pairs = [np.array([[band.of, band.becomes] for band in anatomy.bands], dtype=np.int64).reshape(-1, 2)]
    for step in (1, 2):  # more than three parts at one vertex do not happen
        beside = vertex[step:] == vertex[:-step]
        pairs.append(np.column_stack([part[:-step][beside], part[step:][beside]]))
    return np.concatenate(pairs)


def anatomy_of(
    manifold, named: Sequence[tuple[str, Any]], above: Sequence[tuple[str, float]] = ()
) -> Anatomy:
    """The anatomy of a manifold3d body that is united from `named` bodies (finest name, body).

    A triangle belongs to the first of the bodies that it comes from, to the first of all where it comes from
    none of them (a cavity).  above: (name, metres of height): from there upward the first body's part is
    another one; heights ascend.
    """
    mesh = manifold.to_mesh64()
    ends = np.asarray(mesh.run_index, dtype=int) // 3
    source = np.repeat(np.asarray(mesh.run_original_id), np.diff(ends))
    of_triangle = np.zeros(len(source), dtype=np.int32)
    for index in reversed(range(len(named))):
        ids = np.asarray(named[index][1].to_mesh64().run_original_id)
        of_triangle[np.isin(source, ids)] = index
    names = [name for name, _ in named]
    bands, last = [], 0
    for name, low in above:
        bands.append(Band(last, len(names), np.eye(4), low))
        last = len(names)
        names.append(name)
    return Anatomy(tuple(names), of_triangle, tuple(bands))

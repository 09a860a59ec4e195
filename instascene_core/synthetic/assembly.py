"""Putting a thing together from parts, each with its own look.

An `Assembly` collects bodies in the object frame (metres, z up) and unites them.  manifold3d remembers which
body each triangle of the union comes from; that is what a `Piece` is cut out by, so that pieces never
overlap, have no hidden faces and are together exactly the watertight mesh.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from instascene_core.geometry import TriangleMesh
from instascene_core.synthetic.anatomy import RIM, THINNEST_RIM, Anatomy, Band
from instascene_core.synthetic.bodies import (
    AROUND,
    LooseParts,
    frame_along,
    frame_at,
    hull,
    outer_shell,
    rings_of,
    tube_body,
    tube_rings,
    turned_body,
    wall_parts,
    with_round_ends,
)
from instascene_core.synthetic.lathe import hollow_body, on_axis
from instascene_core.synthetic.solids import Piece, Solid, convex_slices, ring, sphere_points

THIN, AROUND_THIN = 0.013, 24  # metres of radius up to which so few segments around an axis are enough
SIDES = 12  # segments around a bent tube
BEND = 1.5e-3  # metres a collision part may leave an outline
EYE = np.eye(4)
TRIES = 8  # random proportions whose parts do not meet are drawn anew
UNTEXTURED = ("plain", "rubber", "metal")  # how they wrap does not show


@dataclass(frozen=True)
class _Look:
    paint: str
    frame: np.ndarray  # [4, 4] object_from_piece
    mapping: str
    part: int  # index of the named part it belongs to


def material_of(paint: str) -> str:
    """The material of a paint: "plain2" is another colour of "plain"."""
    return paint.rstrip("0123456789")


class Assembly:
    """Bodies with looks on their way to one `Solid`."""

    def __init__(self, kind: str, density: float) -> None:
        self.kind, self.density = kind, density  # kg/m³ over all
        self._bodies: list = []
        self._parts: list[np.ndarray] = []
        self._looks: dict[int, _Look] = {}
        self._names, self._part = ["body"], 0
        self._bands: list[Band] = []

    # --- its parts ---

    def part(self, name: str) -> None:
        """What is added from now on is one more part, a key of `anatomy.FINE`; first of all it is "body"."""
        self._part = len(self._names)
        self._names.append(name)

    def back_to(self, name: str) -> None:
        """What is added from now on belongs to the last part of that name."""
        self._part = max(index for index, known in enumerate(self._names) if known == name)

    # --- anything ---

    def add(self, body, parts, paint: str, frame: np.ndarray = EYE, mapping: str = "box"):
        """Add a body with its collision parts, both in the piece frame; the body in the object frame."""
        placed = self._marked(body.transform(np.ascontiguousarray(frame[:3])), paint, frame, mapping)
        self._bodies.append(placed)
        self._parts += [part @ frame[:3, :3].T + frame[:3, 3] for part in parts]
        return placed

    def _marked(self, body, paint: str, frame: np.ndarray, mapping: str):
        body = body.as_original()
        self._looks[body.original_id()] = _Look(paint, frame, mapping, self._part)
        return body

    def repaint(self, cutter, paint: str, frame: np.ndarray = EYE, mapping: str = "box") -> None:
        """What of the body added last lies in `cutter` (object frame) gets another look.

        The rest then counts as added last."""
        inside, outside = self._bodies.pop().split(self._marked(cutter, paint, frame, mapping))
        if not inside.is_empty():
            self._bodies.append(self._marked(inside, paint, frame, mapping))
        self._bodies.append(outside)

    def keep_out(self, cavity) -> None:
        """Take `cavity` (object frame) out of the body added last."""
        self._bodies[-1] = self._bodies[-1] - cavity

    # --- primitives ---

    def hull(self, points: ArrayLike, paint: str, frame: np.ndarray = EYE):
        """The convex body around points [N, 3]."""
        points = np.asarray(points, dtype=float)
        return self.add(hull(points), [points], paint, frame)

    def block(
        self, size: ArrayLike, centre: ArrayLike, paint: str, radius: float = 0.003, frame: np.ndarray = EYE
    ):
        """A box `size` [3] with rounded edges around `centre` of the frame."""
        half = np.asarray(size, dtype=float) / 2
        radius = float(min(radius, half.min() * 0.95))
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * (half - radius)
        fine = (16, 5) if radius > 0.005 else (8, 3)  # what shows at a metre
        points = np.concatenate([sphere_points(c, radius, *fine) for c in corners])
        moved = frame @ frame_at(centre)
        return self.add(hull(points), [points], paint, moved)

    def wedge(self, low, high, paint: str, frame: np.ndarray = EYE, radius: float = 0.002):
        """The hull of two rounded rectangles: each (width x, depth y, height z of its plane[, shift x])."""
        points = []
        for (w, d, z, *shift), inward in ((low, 1.0), (high, -1.0)):
            r = min(radius, 0.45 * min(w, d))
            at = [
                sphere_points(
                    (sx * (w / 2 - r) + (shift[0] if shift else 0), sy * (d / 2 - r), z + inward * r), r
                )
                for sx in (-1, 1)
                for sy in (-1, 1)
            ]
            points += at
        return self.hull(np.concatenate(points), paint, frame)

    def rod(
        self, start, end, radius: float, paint: str, end_radius: float | None = None, edge: float = 0.001
    ):
        """A cylinder or cone with bevelled ends between two points."""
        end_radius = radius if end_radius is None else end_radius
        length = float(np.linalg.norm(np.asarray(end, dtype=float) - start))
        e = min(edge, 0.4 * length, 0.6 * radius, 0.6 * end_radius)
        outline = np.array(
            [[radius - e, 0.0], [radius, e], [end_radius, length - e], [end_radius - e, length]]
        )
        return self.lathe(outline, paint, frame_along(start, end))

    def pill(self, start, end, radius: float, paint: str, end_radius: float | None = None):
        """A capsule, tapered when the radii differ."""
        end_radius = radius if end_radius is None else end_radius
        points = np.concatenate([sphere_points(start, radius, 24, 9), sphere_points(end, end_radius, 24, 9)])
        return self.add(hull(points), [points], paint)

    def ball(self, centre, radii: ArrayLike, paint: str, frame: np.ndarray = EYE):
        """An ellipsoid."""
        points = np.asarray(centre) + np.broadcast_to(radii, 3) * sphere_points((0, 0, 0), 1.0, 24, 13)
        return self.hull(points, paint, frame)

    def lathe(self, outline: np.ndarray, paint: str, frame: np.ndarray = EYE):
        """A full solid of revolution with the outline [K, 2] (radius, height), bottom to top."""
        closed = on_axis(np.asarray(outline, dtype=float))
        around = AROUND if closed[:, 0].max() > THIN else AROUND_THIN
        parts = [
            np.concatenate([ring(r, z, 16) for r, z in rings_of(s)]) for s in convex_slices(closed, BEND)
        ]
        return self.add(turned_body(closed, around), parts, paint, frame, "cylinder")

    def tube(
        self,
        path: Iterable[ArrayLike],
        radius: ArrayLike,
        paint: str,
        closed: bool = False,
        round_ends: bool = True,
        parts: int = 3,
        up: ArrayLike = (0.0, 0.0, 1.0),
        frame: np.ndarray = EYE,
    ):
        """A rod bent along `path` [N, 3]; `parts` convex pieces stand for it in collisions."""
        way, radii = np.array([np.asarray(p, dtype=float) for p in path]), np.asarray(radius, dtype=float)
        radii = radii[:, None] if radii.ndim == 1 else radii
        radii = np.broadcast_to(radii, (len(way), 2)).copy()
        if round_ends and not closed:
            way, radii = with_round_ends(way, radii)
        rings = tube_rings(way, radii, SIDES, closed, up)
        count = len(rings)
        ends = np.linspace(0, count if closed else count - 1, parts + 1).round().astype(int)
        pieces = [np.concatenate(rings[np.arange(a, b + 1) % count]) for a, b in itertools.pairwise(ends)]
        return self.add(tube_body(rings, closed), pieces, paint, frame)

    def vessel(
        self,
        outline: np.ndarray,
        wall: float,
        floor: float,
        paint: str,
        inside: str | None = None,
        frame: np.ndarray = EYE,
        rows: int = 1,
    ):
        """An open vessel, outer outline [K, 2] from foot to rim; its cavity, open upward, object frame."""
        outer, inner = hollow_body(np.asarray(outline, dtype=float), wall, floor)
        top = outer[-1, 1]
        lid = np.vstack([inner, [inner[-1, 0], top + 0.5], [0.0, top + 0.5]])
        move = np.ascontiguousarray(frame[:3])
        cavity = self._marked(turned_body(lid).transform(move), inside or paint, frame, "cylinder")
        full = np.vstack([outer, [0.0, top]])
        self.add(turned_body(full), wall_parts(outer, inner, rows, floor), paint, frame, "cylinder")
        if self._names[self._part] == "body":
            self._bands.append(Band(self._part, len(self._names), frame, top - max(RIM * top, THINNEST_RIM)))
            self._names.append("rim")
        self.keep_out(cavity)
        return cavity

    def plate_of(self, polygon: ArrayLike, thickness: float, paint: str, frame: np.ndarray = EYE, parts=None):
        """A flat piece: the outline [K, 2] in x, y raised by `thickness` around z = 0.

        parts: indices of the corners of its convex parts; without them the outline is convex.
        """
        import manifold3d

        polygon = np.asarray(polygon, dtype=float)
        x, y = polygon.T
        outline = polygon if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) > 0 else polygon[::-1]
        body = manifold3d.CrossSection([np.ascontiguousarray(outline)]).extrude(thickness)
        both = [np.column_stack([polygon, np.full(len(polygon), z)]) for z in (-0.5, 0.5)]
        levels = np.stack(both) * [1.0, 1.0, thickness]
        groups = [list(range(len(polygon)))] if parts is None else parts
        return self.add(
            body.translate([0.0, 0.0, -thickness / 2]),
            [levels[:, group].reshape(-1, 3) for group in groups],
            paint,
            frame,
        )

    # --- the result ---

    def solid(self) -> Solid:
        """The union, its origin at the centre of its bottom; LooseParts where it falls apart."""
        import manifold3d

        union = manifold3d.Manifold.batch_boolean(self._bodies, manifold3d.OpType.Add)
        mesh = union.to_mesh64()
        vertices = np.array(mesh.vert_properties[:, :3], dtype=np.float64)
        triangles = np.array(mesh.tri_verts, dtype=np.int32)
        ends = np.asarray(mesh.run_index, dtype=int) // 3
        source = np.repeat(np.asarray(mesh.run_original_id), np.diff(ends))
        kept = outer_shell(vertices, triangles)
        triangles, source = triangles[kept], source[kept]
        if not kept.all():
            used, index = np.unique(triangles, return_inverse=True)
            vertices, triangles = vertices[used], index.reshape(-1, 3).astype(np.int32)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
        vertices = vertices - origin
        parts = tuple(part - origin for part in self._parts)
        pieces = self._pieces(vertices, triangles, source, origin)
        of_triangle = np.array([self._looks[number].part for number in source], dtype=np.int32)
        anatomy = Anatomy(tuple(self._names), of_triangle, tuple(self._bands)).moved(-origin)
        return Solid(
            self.kind, TriangleMesh(vertices, triangles), parts, "box", self.density, pieces, anatomy
        )

    def _pieces(self, vertices, triangles, source, origin) -> tuple[Piece, ...]:
        """One piece a paint where its wrapping does not show, else one a paint and frame."""
        shift, groups = frame_at(-origin), {}
        for number in dict.fromkeys(source.tolist()):
            look = self._looks[number]
            bare = material_of(look.paint) in UNTEXTURED
            key = look.paint if bare else (look.paint, look.mapping, look.frame.tobytes())
            groups.setdefault(key, (look, bare, []))[2].append(number)
        pieces = []
        for look, bare, numbers in groups.values():
            mine = triangles[np.isin(source, numbers)]
            used, index = np.unique(mine, return_inverse=True)
            frame = EYE if bare else shift @ look.frame
            local = (vertices[used] - frame[:3, 3]) @ frame[:3, :3]
            mesh = TriangleMesh(local, index.reshape(-1, 3).astype(np.int32))
            pieces.append(Piece(mesh, frame, look.mapping, look.paint))
        return tuple(pieces)


def whole(make: Callable[[np.random.Generator], Solid]) -> Callable[[np.random.Generator], Solid]:
    """`make`, tried again where the parts drawn do not hang together."""

    def made(rng: np.random.Generator) -> Solid:
        for _ in range(TRIES - 1):
            try:
                return make(rng)
            except LooseParts:
                continue
        return make(rng)

    return made

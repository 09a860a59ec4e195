"""Convex parts of a closed mesh: divided where the hulls are farthest off, joined where that costs little."""

import heapq
import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from instascene_core.errors import InputError
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.convex import few_vertices, sides, surface_points
from instascene_core.geometry.mesh import TriangleMesh

SAMPLES = 200  # of a part's surface, for its error
SIMPLER = 2e-3  # of the extent: the mesh that is divided is at most so far from the true one
LEAST_VOLUME = 1e-7  # of the mesh: a smaller piece is dropped
GRAIN = 1e-6  # metres: pieces nearer than this touch
SHARES = (0.5, 0.3, 0.7)  # of a piece's length: where it may be cut
MARGIN = 0.02  # of a piece's length: no cut is nearer to its end
PROGRESS = 0.95  # factor on the largest error that a round must reach, or more is allowed
COARSER = 1.25  # factor on the error that is sought, where the budget does not suffice for less


@dataclass(frozen=True)
class PartsBudget:
    """What convex parts may cost, and how good they must be."""

    max_parts: int
    max_vertices: int  # of a part
    max_triangles: int  # of the mesh that is divided, which bounds the time
    max_error: float  # metres, or ...
    max_error_share: float  # ... this share of the box's diagonal, whichever is larger
    aim: float  # share of that error which the parts are made to

    def allowed(self, mesh: TriangleMesh) -> float:
        """Metres: the error that is small enough."""
        diagonal = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
        return max(self.max_error, self.max_error_share * diagonal)


@dataclass(frozen=True)
class _Piece:
    """A piece of the mesh and what stands for it."""

    solid: Any  # manifold3d.Manifold; None of pieces that were joined, which are good enough
    hull: TriangleMesh
    part: TriangleMesh  # the hull with few vertices
    volume: float  # of the hull, cubic metres
    error: float  # metres
    worst: np.ndarray  # [3] where the hull is farthest outside of the mesh

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """The hull's lowest and highest coordinates, [3] each."""
        return self.hull.vertices.min(axis=0), self.hull.vertices.max(axis=0)


def convex_parts(mesh: TriangleMesh, budget: PartsBudget) -> tuple[TriangleMesh, ...]:
    """Convex pieces that together cover a closed mesh, but for what few vertices leave out; always the same.

    As long as the hull of a piece is too far from the surface, which fills the cavity of a bowl, the worst
    one is cut by the plane that leaves the hulls least to fill.  Hulls that are near enough together as well
    are joined, which makes room for more cuts.  Where the budget does not suffice, the error that is sought
    grows until it does.  Raises InputError for a mesh that is no closed 2-manifold.
    """
    goal = budget.aim * budget.allowed(mesh)
    division = _Division(mesh, budget)
    whole = division.piece(None, meshes.convex_hull(mesh.vertices))
    if budget.max_parts == 1 or whole.error <= goal:
        return (whole.part,)
    pieces, before = division.solids() or [whole], np.inf
    while True:
        pieces = division.joined(division.cut(pieces, goal), goal)
        worst = max(piece.error for piece in pieces)
        if worst <= goal and len(pieces) <= budget.max_parts:
            return tuple(piece.part for piece in pieces)
        if worst > PROGRESS * before:
            goal *= COARSER
        before = worst


class _Division:
    """Cuts and joins pieces of one mesh."""

    def __init__(self, mesh: TriangleMesh, budget: PartsBudget) -> None:
        self.budget = budget
        self.surface = meshes.raycasting_scene(mesh)
        extent = float(np.ptp(mesh.vertices, axis=0).max())
        self.simple = meshes.simplify(mesh, SIMPLER * extent, budget.max_triangles)
        self.least = LEAST_VOLUME * meshes.volume(mesh)

    def solids(self) -> list[_Piece]:
        """The bodies the mesh consists of."""
        solid = meshes.as_manifold(self.simple)
        return self._pieces([] if solid is None else solid.decompose())

    def piece(self, solid: Any, hull: TriangleMesh, filled: tuple[float, np.ndarray] | None = None) -> _Piece:
        """A piece by its hull: how far that fills what is free, and what its few vertices leave out.

        filled: of `_filled`, where that is known.
        """
        error, worst = self._filled(hull) if filled is None else filled
        part = few_vertices(hull, self.budget.max_vertices)
        if part is not hull:
            planes = sides(part)
            error = max(error, float((hull.vertices @ planes[:, :3].T + planes[:, 3]).max()))
        return _Piece(solid, hull, part, meshes.volume(hull), error, worst)

    def _filled(self, hull: TriangleMesh) -> tuple[float, np.ndarray]:
        """Metres that a hull's surface lies outside of the mesh at most, and where that is [3]."""
        places = surface_points(hull, SAMPLES)
        outside = self.surface.compute_signed_distance(places.astype(np.float32)).numpy()
        return max(float(outside.max()), 0.0), places[int(outside.argmax())]

    def _pieces(self, solids: list) -> list[_Piece]:
        found = []
        for solid in solids:
            try:
                hull = meshes.convex_hull(meshes.from_manifold(solid).vertices)
                sides(hull)  # (raises the same)
            except InputError:  # flat: adds nothing to a collision body
                continue
            found.append(self.piece(solid, hull))
        return found

    def cut(self, pieces: list[_Piece], goal: float) -> list[_Piece]:
        """The pieces, the worst one cut until none is off by more or there are as many as may be."""
        done = [piece for piece in pieces if piece.error <= goal or piece.solid is None]
        queue = [piece for piece in pieces if piece.error > goal and piece.solid is not None]
        while queue and len(queue) + len(done) < self.budget.max_parts:
            queue.sort(key=lambda piece: piece.error)
            piece = queue.pop()
            halves = self._halves(piece)
            if len(halves) < 2:
                done.append(piece)
                continue
            done += [half for half in halves if half.error <= goal]
            queue += [half for half in halves if half.error > goal]
        return done + queue

    def _halves(self, piece: _Piece) -> list[_Piece]:
        """What the best of a few planes makes of a piece: the one that saves most for each piece more; none
        where no plane cuts it.

        What counts is the volume that a hull fills, times its size squared: cutting a ring in halves fills as
        much as before, but two cuts further there are arcs.
        """
        axes = _axes(piece.hull)
        cost, best, most = _cost(piece.solid, axes), [], -np.inf
        for normal, offset in self._planes(piece, axes):
            halves = piece.solid.split_by_plane(normal.tolist(), float(offset))
            solids = [solid for half in halves if not half.is_empty() for solid in half.decompose()]
            solids = [solid for solid in solids if solid.volume() > self.least]
            if len(solids) < 2:
                continue
            saved = (cost - sum(_cost(solid, axes) for solid in solids)) / (len(solids) - 1)
            if saved > most:
                best, most = solids, saved
        return self._pieces(best)

    def _planes(self, piece: _Piece, axes: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """Across the main directions of the hull, some where it is worst, and along the surface next to that,
        which takes the floor of a bowl from its wall."""
        planes = []
        for axis in axes.T[::-1]:
            along = piece.hull.vertices @ axis
            low, length, worst = along.min(), np.ptp(along), piece.worst @ axis
            planes += [(axis, low + share * length) for share in SHARES]
            if MARGIN < (worst - low) / length < 1 - MARGIN:
                planes.append((axis, worst))
        near = self.surface.compute_closest_points(piece.worst[None].astype(np.float32))
        normal = near["primitive_normals"].numpy()[0].astype(np.float64)
        return [*planes, (normal, normal @ near["points"].numpy()[0].astype(np.float64))]

    def joined(self, pieces: list[_Piece], goal: float) -> list[_Piece]:
        """Neighbours in one hull, those first that fill least, as long as it is off by no more."""
        alive, queue, numbers = dict(enumerate(pieces)), [], itertools.count(len(pieces))
        reach = (
            goal if len(pieces) > self.budget.max_parts else GRAIN
        )  # bodies that are apart may be too many

        def offer(first: int, second: int) -> None:
            one, other = alive[first], alive[second]
            (low, high), (other_low, other_high) = one.box, other.box
            if np.maximum(low - other_high, other_low - high).max() <= reach:
                hull = meshes.convex_hull(np.concatenate([one.hull.vertices, other.hull.vertices]))
                filled = meshes.volume(hull) - one.volume - other.volume
                heapq.heappush(queue, (filled, first, second, hull))

        for second in alive:
            for first in range(second):
                offer(first, second)
        while queue:
            _, first, second, hull = heapq.heappop(queue)
            if first not in alive or second not in alive or (filled := self._filled(hull))[0] > goal:
                continue
            if (both := self.piece(None, hull, filled)).error <= goal:
                del alive[first], alive[second]
                others, number = list(alive), next(numbers)
                alive[number] = both
                for other in others:
                    offer(other, number)
        return list(alive.values())


def _axes(hull: TriangleMesh) -> np.ndarray:
    """[3, 3] the main directions of a body's surface, the shortest first, as columns."""
    points = surface_points(hull, SAMPLES)
    return np.linalg.eigh(np.cov((points - points.mean(axis=0)).T))[1]


def _cost(solid: Any, axes: np.ndarray) -> float:
    """What the hull of a solid fills, times the square of its size."""
    hull = solid.hull()
    size = np.ptp(hull.to_mesh64().vert_properties[:, :3] @ axes, axis=0)
    return float((hull.volume() - solid.volume()) * (size @ size))

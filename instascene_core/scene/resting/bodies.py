"""Convex bodies of objects that lie together: none reaches into another, and each is exact where they touch.

A convex part fills the hollows of what it stands for, and has few vertices.  Both do little harm to an object
by itself; among others, what a part fills may be a neighbour's place, and a corner that was left out may be
what the neighbour leans on.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from instascene_core.errors import InputError
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.convex import few_vertices, sides
from instascene_core.geometry.convex_pairs import Overlap, covering, cut, overlap

GRAIN = 1e-5  # metres: what overlaps by less is apart
FAR = 0.1  # as much counts what is far from every neighbour, beside what touches one


@dataclass(frozen=True)
class BodiesBudget:
    """What the bodies may cost."""

    max_parts: int  # of an object
    max_vertices: int  # of a part
    max_filled: float  # metres: a hollow that a neighbour reaches into may be filled as deep
    touch: float  # metres: as near to a neighbour as this a surface is kept most exactly


@dataclass
class _Body:
    """The convex parts of one object, being fitted to its neighbours'."""

    mesh: TriangleMesh
    parts: dict[int, TriangleMesh]  # by a number of their own
    yields: bool  # whether they may change
    planes: tuple[Plane, ...]
    surface: "object" = field(init=False)  # for distances
    solid: "object" = field(init=False)  # for divisions
    numbers: int = field(init=False)  # given to parts so far

    def __post_init__(self) -> None:
        self.surface = meshes.raycasting_scene(self.mesh)
        self.solid = meshes.as_manifold(self.mesh)
        self.numbers = len(self.parts)

    def put(self, number: int, part: TriangleMesh | None) -> None:
        """In place of the part of that number; None where nothing is left of it, unless it is the last."""
        if part is not None:
            self.parts[number] = part
        elif len(self.parts) > 1:
            del self.parts[number]

    def add(self, part: TriangleMesh) -> int:
        self.numbers += 1
        self.parts[self.numbers] = part
        return self.numbers

    def distance(self, points: np.ndarray) -> np.ndarray:
        """[N] metres from the mesh, negative inside."""
        return self.surface.compute_signed_distance(points.astype(np.float32)).numpy()  # type: ignore


def collision_bodies(
    things: Sequence[TriangleMesh],
    parts: Sequence[tuple[TriangleMesh, ...]],
    planes: Sequence[Sequence[Plane]],
    budget: BodiesBudget,
    yields: Sequence[bool] | None = None,
    report: Callable[[float], None] = lambda fraction: None,
) -> list[tuple[TriangleMesh, ...]]:
    """Convex parts of closed meshes, fitted to each other: they hold their mesh but for what overlaps.

    parts: those each mesh has by itself; planes: of each, what lies behind them is cut off; yields: False
    leaves an object's parts as they are.  Meshes that overlap lose half of it each.  report: told the share
    that is done, before each object's part in each of the three steps.
    """
    steps = 3 * max(len(things), 1)
    yields = [True] * len(things) if yields is None else yields
    bodies = []
    for k, (mesh, own, bounds, may) in enumerate(zip(things, parts, planes, yields, strict=True)):
        report(k / steps)
        held = covering(mesh, _solid(own) or (meshes.convex_hull(mesh.vertices),)) if may else _solid(own)
        bodies.append(_Body(mesh, dict(enumerate(held, 1)), may, tuple(bounds)))
        _cut_by_planes(bodies[-1])
    for k, first in enumerate(bodies):
        report((len(bodies) + k) / steps)
        for second in bodies[k + 1 :]:
            if first.yields or second.yields:
                _part(first, second, budget)
    fitted = []
    for k, body in enumerate(bodies):
        report((2 * len(bodies) + k) / steps)
        fitted.append(_reduced(body, bodies, budget))
    return fitted


def _solid(parts: Sequence[TriangleMesh]) -> tuple[TriangleMesh, ...]:
    """Those that are not flat."""
    return tuple(part for part in parts if _is_solid(part))


def _is_solid(part: TriangleMesh) -> bool:
    try:
        return len(sides(part)) > 0
    except InputError:
        return False


def _cut_by_planes(body: _Body) -> None:
    for plane in body.planes:
        for number, part in list(body.parts.items()) if body.yields else ():
            if (plane.height(part.vertices) < 0).any():
                body.put(number, _left(part, -plane.normal, -plane.offset))


def _left(part: TriangleMesh, normal: np.ndarray, offset: float) -> TriangleMesh | None:
    try:
        left = cut(part, normal, offset)
    except InputError:  # nothing with a volume
        return None
    return left if _is_solid(left) else None


def _part(first: _Body, second: _Body, budget: BodiesBudget) -> None:
    """Take the parts of two objects apart: divide a part that fills a hollow, cut what overlaps then."""
    pairs = deque((i, j) for i in first.parts for j in second.parts)
    while pairs:
        i, j = pairs.popleft()
        if i not in first.parts or j not in second.parts:
            continue
        found = overlap(first.parts[i], second.parts[j])
        if found is None or found.depth <= GRAIN:
            continue
        mine, its = _inside(second, first.parts[i]), _inside(first, second.parts[j])
        filled = (_filled(first, mine, budget), _filled(second, its, budget))
        if max(filled) > budget.max_filled:
            if filled[0] >= filled[1]:
                halves = [(half, other) for half in _divided(first, i) for other in second.parts]
            else:
                halves = [(other, half) for half in _divided(second, j) for other in first.parts]
            pairs.extendleft(halves)
            if halves:
                continue
        _cut_apart(first, i, second, j, found, its, mine)


def _inside(other: _Body, part: TriangleMesh) -> np.ndarray:
    """[K, 3] vertices of the other's mesh that lie in a part."""
    points = other.mesh.vertices
    low, high = part.vertices.min(axis=0), part.vertices.max(axis=0)
    points = points[((points >= low) & (points <= high)).all(axis=1)]
    planes = sides(part)
    return points[(points @ planes[:, :3].T + planes[:, 3] < 0).all(axis=1)]


def _filled(body: _Body, points: np.ndarray, budget: BodiesBudget) -> float:
    """Metres that a neighbour's points [K, 3] in a part lie outside of the mesh at most; 0 where the part may
    not be divided."""
    if not len(points) or not body.yields or body.solid is None or len(body.parts) >= budget.max_parts:
        return 0.0
    return float(body.distance(points).max())


def _divided(body: _Body, number: int) -> list[int]:
    """The numbers of the hulls of both halves of what the part holds of the mesh, across its longest
    direction; none where that gives no two bodies."""
    part = body.parts[number]
    held = body.solid ^ meshes.as_manifold(part)  # type: ignore (manifold3d: intersection)
    if held.is_empty():
        return []
    points = meshes.from_manifold(held).vertices
    middle = points.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((points - middle).T))
    along = points @ axes[:, -1]
    halves = held.split_by_plane(axes[:, -1].tolist(), float(along.min() + along.max()) / 2)
    try:
        hulls = [meshes.convex_hull(meshes.from_manifold(half).vertices) for half in halves]
    except InputError:
        return []
    if len(_solid(hulls)) < 2:
        return []
    body.put(number, hulls[0])
    return [number, body.add(hulls[1])]


def _cut_apart(
    first: _Body, i: int, second: _Body, j: int, found: Overlap, own: np.ndarray, its: np.ndarray
) -> None:
    """Cut two parts by one plane, where it takes least of the meshes; own, its: vertices of the first mesh in
    the second's part, and the reverse."""
    ends = (own @ found.normal).max() if len(own) else found.second
    begins = (its @ found.normal).min() if len(its) else found.first
    offset = float(np.clip((ends + begins) / 2, found.second, found.first))
    if not second.yields:
        offset = found.second
    elif not first.yields:
        offset = found.first
    if first.yields:
        first.put(i, _left(first.parts[i], found.normal, offset))
    if second.yields:
        second.put(j, _left(second.parts[j], -found.normal, -offset))


def _boxes_meet(a: TriangleMesh, b: TriangleMesh) -> bool:
    p, q = a.vertices, b.vertices
    return bool((p.min(axis=0) <= q.max(axis=0)).all() and (q.min(axis=0) <= p.max(axis=0)).all())


def _reduced(body: _Body, bodies: Sequence[_Body], budget: BodiesBudget) -> tuple[TriangleMesh, ...]:
    """The parts with few vertices: the nearer a neighbour or a plane, the more exact."""
    if not body.yields:
        return tuple(body.parts.values())
    others = [other for other in bodies if other is not body and _boxes_meet(body.mesh, other.mesh)]

    def matters(points: np.ndarray) -> np.ndarray:
        gaps = [np.abs(other.distance(points)) for other in others]
        gaps += [np.abs(plane.height(points)) for plane in body.planes]
        if not gaps:
            return np.ones(len(points))
        # Not less: a body may be no use to what comes near later because of what it touches now.
        return np.maximum(budget.touch / (np.min(gaps, axis=0) + budget.touch), FAR)

    few = [few_vertices(part, budget.max_vertices, matters) for part in body.parts.values()]
    return _solid(few) or tuple(few)

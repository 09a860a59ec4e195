"""Bodies that things are put together from: frames, paths, solids of revolution and bent tubes.

Metres; z is up in a frame of its own, radius and height are the coordinates of an outline.
"""

import itertools

import numpy as np
from numpy.typing import ArrayLike

from instascene_core.synthetic.solids import ring

AROUND = 48  # segments around an axis: 0.2 % of the radius off a circle
SECTORS = 10  # collision parts around a wall


class LooseParts(ValueError):
    """The parts of an assembly do not hang together."""


def frame_along(start: ArrayLike, end: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> np.ndarray:
    """[4, 4] object_from_piece with the origin at `start`, z toward `end`, x as near to `up` as can be."""
    start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    z = (end - start) / np.linalg.norm(end - start)
    hint = np.asarray(up, dtype=float)
    if abs(hint @ z) > 0.95 * np.linalg.norm(hint):
        hint = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x = hint - (hint @ z) * z
    x /= np.linalg.norm(x)
    frame = np.eye(4)
    frame[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    frame[:3, 3] = start
    return frame


def frame_at(position: ArrayLike, axis: int = 2, degrees: float = 0.0) -> np.ndarray:
    """[4, 4] object_from_piece at `position` [3], turned by `degrees` about a coordinate axis."""
    angle, frame = np.radians(degrees), np.eye(4)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    frame[a, a] = frame[b, b] = np.cos(angle)
    frame[a, b], frame[b, a] = -np.sin(angle), np.sin(angle)
    frame[:3, 3] = position
    return frame


def arc(centre: ArrayLike, radius: ArrayLike, start: float, end: float, count: int) -> np.ndarray:
    """[count, 3] points of an ellipse in the x-z plane, angles in degrees from +x toward +z."""
    angle = np.radians(np.linspace(start, end, count))
    a, b = np.broadcast_to(radius, 2)
    return np.asarray(centre) + np.stack([a * np.cos(angle), 0 * angle, b * np.sin(angle)], axis=1)


def hull(points: np.ndarray):
    """The convex body around points [N, 3]."""
    import manifold3d

    return manifold3d.Manifold.hull_points(np.ascontiguousarray(points, dtype=np.float64))


def body_of(vertices: np.ndarray, triangles: np.ndarray):
    """A manifold3d body from a closed surface."""
    import manifold3d

    mesh = manifold3d.Mesh64(
        np.ascontiguousarray(vertices, dtype=np.float64), np.ascontiguousarray(triangles, dtype=np.uint64)
    )
    return manifold3d.Manifold(mesh)


def disk(radius: float, low: float, high: float):
    """A cylinder around z as a cutter."""
    import manifold3d

    return manifold3d.Manifold.cylinder(high - low, radius, radius, AROUND).translate([0.0, 0.0, low])


def turned_body(outline: np.ndarray, around: int = AROUND):
    """The solid of revolution with the closed outline [K, 2] (radius, height)."""
    import manifold3d

    x, y = outline.T
    if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0:  # manifold3d takes counter-clockwise outlines
        outline = outline[::-1]
    return manifold3d.CrossSection([np.ascontiguousarray(outline)]).revolve(around)


def tube_rings(path: np.ndarray, radius: ArrayLike, sides: int, closed: bool, up: ArrayLike) -> np.ndarray:
    """[N, sides, 3] rings around a path [N, 3]; radius is a number, [N] or [N, 2] (along `up`, across)."""
    radius = np.asarray(radius, dtype=float)
    radius = np.broadcast_to(radius[:, None] if radius.ndim == 1 else radius, (len(path), 2))
    ahead = np.roll(path, -1, axis=0) - path
    before = path - np.roll(path, 1, axis=0)
    unit = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (ahead, before)]
    tangent = unit[0] + unit[1]
    if not closed:
        tangent[0], tangent[-1] = ahead[0], before[-1]
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    angle = np.arange(sides) * (2 * np.pi / sides)
    across = frame_along(np.zeros(3), tangent[0], up)[:3, 0]
    rings = np.empty((len(path), sides, 3))
    for i, t in enumerate(tangent):
        across = across - (across @ t) * t
        across /= np.linalg.norm(across)
        other = np.cross(t, across)
        circle = (
            np.cos(angle)[:, None] * radius[i, 0] * across + np.sin(angle)[:, None] * radius[i, 1] * other
        )
        rings[i] = path[i] + circle
    return rings


def tube_body(rings: np.ndarray, closed: bool):
    """The body whose surface runs through rings [N, sides, 3]."""
    count, sides = rings.shape[:2]
    i = np.arange(count if closed else count - 1)[:, None] * sides
    j = np.arange(sides)
    a, b = i + j, i + (j + 1) % sides
    c, d = (a + sides) % (count * sides), (b + sides) % (count * sides)
    triangles = [np.stack([a, b, d], axis=-1).reshape(-1, 3), np.stack([a, d, c], axis=-1).reshape(-1, 3)]
    if not closed:
        j, last = np.arange(1, sides - 1), (count - 1) * sides
        triangles.append(np.stack([0 * j, j + 1, j], axis=1))
        triangles.append(np.stack([last + 0 * j, last + j, last + j + 1], axis=1))
    return body_of(rings.reshape(-1, 3), np.concatenate(triangles))


def rings_of(points: np.ndarray) -> np.ndarray:
    """[K, 2] radius and height of the rings that a convex slice consists of."""
    flat = np.column_stack([np.hypot(points[:, 0], points[:, 1]), points[:, 2]]).round(7)
    return np.unique(flat, axis=0)


def with_round_ends(path: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The path with shrinking rings beyond both ends."""
    angle = np.radians([35.0, 65.0, 82.0])
    for end in (0, -1):
        outward = path[end] - path[1 if end == 0 else -2]
        outward /= np.linalg.norm(outward)
        more = path[end] + np.sin(angle)[:, None] * radius[end].min() * outward
        less = np.cos(angle)[:, None] * radius[end]
        if end == 0:
            path, radius = np.vstack([more[::-1], path]), np.vstack([less[::-1], radius])
        else:
            path, radius = np.vstack([path, more]), np.vstack([radius, less])
    return path, radius


def wall_parts(outer: np.ndarray, inner: np.ndarray, rows: int, floor: float) -> list[np.ndarray]:
    """Collision parts of a vessel: a floor, then `rows` times SECTORS pieces of wall."""
    base = float(np.interp(floor, outer[1:, 1], outer[1:, 0]))
    parts = [np.concatenate([ring(outer[1, 0], outer[0, 1], 24), ring(base, floor, 24)])]
    ends = np.linspace(1, len(outer) - 1, rows + 1).round().astype(int)
    for a, b in itertools.pairwise(ends):
        corners = np.vstack([outer[a : b + 1], inner[[a, b]]])
        for sector in range(SECTORS):
            angles = (sector + np.linspace(0.0, 1.0, 4)) * (2 * np.pi / SECTORS)
            r, z = corners[:, :1], corners[:, 1:]
            xyz = np.stack([r * np.cos(angles), r * np.sin(angles), z + 0 * angles], axis=-1)
            parts.append(xyz.reshape(-1, 3))
    return parts


def outer_shell(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """[F] bool: the triangles of the outer surface; enclosed hollows are dropped, loose parts an error."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(vertices)
    edges = np.concatenate([triangles[:, :2], triangles[:, 1:]])
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(n, n))
    _, shell = connected_components(graph, directed=False)
    of_triangle = shell[triangles[:, 0]]
    corners = vertices[triangles]
    volume = np.bincount(
        of_triangle, np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])), n
    )
    if (volume > 1e-12).sum() != 1:
        raise LooseParts(f"{int((volume > 1e-12).sum())} loose parts")
    return of_triangle == volume.argmax()

"""Closed solids with the convex parts a physics engine collides with.

A `Solid` lives in its own object frame: metres, z up, origin at the centre of its bottom.
Booleans go through manifold3d, whose results are watertight by construction.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.geometry import TriangleMesh
from instascene_core.synthetic.anatomy import Anatomy

SEGMENTS = 64  # around an axis of revolution: 0.12 % of the radius between chord and circle
WALL_SECTORS = 16  # convex pieces around the wall of a hollow body


@dataclass(frozen=True)
class Piece:
    """A part of a solid's surface that looks alike: one texture, one material."""

    mesh: TriangleMesh  # piece frame, open where other pieces adjoin
    object_from_piece: np.ndarray  # [4, 4] rigid; textures wrap around the piece's own z
    mapping: str  # "cylinder" or "box", in the piece frame
    paint: str  # a key of materials.MATERIALS, with a number where a thing has several of it

    @property
    def wrap_radius(self) -> float:
        """Metres of radius at which a print wrapped around the piece has its true scale."""
        return float(np.ptp(self.mesh.vertices[:, :2], axis=0).mean() / 2)


@dataclass(frozen=True)
class Solid:
    """A shape before it is placed."""

    kind: str  # "bottle", "mug", …
    mesh: TriangleMesh  # object frame, watertight
    parts: tuple[np.ndarray, ...]  # each [n, 3]: the solid is (nearly) the union of their convex hulls
    mapping: str  # how a texture wraps it: "cylinder" (around z) or "box" (the normal's main axis)
    density: float  # kg/m³ of the material
    pieces: tuple[Piece, ...] = ()  # together they are the mesh; empty: it has one look all over
    anatomy: Anatomy | None = None  # its named parts; None: nobody has said

    @property
    def dimensions(self) -> np.ndarray:
        """[3] metres: the bounding box in the object frame."""
        return np.ptp(self.mesh.vertices, axis=0)


def mesh_of(manifold) -> TriangleMesh:
    """The surface of a manifold3d body."""
    mesh = manifold.to_mesh64()
    return TriangleMesh(
        np.array(mesh.vert_properties[:, :3], dtype=np.float64), np.array(mesh.tri_verts, dtype=np.int32)
    )


def solid(
    kind: str,
    manifold,
    parts: list[np.ndarray],
    mapping: str,
    density: float,
    anatomy: Anatomy | None = None,
) -> Solid:
    """A Solid from a manifold body, moved so that the origin is the centre of its bottom."""
    mesh = mesh_of(manifold)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    moved = TriangleMesh(mesh.vertices - origin, mesh.triangles)
    named = None if anatomy is None else anatomy.moved(-origin)
    return Solid(kind, moved, tuple(part - origin for part in parts), mapping, density, anatomy=named)


def revolve(profile: np.ndarray):
    """The body of the closed polygon `profile` [K, 2] (radius, height) turned around z."""
    import manifold3d

    polygon = np.asarray(profile, dtype=np.float64)
    signed = np.sum(polygon[:, 0] * np.roll(polygon[:, 1], -1) - np.roll(polygon[:, 0], -1) * polygon[:, 1])
    if signed < 0:  # manifold3d takes counter-clockwise outlines
        polygon = polygon[::-1]
    return manifold3d.CrossSection([polygon]).revolve(SEGMENTS)


def ring(radius: float, height: float, segments: int = SEGMENTS) -> np.ndarray:
    """Points [segments, 3] of a horizontal circle around z (one point when the radius is 0)."""
    if radius < 1e-9:
        return np.array([[0.0, 0.0, height]])
    angle = np.arange(segments) * (2 * np.pi / segments)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(segments, height)], axis=1)


def simplify_profile(profile: np.ndarray, tolerance: float) -> np.ndarray:
    """Indices of the points of an open polyline [K, 2] that keep it within `tolerance` (Douglas-Peucker)."""
    kept, stack = {0, len(profile) - 1}, [(0, len(profile) - 1)]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        chord = profile[last] - profile[first]
        offset = profile[first + 1 : last] - profile[first]
        length = max(float(np.linalg.norm(chord)), 1e-12)
        distance = np.abs(chord[0] * offset[:, 1] - chord[1] * offset[:, 0]) / length
        worst = int(distance.argmax())
        if distance[worst] > tolerance:
            middle = first + 1 + worst
            kept.add(middle)
            stack += [(first, middle), (middle, last)]
    return np.array(sorted(kept))


def convex_slices(outer: np.ndarray, tolerance: float = 0.7e-3) -> list[np.ndarray]:
    """Convex pieces of a solid of revolution with the outline `outer` [K, 2], bottom to top.

    The outline is cut where it turns inward by more than `tolerance` metres allow; between two
    cuts the hull of the rings is exact.
    """
    points = outer[simplify_profile(outer, tolerance)]
    runs, start = [], 0
    for i in range(1, len(points) - 1):
        before, after = points[i] - points[i - 1], points[i + 1] - points[i]
        if before[0] * after[1] - before[1] * after[0] < -1e-9:  # a right turn: concave
            runs.append(points[start : i + 1])
            start = i
    runs.append(points[start:])
    return [np.concatenate([ring(r, z) for r, z in run]) for run in runs if np.ptp(run[:, 1]) > 1e-6]


def shell_parts(outer: np.ndarray, inner: np.ndarray, tolerance: float = 0.7e-3) -> list[np.ndarray]:
    """Convex pieces of a hollow body: floor disks, then wall sectors.

    outer, inner: [K, 2] outlines from the axis at the bottom to the rim; point k of one faces
    point k of the other.
    """
    keep = simplify_profile(outer, tolerance)
    outer, inner = outer[keep], inner[keep]
    parts = []
    for k in range(len(outer) - 1):
        corners = [outer[k], outer[k + 1], inner[k], inner[k + 1]]
        if inner[k, 0] < 1e-6 and abs(inner[k, 1] - inner[k + 1, 1]) < 1e-6:  # the flat floor
            parts.append(np.concatenate([ring(r, z) for r, z in corners]))
            continue
        for sector in range(WALL_SECTORS):
            angles = (sector + np.linspace(0.0, 1.0, 5)) * (2 * np.pi / WALL_SECTORS)
            parts.append(
                np.concatenate(
                    [
                        np.stack([r * np.cos(angles), r * np.sin(angles), np.full(5, z)], axis=1)
                        for r, z in corners
                    ]
                )
            )
    return parts


def sphere_points(centre, radius: float, around: int = 8, rings: int = 3) -> np.ndarray:
    """[around·rings + 2, 3] points on a sphere, poles and equator included, for hulls of rounded things."""
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rings + 2)
    points = [ring(np.cos(a), np.sin(a), around) for a in latitude[1:-1]]
    points = np.concatenate([[[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]], *points])
    return np.asarray(centre, dtype=float) + radius * points


def sphere(centre, radius: float, segments: int = 32):
    import manifold3d

    return manifold3d.Manifold.sphere(radius, segments).translate([float(c) for c in centre])


def capsule(start, end, radius_start: float, radius_end: float | None = None):
    """(body, [collision part]) of a capsule, tapered when the radii differ."""
    import manifold3d

    radius_end = radius_start if radius_end is None else radius_end
    body = manifold3d.Manifold.batch_hull([sphere(start, radius_start), sphere(end, radius_end)])
    part = [sphere_points(start, radius_start, 16, 5), sphere_points(end, radius_end, 16, 5)]
    return body, [np.concatenate(part)]


def rounded_box(size, radius: float, centre=(0.0, 0.0, 0.0)):
    """(body, [collision part]) of a box `size` [3] with all edges rounded by `radius`."""
    import manifold3d

    half = np.asarray(size, dtype=float) / 2
    radius = float(min(radius, half.min() * 0.95))
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * (half - radius)
    corners = corners + np.asarray(centre)
    body = manifold3d.Manifold.batch_hull([sphere(c, radius, 24) for c in corners])
    return body, [np.concatenate([sphere_points(c, radius) for c in corners])]


def upright_cylinder(radius: float, low: float, high: float, centre=(0.0, 0.0)):
    """(body, [collision part]) of a cylinder around a vertical axis through `centre`."""
    import manifold3d

    body = manifold3d.Manifold.cylinder(high - low, radius, radius, SEGMENTS)
    body = body.translate([float(centre[0]), float(centre[1]), float(low)])
    part = np.concatenate([ring(radius, low), ring(radius, high)]) + np.array([*centre, 0.0])
    return body, [part]

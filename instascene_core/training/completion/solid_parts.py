"""Closed parts that the bodies of training are put together from, and what is done to whole bodies.

Sizes are relative, as in `shapes`; z is up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from instascene_core.synthetic.solids import mesh_of

if TYPE_CHECKING:
    from manifold3d import Manifold as Body  # imported late where bodies are made


def manifold():
    """The library, imported late."""
    import manifold3d

    return manifold3d


def box(size, center=(0.0, 0.0, 0.0)) -> Body:
    return manifold().Manifold.cube([float(s) for s in size], True).translate([float(c) for c in center])


def ball(radii, center=(0.0, 0.0, 0.0), segments: int = 32) -> Body:
    radii = np.broadcast_to(np.asarray(radii, dtype=float), 3)
    return (
        manifold().Manifold.sphere(1.0, segments).scale(radii.tolist()).translate([float(c) for c in center])
    )


def rod(radius: float, height: float, top: float | None = None, segments: int = 40) -> Body:
    """Cylinder or cone around z, centred."""
    return manifold().Manifold.cylinder(height, radius, radius if top is None else top, segments, True)


def revolved(profile: np.ndarray, segments: int = 48) -> Body:
    """Body of revolution around z of a closed outline [K, 2] (radius ≥ 0, height)."""
    outline = np.asarray(profile, dtype=float)
    signed = np.sum(outline[:, 0] * np.roll(outline[:, 1], -1) - np.roll(outline[:, 0], -1) * outline[:, 1])
    return manifold().CrossSection([outline if signed > 0 else outline[::-1]]).revolve(segments)


def rounded_box(size, radius: float) -> Body:
    inner = np.maximum(np.asarray(size) / 2 - radius, 1e-3)
    corners = [
        ball(radius, inner * np.array(s), 16) for s in np.ndindex(2, 2, 2) for s in [2 * np.array(s) - 1]
    ]
    return manifold().Manifold.batch_hull(corners)


def swept(path: np.ndarray, radii: np.ndarray, flat: float = 1.0, segments: int = 14) -> Body:
    """Tube along a path [N, 3] with radii [N]; `flat` squeezes its section."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    reference = np.eye(3)[np.argmin(np.abs(tangent).max(axis=0))]
    side = np.cross(tangent, reference)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    other = np.cross(tangent, side)
    angle = np.arange(segments) * 2 * np.pi / segments
    ring = np.cos(angle)[None, :, None] * side[:, None] + flat * np.sin(angle)[None, :, None] * other[:, None]
    points = (path[:, None] + radii[:, None, None] * ring).reshape(-1, 3)
    count = len(path)
    i, j = np.meshgrid(np.arange(count - 1), np.arange(segments), indexing="ij")
    a, b = i * segments + j, i * segments + (j + 1) % segments
    faces = [np.stack([a, b, a + segments], -1), np.stack([b, b + segments, a + segments], -1)]
    faces = [f.reshape(-1, 3) for f in faces]
    fan = np.arange(1, segments - 1)
    faces.append(np.stack([np.zeros_like(fan), fan + 1, fan], -1))
    faces.append(np.stack([np.zeros_like(fan), fan, fan + 1], -1) + (count - 1) * segments)
    triangles = np.concatenate(faces).astype(np.uint32)
    library = manifold()
    body = library.Manifold(library.Mesh(points.astype(np.float32), triangles))
    return body if body.volume() > 0 else library.Manifold(
        library.Mesh(points.astype(np.float32), triangles[:, ::-1].copy())
    )  # fmt: skip


def curve(rng, low: float, high: float, count: int, knots: int) -> np.ndarray:
    """[count] smooth random values in [low, high]."""
    from scipy.interpolate import PchipInterpolator

    values = rng.uniform(low, high, knots)
    return PchipInterpolator(np.linspace(0, 1, knots), values)(np.linspace(0, 1, count))


def turned(rng, body: Body, steps: float = 90.0) -> Body:
    """Turned by random multiples of 90° or, with steps = 0, freely."""
    angles = rng.integers(0, 4, 3) * steps if steps else rng.uniform(0, 360, 3)
    return body.rotate([float(a) for a in angles])


def union(parts) -> Body:
    library = manifold()
    return library.Manifold.batch_boolean(list(parts), library.OpType.Add)


def largest(body: Body) -> Body | None:
    pieces = body.decompose()
    if not pieces:
        return None
    best = max(pieces, key=lambda piece: piece.volume())
    return best if best.volume() > 1e-6 and best.volume() > 0.6 * sum(p.volume() for p in pieces) else None


def warped(rng, body: Body) -> Body:
    """Scaled unevenly, tapered, twisted or bent."""
    size = np.ptp(mesh_of(body).vertices, axis=0).max() + 1e-9
    scale = np.exp(rng.normal(0, 0.2, 3))
    taper, twist, bend = rng.normal(0, 0.15), rng.normal(0, 0.6), rng.normal(0, 0.5)
    mode = rng.integers(3)

    def move(points: np.ndarray) -> np.ndarray:
        p = np.array(points) / size * scale
        x, y, z = p.T
        if mode == 0:
            grow = 1 + taper * np.clip(z, -1, 1)
            x, y = x * grow, y * grow
        elif mode == 1:
            c, s = np.cos(twist * z), np.sin(twist * z)
            x, y = c * x - s * y, s * x + c * y
        else:
            z = z + 0.3 * bend * x * x
        return np.stack([x, y, z], axis=1) * size

    return body.refine_to_length(float(size / 12)).warp_batch(move)

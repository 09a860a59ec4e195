"""Convex bodies beside each other: how far two overlap, and what a plane leaves of one."""

from dataclasses import dataclass

import numpy as np

from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.convex import sides
from instascene_core.geometry.mesh import TriangleMesh


@dataclass(frozen=True)
class Overlap:
    """The shortest way that takes two convex bodies apart."""

    depth: float  # metres
    normal: np.ndarray  # [3] unit, from the first body toward the second
    first: float  # metres along the normal: where the first body ends ...
    second: float  # ... and the second begins: `depth` less


def overlap(a: TriangleMesh, b: TriangleMesh) -> Overlap | None:
    """How two convex bodies overlap; None where they do not.

    The differences of their points make a convex body; the depth is the origin's distance from its surface.
    """
    from scipy.spatial import ConvexHull, QhullError

    p, q = a.vertices, b.vertices
    if (p.min(axis=0) > q.max(axis=0)).any() or (q.min(axis=0) > p.max(axis=0)).any():
        return None
    if _one_side_parts(sides(a), q) or _one_side_parts(sides(b), p):
        return None
    differences = (p[:, None] - q[None]).reshape(-1, 3)
    try:
        planes = ConvexHull(differences, qhull_options="QJ Pp").equations
    except QhullError:  # flat: neither holds anything of the other
        return None
    nearest = planes[planes[:, 3].argmax()]
    if nearest[3] >= 0:
        return None
    normal = nearest[:3]
    return Overlap(float(-nearest[3]), normal, float((p @ normal).max()), float((q @ normal).min()))


def _one_side_parts(planes: np.ndarray, points: np.ndarray) -> bool:
    """Whether all points [N, 3] lie outside of one of the planes [F, 4]."""
    return bool(((points @ planes[:, :3].T + planes[:, 3]).min(axis=0) >= 0).any())


def cut(body: TriangleMesh, normal: np.ndarray, offset: float) -> TriangleMesh:
    """What of a convex body lies where normal · x ≤ offset.

    Itself where the plane passes it by; InputError where nothing with a volume is left.
    """
    beyond = body.vertices @ normal - offset
    if (beyond <= 0).all():
        return body
    ends, _ = meshes.edges(body)
    crossing = ends[(beyond[ends[:, 0]] > 0) != (beyond[ends[:, 1]] > 0)]
    start, end = (body.vertices[crossing[:, k]] for k in (0, 1))
    share = beyond[crossing[:, 0]] / (beyond[crossing[:, 0]] - beyond[crossing[:, 1]])
    places = start + share[:, None] * (end - start)
    return meshes.convex_hull(np.concatenate([body.vertices[beyond <= 0], places]))


def covering(mesh: TriangleMesh, parts: tuple[TriangleMesh, ...]) -> tuple[TriangleMesh, ...]:
    """Convex parts grown by as little as makes them hold every vertex of the mesh: each goes to the part that
    it lies in deepest, or outside of least."""
    depth = np.stack([(mesh.vertices @ p[:, :3].T + p[:, 3]).max(axis=1) for p in map(sides, parts)])
    owner = depth.argmin(axis=0)
    outside = depth.min(axis=0) > 0
    return tuple(
        meshes.convex_hull(np.concatenate([part.vertices, mesh.vertices[outside & (owner == k)]]))
        if (outside & (owner == k)).any()
        else part
        for k, part in enumerate(parts)
    )

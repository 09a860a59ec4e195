"""Convex bodies that stand for a closed mesh in collisions, and how far they are from it."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from instascene_core.errors import InputError
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.mesh import TriangleMesh
from instascene_core.transforms import cross, lengths

SAMPLES = 3000  # of the surface, for the error


def few_vertices(
    hull: TriangleMesh, most: int, matters: Callable[[np.ndarray], np.ndarray] | None = None
) -> TriangleMesh:
    """A convex body of at most `most` vertices of the convex body `hull`: the one farthest outside of what
    there is comes next, until no more may.  Itself where it has no more.

    matters: [N, 3] points → [N], by what a point's distance outside counts.
    """
    from scipy.spatial import ConvexHull, QhullError

    points = hull.vertices
    if len(points) <= most:
        return hull
    weight = np.ones(len(points)) if matters is None else matters(points)
    directions = np.concatenate([np.eye(3), -np.eye(3), [[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]])
    chosen = list(dict.fromkeys((points @ directions.T).argmax(axis=0).tolist()))
    try:
        body = ConvexHull(points[chosen], incremental=True)
        while len(chosen) < most:
            outside = weight * (points @ body.equations[:, :3].T + body.equations[:, 3]).max(axis=1)
            outside[chosen] = -np.inf
            chosen.append(int(outside.argmax()))
            body.add_points(points[chosen[-1:]])  # type: ignore (scipy: its stubs lack it)
        return meshes.convex_hull(points[chosen])
    except (QhullError, InputError):  # flat: what is chosen first spans no volume
        return hull


def surface_error(mesh: TriangleMesh, parts: tuple[TriangleMesh, ...]) -> float:
    """Metres: how far the surface of the parts' union lies outside of a closed mesh, or within it, whichever
    is more; each at the 99th percentile of the surface.  A cavity that the parts fill is an error as deep."""
    planes = [sides(part) for part in parts]
    uncovered = np.maximum(_depth(surface_points(mesh), planes).min(axis=0), 0)
    area = np.array([_areas(part).sum() for part in parts])
    counts = np.maximum(1, np.rint(SAMPLES * area / area.sum()).astype(int))
    places = np.concatenate([surface_points(part, count) for part, count in zip(parts, counts)])
    depth = _depth(places, planes)
    depth[np.repeat(np.arange(len(parts)), counts), np.arange(len(places))] = np.inf  # of its own part
    outer = places[depth.min(axis=0) > -1e-9]  # what lies in another part is no surface of the union
    filled = np.maximum(meshes.signed_distance(mesh, outer), 0) if len(outer) else np.zeros(1)
    return float(max(np.percentile(uncovered, 99), np.percentile(filled, 99)))


def _depth(points: np.ndarray, planes: list[np.ndarray]) -> np.ndarray:
    """[parts, N] metres from the sides of convex bodies, negative inside; outside at least so far."""
    return np.stack([(points @ each[:, :3].T + each[:, 3]).max(axis=1) for each in planes])


def sides(body: TriangleMesh) -> np.ndarray:
    """[F, 4] unit normals and offsets of a convex body's sides: negative inside.

    Raises InputError for a flat one.
    """
    from scipy.spatial import ConvexHull, QhullError

    try:
        return ConvexHull(body.vertices, qhull_options="Qt Pp").equations
    except QhullError as error:
        raise InputError("A convex body is flat.") from error


def surface_points(mesh: TriangleMesh, count: int = SAMPLES) -> np.ndarray:
    """[count, 3] points evenly over the surface, always the same ones."""
    area = _areas(mesh)
    share = np.cumsum(area) / area.sum()
    triangle = np.searchsorted(share, (np.arange(count) + 0.5) / count).clip(0, len(area) - 1)
    return np.einsum("nk,nkc->nc", _weights(count), mesh.vertices[mesh.triangles[triangle]])


@lru_cache(maxsize=4)
def _weights(count: int) -> np.ndarray:
    """[count, 3] barycentric: even over a triangle, always the same."""
    return np.random.default_rng(0).dirichlet((1, 1, 1), count)


def _areas(mesh: TriangleMesh) -> np.ndarray:
    """[F] square metres."""
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    return 0.5 * lengths(cross(b - a, c - a))

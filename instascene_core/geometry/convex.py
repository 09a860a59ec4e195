"""Convex bodies that stand for a closed mesh in collisions, and how far they are from it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from instascene_core.errors import InputError
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.mesh import TriangleMesh

_ONE_AT_A_TIME = threading.Lock()  # CoACD draws from one generator for all
SAMPLES = 3000  # of the surface, for the error
RETRIES = 2  # with a finer threshold, where the error is too large
COARSEST_STEP, FINEST = 0.75, 0.05  # factor on the threshold of a retry at most; the finest threshold tried


@dataclass(frozen=True)
class PartsBudget:
    """What convex parts may cost, and how good they must be."""

    threshold: float  # concavity left in a part at first, relative to the object's size
    max_parts: int
    max_vertices: int  # of a part
    max_triangles: int  # of the mesh that is decomposed, which bounds the time
    max_error: float  # metres, or ...
    max_error_share: float  # ... this share of the box's diagonal, whichever is larger

    def allowed(self, mesh: TriangleMesh) -> float:
        """Metres: the error that is small enough."""
        diagonal = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
        return max(self.max_error, self.max_error_share * diagonal)


def convex_parts(mesh: TriangleMesh, budget: PartsBudget, seed: int = 0) -> tuple[TriangleMesh, ...]:
    """Convex pieces that together cover a closed mesh (CoACD, Wei et al. 2022), as fine as it takes.

    A body that is almost convex is its hull.  Where the pieces' surface is too far from the mesh's, which
    fills the cavity of a bowl, they are made again with a finer threshold, as often as RETRIES; the best
    ones are returned.
    """
    hull = few_vertices(meshes.convex_hull(mesh.vertices), budget.max_vertices)
    almost_convex = meshes.volume(mesh) > (1.0 - budget.threshold) * meshes.volume(hull)
    allowed, threshold = budget.allowed(mesh), budget.threshold
    if budget.max_parts == 1 or (almost_convex and surface_error(mesh, (hull,)) <= allowed):
        return (hull,)
    best, least = (hull,), np.inf
    for _ in range(1 + RETRIES):
        parts = _decomposed(mesh, threshold, budget, seed) or (hull,)
        error = surface_error(mesh, parts)
        if error < least:
            best, least = parts, error
        # Finer pieces would only be merged down to as many again, which can take minutes.
        if least <= allowed or threshold <= FINEST or len(parts) >= budget.max_parts:
            break
        threshold = max(FINEST, threshold * min(COARSEST_STEP, 0.9 * allowed / error))
    return best


def _decomposed(
    mesh: TriangleMesh, threshold: float, budget: PartsBudget, seed: int
) -> tuple[TriangleMesh, ...]:
    import coacd
    from scipy.spatial import QhullError

    extent = float(np.ptp(mesh.vertices, axis=0).max())
    small = meshes.simplify(mesh, 2e-3 * extent, budget.max_triangles)
    coacd.set_log_level("error")
    with _ONE_AT_A_TIME:
        pieces = coacd.run_coacd(
            coacd.Mesh(small.vertices, small.triangles),
            threshold=threshold,
            max_convex_hull=budget.max_parts,
            preprocess_mode="off",
            # A shallow search: the deep one takes minutes on thin-walled bodies for a few percent less
            # volume.
            resolution=300,
            mcts_nodes=5,
            mcts_iterations=10,
            mcts_max_depth=1,
            seed=seed,
        )
    parts = []
    for vertices, _ in pieces:
        try:
            hull = meshes.convex_hull(np.asarray(vertices, dtype=np.float64))
            part = few_vertices(hull, budget.max_vertices)
            _planes(part)
        except (InputError, QhullError):  # a piece without volume adds nothing to a collision body
            continue
        parts.append(part)
    return tuple(parts)


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
        while len(chosen) < most:
            planes = ConvexHull(points[chosen]).equations
            outside = weight * (points @ planes[:, :3].T + planes[:, 3]).max(axis=1)
            outside[chosen] = -np.inf
            chosen.append(int(outside.argmax()))
        return meshes.convex_hull(points[chosen])
    except (QhullError, InputError):  # flat: what is chosen first spans no volume
        return hull


def surface_error(mesh: TriangleMesh, parts: tuple[TriangleMesh, ...]) -> float:
    """Metres: how far the surface of the parts' union lies outside of a closed mesh, or within it, whichever
    is more; each at the 99th percentile of the surface.  A cavity that the parts fill is an error as deep."""
    planes = [_planes(part) for part in parts]
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
    return np.stack([(points @ sides[:, :3].T + sides[:, 3]).max(axis=1) for sides in planes])


def _planes(part: TriangleMesh) -> np.ndarray:
    """[F, 4] unit normals and offsets of a convex body's sides: negative inside."""
    from scipy.spatial import ConvexHull

    return ConvexHull(part.vertices, qhull_options="Qt Pp").equations


def surface_points(mesh: TriangleMesh, count: int = SAMPLES) -> np.ndarray:
    """[count, 3] points evenly over the surface, always the same ones."""
    rng = np.random.default_rng(0)
    area = _areas(mesh)
    share = np.cumsum(area) / area.sum()
    triangle = np.searchsorted(share, (np.arange(count) + 0.5) / count).clip(0, len(area) - 1)
    weight = rng.dirichlet((1, 1, 1), count)
    return np.einsum("nk,nkc->nc", weight, mesh.vertices[mesh.triangles[triangle]])


def _areas(mesh: TriangleMesh) -> np.ndarray:
    """[F] square metres."""
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)

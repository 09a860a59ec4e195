"""Points spread evenly over a mesh, with their normals and triangles."""

import numpy as np

from instascene_core.errors import InputError
from instascene_core.geometry.mesh import TriangleMesh


def even_samples(
    mesh: TriangleMesh, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(points [count, 3], outward unit normals [count, 3], their triangles [count]).

    Stratified: the k-th point falls into the k-th of `count` equal shares of the area.  InputError where the
    mesh has no area.
    """
    corners = mesh.vertices[mesh.triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    if not area.sum() > 0:
        raise InputError("A mesh without area has no surface to take points from.")
    share = (np.arange(count) + rng.uniform(size=count)) / count
    triangles = np.searchsorted(np.cumsum(area), share * area.sum()).clip(max=len(area) - 1)
    a, b = rng.uniform(size=(2, count, 1))
    fold = a + b > 1
    a, b = np.where(fold, 1 - a, a), np.where(fold, 1 - b, b)
    p, q, r = (corners[triangles, k] for k in range(3))
    normals = cross[triangles] / np.maximum(area[triangles, None], 1e-30)
    return p + a * (q - p) + b * (r - p), normals, triangles

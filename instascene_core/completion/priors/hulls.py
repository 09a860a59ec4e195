"""Convex hulls on a voxel grid."""

import numpy as np


def distance_to_hull(points: np.ndarray, shape: tuple[int, int, int], resolution: float) -> np.ndarray:
    """Signed distance [nx, ny, nz] float32 in voxels to the convex hull of points [N, 3] in voxels.

    resolution: as in `hull_planes`.
    """
    normals, offsets = hull_planes(points, resolution)
    axes = [np.arange(n, dtype=np.float32) for n in shape]
    field = np.full(shape, -np.inf, dtype=np.float32)
    for normal, offset in zip(normals, offsets):
        part = [a * n for a, n in zip(axes, normal)]
        np.maximum(field, part[0][:, None, None] + (part[1][:, None] + (part[2] - offset))[None], out=field)
    return field


def hull_planes(points: np.ndarray, resolution: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals [F, 3] and offsets [F] (n·p ≤ offset inside) of the points' convex hull, nearly
    parallel facets merged into one that still holds all points.

    resolution: facets whose normals differ less, in each coordinate, are merged.
    """
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = ConvexHull(points)
    except QhullError:  # flat: thicken by half a voxel to both sides
        points = np.concatenate([points + 0.5 * s * np.eye(3)[k] for s in (-1, 1) for k in range(3)])
        hull = ConvexHull(points)
    corners = points[hull.vertices]
    normals = np.unique(np.round(hull.equations[:, :3] / resolution), axis=0) * resolution
    normals = np.concatenate([normals, np.eye(3), -np.eye(3)])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    offsets = (normals @ corners.T).max(axis=1)
    return normals.astype(np.float32), offsets.astype(np.float32)

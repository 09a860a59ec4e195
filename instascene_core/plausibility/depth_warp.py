"""How well the depth images of a recording agree with each other under a hypothesis about it."""

import numpy as np

from instascene_core.plausibility.views import Views
from instascene_core.transforms import inverse

# Relative depth error at which a warped pixel counts little as agreeing: several times the noise of depth
# cameras and of poses some pixels off, a small part of what a wrong hypothesis moves points by.
TOLERANCE = 0.03


def warp(
    views: Views, poses: np.ndarray, is_range: bool = False, tolerance: float = TOLERANCE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(agreeing, seen through, tested) [V, V] of points of view a (row) warped into view b (column).

    agreeing: sum of each point's agreement in [0, 1]; seen through: of the disagreement of points that lie in
    front of what b measured, where its ray went through; tested: points that fall on a measurement.
    poses: [V, 4, 4] world_from_camera; is_range: take depth as distance from the camera's centre; tolerance:
    relative.
    """
    points = views.rays * views.z[..., None]  # [V, P, 3]
    if is_range:
        points = points / np.linalg.norm(views.rays, axis=2, keepdims=True)
    b_from_a = inverse(poses)[None, :] @ poses[:, None]  # [a, b, 4, 4]
    rotation = np.swapaxes(b_from_a[..., :3, :3], 2, 3).astype(np.float32)
    shift = b_from_a[..., :3, 3].astype(np.float32)
    moved = points.astype(np.float32)[:, None] @ rotation + shift[:, :, None]  # [a, b, P, 3]
    a, b, p = np.nonzero(
        (moved[..., 2] > 1e-6) & (views.z > 0)[:, None] & ~np.eye(len(poses), dtype=bool)[..., None]
    )
    points = moved[a, b, p]
    column = np.floor(points[:, 0] / points[:, 2] * views.f[b, 0] + views.c[b, 0])
    row = np.floor(points[:, 1] / points[:, 2] * views.f[b, 1] + views.c[b, 1])
    height, width = views.depths.shape[1:]
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    points, pair, b = points[inside], (a * len(poses) + b)[inside], b[inside]
    measured = views.depths[b, row[inside].astype(np.intp), column[inside].astype(np.intp)]
    hit = measured > 0
    depth = np.linalg.norm(points[hit], axis=1) if is_range else points[hit, 2]
    error = depth / measured[hit] - 1
    agreement = np.exp(-0.5 * (error / tolerance) ** 2)
    size = len(poses) ** 2
    sums = [
        np.bincount(pair[hit], weights, size).reshape(len(poses), -1)
        for weights in (agreement, np.where(error < 0, 1 - agreement, 0), None)
    ]
    return sums[0], sums[1], sums[2]

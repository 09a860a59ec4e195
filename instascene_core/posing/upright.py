"""Which way is up in a mapped world, which COLMAP cannot know."""

import numpy as np

from instascene_core.posing.model import MappedImages

TRIALS = 400
NEAR = 0.01  # of the extent of the points: distance to the plane within which a point is on it
LEAST_SHARE = 0.15  # of the points on the plane for it to be believed
STEEPEST = 0.7  # cosine between the plane's normal and the cameras' up, at the least


def upright_rotation(mapped: MappedImages) -> tuple[np.ndarray, str]:
    """(world rotation [3, 3] after which z is up, what says so: "plane" or "cameras").

    People hold cameras upright, so the mean of the cameras' up is right to some ten degrees; the plane with
    most points whose normal lies near it (the table, the floor) is right to a degree.
    """
    up = -mapped.poses[:, :3, 1].mean(axis=0)
    up /= max(float(np.linalg.norm(up)), 1e-12)
    normal = _plane_normal(mapped.points, up)
    return _rotation_to_z(up if normal is None else normal), "cameras" if normal is None else "plane"


def _plane_normal(points: np.ndarray, up: np.ndarray) -> np.ndarray | None:
    """The unit normal, on the side of `up`, of the plane with most points; None where none is clear."""
    if len(points) < 50:
        return None
    extent = float(np.linalg.norm(np.percentile(points, 90, axis=0) - np.percentile(points, 10, axis=0)))
    rng, best, most = np.random.default_rng(0), None, 0
    for _ in range(TRIALS):
        a, b, c = points[rng.choice(len(points), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        length = float(np.linalg.norm(normal))
        if length < 1e-12 or abs(normal @ up) < STEEPEST * length:
            continue
        on_it = np.abs((points - a) @ (normal / length)) < NEAR * extent
        if on_it.sum() > most:
            best, most = on_it, int(on_it.sum())
    if best is None or most < LEAST_SHARE * len(points):
        return None
    near = points[best] - points[best].mean(axis=0)
    normal = np.linalg.svd(near, full_matrices=False)[2][2]
    return normal * np.sign(normal @ up)


def _rotation_to_z(direction: np.ndarray) -> np.ndarray:
    """The shortest rotation [3, 3] that turns the unit vector `direction` to z."""
    from scipy.spatial.transform import Rotation

    axis = np.cross(direction, [0.0, 0.0, 1.0])
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        return np.eye(3) if direction[2] > 0 else np.diag([1.0, -1.0, -1.0])
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, direction[2])).as_matrix()

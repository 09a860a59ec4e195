"""Rigid transforms as 4×4 matrices, quaternions as wxyz.

A transform is named `target_from_source`, so that neighbours cancel when composed:
`world_from_object = world_from_camera @ camera_from_object`.
"""

import numpy as np
from numpy.typing import ArrayLike

from instascene_core.errors import InputError

MAX_LENGTH = 1e12  # metres; beyond, products of poses overflow

# Camera axes: OpenGL (x right, y up, z backward) to OpenCV (x right, y down, z forward).
OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


def require_rigid(matrix: np.ndarray, what: str, tolerance: float = 1e-3) -> np.ndarray:
    """Return `matrix` as [4, 4] float64 with an exactly orthonormal rotation.

    Raises InputError naming `what` when it is not finite, or not a rotation + translation
    within `tolerance` (files round to a few digits, so small errors are repaired, not refused).
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])
    if matrix.shape != (4, 4):
        raise InputError(f"{what} must be a 4×4 matrix, got shape {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise InputError(f"{what} contains NaN or infinity.")
    if np.abs(matrix).max() > MAX_LENGTH:
        raise InputError(f"{what} has an entry of {np.abs(matrix).max():.3g}, which is no length in metres.")
    rotation = matrix[:3, :3]
    deviation = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if deviation <= tolerance and np.linalg.det(rotation) < 0:
        raise InputError(
            f"{what} is not a rigid transform but left-handed (determinant −1): one axis is mirrored; export "
            "the poses with right-handed axes."
        )
    if deviation > tolerance:
        raise InputError(f"{what} is not a rigid transform (rotation deviates by {deviation:.2g}).")
    u, _, vt = np.linalg.svd(rotation)
    rigid = np.eye(4)
    rigid[:3, :3] = u @ vt
    rigid[:3, 3] = matrix[:3, 3]
    return rigid


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Invert rigid transforms [..., 4, 4]."""
    rotation_t = np.swapaxes(matrix[..., :3, :3], -1, -2)
    result = np.zeros_like(matrix)
    result[..., :3, :3] = rotation_t
    result[..., :3, 3] = -np.einsum("...ij,...j->...i", rotation_t, matrix[..., :3, 3])
    result[..., 3, 3] = 1.0
    return result


def image_motion(poses: np.ndarray, given: np.ndarray, depth: float) -> np.ndarray:
    """[N] by how much what lies `depth` ahead moves sideways in the images, over the focal length, when the
    cameras go from `given` to `poses` (both [N, 4, 4] world_from_camera)."""
    step = np.linalg.inv(given) @ poses
    ahead = step[:, :2, 3] + depth * step[:, :2, 2]
    return np.linalg.norm(ahead, axis=1) / depth


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Transform points [..., 3] by one rigid transform [4, 4]."""
    moved = points @ matrix[:3, :3].T
    for axis in range(3):  # numpy takes three times as long for all three at once
        moved[..., axis] += matrix[axis, 3]
    return moved


def lengths(vectors: np.ndarray) -> np.ndarray:
    """[...] of vectors [..., 2 or 3], as `np.linalg.norm` of the last axis gives them, to the last bit.

    numpy's sums along so short an axis take several times as long.
    """
    return np.sqrt(dots(vectors, vectors))


def dots(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[...] products of vectors [..., 2 or 3], as `(first * second).sum(axis=-1)` to the last bit."""
    total = first[..., 0] * second[..., 0]
    for axis in range(1, first.shape[-1]):
        total += first[..., axis] * second[..., axis]
    return total


def cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[..., 3] vector products of [..., 3], as `np.cross` to the last bit, without its overhead."""
    product = np.empty(np.broadcast_shapes(first.shape, second.shape), np.result_type(first, second))
    for axis in range(3):
        after, last = (axis + 1) % 3, (axis + 2) % 3
        np.multiply(first[..., after], second[..., last], out=product[..., axis])
        product[..., axis] -= first[..., last] * second[..., after]
    return product


def matrix_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] from quaternions wxyz [..., 4] (normalised here).

    scipy's Rotation rounds differently: the poses of procedural scenes would change in the last digit.
    """
    quaternion = np.asarray(quaternion, dtype=np.float64)
    w, x, y, z = np.moveaxis(quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_from_matrix(rotation: np.ndarray) -> np.ndarray:
    """Quaternions wxyz [..., 4] (w ≥ 0) from rotation matrices [..., 3, 3]."""
    from scipy.spatial.transform import Rotation

    rotation = np.asarray(rotation, dtype=np.float64)
    xyzw = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_quat(canonical=True)
    return xyzw[:, [3, 0, 1, 2]].reshape(*rotation.shape[:-2], 4)


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> np.ndarray:
    """`world_from_camera` [4, 4] of an OpenCV camera at `eye` that looks at `target`."""
    eye, target, up = (np.asarray(v, dtype=np.float64) for v in (eye, target, up))
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-6:  # looking along `up`: any right will do
        right = np.cross(forward, [1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    matrix[:3, 3] = eye
    return matrix

"""The ways in which files and drivers write camera poses, by name: AXES-DIRECTION.

AXES are those of the camera (opencv: x right, y down, z forward; opengl: x right, y up, z backward; ros: x
forward, y left, z up, a camera's body frame; unity: x right, y up, z forward in a left-handed world).
DIRECTION is c2w (the matrix takes camera coordinates to world coordinates) or w2c (the inverse).
"""

import numpy as np

from instascene_core.errors import InputError
from instascene_core.transforms import OPENGL_FROM_OPENCV, inverse

# [4, 4] each: coordinates along the named axes from those along OpenCV's.
_AXES_FROM_OPENCV = {
    "opencv": np.eye(4),
    "opengl": OPENGL_FROM_OPENCV,
    "ros": np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float64),
    "unity": np.diag([1.0, -1.0, 1.0, 1.0]),
}
_MIRRORED = {"unity"}  # the world is left-handed too, so that rotations stay rotations
POSE_CONVENTIONS = tuple(f"{axes}-{way}" for axes in _AXES_FROM_OPENCV for way in ("c2w", "w2c"))
OURS = "opencv-c2w"  # that of `Frame.world_from_camera`


def require_convention(name: str) -> str:
    """`name`; InputError with the known names for another."""
    if name not in POSE_CONVENTIONS:
        raise InputError(f"There is no pose convention '{name}'; known are {', '.join(POSE_CONVENTIONS)}.")
    return name


def poses_from(matrices: np.ndarray, convention: str) -> np.ndarray:
    """world_from_camera [..., 4, 4] (OpenCV axes) from rigid matrices [..., 4, 4] of a convention."""
    axes, _, way = require_convention(convention).partition("-")
    change = _AXES_FROM_OPENCV[axes]
    poses = inverse(matrices) if way == "w2c" else matrices
    return (change if axes in _MIRRORED else np.eye(4)) @ poses @ change


def matrices_in(poses: np.ndarray, convention: str) -> np.ndarray:
    """The matrices [..., 4, 4] of a convention for world_from_camera [..., 4, 4]: `poses_from` undone."""
    axes, _, way = require_convention(convention).partition("-")
    change = np.linalg.inv(_AXES_FROM_OPENCV[axes])
    matrices = (change if axes in _MIRRORED else np.eye(4)) @ poses @ change
    return inverse(matrices) if way == "w2c" else matrices


def read_as(poses: np.ndarray, own: str, other: str) -> np.ndarray:
    """world_from_camera [..., 4, 4] had the matrices, read as convention `own`, been read as `other`."""
    return poses if own == other else poses_from(matrices_in(poses, own), other)

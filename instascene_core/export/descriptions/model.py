"""What all descriptions tell of an object and of a scene."""

from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree import ElementTree as xml

import numpy as np

from instascene_core.export.inertia import Inertial
from instascene_core.transforms import quaternion_from_matrix

# Roll, spin: MuJoCo's defaults are of a finger's size; these are of household things.
ROLLING, SPINNING = 0.0001, 0.005


@dataclass(frozen=True)
class Model:
    """One rigid object.  Files are named relative to `folder`, the object's own."""

    name: str
    folder: str  # relative to the scene's, with '/': "objects/3"
    visual: str  # mesh.obj
    texture: str  # image file of the visual; "" where there is none
    parts: tuple[str, ...]  # convex bodies that collide
    body: Inertial
    friction: float
    pose: np.ndarray = field(default_factory=lambda: np.eye(4))  # [4, 4] of its frame in the scene


@dataclass(frozen=True)
class StaticBox:
    """A part of the room that does not move: the support, or a wall."""

    name: str
    size: np.ndarray  # [3] metres, whole sides
    pose: np.ndarray  # [4, 4] of its centre
    color: np.ndarray  # [3] sRGB in [0, 1]
    friction: float


@dataclass(frozen=True)
class SceneModel:
    """Objects at their poses in a room."""

    name: str
    objects: tuple[Model, ...]
    room: tuple[StaticBox, ...]


# How a description names a mesh: (the object's folder, the file in it) → text.
Uri = Callable[[str, str], str]


def numbers(values) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def text(root: xml.Element) -> str:
    xml.indent(root)
    return '<?xml version="1.0"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def inertia_attributes(body: Inertial) -> dict[str, str]:
    names = {"ixx": (0, 0), "ixy": (0, 1), "ixz": (0, 2), "iyy": (1, 1), "iyz": (1, 2), "izz": (2, 2)}
    return {name: f"{body.inertia[index]:.9g}" for name, index in names.items()}


def roll_pitch_yaw(pose: np.ndarray) -> np.ndarray:
    """[3] radians, fixed axes x, y, z, as URDF and SDF take them."""
    r = pose[:3, :3]
    pitch = np.arctan2(-r[2, 0], np.hypot(r[2, 1], r[2, 2]))
    if np.hypot(r[2, 1], r[2, 2]) < 1e-9:  # looking straight up or down: roll and yaw turn alike
        return np.array([0.0, pitch, np.arctan2(-r[0, 1], r[1, 1])])
    return np.array([np.arctan2(r[2, 1], r[2, 2]), pitch, np.arctan2(r[1, 0], r[0, 0])])


def quaternion(pose: np.ndarray) -> np.ndarray:
    """[4] wxyz."""
    return quaternion_from_matrix(pose[:3, :3])

"""The object-normalised frame and the ring of cameras in it from which views are generated.

The frame: origin at the centre of the object's smallest upright box, z up, x along the longer horizontal
side, one unit = the radius of the sphere about that centre that holds the object.
As in the paper (InstaScene, supplementary): 16 cameras 30° above the object, azimuths uniform from x on.  So
the mirror image of a view in the box's planes is a view, too, and a quarter turn is four views.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.geometry import mesh as meshes
from instascene_core.transforms import apply, inverse, look_at

DISTANCE = 2.5  # of the cameras from the origin, units of the frame
MARGIN = 0.94  # of the half image that the object reaches at most


@dataclass(frozen=True)
class ObjectFrame:
    """A similarity between the world and the object-normalised frame."""

    world_from_frame: np.ndarray  # [4, 4] rigid; the frame's unit is not in it
    radius: float  # metres a unit

    def from_world(self, points: np.ndarray) -> np.ndarray:
        """World points [..., 3] in metres → frame."""
        return apply(inverse(self.world_from_frame), points) / self.radius

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Frame points [..., 3] → world, metres."""
        return apply(self.world_from_frame, points * self.radius)


def object_frame(vertices: np.ndarray, up: np.ndarray) -> ObjectFrame:
    """The normalised frame of a body with world `vertices` [V, 3]; up: [3] unit.

    Raises InputError when the body has no extent.
    """
    rotation = meshes.smallest_rectangle(vertices, up)
    local = vertices @ rotation
    center = (local.min(axis=0) + local.max(axis=0)) / 2
    radius = float(np.linalg.norm(local - center, axis=1).max())
    if not radius > 0:
        raise InputError("The object has no extent, so no views around it can be generated.")
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = rotation @ center
    if np.ptp(local[:, 1]) > np.ptp(local[:, 0]):
        quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
        pose[:3, :3] = rotation @ quarter
    return ObjectFrame(pose, radius)


@dataclass(frozen=True)
class Ring:
    """N cameras with one set of intrinsics around the origin of the object-normalised frame."""

    camera: PinholeCamera
    frame_from_camera: np.ndarray  # [N, 4, 4] rigid, float64, units of the frame

    @property
    def count(self) -> int:
        return len(self.frame_from_camera)

    def points(self, depth: np.ndarray) -> np.ndarray:
        """[N, H, W, 3] points in the frame of depth images [N, H, W] (z, units of the frame)."""
        eyes = self.frame_from_camera[:, None, None, :3, 3].astype(np.float32)
        return self.to_frame(self.camera.rays * depth[..., None].astype(np.float32)) + eyes

    def to_frame(self, directions: np.ndarray) -> np.ndarray:
        """[N, H, W, 3] float32 directions in the frame's axes, of directions in camera axes (of each view, or
        [H, W, 3] of all)."""
        return _turned(directions, self.frame_from_camera[:, :3, :3])

    def to_cameras(self, directions: np.ndarray) -> np.ndarray:
        """[N, H, W, 3] float32 directions in the frame's axes → in those of the cameras."""
        return _turned(directions, self.frame_from_camera[:, :3, :3].transpose(0, 2, 1))


def _turned(directions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Directions [(N,) H, W, 3] turned by N rotations [N, 3, 3]."""
    *lead, height, width, _ = directions.shape
    rows = directions.astype(np.float32).reshape(*lead, height * width, 3)
    turned = rows @ rotations.transpose(0, 2, 1).astype(np.float32)
    return turned.reshape(len(rotations), height, width, 3)


def ring(focal: float, side: int, count: int = 16, elevation: float = 30.0) -> Ring:
    """`count` cameras at `elevation` degrees with images of `side` pixels.

    focal: focal length in image sides.
    """
    rise = np.deg2rad(elevation)
    poses = []
    for azimuth in 2 * np.pi * np.arange(count) / count:
        flat = np.cos(rise) * np.array([np.cos(azimuth), np.sin(azimuth)])
        poses.append(look_at(DISTANCE * np.array([*flat, np.sin(rise)]), np.zeros(3)))
    camera = PinholeCamera(side, side, focal * side, focal * side, side / 2, side / 2)
    return Ring(camera, np.stack(poses))


def fitting_focal(points: np.ndarray, count: int = 16, elevation: float = 30.0) -> float:
    """The longest focal length, in image sides, whose images hold `points` [V, 3] (frame) in all views."""
    worst = 0.0
    for pose in ring(1.0, 2, count, elevation).frame_from_camera:
        local = apply(inverse(pose), points)
        worst = max(worst, float(np.abs(local[:, :2] / np.maximum(local[:, 2:], 1e-6)).max()))
    return 0.5 * MARGIN / max(worst, 1e-6)

"""Plain bodies with an exact signed distance: box, cylinder, sphere."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from instascene_core.errors import InputError
from instascene_core.transforms import apply, inverse, lengths


class Shape(Protocol):
    """A closed body whose surface consists of a few numbered smooth faces."""

    kind: str

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        """[...] metres of world points [..., 3], negative inside."""
        ...

    def surface(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """About `count` points [N, 3] evenly on the surface, outward normals [N, 3], face numbers [N]."""
        ...

    @property
    def ends(self) -> dict[int, np.ndarray]:
        """The flat faces: number → outward normal [3]."""
        ...

    def with_end_moved(self, face: int, by: float) -> "Shape":
        """The same body with a flat face moved outward by `by` metres."""
        ...


@dataclass(frozen=True)
class Box:
    """A cuboid; faces 2k and 2k + 1 are the low and high end of axis k."""

    world_from_box: np.ndarray  # [4, 4] to the centre
    half: np.ndarray  # [3] metres

    kind = "box"

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        excess = np.abs(apply(inverse(self.world_from_box), points)) - self.half
        return lengths(np.maximum(excess, 0)) + np.minimum(excess.max(axis=-1), 0)

    def surface(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        step = np.sqrt(8 * (self.half * np.roll(self.half, 1)).sum() / count)
        points, normals, faces = [], [], []
        for axis in range(3):
            others = [k for k in range(3) if k != axis]
            ticks = [_ticks(self.half[k], step) for k in others]
            plane = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1).reshape(-1, 2)
            for end, sign in enumerate((-1.0, 1.0)):
                local = np.zeros((len(plane), 3))
                local[:, others], local[:, axis] = plane, sign * self.half[axis]
                points.append(local)
                normals.append(np.broadcast_to(sign * self.world_from_box[:3, axis], local.shape))
                faces.append(np.full(len(plane), 2 * axis + end))
        points = apply(self.world_from_box, np.concatenate(points))
        return points, np.concatenate(normals), np.concatenate(faces)

    @property
    def ends(self) -> dict[int, np.ndarray]:
        axes = self.world_from_box[:3, :3]
        return {2 * k + end: (2 * end - 1) * axes[:, k] for k in range(3) for end in (0, 1)}

    def with_end_moved(self, face: int, by: float) -> "Box":
        pose, half = self.world_from_box.copy(), self.half.copy()
        pose[:3, 3] += by / 2 * self.ends[face]
        half[face // 2] += by / 2
        return Box(pose, half)


@dataclass(frozen=True)
class Cylinder:
    """A circular cylinder; faces 0 and 1 are its caps at −axis and +axis, 2 its side."""

    center: np.ndarray  # [3] metres, world
    axis: np.ndarray  # [3] unit
    radius: float
    half: float  # metres, half the height

    kind = "cylinder"

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        offset = points - self.center
        along = offset @ self.axis
        across = lengths(offset - along[..., None] * self.axis)
        excess = np.stack([across - self.radius, np.abs(along) - self.half], axis=-1)
        return lengths(np.maximum(excess, 0)) + np.minimum(excess.max(axis=-1), 0)

    def surface(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r, h = self.radius, self.half
        step = np.sqrt((4 * np.pi * r * h + 2 * np.pi * r * r) / count)
        x, y = perpendicular(self.axis)
        angles = np.arange(0, 2 * np.pi, step / r)
        around = np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * y  # [A, 3]
        heights = _ticks(h, step)
        side = (self.center + r * around[:, None] + heights[None, :, None] * self.axis).reshape(-1, 3)
        disk = np.stack(np.meshgrid(_ticks(r, step), _ticks(r, step), indexing="ij"), axis=-1).reshape(-1, 2)
        disk = disk[np.linalg.norm(disk, axis=1) < r] @ np.stack([x, y])
        points = [self.center + disk - h * self.axis, self.center + disk + h * self.axis, side]
        normals = [np.broadcast_to(sign * self.axis, disk.shape) for sign in (-1.0, 1.0)]
        normals.append(np.repeat(around, len(heights), axis=0))
        faces = np.repeat([0, 1, 2], [len(disk), len(disk), len(side)])
        return np.concatenate(points), np.concatenate(normals), faces

    @property
    def ends(self) -> dict[int, np.ndarray]:
        return {0: -self.axis, 1: self.axis}

    def with_end_moved(self, face: int, by: float) -> "Cylinder":
        return replace(self, center=self.center + by / 2 * self.ends[face], half=self.half + by / 2)


@dataclass(frozen=True)
class Sphere:
    """A ball."""

    center: np.ndarray  # [3] metres, world
    radius: float

    kind = "sphere"

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        return lengths(points - self.center) - self.radius

    def surface(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        k = np.arange(count) + 0.5  # Fibonacci's spiral
        z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
        ring = np.sqrt(1 - z * z)
        normals = np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)
        return self.center + self.radius * normals, normals, np.zeros(count, dtype=int)

    @property
    def ends(self) -> dict[int, np.ndarray]:
        return {}

    def with_end_moved(self, face: int, by: float) -> "Sphere":
        raise InputError("A sphere has no flat face to move.")


def perpendicular(axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors [3] that complete `axis` to a right-handed frame (x, y, axis)."""
    x = np.cross(np.eye(3)[np.argmin(np.abs(axis))], axis)
    x /= np.linalg.norm(x)
    return x, np.cross(axis, x)


def _ticks(half: float, step: float) -> np.ndarray:
    """Centres of equal cells of about `step` metres in [−half, half]."""
    count = max(2, int(np.ceil(2 * half / step)))
    return half * ((2 * np.arange(count) + 1) / count - 1)

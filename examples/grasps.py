"""Antipodal grasps of a two-finger gripper on completed objects, seen surface first; NumPy only.

A grasp closes along a line through two surface points whose normals lie within the friction cone of
that line (Nguyen 1988; sampled as in Dex-Net 2.0).  The open gripper, three boxes, must be clear of all
objects and of the support.  `grasp_node.py` runs this on a scene_node's `completed_objects`.

Gripper frame: origin between the two contacts, z the approach (from the palm to the object), y the
closing direction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

SEEN = 0.5  # a face counts as seen from this much observed surface on
APPROACHES = 8  # directions tried around the closing line
SPACING = 0.004  # metres between the surface points that are kept clear of the gripper
PAD_RAYS = 3  # along each side of a pad, to see what it touches
YIELDING = 0.001  # metres that a pad gives where it touches first
APART = 1e-4  # metres: crossings of a ray this close are one (an edge of two faces)


@dataclass(frozen=True)
class Gripper:
    """A parallel gripper, open; metres."""

    opening: float = 0.08  # between the fingers
    depth: float = 0.045  # of the fingers, from the palm to the tips
    finger_width: float = 0.02  # along x
    finger_thickness: float = 0.012  # along y
    palm_height: float = 0.06  # along z, behind the fingers
    friction: float = 0.5  # coefficient between finger and object
    clearance: float = 0.002  # kept to everything, and at each side of the object between the fingers

    def __post_init__(self) -> None:
        for name in ("opening", "depth", "finger_width", "finger_thickness", "palm_height", "friction"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"The gripper's {name} must be positive, not {getattr(self, name)}.")
        if not 0 <= self.clearance < self.opening / 2:
            raise ValueError(f"The clearance {self.clearance} leaves nothing of the opening {self.opening}.")

    @property
    def boxes(self) -> np.ndarray:
        """[3, 2, 3] lower and upper corners in the gripper frame: two fingers and the palm."""
        half, out = self.opening / 2, self.opening / 2 + self.finger_thickness
        x, tip = self.finger_width / 2, self.finger_width / 2  # the contact is at the middle of the pad
        root = tip - self.depth
        return np.array(
            [
                [[-x, half, root], [x, out, tip]],
                [[-x, -out, root], [x, -half, tip]],
                [[-x, -out, root - self.palm_height], [x, out, root]],
            ]
        )


@dataclass(frozen=True)
class Body:
    """A closed mesh with outward faces, and which of its surface was seen."""

    vertices: np.ndarray  # [V, 3] metres
    faces: np.ndarray  # [F, 3] int
    observed: np.ndarray  # [V] 0 generated … 1 seen

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3 or not np.isfinite(self.vertices).all():
            raise ValueError(f"Vertices are [V, 3] finite numbers, not {self.vertices.shape}.")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3 or len(self.faces) == 0:
            raise ValueError(f"Faces are [F, 3] and at least one, not {self.faces.shape}.")
        if self.faces.min() < 0 or self.faces.max() >= len(self.vertices):
            raise ValueError("A face names a vertex that there is not.")
        if self.observed.shape != (len(self.vertices),):
            raise ValueError(f"There are {len(self.vertices)} vertices and {self.observed.shape} observed.")

    @cached_property
    def triangles(self) -> np.ndarray:
        """[F, 3, 3]"""
        return self.vertices[self.faces].astype(float)

    @cached_property
    def crosses(self) -> np.ndarray:
        """[F, 3] outward normals of twice the face's area."""
        a, b, c = self.triangles.transpose(1, 0, 2)
        return np.cross(b - a, c - a)

    @cached_property
    def areas(self) -> np.ndarray:
        """[F] square metres."""
        return np.linalg.norm(self.crosses, axis=1) / 2

    @cached_property
    def normals(self) -> np.ndarray:
        """[F, 3] unit, outward; of faces without area 0."""
        return self.crosses / np.maximum(2 * self.areas, 1e-12)[:, None]

    @cached_property
    def seen(self) -> np.ndarray:
        """[F] mean of the vertices' `observed`."""
        return self.observed[self.faces].mean(axis=1)

    @cached_property
    def middle(self) -> np.ndarray:
        """[3] centre of the surface."""
        return np.average(self.triangles.mean(axis=1), axis=0, weights=np.maximum(self.areas, 1e-12))

    @cached_property
    def points(self) -> np.ndarray:
        """[P, 3] points all over the surface, about SPACING apart."""
        rng = np.random.default_rng(0)
        count = int(min(self.areas.sum() / SPACING**2, 40_000)) + 1
        chosen = rng.choice(len(self.faces), count, p=self.areas / self.areas.sum())
        return np.concatenate([self.vertices, points_on(self, chosen, rng)])


@dataclass(frozen=True)
class Grasp:
    pose: np.ndarray  # [4, 4] map from gripper
    contacts: np.ndarray  # [2, 3]
    width: float  # metres between them
    observed: float  # 0 … 1 how much of both contacts was seen
    slack: float  # radians that are left of the friction cone
    steady: float  # 0 … 1 how far inside of the friction cone what the pads touch first lies, on average


def points_on(body: Body, faces: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[N, 3] one random point on each of these faces, uniform over its area."""
    u, v = rng.random((2, len(faces), 1))
    root = np.sqrt(u)
    a, b, c = body.triangles[faces].transpose(1, 0, 2)
    return (1 - root) * a + root * (1 - v) * b + root * v * c


def crossings(body: Body, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances along a line, ascending, at which it crosses the surface, and the faces there.

    Möller and Trumbore 1997.  Distances before the origin are negative.
    """
    a, b, c = body.triangles.transpose(1, 0, 2)
    edge1, edge2 = b - a, c - a
    p = np.cross(direction, edge2)
    determinant = np.einsum("ij,ij->i", edge1, p)
    with np.errstate(divide="ignore", invalid="ignore"):
        s = origin - a
        u = np.einsum("ij,ij->i", s, p) / determinant
        q = np.cross(s, edge1)
        v = q @ direction / determinant
        t = np.einsum("ij,ij->i", edge2, q) / determinant
        hit = (np.abs(determinant) > 1e-15) & (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9)
    faces = np.flatnonzero(hit)
    order = np.argsort(t[faces], kind="stable")
    faces, distances = faces[order], t[faces][order]
    keep = np.concatenate([[True], np.diff(distances) > APART]) if len(faces) else np.empty(0, bool)
    return distances[keep], faces[keep]


def is_inside(body: Body, point: np.ndarray) -> bool:
    """Whether a point is in the closed body: an odd number of crossings ahead."""
    direction = np.array([0.5377, 0.2171, 0.8147])  # none of a scene's own directions
    distances, _ = crossings(body, point, direction / np.linalg.norm(direction))
    return bool(np.count_nonzero(distances > 0) % 2)


def _closing_lines(body: Body, gripper: Gripper, rng: np.random.Generator, attempts: int) -> Iterator[tuple]:
    """First contact, closing direction and its face; of seen faces first, then of all others."""
    cone = np.arctan(gripper.friction)
    for chosen in (body.seen >= SEEN, body.seen < SEEN):
        weights = np.where(chosen, body.areas, 0.0)
        if weights.sum() <= 0:
            continue
        faces = rng.choice(len(body.faces), attempts, p=weights / weights.sum())
        for face, point in zip(faces, points_on(body, faces, rng)):
            # A direction in the cone around the inward normal.
            tilt = rng.normal(size=3)
            tilt -= tilt @ body.normals[face] * body.normals[face]
            tilt *= np.tan(cone * rng.random()) / max(np.linalg.norm(tilt), 1e-12)
            direction = tilt - body.normals[face]
            yield point, direction / np.linalg.norm(direction), face


def _slack(body: Body, gripper: Gripper, faces: tuple[int, int], direction: np.ndarray) -> float:
    """Radians that both normals are inside of the friction cone of the closing direction; < 0: outside."""
    cosines = (-body.normals[faces[0]] @ direction, body.normals[faces[1]] @ direction)
    return float(np.arctan(gripper.friction) - np.arccos(np.clip(min(cosines), -1, 1)))


def pad_contacts(body: Body, gripper: Gripper, pose: np.ndarray, rays: int = PAD_RAYS) -> list[np.ndarray]:
    """Of both fingers, closing at `pose`: cosines [K] between the closing direction and the surface's normals
    where the pad touches first, of `rays` × `rays` places on it.  Empty where it touches nothing.
    """
    side = 0.75 * gripper.finger_width / 2 * np.linspace(-1, 1, rays)
    closing, found = pose[:3, 1], []
    for sign in (-1.0, 1.0):
        ways, cosines = [], []
        for x, z in ((x, z) for x in side for z in side):
            at_pad = pose[:3, :3] @ [x, sign * gripper.opening / 2, z] + pose[:3, 3]
            distances, faces = crossings(body, at_pad, -sign * closing)
            ahead = np.flatnonzero((distances >= 0) & (distances <= gripper.opening))
            if len(ahead):
                ways.append(distances[ahead[0]])
                cosines.append(sign * body.normals[faces[ahead[0]]] @ closing)
        near = np.array(ways) <= min(ways, default=0.0) + YIELDING
        found.append(np.array(cosines)[near])
    return found


def _steadiness(body: Body, gripper: Gripper, pose: np.ndarray) -> float:
    """How far inside of the friction cone what the pads touch first lies: 1 flat on the pad, 0 at the cone's
    rim or beyond; the mean over a pad, of the finger with less of it.

    A contact is a pad, not a point, and the true surface is turned a little against the completed one: what
    is good at its middle alone, or just within the cone, slips.
    """
    cone = np.arctan(gripper.friction)
    shares = [
        float(np.clip(1 - np.arccos(np.clip(cosines, -1, 1)) / cone, 0, 1).mean()) if len(cosines) else 0.0
        for cosines in pad_contacts(body, gripper, pose)
    ]
    return min(shares)


def _poses(contacts: np.ndarray, direction: np.ndarray, downward: np.ndarray) -> Iterator[np.ndarray]:
    """Gripper poses that close along `direction`, those that approach most nearly `downward` first."""
    first = downward - downward @ direction * direction
    if np.linalg.norm(first) < 1e-6:  # closing along gravity
        first = np.cross(direction, np.eye(3)[np.argmin(np.abs(direction))])
    first /= np.linalg.norm(first)
    second = np.cross(direction, first)
    angles = 2 * np.pi * np.arange(APPROACHES) / APPROACHES
    for angle in sorted(angles, key=lambda a: -np.cos(a)):
        approach = np.cos(angle) * first + np.sin(angle) * second
        pose = np.eye(4)
        pose[:3, :3] = np.stack([np.cross(direction, approach), direction, approach], axis=1)
        pose[:3, 3] = contacts.mean(axis=0)
        yield pose


def is_clear(pose: np.ndarray, gripper: Gripper, bodies: Sequence[Body], support: np.ndarray | None) -> bool:
    """Whether the open gripper touches no body and stays on the support's free side.

    support: [4] a, b, c, d of the plane, (a, b, c) a unit vector to the free side.
    """
    boxes, gap = gripper.boxes, gripper.clearance
    corners = np.array(
        [[box[i, 0], box[j, 1], box[k, 2]] for box in boxes for i, j, k in np.ndindex(2, 2, 2)]
    )
    in_map = corners @ pose[:3, :3].T + pose[:3, 3]
    if support is not None and (in_map @ support[:3] + support[3] < gap).any():
        return False
    reach = np.linalg.norm(corners, axis=1).max() + gap
    for body in bodies:
        near = body.points[np.linalg.norm(body.points - pose[:3, 3], axis=1) < reach]
        local = (near - pose[:3, 3]) @ pose[:3, :3]
        for low, high in boxes:
            if ((local > low - gap) & (local < high + gap)).all(axis=1).any():
                return False
    middles = boxes.mean(axis=1) @ pose[:3, :3].T + pose[:3, 3]
    return not any(_may_hold(body, m) and is_inside(body, m) for body in bodies for m in middles)


def _may_hold(body: Body, point: np.ndarray) -> bool:
    return bool(((point >= body.vertices.min(axis=0)) & (point <= body.vertices.max(axis=0))).all())


def sample_grasps(
    target: Body,
    others: Sequence[Body] = (),
    gripper: Gripper | None = None,
    *,
    count: int = 20,
    attempts: int = 300,
    support: np.ndarray | None = None,
    seed: int = 0,
) -> list[Grasp]:
    """At most `count` grasps of `target`, best first: contacts seen, pads flat on them, near its middle.

    attempts: closing lines tried on the seen surface, and as many on the rest where that gives too few.
    """
    gripper = gripper or Gripper()
    rng = np.random.default_rng(seed)
    downward = np.array([0.0, 0.0, -1.0]) if support is None else -np.asarray(support[:3], dtype=float)
    found: list[Grasp] = []
    for index, (point, direction, face) in enumerate(_closing_lines(target, gripper, rng, attempts)):
        if len(found) >= count and index % attempts == 0:
            break  # enough before the surface that nobody saw
        if len(found) >= 3 * count:
            break
        distances, faces = crossings(target, point, direction)
        ahead = np.flatnonzero(distances > APART)
        # The last crossing is the whole body; the first its wall, where the one finger goes inside.
        for far in dict.fromkeys([*ahead[-1:], *ahead[:1]]):
            width = float(distances[far])
            slack = _slack(target, gripper, (face, int(faces[far])), direction)
            if slack < 0 or width > gripper.opening - 2 * gripper.clearance:
                continue
            contacts = np.stack([point, point + width * direction])
            poses = _poses(contacts, direction, downward)
            clear = (p for p in poses if is_clear(p, gripper, (target, *others), support))
            if (pose := next(clear, None)) is not None:
                seen = float((target.seen[face] + target.seen[faces[far]]) / 2)
                steady = _steadiness(target, gripper, pose)
                found.append(Grasp(pose, contacts, width, seen, slack, steady))
                break
    size = np.linalg.norm(np.ptp(target.vertices, axis=0))

    def badness(grasp: Grasp) -> float:
        from_middle = float(np.linalg.norm(grasp.contacts.mean(axis=0) - target.middle))
        return from_middle / size - grasp.observed - grasp.steady

    return sorted(found, key=badness)[:count]

"""A generated mesh of unknown place, size and orientation, put where the object was observed."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.external.picture import size_of
from instascene_core.config.external import QueueConfig
from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.metrics import sample_surface

QUICK_ROUNDS, KEPT = 6, 5  # of closest points for every turn; places that are refined


@dataclass(frozen=True)
class Placement:
    """World = scale · rotation · mesh + shift."""

    scale: float
    rotation: np.ndarray  # [3, 3]
    shift: np.ndarray  # [3] metres

    def of(self, points: np.ndarray) -> np.ndarray:
        """World points [N, 3] of mesh points [N, 3]."""
        return self.scale * points @ self.rotation.T + self.shift


@dataclass(frozen=True)
class Fit:
    """A placement and how well it agrees."""

    placement: Placement
    distance: float  # of the object's size: trimmed mean of the observed points from the mesh
    free: float  # share of the mesh's surface in space known to be empty

    def cost(self, config: QueueConfig) -> float:
        return self.distance + config.free_weight * self.free


def aligned(
    mesh: TriangleMesh, guess: TriangleMesh, observation: Observation, config: QueueConfig
) -> tuple[TriangleMesh, Fit]:
    """The mesh in the world, over the observed surface and out of the space known to be empty.

    Every face of its box is tried as the bottom, with `turns` about the vertical; guess: another idea of the
    whole body (world), which gives size and place to start from.  Iterated closest points with scale
    (Umeyama 1991) then fit it to the observed points alone.  Raises InputError when nothing fits.
    """
    sampled = sample_surface(mesh, config.samples)
    center = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    positions = observation.points.positions
    observed = positions[:: max(1, len(positions) // config.points)]
    size, start = size_of(guess), size_of(guess) / max(size_of(mesh), 1e-12)
    middle = (guess.vertices.min(axis=0) + guess.vertices.max(axis=0)) / 2
    fits = []
    for rotation in _rotations(observation.up, config.turns):
        placement = Placement(start, rotation, middle - start * rotation @ center)
        fits.append(_refined(placement, sampled, observed, observation, size, QUICK_ROUNDS, start, config))
    fits.sort(key=lambda fit: fit.cost(config))
    fits = [
        _refined(fit.placement, sampled, observed, observation, size, config.rounds, start, config)
        for fit in fits[:KEPT]
    ]
    best = min(fits, key=lambda fit: fit.cost(config))
    limit = max(config.max_distance, 2 * observation.noise / size)
    if best.distance > limit or best.free > config.max_free:
        raise InputError(
            f"The generated shape does not fit what was observed: {100 * best.distance:.1f} % of its size "
            f"off, {100 * best.free:.0f} % of its surface in space seen to be empty."
        )
    return TriangleMesh(best.placement.of(mesh.vertices), mesh.triangles), best


def _rotations(up: np.ndarray, turns: int) -> list[np.ndarray]:
    """World rotations [3, 3] that bring each of the mesh's six axis directions up, turned about it."""
    flat = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    world = np.stack([flat / np.linalg.norm(flat), np.cross(up, flat / np.linalg.norm(flat)), up], axis=1)
    found = []
    for axis, sign in product(range(3), (1.0, -1.0)):
        z = sign * np.eye(3)[axis]
        x = np.eye(3)[(axis + 1) % 3]
        own = np.stack([x, np.cross(z, x), z], axis=1)
        about = Rotation.from_euler("z", 2 * np.pi * np.arange(turns)[:, None] / turns).as_matrix()
        found += [world @ turn @ own.T for turn in about]
    return found


def _refined(
    placement: Placement, sampled: np.ndarray, observed: np.ndarray, observation: Observation, size: float,
    rounds: int, start: float, config: QueueConfig,
) -> Fit:  # fmt: skip
    """After `rounds` of closest points; the scale stays within max_scale of `start`."""
    count = max(4, round(config.trimmed * len(observed)))
    tree = cKDTree(sampled)
    for _ in range(rounds):
        local = (observed - placement.shift) @ placement.rotation / placement.scale
        distance, nearest = tree.query(local)
        kept = np.argsort(distance, kind="stable")[:count]
        placement = _similarity(sampled[nearest[kept]], observed[kept], start, config.max_scale)
    local = (observed - placement.shift) @ placement.rotation / placement.scale
    distance = np.sort(tree.query(local)[0])[:count] * placement.scale
    surface = placement.of(sampled)
    inside = observation.grid.contains(surface)
    free = observation.grid.sample(observation.free.astype(np.float32), surface[inside], order=0)
    return Fit(placement, float(distance.mean()) / size, float(free.sum()) / len(surface))


def _similarity(source: np.ndarray, target: np.ndarray, start: float, most: float) -> Placement:
    """The least-squares similarity from points [N, 3] to points [N, 3] (Umeyama 1991, equations 38 to 43)."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((s * sign).sum() / max(float((a**2).sum()), 1e-20))
    scale = float(np.clip(scale, start / most, start * most))
    return Placement(scale, rotation, target.mean(axis=0) - scale * rotation @ source.mean(axis=0))

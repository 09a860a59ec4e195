"""Points of procedural things that know their parts: what the part network learns from.

A thing is drawn, points are taken evenly from its surface, and eight cameras around it say which of them
they see, so that training can show it from all sides or half seen.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.sampling import even_samples
from instascene_core.synthetic.anatomy import part_levels, whole_body
from instascene_core.synthetic.assemblies import ASSEMBLIES
from instascene_core.synthetic.household import make
from instascene_core.synthetic.solids import Solid
from instascene_core.transforms import matrix_from_quaternion

POINTS = 4096  # of a thing as it is kept
CAMERAS = 8  # around it, at random elevations
WHOLE = ("box", "can", "ball", "book")  # nothing but a body
SIMPLE = ("bottle", "cup", "bowl", "tool", "plate")
# What has a handle comes more often: that is what robots ask for.
OFTEN = ("handled_vessel",) * 4 + ("jug",) * 2 + ("driver", "striker", "knife", "pistol_tool", "shears")
TRAINING_KINDS = (*WHOLE, *SIMPLE, *ASSEMBLIES, *OFTEN)


@dataclass(frozen=True)
class Thing:
    """One thing as points."""

    points: np.ndarray  # [N, 3] float32, metres, as it lies (z up)
    normals: np.ndarray  # [N, 3] float32, unit, outward
    semantic: np.ndarray  # [L, N] integers, class of each level, UNKNOWN = −1
    instance: np.ndarray  # [L, N] integers, which part of each level
    seen: np.ndarray  # [N] uint8, bit c: camera c sees it


def draw_thing(rng: np.random.Generator, kinds: tuple[str, ...] = TRAINING_KINDS) -> tuple[str, Thing]:
    """A random thing of one of the kinds, upright or as it might lie, and its kind."""
    kind = str(kinds[rng.integers(len(kinds))])
    return kind, thing_of(make(kind, rng), rng)


def thing_of(solid: Solid, rng: np.random.Generator, count: int = POINTS, upright: float = 0.6) -> Thing:
    """Points of a solid: [count], turned about z, or (not `upright`, with that probability) anyhow."""
    points, normals, triangles = even_samples(solid.mesh, count, rng)
    anatomy = solid.anatomy or whole_body(len(solid.mesh.triangles))
    levels = part_levels(anatomy, solid.mesh.triangles, points, triangles)
    rotation = random_rotation(rng, upright)
    mesh = TriangleMesh(solid.mesh.vertices @ rotation.T, solid.mesh.triangles)
    points, normals = points @ rotation.T, normals @ rotation.T
    seen = _seen_by_cameras(mesh, points, normals, rng)
    return Thing(
        points.astype(np.float32),
        normals.astype(np.float32),
        levels.semantic.astype(np.uint8),
        levels.instance.astype(np.uint8),
        seen,
    )


def random_rotation(rng: np.random.Generator, upright: float) -> np.ndarray:
    """[3, 3]: about z with that probability, else any."""
    if rng.uniform() < upright:
        angle = rng.uniform(0, 2 * np.pi)
        c, s = np.cos(angle), np.sin(angle)
        return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    quaternion = rng.normal(size=4)
    return matrix_from_quaternion(quaternion / np.linalg.norm(quaternion))


def _seen_by_cameras(
    mesh: TriangleMesh, points: np.ndarray, normals: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """[N] uint8: bit c is set where nothing lies between the point and camera c."""
    from instascene_core.geometry.open3d_loader import open3d

    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        open3d.core.Tensor(mesh.vertices.astype(np.float32)),
        open3d.core.Tensor(mesh.triangles.astype(np.uint32)),
    )
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    centre, size = (low + high) / 2, float(np.linalg.norm(high - low))
    start = rng.uniform(0, 2 * np.pi)
    seen = np.zeros(len(points), dtype=np.uint8)
    for camera in range(CAMERAS):
        azimuth = start + camera * 2 * np.pi / CAMERAS
        elevation = np.radians(rng.uniform(10, 70))
        direction = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation)]
        eye = centre + 2.5 * size * np.array([*direction, np.sin(elevation)])
        toward = eye - points
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        facing = np.einsum("ni,ni->n", toward, normals) > 0.05
        origins = points + 1e-3 * size * normals
        rays = np.concatenate([origins, toward], axis=1)[facing].astype(np.float32)
        hit = scene.cast_rays(open3d.core.Tensor(rays), nthreads=1)["t_hit"].numpy()
        seen[np.flatnonzero(facing)[~np.isfinite(hit)]] |= np.uint8(1 << camera)
    return seen

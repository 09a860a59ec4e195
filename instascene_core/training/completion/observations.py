"""Simulated observations of procedural bodies: posed, with neighbours, seen by faulty cameras.

The frames go through the very code that observes real ones (`observe`), so the network learns from
what that code makes of noise, bias, floaters, bleeding masks and occlusion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.completion.observing.observation import fuse_in_grid, observe
from instascene_core.completion.observing.regridding import enlarge_box
from instascene_core.completion.priors.network import CLIP, network_grid, network_input
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ObservingConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.open3d_loader import open3d
from instascene_core.geometry.tsdf import VoxelGrid
from instascene_core.instances import InstanceId
from instascene_core.training.completion.shapes import make_shape
from instascene_core.transforms import look_at, matrix_from_quaternion

TABLE_LABEL, TARGET_LABEL = InstanceId(1), InstanceId(2)
SIDES, SIDE_SHARES = (32, 40, 48, 56), (0.45, 0.2, 0.2, 0.15)


@dataclass(frozen=True)
class Example:
    """What was observed and what was there, in the network's grid."""

    kind: str
    inputs: np.ndarray  # [CHANNELS, nx, ny, nz] float32 in [−1, 1]
    distance: np.ndarray  # [nx, ny, nz] float32 signed distance, voxels, clipped to ± CLIP


def make_example(rng: np.random.Generator, side: int | None = None) -> Example:
    """A random body, observed; `side` is that of the grid (random when None)."""
    while True:
        kind, body = make_shape(rng)
        body = place_body(rng, kind, body)
        body, others = _among_others(rng, body)
        frames, support = simulate_frames(rng, body, others)
        size = int(rng.choice(SIDES, p=SIDE_SHARES)) if side is None else side
        # The box is found at a resolution near the network's: nothing finer would be kept.
        observing = ObservingConfig(max_points=4000, max_voxels=int(1.3 * size**3))
        config = CompletionConfig(observing=observing)
        try:
            observation = observe(frames, TARGET_LABEL, support, np.array([0.0, 0.0, 1.0]), config)
        except InputError:
            continue  # hidden by its neighbours
        if rng.uniform() < 0.15:
            observation = enlarge_box(observation, float(rng.uniform(1.05, 1.3)))
        observation = fuse_in_grid(observation, network_grid(observation.grid, size))
        inputs, distance = network_input(observation), true_distance(body, observation.grid)
        return Example(kind, inputs, fill_hidden_cavities(distance, inputs))


def fill_hidden_cavities(distance: np.ndarray, inputs: np.ndarray, sheltered: int = 5) -> np.ndarray:
    """The distance [nx, ny, nz] (voxels) of a body whose cavities, where no camera saw that they are empty,
    are filled: nothing tells them from solid, and a wrongly hollowed apple is worse than a filled cup.

    inputs: [CHANNELS, nx, ny, nz] of the network.  A cavity is what the body or the support shelters in
    five of the six directions along the axes.
    """
    from scipy.ndimage import binary_dilation, distance_transform_edt, label

    inside, free = distance < 0, inputs[2] > 0.5
    wall = inside | ((inputs[6] > 0.5) & (inputs[5] < 0))
    shelters = np.zeros(distance.shape, dtype=np.int8)
    for axis in range(3):
        shelters += np.logical_or.accumulate(wall, axis=axis)
        shelters += np.flip(np.logical_or.accumulate(np.flip(wall, axis), axis=axis), axis)
    cavities, count = label(~wall & (shelters >= sheltered))
    if count == 0:
        return distance
    sizes, seen = np.bincount(cavities.ravel()), np.bincount(cavities[free], minlength=count + 1)
    hidden = seen < np.maximum(3, 0.02 * sizes)
    hidden[0] = False
    filled = hidden[cavities]
    if not filled.any():
        return distance
    body = inside | filled
    signed = np.where(body, 0.5 - distance_transform_edt(body), distance_transform_edt(~body) - 0.5)
    changed = binary_dilation(filled, iterations=int(CLIP) + 1)
    return np.where(changed, np.clip(signed, -CLIP, CLIP), distance).astype(np.float32)


def true_distance(body: TriangleMesh, grid: VoxelGrid, clip: float = CLIP) -> np.ndarray:
    """[nx, ny, nz] float32 signed distance in voxels, clipped; exact within `clip` of the surface."""
    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(*_tensors(body))
    centers = grid.centers().astype(np.float32).reshape(-1, 3)
    # Distances change by at most a voxel per voxel: every third voxel tells where they matter.
    coarse = tuple(slice(0, None, 3) for _ in range(3))
    rough = scene.compute_distance(
        open3d.core.Tensor(centers.reshape(*grid.shape, 3)[coarse].reshape(-1, 3).copy()), nthreads=1
    ).numpy()
    sampled = tuple(-(-n // 3) for n in grid.shape)
    rough = rough.reshape(sampled)
    for axis in range(3):
        rough = np.repeat(rough, 3, axis=axis)
    near = rough[tuple(slice(0, n) for n in grid.shape)].ravel() < (clip + 3.6) * grid.voxel
    distance = np.full(len(centers), np.float32(clip * grid.voxel))
    distance[near] = scene.compute_distance(open3d.core.Tensor(centers[near]), nthreads=1).numpy()
    inside = scene.compute_occupancy(open3d.core.Tensor(centers), nthreads=1).numpy() > 0.5
    signed = np.where(inside, -distance, distance) / grid.voxel
    return np.clip(signed, -clip, clip).reshape(grid.shape).astype(np.float32)


# --- placing ---


def place_body(rng: np.random.Generator, kind: str, body: TriangleMesh) -> TriangleMesh:
    """The body at a random size, resting on z = 0 (or, now and then, held at an angle)."""
    vertices = body.vertices * np.exp(rng.uniform(np.log(0.08), np.log(0.45)))
    upright = {"vessel": 0.55, "stemware": 0.5, "pan": 0.7, "tray": 0.7, "lathe": 0.5}.get(kind, 0.25)
    if rng.uniform() > upright:
        if rng.uniform() < 0.85:
            vertices = vertices @ _resting_rotation(rng, TriangleMesh(vertices, body.triangles)).T
        else:
            quaternion = rng.normal(size=4)
            vertices = vertices @ matrix_from_quaternion(quaternion / np.linalg.norm(quaternion)).T
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    vertices = vertices @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    return TriangleMesh(vertices - [*((low + high) / 2)[:2], low[2]], body.triangles)


def _resting_rotation(rng: np.random.Generator, body: TriangleMesh) -> np.ndarray:
    """[3, 3]: turns a face of the convex hull down, picked by the solid angle it fills as seen from the
    centre, which is about how often a thrown body comes to rest on it."""
    from scipy.spatial import ConvexHull

    hull = ConvexHull(body.vertices)
    normals, offsets = hull.equations[:, :3], hull.equations[:, 3]
    center = meshes.to_trimesh(body).center_mass
    direction = rng.normal(size=3)
    with np.errstate(divide="ignore"):
        reach = -(offsets + normals @ center) / (normals @ direction)
    down = normals[np.argmin(np.where(reach > 0, reach, np.inf))]
    axis = np.cross(down, [0, 0, -1.0])
    sine, cosine = np.linalg.norm(axis), -down[2]
    if sine < 1e-9:
        return np.eye(3) if cosine > 0 else np.diag([1.0, -1.0, -1.0])
    x, y, z = axis / sine
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + sine * cross + (1 - cosine) * cross @ cross


def _among_others(rng: np.random.Generator, body: TriangleMesh) -> tuple[TriangleMesh, list[TriangleMesh]]:
    """The body, now and then standing on a block, and what is around it."""
    others = _others(rng, body)
    size = float(np.linalg.norm(np.ptp(body.vertices, axis=0)))
    draw = rng.uniform()
    if draw < 0.12:
        block = _block(rng, body, size)
        height = np.array([0.0, 0.0, block.vertices[:, 2].max()])
        return TriangleMesh(body.vertices + height, body.triangles), [*others, block]
    if draw < 0.2:
        top = place_body(rng, "any", make_shape(rng)[1])
        vertices = top.vertices * (
            size / np.linalg.norm(np.ptp(top.vertices, axis=0)) * rng.uniform(0.3, 0.9)
        )
        shift = [*(0.2 * size * rng.uniform(-1, 1, 2)), body.vertices[:, 2].max()]
        others.append(TriangleMesh(vertices + shift, top.triangles))
    return body, others


def _block(rng: np.random.Generator, body: TriangleMesh, size: float) -> TriangleMesh:
    """A box on z = 0 under the middle of the body: a book, a carton."""
    half = np.ptp(body.vertices, axis=0)[:2].max() * rng.uniform(0.4, 1.0, 2)
    height, angle = size * rng.uniform(0.05, 0.7), rng.uniform(0, np.pi)
    x, y, z = np.meshgrid(*[[-h, h] for h in half], [0.0, height])
    c, s = np.cos(angle), np.sin(angle)
    return meshes.convex_hull(np.stack([c * x - s * y, s * x + c * y, z], axis=-1).reshape(-1, 3))


def _others(rng: np.random.Generator, body: TriangleMesh) -> list[TriangleMesh]:
    """Neighbours beside the body (touching or nearly) and things in front of it."""
    others = []
    low, high = body.vertices.min(axis=0), body.vertices.max(axis=0)
    size = float(np.linalg.norm(high - low))
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.45, 0.25, 0.2, 0.1]))):
        other = place_body(rng, "any", make_shape(rng)[1])
        vertices = other.vertices * (
            size / np.linalg.norm(np.ptp(other.vertices, axis=0)) * rng.uniform(0.4, 1.3)
        )
        direction = rng.uniform(0, 2 * np.pi)
        away = np.array([np.cos(direction), np.sin(direction), 0.0])
        gap = size * (rng.uniform(0.0, 0.03) if rng.uniform() < 0.5 else rng.uniform(0.03, 0.5))
        shift = (body.vertices @ away).max() - (vertices @ away).min() + gap
        others.append(TriangleMesh(vertices + shift * away, other.triangles))
    return others


# --- cameras ---


def simulate_frames(
    rng: np.random.Generator, body: TriangleMesh, others: Sequence[TriangleMesh] = ()
) -> tuple[list[Frame], Plane | None]:
    """Frames of the body (label 2) among others on a table, with faults, and the support (None now and
    then)."""
    size = float(np.linalg.norm(np.ptp(body.vertices, axis=0)))
    table = meshes.convex_hull(_slab(6 * size))
    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    for part in (table, body, *others):
        scene.add_triangles(*_tensors(part))
    center = (body.vertices.min(axis=0) + body.vertices.max(axis=0)) / 2
    faults = Faults.draw(rng, size)
    frames = []
    for k, pose in enumerate(_poses(rng, center, size)):
        distance = float(np.linalg.norm(pose[:3, 3] - center))
        pixels = int(rng.uniform(70, 110))  # along the body's diagonal
        width = int(1.5 * pixels)
        focal = pixels * distance / size
        camera = PinholeCamera(width, width, focal, focal, width / 2, width / 2)
        directions = camera.rays @ pose[:3, :3].T
        rays = np.concatenate([np.broadcast_to(pose[:3, 3], directions.shape), directions], axis=-1)
        hit = scene.cast_rays(open3d.core.Tensor(rays.astype(np.float32)), nthreads=1)
        depth, part = hit["t_hit"].numpy(), hit["geometry_ids"].numpy()
        seen = np.isfinite(depth)
        depth = np.where(seen, depth, 0).astype(np.float32)
        labels = np.where(seen, part.astype(np.int64) + 1, -1).astype(np.int32)
        depth, labels, pose = faults.apply(rng, depth, labels, pose)
        rgb = np.full((*depth.shape, 3), 128, np.uint8)
        frames.append(Frame(f"{k}", float(k), camera, pose, rgb, depth, labels))
    known = rng.uniform() < 0.88
    tilt = rng.normal(0, 0.004, 2)
    normal = np.array([*tilt, 1.0]) / np.linalg.norm([*tilt, 1.0])
    support = Plane(normal, -float(rng.normal(0, 0.004) * size)) if known else None
    return frames, support


def _poses(rng: np.random.Generator, center: np.ndarray, size: float) -> list[np.ndarray]:
    """Camera poses: mostly a short arc to one side, sometimes all around."""
    count = int(rng.choice([1, 2, 3, 4, 6, 8, 12, 16], p=[0.05, 0.1, 0.12, 0.15, 0.25, 0.15, 0.1, 0.08]))
    around = rng.uniform() < 0.33
    span = 2 * np.pi if around else np.deg2rad(rng.uniform(20, 150))
    start, base = rng.uniform(0, 2 * np.pi), rng.uniform(12, 60)
    distance = size * rng.uniform(1.4, 3.5)
    poses = []
    for k in range(count):
        azimuth = start + span * (k / max(count - 1, 1)) + rng.normal(0, 0.1)
        elevation = np.deg2rad(np.clip(base + rng.normal(0, 10), 4, 85))
        offset = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
        target = center + rng.normal(0, 0.05, 3) * size
        poses.append(look_at(center + distance * rng.uniform(0.85, 1.15) * np.array(offset), target))
    return poses


@dataclass(frozen=True)
class Faults:
    """How bad the depth, the masks and the poses of one capture are; lengths in metres."""

    noise: float  # standard deviation of one reading
    bias: float  # of the error that changes slowly over the image
    floaters: float  # share of the rim's pixels whose depth lies between front and back
    holes: float  # chance of a patch without depth
    mask: float  # pixels by which masks shrink or grow
    drift: float  # of the camera's place

    @staticmethod
    def draw(rng: np.random.Generator, size: float) -> "Faults":
        return Faults(
            noise=size * float(np.exp(rng.uniform(np.log(0.0008), np.log(0.012)))),
            bias=size * float(np.exp(rng.uniform(np.log(0.0006), np.log(0.012)))),
            floaters=float(rng.uniform(0, 0.6)) if rng.uniform() < 0.6 else 0.0,
            holes=float(rng.uniform(0, 0.5)) if rng.uniform() < 0.3 else 0.0,
            mask=float(rng.uniform(0, 1.8)) if rng.uniform() < 0.6 else 0.0,
            drift=size * float(rng.uniform(0, 0.006)),
        )

    def apply(self, rng, depth, labels, pose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        import cv2

        height, width = depth.shape
        seen = depth > 0
        spread = cv2.resize(rng.standard_normal((4, 4)), (width, height), interpolation=cv2.INTER_CUBIC)
        wrong = self.bias * spread + self.noise * rng.standard_normal(depth.shape)
        if self.floaters:
            # A rendered edge mixes front and back: depth there lies anywhere between.
            kernel = np.ones((3, 3), np.uint8)
            far, near = cv2.dilate(depth, kernel), cv2.erode(np.where(seen, depth, depth.max()), kernel)
            edge = (far - near > 0.05 * far) & (rng.uniform(size=depth.shape) < self.floaters) & seen
            depth = np.where(edge, near + rng.uniform(size=depth.shape) * (far - near), depth)
        labels = self._masks(rng, labels)
        if rng.uniform() < self.holes:
            v, u = rng.integers(height), rng.integers(width)
            radius = int(rng.uniform(0.03, 0.15) * width)
            seen = seen & ~_disc(depth.shape, v, u, radius)
        pose = pose.copy()
        pose[:3, 3] += rng.normal(0, 1, 3) * self.drift
        depth = np.where(seen, np.maximum(depth + wrong, 1e-3), 0).astype(np.float32)
        return depth, labels, pose

    def _masks(self, rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
        """Labels whose target shrinks, or bleeds over its rim, by up to `mask` pixels along parts of it."""
        import cv2

        if not self.mask:
            return labels
        shape = labels.shape[::-1]
        wave = cv2.resize(rng.standard_normal((6, 6)), shape, interpolation=cv2.INTER_CUBIC) * self.mask
        target = (labels == TARGET_LABEL).astype(np.uint8)
        inside = cv2.distanceTransform(target, cv2.DIST_L2, 3)
        outside = cv2.distanceTransform(1 - target, cv2.DIST_L2, 3)
        moved = np.where(target > 0, 0.5 - inside, outside - 0.5) < wave  # grown where the wave is high
        lost = (target > 0) & ~moved
        return np.where(moved, TARGET_LABEL, np.where(lost, TABLE_LABEL, labels)).astype(np.int32)


def _disc(shape: tuple[int, int], v: int, u: int, radius: int) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - v) ** 2 + (columns - u) ** 2 < radius**2


def _slab(size: float) -> np.ndarray:
    x, y, z = np.meshgrid([-size, size], [-size, size], [-0.01 * size, 0.0])
    return np.stack([x, y, z], axis=-1).reshape(-1, 3)


def _tensors(mesh: TriangleMesh):
    return (
        open3d.core.Tensor(mesh.vertices.astype(np.float32)),
        open3d.core.Tensor(mesh.triangles.astype(np.uint32)),
    )

"""Procedural bodies as they are, and as our pipeline would hand them to the model: with errors where no
camera looked."""

from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.completion.priors.multiview.views import ray_scene
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.tsdf import VoxelGrid
from instascene_core.training.completion.observations import place_body
from instascene_core.training.completion.shapes import KINDS, make_shape
from instascene_core.transforms import apply, inverse, look_at

HELD_OUT_SHAPES = ("stemware", "device", "tray")
SOURCES = 8  # observing cameras at most: one bit of a byte each
VOXELS = 44  # along the longest side of the grid in which a body is damaged
SOURCE_PIXELS = 96  # side of the images of observing cameras


def make_body(rng: np.random.Generator, held_out: bool = False) -> tuple[str, TriangleMesh]:
    """A random body on z = 0, in metres, and its kind; of a kind that the training does not see, or not."""
    while True:
        kind, body = make_shape(rng)
        if (kind in HELD_OUT_SHAPES) == held_out:
            assert kind in KINDS
            return kind, place_body(rng, kind, body)


@dataclass(frozen=True)
class Source:
    """A camera that saw the body among other things."""

    camera: PinholeCamera
    world_from_camera: np.ndarray  # [4, 4]
    depth: np.ndarray  # [H, W] float32 z-depth of everything, metres; infinite where nothing is
    target: np.ndarray  # [H, W] bool: shows the body, its rim left out

    def sees(self, points: np.ndarray, tolerance: float) -> np.ndarray:
        """[N] bool: which world points [N, 3] lie on the surface of the body that it saw."""
        z, row, column, inside = self._pixels(points)
        return inside & self.target[row, column] & (np.abs(self.depth[row, column] - z) < tolerance)

    def knows(self, points: np.ndarray, tolerance: float) -> np.ndarray:
        """[N] bool: which world points lie in front of what it saw, or on it."""
        z, row, column, inside = self._pixels(points)
        return inside & (z < self.depth[row, column] + tolerance)

    def _pixels(self, points: np.ndarray):
        pixels, z = self.camera.project(apply(inverse(self.world_from_camera), points))
        size = (self.camera.width, self.camera.height)
        with np.errstate(invalid="ignore"):
            inside = (z > 0) & (pixels >= 0).all(axis=-1) & (pixels < size).all(axis=-1)
        column, row = np.where(inside[:, None], pixels, 0).astype(int).T
        return z, row, column, inside


def look_from(rng: np.random.Generator, body: TriangleMesh) -> list[Source]:
    """1 to SOURCES cameras, mostly on an arc to one side, with other things in the way now and then."""
    from scipy.ndimage import binary_erosion

    from instascene_core.geometry.open3d_loader import open3d

    center = (body.vertices.min(axis=0) + body.vertices.max(axis=0)) / 2
    size = float(np.linalg.norm(np.ptp(body.vertices, axis=0)))
    scene = ray_scene(body)
    for other in _in_the_way(rng, center, size):
        scene.add_triangles(
            open3d.core.Tensor(other.vertices.astype(np.float32)),
            open3d.core.Tensor(other.triangles.astype(np.uint32)),
        )
    sources = []
    for pose in _arc(rng, center, size):
        focal = SOURCE_PIXELS * 0.75 * float(np.linalg.norm(pose[:3, 3] - center)) / size
        half = SOURCE_PIXELS / 2
        camera = PinholeCamera(SOURCE_PIXELS, SOURCE_PIXELS, focal, focal, half, half)
        directions = camera.rays @ pose[:3, :3].T
        rays = np.concatenate([np.broadcast_to(pose[:3, 3], directions.shape), directions], axis=-1)
        hit = scene.cast_rays(open3d.core.Tensor(rays.astype(np.float32)), nthreads=1)
        depth, part = hit["t_hit"].numpy(), hit["geometry_ids"].numpy()
        target = binary_erosion(np.isfinite(depth) & (part == 0))
        sources.append(Source(camera, pose, depth, target))
    return sources


def _arc(rng: np.random.Generator, center: np.ndarray, size: float) -> list[np.ndarray]:
    count = int(rng.choice([1, 2, 3, 4, 6, SOURCES], p=[0.1, 0.15, 0.2, 0.2, 0.2, 0.15]))
    span = np.deg2rad(rng.uniform(20, 160)) if rng.uniform() < 0.8 else rng.uniform(0.6, 0.95) * 2 * np.pi
    start, base = rng.uniform(0, 2 * np.pi), rng.uniform(10, 60)
    poses = []
    for k in range(count):
        azimuth = start + span * k / max(count - 1, 1) + rng.normal(0, 0.1)
        elevation = np.deg2rad(np.clip(base + rng.normal(0, 10), 4, 80))
        offset = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
        poses.append(look_at(center + size * rng.uniform(1.6, 3.0) * np.array(offset), center))
    return poses


def _in_the_way(rng: np.random.Generator, center: np.ndarray, size: float) -> list[TriangleMesh]:
    things = []
    for _ in range(int(rng.choice([0, 1, 2], p=[0.5, 0.3, 0.2]))):
        vertices = make_shape(rng)[1]
        angle, gap = rng.uniform(0, 2 * np.pi), size * rng.uniform(0.6, 1.0)
        low = vertices.vertices.min(axis=0) * [0, 0, 1]
        place = [*(center[:2] + gap * np.array([np.cos(angle), np.sin(angle)])), 0.0]
        moved = (vertices.vertices - low) * size * rng.uniform(0.4, 0.9) + place
        things.append(TriangleMesh(moved, vertices.triangles))
    return things


def damage_body(
    rng: np.random.Generator, body: TriangleMesh, sources: list[Source]
) -> tuple[TriangleMesh, VoxelGrid, np.ndarray] | None:
    """The body as a prior guesses it that saw what the sources did: right where they looked, rounded and too
    far out or in elsewhere.  With the expected error in metres, as a grid and values [nx, ny, nz]; None
    where nothing is left.
    """
    from scipy.ndimage import gaussian_filter

    low, high = body.vertices.min(axis=0), body.vertices.max(axis=0)
    size = float(np.linalg.norm(high - low))
    voxel = float((high - low).max()) * 1.2 / VOXELS
    shape = np.ceil((high - low) * 1.2 / voxel).astype(int) + 5
    matrix = np.eye(4)
    matrix[:3, 3] = (low + high) / 2 - (shape - 1) * voxel / 2
    grid = VoxelGrid(matrix, voxel, (int(shape[0]), int(shape[1]), int(shape[2])))
    field = _signed_distance(body, grid)
    centers = grid.centers().reshape(-1, 3)
    unknown = np.ones(len(centers), dtype=bool)
    for source in sources:
        unknown[unknown] = ~source.knows(centers[unknown], 1.5 * voxel)
    unseen = gaussian_filter(unknown.reshape(shape).astype(np.float32), 1.5)
    coarse = rng.standard_normal((4, 4, 4)).astype(np.float32)
    wave = _enlarged(coarse, grid.shape)
    amplitude = float(np.exp(rng.uniform(np.log(0.004), np.log(0.05)))) * size / voxel
    rounded = gaussian_filter(field, float(rng.uniform(0.5, 1.8)))
    rounded = (1 - unseen) * gaussian_filter(field, 0.4) + unseen * rounded
    solid = rounded + amplitude * unseen * wave
    solid[[0, -1]], solid[:, [0, -1]], solid[:, :, [0, -1]] = 1.0, 1.0, 1.0
    if not (solid < 0).any():
        return None
    mesh = meshes.surface_from_field(solid.astype(np.float32))
    vertices = apply(grid.world_from_grid, mesh.vertices * voxel)
    expected = (0.2 + amplitude * unseen * float(np.exp(rng.normal(0, 0.4)))) * voxel
    return TriangleMesh(vertices, mesh.triangles), grid, expected.astype(np.float32)


def _signed_distance(body: TriangleMesh, grid: VoxelGrid) -> np.ndarray:
    """[nx, ny, nz] float32 signed distance in voxels, exact near the surface, to half a voxel elsewhere."""
    from scipy.ndimage import distance_transform_edt

    from instascene_core.geometry.open3d_loader import open3d

    scene = ray_scene(body)
    centers = grid.centers().astype(np.float32)
    inside = scene.compute_occupancy(open3d.core.Tensor(centers), nthreads=1).numpy() > 0.5
    field = np.where(inside, 0.5 - distance_transform_edt(inside), distance_transform_edt(~inside) - 0.5)
    field = field.astype(np.float32)
    near = np.abs(field) < 1.6
    exact = scene.compute_distance(open3d.core.Tensor(centers[near]), nthreads=1).numpy() / grid.voxel
    field[near] = np.where(inside[near], -exact, exact)
    return field


def _enlarged(values: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A small grid [a, b, c] at `shape` places, smooth between its values."""
    from scipy.ndimage import map_coordinates

    axes = [np.linspace(0, n - 1, m) for n, m in zip(values.shape, shape)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    return np.asarray(map_coordinates(values, places, order=2, mode="nearest"))

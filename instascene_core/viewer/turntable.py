"""Meshes from all around: sheets of small pictures with a clear background, drawn without a GPU.

The rays of all pictures are cast once, whatever the number of styles; pixels at edges get more of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.colors import instance_color, observed_colors, uncertainty_colors
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.mesh import vertex_normals
from instascene_core.objects import CompletedObject
from instascene_core.transforms import lengths, look_at

VIEWS = 8  # around
ABOVE, BELOW = 24.0, -38.0  # degrees over the horizon: the rows of a sheet
DISTANCE = 5.0  # of the eye, in radii of what is shown
MARGIN = 0.06  # of a picture, on each side
CREASE = 0.85  # cosine between the normals of neighbouring pixels below which there is an edge
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # of a pixel at an edge
LAMP = (-0.42, -0.62, -0.66)  # towards it, in the camera's axes
CLAY = np.array([214, 208, 200], dtype=np.float32)

Sheet = np.ndarray  # [rows · H, VIEWS · W, 4] uint8 RGBA, not premultiplied


@dataclass(frozen=True)
class Shape:
    """A mesh and what its surface is coloured by, one [V, 3] (0 … 255) a style."""

    mesh: TriangleMesh
    colors: Mapping[str, np.ndarray]
    thing: CompletedObject | None = None  # where it has a texture, its style `color` shows that


def shape_of(thing: CompletedObject) -> Shape:
    """An object in the styles `color`, `observed`, `uncertainty` and `instance`."""
    instance = np.broadcast_to(instance_color(thing.instance_id).astype(np.float32), thing.colors.shape)
    colors = {
        "color": thing.colors,
        "observed": observed_colors(thing.observed),
        "uncertainty": uncertainty_colors(thing.vertex_uncertainty),
        "instance": instance,
    }
    return Shape(thing.mesh, colors, thing)


def clay(mesh: TriangleMesh) -> Shape:
    """A mesh without colours, in the style `clay`."""
    return Shape(mesh, {"clay": np.broadcast_to(CLAY, mesh.vertices.shape)})


def turntable(
    shapes: Sequence[Shape],
    styles: Sequence[str],
    up: np.ndarray,
    front: np.ndarray,
    size: tuple[int, int],
    heights: Sequence[float] = (ABOVE, BELOW),
    views: int = VIEWS,
) -> dict[str, Sheet]:
    """Style → pictures of `size` (width, height): a column a direction, a row each of `heights` (degrees).

    up, front: [3], the axis and the side that the first picture shows, in the frame of the meshes.  All
    pictures have one scale.  Meshes without triangles are left out; without any the sheets are clear.
    """
    shapes = [shape for shape in shapes if len(shape.mesh.triangles)]
    columns, rows = size[0] * views, size[1] * len(heights)
    sheets = {style: np.zeros((rows, columns, 4), dtype=np.uint8) for style in styles}
    if not shapes:
        return sheets
    tracer = _Tracer(shapes, styles)
    poses = tracer.poses(up, front, heights, views)
    focal = tracer.focal(poses, size)
    for index, pose in enumerate(poses):
        row, column = divmod(index, views)
        place = slice(row * size[1], (row + 1) * size[1]), slice(column * size[0], (column + 1) * size[0])
        for style, picture in zip(styles, tracer.pictures(pose, size, focal)):
            sheets[style][place] = picture
    return sheets


class _Tracer:
    """Rays into a set of shapes, all styles at once."""

    def __init__(self, shapes: Sequence[Shape], styles: Sequence[str]) -> None:
        from instascene_core.geometry.open3d_loader import open3d as o3d

        self.shapes, self.styles = shapes, styles
        self.vertices = np.concatenate([shape.mesh.vertices for shape in shapes])
        starts = np.cumsum([0, *(len(shape.mesh.vertices) for shape in shapes)])
        self.triangles = np.concatenate([s.mesh.triangles + start for s, start in zip(shapes, starts)])
        self.first = np.cumsum([0, *(len(shape.mesh.triangles) for shape in shapes)])  # triangle of each
        normals = np.concatenate([vertex_normals(shape.mesh) for shape in shapes])
        colors = [np.concatenate([s.colors[style] for s in shapes]) for style in styles]
        self.values = np.concatenate([normals, *colors], axis=1).astype(np.float32)  # [V, 3 + 3 · styles]
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        self.center = (low + high) / 2
        self.radius = max(float(np.linalg.norm(self.vertices - self.center, axis=1).max()), 1e-6)
        self.scene = o3d.t.geometry.RaycastingScene()
        self.scene.add_triangles(self.vertices.astype(np.float32), self.triangles.astype(np.uint32))

    def poses(self, up, front, heights: Sequence[float], views: int) -> list[np.ndarray]:
        """world_from_camera [4, 4] of each picture, row by row, all looking at the middle from the same
        distance."""
        up = np.asarray(up, dtype=np.float64) / np.linalg.norm(up)
        front = np.asarray(front, dtype=np.float64) - up * (up @ front)
        if np.linalg.norm(front) < 1e-6:
            front = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
        front /= np.linalg.norm(front)
        side, poses = np.cross(up, front), []
        for height in np.radians(heights):
            for azimuth in 2 * np.pi * np.arange(views) / views:
                level = np.cos(azimuth) * front + np.sin(azimuth) * side
                away = np.cos(height) * level + np.sin(height) * up
                poses.append(look_at(self.center + DISTANCE * self.radius * away, self.center, up))
        return poses

    def focal(self, poses: Sequence[np.ndarray], size: tuple[int, int]) -> float:
        """Pixels: the largest focal length at which everything is in all pictures, with a margin."""
        points = self.vertices[:: max(1, len(self.vertices) // 4000)] - self.center
        reach = 1e-6  # of what is shown, in half pictures, at a focal length of 1
        for pose in poses:
            right, down, ahead = (points @ axis for axis in pose[:3, :3].T)
            away = ahead + DISTANCE * self.radius
            reach = max(
                reach, np.abs(right / away).max() * 2 / size[0], np.abs(down / away).max() * 2 / size[1]
            )
        return (1 - 2 * MARGIN) / reach

    def pictures(self, pose: np.ndarray, size: tuple[int, int], focal: float) -> np.ndarray:
        """[styles, H, W, 4] uint8."""
        width, height = size
        y, x = np.mgrid[:height, :width].reshape(2, -1) + 0.5
        triangle, uv, normal = self._cast(x - width / 2, y - height / 2, pose, focal)
        hit = triangle >= 0
        edges = np.flatnonzero(_edges(hit.reshape(height, width), normal.reshape(height, width, 3)))
        hit[edges] = False
        image = np.zeros((len(self.styles), height * width, 4), dtype=np.float32)
        image[:, hit, :3], image[:, hit, 3] = self._shaded(triangle[hit], uv[hit], pose), 255
        dx, dy = np.array(SUBPIXELS).T[:, :, None]  # [4, 1] each
        x, y = (x[edges] + dx - width / 2).ravel(), (y[edges] + dy - height / 2).ravel()
        triangle, uv, _ = self._cast(x, y, pose, focal)
        hit = triangle >= 0
        parts = np.zeros((len(self.styles), len(hit), 4), dtype=np.float32)
        parts[:, hit, :3], parts[:, hit, 3] = self._shaded(triangle[hit], uv[hit], pose), 255
        # What is not hit adds neither colour nor alpha.
        total = parts.reshape(len(self.styles), len(SUBPIXELS), len(edges), 4).sum(axis=1)
        covered = np.maximum(total[..., 3:] / 255, 1)
        image[:, edges] = np.concatenate([total[..., :3] / covered, total[..., 3:] / len(SUBPIXELS)], axis=2)
        return (image + 0.5).astype(np.uint8).reshape(len(self.styles), height, width, 4)

    def _cast(self, x: np.ndarray, y: np.ndarray, pose: np.ndarray, focal: float) -> tuple:
        """What the rays through K pixels, x and y from the middle, meet: triangle [K] int64 (−1 = none), uv
        [K, 2], the triangle's normal [K, 3]."""
        right, down, ahead = pose[:3, :3].T
        rays = np.empty((len(x), 6), dtype=np.float32)
        rays[:, :3] = pose[:3, 3]
        rays[:, 3:] = x[:, None] / focal * right + y[:, None] / focal * down + ahead
        cast = self.scene.cast_rays(rays)
        triangle = cast["primitive_ids"].numpy().astype(np.int64)
        triangle[~np.isfinite(cast["t_hit"].numpy())] = -1
        return triangle, cast["primitive_uvs"].numpy(), cast["primitive_normals"].numpy()

    def _shaded(self, triangle: np.ndarray, uv: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """[styles, M, 3] float32 lit colours (0 … 255)."""
        u, v = uv[:, :1], uv[:, 1:]
        weights = np.concatenate([1 - u - v, u, v], axis=1)
        corners = self.triangles[triangle]
        first, second, third = (weights[:, k : k + 1] * self.values[corners[:, k]] for k in range(3))
        values = first + second + third
        if "color" in self.styles:
            start = 3 + 3 * self.styles.index("color")
            values[:, start : start + 3] = self._textured(triangle, weights, values[:, start : start + 3])
        lit = values[:, 3:] * _light(values[:, :3], pose[:3, :3].astype(np.float32))[:, None]
        return np.minimum(lit, 255).reshape(len(triangle), len(self.styles), 3).transpose(1, 0, 2)

    def _textured(self, triangle: np.ndarray, weights: np.ndarray, colors: np.ndarray) -> np.ndarray:
        """`colors` [M, 3] of the vertices, those of the texture where a shape has one."""
        found = colors.copy()
        for shape, start, end in zip(self.shapes, self.first[:-1], self.first[1:]):
            texture = None if shape.thing is None else shape.thing.texture
            if texture is not None:
                mine = np.flatnonzero((triangle >= start) & (triangle < end))
                found[mine] = texture.at(triangle[mine] - start, weights[mine])
        return found


def _edges(hit: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """[H, W] bool: pixels beside the outline or a crease."""
    edges = np.zeros(hit.shape, dtype=bool)
    for axis in (0, 1):
        one = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        two = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
        differs = (hit[one] != hit[two]) | (
            hit[one] & hit[two] & ((normal[one] * normal[two]).sum(axis=2) < CREASE)
        )
        edges[one] |= differs
        edges[two] |= differs
    return edges


def _light(normals: np.ndarray, world_from_camera: np.ndarray) -> np.ndarray:
    """[M] light on surfaces with these normals [M, 3]: a lamp over the camera's left shoulder, the sky
    above, and a little from everywhere.  Inner sides are lit as if they faced the camera."""
    right, down, ahead = world_from_camera.T
    lamp = LAMP[0] * right + LAMP[1] * down + LAMP[2] * ahead
    key, below, away = (np.einsum("nc,c->n", normals, axis) for axis in (lamp, down, ahead))
    facing = np.where(away > 0, -1.0, 1.0) / np.maximum(lengths(normals), 1e-9)
    return (0.58 + 0.46 * np.maximum(key * facing, 0) - 0.1 * below * facing).astype(np.float32)

"""What a mesh looks like from the ring, and which pixels of different views show the same place."""

from dataclasses import dataclass

import numpy as np

from instascene_core.completion.priors.multiview.ring import Ring
from instascene_core.geometry import TriangleMesh
from instascene_core.transforms import inverse

NEIGHBOURS = (-2, -1, 1, 2)  # views around each one in which the places that it shows are looked up
SAME_PLACE = 0.06  # units of the frame: depths that differ by less show the same place


@dataclass(frozen=True)
class ViewGeometry:
    """N rendered views of a mesh; everything is in the object-normalised frame."""

    depth: np.ndarray  # [N, H, W] float32 z-depth; 0 where the view shows no surface
    coverage: np.ndarray  # [N, H, W] float32 in [0, 1]: share of the pixel that the mesh covers
    normals: np.ndarray  # [N, H, W, 3] float32 unit, camera axes; 0 where there is no surface
    triangles: np.ndarray  # [N, H, W] int32; −1 where there is no surface
    barycentric: np.ndarray  # [N, H, W, 3] float32 weights of the triangle's corners

    @property
    def shown(self) -> np.ndarray:
        """[N, H, W] bool: pixels whose centre shows the mesh."""
        return self.depth > 0

    def values(self, mesh: TriangleMesh, per_vertex: np.ndarray) -> np.ndarray:
        """[N, H, W, ...] float32: `per_vertex` [V, ...] at the pixels; 0 where there is no surface."""
        corners = per_vertex[mesh.triangles[np.maximum(self.triangles, 0)]].astype(np.float32)
        weights = self.barycentric.reshape(*self.barycentric.shape, *[1] * (corners.ndim - 4))
        values = (weights * corners).sum(axis=3)
        shown = self.shown.reshape(*self.shown.shape, *[1] * (values.ndim - 3))
        return np.where(shown, values, np.float32(0))


def ray_scene(mesh: TriangleMesh):
    """Open3D's ray caster for a mesh, on one thread."""
    from instascene_core.geometry.open3d_loader import open3d

    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        open3d.core.Tensor(np.ascontiguousarray(mesh.vertices, dtype=np.float32)),
        open3d.core.Tensor(np.ascontiguousarray(mesh.triangles, dtype=np.uint32)),
    )
    return scene


def ring_rays(views: Ring, offset: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """[N, H, W, 6] float32 origins and directions (camera z = 1) in the frame.

    offset: pixels beside the centres, right and down.
    """
    local = views.camera.rays + np.array([offset[0] / views.camera.fx, offset[1] / views.camera.fy, 0.0])
    rays = np.empty((views.count, *local.shape[:2], 6), dtype=np.float32)
    rays[..., :3] = views.frame_from_camera[:, None, None, :3, 3]
    rays[..., 3:] = views.to_frame(local)
    return rays


def render_geometry(mesh: TriangleMesh, views: Ring) -> ViewGeometry:
    """Views of a mesh given in the object-normalised frame."""
    from instascene_core.geometry.open3d_loader import open3d

    scene = ray_scene(mesh)
    cast = scene.cast_rays(open3d.core.Tensor(ring_rays(views)), nthreads=1)
    depth = cast["t_hit"].numpy()
    shown = np.isfinite(depth)
    uv = cast["primitive_uvs"].numpy()
    normals = views.to_cameras(cast["primitive_normals"].numpy())
    # A closed body shows its outside: where a triangle is turned the wrong way, its normal is.
    away = (normals * views.camera.rays).sum(axis=-1) > 0
    normals = np.where(away[..., None], -normals, normals)
    coverage = np.zeros(depth.shape, dtype=np.float32)
    for offset in ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)):
        hidden = scene.test_occlusions(open3d.core.Tensor(ring_rays(views, offset)), nthreads=1)
        coverage += 0.25 * hidden.numpy()
    weights = np.concatenate([1 - uv.sum(axis=-1, keepdims=True), uv], axis=-1)
    return ViewGeometry(
        depth=np.where(shown, depth, 0).astype(np.float32),
        coverage=coverage,
        normals=np.where(shown[..., None], normals, 0).astype(np.float32),
        triangles=np.where(shown, cast["primitive_ids"].numpy().astype(np.int64), -1).astype(np.int32),
        barycentric=np.where(shown[..., None], weights, 0).astype(np.float32),
    )


@dataclass(frozen=True)
class Lookup:
    """For every cell of every view, the cells of neighbouring views that show the same place."""

    cells: np.ndarray  # [N, P, G] int64: index (view · P + cell) into all cells
    valid: np.ndarray  # [N, P, G] bool


def neighbour_lookup(depth: np.ndarray, views: Ring, cell: int) -> Lookup:
    """Where the places shown by cells of `cell` × `cell` pixels lie in the views of NEIGHBOURS.

    depth: [N, H, W] in the frame, 0 = none.  The ray of a cell's centre is followed to the cell's mean
    depth; a neighbouring view counts if it shows that place and not something in front of it.
    """
    count, side = len(depth), depth.shape[1] // cell
    blocks = depth.reshape(count, side, cell, side, cell)
    covered = (blocks > 0).sum(axis=(2, 4))
    mean = blocks.sum(axis=(2, 4)) / np.maximum(covered, 1)  # [N, side, side]
    coarse = Ring(views.camera.resized(side, side), views.frame_from_camera)
    points = coarse.points(mean).astype(np.float64).reshape(count, -1, 3)  # [N, P, 3]
    cells, valid = [], []
    for step in NEIGHBOURS:
        other = (np.arange(count) + step) % count
        inverted = inverse(views.frame_from_camera[other])
        local = np.einsum("nij,npj->npi", inverted[:, :3, :3], points) + inverted[:, None, :3, 3]
        pixels, z = coarse.camera.project(local)
        inside = ((pixels >= 0) & (pixels < side)).all(axis=-1)
        column, row = np.moveaxis(np.where(inside[..., None], pixels, 0).astype(int), -1, 0)
        there = mean[other[:, None], row, column]
        valid.append(inside & (np.abs(there - z) < SAME_PLACE) & (covered.reshape(count, -1) > 0))
        cells.append(other[:, None] * side * side + row * side + column)
    return Lookup(np.stack(cells, axis=-1), np.stack(valid, axis=-1))


def look_up(
    rgb: np.ndarray, depth: np.ndarray, pixels: np.ndarray, z: np.ndarray, same_place: float
) -> tuple[np.ndarray, np.ndarray]:
    """Colours [M, 3] of an image [H, W, 3] at `pixels` [M, 2], bilinear over those of the four pixels around
    whose depth [H, W] is within `same_place` of z [M], and the share of these [M] in [0, 1]."""
    height, width = depth.shape
    corner = np.floor(np.nan_to_num(pixels, nan=-9) - 0.5).astype(int)
    color, share = np.zeros((len(z), 3)), np.zeros(len(z))
    for du in (0, 1):
        for dv in (0, 1):
            u, v = corner[:, 0] + du, corner[:, 1] + dv
            inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
            u, v = np.where(inside, u, 0), np.where(inside, v, 0)
            part = np.clip(1 - np.abs(pixels[:, 0] - 0.5 - u), 0, 1)
            part = part * np.clip(1 - np.abs(pixels[:, 1] - 0.5 - v), 0, 1)
            near = inside & (depth[v, u] > 0) & (np.abs(depth[v, u] - z) < same_place)
            part = np.where(near, np.nan_to_num(part), 0)
            color += part[:, None] * rgb[v, u]
            share += part
    return color / np.maximum(share, 1e-9)[:, None], share

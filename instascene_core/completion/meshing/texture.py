"""Colours of the observed surface: the vertex colours that, seen from the views, look like the images.

Averaging what the views show at a vertex blurs print and mixes in what bleeds over borders.  Here
every target pixel is cast onto the mesh, and the vertex colours are those whose interpolation
reproduces the pixels best: a sparse, robust least-squares fit in which near, frontal views count
most and pixels that contradict the others count little.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.config.meshing import AppearanceConfig
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.tsdf import BORDER, TARGET, DepthView
from instascene_core.transforms import lengths

# Colours [N, 3] (0 … 255) at world points [N, 3]; NaN where none is known.
ColorLookup = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Samples:
    """Pixels that show the mesh."""

    triangles: np.ndarray  # [P] int64
    barycentric: np.ndarray  # [P, 3]
    weight: np.ndarray  # [P] > 0
    colors: np.ndarray  # [P, 3] float64, 0 … 255


def fit_colors(
    observation: Observation, mesh: TriangleMesh, config: AppearanceConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Colours [V, 3] float64 (0 … 255) of the vertices, and [V] bool: which ones some pixel shows."""
    samples = collect_samples(observation, mesh, config)
    seen = np.zeros(len(mesh.vertices))
    if len(samples.triangles) == 0:
        return np.zeros((len(mesh.vertices), 3)), seen > 0
    colors = fit_samples(mesh, samples, config)
    corners = mesh.triangles[samples.triangles]
    seen = np.bincount(corners.ravel(), (samples.barycentric * samples.weight[:, None]).ravel(), len(seen))
    return np.clip(colors, 0, 255), seen > config.min_weight


def collect_samples(observation: Observation, mesh: TriangleMesh, config: AppearanceConfig) -> Samples:
    """All pixels of all views that show the mesh."""
    from instascene_core.geometry.open3d_loader import open3d

    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        open3d.core.Tensor(np.ascontiguousarray(mesh.vertices, dtype=np.float32)),
        open3d.core.Tensor(np.ascontiguousarray(mesh.triangles, dtype=np.uint32)),
    )
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(lengths(normals), 1e-30)[:, None]
    reach = max(
        config.ray_voxels * observation.grid.voxel,
        config.ray_noise * observation.noise,
        config.ray_footprints * observation.pixel,
    )
    scale = observation.pixel
    parts = [_view_samples(scene, view, normals, reach, scale, config) for view in observation.views]
    triangles, barycentric, weight, colors = (np.concatenate(column) for column in zip(*parts))
    return Samples(triangles, barycentric, weight, colors)


def _view_samples(
    scene, view: DepthView, normals: np.ndarray, reach: float, scale: float, config: AppearanceConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Triangles [P], barycentric coordinates [P, 3], weights [P] and colours [P, 3] of a view's pixels.

    reach: metres between mesh and measured depth.  scale: a pixel's footprint, metres, that has weight 1.
    """
    from instascene_core.geometry.open3d_loader import open3d

    pixels = np.flatnonzero((view.what == TARGET) | (view.what == BORDER))
    rays = view.camera.rays.reshape(-1, 3)[pixels]  # z = 1, so the hit distance is the depth
    directions = rays @ view.world_from_camera[:3, :3].T
    origin = np.broadcast_to(view.world_from_camera[:3, 3], directions.shape)
    cast = scene.cast_rays(open3d.core.Tensor(np.concatenate([origin, directions], 1).astype(np.float32)))
    depth = cast["t_hit"].numpy()
    hit = np.abs(depth - view.depth.ravel()[pixels]) < reach  # inf where nothing was hit
    pixels, triangles = pixels[hit], cast["primitive_ids"].numpy()[hit].astype(np.int64)
    directions, depth = directions[hit], depth[hit]
    uv = cast["primitive_uvs"].numpy()[hit].astype(np.float64)
    cosine = -np.einsum("pc,pc->p", normals[triangles], directions) / lengths(directions)
    footprint = depth / view.camera.fx
    weight = np.clip(cosine, config.min_cosine, 1) ** 2 * (scale / footprint) ** 2
    # At a border the pixel mixes two things; it counts only where nothing better is known.
    weight = weight * np.where(view.what.ravel()[pixels] == TARGET, 1.0, config.border_weight)
    barycentric = np.stack([1 - uv.sum(axis=1), uv[:, 0], uv[:, 1]], axis=1)
    return triangles, barycentric, weight, view.rgb.reshape(-1, 3)[pixels].astype(np.float64)


def fit_samples(mesh: TriangleMesh, samples: Samples, config: AppearanceConfig) -> np.ndarray:
    """[V, 3] colours: least squares over the pixels, re-weighted by their residuals (Cauchy)."""
    from scipy.sparse import coo_matrix, diags

    size, count = len(mesh.vertices), len(samples.triangles)
    rows = np.repeat(np.arange(count), 3)
    corners = mesh.triangles[samples.triangles].ravel()
    matrix = coo_matrix((samples.barycentric.ravel(), (rows, corners)), shape=(count, size)).tocsr()
    smooth = _laplacian(mesh)
    colors = np.full((size, 3), np.average(samples.colors, axis=0, weights=samples.weight))
    weight = samples.weight
    for _ in range(config.fit_rounds):
        weighted = matrix.T @ diags(weight)
        normal = (weighted @ matrix).tocsr()
        typical = float(np.median(normal.diagonal()[normal.diagonal() > 0]))
        normal = normal + config.fit_smoothness * min(1.0, typical) * smooth + diags(np.full(size, 1e-6))
        colors = _conjugate_gradients(normal, weighted @ samples.colors + 1e-6 * colors, colors)
        residual = lengths(matrix @ colors - samples.colors)
        scale = max(config.fit_min_residual, config.fit_residuals * float(np.median(residual)))
        weight = samples.weight / (1 + (residual / scale) ** 2)
    return colors


def _laplacian(mesh: TriangleMesh):
    """[V, V] sparse graph Laplacian of the mesh's edges, normalised to a diagonal of about 1."""
    from scipy.sparse import coo_matrix, diags

    pairs, _ = meshes.edges(mesh)
    size = len(mesh.vertices)
    ones = np.full(len(pairs), 1 / 6)
    adjacency = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    adjacency = (adjacency + adjacency.T).tocsr()
    return diags(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency


def _conjugate_gradients(matrix, right: np.ndarray, start: np.ndarray, steps: int = 40) -> np.ndarray:
    """Solution [V, 3] of matrix · x = right, all columns at once, Jacobi-preconditioned."""
    inverse_diagonal = 1 / np.maximum(matrix.diagonal(), 1e-12)[:, None]
    x = start.copy()
    residual = right - matrix @ x
    z = inverse_diagonal * residual
    direction, rho = z.copy(), (residual * z).sum(axis=0)
    goal = 1e-6 * np.maximum((right * inverse_diagonal * right).sum(axis=0), 1e-30)
    for _ in range(steps):
        if (rho <= goal).all():
            break
        product = matrix @ direction
        step = rho / np.maximum((direction * product).sum(axis=0), 1e-30)
        x += step * direction
        residual -= step * product
        z = inverse_diagonal * residual
        rho, previous = (residual * z).sum(axis=0), rho
        direction = z + rho / np.maximum(previous, 1e-30) * direction
    return x


def refine_for_colors(
    observation: Observation, mesh: TriangleMesh, max_triangles: int, config: AppearanceConfig
) -> TriangleMesh:
    """The same surface with edges halved where the colour along them is not linear.

    No edge becomes shorter than about a pixel's footprint; where the triangles do not suffice, the longest
    and worst edges go first.
    """
    colors = known_colors(observation, config)
    shortest = config.color_edge_footprints * observation.pixel
    return split_where_colors_bend(mesh, colors, shortest, max_triangles, config)


def split_where_colors_bend(
    mesh: TriangleMesh,
    colors: ColorLookup,
    shortest: float,
    max_triangles: int,
    config: AppearanceConfig,
) -> TriangleMesh:
    """The same surface with edges longer than `shortest` metres halved where the colour along them is not
    linear."""
    for _ in range(config.color_passes):
        left = (max_triangles - len(mesh.triangles)) // 2  # halving an edge adds two triangles
        if left < 1:
            break
        pairs, of_triangle = meshes.edges(mesh)
        a, b = mesh.vertices[pairs[:, 0]], mesh.vertices[pairs[:, 1]]
        length = lengths(b - a)
        error = np.zeros(len(pairs))
        long = np.flatnonzero(length > shortest)
        error[long] = _bend(colors, a[long], b[long])
        marked = error > config.color_tolerance
        if not marked.any():
            break
        # A triangle is halved at its longest edge first; so it does not become a needle.
        longest = of_triangle[np.arange(len(of_triangle)), np.argmax(length[of_triangle], axis=1)]
        worst = (error * length)[of_triangle].max(axis=1) * marked[of_triangle].any(axis=1)
        score = np.where(marked, error * length, 0.0)
        np.maximum.at(score, longest, worst)
        wanted = np.flatnonzero(score > 0)
        if len(wanted) > left:
            wanted = wanted[np.argsort(-score[wanted], kind="stable")[:left]]
        marked = np.zeros(len(pairs), dtype=bool)
        marked[wanted] = True
        mesh = meshes.split_edges(mesh, pairs, of_triangle, marked)
    return mesh


def known_colors(observation: Observation, config: AppearanceConfig) -> ColorLookup:
    """The fused colours of what was observed."""
    return _FusedColors(observation, config.color_known)


class _FusedColors:
    """Fused colours of the observation at any point near its surface."""

    def __init__(self, observation: Observation, least: float) -> None:
        """least: share of the voxels around a place that must have a colour."""
        known = (observation.volume.views > 0).astype(np.float32)
        color = observation.volume.color.astype(np.float32)
        self._grid, self._known, self._least = observation.grid, known, least
        self._color = [color[..., k] * known for k in range(3)]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """[N, 3] at world points [N, 3]; NaN where nothing was seen."""
        known = self._grid.sample(self._known, points)
        with np.errstate(invalid="ignore", divide="ignore"):
            color = np.stack([self._grid.sample(c, points) / known for c in self._color], axis=-1)
        return np.where(known[:, None] > self._least, color, np.nan)


def _bend(colors: ColorLookup, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N] largest deviation between the colour on the way from a to b [N, 3] and its interpolation."""
    start, end = colors(a), colors(b)
    worst = np.zeros(len(a))
    for t in (0.25, 0.5, 0.75):
        deviation = np.abs(colors(a + t * (b - a)) - (start + t * (end - start))).mean(axis=1)
        worst = np.fmax(worst, deviation)
    return worst

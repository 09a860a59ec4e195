"""Disks (2D Gaussians) on a completed surface, and the colours that they give it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from instascene_core.gaussians import GaussianModel, gaussians_from_points
from instascene_core.geometry import SurfacePoints, TriangleMesh

_OPACITY = 0.95  # to start with: the other side of a thin wall must not shine through
_OVERSAMPLE = 6  # points drawn on the surface for every disk that is wanted
_APART = 0.7  # of the spacing: nearer than that, one of two points goes
_FACING = 0.2  # least cosine between a disk's normal and that of the place it colours


def disks_on(
    mesh: TriangleMesh,
    spacing: float,
    most: int,
    colors: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> GaussianModel:
    """Disks about `spacing` apart on a mesh (units of the frame), farther where they would be more than
    `most`; colors: [N, 3] in [0, 1] of points [N, 3], to start with."""
    corners = mesh.vertices[mesh.triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = 0.5 * np.linalg.norm(cross, axis=1)
    spacing = max(spacing, float(np.sqrt(areas.sum() / most)))
    rng = np.random.default_rng(seed)
    count = int(np.ceil(_OVERSAMPLE * areas.sum() / spacing**2))
    # Systematic sampling: every part of the surface gets its share of the points.
    at = (np.arange(count) + rng.random()) / count * areas.sum()
    chosen = np.minimum(np.searchsorted(np.cumsum(areas), at), len(areas) - 1)
    a, b = rng.random((2, count, 1))
    fold = a + b > 1
    a, b = np.where(fold, 1 - a, a), np.where(fold, 1 - b, b)
    corner = corners[chosen]
    points = corner[:, 0] + a * (corner[:, 1] - corner[:, 0]) + b * (corner[:, 2] - corner[:, 0])
    normals = (cross / np.maximum(2 * areas, 1e-30)[:, None])[chosen]
    kept = _thinned(points, normals, spacing)
    points, normals = points[kept], normals[kept]
    tints = np.clip(colors(points), 0, 1)
    surface = SurfacePoints(
        points.astype(np.float32),
        normals.astype(np.float32),
        colors=tints.astype(np.float32),
        footprints=np.full(len(points), spacing, np.float32),
    )
    model = gaussians_from_points(surface)
    # A disk has no sign of its own: turned half round its first axis where it faces inward, so that the two
    # sides of a thin wall are told apart.
    inward = torch.from_numpy((model.normals.numpy() * normals).sum(axis=1) < 0)
    w, x, y, z = model.quaternions.unbind(-1)
    turned = torch.stack([-x, w, z, -y], dim=-1)
    quaternions = torch.where(inward[:, None], turned, model.quaternions)
    opacities = torch.full((len(points),), float(np.log(_OPACITY / (1 - _OPACITY))))
    return replace(model, quaternions=quaternions, logit_opacities=opacities)


def _thinned(points: np.ndarray, normals: np.ndarray, spacing: float) -> np.ndarray:
    """Indices of points [N, 3] no two of which that face the same way are nearer than _APART · `spacing`."""
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
    pairs = tree.query_pairs(_APART * spacing, output_type="ndarray")
    pairs = pairs[np.einsum("pc,pc->p", normals[pairs[:, 0]], normals[pairs[:, 1]]) > 0]
    order = np.lexsort((pairs[:, 0], pairs[:, 1]))
    later, earlier = pairs[order, 1], pairs[order, 0]
    starts = np.searchsorted(later, np.arange(len(points) + 1))
    alive = np.ones(len(points), dtype=bool)
    for k in np.unique(later):  # the earlier point of a pair stays
        alive[k] = not alive[earlier[starts[k] : starts[k + 1]]].any()
    return np.flatnonzero(alive)


def colors_at(model: GaussianModel, points: np.ndarray, normals: np.ndarray, neighbours: int) -> np.ndarray:
    """[N, 3] in [0, 1] at `points` [N, 3] with `normals` [N, 3] (frame): what a ray onto the surface there
    meets, the disks' colours mixed by opacity and Gaussian weight.

    neighbours: nearest disks that are mixed.
    """
    from scipy.spatial import cKDTree

    means, rotations = model.means.numpy().astype(np.float64), model.rotations.numpy().astype(np.float64)
    count = min(neighbours, len(means))
    _, index = cKDTree(means).query(points, k=count)
    index = index.reshape(len(points), count)
    offset = points[:, None] - means[index]
    # Along the ray: where the normal through the point meets the disk's plane.
    facing = np.einsum("nkc,nc->nk", rotations[index][..., 2], normals)
    along = np.einsum("nkc,nkc->nk", rotations[index][..., 2], offset)
    hit = offset - (along / np.where(facing > _FACING, facing, np.inf))[..., None] * normals[:, None]
    scales = model.scales.numpy().astype(np.float64)[index]
    u = np.einsum("nkc,nkc->nk", rotations[index][..., 0], hit) / scales[..., 0]
    v = np.einsum("nkc,nkc->nk", rotations[index][..., 1], hit) / scales[..., 1]
    weight = model.opacities.numpy().astype(np.float64)[index] * np.exp(-0.5 * (u**2 + v**2))
    weight = weight * (facing > _FACING) + 1e-9 * np.exp(-np.linalg.norm(offset, axis=-1))
    weight /= weight.sum(axis=1, keepdims=True)
    colors = model.base_colors.numpy().astype(np.float64)
    return np.clip(np.einsum("nk,nkc->nc", weight, colors[index]), 0, 1)

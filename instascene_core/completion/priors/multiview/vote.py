"""Generated depth as a vote in the field of the unseen: it moves the guessed surface, as it is sure."""

import numpy as np

from instascene_core.completion.priors.multiview.ring import ObjectFrame, Ring
from instascene_core.completion.priors.multiview.views import ViewGeometry
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.geometry.tsdf import VoxelGrid
from instascene_core.transforms import apply, inverse

BAND = 4.0  # voxels to both sides of the guessed surface within which the field is moved
FARTHEST = 3.0  # voxels that the surface is moved at most


def moved_by_depth(
    field: np.ndarray,
    grid: VoxelGrid,
    frame: ObjectFrame,
    ring: Ring,
    geometry: ViewGeometry,
    depth: np.ndarray,
    spread: np.ndarray,
    config: MultiviewConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """The field [nx, ny, nz] (metres, negative inside) with the surface moved toward generated depth, and how
    unsure of its place the seeds are [nx, ny, nz] (metres, 0 where no view shows it).

    geometry: the ring's views of the field's surface; depth, spread: [N, H, W] units of the frame, mean of
    the generated depths (0 = none) and their standard deviation over seeds.  A view that shows the surface
    with normal n along the ray r (z = 1) Δ deeper than it lies moves it by −Δ (n · r): so far is added to the
    distances nearby, times `config.depth_vote` and 1 / (1 + (spread / vote_spread)²), mean of the views
    weighted by that and by the cosine.
    """
    near = np.asarray(np.abs(field) < BAND * grid.voxel)
    points = frame.from_world(grid.centers()[near])
    reach = BAND * grid.voxel / frame.radius
    slope = -(geometry.normals * ring.camera.rays).sum(axis=-1)
    cosine = slope / np.linalg.norm(ring.camera.rays, axis=-1)
    size = (ring.camera.width, ring.camera.height)
    total, sure, shown, doubt = np.zeros((4, len(points)))
    for k, pose in enumerate(ring.frame_from_camera):
        pixels, z = ring.camera.project(apply(inverse(pose), points))
        inside = np.asarray(((pixels >= 0) & (pixels < size)).all(axis=1))
        u, v = np.where(inside[:, None], pixels, 0).astype(int).T
        own, made = geometry.depth[k, v, u], depth[k, v, u]
        counts = inside & (own > 0) & (made > 0) & (np.abs(own - z) < reach)
        weight = np.where(counts & (cosine[k, v, u] > config.paint_cosine), cosine[k, v, u], 0)
        trust = weight / (1 + (spread[k, v, u] / config.vote_spread) ** 2)
        total += trust * (made - own) * slope[k, v, u]
        sure += trust
        shown += weight
        doubt += weight * (spread[k, v, u] * slope[k, v, u]) ** 2
    share = sure / np.maximum(shown, 1e-9)  # of the views' say, after their doubt
    move = frame.radius * share * total / np.maximum(sure, 1e-9)
    moved, unsure = field.copy(), np.zeros(field.shape, np.float32)
    moved[near] += config.depth_vote * np.clip(move, -FARTHEST * grid.voxel, FARTHEST * grid.voxel)
    unsure[near] = frame.radius * np.sqrt(doubt / np.maximum(shown, 1e-9))
    return moved.astype(np.float32), unsure

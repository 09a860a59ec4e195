"""Known pixels: what observed images show of the places that the ring's views show, warped there by depth.

Every pixel of the views to be generated is followed to the surface and from there into an observed image
(backward, so that nothing is torn or covered twice).  What it finds counts where the image shows the object
at that depth, not something in front of it, and the surface does not face away or graze (InstaScene,
geometry-aware warping).
"""

from collections.abc import Sequence

import numpy as np

from instascene_core.completion.priors.multiview.inputs import Known
from instascene_core.completion.priors.multiview.ring import ObjectFrame, Ring
from instascene_core.completion.priors.multiview.views import ViewGeometry, ray_scene
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.tsdf import NOTHING, TARGET, DepthView
from instascene_core.transforms import apply, inverse


def warp_views(
    observed: Sequence[DepthView],
    geometry: ViewGeometry,
    ring: Ring,
    frame: ObjectFrame,
    noise: float,
    config: MultiviewConfig,
) -> list[Known]:
    """What each observed view knows of the pixels of the ring's views; noise: metres, of one reading."""
    shown = geometry.shown
    world = frame.world_from_frame
    points = frame.to_world(ring.points(geometry.depth)[shown].astype(np.float64))
    normals = ring.to_frame(geometry.normals)[shown].astype(np.float64) @ world[:3, :3].T
    footprint = geometry.depth[shown] * frame.radius / ring.camera.fx  # metres a pixel of the ring covers
    found = []
    for view in observed:
        rgb, weight = _look_up(view, points, normals, footprint, frame.radius, noise, config)
        images = np.zeros((*shown.shape, 3), np.float32), np.zeros(shown.shape, np.float32)
        images[0][shown], images[1][shown] = rgb, weight
        found.append(Known(*images))
    return found


def _look_up(
    view: DepthView,
    points: np.ndarray,
    normals: np.ndarray,
    footprint: np.ndarray,
    radius: float,
    noise: float,
    config: MultiviewConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """Colours [M, 3] in [0, 1] and weights [M] at world points [M, 3] with normals [M, 3]."""
    camera = view.camera
    pixels, z = camera.project(apply(inverse(view.world_from_camera), points))
    with np.errstate(invalid="ignore"):
        inside = (z > 0) & (pixels >= 0).all(axis=1) & (pixels < (camera.width, camera.height)).all(axis=1)
    column, row = np.where(inside[:, None], pixels, 0).astype(int).T
    toward = view.world_from_camera[:3, 3] - points
    cosine = np.einsum("mc,mc->m", toward, normals) / np.maximum(np.linalg.norm(toward, axis=1), 1e-9)
    near = np.abs(view.depth[row, column] - z) < config.same_depth * radius + 3 * noise
    valid = inside & near & (view.what[row, column] == TARGET) & (cosine > config.min_cosine)
    weight = np.where(valid, np.clip(cosine, 0, 1) ** 2, 0)
    if view.weight is not None:
        weight = weight * view.weight[row, column]
    if not valid.any():
        return np.zeros((len(points), 3), np.float32), weight.astype(np.float32)
    finer = float(
        np.median(footprint[valid] * camera.fx / z[valid])
    )  # pixels of the image in one of the ring
    rgb, share = _sample(view, np.where(valid[:, None], pixels, 0), max(1, int(finer)))
    # Farther away, or coarser than the pixel that asks, an image tells less.
    weight = weight * (share > 0.5) * min(1.0, finer) ** 2
    return rgb, weight.astype(np.float32)


def _sample(view: DepthView, pixels: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours [M, 3] in [0, 1] at pixels [M, 2] of the image averaged over `factor` × `factor` of the
    object's pixels, and the object's share there [M]."""
    import cv2

    mask = (view.what == TARGET).astype(np.float32)
    size = (max(1, view.camera.width // factor), max(1, view.camera.height // factor))
    share = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    color = cv2.resize(view.rgb * (mask[..., None] / np.float32(255)), size, interpolation=cv2.INTER_AREA)
    scale = np.array(size) / (view.camera.width, view.camera.height)
    u, v = (pixels * scale - 0.5).astype(np.float32).T  # OpenCV's pixel centres
    rows = -(-len(u) // 4096)  # cv2.remap takes maps of two dimensions, of no more than 32767 columns
    maps = np.zeros((2, rows * 4096), np.float32)
    maps[:, : len(u)] = u, v
    maps = maps.reshape(2, rows, 4096)
    both = np.concatenate([color, share[..., None]], axis=-1)
    both = cv2.remap(both, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    both = both.reshape(-1, 4)[: len(u)]
    return both[:, :3] / np.maximum(both[:, 3:], 1e-6), both[:, 3]


def is_unoccluded(
    view: DepthView, body: TriangleMesh, same_depth: float, required: float, side: int = 64
) -> bool:
    """Whether an observed view shows enough of a body (world): by the paper's rule, of the pixels that show
    the body alone at least `required` lie within `same_depth` metres of it in the whole scene, as measured.

    A view whose image the body leaves counts by the part inside.
    """
    from instascene_core.geometry.open3d_loader import open3d

    factor = min(1.0, side / max(view.camera.width, view.camera.height))
    camera = view.camera.scaled(factor)
    directions = camera.rays @ view.world_from_camera[:3, :3].T
    rays = np.concatenate([np.broadcast_to(view.world_from_camera[:3, 3], directions.shape), directions], -1)
    cast = ray_scene(body).cast_rays(open3d.core.Tensor(rays.astype(np.float32)), nthreads=1)
    alone = cast["t_hit"].numpy()
    v = np.minimum(((np.arange(camera.height) + 0.5) / factor).astype(int), view.camera.height - 1)
    u = np.minimum(((np.arange(camera.width) + 0.5) / factor).astype(int), view.camera.width - 1)
    measured, what = view.depth[np.ix_(v, u)], view.what[np.ix_(v, u)]
    shown = np.isfinite(alone) & (what != NOTHING)
    if not shown.any():
        return False
    return float((measured >= alone - same_depth)[shown].mean()) >= required

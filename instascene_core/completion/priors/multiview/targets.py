"""What the joint optimisation is to reproduce: images of the object, observed and generated, in its frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.completion.priors.multiview.inputs import GeneratedViews
from instascene_core.completion.priors.multiview.ring import ObjectFrame, Ring
from instascene_core.completion.priors.multiview.views import ViewGeometry, ray_scene
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.tsdf import TARGET, DepthView
from instascene_core.transforms import inverse

MARGIN = 3  # pixels around the object in a cut-out
HELD_BLOCK = 2  # pixels, side of the squares that are held out together
FULL = 0.98  # share of a pixel from which it shows the object alone


@dataclass(frozen=True)
class Target:
    """One image; everything is in the object-normalised frame."""

    camera: PinholeCamera
    frame_from_camera: np.ndarray  # [4, 4] rigid
    rgb: np.ndarray  # [H, W, 3] float32 in [0, 1]
    weight: np.ndarray  # [H, W] float32 in [0, 1]: how much a pixel's colour counts
    held: np.ndarray  # [H, W] bool: of these, held out from the optimisation
    depth: np.ndarray  # [H, W] float32 z of the completed surface that the pixel shows; 0 = does not guide
    normals: np.ndarray  # [H, W, 3] float32 unit, frame axes, toward the camera
    coverage: np.ndarray | None  # [H, W] float32 in [0, 1] of the object; None where others stand before it
    observed: bool


def held_out(shape: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """[H, W] bool: squares of HELD_BLOCK pixels, about `share` of them."""
    blocks = rng.random((-(-shape[0] // HELD_BLOCK), -(-shape[1] // HELD_BLOCK))) < share
    return np.repeat(np.repeat(blocks, HELD_BLOCK, 0), HELD_BLOCK, 1)[: shape[0], : shape[1]]


def generated_targets(
    views: Ring,
    geometry: ViewGeometry,
    generated: GeneratedViews,
    confidence: np.ndarray,
    share: float,
    rng: np.random.Generator,
) -> list[Target]:
    """The N generated views; confidence: [N, H, W] in [0, 1], 0 where an observed view knows the pixel."""
    normals = views.to_frame(geometry.normals)
    full = (geometry.coverage > FULL) & geometry.shown
    return [
        Target(
            camera=views.camera,
            frame_from_camera=views.frame_from_camera[k],
            rgb=generated.rgb[k],
            weight=np.where(full[k], confidence[k], 0).astype(np.float32),
            held=held_out(full[k].shape, share, rng),
            depth=np.where(full[k], geometry.depth[k], 0).astype(np.float32),
            normals=normals[k],
            coverage=geometry.coverage[k],
            observed=False,
        )
        for k in range(views.count)
    ]


def observed_targets(
    observed: Sequence[DepthView],
    mesh: TriangleMesh,
    frame: ObjectFrame,
    side: int,
    same_depth: float,
    share: float,
    rng: np.random.Generator,
) -> list[Target]:
    """Cut-outs of the observed views, their longer side at most `side` pixels; views without the object are
    left out.

    mesh: completed, in the frame; same_depth: units of the frame, between it and what was measured, for a
    pixel to show the object's surface.
    """
    found = []
    scene = ray_scene(mesh)
    for view in observed:
        target = _cut_out(view, scene, frame, side, same_depth, share, rng)
        if target is not None:
            found.append(target)
    return found


def _cut_out(view: DepthView, scene, frame, side, same_depth, share, rng) -> Target | None:
    import cv2

    from instascene_core.geometry.open3d_loader import open3d

    rows, columns = np.nonzero(view.what == TARGET)
    if not len(rows):
        return None
    height, width = view.what.shape
    low = np.maximum([columns.min() - MARGIN, rows.min() - MARGIN], 0)
    high = np.minimum([columns.max() + 1 + MARGIN, rows.max() + 1 + MARGIN], [width, height])
    cut = view.cropped((*low.tolist(), *high.tolist()))
    factor = min(1.0, side / max(cut.camera.width, cut.camera.height))
    camera = cut.camera.scaled(factor)
    size = (camera.width, camera.height)
    mask = (cut.what == TARGET).astype(np.float32)
    solid = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    rgb = cv2.resize(cut.rgb * (mask[..., None] / np.float32(255)), size, interpolation=cv2.INTER_AREA)
    depth = cv2.resize(cut.depth * mask, size, interpolation=cv2.INTER_AREA)
    rgb, depth = rgb / np.maximum(solid, 1e-6)[..., None], depth / np.maximum(solid, 1e-6)
    pose = inverse(frame.world_from_frame) @ view.world_from_camera
    pose[:3, 3] /= frame.radius
    directions = camera.rays @ pose[:3, :3].T
    rays = np.concatenate([np.broadcast_to(pose[:3, 3], directions.shape), directions], axis=-1)
    cast = scene.cast_rays(open3d.core.Tensor(rays.astype(np.float32)), nthreads=1)
    hit = cast["t_hit"].numpy()
    normals = cast["primitive_normals"].numpy()
    normals = np.where((normals * directions).sum(-1, keepdims=True) > 0, -normals, normals)
    near = np.isfinite(hit) & (np.abs(hit - depth / frame.radius) < same_depth)
    shows = near & (solid > FULL)
    return Target(
        camera=camera,
        frame_from_camera=pose,
        rgb=rgb.astype(np.float32),
        weight=shows.astype(np.float32),
        held=held_out(shows.shape, share, rng),
        depth=np.where(shows, hit, 0).astype(np.float32),
        normals=normals.astype(np.float32),
        coverage=None,
        observed=True,
    )

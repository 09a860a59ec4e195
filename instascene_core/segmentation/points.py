"""Surface points with normals from depth images, and the fused points of many frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.frame import Frame


@dataclass(frozen=True)
class SurfacePoints:
    """Points of all frames together, as evenly spread over the images as the frames allow."""

    positions: np.ndarray  # [K, 3] float32 metres, world frame
    normals: np.ndarray  # [K, 3] float32 unit, world frame, toward the camera that saw it
    world_from_camera: np.ndarray  # [F, 4, 4] of the frames used
    scale: float  # metres: median distance of the points from their cameras


def view_geometry(frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [H, W, 3], normals [H, W, 3] (camera frame, toward the camera), valid [H, W] bool.

    Central differences over two pixels each way on a lightly smoothed depth; pixels next to a depth
    step or a hole have no normal and are not valid.
    """
    import cv2

    inverse = inverse_depth(frame)
    measured = inverse > 0
    # Averaged in 1/z, where planes stay planes, over neighbours on the same surface only.
    scale = float(np.median(inverse[measured])) if measured.any() else 1.0
    smooth = cv2.bilateralFilter(inverse, 7, 0.02 * scale, 2.0)
    smooth = np.where(measured & (smooth > 0), smooth, 0)
    points = frame.camera.rays / np.maximum(smooth, 1e-9)[..., None]
    step = max(1, round(frame.camera.width / 160))
    left, right = _shift(points, 0, -step), _shift(points, 0, step)
    above, below = _shift(points, -step, 0), _shift(points, step, 0)
    normals = np.cross(below - above, right - left)
    length = np.linalg.norm(normals, axis=-1)
    normals /= np.maximum(length, 1e-12)[..., None]
    z = points[..., 2]
    # Curvature of 1/z along the two directions: zero on a plane at any slant, large at a step.
    bend = np.zeros_like(smooth)
    valid = measured & (length > 1e-12)
    for dy, dx in ((0, step), (step, 0)):
        ahead, back = _shift(smooth, dy, dx), _shift(smooth, -dy, -dx)
        valid &= (ahead > 0) & (back > 0)
        bend = np.maximum(bend, np.abs(ahead + back - 2 * smooth) / np.maximum(smooth, 1e-9))
    valid &= bend < 0.02
    margin = step + 3  # the smoothing mirrors the image at its border
    inner = np.zeros_like(valid)
    inner[margin:-margin, margin:-margin] = True
    valid &= inner
    # Grazing rays measure poorly.
    facing = -(normals * frame.camera.rays).sum(-1) / np.linalg.norm(frame.camera.rays, axis=-1)
    normals = np.where((facing < 0)[..., None], -normals, normals)
    valid &= (np.abs(facing) > 0.1) & (z > 0)
    return view_points(frame, inverse), normals.astype(np.float32), valid


def view_points(frame: Frame, inverse: np.ndarray | None = None) -> np.ndarray:
    """Points [H, W, 3] float32 in the camera frame, small holes closed; z = 0 where nothing is measured."""
    inverse = inverse_depth(frame) if inverse is None else inverse
    return frame.camera.back_project(np.where(inverse > 0, 1 / np.maximum(inverse, 1e-9), 0))


def inverse_depth(frame: Frame) -> np.ndarray:
    """1/z [H, W] float32, 0 where nothing is measured; small holes closed."""
    measured = (frame.depth > 0) & np.isfinite(frame.depth)
    depth = np.where(measured, frame.depth, 1.0)
    return _fill_small_holes(np.where(measured, 1 / np.maximum(depth, 1e-6), 0).astype(np.float32))


def _fill_small_holes(inverse: np.ndarray, relative: float = 0.03) -> np.ndarray:
    """1/z [H, W] with holes of a few pixels closed where all measured neighbours lie on one surface.

    Depth registered to a larger colour image comes with such holes in a regular pattern.
    """
    import cv2

    measured = inverse > 0
    window = np.ones((5, 5), dtype=np.uint8)
    highest = cv2.dilate(inverse, window)
    lowest = cv2.erode(np.where(measured, inverse, np.float32(np.inf)).astype(np.float32), window)
    count = cv2.boxFilter(measured.astype(np.float32), -1, (5, 5), normalize=False)
    total = cv2.boxFilter(inverse, -1, (5, 5), normalize=False)
    closed = ~measured & (count >= 5) & (highest - lowest <= relative * highest)
    return np.where(closed, total / np.maximum(count, 1), inverse).astype(np.float32)


def surface_points(frames: Sequence[Frame], count: int, max_frames: int = 40) -> SurfacePoints | None:
    """About `count` points over evenly chosen frames; None where no frame has depth."""
    usable = [f for f in frames if f.depth is not None and (f.depth > 0).any()]
    if not usable:
        return None
    chosen = [usable[i] for i in np.unique(np.linspace(0, len(usable) - 1, max_frames).round().astype(int))]
    generator = np.random.default_rng(0)
    positions, normals, distances = [], [], []
    for frame in chosen:
        points, directions, valid = view_geometry(frame)
        pick = np.flatnonzero(valid.ravel())
        pick = generator.choice(pick, min(len(pick), count // len(chosen) + 1), replace=False)
        rotation = frame.world_from_camera[:3, :3].astype(np.float32)
        here = points.reshape(-1, 3)[pick]
        positions.append(here @ rotation.T + frame.world_from_camera[:3, 3].astype(np.float32))
        normals.append(directions.reshape(-1, 3)[pick] @ rotation.T)
        distances.append(here[:, 2])
    positions = np.concatenate(positions)
    if len(positions) < 100:
        return None
    poses = np.stack([f.world_from_camera for f in chosen])
    return SurfacePoints(
        positions, np.concatenate(normals), poses, float(np.median(np.concatenate(distances)))
    )


def _shift(image: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """image[y + dy, x + dx], the border repeated."""
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) + dy, 0, height - 1)
    columns = np.clip(np.arange(width) + dx, 0, width - 1)
    return image[rows][:, columns]

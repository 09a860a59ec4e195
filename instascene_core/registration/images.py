"""All frames as stacks of images that residuals are looked up in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from instascene_core.frame import Frame

_EDGE = 0.06  # of the depth: neighbours farther apart are not on one surface
_STEEP = 0.15  # cosine to the line of sight below which a depth says little


@dataclass(frozen=True)
class Stack:
    """N views of one size [H, W]; smaller ones are padded with what has no measurement.  float32.

    Every pixel is one of the recording's, not a mean of several: only so do depth and colour stay where they
    were measured.  Larger images are thinned out.
    """

    gray: torch.Tensor  # [N, H, W] 0 … 1, smoothed
    depth: torch.Tensor  # [N, H, W] metres, 0 = none, or none to trust: edges, grazing sight, outside `valid`
    normals: torch.Tensor  # [N, H, W, 3] in the camera's axes; 0 where depth is 0
    intrinsics: torch.Tensor  # [N, 4] fx, fy, cx, cy of the thinned images, pixel centres at +0.5

    def __len__(self) -> int:
        return len(self.gray)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.gray.shape[1], self.gray.shape[2]


def stack(frames: Sequence[Frame], smoothing: float, max_pixels: int) -> Stack:
    """The frames (all with depth), colours smoothed by `smoothing` pixels of the thinned images."""
    thinned = [_thinned_depth(frame, max_pixels) for frame in frames]
    height, width = np.max([depth.shape for depth, _ in thinned], axis=0)
    depths = np.zeros((len(frames), height, width), np.float32)
    normals, intrinsics = np.zeros((*depths.shape, 3), np.float32), np.zeros((len(frames), 4), np.float32)
    for i, (depth, camera) in enumerate(thinned):
        h, w = depth.shape
        normals[i, :h, :w], trusted = _normals(depth, camera)
        depths[i, :h, :w], intrinsics[i] = np.where(trusted, depth, 0.0), camera
    images = Stack(torch.zeros(depths.shape), *map(torch.from_numpy, (depths, normals, intrinsics)))
    return with_smoothing(images, frames, smoothing, max_pixels)


def with_smoothing(images: Stack, frames: Sequence[Frame], smoothing: float, max_pixels: int) -> Stack:
    """`images`, the stack of `frames`, with colours smoothed otherwise."""
    import cv2

    grays = np.zeros(images.gray.shape, np.float32)
    for i, frame in enumerate(frames):
        step = _step(frame, max_pixels)
        gray = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
        gray = cv2.GaussianBlur(gray, (0, 0), smoothing * step)[step // 2 :: step, step // 2 :: step]
        grays[i, : gray.shape[0], : gray.shape[1]] = gray
    return replace(images, gray=torch.from_numpy(grays))


def _step(frame: Frame, max_pixels: int) -> int:
    """Every how manyth pixel is taken."""
    return max(1, int(np.ceil(np.sqrt(frame.camera.width * frame.camera.height / max_pixels) - 1e-6)))


def _thinned_depth(frame: Frame, max_pixels: int) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Depth [h, w] and fx, fy, cx, cy of the thinned image."""
    camera, step = frame.camera, _step(frame, max_pixels)
    first = step // 2
    depth = frame.require_depth()
    if frame.valid is not None:
        depth = np.where(frame.valid, depth, np.float32(0))
    cx, cy = ((c - first - 0.5) / step + 0.5 for c in (camera.cx, camera.cy))
    return depth[first::step, first::step], (camera.fx / step, camera.fy / step, cx, cy)


def _normals(depth: np.ndarray, camera: tuple[float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals [h, w, 3] toward the camera, and where [h, w] they and the depth can be trusted."""
    import cv2

    fx, fy, cx, cy = camera
    height, width = depth.shape
    x, y = np.meshgrid((np.arange(width) + 0.5 - cx) / fx, (np.arange(height) + 0.5 - cy) / fy)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float32)
    # Means over 3×3 pixels: a single pixel's noise would tilt the normal.
    points = cv2.blur(rays * depth[..., None], (3, 3))
    along, down = np.zeros_like(points), np.zeros_like(points)
    along[:, 2:-2] = points[:, 4:] - points[:, :-4]
    down[2:-2] = points[4:] - points[:-4]
    normals = np.cross(down, along)
    length = np.linalg.norm(normals, axis=-1)
    normals /= np.maximum(length, 1e-12)[..., None]
    known = depth > 0
    around = np.ones((7, 7), np.uint8)
    whole = cv2.erode(known.astype(np.uint8), around, borderValue=0) > 0
    far = cv2.dilate(depth, around)
    near = -cv2.dilate(-np.where(known, depth, np.float32(1e6)), around)
    sight = np.abs((normals * rays).sum(axis=-1)) / np.linalg.norm(rays, axis=-1)
    trusted = whole & (far - near < 2 * _EDGE * depth) & (sight > _STEEP) & (length > 0)
    return normals * trusted[..., None], trusted

"""Small copies of some frames: what the check looks at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.frame import Frame

MAX_VIEWS = 14
POINTS = 300  # pixels with depth taken from a view, spread evenly
WIDTH = 160  # pixels of a small depth image: enough to see a wrong hypothesis, quick to warp


@dataclass(frozen=True)
class Views:
    """Views of a recording, depth at a small size."""

    indices: np.ndarray  # [V] int, place of the views among all frames
    f: np.ndarray  # [V, 2] focal lengths of the small images, pixels
    c: np.ndarray  # [V, 2] their principal points
    depths: np.ndarray  # [V, H, W] float32 metres, 0 = no measurement; images of other sizes padded
    rays: np.ndarray  # [V, P, 3] of sampled pixels, camera axes, z = 1
    z: np.ndarray  # [V, P] metres along the axis, 0 = no sample

    def thinned(self, step: int = 4) -> "Views":
        """With every n-th of the samples only."""
        return replace(self, rays=self.rays[:, ::step], z=self.z[:, ::step])

    @property
    def count(self) -> np.ndarray:
        """[V] sampled pixels that have depth."""
        return (self.z > 0).sum(axis=1)


def chosen(count: int, limit: int = MAX_VIEWS) -> np.ndarray:
    """Indices [≤ limit] of frames to look at: evenly spread, and each followed by its successor, as only
    neighbours are sure to see the same things."""
    if count <= limit:
        return np.arange(count)
    starts = np.round(np.linspace(0, count - 2, limit // 2)).astype(int)
    return np.unique(np.concatenate([starts, starts + 1]))


def depth_views(frames: Sequence[Frame], limit: int = MAX_VIEWS) -> Views:
    """Views of frames that all have depth."""
    indices = chosen(len(frames), limit)
    smalls = [_small(frames[i]) for i in indices]
    size = (max(d.shape[0] for _, d in smalls), max(d.shape[1] for _, d in smalls))
    depths = np.zeros((len(smalls), *size), np.float32)
    rays, z = np.zeros((len(smalls), POINTS, 3)), np.zeros((len(smalls), POINTS))
    rays[..., 2] = 1
    for k, (camera, depth) in enumerate(smalls):
        depths[k, : depth.shape[0], : depth.shape[1]] = depth
        rows, columns = np.nonzero(depth > 0)
        take = np.unique(np.linspace(0, len(rows) - 1, min(POINTS, len(rows))).astype(int))
        rows, columns = rows[take], columns[take]
        z[k, : len(take)] = depth[rows, columns]
        rays[k, : len(take), 0] = (columns + 0.5 - camera.cx) / camera.fx
        rays[k, : len(take), 1] = (rows + 0.5 - camera.cy) / camera.fy
    f = np.array([[camera.fx, camera.fy] for camera, _ in smalls], np.float32)
    c = np.array([[camera.cx, camera.cy] for camera, _ in smalls], np.float32)
    return Views(indices, f, c, depths, rays, z)


def _small(frame: Frame) -> tuple[PinholeCamera, np.ndarray]:
    """(camera, depth) of every n-th pixel, so that values of different surfaces never mix."""
    camera, depth = frame.camera, frame.require_depth()
    step = max(1, round(camera.width / WIDTH))
    start = step // 2
    small = depth[start::step, start::step]
    if frame.valid is not None:
        small = np.where(frame.valid[start::step, start::step], small, 0)
    # The centre of small pixel j is that of pixel start + j·step.
    cx = (camera.cx - start - 0.5) / step + 0.5
    cy = (camera.cy - start - 0.5) / step + 0.5
    return PinholeCamera(small.shape[1], small.shape[0], camera.fx / step, camera.fy / step, cx, cy), small

"""What stereo compares: grey images of several sizes, and which show the same from usefully far apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.frame import Frame
from instascene_core.stereo.triangulation import SparsePoints

OUTSIDE = -10_000.0  # grey value of no image: pulls any window's mean below zero

_MAX_PIXELS = 640 * 480  # of the finest image
_MIN_PIXELS = 12_000  # of the coarsest: small things vanish in smaller ones
_NUM_SOURCES = 4
_GOOD_ANGLE, _MAX_ANGLE = np.deg2rad(10), np.deg2rad(35)  # triangulation angles
_ENOUGH_POINTS = 20  # that a frame matched itself
_LEAST_SCORE = 0.05


@dataclass(frozen=True)
class StereoView:
    """A frame at one size."""

    camera: PinholeCamera
    world_from_camera: np.ndarray  # [4, 4]
    grey: np.ndarray  # [H, W] float32, 0 … 255; OUTSIDE where the image shows nothing

    def locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """World points [P, 3] → (pixels [P, 2], z [P] metres, inside the image [P] bool)."""
        pose = self.world_from_camera
        pixels, z = self.camera.project((positions - pose[:3, 3]) @ pose[:3, :3])
        with np.errstate(invalid="ignore"):
            u, v = pixels[..., 0], pixels[..., 1]  # `all` over an axis of two is slow
            inside = (u > 0) & (u < self.camera.width) & (v > 0) & (v < self.camera.height)
        return pixels, z, inside & (z > 0)


def pyramid(frame: Frame) -> list[StereoView]:
    """The frame at sizes that double, coarse to fine."""
    import cv2

    grey = frame.rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    if frame.valid is not None:
        grey[~frame.valid] = OUTSIDE
    factor = min(1.0, (_MAX_PIXELS / grey.size) ** 0.5)
    views: list[StereoView] = []
    while not views or factor**2 * grey.size >= _MIN_PIXELS:
        camera, image = frame.camera, grey
        if factor < 1:
            camera = camera.scaled(factor)
            image = cv2.resize(grey, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        views.append(StereoView(camera, frame.world_from_camera, np.ascontiguousarray(image)))
        factor /= 2
    return views[::-1]


def points_seen(view: StereoView, index: int, points: SparsePoints) -> np.ndarray:
    """[P, 3] points that frame `index` matched, or where those are few, all that fall into its image."""
    own = points.positions[points.observations[index]]
    return own if len(own) >= _ENOUGH_POINTS else points.positions[view.locate(points.positions)[2]]


def choose_sources(views: Sequence[StereoView], index: int, points: SparsePoints) -> list[int]:
    """Views that see the same points from usefully different directions, spread to several sides."""
    seen = points_seen(views[index], index, points)
    if len(seen) < 3:
        return []
    pose = views[index].world_from_camera
    center, forward = pose[:3, 3], pose[:3, 2]
    own = _unit(seen - center)
    scores, sides = {}, {}
    for j, other in enumerate(views):
        if j == index or forward @ other.world_from_camera[:3, 2] < np.cos(_MAX_ANGLE + np.deg2rad(10)):
            continue
        inside = other.locate(seen)[2]
        rays = _unit(seen - other.world_from_camera[:3, 3])
        angle = np.arccos(np.clip((own * rays).sum(-1), -1, 1))
        useful = np.minimum(angle / _GOOD_ANGLE, 1) * np.clip((_MAX_ANGLE - angle) / (_MAX_ANGLE / 2), 0, 1)
        scores[j] = float((useful * inside).mean())
        baseline = other.world_from_camera[:3, 3] - center
        sides[j] = baseline / max(np.linalg.norm(baseline), 1e-9)
    chosen: list[int] = []
    while scores and len(chosen) < _NUM_SOURCES:
        best = max(scores, key=scores.__getitem__)
        if scores.pop(best) < _LEAST_SCORE:
            break
        chosen.append(best)
        for j in scores:  # the next one rather from another side
            scores[j] *= 1 - 0.5 * max(0.0, float(sides[j] @ sides[best])) ** 2
    return chosen


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)

"""What each frame of a recording sees of the floor plan; frames are read one by one and let go."""

from dataclasses import dataclass

import numpy as np

from instascene_core.datasets import Dataset
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.transforms import apply

SAMPLES = 16  # rows and columns of pixels looked at in a frame


@dataclass(frozen=True, eq=False)
class Survey:
    """Frame by frame, in metres on the floor plane."""

    axes: np.ndarray  # [3, 2] float64: the floor's two directions in the world
    seen: tuple[np.ndarray, ...]  # per frame [K, 2] float32: where that lies which it shows

    @property
    def points(self) -> np.ndarray:
        """[N, 2] of all frames."""
        return np.concatenate([np.zeros((0, 2), np.float32), *self.seen])


def survey(
    dataset: Dataset, axes: np.ndarray, assumed_distance: float, progress: ProgressCallback = no_progress
) -> Survey:
    """Look at every frame once.  assumed_distance: metres to what a frame without depth shows."""
    seen = []
    for index, name in enumerate(dataset.names):
        progress("survey", index / len(dataset), name)
        seen.append(seen_points(dataset[index], axes, assumed_distance))
    progress("survey", 1.0, f"{len(dataset)} frames")
    return Survey(axes, tuple(seen))


def floor_axes(up: np.ndarray) -> np.ndarray:
    """[3, 2] float64 unit axes at right angles to `up` [3]; those of the world where up is z."""
    up = up / np.linalg.norm(up)
    side = np.array([1.0, 0.0, 0.0]) if abs(up[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    first = side - (side @ up) * up
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(up, first)], axis=1)


def seen_points(frame: Frame, axes: np.ndarray, assumed_distance: float) -> np.ndarray:
    """[K, 2] float32 metres on the floor plane: the surface that some pixels of a frame show."""
    camera = frame.camera
    rows = slice(None, None, max(1, camera.height // SAMPLES))
    columns = slice(None, None, max(1, camera.width // SAMPLES))
    rays = camera.rays[rows, columns]
    if frame.depth is None:
        rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
        depth = np.full(rays.shape[:2], assumed_distance, dtype=np.float32)
    else:
        depth = frame.depth[rows, columns]
    shown = depth > 0
    if frame.valid is not None:
        shown &= frame.valid[rows, columns]
    points = rays[shown].astype(np.float64) * depth[shown][:, None]
    return (apply(frame.world_from_camera, points) @ axes).astype(np.float32)

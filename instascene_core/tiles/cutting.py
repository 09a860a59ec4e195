"""Frames without what lies beyond a tile, so that a tile costs what lies in it."""

import numpy as np

from instascene_core.frame import Frame
from instascene_core.transforms import apply


def cut(frame: Frame, axes: np.ndarray, low: np.ndarray, high: np.ndarray) -> Frame:
    """The frame where pixels that show something beyond the corners `low`, `high` [2] metres on the floor
    plane (axes [3, 2]) do not count.  Pixels without depth stay."""
    if frame.depth is None:
        return frame
    points = apply(frame.world_from_camera, frame.camera.back_project(frame.depth).reshape(-1, 3))
    flat = points @ axes
    beyond = ((flat < low) | (flat > high)).any(axis=1).reshape(frame.depth.shape) & (frame.depth > 0)
    return frame.without(beyond) if beyond.any() else frame

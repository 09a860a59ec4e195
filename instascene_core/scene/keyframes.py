"""Which frames a scene can do without."""

from collections.abc import Sequence

import numpy as np

from instascene_core.frame import Frame


def most_redundant(frames: Sequence[Frame]) -> int:
    """Index of the frame that shows least of its own: of the two most alike, the one with the nearer next.

    Frames are alike when their cameras stand close, in units of all cameras' spread, and look the same way.
    At least two frames.
    """
    centers = np.stack([frame.world_from_camera[:3, 3] for frame in frames])  # [F, 3] metres
    forward = np.stack([frame.world_from_camera[:3, 2] for frame in frames])  # [F, 3] unit
    spread = max(float(np.linalg.norm(centers.std(axis=0))), 1e-9)
    views = np.concatenate([centers / spread, forward], axis=1)
    distances = np.linalg.norm(views[:, None] - views[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances, axis=1)  # [F, F], the last column is infinite
    closest = np.flatnonzero(nearest[:, 0] <= nearest[:, 0].min() * (1 + 1e-12))
    return int(closest[nearest[closest, 1].argmin()])

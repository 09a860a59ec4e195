"""Which depths several frames agree on, and their mean."""

from collections.abc import Mapping, Sequence

import numpy as np

from instascene_core.stereo.patches import DepthPlanes
from instascene_core.stereo.views import StereoView

_MAX_COST = 0.6  # 1 − NCC above which a pixel matches nothing
_AGREEMENT = 0.01  # relative depth difference at which two frames still see the same surface
_MIN_AGREEING = 2  # other frames


def agreed_depth(
    views: Sequence[StereoView], planes: Mapping[int, DepthPlanes], index: int, others: Sequence[int]
) -> np.ndarray:
    """Depth [H, W] float32 of frame `index`, averaged with the other frames' depths that agree; 0 where too
    few do."""
    view, own = views[index], planes[index]
    depth = np.zeros(own.cost.shape, np.float32)
    rows, columns = np.nonzero((own.inverse[0] > 0) & (own.cost < _MAX_COST) & (view.grey >= 0))
    z = 1 / own.inverse[0, rows, columns].astype(np.float64)
    pose = view.world_from_camera
    world = (view.camera.rays[rows, columns] * z[:, None]) @ pose[:3, :3].T + pose[:3, 3]
    total, agreeing = z.copy(), np.zeros(len(z), dtype=np.int64)
    for j in others:
        other = views[j]
        pixels, other_z, inside = other.locate(world)
        u, v = np.where(inside[:, None], pixels, 0).astype(np.int64).T
        inverse = planes[j].inverse[0, v, u].astype(np.float64)
        believed = inside & (inverse > 0) & (planes[j].cost[v, u] < _MAX_COST)
        found = 1 / np.where(believed, inverse, 1)
        relative = np.where(believed, (found - other_z) / np.maximum(other_z, 1e-9), np.inf)
        agree = np.abs(relative) < _AGREEMENT
        # The point slid along the other's ray to the depth found there, seen along this frame's axis.
        ray = other.camera.rays[v, u].astype(np.float64) @ other.world_from_camera[:3, :3].T
        total += np.where(agree, z + (found - other_z) * (ray @ pose[:3, 2]), 0)
        agreeing += agree
    enough = agreeing >= min(_MIN_AGREEING, max(1, len(others)))
    depth[rows[enough], columns[enough]] = (total / (1 + agreeing))[enough]
    return depth

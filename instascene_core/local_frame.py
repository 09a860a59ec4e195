"""Worlds far from the origin: where a scene's own frame lies in them.

Gaussians, volumes, GPU buffers and most files hold 32-bit numbers, of 24 significant bits: at a distance d
from the origin a coordinate is rounded by up to d · 2⁻²⁴.  In UTM coordinates (d = 7·10⁶ m) that is 0.4 m.
So a scene whose cameras are farther away than FARTHEST is computed in a local frame with the world's axes:

    world = local + offset        offset: [3] float64 metres, whole multiples of STEP; 0 for all other scenes

The difference of a pose's 64-bit coordinates and such an offset is exact.
"""

import numpy as np

TOLERANCE = 1e-4  # metres that rounding may cost: a tenth of a millimetre
ROUNDINGS = 10  # on the way from a pose to a vertex, all in the same direction at the worst
FARTHEST = TOLERANCE * 2**24 / ROUNDINGS  # 168 m
# Recordings of the same place get the same local frame where their first cameras are in the same cell of a
# grid of this size, and within it 32-bit numbers of up to 5 m are exact to 0.2 µm.
STEP = 10.0  # metres


def offset_for(position: np.ndarray) -> np.ndarray:
    """[3] float64 metres: the offset of a scene whose first camera is at `position` [3] of the world."""
    position = np.asarray(position, dtype=np.float64)
    if np.linalg.norm(position) <= FARTHEST:
        return np.zeros(3)
    return STEP * np.round(position / STEP)


def moved(pose: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The pose [4, 4] in a frame whose origin lies at −`offset` [3] metres, axes the same: +offset makes a
    world pose of a local one.  The very same pose where the offset is 0."""
    if not np.any(offset):
        return pose
    result = np.array(pose, dtype=np.float64)
    result[:3, 3] += offset
    return result

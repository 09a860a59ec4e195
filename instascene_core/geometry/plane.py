"""Small geometric facts shared by several steps."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Plane:
    """Points p with `normal · p = offset`; the normal is a unit vector toward the free side."""

    normal: np.ndarray  # [3] float64, unit length, world frame
    offset: float  # metres

    def height(self, points: np.ndarray) -> np.ndarray:
        """Signed distance [...] in metres of world points [..., 3], positive on the free side."""
        return points @ self.normal - self.offset

"""Points sampled on surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class SurfacePoints:
    """Points on surfaces, world frame; one row a point in every column that is there.

    Each step keeps the columns it needs: reconstruction `footprints` and `importances`, completion `view`
    and `support`.
    """

    positions: np.ndarray  # [N, 3] float, metres
    normals: np.ndarray  # [N, 3] float, unit, toward the camera that saw the point
    colors: np.ndarray | None = None  # [N, 3] float32 in [0, 1], or uint8
    view: np.ndarray | None = None  # [N] int32, index into the views
    support: np.ndarray | None = None  # [N] int32, views that agree on the point
    footprints: np.ndarray | None = None  # [N] float32 metres: what one pixel covers at that distance
    importances: np.ndarray | None = None  # [N] float32: share of the images, and their detail, it stands for

    def __len__(self) -> int:
        return len(self.positions)

    def select(self, index: np.ndarray) -> "SurfacePoints":
        """The points at `index` (integers or booleans)."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return SurfacePoints(**{n: None if c is None else c[index] for n, c in columns.items()})

    @classmethod
    def joined(cls, parts: "Sequence[SurfacePoints]") -> "SurfacePoints":
        """All points of `parts`, in order; only the columns that all of them have."""
        columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(cls)}
        return cls(
            **{n: None if any(c is None for c in cs) else np.concatenate(cs) for n, cs in columns.items()}
        )

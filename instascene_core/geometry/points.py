"""Points sampled on surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from instascene_core.errors import InputError


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

    def column(self, name: str) -> np.ndarray:
        """The column `name`; InputError where the points do not have it."""
        values = getattr(self, name)
        if values is None:
            raise InputError(f"These points have no {name}.")
        return values

    def select(self, index: np.ndarray) -> "SurfacePoints":
        """The points at `index` (integers or booleans)."""
        columns = {n: c[index] for n in _COLUMNS if (c := getattr(self, n)) is not None}
        return SurfacePoints(self.positions[index], self.normals[index], **columns)

    @classmethod
    def joined(cls, parts: "Sequence[SurfacePoints]") -> "SurfacePoints":
        """All points of `parts`, in order; only the columns that all of them have."""
        columns = {n: [getattr(part, n) for part in parts] for n in _COLUMNS}
        return cls(
            np.concatenate([part.positions for part in parts]),
            np.concatenate([part.normals for part in parts]),
            **{n: np.concatenate(cs) for n, cs in columns.items() if all(c is not None for c in cs)},
        )


_COLUMNS = tuple(f.name for f in fields(SurfacePoints) if f.name not in ("positions", "normals"))

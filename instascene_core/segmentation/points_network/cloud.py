"""What the network on points looks at: any coloured cloud with normals, or a scene's Gaussians."""

from dataclasses import dataclass, fields

import numpy as np
from scipy.spatial import cKDTree

from instascene_core.errors import InputError
from instascene_core.gaussians import GaussianModel


@dataclass(frozen=True)
class PointCloud:
    """N points in a world frame whose z points up; row i is one point in every array."""

    positions: np.ndarray  # [N, 3] float32, metres
    normals: np.ndarray  # [N, 3] float32, unit, outward
    colors: np.ndarray  # [N, 3] float32 RGB in [0, 1]
    opacities: np.ndarray  # [N] float32 in [0, 1]; 1 where nothing is known
    scales: np.ndarray  # [N] float32 metres: what a point stands for (its spacing, a disk's mean deviation)

    def __post_init__(self) -> None:
        count = len(self.positions)
        for entry in fields(self):
            values = getattr(self, entry.name)
            shape = (count,) if entry.name in ("opacities", "scales") else (count, 3)
            if values.shape != shape or values.dtype != np.float32:
                raise InputError(
                    f"Point {entry.name} are {values.dtype} of shape {values.shape}, not float32 of {shape}."
                )
            if not np.isfinite(values).all():
                raise InputError(f"Point {entry.name} contain NaN or infinity; remove those points.")

    def __len__(self) -> int:
        return len(self.positions)

    def select(self, index: np.ndarray) -> "PointCloud":
        """The points at `index` (integers or booleans)."""
        return PointCloud(**{entry.name: getattr(self, entry.name)[index] for entry in fields(self)})

    @classmethod
    def of_surface(
        cls, positions: np.ndarray, normals: np.ndarray, colors: np.ndarray, spacing: float
    ) -> "PointCloud":
        """Points `spacing` metres apart; colors [N, 3] RGB in [0, 1]."""
        count = len(positions)
        return cls(
            np.asarray(positions, np.float32), np.asarray(normals, np.float32),
            np.clip(colors, 0, 1).astype(np.float32),
            np.ones(count, np.float32), np.full(count, spacing, np.float32),
        )  # fmt: skip

    @classmethod
    def of_gaussians(
        cls, model: GaussianModel, eyes: np.ndarray, min_opacity: float
    ) -> "tuple[PointCloud, np.ndarray]":
        """(the disks' centres of at least that opacity, [N] int64 which Gaussians they are).

        eyes: [V, 3] where cameras were, metres, world.  A disk's normal has no side of its own: it is turned
        toward the nearest of them.
        """
        opacity = model.opacities.detach().cpu().numpy()
        kept = np.flatnonzero(opacity >= min_opacity)
        means, normals = model.means.detach().cpu().numpy()[kept], model.normals.detach().cpu().numpy()[kept]
        toward = eyes[cKDTree(eyes).query(means)[1]] - means
        away = (normals * toward).sum(axis=1, keepdims=True) < 0
        cloud = cls(
            means,
            np.where(away, -normals, normals),
            np.clip(model.base_colors.detach().cpu().numpy()[kept], 0, 1),
            opacity[kept],
            model.scales.mean(dim=1).detach().cpu().numpy()[kept],
        )
        return cloud, kept

"""What goes into the part network: points of one thing in the unit ball, and the truth where it is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from instascene_core.errors import InputError

UNKNOWN = -1  # semantic label of points that nobody has named; losses and scores leave them out


@dataclass(frozen=True)
class PartExample:
    """Points of one thing with their true parts, in the unit ball."""

    points: np.ndarray  # [N, 3] float32, |p| ≤ 1
    normals: np.ndarray  # [N, 3] float32, unit, outward
    semantic: np.ndarray  # [L, N] int64, UNKNOWN = −1
    instance: np.ndarray  # [L, N] int64
    instance_centre: np.ndarray  # [L, N, 3] float32, mean of the points of the point's instance
    region_centre: np.ndarray  # [L, N, 3] float32, mean of the points of the point's class

    @staticmethod
    def of(
        points: np.ndarray, normals: np.ndarray, semantic: np.ndarray, instance: np.ndarray
    ) -> "PartExample":
        """From points [N, 3] of any frame and size, normals [N, 3] of any length, labels [L, N]."""
        placed = in_unit_ball(points)
        unit = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        semantic, instance = semantic.astype(np.int64), instance.astype(np.int64)
        return PartExample(
            placed,
            unit.astype(np.float32),
            semantic,
            instance,
            np.stack([centres(placed, labels) for labels in instance]),
            np.stack([centres(placed, labels) for labels in semantic]),
        )


@dataclass(frozen=True)
class PartBatch:
    """Some things one after the other."""

    points: torch.Tensor  # [N, 3] float32
    normals: torch.Tensor  # [N, 3] float32
    counts: tuple[int, ...]  # points of each thing
    semantic: torch.Tensor  # [L, N] int64
    instance_centre: torch.Tensor  # [L, N, 3] float32
    region_centre: torch.Tensor  # [L, N, 3] float32

    def to(self, device: str | torch.device) -> "PartBatch":
        """The same on another device."""
        return PartBatch(
            self.points.to(device), self.normals.to(device), self.counts,
            self.semantic.to(device), self.instance_centre.to(device), self.region_centre.to(device),
        )  # fmt: skip


def in_unit_ball(points: np.ndarray) -> np.ndarray:
    """[N, 3] float32: the points' bounding box centred, its half diagonal 1.

    InputError where there are no points, one of them is not finite, or all are one.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points) or not np.isfinite(points).all():
        raise InputError(f"Parts need points [N, 3] of finite numbers; these have shape {points.shape}.")
    low, high = points.min(axis=0), points.max(axis=0)
    half = float(np.linalg.norm(high - low)) / 2
    if half < 1e-9:
        raise InputError("Parts need points that are not all one and the same.")
    return ((points - (low + high) / 2) / half).astype(np.float32)


def centres(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[N, 3] float32: of each point, the mean of the points [N, 3] that bear its label [N]."""
    _, group = np.unique(labels, return_inverse=True)
    count = np.bincount(group)
    mean = np.stack([np.bincount(group, points[:, k]) / count for k in range(3)], axis=1)
    return mean[group].astype(np.float32)


def batch_of(examples: Sequence[PartExample]) -> PartBatch:
    """Examples of the same levels as one batch."""
    return PartBatch(
        torch.from_numpy(np.concatenate([e.points for e in examples])),
        torch.from_numpy(np.concatenate([e.normals for e in examples])),
        tuple(len(e.points) for e in examples),
        torch.from_numpy(np.concatenate([e.semantic for e in examples], axis=1)),
        torch.from_numpy(np.concatenate([e.instance_centre for e in examples], axis=1)),
        torch.from_numpy(np.concatenate([e.region_centre for e in examples], axis=1)),
    )

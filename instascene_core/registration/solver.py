"""Gauss–Newton over all poses at once."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from instascene_core.registration.images import Stack
from instascene_core.registration.residuals import Residuals, Samples, residuals

_ROBUST = 3.0  # noise levels beyond which a residual loses its say (Geman and McClure)
_SETTLED = 3e-4  # of the prior's deviations: smaller steps end a level
_FEW = 30  # points below which a pair is not compared
_COLOR_FLOOR = 2e-3  # of 0 … 1
_GROUP = 128  # pairs at a time


@dataclass(frozen=True)
class Noise:
    """One standard deviation of both kinds of residual, of points on the same surface."""

    depth: float  # over depth²
    color: float

    @staticmethod
    def of(found: Residuals, depth_floor: float) -> "Noise":
        """By the median of what can be compared."""
        if not found.valid.any():
            return Noise(depth_floor, _COLOR_FLOOR)
        depth = 1.4826 * float((found.depth / found.noise)[found.valid].abs().median())
        color = 1.4826 * float(found.color[found.valid].abs().median())
        return Noise(max(depth, depth_floor), max(color, _COLOR_FLOOR))


def costs(found: Residuals, noise: Noise) -> torch.Tensor:
    """[M] mean robust cost of each pair's points; NaN where too few can be compared."""
    depth = _bounded((found.depth / (noise.depth * found.noise)) ** 2)
    color = _bounded((found.color / noise.color) ** 2)
    count = found.valid.sum(dim=1)
    total = ((depth + color) * found.valid).sum(dim=1) / count.clamp_min(1)
    return torch.where(count >= _FEW, total, torch.nan)


@dataclass(frozen=True)
class PosePrior:
    """The poses as given, and how far they are expected to be off (standard deviations)."""

    given: np.ndarray  # [N, 4, 4] world_from_camera
    shift: float  # metres
    turn: float  # radians

    @property
    def information(self) -> np.ndarray:
        """[6N] one over the variance of every unknown."""
        return np.tile(np.array([self.shift] * 3 + [self.turn] * 3) ** -2.0, len(self.given))


def solve(
    images: Stack,
    pairs: torch.Tensor,
    start: np.ndarray,
    prior: PosePrior,
    samples: Samples,
    noise_floor: float,
    rounds: int,
    independence: float,
) -> np.ndarray:
    """Poses [N, 4, 4] from `start` on until they settle, held by the prior.

    noise_floor: over depth²; larger than the sensor's while colours are still smoothed, so that points that
    are far off have a say.  independence: what one pixel adds to what its neighbours have said.
    """
    poses = start
    for _ in range(rounds):
        matrix, vector = _normal_equations(images, pairs, torch.from_numpy(poses), samples, noise_floor)
        matrix, vector = independence * matrix, independence * vector
        matrix[np.diag_indices(len(matrix))] += prior.information
        vector += prior.information * motions(poses, prior.given).reshape(-1)
        twists = -np.linalg.solve(matrix, vector).reshape(-1, 6)
        poses = moved(poses, twists)
        size = np.abs(twists).mean(axis=0)
        if size[:3].mean() < _SETTLED * prior.shift and size[3:].mean() < _SETTLED * prior.turn:
            break
    return poses


def moved(poses: np.ndarray, twists: np.ndarray) -> np.ndarray:
    """Poses [N, 4, 4] after shifts and turns [N, 6] in the cameras' axes."""
    step = np.tile(np.eye(4), (len(poses), 1, 1))
    step[:, :3, :3] = Rotation.from_rotvec(twists[:, 3:]).as_matrix()
    step[:, :3, 3] = twists[:, :3]
    return poses @ step


def motions(poses: np.ndarray, given: np.ndarray) -> np.ndarray:
    """[N, 6] shifts and turns, in the cameras' axes, that lead from `given` to `poses`."""
    step = np.linalg.inv(given) @ poses
    return np.concatenate([step[:, :3, 3], Rotation.from_matrix(step[:, :3, :3]).as_rotvec()], axis=1)


def _bounded(square: torch.Tensor) -> torch.Tensor:
    """Geman and McClure's cost of a squared residual: like it when small, at most _ROBUST² / 2."""
    return 0.5 * square / (1 + square / _ROBUST**2)


def _normal_equations(
    images: Stack, pairs: torch.Tensor, poses: torch.Tensor, samples: Samples, noise_floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """JᵀWJ [6N, 6N] and JᵀWr [6N], a group of pairs at a time: memory stays bounded however many views."""
    some = pairs[:: -(-len(pairs) // _GROUP)]  # spread over all views
    noise = Noise.of(residuals(images, some, poses, samples, differentiate=False), noise_floor)
    unknowns = 6 * len(images)
    matrix = torch.zeros(unknowns * unknowns, dtype=torch.float64)
    vector = torch.zeros(unknowns, dtype=torch.float64)
    for group in pairs.split(_GROUP):
        blocks, vectors = _blocks(residuals(images, group, poses, samples), noise)
        places = (6 * group[:, :, None] + torch.arange(6)).flatten(1)  # [M, 12]
        flat = places[:, :, None] * unknowns + places[:, None, :]
        matrix.index_add_(0, flat.reshape(-1), blocks.double().reshape(-1))
        vector.index_add_(0, places.reshape(-1), vectors.double().reshape(-1))
    return matrix.reshape(unknowns, unknowns).numpy(), vector.numpy()


def _blocks(found: Residuals, noise: Noise) -> tuple[torch.Tensor, torch.Tensor]:
    """What each pair adds: [M, 12, 12] and [M, 12]."""
    assert found.by_depth is not None and found.by_color is not None
    enough = found.valid & (found.valid.sum(dim=1, keepdim=True) >= _FEW)
    blocks, vectors = torch.zeros(len(enough), 12, 12), torch.zeros(len(enough), 12)
    for residual, by, sigma in (
        (found.depth, found.by_depth, noise.depth * found.noise),
        (found.color, found.by_color, torch.full_like(found.color, noise.color)),
    ):
        weight = enough / (1 + (residual / (_ROBUST * sigma)) ** 2) ** 2 / sigma**2
        weighted = by * weight[..., None]
        blocks += weighted.transpose(1, 2) @ by
        vectors += (weighted * residual[..., None]).sum(dim=1)
    return blocks, vectors

"""Which views are compared with which."""

import numpy as np
import torch

from instascene_core.config import RegistrationConfig
from instascene_core.registration.images import Stack

_PROBES = 150  # points of a view that tell what another sees of it


def choose_pairs(
    images: Stack, poses: np.ndarray, config: RegistrationConfig, rng: np.random.Generator
) -> torch.Tensor:
    """[M, 2] view whose points are taken, view that they are looked up in; M is 0 where nothing overlaps.

    poses: [N, 4, 4] world_from_camera.
    """
    overlap = overlaps(images, poses, rng)
    pairs = set()
    for i, seen in enumerate(overlap):
        near = [int(j) for j in np.argsort(-seen)[: config.neighbours] if seen[j] >= config.min_overlap]
        far = np.setdiff1d(np.nonzero(seen >= config.min_overlap)[0], near)
        far = rng.permutation(far)[: config.far_neighbours].tolist()
        pairs |= {(i, j) for j in near + far}
    return torch.tensor(sorted(pairs), dtype=torch.long).reshape(-1, 2)


def overlaps(images: Stack, poses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[N, N] share of the points of one view that the other sees; less where from another side."""
    count = len(images)
    height, width = images.size
    result = np.zeros((count, count))
    fx, fy, cx, cy = images.intrinsics.numpy().T.astype(float)
    inverse = np.linalg.inv(poses)
    for i in range(count):
        depth = images.depth[i].numpy()
        rows, columns = np.nonzero(depth)
        if len(rows) == 0:
            continue
        pick = rng.integers(len(rows), size=_PROBES)
        rows, columns = rows[pick], columns[pick]
        z = depth[rows, columns]
        x, y = (columns + 0.5 - cx[i]) / fx[i] * z, (rows + 0.5 - cy[i]) / fy[i] * z
        world = np.stack([x, y, z], axis=1) @ poses[i, :3, :3].T + poses[i, :3, 3]
        there = np.einsum("nij,pj->npi", inverse[:, :3, :3], world) + inverse[:, None, :3, 3]
        depth_there = np.maximum(there[..., 2], 1e-9)
        u = there[..., 0] / depth_there * fx[:, None] + cx[:, None]
        v = there[..., 1] / depth_there * fy[:, None] + cy[:, None]
        seen = (there[..., 2] > 0) & (u >= 1) & (v >= 1) & (u < width - 1) & (v < height - 1)
        here, other = world - poses[i, :3, 3], world - poses[:, None, :3, 3]
        cosine = (here * other).sum(axis=-1) / (
            np.linalg.norm(here, axis=-1) * np.linalg.norm(other, axis=-1)
        )
        result[i] = (seen * np.clip(cosine, 0, 1) ** 4).mean(axis=1)
    np.fill_diagonal(result, 0.0)
    return result

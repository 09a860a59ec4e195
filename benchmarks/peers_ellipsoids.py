"""Renders what 3D Gaussian Splatting tools write, for the PSNR of a peer's file on views it has not seen.

Ours are disks; these are ellipsoids, projected as Kerbl et al. 2023 (section 4) and Zwicker et al. 2001 have
it: Σ' = J W Σ Wᵀ Jᵀ + 0.3 I.  Plain torch, tile by tile: a few seconds an image.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.rendering.sh import sh_colors
from instascene_core.transforms import inverse, matrix_from_quaternion

LOW_PASS = 0.3  # pixels², added to the variance of a footprint
ALPHA_MIN, ALPHA_MAX = 1 / 255, 0.999
RADII = 3.0  # standard deviations that a footprint reaches
NEAR = 0.01
MARGIN = 1.3  # of the half field of view, where the projection is linearised at most
TILE = 32  # pixels


@dataclass(frozen=True)
class Ellipsoids:
    """Gaussians as 3DGS files hold them."""

    means: np.ndarray  # [N, 3] float32, world frame
    covariances: np.ndarray  # [N, 3, 3] float32
    opacities: np.ndarray  # [N] float32 in [0, 1]
    sh: np.ndarray  # [N, K, 3] float32


def read_ellipsoids(path: Path) -> Ellipsoids:
    """Of a binary little-endian PLY whose properties are floats; ValueError for any other."""
    data = path.read_bytes()
    end = data.index(b"end_header\n") + len(b"end_header\n")
    lines = data[:end].decode("ascii").splitlines()
    names = [line.split()[2] for line in lines if line.startswith("property float ")]
    counts = [int(line.split()[2]) for line in lines if line.startswith("element vertex ")]
    properties = sum(line.startswith("property ") for line in lines)
    if "format binary_little_endian 1.0" not in lines or len(names) != properties or len(counts) != 1:
        raise ValueError(f"{path} is not a binary PLY of Gaussians.")
    table = np.frombuffer(data, "<f4", counts[0] * len(names), end).reshape(counts[0], len(names))
    column = dict(zip(names, table.T, strict=True))

    def stack(*wanted: str) -> np.ndarray:
        return np.stack([column[name] for name in wanted], axis=-1)

    rest = sum(name.startswith("f_rest_") for name in names)
    sh = stack("f_dc_0", "f_dc_1", "f_dc_2")[:, None]
    if rest:
        higher = stack(*(f"f_rest_{i}" for i in range(rest))).reshape(len(sh), 3, rest // 3)
        sh = np.concatenate([sh, higher.transpose(0, 2, 1)], axis=1)
    axes = matrix_from_quaternion(stack(*(f"rot_{i}" for i in range(4))))
    axes = axes * np.exp(stack("scale_0", "scale_1", "scale_2"))[:, None, :]
    opacities = 1 / (1 + np.exp(-column["opacity"]))
    return Ellipsoids(stack("x", "y", "z"), axes @ axes.transpose(0, 2, 1), opacities, sh)


@torch.no_grad()
def render_ellipsoids(
    scene: Ellipsoids, camera: PinholeCamera, world_from_camera: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """[H, W, 3] float32 colours before a `background` [3]."""
    pose = inverse(world_from_camera).astype(np.float32)
    p = torch.from_numpy(scene.means @ pose[:3, :3].T + pose[:3, 3])
    kept = torch.argsort(p[:, 2])
    kept = kept[p[kept, 2] > NEAR]  # front to back
    p, chosen = p[kept], kept.numpy()
    centre, conic, reach = _footprints(p, scene.covariances[chosen], pose[:3, :3], camera)
    degree = round(scene.sh.shape[1] ** 0.5) - 1
    position = torch.from_numpy(world_from_camera[:3, 3].astype(np.float32))
    colors = sh_colors(
        torch.from_numpy(scene.means[chosen]), torch.from_numpy(scene.sh[chosen]), position, degree
    )
    opacities = torch.from_numpy(scene.opacities[chosen])
    image = torch.empty((camera.height, camera.width, 3))
    for top in range(0, camera.height, TILE):
        for left in range(0, camera.width, TILE):
            bottom, right = min(top + TILE, camera.height), min(left + TILE, camera.width)
            low, high = torch.tensor([left, top]), torch.tensor([right, bottom])
            here = ((centre + reach >= low) & (centre - reach <= high)).all(dim=1).nonzero()[:, 0]
            rows, columns = torch.arange(top, bottom) + 0.5, torch.arange(left, right) + 0.5
            pixel = torch.cartesian_prod(rows, columns).flip(1)  # [P, 2] x, y
            dx, dy = (pixel[:, None, i] - centre[here, i] for i in (0, 1))
            a, b, c = conic[here].T
            power = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
            alpha = (opacities[here] * torch.exp(-power)).clamp(max=ALPHA_MAX)
            alpha = torch.where((alpha >= ALPHA_MIN) & (power >= 0), alpha, 0.0)
            after = torch.cumprod(1 - alpha, dim=1)
            before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=1)
            left_over = after[:, -1:] if len(here) else torch.ones((len(pixel), 1))
            color = (alpha * before[:, : len(here)]) @ colors[here]
            color = color + left_over * torch.from_numpy(background.astype(np.float32))
            image[top:bottom, left:right] = color.reshape(bottom - top, right - left, 3)
    return image.numpy()


def _footprints(
    p: torch.Tensor, covariances: np.ndarray, rotation: np.ndarray, camera: PinholeCamera
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(centres [N, 2] pixels, inverse covariances [N, 3] as a, b, c, reach [N, 1] pixels)."""
    focal = torch.tensor([camera.fx, camera.fy])
    slope = p[:, :2] / p[:, 2:]
    centre = slope * focal + torch.tensor([camera.cx, camera.cy])
    limit = MARGIN * 0.5 * torch.tensor([camera.width, camera.height]) / focal
    bounded = torch.maximum(torch.minimum(slope, limit), -limit)
    jacobian = torch.zeros((len(p), 2, 3))
    for i in (0, 1):
        jacobian[:, i, i] = focal[i] / p[:, 2]
        jacobian[:, i, 2] = -focal[i] * bounded[:, i] / p[:, 2]
    across = jacobian @ torch.from_numpy(rotation)
    spread = across @ torch.from_numpy(covariances.astype(np.float32)) @ across.transpose(1, 2)
    a, b, c = spread[:, 0, 0] + LOW_PASS, spread[:, 0, 1], spread[:, 1, 1] + LOW_PASS
    determinant = (a * c - b * b).clamp(min=1e-12)
    mean = 0.5 * (a + c)
    largest = mean + (mean * mean - determinant).clamp(min=0.1).sqrt()
    conic = torch.stack([c, -b, a], dim=1) / determinant[:, None]
    return centre, conic, (RADII * largest.sqrt()).ceil()[:, None]

"""What the Gaussians are trained on (Huang et al. 2024, section 4.3).

Readable torch, on any device and in any precision: what training on a GPU uses, and the twins of the fused
kernel functions in `rendering.fused`, which training on the CPU uses.  Images are [H, W, C] float32 in
[0, 1], depth is z-depth in the world's unit, normals point toward the camera.
"""

import numpy as np
import torch
from torch.nn import functional

from instascene_core.camera import PinholeCamera

_SSIM_RADIUS, _SSIM_SIGMA = 5, 1.5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2


def photometric_loss(
    image: torch.Tensor, target: torch.Tensor, ssim_weight: float = 0.2, valid: torch.Tensor | None = None
) -> torch.Tensor:
    """(1 − w)·L1 + w·(1 − SSIM) of two images [H, W, C]; `valid` [H, W] bool leaves pixels out."""
    loss = (1 - ssim_weight) * (image - target).abs() + ssim_weight * (1 - ssim_map(image, target))
    if valid is None:
        return loss.mean()
    weight = valid[..., None].to(image.dtype)
    return (loss * weight).sum() / (weight.sum().clamp(min=1) * image.shape[-1])


def ssim_map(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Structural similarity [H, W, C] (Wang et al. 2004; 11×11 Gaussian window, zeros outside)."""
    channels = image.shape[-1]
    x, y = (t.permute(2, 0, 1)[None] for t in (image, target))
    stacked = torch.cat([x, y, x * x + y * y, x * y], dim=1)  # [1, 4C, H, W]
    mean_x, mean_y, squares, product = _blur(stacked).split(channels, dim=1)
    mean_squares, mean_product = mean_x * mean_x + mean_y * mean_y, mean_x * mean_y
    numerator = (2 * mean_product + _SSIM_C1) * (2 * (product - mean_product) + _SSIM_C2)
    denominator = (mean_squares + _SSIM_C1) * (squares - mean_squares + _SSIM_C2)
    return (numerator / denominator)[0].permute(1, 2, 0).to(image.dtype)


def _blur(images: torch.Tensor) -> torch.Tensor:
    """Gaussian window means of [1, C, H, W], separable, zero-padded."""
    # On a GPU, convolutions of float32 round to ten bits (TF32): too few for the variances made of them.
    work = images.double() if images.device.type == "cuda" else images
    offsets = torch.arange(-_SSIM_RADIUS, _SSIM_RADIUS + 1, dtype=work.dtype, device=work.device)
    kernel = torch.exp(-0.5 * (offsets / _SSIM_SIGMA) ** 2)
    groups = work.shape[1]
    kernel = (kernel / kernel.sum()).expand(groups, 1, -1)
    rows = functional.conv2d(work, kernel[:, :, None, :], padding=(0, _SSIM_RADIUS), groups=groups)
    return functional.conv2d(rows, kernel[:, :, :, None], padding=(_SSIM_RADIUS, 0), groups=groups)


def normals_of_depth(depth: torch.Tensor, camera: PinholeCamera) -> torch.Tensor:
    """Unit normals [H, W, 3], camera frame, of a depth image [H, W] by central differences.

    0 on the border and beside pixels without depth (≤ 0).
    """
    normals, _ = _plane_normals(depth, ray_planes(camera, depth))
    return functional.pad(normals.permute(1, 2, 0), (0, 0, 1, 1, 1, 1))


def ray_planes(camera: PinholeCamera, like: torch.Tensor) -> torch.Tensor:
    """`camera.rays` as planes [3, H, W] of the type and on the device of `like`, where they are made.

    Planes of x, y, z are several times faster to compute with than [H, W, 3].
    """
    u = torch.arange(camera.width, dtype=torch.float64, device=like.device) + (0.5 - camera.cx)
    v = torch.arange(camera.height, dtype=torch.float64, device=like.device) + (0.5 - camera.cy)
    y, x = torch.meshgrid(v / camera.fy, u / camera.fx, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).to(like.dtype)


def _plane_normals(depth: torch.Tensor, rays: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(normals [3, H−2, W−2], known [H−2, W−2] bool) of the inner pixels."""
    points = rays * depth
    down = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    right = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    cross = torch.linalg.cross(down, right, dim=0)
    has = depth > 0
    known = has[1:-1, 2:] & has[1:-1, :-2] & has[2:, 1:-1] & has[:-2, 1:-1]
    # The cross product is of the size of a squared pixel: far below any fixed epsilon on small scenes.
    length = torch.sqrt((cross * cross).sum(0) + 1e-30)
    return cross * (known / length), known


def normal_consistency_loss(
    normal: torch.Tensor,
    depth: torch.Tensor,
    alpha: torch.Tensor,
    camera: PinholeCamera,
    world_from_camera: np.ndarray | torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over the pixels of Σᵢ ωᵢ (1 − nᵢ·N) = alpha − normal·N (Huang et al. 2024, eq. 14).

    normal [H, W, 3] is the blended Σᵢ ωᵢ nᵢ in the world frame (the camera's without
    `world_from_camera`), alpha [H, W] = Σᵢ ωᵢ, N the normal of the depth image: disks come to lie in
    the surface that they show together.  Pixels without N do not count.
    """
    return normal_consistency(normal, depth, alpha, ray_planes(camera, depth), world_from_camera)


def normal_consistency(
    normal: torch.Tensor,
    depth: torch.Tensor,
    alpha: torch.Tensor,
    rays: torch.Tensor,
    world_from_camera: np.ndarray | torch.Tensor | None = None,
) -> torch.Tensor:
    """`normal_consistency_loss` for the rays [3, H, W] of a camera (`ray_planes`)."""
    surface, known = _plane_normals(depth, rays)
    if world_from_camera is not None:
        rotation = torch.as_tensor(world_from_camera)[:3, :3].to(normal)
        normal = normal @ rotation
    inner = slice(1, -1)
    agreement = (normal[inner, inner].permute(2, 0, 1) * surface).sum(0)
    return ((alpha[inner, inner] - agreement) * known).sum() / alpha.numel()


def depth_loss(
    depth: torch.Tensor, measured: torch.Tensor, weight: torch.Tensor, tolerance: float = 0.02
) -> torch.Tensor:
    """Robust relative depth error, mean over the pixels: wrong measurements lose their say.

    depth [H, W] rendered, `measured` [H, W] with 0 where there is none, `weight` [H, W] ≥ 0 the
    trust in each pixel.  With r = |error| / measured the penalty is r / (r + tolerance): like L1
    for small errors (so the median of noisy measurements is found), bounded by 1 for large ones.
    """
    known = measured > 0
    relative = (depth - measured) / torch.where(known, measured, 1.0)
    size = torch.sqrt(relative**2 + 1e-6) - 1e-3  # smooth within 0.1 % of the depth
    return (size / (size + tolerance) * weight * known).mean()

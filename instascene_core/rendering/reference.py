"""The kernel's slow, readable twin: dense float64 torch, differentiable by autograd.

Every pixel is intersected with every Gaussian, [P, N] at a time; nothing is culled by tiles.  Tests hold the
kernel's values and gradients to this file.  Formulas: Huang et al. 2024 (2DGS), sections 4.2–4.3 and 5.
"""

from dataclasses import dataclass

import torch

from instascene_core.camera import PinholeCamera
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering.sh import sh_colors
from instascene_core.rendering.view import NEAR_PLANE

ALPHA_MIN, ALPHA_MAX = 1 / 255, 0.999
TRANSMITTANCE_MIN = 1e-4
LOW_PASS = 2.0  # 1 / σ², σ = √2 / 2 pixels
EDGE_ON = 1e-7  # metres
GRAZING = 1e-3
DISTORTION_NEAR = 0.2  # metres


@dataclass
class ReferenceImages:
    """As `RenderResult`, float64; and what a test needs to know about cut-offs."""

    color: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor
    median_depth: torch.Tensor
    normal: torch.Tensor
    distortion: torch.Tensor
    margin: torch.Tensor  # [H, W] relative distance of the pixel's nearest yes/no decision from its threshold


@dataclass
class _Blend:
    """Per pixel and depth-sorted Gaussian, [P, N]."""

    weights: torch.Tensor
    transmittance: torch.Tensor  # before the Gaussian
    inverse_depth: torch.Tensor
    contributes: torch.Tensor  # bool
    margin: torch.Tensor  # [P]


def rasterize_reference(
    gaussians: GaussianModel,
    camera: PinholeCamera,
    world_from_camera: torch.Tensor,
    *,
    colors: torch.Tensor | None = None,
    background: torch.Tensor | None = None,
    sh_degree: int | None = None,
    near: float = NEAR_PLANE,
    pixels: slice | None = None,
) -> ReferenceImages:
    """The images of `rasterize`, float64; `pixels` (row-major) renders a part, shaped [1, P, …]."""
    pose = world_from_camera.double()
    rotation, position = pose[:3, :3], pose[:3, 3]
    if colors is None:
        colors = sh_reference(gaussians.means, gaussians.sh, position, sh_degree)
    u, v = torch.meshgrid(
        torch.arange(camera.width, dtype=torch.float64) + 0.5,
        torch.arange(camera.height, dtype=torch.float64) + 0.5,
        indexing="xy",
    )
    part = slice(None) if pixels is None else pixels
    pixel = torch.stack([u.flatten(), v.flatten()], dim=-1)[part]  # [P, 2]
    focal = torch.tensor([camera.fx, camera.fy], dtype=torch.float64)
    centre = torch.tensor([camera.cx, camera.cy], dtype=torch.float64)
    ray = torch.cat([(pixel - centre) / focal, torch.ones_like(pixel[:, :1])], dim=-1)  # [P, 3]

    disks, order = _camera_disks(gaussians, rotation, position, near)
    blend = _blend(disks, focal, centre, pixel, ray, near)
    w = blend.weights
    weight = w.sum(dim=1)
    normal = w @ disks["normal"]  # [P, 3], away from the camera
    cosine = (normal * ray).sum(-1)
    facing = (cosine > GRAZING * weight) & (weight > 0)
    depth = torch.where(facing, w @ disks["d"] / torch.where(facing, cosine, 1.0), 0.0)
    color = w @ colors.double()[order]
    if background is not None:
        color = color + (1 - weight)[:, None] * background.double()
    m = DISTORTION_NEAR * blend.inverse_depth
    m = m - m.detach().mean(dim=1, keepdim=True) if m.shape[1] else m
    distortion = weight * (w * m**2).sum(1) - (w * m).sum(1) ** 2
    after = blend.transmittance - w
    crossing = blend.contributes & (blend.transmittance > 0.5) & (after <= 0.5)
    median = torch.where(crossing, 1 / blend.inverse_depth, 0.0).sum(1)
    shape = (1, -1) if pixels is not None else (camera.height, camera.width)
    return ReferenceImages(
        color=color.reshape(*shape, color.shape[-1]),
        alpha=weight.reshape(shape),
        depth=depth.reshape(shape),
        median_depth=median.reshape(shape),
        normal=(-normal @ rotation.T).reshape(*shape, 3),
        distortion=distortion.reshape(shape),
        margin=blend.margin.reshape(shape),
    )


def _camera_disks(
    gaussians: GaussianModel, rotation: torch.Tensor, position: torch.Tensor, near: float
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Disks in front of the camera, camera frame, sorted by depth; and their indices."""
    w, x, y, z = torch.nn.functional.normalize(gaussians.quaternions.double(), dim=-1).unbind(-1)
    axes = torch.stack(
        [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], dim=-1),
            torch.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], dim=-1),
            torch.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], dim=-1),
        ],
        dim=1,
    )  # [N, 3, 3]: tangent u, tangent v, normal
    p = (gaussians.means.double() - position) @ rotation  # row vectors: Rᵀ (p − t)
    axes = axes @ rotation
    opacity = gaussians.logit_opacities.double().sigmoid()
    drawn = torch.nonzero((p[:, 2] > near) & (opacity >= ALPHA_MIN)).flatten()
    order = drawn[torch.argsort(p[drawn, 2].detach(), stable=True)]
    normal, p = axes[order, 2], p[order]
    plane = (normal * p).sum(-1)
    sign = torch.where(plane >= 0, 1.0, -1.0).double()
    disks = {
        "p": p,
        "tu": axes[order, 0],
        "tv": axes[order, 1],
        "normal": normal * sign[:, None],  # away from the camera
        "d": plane * sign,
        "scales": gaussians.log_scales.double()[order].exp(),
        "opacity": opacity[order],
    }
    return disks, order


def _blend(
    disks: dict[str, torch.Tensor],
    focal: torch.Tensor,
    centre: torch.Tensor,
    pixel: torch.Tensor,
    ray: torch.Tensor,
    near: float,
) -> _Blend:
    p, d = disks["p"], disks["d"]
    # Where the ray z·(x, y, 1) meets the plane n·x = d, and the point's coordinates in the disk (eq. 8–10).
    q = ray @ disks["normal"].T  # [P, N]
    usable = q > 0
    z = d / torch.where(usable, q, 1.0)
    usable = usable & (z >= near) & (d >= EDGE_ON)
    z = torch.where(usable, z, p[:, 2])
    offset = z[..., None] * ray[:, None] - p  # [P, N, 3]
    u = (offset * disks["tu"]).sum(-1) / disks["scales"][:, 0]
    v = (offset * disks["tv"]).sum(-1) / disks["scales"][:, 1]
    rho_disk = u**2 + v**2
    mean = p[:, :2] / p[:, 2:] * focal + centre
    rho_screen = LOW_PASS * ((pixel[:, None] - mean) ** 2).sum(-1)
    in_disk = usable & (rho_disk <= rho_screen)
    rho = torch.where(in_disk, rho_disk, rho_screen)
    inverse_depth = torch.where(in_disk, 1 / z, 1 / p[:, 2].expand_as(z))
    alpha = (disks["opacity"] * torch.exp(-rho / 2)).clamp(max=ALPHA_MAX)
    alpha = torch.where(alpha >= ALPHA_MIN, alpha, 0.0)

    after = torch.cumprod(1 - alpha, dim=1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=1)
    stop = (after < TRANSMITTANCE_MIN) & (alpha > 0)
    live = torch.cumsum(stop, dim=1) == 0
    contributes = live & (alpha > 0)
    weights = torch.where(contributes, alpha * before, 0.0)
    return _Blend(
        weights, before, inverse_depth, contributes, _margin(disks, rho, rho_disk, rho_screen, usable, after)
    )


@torch.no_grad()
def _margin(
    disks: dict[str, torch.Tensor],
    rho: torch.Tensor,
    rho_disk: torch.Tensor,
    rho_screen: torch.Tensor,
    usable: torch.Tensor,
    after: torch.Tensor,
) -> torch.Tensor:
    """[P]: how close (relative) any decision of the pixel is to flipping under rounding."""
    if rho.shape[1] == 0:
        return torch.ones(len(rho), dtype=torch.float64)
    raw = disks["opacity"] * torch.exp(-rho / 2)
    distances = [(raw / ALPHA_MIN - 1).abs(), (raw / ALPHA_MAX - 1).abs()]
    distances += [(after / TRANSMITTANCE_MIN - 1).abs(), (after / 0.5 - 1).abs()]
    relevant = (torch.minimum(rho_disk, rho_screen) < 14) & usable
    switch = (rho_disk - rho_screen).abs() / (rho_screen + 1e-3)
    distances.append(torch.where(relevant, switch, 1.0))
    return torch.stack(distances).amin(dim=(0, 2))


def sh_reference(
    means: torch.Tensor, sh: torch.Tensor, position: torch.Tensor, degree: int | None = None
) -> torch.Tensor:
    """Colours [N, 3] float64: max(0, 0.5 + Σ sh·Y), real spherical harmonics as in 3DGS files."""
    stored = round(sh.shape[1] ** 0.5) - 1
    return sh_colors(means.double(), sh.double(), position.double(), stored if degree is None else degree)

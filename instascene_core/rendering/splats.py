"""Disks as one camera sees them, in plain torch: what every pixel's ray-disk intersection needs.

The CUDA backend's counterpart of `csrc/projection.cpp`, differentiable by autograd and running on any device.
Formulas: Huang et al. 2024 (2DGS), section 4.2.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from instascene_core.camera import PinholeCamera
from instascene_core.rendering.view import RasterView

ALPHA_MIN, ALPHA_MAX = 1 / 255, 0.999  # as csrc/workspace.hpp, gsplat and the paper's authors have them
TRANSMITTANCE_MIN = 1e-4
LOW_PASS = 2.0  # 1 / σ² of the screen filter (eq. 11), σ = √2 / 2 pixels
EDGE_ON = 1e-7  # metres from the camera centre to the disk's plane
GRAZING = 1e-3  # least cosine (per unit ray z) of the mean plane for a depth
DISTORTION_NEAR = 0.2  # metres

_SPECK = 1e-6  # metres: size of the stand-in for a disk seen edge-on


@dataclass
class Splats:
    """The V Gaussians that may reach the image, in the Gaussians' order; float64, camera frame, pixels.

    With dx, dy in pixels from the projected mean: q = q0 + qx·dx + qy·dy, u = (ux·dx + uy·dy) / q, likewise
    v, and 1/z = q / offset (eq. 8–10, relative to the mean: that keeps digits at grazing angles).
    """

    ids: torch.Tensor  # [V] int64
    mean: torch.Tensor  # [V, 2] projected centre
    depth: torch.Tensor  # [V] metres, z of the centre
    opacity: torch.Tensor  # [V]
    normal: torch.Tensor  # [V, 3] unit, away from the camera
    offset: torch.Tensor  # [V] metres ≥ 0: normal · centre
    u: torch.Tensor  # [V, 2]
    v: torch.Tensor  # [V, 2]
    q: torch.Tensor  # [V, 3]: q0, qx, qy
    matrix: torch.Tensor  # [V, 3, 3] homogeneous pixel from (u, v, 1), u and v in standard deviations
    edge_on: torch.Tensor  # [V] bool: only the screen filter shows
    crossing: torch.Tensor  # [V] bool: its plane may be hit behind the camera or before the near plane
    box_center: torch.Tensor  # [V, 2] of the axis-aligned box that holds every pixel the splat reaches
    box_radius: torch.Tensor  # [V, 2] whole pixels


@dataclass
class Hits:
    """Pairs of a splat and a pixel, [M]."""

    alpha: torch.Tensor  # 0 where below ALPHA_MIN
    inverse_depth: (
        torch.Tensor
    )  # 1 / z of the intersection; of the disk's centre where the screen filter acts


def project(view: RasterView, screen: torch.Tensor | None = None) -> Splats:
    """The splats of `view`; `screen` [N] takes |dL/d projected mean| per pixel when gradients flow back.

    Left out are Gaussians nearer than the near plane, fainter than ALPHA_MIN, not finite, outside the image.
    """
    rotation, position = view.world_from_camera[:3, :3].double(), view.world_from_camera[:3, 3].double()
    ids = _drawable(view, rotation.detach(), position.detach())
    p = (view.means[ids].double() - position) @ rotation  # row vectors: Rᵀ (x − t)
    axes = _axes(view.quaternions[ids].double()) @ rotation  # [V, 3, 3]: rows tangent u, tangent v, normal
    scales, opacity = (
        view.log_scales[ids].double().clamp(-60, 60).exp(),
        view.logit_opacities[ids].double().sigmoid(),
    )
    with torch.no_grad():
        low, high, crossing = _boxes(view, p, axes, scales, opacity)
        limit = low.new_tensor([view.camera.width, view.camera.height])
        inside = ((high > 0) & (low < limit)).all(dim=-1)
        low, high = low[inside].clamp(min=-1), torch.minimum(high[inside], limit + 1)
        box = (low, high, crossing[inside])
    return _splats(
        view.camera, ids[inside], p[inside], axes[inside], scales[inside], opacity[inside], box, screen
    )


def pixel_hits(
    splats: Splats, index: torch.Tensor, pixel: torch.Tensor, camera: PinholeCamera, near: float, dtype=None
) -> Hits:
    """Splat `index` [M] seen by the row-major pixel `pixel` [M]: the arithmetic of `csrc/blend.hpp`."""
    dtype = dtype or torch.float64
    center = torch.stack([pixel % camera.width, pixel // camera.width], dim=-1).double() + 0.5
    delta = (center - splats.mean[index]).to(dtype)  # [M, 2]; subtracted in double, then rounded

    def of(values: torch.Tensor) -> torch.Tensor:
        return values[index].to(dtype)

    q = of(splats.q)
    q = q[:, 0] + (q[:, 1:] * delta).sum(-1)
    front = (q > 0) & ~splats.edge_on[index]
    safe = torch.where(front, q, 1.0)
    offset = of(torch.where(splats.edge_on, 1.0, splats.offset))
    front = front & (safe * near <= offset)
    u, v = ((of(c) * delta).sum(-1) / safe for c in (splats.u, splats.v))
    rho_disk, rho_screen = u * u + v * v, LOW_PASS * (delta * delta).sum(-1)
    in_disk = front & (rho_disk <= rho_screen)
    rho = torch.where(in_disk, rho_disk, rho_screen)
    alpha = (of(splats.opacity) * torch.exp(-rho / 2)).clamp(max=ALPHA_MAX)
    inverse = torch.where(in_disk, safe / offset, 1 / of(splats.depth))
    return Hits(torch.where(alpha >= ALPHA_MIN, alpha, 0.0), inverse)


@torch.no_grad()
def _drawable(view: RasterView, rotation: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """[…] int64: Gaussians in front of the near plane, opaque enough and finite."""
    depth = (view.means.double() - position) @ rotation[:, 2]
    finite = torch.isfinite(view.means).all(-1) & torch.isfinite(view.log_scales).all(-1)
    finite &= torch.isfinite(view.quaternions).all(-1)
    return torch.nonzero(
        (depth > view.near) & (view.logit_opacities.sigmoid() >= ALPHA_MIN) & finite
    ).flatten()


def _axes(quaternions: torch.Tensor) -> torch.Tensor:
    """[V, 3, 3], rows: tangent u, tangent v, normal, world frame."""
    w, x, y, z = normalize(quaternions, dim=-1).unbind(-1)
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y),
        2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x),
        2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)


def _boxes(
    view: RasterView, p: torch.Tensor, axes: torch.Tensor, scales: torch.Tensor, opacity: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Corners [V, 2] in pixels of where alpha reaches ALPHA_MIN, by the disk or by the screen filter.

    And `crossing` [V] of Splats.
    """
    camera = view.camera
    radius = torch.sqrt(2 * torch.log(opacity / ALPHA_MIN).clamp(min=0) + 1e-4)  # a little enlarged
    rims = axes[:, :2] * (scales * radius[:, None])[..., None]  # [V, 2, 3]
    z, focal = p[:, 2:], p.new_tensor([camera.fx, camera.fy])
    mean = focal * p[:, :2] / z + p.new_tensor([camera.cx, camera.cy])
    circle = radius[:, None] / LOW_PASS**0.5
    # Dual conic of the projected disk, about the mean; without bounds where it comes near the camera's plane.
    flat = focal * (rims[..., :2] - (p[:, :2] / z)[:, None] * rims[..., 2:])  # [V, 2, 2]
    reach2 = (rims[..., 2] ** 2).sum(1, keepdim=True)
    bounded = z**2 - reach2 > 1e-3 * z**2
    clear = torch.where(bounded, z**2 - reach2, 1.0)
    shift = -(flat * rims[..., 2:]).sum(1) / clear
    half = torch.sqrt((shift**2 + (flat**2).sum(1) / clear).clamp(min=0))
    half = torch.where(bounded, half, torch.inf)
    shown = _may_show(camera, p, rims)[:, None]
    low = mean + torch.minimum(torch.where(shown, shift - half, 0.0), -circle)
    high = mean + torch.maximum(torch.where(shown, shift + half, 0.0), circle)
    # Hit behind the camera is what the disk's mirror image through its centre would show in front; hit before
    # the near plane is what comes that close to the centre.
    right, bottom = max(camera.cx, camera.width - camera.cx), max(camera.cy, camera.height - camera.cy)
    corner = math.hypot(right / camera.fx, bottom / camera.fy, 1)  # length of the longest ray
    close = (axes[:, 2] * p).sum(-1).abs() < 1.01 * view.near * corner
    through = z[:, 0] - reach2[:, 0].sqrt() < 1.01 * view.near
    return low, high, through & (close | _may_show(camera, -p, rims))


def _may_show(camera: PinholeCamera, center: torch.Tensor, rims: torch.Tensor) -> torch.Tensor:
    """[V] bool: the ellipse about `center` [V, 3] with half axes `rims` [V, 2, 3] may reach the frustum."""
    inward = center.new_tensor(
        [
            [camera.fx, 0, camera.cx],
            [-camera.fx, 0, camera.width - camera.cx],
            [0, camera.fy, camera.cy],
            [0, -camera.fy, camera.height - camera.cy],
            [0, 0, camera.fx],
        ]
    )
    nearest = center @ inward.T + torch.sqrt(((rims @ inward.T) ** 2).sum(1))  # [V, 5]: largest distances
    return (nearest > -1e-3 * camera.fx * center.norm(dim=-1, keepdim=True)).all(-1)


def _splats(camera, ids, p, axes, scales, opacity, box, screen) -> Splats:
    focal, inv_z = p.new_tensor([camera.fx, camera.fy]), 1 / p[:, 2:]
    tu, tv, normal = axes.unbind(1)
    plane = (normal * p).sum(-1)
    sign = torch.where(plane >= 0, 1.0, -1.0).double()
    normal, offset = normal * sign[:, None], plane * sign
    edge_on = offset.detach() < EDGE_ON
    mean = focal * p[:, :2] * inv_z + p.new_tensor([camera.cx, camera.cy])
    spans = torch.stack([tu * scales[:, :1], tv * scales[:, 1:]], dim=1)  # [V, 2, 3]
    # Edge-on disks have no intersections: a speck facing the camera leaves all to the screen filter.
    speck = _SPECK * torch.eye(3, dtype=p.dtype, device=p.device)[:2]
    spans = torch.where(edge_on[:, None, None], speck, spans)
    intrinsics = p.new_tensor([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    matrix = intrinsics @ torch.cat([spans, p[:, None]], dim=1).transpose(1, 2)
    if screen is not None:
        mean, matrix = _Footprint.apply(mean, matrix, screen, ids)
    low, high, crossing = box
    return Splats(
        ids=ids,
        mean=mean,
        depth=p[:, 2],
        opacity=opacity,
        normal=normal,
        offset=offset,
        u=torch.linalg.cross(tv, p)[:, :2] / scales[:, :1] / focal,
        v=torch.linalg.cross(p, tu)[:, :2] / scales[:, 1:] / focal,
        q=torch.cat([(offset * inv_z[:, 0])[:, None], normal[:, :2] / focal], dim=1),
        matrix=matrix,
        edge_on=edge_on,
        crossing=crossing,
        box_center=(low + high) / 2,
        box_radius=torch.ceil((high - low) / 2).clamp(min=1).to(torch.int32),
    )


class _Footprint(torch.autograd.Function):
    """Identity; on the way back it notes how the loss changes as a splat's whole footprint moves."""

    @staticmethod
    def forward(ctx, mean, matrix, screen, ids):
        ctx.save_for_backward(matrix, ids)
        ctx.screen = screen
        ctx.set_materialize_grads(False)
        return mean.view_as(mean), matrix.view_as(matrix)

    @staticmethod
    def backward(ctx, g_mean, g_matrix):
        matrix, ids = ctx.saved_tensors
        pull = torch.zeros_like(matrix[:, 2, :2]) if g_mean is None else g_mean
        if g_matrix is not None:  # moved by δ pixels, the first two rows of `matrix` gain δ times the third
            pull = pull + (g_matrix[:, :2] * matrix[:, 2:]).sum(-1)
        ctx.screen.zero_()
        ctx.screen[ids] = pull.norm(dim=-1).to(ctx.screen.dtype)
        return g_mean, g_matrix, None, None

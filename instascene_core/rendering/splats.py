"""Disks as one camera sees them, in plain torch: what every pixel's ray-disk intersection needs.

The CUDA backend's counterpart of `csrc/projection.cpp`, differentiable by autograd and running on any device.
Formulas: Huang et al. 2024 (2DGS), section 4.2.

What a GPU needs for a view of some ten thousand disks is the launches of its kernels, not their work: so few
large operations here, in place of many plain ones.
"""

import math
from dataclasses import dataclass
from functools import cached_property

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
    opacity: torch.Tensor  # [V]
    normal: torch.Tensor  # [V, 3] unit, away from the camera
    offset: torch.Tensor  # [V] metres ≥ 0: normal · centre
    matrix: torch.Tensor  # [V, 3, 3] homogeneous pixel from (u, v, 1), u and v in standard deviations
    edge_on: torch.Tensor  # [V] bool: only the screen filter shows
    crossing: torch.Tensor  # [V] bool: its plane may be hit behind the camera or before the near plane
    box_center: torch.Tensor  # [V, 2] of the axis-aligned box that holds every pixel the splat reaches
    box_radius: torch.Tensor  # [V, 2] whole pixels; 0 = shows nowhere
    center: torch.Tensor  # [V, 3] metres
    tangents: torch.Tensor  # [V, 2, 3] unit
    scales: torch.Tensor  # [V, 2] metres
    focal: torch.Tensor  # [2] pixels

    @property
    def depth(self) -> torch.Tensor:
        """[V] metres, z of the centre."""
        return self.center[:, 2]

    # What only some passes need.  The first to ask may not follow gradients; a later one may.
    @cached_property
    @torch.enable_grad()
    def u(self) -> torch.Tensor:
        """[V, 2]"""
        across = torch.linalg.cross(self.tangents[:, 1], self.center)
        return across[:, :2] / self.scales[:, :1] / self.focal

    @cached_property
    @torch.enable_grad()
    def v(self) -> torch.Tensor:
        """[V, 2]"""
        across = torch.linalg.cross(self.center, self.tangents[:, 0])
        return across[:, :2] / self.scales[:, 1:] / self.focal

    @cached_property
    @torch.enable_grad()
    def q(self) -> torch.Tensor:
        """[V, 3]: q0, qx, qy."""
        return torch.cat([(self.offset / self.depth)[:, None], self.normal[:, :2] / self.focal], dim=1)


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
    numbers = view.means.new_tensor(Lens.numbers(view.camera), dtype=torch.float64)
    lens, pose = Lens.of(numbers), view.world_from_camera.double()
    parameters = [view.means, view.quaternions, view.log_scales, view.logit_opacities[:, None]]
    with torch.no_grad():
        reach = _reach(lens, view.near, pose, torch.cat(parameters, dim=1).double())
        ids = torch.nonzero(reach.drawable).flatten()
        reach = reach.of(ids)
    rows = torch.cat([values.index_select(0, ids) for values in parameters], dim=1)
    return _splats(lens, ids, _placed(rows.double(), lens, pose), reach, screen)


def project_all(
    lens: "Lens", near: float, parameters: list[torch.Tensor], pose: torch.Tensor, screen: torch.Tensor
) -> Splats:
    """As `project` with a row for every Gaussian; boxes of those that are left out have radius 0.

    No size hangs on the values, and nothing looks at them: a CUDA graph can hold it.
    parameters: means [N, 3], quaternions [N, 4], log_scales [N, 2] and logit_opacities [N];
    pose [4, 4] world_from_camera.
    """
    means, quaternions, log_scales, logit_opacities = parameters
    rows = torch.cat([means, quaternions, log_scales, logit_opacities[:, None]], dim=1).double()
    pose = pose.double()
    with torch.no_grad():
        reach = _reach(lens, near, pose, rows)
        # What is left out is moved to before the camera, where nothing becomes infinite.
        harmless = rows.new_zeros(rows.shape[1])
        harmless[:3] = pose[:3, 3] + pose[:3, 2]
        harmless[3:4].fill_(1.0)
    rows = torch.where(reach.drawable[:, None], rows, harmless)
    ids = torch.arange(len(rows), device=rows.device)
    return _splats(lens, ids, _placed(rows, lens, pose), reach, screen)


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


@dataclass
class Lens:
    """The numbers of a camera, on the device of what it looks at."""

    focal: torch.Tensor  # [2] pixels
    middle: torch.Tensor  # [2] pixels, the principal point
    size: torch.Tensor  # [2] pixels
    corner: torch.Tensor  # [1] length of the longest ray to the image at depth 1
    matrix: torch.Tensor  # [3, 3]
    inward: torch.Tensor  # [3, 5]: what faces into the frustum, the normals of its sides and its axis
    quadratic: torch.Tensor  # [16, 9]: rows of a rotation from products of a quaternion's components

    @staticmethod
    def numbers(camera: PinholeCamera) -> list[float]:
        """All of them, to be moved to a device at once: a tensor of them is what `of` takes."""
        fx, fy, cx, cy = camera.fx, camera.fy, camera.cx, camera.cy
        right, bottom = camera.width - cx, camera.height - cy
        corner = math.hypot(max(cx, right) / fx, max(cy, bottom) / fy, 1)
        matrix = [fx, 0, cx, 0, fy, cy, 0, 0, 1]
        inward = [fx, -fx, 0, 0, 0, 0, 0, fy, -fy, 0, cx, right, cy, bottom, fx]
        return [fx, fy, cx, cy, camera.width, camera.height, corner, *matrix, *inward, *_QUADRATIC]

    @classmethod
    def of(cls, numbers: torch.Tensor) -> "Lens":
        """numbers: float64."""
        focal, middle, size, corner, matrix, inward, quadratic = numbers.split([2, 2, 2, 1, 9, 15, 144])
        matrices = (matrix.reshape(3, 3), inward.reshape(3, 5), quadratic.reshape(16, 9))
        return cls(focal, middle, size, corner, *matrices)


def _quadratic() -> list[float]:
    """For w, x, y, z the factors of w·w, w·x, … z·z (rows) in the nine elements of the rotation less 1.

    Rows of the rotation: tangent u, tangent v, normal.
    """
    w, x, y, z = range(4)
    elements = (
        [(y, y, -2), (z, z, -2)], [(x, y, 2), (w, z, 2)], [(x, z, 2), (w, y, -2)],
        [(x, y, 2), (w, z, -2)], [(x, x, -2), (z, z, -2)], [(y, z, 2), (w, x, 2)],
        [(x, z, 2), (w, y, 2)], [(y, z, 2), (w, x, -2)], [(x, x, -2), (y, y, -2)],
    )  # fmt: skip
    factors = [[0.0] * 9 for _ in range(16)]
    for column, terms in enumerate(elements):
        for first, second, factor in terms:
            factors[4 * first + second][column] = float(factor)
    return [factor for row in factors for factor in row]


_QUADRATIC = _quadratic()


@dataclass
class _Placed:
    """Disks in the camera's frame, float64."""

    center: torch.Tensor  # [V, 3] metres
    axes: torch.Tensor  # [V, 3, 3]: rows tangent u, tangent v, normal
    scales: torch.Tensor  # [V, 2] metres
    opacity: torch.Tensor  # [V]


def _placed(rows: torch.Tensor, lens: Lens, world_from_camera: torch.Tensor) -> _Placed:
    """rows [V, 10]: means, quaternions, log scales, logit opacities."""
    rotation, position = world_from_camera[:3].split([3, 1], dim=1)
    mean, quaternion, log_scales, logit_opacity = rows.split([3, 4, 2, 1], dim=1)
    quaternion = normalize(quaternion, dim=-1)
    products = (quaternion[:, :, None] * quaternion[:, None]).reshape(-1, 16)
    turns = (products @ lens.quadratic).reshape(-1, 3, 3) @ rotation
    return _Placed(
        center=(mean - position.T) @ rotation,  # row vectors: Rᵀ (x − t)
        axes=turns + rotation,
        scales=log_scales.clamp(-60, 60).exp(),
        opacity=logit_opacity.sigmoid()[:, 0],
    )


@dataclass
class _Reach:
    """Where disks may show."""

    low: torch.Tensor  # [V, 2] corners in pixels, at the image's border where they lie outside
    high: torch.Tensor  # [V, 2]
    crossing: torch.Tensor  # [V] bool, of Splats
    drawable: torch.Tensor  # [V] bool

    def of(self, ids: torch.Tensor) -> "_Reach":
        """Of some of the disks."""
        return _Reach(*(values.index_select(0, ids) for values in vars(self).values()))


@torch.no_grad()
def _reach(lens: Lens, near: float, pose: torch.Tensor, rows: torch.Tensor) -> _Reach:
    """Of all disks; rows [N, 10] as of `_placed`."""
    disks = _placed(rows, lens, pose)
    low, high, crossing = _boxes(lens, near, disks)
    inside = ((high > 0) & (low < lens.size)).all(dim=-1) & rows.isfinite().all(dim=-1)
    drawable = inside & (disks.center[:, 2] > near) & (disks.opacity >= ALPHA_MIN)
    return _Reach(low.clamp(min=-1), torch.minimum(high, lens.size + 1), crossing & drawable, drawable)


def _boxes(lens: Lens, near: float, disks: _Placed) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Corners [V, 2] in pixels of where alpha reaches ALPHA_MIN, by the disk or by the screen filter.

    And `crossing` [V] of Splats.
    """
    p = disks.center
    radius = torch.sqrt(2 * torch.log(disks.opacity / ALPHA_MIN).clamp(min=0) + 1e-4)  # a little enlarged
    rims = disks.axes[:, :2] * (disks.scales * radius[:, None])[..., None]  # [V, 2, 3]
    z, slope = p[:, 2:], p[:, :2] / p[:, 2:]
    mean = torch.addcmul(lens.middle, slope, lens.focal)
    circle = radius[:, None] / LOW_PASS**0.5
    # Dual conic of the projected disk, about the mean; without bounds where it comes near the camera's plane.
    deep = rims[..., 2:]
    flat = lens.focal * torch.addcmul(rims[..., :2], slope[:, None], deep, value=-1)  # [V, 2, 2]
    reach2, square = (deep * deep).sum(1), z * z
    clear = square - reach2
    clear = torch.where(clear > 1e-3 * square, clear, torch.nan)
    shift = -(flat * deep).sum(1) / clear
    half = torch.sqrt((shift * shift + (flat * flat).sum(1) / clear).clamp(min=0))
    shift, half = shift.nan_to_num(0.0), half.nan_to_num(torch.inf)
    spread = rims @ lens.inward  # [V, 2, 5]
    spread = torch.sqrt((spread * spread).sum(1))
    along = p @ lens.inward  # [V, 5]
    least = -1e-3 * lens.focal[:1] * p.norm(dim=-1, keepdim=True)
    shown = (spread + along > least).all(-1, keepdim=True)
    low = mean + torch.minimum(torch.where(shown, shift - half, 0.0), -circle)
    high = mean + torch.maximum(torch.where(shown, shift + half, 0.0), circle)
    # Hit behind the camera is what the disk's mirror image through its centre would show in front; hit before
    # the near plane is what comes that close to the centre.
    close = (disks.axes[:, 2] * p).sum(-1).abs() < 1.01 * near * lens.corner
    through = (z - reach2.sqrt())[:, 0] < 1.01 * near
    return low, high, through & (close | (spread - along > least).all(-1))


def _splats(
    lens: Lens, ids: torch.Tensor, disks: _Placed, reach: _Reach, screen: torch.Tensor | None
) -> Splats:
    p = disks.center
    tangents, normal = disks.axes.split([2, 1], dim=1)
    plane = (normal[:, 0] * p).sum(-1, keepdim=True)
    normal = torch.where(plane < 0, -normal[:, 0], normal[:, 0])
    offset = plane.abs()[:, 0]
    edge_on = offset.detach() < EDGE_ON
    across, deep = p.split([2, 1], dim=1)
    mean = torch.addcmul(lens.middle, across / deep, lens.focal)
    # Edge-on disks have no intersections: a speck facing the camera leaves all to the screen filter.
    speck = _SPECK * torch.eye(3, dtype=p.dtype, device=p.device)[:2]
    spans = torch.where(edge_on[:, None, None], speck, tangents * disks.scales[..., None])
    matrix = lens.matrix @ torch.cat([spans, p[:, None]], dim=1).transpose(1, 2)
    if screen is not None:
        mean, matrix = _Footprint.apply(mean, matrix, screen, ids)
    # Boxes of what is not drawn may be infinite, or no numbers at all.
    shown, low, high = reach.drawable[:, None], reach.low, reach.high
    radius = torch.where(shown, torch.ceil((high - low) / 2).clamp(min=1), 0.0)
    return Splats(
        ids=ids,
        mean=mean,
        opacity=disks.opacity,
        normal=normal,
        offset=offset,
        matrix=matrix,
        edge_on=edge_on,
        crossing=reach.crossing,
        box_center=torch.where(shown, (low + high) / 2, 0.0),
        box_radius=radius.to(torch.int32),
        center=p,
        tangents=tangents,
        scales=disks.scales,
        focal=lens.focal,
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

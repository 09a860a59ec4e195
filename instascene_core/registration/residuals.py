"""How well two views agree where they see the same: in depth, along the surface's normal, and in colour.

A point of view a, taken to view b, has two residuals there: its distance from the plane through the depth
that b measured (point to plane, Chen and Medioni 1991), and the difference of their colours after a gain and
an offset of the pair.  Both are differentiated by the motion of both cameras.
"""

from dataclasses import dataclass

import torch

from instascene_core.registration.images import Stack

_FACING = 0.6  # cosine between normals above which two views see the same side
_WITHIN = 0.06  # of the depth: what is farther apart is another surface
_GAIN_ROUNDS = 3
_GAIN_PRIOR = 0.01  # share of the points that vote for equal exposure


@dataclass(frozen=True)
class Samples:
    """S pixels of every view: where, and their rays."""

    index: torch.Tensor  # [N, S] into the flat image of the view
    rays: torch.Tensor  # [N, S, 3] with z = 1


def draw_samples(images: Stack, count: int, generator: torch.Generator) -> Samples:
    """`count` pixels with trusted depth of every view, half of them by how much colours change there."""
    gray = images.gray
    change = torch.zeros_like(gray)
    change[:, :, 1:] += (gray[:, :, 1:] - gray[:, :, :-1]).abs()
    change[:, 1:] += (gray[:, 1:] - gray[:, :-1]).abs()
    known = (images.depth > 0).flatten(1).float()
    # Of a view without depth any pixels: they do not count.
    some = known + 1e-12 * (known.sum(dim=1, keepdim=True) == 0)
    edges = change.flatten(1) * known + 1e-6 * some
    half = count // 2
    index = torch.cat(
        [
            torch.multinomial(some, count - half, replacement=True, generator=generator),
            torch.multinomial(edges, half, replacement=True, generator=generator),
        ],
        dim=1,
    )
    width = images.size[1]
    fx, fy, cx, cy = (k[:, None] for k in images.intrinsics.unbind(dim=1))
    x, y = (index % width + 0.5 - cx) / fx, (index // width + 0.5 - cy) / fy
    return Samples(index, torch.stack([x, y, torch.ones_like(x)], dim=-1))


@dataclass(frozen=True)
class Residuals:
    """Of M pairs × S points; what is not comparable has weight 0 in `valid`."""

    valid: torch.Tensor  # [M, S] bool
    depth: torch.Tensor  # [M, S] metres
    noise: torch.Tensor  # [M, S] depth², which the noise of a sensor grows with
    color: torch.Tensor  # [M, S]
    # [M, S, 12] by the twists (shift, turn; each in its camera's axes) of both cameras
    by_depth: torch.Tensor | None
    by_color: torch.Tensor | None


def residuals(
    images: Stack,
    pairs: torch.Tensor,  # [M, 2]
    poses: torch.Tensor,  # [N, 4, 4] float64
    samples: Samples,
    differentiate: bool = True,
) -> Residuals:
    """Compare the pairs."""
    a, b = pairs.unbind(dim=1)
    height, width = images.size
    to_b = (torch.linalg.inv(poses[b]) @ poses[a]).float()
    turn, shift = to_b[:, :3, :3], to_b[:, :3, 3]
    index = samples.index[a]
    depth_a = images.depth.flatten(1)[a[:, None], index]
    point_a = samples.rays[a] * depth_a[..., None]  # [M, S, 3] in a's axes
    point = point_a @ turn.transpose(1, 2) + shift[:, None]  # in b's axes
    z = point[..., 2]
    fx, fy, cx, cy = (k[:, None] for k in images.intrinsics[b].unbind(dim=1))
    safe = z.clamp_min(1e-6)
    u, v = point[..., 0] / safe * fx + cx - 0.5, point[..., 1] / safe * fy + cy - 0.5
    inside = (z > 1e-6) & (u >= 1) & (v >= 1) & (u < width - 2) & (v < height - 2)
    u, v = u.clamp(0, width - 2), v.clamp(0, height - 2)
    # Depth of the nearest pixel: between two of them there may be an edge.
    there = v.round().long() * width + u.round().long()
    normal = images.normals.flatten(1, 2)[b[:, None], there]
    depth_b = images.depth.flatten(1)[b[:, None], there]
    x_b, y_b = (there % width + 0.5 - cx) / fx, (there // width + 0.5 - cy) / fy
    point_b = torch.stack([x_b, y_b, torch.ones_like(x_b)], dim=-1) * depth_b[..., None]
    depth = ((point - point_b) * normal).sum(dim=-1)
    normal_a = images.normals.flatten(1, 2)[a[:, None], index] @ turn.transpose(1, 2)
    valid = inside & (depth_a > 0) & (depth_b > 0)
    valid &= (depth.abs() < _WITHIN * z) & ((normal_a * normal).sum(dim=-1) > _FACING)
    seen, du, dv = _bilinear(images.gray, b, u, v)
    gray_a = images.gray.flatten(1)[a[:, None], index]
    color = seen - _with_gain(gray_a, seen, valid)
    if not differentiate:
        return Residuals(valid, depth, z**2, color, None, None)
    along_x, along_y = du * fx / safe, dv * fy / safe
    along_z = -(along_x * point[..., 0] + along_y * point[..., 1]) / safe
    gradient = torch.stack([along_x, along_y, along_z], dim=-1)
    by_depth, by_color = (_by_motion(g, point_a, point, turn) for g in (normal, gradient))
    return Residuals(valid, depth, z**2, color, by_depth, by_color)


def _by_motion(
    gradient: torch.Tensor, point_a: torch.Tensor, point_b: torch.Tensor, turn: torch.Tensor
) -> torch.Tensor:
    """[M, S, 12] from the gradient [M, S, 3] by the point in b's axes."""
    here = gradient @ turn  # in a's axes
    parts = [here, torch.linalg.cross(point_a, here), -gradient, -torch.linalg.cross(point_b, gradient)]
    return torch.cat(parts, dim=-1)


def _bilinear(
    gray: torch.Tensor, view: torch.Tensor, u: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values at (u, v) [M, S] and their derivatives by u and v."""
    width = gray.shape[2]
    column, row = u.floor(), v.floor()
    right, down = u - column, v - row
    flat, first = gray.flatten(1), (row * width + column).long()
    at = [flat[view[:, None], first + offset] for offset in (0, 1, width, width + 1)]
    upper, lower = at[0] + right * (at[1] - at[0]), at[2] + right * (at[3] - at[2])
    by_u = (1 - down) * (at[1] - at[0]) + down * (at[3] - at[2])
    return upper + down * (lower - upper), by_u, lower - upper


def _with_gain(here: torch.Tensor, there: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """`here` [M, S] with the gain and the offset of each pair that make it like `there`; robust."""
    weight = valid.float()
    gain = torch.ones(len(here), 1)
    offset = torch.zeros(len(here), 1)
    for _ in range(_GAIN_ROUNDS):
        prior = _GAIN_PRIOR * weight.sum(dim=1, keepdim=True) + 1e-6
        total = weight.sum(dim=1, keepdim=True) + prior
        mean_here = (weight * here).sum(dim=1, keepdim=True) / total
        mean_there = (weight * there).sum(dim=1, keepdim=True) / total
        spread = (weight * (here - mean_here) ** 2).sum(dim=1, keepdim=True) + prior
        shared = (weight * (here - mean_here) * (there - mean_there)).sum(dim=1, keepdim=True) + prior
        gain = shared / spread
        offset = mean_there - gain * mean_here
        off = there - gain * here - offset
        scale = (weight * off.abs()).sum(dim=1, keepdim=True) / (total - prior + 1e-6) + 1e-4
        weight = valid / (1 + (off / (2 * scale)) ** 2)
    return gain * here + offset

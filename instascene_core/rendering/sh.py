"""Spherical-harmonics colours of Gaussians seen from a camera."""

import torch
from torch.autograd.function import once_differentiable

from instascene_core.errors import InputError
from instascene_core.rendering.library import check, kernel, num_threads, pointer


def sh_forward(means: torch.Tensor, sh: torch.Tensor, position: torch.Tensor, degree: int) -> torch.Tensor:
    """Colours [N, 3]; all arguments float32, contiguous, CPU; `position` [3] of the camera."""
    colors = torch.empty((len(means), 3))
    check(
        kernel().isk_sh_forward(
            len(means), sh.shape[1], degree, num_threads(), pointer(means), pointer(position), pointer(sh),
            pointer(colors),
        )
    )  # fmt: skip
    return colors


def sh_backward(
    means: torch.Tensor,
    sh: torch.Tensor,
    position: torch.Tensor,
    degree: int,
    colors: torch.Tensor,
    g_colors: torch.Tensor,
    g_sh: torch.Tensor,
    g_means: torch.Tensor,
    g_position: torch.Tensor | None,
) -> None:
    """Write `g_sh` [N, K, 3]; add to `g_means` [N, 3] and, if given, `g_position` [3]."""
    check(
        kernel().isk_sh_backward(
            len(means), sh.shape[1], degree, num_threads(), pointer(means), pointer(position), pointer(sh),
            pointer(colors), pointer(g_colors), pointer(g_sh), pointer(g_means), pointer(g_position),
        )
    )  # fmt: skip


class _EvaluateSh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, means, sh, position, degree):
        means, sh = means.contiguous(), sh.contiguous()
        position = position.float().contiguous()
        colors = sh_forward(means, sh, position, degree)
        ctx.save_for_backward(means, sh, position, colors)
        ctx.degree = degree
        return colors

    @staticmethod
    @once_differentiable
    def backward(ctx, g_colors):
        means, sh, position, colors = ctx.saved_tensors
        g_sh, g_means, g_position = torch.empty_like(sh), torch.zeros_like(means), torch.zeros(3)
        g_colors = g_colors.contiguous()
        sh_backward(means, sh, position, ctx.degree, colors, g_colors, g_sh, g_means, g_position)
        return g_means, g_sh, g_position, None


def evaluate_sh(
    means: torch.Tensor, sh: torch.Tensor, position: torch.Tensor, degree: int | None = None
) -> torch.Tensor:
    """Colours [N, 3] ≥ 0 of Gaussians seen from `position` [3]: max(0, 0.5 + Σ sh·Y(direction)).

    means [N, 3] metres and sh [N, K, 3] are float32 on one device; `degree` limits the harmonics used
    (None: all that are stored).  Differentiable by all three tensors.
    """
    stored = {1: 0, 4: 1, 9: 2, 16: 3}.get(sh.shape[1] if sh.ndim == 3 else -1)
    if stored is None or sh.shape[2] != 3 or len(sh) != len(means):
        raise InputError(f"sh must have shape ({len(means)}, 1|4|9|16, 3), got {tuple(sh.shape)}.")
    degree = stored if degree is None else degree
    if not 0 <= degree <= stored:
        raise InputError(f"sh degree {degree} asked for, but the Gaussians hold degrees 0 to {stored}.")
    if means.device.type != "cpu":
        return sh_colors(means, sh, position.to(means), degree)
    return _EvaluateSh.apply(means, sh, position, degree)


def sh_colors(means: torch.Tensor, sh: torch.Tensor, position: torch.Tensor, degree: int) -> torch.Tensor:
    """The same in plain torch, on any device and in any precision; real harmonics as in 3DGS files."""
    # A broken Gaussian is not drawn; here its NaN would reach the gradient of `position`.
    x, y, z = torch.nn.functional.normalize(means.nan_to_num() - position, dim=-1).unbind(-1)
    basis = [
        0.28209479177387814 * torch.ones_like(x),
        -0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x,
        1.0925484305920792 * x * y, -1.0925484305920792 * y * z,
        0.31539156525252005 * (2 * z * z - x * x - y * y), -1.0925484305920792 * x * z,
        0.5462742152960396 * (x * x - y * y),
        -0.5900435899266435 * y * (3 * x * x - y * y), 2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * z * z - x * x - y * y),
        0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
        -0.4570457994644658 * x * (4 * z * z - x * x - y * y),
        1.445305721320277 * z * (x * x - y * y), -0.5900435899266435 * x * (x * x - 3 * y * y),
    ]  # fmt: skip
    count = (degree + 1) ** 2
    weights = torch.stack(basis[:count], dim=-1)  # [N, K]
    return (torch.einsum("nk,nkc->nc", weights, sh[:, :count]) + 0.5).clamp(min=0)

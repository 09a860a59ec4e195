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

    means [N, 3] metres and sh [N, K, 3] are float32 on the CPU; `degree` limits the harmonics used
    (None: all that are stored).  Differentiable by all three tensors.
    """
    stored = {1: 0, 4: 1, 9: 2, 16: 3}.get(sh.shape[1] if sh.ndim == 3 else -1)
    if stored is None or sh.shape[2] != 3 or len(sh) != len(means):
        raise InputError(f"sh must have shape ({len(means)}, 1|4|9|16, 3), got {tuple(sh.shape)}.")
    degree = stored if degree is None else degree
    if not 0 <= degree <= stored:
        raise InputError(f"sh degree {degree} asked for, but the Gaussians hold degrees 0 to {stored}.")
    return _EvaluateSh.apply(means, sh, position, degree)

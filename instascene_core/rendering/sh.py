"""Spherical-harmonics colours of Gaussians seen from a camera."""

import itertools
from collections.abc import Sequence

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


def sh_colors(
    means: torch.Tensor,
    sh: torch.Tensor,
    position: torch.Tensor,
    degree: int,
    factors: Sequence[torch.Tensor] | None = None,
) -> torch.Tensor:
    """The same in plain torch, on any device and in any precision; real harmonics as in 3DGS files.

    The harmonics of a band are homogeneous polynomials of the direction: a product of its powers with a
    constant matrix, which takes a GPU fewer launches than writing them out.  factors: `band_factors`, where
    they are at hand.
    """
    factors = band_factors(means, degree) if factors is None else factors
    # A broken Gaussian is not drawn; here its NaN would reach the gradient of `position`.
    direction = torch.nn.functional.normalize(means.nan_to_num() - position, dim=-1)
    constant = sh[:, 0] * _BAND_0 + 0.5
    if degree == 0:
        return constant.clamp(min=0)
    powers, weights = direction, []
    for band in range(1, degree + 1):
        if band > 1:  # all products of `band` components
            powers = (powers[:, :, None] * direction[:, None]).reshape(len(means), -1)
        weights.append(powers @ factors[band - 1])
    weights = torch.cat(weights, dim=-1) if degree > 1 else weights[0]  # [N, K − 1]
    return (constant + (weights[:, None] @ sh[:, 1 : (degree + 1) ** 2])[:, 0]).clamp(min=0)


def band_factors(like: torch.Tensor, degree: int) -> list[torch.Tensor]:
    """Of the bands 1 to `degree` the factors [3^band, 2 · band + 1], of the type and device of `like`."""
    return [like.new_tensor(_BANDS[b]).reshape(3**b, 2 * b + 1) for b in range(1, degree + 1)]


_BAND_0 = 0.28209479177387814
# By harmonic the factors of products of x, y, z.
_POLYNOMIALS: dict[int, list[dict[str, float]]] = {
    1: [{"y": -0.4886025119029199}, {"z": 0.4886025119029199}, {"x": -0.4886025119029199}],
    2: [
        {"xy": 1.0925484305920792},
        {"yz": -1.0925484305920792},
        {"zz": 2 * 0.31539156525252005, "xx": -0.31539156525252005, "yy": -0.31539156525252005},
        {"xz": -1.0925484305920792},
        {"xx": 0.5462742152960396, "yy": -0.5462742152960396},
    ],
    3: [
        {"xxy": -3 * 0.5900435899266435, "yyy": 0.5900435899266435},
        {"xyz": 2.890611442640554},
        {"yzz": -4 * 0.4570457994644658, "xxy": 0.4570457994644658, "yyy": 0.4570457994644658},
        {"zzz": 2 * 0.3731763325901154, "xxz": -3 * 0.3731763325901154, "yyz": -3 * 0.3731763325901154},
        {"xzz": -4 * 0.4570457994644658, "xxx": 0.4570457994644658, "xyy": 0.4570457994644658},
        {"xxz": 1.445305721320277, "yyz": -1.445305721320277},
        {"xxx": -0.5900435899266435, "xyy": 3 * 0.5900435899266435},
    ],
}


def _factors(band: int) -> list[float]:
    """[3^band · (2 · band + 1)] of the products of `band` components (rows, the last turns fastest)."""
    harmonics = _POLYNOMIALS[band]
    products = ["".join(letters) for letters in itertools.product("xyz", repeat=band)]
    return [polynomial.get(product, 0.0) for product in products for polynomial in harmonics]


_BANDS = {band: _factors(band) for band in _POLYNOMIALS}

"""`rendering.fused` for tensors on a GPU: the same functions, by autograd over `losses.py`."""

from collections.abc import Callable

import torch

from instascene_core.camera import PinholeCamera
from instascene_core.rendering import losses
from instascene_core.rendering.view import SurfaceImages


def write_photometric(
    image: torch.Tensor,
    target: torch.Tensor,
    gradient: torch.Tensor | None,
    ssim_weight: float,
    valid: torch.Tensor | None,
) -> float:
    value, (found,) = _value_and_gradients(
        lambda x: losses.photometric_loss(x, target, ssim_weight, valid), [image]
    )
    if gradient is not None:
        gradient.copy_(found)
    return value


def add_normal_consistency(
    images: SurfaceImages,
    camera: PinholeCamera,
    world_from_camera: torch.Tensor,
    weight: float,
    gradients: SurfaceImages,
) -> float:
    value, found = _value_and_gradients(
        lambda normal, depth, alpha: (
            weight * losses.normal_consistency_loss(normal, depth, alpha, camera, world_from_camera)
        ),
        [images.normal, images.depth, images.alpha],
    )
    for target, gradient in zip((gradients.normal, gradients.depth, gradients.alpha), found):
        target += gradient
    return value


def add_depth_loss(
    depth: torch.Tensor,
    measured: torch.Tensor,
    trust: torch.Tensor,
    weight: float,
    gradient: torch.Tensor,
    tolerance: float,
) -> float:
    value, (found,) = _value_and_gradients(
        lambda x: weight * losses.depth_loss(x, measured, trust, tolerance), [depth]
    )
    gradient += found
    return value


@torch.no_grad()
def adam_step(
    parameter: torch.Tensor,
    gradient: torch.Tensor,
    mean: torch.Tensor,
    square: torch.Tensor,
    step: int,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    chosen: torch.Tensor | None,
) -> None:
    if chosen is not None:
        rows = torch.nonzero(chosen).flatten()
        part, part_mean, part_square = parameter[rows], mean[rows], square[rows]
        adam_step(part, gradient[rows], part_mean, part_square, step, learning_rate, betas, epsilon, None)
        for whole, changed in ((parameter, part), (mean, part_mean), (square, part_square)):
            whole[rows] = changed
        return
    mean.lerp_(gradient, 1 - betas[0])
    square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    root = (square / (1 - betas[1] ** step)).sqrt_().add_(epsilon)
    parameter.addcdiv_(mean, root, value=-learning_rate / (1 - betas[0] ** step))


@torch.no_grad()
def adam_steps(
    parameters: list[torch.Tensor],
    gradients: list[torch.Tensor],
    means: list[torch.Tensor],
    squares: list[torch.Tensor],
    step: int,
    learning_rates: list[float],
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """`adam_step` on tensors of one device together: a launch for all of them in place of one for each."""
    # torch documents its foreach operations, and exports them under these names alone.
    torch._foreach_lerp_(means, gradients, 1 - betas[0])  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_mul_(squares, betas[1])  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - betas[1])  # pyright: ignore[reportPrivateImportUsage]
    roots = torch._foreach_div(squares, 1 - betas[1] ** step)  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_sqrt_(roots)  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_add_(roots, epsilon)  # pyright: ignore[reportPrivateImportUsage]
    shares = [-rate / (1 - betas[0] ** step) for rate in learning_rates]
    torch._foreach_addcdiv_(parameters, means, roots, shares)  # pyright: ignore[reportPrivateImportUsage]


@torch.enable_grad()
def _value_and_gradients(
    loss: Callable[..., torch.Tensor], images: list[torch.Tensor]
) -> tuple[float, tuple[torch.Tensor, ...]]:
    leaves = [image.detach().requires_grad_() for image in images]
    value = loss(*leaves)
    return float(value.detach()), torch.autograd.grad(value, leaves)

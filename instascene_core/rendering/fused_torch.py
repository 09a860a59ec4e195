"""`rendering.fused` for tensors on a GPU: the same functions, by autograd over `losses.py`.

There a loss and its gradients are one CUDA graph (`cuda_graphs.py` says why).
"""

import threading
from collections.abc import Callable, Sequence

import torch

from instascene_core.camera import PinholeCamera
from instascene_core.rendering import losses
from instascene_core.rendering.recorded import RecordedFunction
from instascene_core.rendering.view import SurfaceImages

MAX_GRAPHS = 16  # losses times sizes of images


def write_photometric(
    image: torch.Tensor,
    target: torch.Tensor,
    gradient: torch.Tensor | None,
    ssim_weight: float,
    valid: torch.Tensor | None,
) -> float:
    given = [target] if valid is None else [target, valid]
    value, (found,) = _value_and_gradients(_photometric, (ssim_weight,), [image], given)
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
    surface = [images.normal, images.depth, images.alpha]
    given = [world_from_camera.to(images.normal), losses.ray_planes(camera, images.depth)]
    value, found = _value_and_gradients(_normal_consistency, (weight,), surface, given)
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
    value, (found,) = _value_and_gradients(_depth, (weight, tolerance), [depth], [measured, trust])
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


def _photometric(settings: tuple, image: torch.Tensor, target: torch.Tensor, valid=None) -> torch.Tensor:
    (ssim_weight,) = settings
    return losses.photometric_loss(image, target, ssim_weight, valid)


def _normal_consistency(settings: tuple, normal, depth, alpha, pose, rays) -> torch.Tensor:
    (weight,) = settings
    return weight * losses.normal_consistency(normal, depth, alpha, rays, pose)


def _depth(settings: tuple, depth, measured, trust) -> torch.Tensor:
    weight, tolerance = settings
    return weight * losses.depth_loss(depth, measured, trust, tolerance)


def _value_and_gradients(
    loss: Callable[..., torch.Tensor],
    settings: tuple,
    images: list[torch.Tensor],
    given: list[torch.Tensor],
) -> tuple[float, Sequence[torch.Tensor]]:
    """`loss(settings, *images, *given)` and its gradients by the images, which the next call overwrites."""
    count = len(images)

    @torch.enable_grad()
    def compute(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        leaves = [tensor.detach().requires_grad_() for tensor in tensors[:count]]
        value = loss(settings, *leaves, *tensors[count:])
        return value.detach(), *torch.autograd.grad(value, leaves)

    tensors = [*images, *given]
    if tensors[0].is_cuda:  # a tensor that only says that it is on a GPU has no graphs
        key = (loss, settings, *((tensor.shape, tensor.dtype) for tensor in tensors))
        if key not in (graphs := _graphs_of_thread()):
            graphs[key] = RecordedFunction(compute, tensors)
        value, *gradients = graphs[key](*tensors)
    else:
        value, *gradients = compute(*tensors)
    return float(value), gradients


_of_thread = threading.local()


def _graphs_of_thread() -> dict[tuple, RecordedFunction]:
    """Graphs write where they wrote before, so every thread has its own."""
    graphs = _of_thread.__dict__.setdefault("graphs", {})
    if len(graphs) > MAX_GRAPHS:
        graphs.clear()
    return graphs

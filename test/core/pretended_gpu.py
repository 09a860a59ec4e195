"""Tensors that compute on the CPU and say that they are on a GPU.

Like on a real one, nothing but scalars mixes with tensors on the CPU, and numpy does not get at them: code
for a GPU can be checked for forgotten moves where there is none.
"""

from types import SimpleNamespace

import gsplat_stand_in
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)
CALLS = (
    "isect_tiles",
    "isect_offset_encode",
    "rasterize_to_pixels_2dgs",
    "rasterize_to_indices_in_range_2dgs",
)


class GpuTensor(torch.Tensor):
    """A CPU tensor in disguise."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype
        )

    def __init__(self, inner):
        self.inner = inner

    device = property(lambda self: GPU)

    def __repr__(self):
        return f"GpuTensor({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), keywords=None):
        given = (arguments, keywords or {})
        for tensor in tree_leaves(given):
            if isinstance(tensor, torch.Tensor) and not isinstance(tensor, GpuTensor) and tensor.ndim:
                raise RuntimeError(f"{function}: a tensor of shape {tuple(tensor.shape)} is on the CPU")
        inner = tree_map(lambda x: x.inner if isinstance(x, GpuTensor) else x, given)
        result = tree_map(
            lambda x: GpuTensor(x) if isinstance(x, torch.Tensor) else x, function(*inner[0], **inner[1])
        )
        return return_and_correct_aliasing(function, *given, result)


class _ToGpu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        return GpuTensor(tensor.detach().clone())

    @staticmethod
    def backward(ctx, gradient):
        return gradient.inner if isinstance(gradient, GpuTensor) else gradient


class _ToCpu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        return tensor.inner.detach().clone()

    @staticmethod
    def backward(ctx, gradient):
        return GpuTensor(gradient)


class PretendedGpu(TorchFunctionMode):
    """While it is entered, `device="cuda"` makes GpuTensors and `.to`, `.cpu`, `.cuda` move them."""

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        keywords = dict(keywords or {})
        name = getattr(function, "__name__", "")
        first = arguments[0] if arguments else None
        on_gpu = isinstance(first, GpuTensor)
        if name in ("cpu", "cuda"):
            return move(first, name)
        if name == "to":
            return self._to(function, first, arguments[1:], keywords)
        if name in ("numpy", "__array__") and on_gpu:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if name == "tolist" and on_gpu:
            return first.inner.tolist()
        if name == "new_tensor" and on_gpu:
            return move(torch.tensor(arguments[1], dtype=keywords.get("dtype", first.dtype)), GPU)
        if "device" in keywords:
            device = torch.device(keywords.pop("device") or "cpu")
            with torch.no_grad() if device.type == "cpu" else torch.enable_grad():
                made = function(*arguments, **{k: v for k, v in keywords.items() if k != "requires_grad"})
            return move(made, device).requires_grad_(keywords.get("requires_grad", False))
        return function(*arguments, **keywords)

    @staticmethod
    def _to(function, tensor, arguments, keywords):
        device = keywords.pop("device", None)
        rest = []
        for argument in arguments:
            if isinstance(argument, torch.Tensor):
                device, argument = argument.device, argument.dtype
            if isinstance(argument, (str, torch.device)):
                device = argument
            else:
                rest.append(argument)
        if device is not None:
            tensor = move(tensor, device)
        return function(tensor, *rest, **keywords) if rest or keywords else tensor


def move(tensor: torch.Tensor, device) -> torch.Tensor:
    """`tensor` on "cpu" or "cuda", differentiable."""
    to_gpu = torch.device(device).type == "cuda"
    if to_gpu == isinstance(tensor, GpuTensor):
        return tensor
    return _ToGpu.apply(tensor) if to_gpu else _ToCpu.apply(tensor)


def gsplat_on_gpu() -> SimpleNamespace:
    """The stand-in for gsplat, for GpuTensors and nothing else."""

    def wrapped(function):
        def call(*arguments):
            tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
            assert all(isinstance(tensor, GpuTensor) for tensor in tensors)
            found = function(*(move(a, "cpu") if isinstance(a, torch.Tensor) else a for a in arguments))
            if isinstance(found, tuple):
                return tuple(move(tensor, GPU) for tensor in found)
            return move(found, GPU)

        return call

    return SimpleNamespace(**{name: wrapped(getattr(gsplat_stand_in, name)) for name in CALLS})

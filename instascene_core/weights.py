"""Weights that come with the package, or that a user trained: safetensors with a format in the header."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from instascene_core.errors import InputError
from instascene_core.files import atomic_path

if TYPE_CHECKING:
    from torch import nn


def read_weights(
    path: Path, form: str, of: str, advice: str = ""
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by name, half precision made single, and the header's notes.

    form: the header's entry "format"; of: what the weights are of; advice: what else to do, for the errors.
    Raises InputError when the file is missing, unreadable or of another format.
    """
    from safetensors import SafetensorError, safe_open

    path, tail = Path(path), f"; {advice}." if advice else "."
    if not path.is_file():
        raise InputError(f"There are no weights of the {of} at '{path}'{tail}")
    try:
        with safe_open(str(path), framework="np") as file:
            notes = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, ValueError, KeyError, AttributeError) as error:  # also types
        raise InputError(f"'{path}' is not a readable weights file ({error}){tail}") from error
    if notes.get("format") != form:
        raise InputError(f"'{path}' does not hold weights of the {of} ({form}){tail}")
    arrays = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in arrays.items()}
    for name, values in arrays.items():
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise InputError(f"'{path}' holds values in '{name}' that are not finite numbers{tail}")
    return arrays, notes


def require_shapes(
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    path: Path,
    of: str,
    advice: str = "",
) -> None:
    """InputError where `arrays` are not those of `shapes`, by name."""
    wrong = [
        name for name, shape in shapes.items() if name not in arrays or arrays[name].shape != tuple(shape)
    ]
    wrong += sorted(arrays.keys() - shapes.keys())
    if wrong:
        tail = f"; {advice}." if advice else "."
        raise InputError(f"The weights in '{path}' do not fit the {of} (see '{wrong[0]}'){tail}")


def filled_network(
    make: Callable[[tuple[int, ...]], "nn.Module"],
    arrays: Mapping[str, np.ndarray],
    notes: Mapping[str, str],
    path: Path,
    of: str,
    advice: str = "",
) -> "nn.Module":
    """The network `make(widths)` with these weights; widths are the header's.

    It is made without memory first, so that no header can ask for more than the file holds.
    """
    import torch

    try:
        widths = tuple(json.loads(notes["widths"]))
        if not 1 <= len(widths) <= 16 or not all(type(w) is int and 1 <= w <= 2**16 for w in widths):
            raise ValueError(f"{widths}")
        with torch.device("meta"), _without_draws():
            network = make(widths)
    except (
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        RuntimeError,
        AssertionError,
        RecursionError,
    ) as error:
        tail = f"; {advice}." if advice else "."
        raise InputError(f"The weights in '{path}' do not fit the {of} (their widths){tail}") from error
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    # A single number comes back from the file as an array of one.
    arrays = {k: v.reshape(()) if v.size == 1 and shapes.get(k) == () else v for k, v in arrays.items()}
    require_shapes(arrays, shapes, path, of, advice)
    values = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    network.load_state_dict(values, assign=True)
    return network


def _without_draws() -> AbstractContextManager:
    """Inside, `nn.init.normal_` leaves a tensor as it is: to draw one without memory torch would import its
    compiler first, which takes a second."""
    import torch
    from torch.overrides import TorchFunctionMode

    class WithoutDraws(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            return kwargs["tensor"] if func is torch.nn.init.normal_ else func(*args, **kwargs)

    return WithoutDraws()


def write_weights(
    path: Path, arrays: Mapping[str, np.ndarray], form: str, notes: Mapping[str, str], half: bool = True
) -> None:
    """Write arrays by name, atomically.  half: store single precision as half, which a network's weights
    do not feel."""
    from safetensors.numpy import save

    stored = {k: v.astype(np.float16) if half and v.dtype == np.float32 else v for k, v in arrays.items()}
    stored = {k: np.ascontiguousarray(v) for k, v in stored.items()}
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(save(stored, metadata={"format": form, **notes}))

"""Where a training stands: weights and Adam's moments as safetensors, so that it goes on where it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from instascene_core.errors import InputError
from instascene_core.files import atomic_path


@dataclass(frozen=True)
class Standing:
    """How far a training has come."""

    step: int = 0
    seconds: float = 0.0


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    standing: Standing,
    averaged: nn.Module | None = None,
) -> None:
    """Atomically; a reader of the file gets either the last or this.

    averaged: the running average of the network's weights, where the training keeps one.
    """
    from safetensors.torch import save

    state = {}
    for kind, module in _modules(network, averaged).items():
        state.update({f"{kind}.{k}": v.detach().cpu().contiguous() for k, v in module.state_dict().items()})
    for i, entry in optimiser.state_dict()["state"].items():
        state.update({f"adam.{i}.{k}": torch.as_tensor(v).cpu().contiguous() for k, v in entry.items()})
    notes = {"step": str(standing.step), "seconds": str(standing.seconds)}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(state, metadata=notes))


def load_checkpoint(
    path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, averaged: nn.Module | None = None
) -> Standing:
    """Fill all from the file; Standing() where there is none.  InputError where it is of another network."""
    if not path.is_file():
        return Standing()
    from safetensors import SafetensorError, safe_open

    moments: dict[int, dict[str, torch.Tensor]] = {}
    modules = _modules(network, averaged)
    states: dict[str, dict[str, torch.Tensor]] = {kind: {} for kind in modules}
    try:
        with safe_open(str(path), framework="pt") as file:
            notes: Mapping[str, str] = file.metadata()
            for name in file.keys():  # noqa: SIM118
                kind, rest = name.split(".", 1)
                if kind == "adam":
                    index, key = rest.split(".")
                    moments.setdefault(int(index), {})[key] = file.get_tensor(name)
                else:
                    states[kind][rest] = file.get_tensor(name)
        for kind, module in modules.items():
            module.load_state_dict(states[kind])
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": moments, "param_groups": groups})
        return Standing(int(notes["step"]), float(notes["seconds"]))
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"'{path}' is not a checkpoint of this training; remove it, or write to another file."
        ) from error


def _modules(network: nn.Module, averaged: nn.Module | None) -> dict[str, nn.Module]:
    """By the first part of their tensors' names in the file."""
    return {"network": network} | ({} if averaged is None else {"averaged": averaged})

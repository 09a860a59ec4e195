"""Trainings whose result is the running average of the weights: the step, the checkpoint, the curve."""

import csv
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from instascene_core.training.checkpoint import Standing, load_checkpoint, save_checkpoint

logger = logging.getLogger(__name__)

NetworkT = TypeVar("NetworkT", bound=nn.Module)
MAX_GRADIENT = 1.0  # norm of all gradients together


class AveragedTrainer(Generic[NetworkT]):
    """A network, the running average of its weights and Adam with decay (on the GPU where there is one).

    network, averaged: of the same shape; the second takes the first's weights.  average: share that the
    average keeps in a step, less in the first ones.  Goes on from the checkpoint where there is one
    (InputError where that is of another training).
    """

    def __init__(
        self,
        network: NetworkT,
        averaged: NetworkT,
        checkpoint: Path,
        *,
        learning_rate: float,
        weight_decay: float,
        average: float,
        layout: torch.memory_format,
    ) -> None:
        self.checkpoint, self.average = checkpoint, average
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network, self.averaged = network.train(), averaged.eval()
        for each in (network, averaged):
            each.to(self.device, memory_format=layout)  # pyright: ignore[reportCallIssue] not in torch
        averaged.load_state_dict(network.state_dict())
        self.optimiser = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=weight_decay)
        standing = load_checkpoint(checkpoint, network, self.optimiser, averaged)
        self.step, self.seconds = standing.step, standing.seconds
        if self.step:
            logger.info("going on from step %d", self.step)

    def descend(self, losses: Iterable[torch.Tensor], rate: float) -> float:
        """One step down the sum of the losses, returned; they are made, and let go, one after the other.

        rate: of learning.  A step whose gradient is not finite is left out, with a warning.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        found = []
        for loss in losses:
            loss.backward()
            found.append(loss.detach())
        total = float(torch.stack(found).sum())
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT)
        self.step += 1
        if not torch.isfinite(norm):
            logger.warning("step %d: a gradient is not finite, left out (loss %.4f)", self.step, total)
            return total
        self.optimiser.step()
        keep = min(self.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            means: list[torch.Tensor] = list(self.averaged.parameters())
            now: list[torch.Tensor] = list(self.network.parameters())
            torch._foreach_lerp_(means, now, 1 - keep)  # pyright: ignore[reportPrivateImportUsage]
        return total

    def save(self) -> None:
        """Weights, their average, Adam's moments, and how far it came."""
        standing = Standing(self.step, self.seconds)
        save_checkpoint(self.checkpoint, self.network, self.optimiser, standing, self.averaged)


def add_to_curve(path: Path, row: Mapping[str, float]) -> None:
    """Add a line to a learning curve (CSV), with a head where it is the first."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
    logger.info("%s", dict(row))

"""The training loop: losses on distances and their doubt, averaged weights, checkpoints, a learning curve."""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from instascene_core.completion.priors.network import CLIP, HEADS, CompletionNetwork, save_network
from instascene_core.errors import InputError
from instascene_core.training.averaged import AveragedTrainer, add_to_curve
from instascene_core.training.completion.data import VALIDATION, shard_path, shuffle_examples
from instascene_core.training.completion.observations import Example
from instascene_core.training.completion.scores import score_network

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingConfig:
    """Everything the result depends on besides the code."""

    seed: int = 0
    shards: int = 400  # of 32 examples
    validation_shards: int = 5
    epochs: float = 4.0
    minutes: float = 0.0  # end (with the learning rate run down) after this long; 0 = all epochs
    batch: int = 4  # examples whose gradients are summed, one after the other: their boxes differ in shape
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    average: float = 0.998  # of the averaged weights, per step
    last_fine: float = 0.25  # share of the run at whose end coarse examples become rare
    band: float = 2.0  # voxels about the true surface that count four times
    hypotheses: float = 0.5  # weight of the heads that need only be right where they were best
    relaxed: float = 0.15  # their share that goes to the heads that were not
    checkpoint_every_s: float = 180.0
    score_every_s: float = 600.0


# --- loss ---


def voxel_weights(inputs: torch.Tensor, truth: torch.Tensor, band: float) -> torch.Tensor:
    """[B, X, Y, Z]: more near the surface, where nothing is known, and where carving is wrong (inside
    vessels above all); less in known free space."""
    free, trust, carved = inputs[:, 2] > 0.5, inputs[:, 1] > 0, inputs[:, 7]
    weight = 1 + 3 * (truth.abs() < band).float()
    weight = weight * torch.where(free, 0.3, torch.where(trust, 1.0, 1.5))
    return weight * torch.where((carved < 0) != (truth < 0), 2.0, 1.0)


def head_losses(distances: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """[B, HEADS]: weighted L1 (beyond the clip only a wrong side counts) + half the cross entropy of
    inside and outside."""
    target = truth[:, None].expand_as(distances)
    error = distances - target
    error = torch.where(
        target >= CLIP - 0.02, F.relu(-error), torch.where(target <= 0.02 - CLIP, F.relu(error), error.abs())
    )
    side = F.binary_cross_entropy_with_logits(-2 * distances, (target < 0).float(), reduction="none")
    return ((error + 0.5 * side) * weight[:, None]).sum((2, 3, 4)) / weight.sum((1, 2, 3))[:, None]


def loss_of(outputs, inputs: torch.Tensor, truth: torch.Tensor, config: TrainingConfig) -> torch.Tensor:
    """First head in full; the others relaxed winner-takes-all (Rupprecht et al. 2017); cross entropy of
    which head wins; Laplace likelihood of the first head's error near both surfaces."""
    distances, doubt, rank = outputs
    each = head_losses(distances, truth, voxel_weights(inputs, truth, config.band))
    others = each[:, 1:]
    share = torch.full_like(others, config.relaxed / max(1, HEADS - 2))
    share.scatter_(1, others.argmin(dim=1, keepdim=True), 1 - config.relaxed)
    first = distances[:, 0].detach().clamp(-CLIP, CLIP)
    near = ((first.abs() < config.band) | (truth.abs() < config.band)).float()
    doubt = doubt.clamp(-5, 3)
    unlikely = (first - truth).abs() * torch.exp(-doubt) + doubt
    unlikely = (unlikely * near).sum() / near.sum().clamp(min=1)
    winner = F.cross_entropy(rank, each.detach().argmin(dim=1))
    hypotheses = (share.detach() * others).sum(dim=1).mean()
    return each[:, 0].mean() + config.hypotheses * hypotheses + 0.05 * winner + 0.1 * unlikely


# --- loop ---


class Trainer(AveragedTrainer[CompletionNetwork]):
    """The network in training."""

    def __init__(self, config: TrainingConfig, checkpoint: Path) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        super().__init__(
            CompletionNetwork(),
            CompletionNetwork(),
            checkpoint,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            average=config.average,
            layout=torch.channels_last_3d,
        )

    def update(self, examples: list[Example], rate: float) -> float:
        """One step on the mean of the examples' losses, returned."""
        return self.descend((self._loss(example) / len(examples) for example in examples), rate)

    def _loss(self, example: Example) -> torch.Tensor:
        inputs = torch.from_numpy(example.inputs)[None].to(self.device)
        inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
        truth = torch.from_numpy(example.distance)[None].to(self.device)
        with torch.autocast(self.device, torch.bfloat16):
            outputs = self.network(inputs)
        return loss_of(outputs, inputs, truth, self.config)


def train(data: Path, output: Path, config: TrainingConfig) -> dict[str, float]:
    """Train on the shards in `data`, or go on from `output`'s checkpoint; write weights; the scores.

    The checkpoint (suffix .checkpoint) and the learning curve (suffix .csv) lie beside `output`.
    With `minutes` set, how far the run gets, and so the result, depends on the machine.
    """
    output = Path(output)
    if not any(shard_path(data, seed).exists() for seed in range(config.shards)):
        raise InputError(f"There are no training examples in '{data}'; make them first.")
    validation = range(VALIDATION, VALIDATION + config.validation_shards)
    trainer = Trainer(config, output.with_suffix(".checkpoint"))
    began = time.monotonic() - trainer.seconds
    saved = scored = time.monotonic()
    total = max(1, round(config.epochs * config.shards * 32 / config.batch))
    examples = _endless(data, config, trainer)
    shown: list[float] = []
    while True:
        trainer.seconds = time.monotonic() - began
        done = _done(trainer, total, config)
        if done >= 1:
            break
        batch = _batch(examples, config, done, trainer.step)
        rate = config.learning_rate * _schedule(done) * min(1.0, (trainer.step + 1) / 100)
        shown = [*shown[-99:], trainer.update(batch, rate)]
        if trainer.step % 20 == 0:
            logger.info("step %d (%.1f %%): loss %.4f", trainer.step, 100 * done, np.mean(shown))
        if time.monotonic() - saved > config.checkpoint_every_s:
            trainer.save()
            saved = time.monotonic()
        if time.monotonic() - scored > config.score_every_s:
            _record(output, trainer, float(np.mean(shown)), score_network(trainer.averaged, data, validation))
            _write(output, trainer, config, {})
            scored = time.monotonic()
    trainer.save()
    scores = score_network(trainer.averaged, data, validation)
    _record(output, trainer, float(np.mean(shown)) if shown else float("nan"), scores)
    _write(output, trainer, config, scores)
    logger.info("%s", scores)
    return scores


def _done(trainer: Trainer, total: int, config: TrainingConfig) -> float:
    """Share of the run that lies behind."""
    if config.minutes:
        return trainer.seconds / 60 / config.minutes
    return trainer.step / total


def _endless(data: Path, config: TrainingConfig, trainer: Trainer) -> Iterator[Example]:
    passes = 0
    while True:
        rng = np.random.default_rng([config.seed, trainer.step, passes])
        yield from shuffle_examples(data, config.shards, rng)
        passes += 1


def _batch(examples: Iterator[Example], config: TrainingConfig, done: float, step: int) -> list[Example]:
    """The next examples; toward the end of the run mostly fine ones."""
    rng = np.random.default_rng([config.seed, step])
    batch: list[Example] = []
    while len(batch) < config.batch:
        example = next(examples)
        coarse = example.distance.size < 50_000
        if coarse and done > 1 - config.last_fine and rng.uniform() < 0.6:
            continue
        batch.append(example)
    return batch


def _schedule(done: float) -> float:
    """Half a cosine to zero."""
    return float(0.5 * (1 + np.cos(np.pi * done)))


def _write(output: Path, trainer: Trainer, config: TrainingConfig, scores: dict[str, float]) -> None:
    notes = {
        "training": json.dumps(asdict(config)),
        "steps": str(trainer.step),
        "minutes": f"{trainer.seconds / 60:.1f}",
        "scores": json.dumps(scores),
        "doubt_scale": f"{scores.get('doubt_scale', 1.0):.4f}",
    }
    save_network(trainer.averaged, output, notes)


def _record(output: Path, trainer: Trainer, loss: float, scores: dict[str, float]) -> None:
    """Add a line to the learning curve."""
    row = {"step": trainer.step, "minutes": round(trainer.seconds / 60, 1), "loss": round(loss, 4)}
    add_to_curve(output.with_suffix(".csv"), row | {name: round(value, 4) for name, value in scores.items()})

"""The training loop of the part network: checkpoints, held-back things, weights."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from instascene_core.parts.losses import LossWeights, part_loss
from instascene_core.parts.network import PartNetwork, PartShape, TrainedParts, save_network
from instascene_core.parts.samples import UNKNOWN, PartBatch, batch_of
from instascene_core.training.ahead import made_ahead
from instascene_core.training.checkpoint import Standing, load_checkpoint, save_checkpoint
from instascene_core.training.parts.data import PLAIN, Showing, Showings, read_shard, shard_path, shown

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartTraining:
    """Everything the result depends on besides the code and the data."""

    seed: int = 0
    shards: int = 60  # of things; the last `validation_shards` are only looked at
    validation_shards: int = 2
    epochs: int = 8
    minutes: float = 0.0  # end (with the learning rate run down) after this long; 0 = all epochs
    batch: int = 8  # things
    learning_rate: float = 2.5e-3
    weight_decay: float = 1e-3
    # The paper weighs all alike; in a training a hundredth as long as its own, offsets lag behind the names.
    weights: LossWeights = field(default_factory=lambda: LossWeights(instance=4.0))
    showing: Showing = field(default_factory=lambda: Showing(points=(450, 800)))
    workers: int = 0  # processes that make batches ahead; 0 = made between the steps
    checkpoint_every_s: float = 120.0


def train(
    data: Path, output: Path, names: tuple[tuple[str, ...], ...], config: PartTraining, shape: PartShape
) -> dict[str, float]:
    """Train on the shards in `data`, or go on from `output`'s checkpoint; write weights; the scores.

    names: of the classes, a level each; shape: of the network.  The checkpoint lies beside `output` (suffix
    .checkpoint); an interrupted run goes on from it and does not see twice what it has seen in that epoch.
    """
    torch.manual_seed(config.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True
    network = PartNetwork(shape).to(device).train()
    optimiser = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    training = tuple(range(config.shards - config.validation_shards))
    showings = Showings(data, training, config.batch, config.seed, config.showing)
    total = config.epochs * showings.per_epoch()
    checkpoint = Path(output).with_suffix(".checkpoint")
    standing = load_checkpoint(checkpoint, network, optimiser)
    if standing.step:
        logger.info("going on from step %d", standing.step)

    def write(standing: Standing, scores: dict[str, float], path: Path) -> None:
        notes = {"training": json.dumps(asdict(config)), "scores": json.dumps(scores)}
        save_network(TrainedParts(network, names), path, {**notes, "steps_taken": str(standing.step)})

    def keep(standing: Standing) -> None:
        save_checkpoint(checkpoint, network, optimiser, standing)
        write(standing, {}, Path(output).with_suffix(".interim.safetensors"))

    standing = _learn(network, optimiser, showings, total, standing, config, keep)
    save_checkpoint(checkpoint, network, optimiser, standing)
    held_back = range(config.shards - config.validation_shards, config.shards)
    scores = {"steps": standing.step, **scores_of(network, data, held_back, config)}
    write(standing, scores, output)
    logger.info("%s", scores)
    return scores


def _learn(
    network: PartNetwork,
    optimiser: torch.optim.Optimizer,
    showings: Showings,
    total: int,
    standing: Standing,
    config: PartTraining,
    keep: Callable[[Standing], None],
) -> Standing:
    """Up to step `total` or until the minutes are over; how far it came.  keep: called now and then."""
    step, began, saved = standing.step, time.monotonic() - standing.seconds, time.monotonic()
    recent: list[torch.Tensor] = []
    order = made_ahead(showings.batch, step, config.workers)
    while step < total:
        done = step / total
        if config.minutes:
            done = max(done, (time.monotonic() - began) / 60 / config.minutes)
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * _schedule(done)
        recent.append(_update(network, optimiser, next(order), config.weights))
        step += 1
        if step % 50 == 0:
            logger.info("step %d (%.0f %%): loss %.4f", step, 100 * done, float(torch.stack(recent).mean()))
            recent.clear()
        if time.monotonic() - saved > config.checkpoint_every_s:
            keep(Standing(step, time.monotonic() - began))
            saved = time.monotonic()
    order.close()
    return Standing(step, time.monotonic() - began)


def scores_of(
    network: PartNetwork, data: Path, seeds: Sequence[int], config: PartTraining
) -> dict[str, float]:
    """On held-back things, all round and half seen: share of points named right, and the mean distance from
    where a point's centre is said to be to where it is (unit ball), a level each."""
    network.eval()
    device = next(network.parameters()).device
    scores: dict[str, float] = {}
    for name, half in (("all_round", 0.0), ("half_seen", 1.0)):
        rng = np.random.default_rng([config.seed, 77])
        showing = replace(PLAIN, half_seen=half)
        things = [t for seed in seeds for t in read_shard(shard_path(data, seed))]
        right, far, points = np.zeros(len(network.shape.classes)), np.zeros(len(network.shape.classes)), 0
        for first in range(0, len(things), config.batch):
            batch = batch_of([shown(t, rng, showing) for t in things[first : first + config.batch]])
            batch = batch.to(device)
            with torch.inference_mode():
                told = network(batch.points, batch.normals, batch.counts)
            points += len(batch.points)
            for level, logits in enumerate(told.logits):
                right[level] += int((logits.argmax(dim=1) == batch.semantic[level]).sum())
                error = batch.points + told.to_instance[level] - batch.instance_centre[level]
                far[level] += float(error.norm(dim=1).sum())
        for level in range(len(right)):
            scores[f"{name}_accuracy_{level + 1}"] = float(right[level] / points)
            scores[f"{name}_centre_error_{level + 1}"] = float(far[level] / points)
    network.train()
    return scores


def _schedule(done: float) -> float:
    """Warm-up over 2 %, then half a cosine to zero."""
    return float(min(done / 0.02 + 0.01, 1.0) * 0.5 * (1 + np.cos(np.pi * done)))


def _update(
    network: PartNetwork, optimiser: torch.optim.Optimizer, batch: PartBatch, weights: LossWeights
) -> torch.Tensor:
    """One step; the loss."""
    device = next(network.parameters()).device
    if not bool((batch.semantic != UNKNOWN).any()):
        return torch.zeros((), device=device)  # nobody has named anything here
    batch = batch.to(device)
    loss = part_loss(network(batch.points, batch.normals, batch.counts), batch, weights)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return loss.detach()

"""The training loop: losses on foreground and affinities, checkpoints, held-back views."""

import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from instascene_core.segmentation.network import STEPS, AffinityNetwork, load_network, save_network
from instascene_core.training.checkpoint import Standing, load_checkpoint, save_checkpoint
from instascene_core.training.segmenter.data import STEP, batches, batches_per_pass, read_shard, shard_path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingConfig:
    """Everything the result depends on besides the code."""

    seed: int = 0
    shards: int = 140  # of 32 views; the last `validation_shards` are only looked at
    validation_shards: int = 4
    epochs: int = 6
    minutes: float = 0.0  # end (with the learning rate run down) after this long; 0 = all epochs
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    between_objects: float = 4.0  # weight of a pair of pixels on two objects
    checkpoint_every_s: float = 180.0
    initial: str = ""  # weights to start from; empty = random ones


def affinity_targets(labels: torch.Tensor, between_objects: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(target, weight) [B, len(STEPS), H, W] of label images [B, H, W], 0 = no object.

    A pair counts where both ends lie in the image and at least one on an object.
    """
    height, width = labels.shape[-2:]
    target = torch.zeros(len(labels), len(STEPS), height, width, device=labels.device)
    weight = torch.zeros_like(target)
    for k, (dy, dx) in enumerate(STEPS):
        if dy >= height or abs(dx) >= width:
            continue
        near = (slice(None), slice(0, height - dy), slice(max(0, -dx), width - max(0, dx)))
        far = (slice(None), slice(dy, height), slice(max(0, dx), width - max(0, -dx)))
        here, there = labels[near], labels[far]
        same = (here == there) & (here > 0)
        two = (here != there) & (here > 0) & (there > 0)
        into = (near[0], k, *near[1:])
        target[into] = same.float()
        weight[into] = ((here > 0) | (there > 0)).float() + (between_objects - 1) * two.float()
    return target, weight


def loss_of(logits: torch.Tensor, labels: torch.Tensor, config: TrainingConfig) -> torch.Tensor:
    """Cross entropy of the foreground and, weighted, of the affinities; Dice of the cuts.

    Dice on "not one object" (after the mutex watershed's training) keeps the few cut pairs from
    drowning among the many that belong together.
    """
    present = (labels > 0).float()
    foreground = F.binary_cross_entropy_with_logits(logits[:, 0], present)
    target, weight = affinity_targets(labels, config.between_objects)
    cross = F.binary_cross_entropy_with_logits(logits[:, 1:], target, weight, reduction="sum") / weight.sum()
    over = (0, 2, 3)
    cut, truth = torch.sigmoid(-logits[:, 1:]) * weight, (1 - target) * weight
    dice = 1 - (2 * (cut * (1 - target)).sum(over) + 1) / (cut.sum(over) + truth.sum(over) + 1)
    return foreground + cross + 0.5 * dice.mean()


def scores_of(network: torch.nn.Module, data: Path, seeds: range, device: str) -> dict[str, float]:
    """On whole held-back views: foreground IoU, and F1 of cuts between two objects among pairs on objects."""
    network.eval()
    hit = np.zeros((len(STEPS), 3))  # true positives, false positives, false negatives
    both = either = 0
    for seed in seeds:
        shard = read_shard(shard_path(data, seed))
        for index in range(len(shard.labels)):
            colors = torch.from_numpy(shard.colors[index].astype(np.float32) / 127.5 - 1)
            geometry = torch.from_numpy(shard.geometry[index] * np.float32(STEP))
            labels = torch.from_numpy(shard.labels[index].astype(np.int64))[None].to(device)
            with torch.inference_mode():
                logits = network(torch.cat([colors, geometry])[None].to(device))
            found, truth = logits[:, 0] > 0, labels > 0
            both, either = both + int((found & truth).sum()), either + int((found | truth).sum())
            target, weight = affinity_targets(labels, 4.0)
            counted = (weight == 4.0) | (target > 0)
            cut = (logits[:, 1:] < 0) & counted
            wanted = (target == 0) & counted
            for k in range(len(STEPS)):
                pair = cut[:, k] & wanted[:, k]
                hit[k] += [int(pair.sum()), int((cut[:, k] & ~wanted[:, k]).sum()),
                           int((wanted[:, k] & ~cut[:, k]).sum())]  # fmt: skip
    network.train()
    f1 = 2 * hit[:, 0] / np.maximum(2 * hit[:, 0] + hit[:, 1] + hit[:, 2], 1)
    names = [f"cut_f1_{dy}_{dx}" for dy, dx in STEPS]
    return {
        "foreground_iou": both / max(either, 1),
        "cut_f1": float(f1.mean()),
        **dict(zip(names, f1.tolist())),
    }


def train(data: Path, output: Path, config: TrainingConfig) -> dict[str, float]:
    """Train on the shards in `data`, or go on from `output`'s checkpoint; write weights; the scores.

    The checkpoint lies beside `output` (suffix .checkpoint, safetensors); an interrupted run goes on
    from the last one at the beginning of its epoch's batch count, so that what it has seen is not
    seen twice.
    """
    torch.manual_seed(config.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = load_network(Path(config.initial)) if config.initial else AffinityNetwork()
    network.train()
    layout = torch.channels_last
    network.to(device, memory_format=layout)  # pyright: ignore[reportCallIssue] torch types lack it
    optimiser = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    training = range(config.shards - config.validation_shards)
    per_epoch = batches_per_pass(data, training, config.batch)
    total = config.epochs * per_epoch
    checkpoint = Path(output).with_suffix(".checkpoint")
    standing = load_checkpoint(checkpoint, network, optimiser)
    step, seconds = standing.step, standing.seconds
    if step:
        logger.info("going on from step %d", step)
    began, saved = time.monotonic() - seconds, time.monotonic()
    shown: list[float] = []
    while step < total:
        epoch = step // per_epoch
        rng = np.random.default_rng([config.seed, epoch])
        passed = batches(data, training, config.batch, rng, in_order=epoch == 0)
        for number, (inputs, labels) in enumerate(passed):
            if number < step - epoch * per_epoch:
                continue  # seen before the interruption
            done = step / total
            if config.minutes:
                done = max(done, (time.monotonic() - began) / 60 / config.minutes)
            if done >= 1:
                step = total
                break
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _schedule(done)
            shown.append(_update(network, optimiser, inputs, labels, config, device))
            step += 1
            if step % 50 == 0:
                logger.info("step %d (%.0f %%): loss %.4f", step, 100 * done, np.mean(shown[-50:]))
            if time.monotonic() - saved > config.checkpoint_every_s:
                save_checkpoint(checkpoint, network, optimiser, Standing(step, time.monotonic() - began))
                saved = time.monotonic()
    seeds = range(config.shards - config.validation_shards, config.shards)
    scores = scores_of(network, data, seeds, device)
    # Where the first weights lay is nobody's business.
    told = asdict(config) | {"initial": Path(config.initial).name}
    notes = {"training": json.dumps(told), "scores": json.dumps(scores)}
    save_network(network.cpu(), output, notes)
    logger.info("%s", scores)
    return scores


def _schedule(done: float) -> float:
    """Warm-up over 2 %, then half a cosine to zero."""
    return min(done / 0.02 + 0.01, 1.0) * 0.5 * (1 + np.cos(np.pi * done))


def _update(network, optimiser, inputs, labels, config: TrainingConfig, device: str) -> float:
    images = torch.from_numpy(inputs).to(device).contiguous(memory_format=torch.channels_last)
    truth = torch.from_numpy(labels.astype(np.int32)).to(device)
    with torch.autocast(device, torch.bfloat16):
        logits = network(images)
    loss = loss_of(logits.float(), truth, config)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())

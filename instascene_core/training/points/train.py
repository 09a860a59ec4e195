"""The training loop: batches of augmented scenes, a checkpoint, scores on scenes held back."""

import copy
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from instascene_core.config.points import PointsNetworkConfig, ReadingConfig
from instascene_core.errors import InputError
from instascene_core.segmentation.points_network.files import load_points_network, save_points_network
from instascene_core.segmentation.points_network.network import (
    NetworkInput,
    PointsNetwork,
    network_input,
)
from instascene_core.training.ahead import made_ahead
from instascene_core.training.checkpoint import Standing, load_checkpoint, save_checkpoint
from instascene_core.training.points.augmentation import AugmentationConfig, augmented
from instascene_core.training.points.evaluate import Evaluation, evaluate
from instascene_core.training.points.losses import LossConfig, scene_loss
from instascene_core.training.points.prepared import PreparedScene, prepared_scenes, read_prepared
from instascene_core.training.points.targets import Targets, targets_of

logger = logging.getLogger(__name__)
SCENES_KEPT = 600  # read scenes that a process keeps, of about 2 MB each


@dataclass(frozen=True)
class PointsTraining:
    """Everything the result depends on besides the code and the scenes."""

    seed: int = 0
    steps: int = 6000
    minutes: float = 0.0  # end (with the learning rate run down) after this long; 0 = all steps
    batch: int = 2  # scenes
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    max_gradient: float = 1.0
    held_back: int = 12  # scenes, the first of the folder, that are only looked at
    checkpoint_every_s: float = 180.0
    initial: str = ""  # weights to start from; empty = random ones
    workers: int = 0  # processes that make batches ahead; 0 = made between the steps
    network: PointsNetworkConfig = field(default_factory=PointsNetworkConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    augmentation: AugmentationConfig | None = field(default_factory=AugmentationConfig)  # None = none


def train(folder: Path, output: Path, config: PointsTraining) -> Evaluation | None:
    """Train on the prepared scenes in `folder`, or go on from the checkpoint beside `output`; write weights.

    Scenes that come into the folder while this runs are learned from as well.  Returns the scores on the
    scenes held back; None where none are.  Raises InputError where there are no scenes.
    """
    torch.manual_seed(config.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = PointsNetwork(config.network)
    if config.initial:  # a copy: whoever loads the file later must not get what is trained here
        network = copy.deepcopy(load_points_network(Path(config.initial)))
    network.to(device).train()
    torch.backends.cuda.matmul.allow_tf32 = True
    optimiser = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = output.with_suffix(".checkpoint")
    standing = load_checkpoint(checkpoint, network, optimiser)
    if standing.step:
        logger.info("going on from step %d", standing.step)
    standing = _learn(network, optimiser, folder, output, standing, config, device)
    network.cpu()
    held_back = held_back_scenes(folder, config.held_back)
    result = evaluate(network, held_back, ReadingConfig()) if held_back else None
    scores = asdict(result.scores) if result else {}
    _write(network, output, folder, standing, config, scores)
    logger.info("%s", scores)
    return result


def _write(
    network: PointsNetwork,
    output: Path,
    folder: Path,
    standing: Standing,
    config: PointsTraining,
    scores: dict,
) -> None:
    """The weights as they are, with how they were made."""
    told = asdict(config) | {
        "initial": Path(config.initial).name,  # where it lay is nobody's business
        "network": asdict(network.config),
        "scenes": len(training_scenes(folder, config.held_back)),
        "steps_taken": standing.step,
        "seconds": round(standing.seconds),
    }
    save_points_network(network, output, {"training": json.dumps(told), "scores": json.dumps(scores)})


def training_scenes(folder: Path, held_back: int) -> list[Path]:
    """Those that are learned from: all but the first `held_back`, which stay the same while others come."""
    paths = prepared_scenes(folder)[held_back:]
    if not paths:
        raise InputError(f"All scenes in '{folder}' are held back; prepare more, or hold back fewer.")
    return paths


def held_back_scenes(folder: Path, held_back: int) -> list[Path]:
    """The first `held_back` of the folder."""
    return prepared_scenes(folder)[:held_back]


def _learn(
    network: PointsNetwork,
    optimiser: torch.optim.Optimizer,
    folder: Path,
    output: Path,
    standing: Standing,
    config: PointsTraining,
    device: str,
) -> Standing:
    """Until the steps or the minutes are over; how far it came.  With each checkpoint the weights so far."""
    checkpoint = output.with_suffix(".checkpoint")
    step, began, saved = standing.step, time.monotonic() - standing.seconds, time.monotonic()
    shown: list[torch.Tensor] = []
    order = made_ahead(partial(step_batch, folder, config, network.config.voxel_m), step, config.workers)
    while step < config.steps:
        done = step / config.steps
        if config.minutes:
            done = max(done, (time.monotonic() - began) / 60 / config.minutes)
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * schedule(done)
        shown.append(_update(network, optimiser, next(order), config, device))
        step += 1
        if step % 50 == 0:
            logger.info("step %d (%.0f %%): loss %.4f", step, 100 * done, float(torch.stack(shown).mean()))
            shown.clear()
        if time.monotonic() - saved > config.checkpoint_every_s:
            standing = Standing(step, time.monotonic() - began)
            save_checkpoint(checkpoint, network, optimiser, standing)
            _write(network, output.with_suffix(".interim.safetensors"), folder, standing, config, {})
            saved = time.monotonic()
    order.close()
    standing = Standing(step, time.monotonic() - began)
    save_checkpoint(checkpoint, network, optimiser, standing)
    return standing


def step_batch(
    folder: Path, config: PointsTraining, voxel_m: float, step: int
) -> tuple[NetworkInput, list[Targets]]:
    """What a step sees; it follows from the seed, the step and the files there."""
    rng = np.random.default_rng([config.seed, 53, step])
    paths = training_scenes(folder, config.held_back)
    picked = rng.choice(len(paths), min(config.batch, len(paths)), replace=False)
    scenes = [_kept(paths[i]) for i in picked]
    if config.augmentation is not None:
        scenes = [augmented(scene, config.augmentation, rng) for scene in scenes]
    inputs = network_input([s.cloud for s in scenes], [s.superpoint for s in scenes], voxel_m)
    return inputs, [targets_of(scene) for scene in scenes]


@lru_cache(SCENES_KEPT)
def _kept(path: Path) -> PreparedScene:
    """Unpacking a scene takes as long as all else that is done with it."""
    return read_prepared(path)


def schedule(done: float) -> float:
    """Warm-up over 2 %, then half a cosine to zero."""
    return min(done / 0.02 + 0.01, 1.0) * 0.5 * (1 + np.cos(np.pi * done))


def _update(
    network: PointsNetwork,
    optimiser: torch.optim.Optimizer,
    batch: tuple[NetworkInput, Sequence[Targets]],
    config: PointsTraining,
    device: str,
) -> torch.Tensor:
    """One step on some scenes; the loss."""
    inputs, truths = batch[0].to(device), [truth.to(device) for truth in batch[1]]
    outputs = network(inputs)
    losses = [scene_loss(said, truth, config.losses) for said, truth in zip(outputs, truths, strict=True)]
    loss = torch.stack(losses).mean()
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_gradient)
    optimiser.step()
    return loss.detach()

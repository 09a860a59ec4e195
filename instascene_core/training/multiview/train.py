"""The training loop of the multi-view model: checkpoints, averaged weights, scores on held-out kinds."""

import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from instascene_core.completion.priors.multiview.inputs import Known, condition, encode
from instascene_core.completion.priors.multiview.network import (
    SPREAD,
    WIDTHS,
    MultiviewNetwork,
    load_network,
    save_network,
)
from instascene_core.completion.priors.multiview.noise import STEPS, make_solver, shares
from instascene_core.completion.priors.multiview.sampling import Sampler, lookups
from instascene_core.completion.priors.multiview.second import second_start
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.errors import InputError
from instascene_core.training.ahead import made_ahead
from instascene_core.training.averaged import AveragedTrainer, add_to_curve
from instascene_core.training.multiview.data import halved, read_shard, training_shards, turned
from instascene_core.training.multiview.examples import SIDE, Example
from instascene_core.training.multiview.scores import score_network, score_second

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingConfig:
    """Everything the result depends on besides the code."""

    seed: int = 0
    steps: int = 32_000
    minutes: float = 0.0  # end (with the learning rate run down) after this long; 0 = all steps
    widths: tuple[int, ...] = WIDTHS  # of the network
    workers: int = 0  # processes that prepare examples; 0 = the training itself does
    half_steps: int = 6_000  # of them, at first, on images of half the side
    batch: int = 1  # objects whose gradients are summed, one after the other
    learning_rate: float = 5e-4
    warm_up: int = 200  # steps until the learning rate is reached ...
    run_down: float = 0.3  # ... and share of the run at whose end it falls to zero
    weight_decay: float = 1e-2
    average: float = 0.999  # of the averaged weights, per step
    known: float = 0.2  # weight of the colour of pixels that were observed; of others 1
    background: float = 0.02  # weight of what lies beside the object
    depth: float = 0.05  # weight of the object's depth ...
    coverage: float = 0.03  # ... and of its outline: with more, their leaps drown the colours
    no_sources: float = 0.1  # of the objects, of which nothing is known: for the guidance
    pure_noise: float = 0.3  # share of the objects shown as noise alone: what is made of it decides most
    # Weights of the first stage, to train the second one on what they make, beginning as they are.
    first: str = ""
    checkpoint_every_s: float = 120.0
    score_every_s: float = 900.0


# --- one object ---


@dataclass(frozen=True)
class Draw:
    """One object as the network takes it."""

    lookups: tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    conditions: torch.Tensor  # [N, CONDITIONS, H, W]
    start: torch.Tensor  # [N, GENERATED, H, W]
    truth: torch.Tensor  # [N, GENERATED, H, W]
    weight: torch.Tensor  # [N, GENERATED, H, W] of the loss

    def to(self, device: str) -> "Draw":
        fine, coarse = ((cells.to(device), valid.to(device)) for cells, valid in self.lookups)
        tensors = (self.conditions, self.start, self.truth, self.weight)
        return Draw((fine, coarse), *(tensor.to(device) for tensor in tensors))


def draw(rng: np.random.Generator, example: Example, config: TrainingConfig) -> Draw:
    """The example turned, recoloured, and known to some of those that saw it."""
    example = turned(example, int(rng.integers(len(example.depth))), bool(rng.integers(2)))
    example = replace(example, rgb=_recolored(rng, example.rgb))
    sources = _sources(rng, example.seen, config)
    given, known = example.given(), _noisy(rng, example.known(sources))
    conditions, start = condition(given, known)
    if config.first:
        start = _second_start(example, known, sources, config)
    truth = encode(
        example.rgb / np.float32(255), example.depth.astype(np.float32), example.coverage / np.float32(255)
    )
    beside = example.coverage == 0  # where the guessed body is too large, any colour will do
    truth[:, :3] = np.where(beside[:, None], start[:, :3], truth[:, :3])
    weight = np.full_like(truth, config.background)
    weight[:, :3] = np.where(beside, config.background, np.where(known.valid, config.known, 1.0))[:, None]
    weight[:, 3] = np.where(beside, config.background, config.depth)
    weight[:, 4] = config.coverage
    return Draw(lookups(given), *(torch.from_numpy(a) for a in (conditions, start, truth, weight)))


def _sources(rng: np.random.Generator, seen: np.ndarray, config: TrainingConfig) -> int:
    """Bits of the sources that are told: all, one, some, or none."""
    present = int(np.bitwise_or.reduce(seen, axis=None))
    bits = [1 << k for k in range(8) if present >> k & 1]
    kind = rng.uniform()
    if kind < config.no_sources or not bits:
        return 0
    if kind < config.no_sources + 0.2:
        return bits[int(rng.integers(len(bits)))]
    if kind < config.no_sources + 0.4:
        return sum(bit for bit in bits if rng.uniform() < 0.5)
    return present


def _noisy(rng: np.random.Generator, known: Known) -> Known:
    """As another exposure and a camera's noise change what is known."""
    noise = rng.uniform(0, 0.02) * rng.standard_normal(known.rgb.shape)
    rgb = known.rgb * (1 + rng.normal(0, 0.02)) + noise
    return Known(np.clip(rgb, 0, 1).astype(np.float32), known.weight)


def _first_stage(weights: str) -> MultiviewNetwork:
    return load_network(Path(weights))[0]


def _second_start(example: Example, known: Known, sources: int, config: TrainingConfig) -> np.ndarray:
    """[N, GENERATED, H, W] what the first stage makes of the example at half the side."""
    small = halved(example)
    given = small.given()
    views = Sampler(_first_stage(config.first), MultiviewConfig(steps=1)).sample(
        given, [small.known(sources)], seed=0
    )
    return second_start(example.given(), known, views.rgb, given.coverage)


def _recolored(rng: np.random.Generator, rgb: np.ndarray) -> np.ndarray:
    """Images with channels exchanged, another contrast and gamma: more colours than were painted."""
    gamma, gain = np.exp(rng.normal(0, 0.25)), np.exp(rng.normal(0, 0.1))
    table = np.clip(255 * gain * (np.arange(256) / 255) ** gamma, 0, 255).astype(np.uint8)
    return table[rgb[..., rng.permutation(3)]]


def loss_of(network: MultiviewNetwork, drawn: Draw, step: int, noise: torch.Tensor) -> torch.Tensor:
    """Weighted squared error of v at one noise step, in units of what the starting point leaves open."""
    alpha, sigma = shares(_SOLVER, step)
    noisy = alpha * drawn.truth + sigma * noise
    wanted = alpha * noise - sigma * drawn.truth
    device = drawn.truth.device.type
    with torch.autocast(device, torch.bfloat16):
        v = network(
            noisy,
            drawn.start,
            drawn.conditions,
            (alpha, sigma),
            torch.tensor([step], device=device),
            *drawn.lookups,
        )
    scale = (alpha**2 * SPREAD**2 + sigma**2) / SPREAD**2
    return scale * ((v - wanted) ** 2 * drawn.weight).sum() / drawn.weight.sum()


_SOLVER = make_solver("ddim")


# --- loop ---


def first_network(config: TrainingConfig) -> MultiviewNetwork:
    """What a training begins with: of the second stage, the first one's weights, changing nothing yet."""
    if not config.first:
        return MultiviewNetwork(config.widths)
    first = _first_stage(config.first)
    network = MultiviewNetwork(first.widths)
    network.load_state_dict(first.state_dict())
    torch.nn.init.zeros_(network.head.weight)
    assert network.head.bias is not None
    torch.nn.init.zeros_(network.head.bias)
    return network


class Trainer(AveragedTrainer[MultiviewNetwork]):
    """The model in training."""

    def __init__(self, config: TrainingConfig, checkpoint: Path) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        network = first_network(config)
        super().__init__(
            network,
            MultiviewNetwork(network.widths),
            checkpoint,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            average=config.average,
            layout=torch.channels_last,
        )

    def update(self, drawn: list[Draw], done: float) -> float:
        """One step on the mean of the objects' losses, returned; done: share of the run that is over."""
        rng = np.random.default_rng([self.config.seed, 3, self.step])
        rate = self.config.learning_rate * rate_at(self.step, done, self.config)
        return self.descend((self._loss(one.to(self.device), rng) / len(drawn) for one in drawn), rate)

    def _loss(self, one: Draw, rng: np.random.Generator) -> torch.Tensor:
        """At a noise step that is drawn; of the second stage, without noise."""
        if self.config.first:
            return loss_of(self.network, one, STEPS - 1, torch.zeros_like(one.truth))
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(one.truth.shape, generator=generator, device=self.device)
        pure = rng.uniform() < self.config.pure_noise
        step = STEPS - 1 if pure else int(rng.integers(STEPS))
        return loss_of(self.network, one, step, noise)


def rate_at(step: int, done: float, config: TrainingConfig) -> float:
    """Share of the peak learning rate: up, level, and linearly down to zero."""
    left = (1.0 - done) / max(1e-9, config.run_down)
    return float(min(1.0, (step + 1) / config.warm_up, max(0.0, left)))


def train(data: Path, output: Path, config: TrainingConfig) -> dict[str, float]:
    """Train on the shards in `data`, or go on from `output`'s checkpoint; write weights; the scores.

    The checkpoint (suffix .checkpoint) and the learning curve (suffix .csv) lie beside `output`.
    """
    output = Path(output)
    if not training_shards(data):
        raise InputError(f"There are no training examples in '{data}'; make them first.")
    trainer = Trainer(config, output.with_suffix(".checkpoint"))
    began = time.monotonic() - trainer.seconds
    saved = scored = time.monotonic()
    objects = made_ahead(partial(make_draws, Path(data), config), trainer.step, config.workers)
    shown: list[float] = []
    while True:
        trainer.seconds = time.monotonic() - began
        done = trainer.step / config.steps
        if config.minutes:
            done = max(done, trainer.seconds / 60 / config.minutes)
        if done >= 1:
            break
        shown = [*shown[-499:], trainer.update(next(objects), done)]
        if trainer.step % 50 == 0:
            each = trainer.seconds / trainer.step
            logger.info(
                "step %d of %d, %.2f s each: loss %.4f", trainer.step, config.steps, each, np.mean(shown)
            )
        if time.monotonic() - saved > config.checkpoint_every_s:
            trainer.save()
            saved = time.monotonic()
        if time.monotonic() - scored > config.score_every_s:
            _record(output, trainer, float(np.mean(shown)), data)
            scored = time.monotonic()
    objects.close()
    trainer.save()
    return _record(output, trainer, float(np.mean(shown)) if shown else float("nan"), data)


def make_draws(data: Path, config: TrainingConfig, step: int) -> list[Draw]:
    """The objects of a step: what they are follows from the seed, the step and the shards that are there."""
    rng = np.random.default_rng([config.seed, 1, step])
    present = training_shards(data)
    drawn = []
    for _ in range(config.batch):
        shard = _shard(present[int(rng.integers(len(present)))])
        example = shard[int(rng.integers(len(shard)))]
        if step < config.half_steps and not config.first:
            example = halved(example)
        drawn.append(draw(rng, example, config))
    return drawn


_shard = lru_cache(maxsize=32)(read_shard)  # some 15 MB each


def _record(output: Path, trainer: Trainer, loss: float, data: Path) -> dict[str, float]:
    """Score the averaged weights, write them, and add a line to the learning curve."""
    config = trainer.config
    half = trainer.step <= config.half_steps
    side = 2 * SIDE if config.first else SIDE // 2 if half else SIDE
    if config.first:
        scores = score_second(trainer.averaged, _first_stage(config.first), data)
    else:
        scores = score_network(trainer.averaged, data, half)
    notes = {
        "training": json.dumps(asdict(config)),
        "steps": str(trainer.step),
        "side": str(side),
        "stage": "second" if config.first else "first",
        "minutes": f"{trainer.seconds / 60:.1f}",
        "scores": json.dumps(scores),
    }
    save_network(trainer.averaged, output, notes)
    row = {"step": trainer.step, "minutes": round(trainer.seconds / 60, 1), "loss": round(loss, 4)}
    add_to_curve(output.with_suffix(".csv"), row | {name: round(value, 3) for name, value in scores.items()})
    return scores

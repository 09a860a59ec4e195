"""Examples as files."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instascene_core.completion.priors.network import CHANNELS, CLIP
from instascene_core.files import atomic_path
from instascene_core.training.completion.observations import Example, make_example

logger = logging.getLogger(__name__)

EXAMPLES_PER_SHARD = 32
VALIDATION = 90_000  # first seed of the shards that are only looked at
STEP = 1 / 127  # of everything stored, after division by CLIP for distances


@dataclass(frozen=True)
class Shard:
    """Some examples as they are stored."""

    kinds: tuple[str, ...]
    inputs: tuple[np.ndarray, ...]  # each [CHANNELS, nx, ny, nz] int8, in units of STEP
    distances: tuple[np.ndarray, ...]  # each [nx, ny, nz] int8, in units of CLIP · STEP

    def example(self, index: int) -> Example:
        inputs = self.inputs[index] * np.float32(STEP)
        return Example(self.kinds[index], inputs, self.distances[index] * np.float32(CLIP * STEP))


def make_shard(seed: int, examples: int = EXAMPLES_PER_SHARD, side: int | None = None) -> Shard:
    """Fresh examples; the same for the same seed."""
    made = [make_example(np.random.default_rng([50, seed, k]), side) for k in range(examples)]
    return Shard(
        tuple(e.kind for e in made),
        tuple(np.round(e.inputs / STEP).astype(np.int8) for e in made),
        tuple(np.round(e.distance / CLIP / STEP).astype(np.int8) for e in made),
    )


def shard_path(folder: Path, seed: int) -> Path:
    return Path(folder) / f"shard_{seed:05d}.npz"


def write_shards(folder: Path, seeds, examples: int = EXAMPLES_PER_SHARD, side: int | None = None) -> None:
    """Make those shards that are not there yet."""
    for seed in seeds:
        path = shard_path(folder, seed)
        if path.exists():
            continue
        start = time.perf_counter()
        shard = make_shard(seed, examples, side)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                kinds=np.array(shard.kinds),
                shapes=np.array([d.shape for d in shard.distances]),
                inputs=np.concatenate([i.ravel() for i in shard.inputs]),
                distances=np.concatenate([d.ravel() for d in shard.distances]),
            )
        rate = examples / (time.perf_counter() - start)
        logger.info("%s: %d examples, %.1f/s", path.name, examples, rate)


def read_shard(path: Path) -> Shard:
    with np.load(path, allow_pickle=False) as file:
        kinds, shapes = file["kinds"].tolist(), [tuple(int(n) for n in s) for s in file["shapes"]]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
        distances = [d.reshape(s) for d, s in zip(np.split(file["distances"], ends), shapes)]
        inputs = [i.reshape(CHANNELS, *s) for i, s in zip(np.split(file["inputs"], CHANNELS * ends), shapes)]
    return Shard(tuple(kinds), tuple(inputs), tuple(distances))


def shuffle_examples(
    folder: Path, shards: int, rng: np.random.Generator, at_once: int = 6
) -> Iterator[Example]:
    """One pass over the training examples that are there (shards may still be made meanwhile), shuffled
    among `at_once` shards, each turned about gravity and mirrored at random."""
    present = [seed for seed in range(shards) if shard_path(folder, seed).exists()]
    order = rng.permutation(present)
    for start in range(0, len(order), at_once):
        read = [read_shard(shard_path(folder, int(s))) for s in order[start : start + at_once]]
        places = [(i, j) for i, shard in enumerate(read) for j in range(len(shard.kinds))]
        for place in rng.permutation(len(places)):
            i, j = places[place]
            yield turn_example(read[i].example(j), int(rng.integers(4)), bool(rng.integers(2)))


def turn_example(example: Example, quarters: int, mirrored: bool) -> Example:
    """The example turned about gravity by `quarters` · 90° and mirrored."""
    inputs = np.rot90(example.inputs, quarters, axes=(1, 2))
    distance = np.rot90(example.distance, quarters, axes=(0, 1))
    if mirrored:
        inputs, distance = inputs[:, ::-1], distance[::-1]
    return Example(example.kind, np.ascontiguousarray(inputs), np.ascontiguousarray(distance))

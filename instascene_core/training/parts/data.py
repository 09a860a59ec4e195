"""Training things as files, and batches of them: all round or half seen, turned, noisy."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from instascene_core.errors import InputError
from instascene_core.files import atomic_path
from instascene_core.parts.samples import PartBatch, PartExample, batch_of
from instascene_core.training.parts.things import CAMERAS, Thing, draw_thing, random_rotation

logger = logging.getLogger(__name__)

THINGS_PER_SHARD = 200
FEWEST = 300  # points of a half seen thing, else it is shown from all sides


@dataclass(frozen=True)
class Showing:
    """How training shows a thing."""

    half_seen: float = 0.5  # share of the things of which some neighbouring cameras see the points
    points: tuple[int, int] = (1024, 2048)  # how many are taken, at least and at most
    noise: float = 0.01  # largest standard deviation of a coordinate, of the thing's size
    tilt: float = 0.15  # standard deviation of the normals' error, largest
    stretch: float = 0.15  # standard deviation of the logarithm of the scale of each axis


PLAIN = Showing(half_seen=0.0, points=(2048, 2048), noise=0.0, tilt=0.0, stretch=0.0)


def shard_path(folder: Path, seed: int) -> Path:
    return Path(folder) / f"things_{seed:05d}.npz"


def write_shards(folder: Path, seeds: Sequence[int], things: int = THINGS_PER_SHARD) -> None:
    """Make those shards that are not there yet; the same for the same seed."""
    for seed in seeds:
        path = shard_path(folder, seed)
        if path.exists():
            continue
        rng = np.random.default_rng([31, seed])
        write_shard(path, [draw_thing(rng)[1] for _ in range(things)])
        logger.info("%s: %d things", path.name, things)


def write_shard(path: Path, things: Sequence[Thing]) -> None:
    """Things of equally many points into one file."""
    arrays = {
        "points": np.stack([t.points for t in things]),
        "normals": np.round(np.stack([t.normals for t in things]) * 127).astype(np.int8),
        "semantic": np.stack([t.semantic for t in things]),
        "instance": np.stack([t.instance for t in things]),
        "seen": np.stack([t.seen for t in things]),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_shard(path: Path, patience_s: float = 600.0) -> list[Thing]:
    """The things in a file; waits for it while another process makes it, then InputError."""
    until = time.monotonic() + patience_s
    while not Path(path).is_file():
        if time.monotonic() > until:
            raise InputError(f"There is no '{path}'; make the training things first.")
        time.sleep(1.0)
    with np.load(path, allow_pickle=False) as file:
        columns = (file[name] for name in ("points", "normals", "semantic", "instance", "seen"))
        return [Thing(p, n.astype(np.float32) / 127, s, i, v) for p, n, s, i, v in zip(*columns, strict=True)]


def shown(thing: Thing, rng: np.random.Generator, showing: Showing) -> PartExample:
    """One thing as the network is to see it, in the unit ball."""
    rows = np.arange(len(thing.points))
    if rng.uniform() < showing.half_seen:
        rows = half_seen_rows(thing, rng)
    count = min(int(rng.integers(showing.points[0], showing.points[1] + 1)), len(rows))
    rows = np.sort(rng.permutation(rows)[:count])
    rotation = random_rotation(rng, 0.7) @ np.diag(np.exp(rng.normal(0, 1, 3) * showing.stretch))
    # Normals go with the inverse transpose.
    points = thing.points[rows] @ rotation.T
    normals = thing.normals[rows] @ np.linalg.inv(rotation)
    size = float(np.linalg.norm(np.ptp(points, axis=0)))
    points = points + rng.uniform(0, showing.noise) * size * rng.normal(size=points.shape)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    normals = normals + rng.uniform(0, showing.tilt) * rng.normal(size=normals.shape)
    return PartExample.of(points, normals, thing.semantic[:, rows], thing.instance[:, rows])


def half_seen_rows(thing: Thing, rng: np.random.Generator) -> np.ndarray:
    """[K] rows that one to three neighbouring cameras see; all where those are too few."""
    first, cameras = int(rng.integers(CAMERAS)), int(rng.integers(1, 4))
    bits = sum(1 << (first + c) % CAMERAS for c in range(cameras))
    rows = np.flatnonzero(thing.seen & bits)
    return rows if len(rows) >= FEWEST else np.arange(len(thing.points))


@dataclass(frozen=True)
class Showings:
    """What the steps of a training see: passes over all things in random order, two shards mixed at a time.

    The first pass takes the shards as they are numbered, while they are still being made; a shard that is
    not there at its turn is replaced by one that is.
    """

    folder: Path
    seeds: tuple[int, ...]  # of the shards
    size: int  # things of a batch
    seed: int
    showing: Showing

    def per_epoch(self) -> int:
        """How many batches a pass has; all shards hold as many things as the first."""
        return sum(self._of_pair(i) for i in range(0, len(self.seeds), 2))

    def batch(self, step: int) -> PartBatch:
        """That of a step; it follows from the seed, the step and the files there."""
        epoch, number = divmod(step, self.per_epoch())
        rng = np.random.default_rng([self.seed, epoch])
        order = list(self.seeds) if epoch == 0 else [int(seed) for seed in rng.permutation(self.seeds)]
        pair = 0
        while number >= self._of_pair(pair):
            number, pair = number - self._of_pair(pair), pair + 2
        things = [thing for seed in order[pair : pair + 2] for thing in self._things(seed, step)]
        places = np.random.default_rng([self.seed, epoch, pair]).permutation(len(things))
        chosen = places[number * self.size : (number + 1) * self.size]
        rng = np.random.default_rng([self.seed, 54, step, 0])
        return batch_of([shown(things[i], rng, self.showing) for i in chosen])

    def _of_pair(self, first: int) -> int:
        return (
            len(self.seeds[first : first + 2])
            * _things_in(shard_path(self.folder, self.seeds[0]))
            // self.size
        )

    def _things(self, seed: int, step: int) -> list[Thing]:
        path = shard_path(self.folder, seed)
        if not path.is_file():
            there = [one for one in self.seeds if shard_path(self.folder, one).is_file()]
            if there:
                # Stays the same for some steps, so that few files are read.
                rng = np.random.default_rng([self.seed, seed, step // 8])
                path = shard_path(self.folder, there[rng.integers(len(there))])
        return _kept(path)


@lru_cache(4)
def _kept(path: Path) -> list[Thing]:
    return read_shard(path)


@lru_cache(1)
def _things_in(path: Path) -> int:
    return len(read_shard(path))

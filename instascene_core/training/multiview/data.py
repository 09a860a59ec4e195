"""Examples as files."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from instascene_core.files import atomic_path
from instascene_core.training.multiview.examples import SIDE, Example, make_example

logger = logging.getLogger(__name__)

EXAMPLES_PER_SHARD = 16
VALIDATION = 90_000  # first seed of the shards that are only looked at: shapes and prints of held-out kinds
ARRAYS = ("rgb", "coverage", "depth", "given_depth", "given_coverage", "given_normals", "uncertainty", "seen")


def make_shard(seed: int, examples: int = EXAMPLES_PER_SHARD, side: int = SIDE) -> list[Example]:
    """Fresh examples; the same for the same seed."""
    held_out = seed >= VALIDATION
    return [make_example(np.random.default_rng([61, seed, k]), held_out, side) for k in range(examples)]


def shard_path(folder: Path, seed: int) -> Path:
    return Path(folder) / f"views_{seed:05d}.npz"


def write_shards(
    folder: Path, seeds: Sequence[int], examples: int = EXAMPLES_PER_SHARD, side: int = SIDE
) -> None:
    """Make those shards that are not there yet."""
    for seed in seeds:
        path = shard_path(folder, seed)
        if path.exists():
            continue
        start = time.perf_counter()
        shard = make_shard(seed, examples, side)
        values = {name: np.stack([getattr(e, name) for e in shard]) for name in ARRAYS}
        values["kinds"] = np.array([e.kind for e in shard])
        values["numbers"] = np.array([[e.focal, e.bottom] for e in shard])
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **values)
        rate = examples / (time.perf_counter() - start)
        logger.info("%s: %d examples, %.2f/s", path.name, examples, rate)


def read_shard(path: Path) -> list[Example]:
    with np.load(path, allow_pickle=False) as file:
        values = {name: file[name] for name in file.files}
    return [
        Example(
            kind=str(values["kinds"][k]),
            focal=float(values["numbers"][k, 0]),
            bottom=float(values["numbers"][k, 1]),
            **{name: values[name][k] for name in ARRAYS},
        )
        for k in range(len(values["kinds"]))
    ]


def training_shards(folder: Path) -> list[Path]:
    """The shards to learn from that are there; others may still be made meanwhile."""
    return sorted(p for p in Path(folder).glob("views_*.npz") if int(p.stem[6:]) < VALIDATION)


def halved(example: Example) -> Example:
    """The example in images of half the side: a quarter of the work for what does not hang on detail."""
    count, side = example.depth.shape[:2]
    blocks = (count, side // 2, 2, side // 2, 2)
    coverage = example.coverage.reshape(blocks).astype(np.float32)
    total = coverage.sum(axis=(2, 4))
    rgb = (example.rgb.reshape(*blocks, 3) * coverage[..., None]).sum(axis=(2, 4))
    values = {name: getattr(example, name)[:, ::2, ::2] for name in ARRAYS}
    values["rgb"] = np.rint(rgb / np.maximum(total, 1)[..., None]).astype(np.uint8)
    values["coverage"] = np.rint(total / 4).astype(np.uint8)
    given = example.given_coverage.reshape(blocks).mean(axis=(2, 4))
    values["given_coverage"] = np.rint(given).astype(np.uint8)
    return Example(example.kind, example.focal, example.bottom, **values)


def turned(example: Example, steps: int, mirrored: bool) -> Example:
    """The example seen from `steps` views farther on, and its mirror image."""
    values = {}
    for name in ARRAYS:
        array = np.roll(getattr(example, name), -steps, axis=0)
        if mirrored:
            # View k of the mirror image is the mirrored view −k.
            array = np.roll(array[::-1], 1, axis=0)[:, :, ::-1]
            if name == "given_normals":
                array = array * np.array([-1, 1, 1], dtype=array.dtype)
        values[name] = np.ascontiguousarray(array)
    return Example(example.kind, example.focal, example.bottom, **values)

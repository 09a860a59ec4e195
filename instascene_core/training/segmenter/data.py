"""Training views as files, and crops of them with what changes from camera to camera."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instascene_core.errors import InputError
from instascene_core.files import atomic_path
from instascene_core.segmentation.network import geometry_input
from instascene_core.training.segmenter.scenes import Prints, scene_views

logger = logging.getLogger(__name__)

SCENES_PER_SHARD, VIEWS_PER_SCENE = 8, 4
STEP = 2 / 127  # of the geometry inputs as stored
CROP = (192, 256)


@dataclass(frozen=True)
class Shard:
    """Some views as they are stored."""

    colors: np.ndarray  # [N, 3, H, W] uint8
    geometry: np.ndarray  # [N, 10, H, W] int8, in units of STEP
    labels: np.ndarray  # [N, H, W] uint8, 0 = no object


def make_shard(seed: int, scenes: int = SCENES_PER_SHARD, views: int = VIEWS_PER_SCENE) -> Shard:
    """Fresh scenes; the same for the same seed."""
    rng = np.random.default_rng([20, seed])
    prints = Prints(rng)
    taken = [view for _ in range(scenes) for view in scene_views(rng, prints, views)]
    geometry = [geometry_input(v.frame, v.up, v.support) for v in taken]
    return Shard(
        np.stack([v.frame.rgb.transpose(2, 0, 1) for v in taken]),
        np.round(np.stack(geometry) / STEP).astype(np.int8),
        np.stack([np.maximum(v.frame.require_labels(), 0) for v in taken]).astype(np.uint8),
    )


def shard_path(folder: Path, seed: int) -> Path:
    return Path(folder) / f"shard_{seed:05d}.npz"


def write_shards(
    folder: Path, seeds: range, scenes: int = SCENES_PER_SHARD, views: int = VIEWS_PER_SCENE
) -> None:
    """Make those shards that are not there yet."""
    for seed in seeds:
        path = shard_path(folder, seed)
        if path.exists():
            continue
        shard = make_shard(seed, scenes, views)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, colors=shard.colors, geometry=shard.geometry, labels=shard.labels)
        logger.info("%s: %d views", path.name, len(shard.labels))


def read_shard(path: Path, patience_s: float = 600.0) -> Shard:
    """The views in a file; waits for it while another process makes it."""
    until = time.monotonic() + patience_s
    while not path.exists():
        if time.monotonic() > until:
            raise InputError(f"There is no '{path}'; make the training views first.")
        time.sleep(1.0)
    with np.load(path, allow_pickle=False) as file:
        return Shard(file["colors"], file["geometry"], file["labels"])


AT_ONCE = 4  # shards in memory together, so that a batch mixes scenes


def batches_per_pass(folder: Path, seeds: range, size: int) -> int:
    """How many batches `batches` gives; all shards hold as many views as the first."""
    views = len(read_shard(shard_path(folder, seeds[0])).labels)
    return sum(len(seeds[i : i + AT_ONCE]) * views // size for i in range(0, len(seeds), AT_ONCE))


def batches(
    folder: Path, seeds: range, size: int, rng: np.random.Generator, in_order: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One pass over all views in random order: inputs [B, 13, h, w] float32, labels [B, h, w] uint8.

    in_order: take the shards as they are numbered, for a first pass while they are still being made.
    """
    order = list(seeds) if in_order else rng.permutation(list(seeds))
    for start in range(0, len(order), AT_ONCE):
        shards = [read_shard(shard_path(folder, int(s))) for s in order[start : start + AT_ONCE]]
        places = [(i, j) for i, shard in enumerate(shards) for j in range(len(shard.labels))]
        places = [places[i] for i in rng.permutation(len(places))]
        for first in range(0, len(places) - size + 1, size):
            crops = [crop(shards[i], j, rng) for i, j in places[first : first + size]]
            yield np.stack([c[0] for c in crops]), np.stack([c[1] for c in crops])


def crop(shard: Shard, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random window of one view, perhaps mirrored, its colours as another camera might give them."""
    height, width = (min(c, s) for c, s in zip(CROP, shard.labels.shape[1:]))
    y = rng.integers(shard.labels.shape[1] - height + 1)
    x = rng.integers(shard.labels.shape[2] - width + 1)
    window = (slice(y, y + height), slice(x, x + width))
    colors = changed_colors(shard.colors[(index, slice(None), *window)], rng)
    geometry = shard.geometry[(index, slice(None), *window)] * np.float32(STEP)
    labels = shard.labels[(index, *window)]
    inputs = np.concatenate([colors, geometry])
    if rng.uniform() < 0.5:
        inputs, labels = inputs[..., ::-1].copy(), labels[:, ::-1]
        inputs[3] *= -1  # the normal's component to the right
    return inputs, np.ascontiguousarray(labels)


def changed_colors(colors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[3, h, w] float32 in [−1, 1]: exposure, white balance, contrast, saturation, blur and noise changed."""
    import cv2

    image = colors.astype(np.float32) / 255
    if rng.uniform() < 0.15:
        image = np.broadcast_to(image.mean(axis=0), image.shape)
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.06, 3))
    image = np.clip(image * gain[:, None, None].astype(np.float32), 0, 1) ** np.float32(
        np.exp(rng.normal(0, 0.2))
    )
    if rng.uniform() < 0.4:
        image = cv2.GaussianBlur(np.moveaxis(image, 0, -1), (0, 0), float(rng.uniform(0.3, 1.0)))
        image = np.moveaxis(image, -1, 0)
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, 0.02))
    return np.clip(image + noise, 0, 1) * 2 - 1

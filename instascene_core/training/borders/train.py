"""The training loop of the network that finds the true borders, and its scores on scenes held back."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from instascene_core.config.segmentation import EdgeConfig
from instascene_core.metrics import multi_view_iou
from instascene_core.segmentation.border_network import BorderNetwork, for_inference, save_border_network
from instascene_core.segmentation.borders import REACH, BorderRefiner, border_input, doubt_of
from instascene_core.training.borders.data import BorderScene, read_scene

logger = logging.getLogger(__name__)
HELD_BACK = 12  # every so many-th scene is only for the scores
MIN_DOUBTFUL = 200  # pixels in doubt in a crop, for it to be learned from


@dataclass(frozen=True)
class BorderTraining:
    """Everything the result depends on besides the code and the scenes."""

    seed: int = 0
    minutes: float = 30.0  # of wall time, with the learning rate run down
    batch: int = 8
    crop: tuple[int, int] = (128, 160)  # rows, columns
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    # What labels err by besides, in some of the crops: pixels they are moved (standard deviation), and grown
    # or shrunk by one
    moved_share: float = 0.4
    moved_pixels: float = 0.8
    grown_share: float = 0.25


@dataclass(frozen=True)
class Example:
    """One crop."""

    inputs: np.ndarray  # [CHANNELS, h, w] float32
    beyond: np.ndarray  # [h, w] float32: 1 where the label beyond the border is the true one
    weight: np.ndarray  # [h, w] float32: 1 where either that or the pixel's own label is true, near a border


def example(scene: BorderScene, index: int, rng: np.random.Generator, how: BorderTraining) -> Example | None:
    """A crop of view `index` around a random pixel of an object; None where it has no border."""
    labels = scene.labels[index]
    rows, columns = np.nonzero(labels)
    if not len(rows):
        return None
    at = rng.integers(len(rows))
    top, left = (
        int(np.clip(place - rng.integers(size), 0, length - size))
        for place, size, length in zip((rows[at], columns[at]), how.crop, labels.shape)
    )
    window = (index, slice(top, top + how.crop[0]), slice(left, left + how.crop[1]))
    rgb, depth, truth = scene.colors[window], scene.depths[window], scene.truth[window]
    labels = changed_labels(scene.labels[window], rng, how)
    if rng.uniform() < 0.5:
        rgb, depth, labels, truth = (
            np.ascontiguousarray(image[:, ::-1]) for image in (rgb, depth, labels, truth)
        )
    doubt = doubt_of(labels)
    if doubt is None:
        return None
    inputs = border_input(changed_colors(rgb, rng), depth, labels, doubt, scene.offset)
    flip, keep = truth == labels[doubt.beyond], truth == labels
    weight = (doubt.distance <= REACH) & (flip | keep)
    return Example(inputs, flip.astype(np.float32), weight.astype(np.float32))


def changed_labels(labels: np.ndarray, rng: np.random.Generator, how: BorderTraining) -> np.ndarray:
    """[h, w] uint8, moved as a whole and grown or shrunk, each now and then."""
    import cv2

    if rng.uniform() < how.moved_share:
        by = rng.normal(0, how.moved_pixels, 2)
        matrix = np.array([[1, 0, by[0]], [0, 1, by[1]]], dtype=np.float32)
        labels = cv2.warpAffine(
            labels, matrix, labels.shape[::-1], flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
    if rng.uniform() < how.grown_share:
        around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
        if rng.uniform() < 0.5:
            return np.asarray(cv2.dilate(labels, around))
        inner = cv2.erode((labels > 0).astype(np.uint8), around)
        return np.where(inner > 0, labels, 0).astype(np.uint8)
    return labels


def changed_colors(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[h, w, 3] uint8: exposure, white balance and contrast changed."""
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.06, 3))
    light = np.clip(rgb / 255.0 * gain, 0, 1) ** np.exp(rng.normal(0, 0.2))
    return np.round(light * 255).astype(np.uint8)


def scene_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """(files to learn from, files held back) of those that `data.gather` wrote."""
    paths = sorted(folder.glob("scene_*.npz"))
    held = [path for path in paths if int(path.stem.removeprefix("scene_")) % HELD_BACK == 0]
    return [path for path in paths if path not in held], held


def train(folder: Path, output: Path, how: BorderTraining) -> dict[str, float]:
    """Train on the scenes in `folder` and write the weights; the scores on those held back."""
    torch.manual_seed(how.seed)
    rng = np.random.default_rng(how.seed)
    paths, held_back = scene_files(folder)
    scenes = [scene for scene in map(read_scene, paths) if scene is not None]
    network = BorderNetwork().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.AdamW(network.parameters(), how.learning_rate, weight_decay=how.weight_decay)
    began, shown = time.monotonic(), []
    while (done := (time.monotonic() - began) / 60 / how.minutes) < 1:
        for group in optimiser.param_groups:
            group["lr"] = how.learning_rate * min(done / 0.02 + 0.01, 1) * 0.5 * (1 + np.cos(np.pi * done))
        shown.append(_update(network, optimiser, _batch(scenes, rng, how)))
        if len(shown) % 100 == 0:
            logger.info("step %d (%.0f %%): loss %.4f", len(shown), 100 * done, np.mean(shown[-100:]))
    scores = scores_of(network, [scene for scene in map(read_scene, held_back) if scene is not None])
    notes = asdict(how) | {"scenes": len(scenes), "steps": len(shown)}
    save_border_network(network, output, {"training": json.dumps(notes), "scores": json.dumps(scores)})
    logger.info("%s", scores)
    return scores


def _batch(scenes: Sequence[BorderScene], rng: np.random.Generator, how: BorderTraining) -> list[Example]:
    batch: list[Example] = []
    while len(batch) < how.batch:
        scene = scenes[int(rng.integers(len(scenes)))]
        made = example(scene, int(rng.integers(len(scene.labels))), rng, how)
        if made is not None and made.weight.sum() > MIN_DOUBTFUL:
            batch.append(made)
    return batch


def _update(network: BorderNetwork, optimiser: torch.optim.Optimizer, batch: Sequence[Example]) -> float:
    inputs, truth, weight = (
        torch.from_numpy(np.stack([getattr(one, name) for one in batch]))
        for name in ("inputs", "beyond", "weight")
    )
    with torch.autocast("cpu", torch.bfloat16):
        odds = network(inputs.contiguous(memory_format=torch.channels_last))
    loss = F.binary_cross_entropy_with_logits(odds.float(), truth, weight, reduction="sum") / weight.sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def scores_of(network: BorderNetwork, scenes: Sequence[BorderScene]) -> dict[str, float]:
    """Mean IoU over all objects of a scene and its views, before and after borders are moved."""
    refiner = BorderRefiner(for_inference(network), EdgeConfig())
    before, after = [], []
    for scene in scenes:
        truth = [image.astype(np.int32) for image in scene.truth]
        labels = [image.astype(np.int32) for image in scene.labels]
        moved = [
            refiner.refined(image, rgb, depth, scene.offset)
            for image, rgb, depth in zip(labels, scene.colors, scene.depths)
        ]
        before.append(multi_view_iou(labels, truth).miou)
        after.append(multi_view_iou(moved, truth).miou)
    return {"scenes": len(scenes), "miou_before": float(np.mean(before)), "miou": float(np.mean(after))}

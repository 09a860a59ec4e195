"""Training of the contact model: `python -m instascene_core.training.segmenter.contacts OUTPUT`.

Whole scenes of the segmenter's training, seen from 8 to 48 places, are fused and gathered into patches as in
use; which patches are one object is known.  Minutes on one core, once the segmenter's weights are there.
"""

import argparse
import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from instascene_core.config.segmentation import NetworkConfig, SegmentationConfig
from instascene_core.frame import Frame
from instascene_core.progress import no_progress
from instascene_core.segmentation import find_support
from instascene_core.segmentation.fused_surface.contacts import FORMAT, LIMIT, ContactModel
from instascene_core.segmentation.fused_surface.evidence import collect_evidence
from instascene_core.segmentation.network import limit_size, network_of
from instascene_core.training.segmenter.scenes import Prints, scene_views
from instascene_core.weights import write_weights

logger = logging.getLogger(__name__)
UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class ContactTraining:
    """What a training run depends on, besides the segmenter's weights."""

    scenes: int = 120
    validation_share: float = 0.15  # of the scenes, the last ones
    min_views: int = 8
    max_views: int = 48
    min_purity: float = 0.8  # of a patch, for its pairs to be examples
    apart_share: float = 0.03  # of the pairs that do not touch: there are fifty times as many
    width: int = 48
    steps: int = 8000
    batch: int = 1024
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    seed: int = 0


def examples(
    frames: list[Frame], config: ContactTraining, segmentation: SegmentationConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features [C, F], two objects [C] 0 or 1, touching [C]) of one scene's pairs of patches."""
    support = find_support(frames, UP, segmentation.support)
    frames = [limit_size(frame, segmentation.max_pixels) for frame in frames]
    evidence = collect_evidence(
        frames,
        network_of(segmentation.network),
        support,
        UP,
        segmentation.fused_surface,
        segmentation.network.border_steps,
        no_progress,
    )
    if evidence is None:
        return np.zeros((0, 0), np.float32), np.zeros(0), np.zeros(0, bool)
    labels = [frame.require_labels() for frame in frames]
    votes = np.zeros((int(evidence.patch.max()) + 1, 1 + max(int(image.max()) for image in labels)))
    for image, element in zip(labels, evidence.elements):
        hit = element >= 0
        np.add.at(votes, (evidence.patch[element[hit]], np.maximum(image[hit], 0)), 1)
    owner, purity = votes.argmax(axis=1), votes.max(axis=1) / np.maximum(votes.sum(axis=1), 1)
    pairs = evidence.pairs
    a, b = pairs.first, pairs.second
    known = (np.minimum(purity[a], purity[b]) > config.min_purity) & (np.maximum(owner[a], owner[b]) > 0)
    known &= pairs.touching | (rng.uniform(size=len(a)) < config.apart_share)
    return pairs.features[known], (owner[a] != owner[b])[known].astype(float), pairs.touching[known]


def collect(config: ContactTraining, segmentation: SegmentationConfig) -> list[tuple]:
    """Examples of every scene."""
    found = []
    for index in range(config.scenes):
        rng = np.random.default_rng([config.seed, 77, index])
        count = int(rng.integers(config.min_views, config.max_views + 1))
        views = scene_views(rng, Prints(rng, 6), count)
        frames = [replace(view.frame, name=str(i)) for i, view in enumerate(views)]
        found.append(examples(frames, config, segmentation, rng))
        logger.info("scene %d of %d: %d views, %d pairs", index + 1, config.scenes, count, len(found[-1][1]))
    return [scene for scene in found if len(scene[1])]


def train(scenes: list[tuple], config: ContactTraining) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """(weights of a ContactModel, scores on the validation scenes)."""
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits

    split = len(scenes) - max(1, round(config.validation_share * len(scenes)))
    x, y, _ = (np.concatenate(part) for part in zip(*scenes[:split], strict=True))
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    torch.manual_seed(config.seed)
    layers = [nn.Linear(x.shape[1], config.width), nn.Linear(config.width, config.width)]
    layers.append(nn.Linear(config.width, 1))
    network = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])
    optimiser = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    inputs = torch.from_numpy(((x - mean) / deviation).clip(-LIMIT, LIMIT).astype(np.float32))
    truth = torch.from_numpy(y.astype(np.float32))
    generator = torch.Generator().manual_seed(config.seed)
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + np.cos(np.pi * step / config.steps))
        pick = torch.randint(len(inputs), (config.batch,), generator=generator)
        loss = binary_cross_entropy_with_logits(network(inputs[pick])[:, 0], truth[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % 1000 == 0:
            logger.info("step %d: loss %.4f", step + 1, float(loss.detach()))
    state = {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32)}
    for index, layer in enumerate(layers):
        state[f"weight{index}"] = layer.weight.detach().numpy().copy()
        state[f"bias{index}"] = layer.bias.detach().numpy().copy()
    return state, scores_of(ContactModel(state), scenes[split:])


def scores_of(model: ContactModel, scenes: list[tuple]) -> dict[str, float]:
    """Area under the ROC curve, for pairs in contact and for those apart."""
    from sklearn.metrics import roc_auc_score

    x, y, touching = (np.concatenate(part) for part in zip(*scenes, strict=True))
    odds = model.log_odds(x)
    return {
        "auc_touching": float(roc_auc_score(y[touching], odds[touching])),
        "auc_apart": float(roc_auc_score(y[~touching], odds[~touching])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m instascene_core.training.segmenter.contacts")
    parser.add_argument("output", type=Path, help="weights to write")
    parser.add_argument("--scenes", type=int, default=ContactTraining.scenes)
    parser.add_argument("--weights", default="", help="of the segmenter; empty = the package's")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = ContactTraining(scenes=arguments.scenes)
    scenes = collect(config, SegmentationConfig(network=NetworkConfig(weights=arguments.weights)))
    state, scores = train(scenes, config)
    notes = {"training": json.dumps(asdict(config)), "scores": json.dumps(scores)}
    write_weights(arguments.output, state, FORMAT, notes, half=False)
    logger.info("%s", scores)


if __name__ == "__main__":
    main()

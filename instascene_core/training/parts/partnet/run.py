"""Preparing, training and testing on one category of PartNet, as Sun et al. 2022 do."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from instascene_core.config import PartsConfig
from instascene_core.errors import InputError
from instascene_core.files import write_json
from instascene_core.metrics.parts import ShapeParts, part_scores
from instascene_core.parts.network import PartShape, load_network
from instascene_core.parts.samples import in_unit_ball
from instascene_core.parts.segment import PartLabels, PartSegmenter
from instascene_core.training.parts.data import Showing, shard_path, write_shard
from instascene_core.training.parts.partnet.shapes import PartNetShape, level_names, shapes_of
from instascene_core.training.parts.things import Thing
from instascene_core.training.parts.train import PartTraining, train
from instascene_core.untrusted import read_json_object

logger = logging.getLogger(__name__)

SHAPES_PER_SHARD = 100
FACTS = "partnet.json"  # beside prepared shards: category, names of its levels, how many shards
# As published: all 10,000 points, bandwidth 0.1 and a push of 0.05 in the unit ball.
TESTING = PartsConfig(points=10_000, passes=1, bandwidth=0.1, push=0.05, join=0.0, smallest=1)
SHOWING = Showing(half_seen=0.0, points=(10_000, 10_000), noise=0.0, tilt=0.0, stretch=0.1)


def prepare(root: Path, category: str, output: Path) -> dict[str, int]:
    """The training and validation shapes as shards in `output` (numbers, no pickle), the latter last; how
    many there are.

    All shards hold equally many shapes, so that up to one a shard is left out.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    counts, number = {}, 0
    for split in ("train", "val"):
        things = [_thing(shape) for shape in shapes_of(root, category, split)]
        if not things:
            raise InputError(f"There are no {split} shapes of {category} in '{root}'.")
        shards = -(-len(things) // SHAPES_PER_SHARD)
        size = len(things) // shards
        for k in range(shards):
            write_shard(shard_path(output, number), things[k * size : (k + 1) * size])
            number += 1
        counts[split], counts[f"{split}_shards"] = len(things), shards
    names = [list(level) for level in level_names(root, category)]
    write_json(output / FACTS, {"category": category, "names": names, **counts})
    return counts


def train_category(data: Path, output: Path, config: PartTraining) -> dict[str, float]:
    """Train on what `prepare` wrote; config.shards and validation_shards are those of the data."""
    from dataclasses import replace

    facts = read_json_object(Path(data) / FACTS)
    try:
        names = tuple(tuple(str(n) for n in level) for level in facts["names"])
        validation = int(facts["val_shards"])
        shards = int(facts["train_shards"]) + validation
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"'{Path(data) / FACTS}' is not of prepared shapes of PartNet.") from error
    classes = tuple(len(level) for level in names)
    shape = PartShape(classes, widths=(32, 64, 96, 128, 160), features=64, hidden=128, depth=2)
    config = replace(config, shards=shards, validation_shards=validation)
    return train(data, output, names, config, shape)


def test_category(
    root: Path, category: str, weights: Path, threshold: float = 0.5, config: PartsConfig = TESTING
) -> dict[str, dict[str, float]]:
    """mAP and shape-mAP of a category's test shapes at each of its levels, in percent."""
    trained, names = load_network(weights), level_names(root, category)
    if trained.names != names:
        raise InputError(f"The weights in '{weights}' are not of the parts of {category}.")
    segmenter = PartSegmenter(trained, config)
    judged = list(_judged(segmenter, shapes_of(root, category, "test")))
    scores = {}
    for level in range(len(names)):
        found = part_scores([one[level] for one in judged], threshold)
        scores[f"level_{level + 1}"] = {
            "map": 100 * found.mean_ap,
            "shape_map": 100 * found.shape_mean_ap,
            "parts": sum(found.true_parts.values()),
            "shapes": len(judged),
        }
    return scores


def _judged(segmenter: PartSegmenter, shapes: Iterator[PartNetShape]) -> Iterator[list[ShapeParts]]:
    for shape in shapes:
        labels = segmenter.label_points(shape.points, shape.normals)
        yield judged_parts(labels, segmenter.trained.names, shape.semantic, shape.instance)


def judged_parts(
    labels: PartLabels, names: tuple[tuple[str, ...], ...], semantic: np.ndarray, instance: np.ndarray
) -> list[ShapeParts]:
    """Predicted beside true parts [L, N] at each level, as the scores take them."""
    judged = []
    for level, said in enumerate(labels.levels):
        index = np.array([names[level].index(name) for name in said.names])
        judged.append(
            ShapeParts(instance[level], semantic[level], said.part, index[said.part], said.scores[said.part])
        )
    return judged


def _thing(shape: PartNetShape) -> Thing:
    every = np.full(len(shape.points), 255, dtype=np.uint8)  # all cameras see all points
    return Thing(in_unit_ball(shape.points), shape.normals, shape.semantic, shape.instance, every)

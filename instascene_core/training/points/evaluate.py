"""A network's average precision on prepared scenes, with its time a scene."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from instascene_core.config.points import ReadingConfig
from instascene_core.metrics.point_instances import InstanceScores, SceneMasks, score_instances
from instascene_core.segmentation.points_network.network import PointsNetwork, network_input
from instascene_core.segmentation.points_network.reading import read_instances
from instascene_core.training.points.prepared import PreparedScene, read_prepared


@dataclass(frozen=True)
class Evaluation:
    """Scores on some scenes, and the seconds that superpoints → instances took."""

    scores: InstanceScores
    seconds: float  # mean a scene


def found_in(network: PointsNetwork, scene: PreparedScene, config: ReadingConfig) -> SceneMasks:
    """What the network finds in a scene, beside the truth."""
    inputs = network_input([scene.cloud], [scene.superpoint], network.config.voxel_m)
    with torch.inference_mode():
        instances = read_instances(network(inputs)[0], scene.superpoint, config)
    return SceneMasks(instances.masks, instances.scores, instances.classes, scene.instance, scene.category)


def evaluate(
    network: PointsNetwork,
    paths: Iterable[Path],
    config: ReadingConfig,
    num_classes: int | None = None,
    structure_is_void: bool = False,
) -> Evaluation:
    """num_classes: 1 = without classes; None = the network's.  structure_is_void: see `score_instances`."""
    network.eval()
    found, seconds = [], 0.0
    for path in paths:
        scene = read_prepared(path)
        begin = time.perf_counter()
        found.append(found_in(network, scene, config))
        seconds += time.perf_counter() - begin
    scores = score_instances(
        found, num_classes or network.config.classes, structure_is_void=structure_is_void
    )
    return Evaluation(scores, seconds / max(len(found), 1))


def table_of(scores: InstanceScores, names: Sequence[str] = ()) -> str:
    """The scores as lines of text; names: of the classes, for a line each."""
    rows = [("all", (scores.ap, scores.ap50, scores.ap25))]
    if names:
        rows += [(names[c], figures) for c, figures in sorted(scores.of_class.items())]
    width = max(len(name) for name, _ in rows)
    head = f"{'':{width}}    mAP  mAP50  mAP25\n"
    return head + "".join(
        f"{name:{width}}  {100 * ap:5.1f}  {100 * ap50:5.1f}  {100 * ap25:5.1f}\n"
        for name, (ap, ap50, ap25) in rows
    )

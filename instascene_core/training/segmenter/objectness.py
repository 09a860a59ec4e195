"""Training of the objectness model: how well a node of the merge tree stands for one whole object.

It is judged by the choice it causes: beside the IoU that it should say of each node, it learns from the
expected worth of the objects that are chosen by what it says (`cuts`).
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from instascene_core.config.segmentation import EvidenceConfig, FusedSurfaceConfig
from instascene_core.segmentation.fused_surface.contacts import ContactModel
from instascene_core.segmentation.fused_surface.cutters import links_of_pairs
from instascene_core.segmentation.fused_surface.nodes import Nodes, describe_nodes
from instascene_core.segmentation.fused_surface.objectness import ObjectnessModel, choose_objects
from instascene_core.segmentation.fused_surface.tree import MergeTree, merge_tree
from instascene_core.training.segmenter.cuts import expected_worth, forest_of, judged_tree
from instascene_core.training.segmenter.evidence import SceneEvidence
from instascene_core.training.segmenter.perceptron import PerceptronFit, PerceptronTraining

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectnessTraining(PerceptronTraining):
    """What a training run depends on, besides the scenes and the contact model."""

    width: int = 32
    steps: int = 3000
    batch: int = 8  # trees
    weight_decay: float = 0.3
    input_noise: float = 0.2
    members: int = 8
    temperature: float = 0.08  # of the choice, in IoU
    iou_share: float = 0.3  # of the loss: what is said of each node; the rest: what comes of it
    # Trees of one scene at several prejudices: more nodes, and no tree is learned by heart.
    prejudices: tuple[float, ...] = (0.3, 1.0)


@dataclass(frozen=True)
class TreeExample:
    """One scene's tree, its nodes and what each is worth."""

    tree: MergeTree
    nodes: Nodes
    iou: np.ndarray  # [N] best overlap of each node with a true object, 0 with none
    overlap: np.ndarray  # [P, T] elements of each patch on each true object (column 0: on none)


def tree_example(
    scene: SceneEvidence, model: ContactModel, config: FusedSurfaceConfig, prejudice: float
) -> TreeExample:
    """The tree of a scene at one `contact_log_odds`."""
    odds = model.log_odds(scene.pairs.features) + prejudice
    links = links_of_pairs(scene.pairs, odds, config.evidence)
    overlap = np.zeros((int(scene.patch.max()) + 1, 1 + int(scene.owner.max())))
    np.add.at(overlap, (scene.patch, scene.owner), 1)
    tree = merge_tree(links, len(overlap))
    nodes = describe_nodes(
        scene.surface, scene.patch, scene.pairs, links, tree, scene.border_share, scene.support,
        min_elements=config.min_part_elements, min_parent_cut=config.evidence.min_parent_cut,
    )  # fmt: skip
    held = tree.add_up(overlap)[nodes.index]
    union = held.sum(axis=1)[:, None] + overlap.sum(axis=0)[None] - held
    iou = (held / np.maximum(union, 1))[:, 1:].max(axis=1, initial=0)
    return TreeExample(tree, nodes, iou, overlap)


def train(
    scenes: Iterable[SceneEvidence],
    held_back: Iterable[SceneEvidence],
    contacts: ContactModel,
    surface: FusedSurfaceConfig,
    config: ObjectnessTraining,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """(weights of an ObjectnessModel, scores on the scenes held back); each scene is looked at once."""
    trees = [tree_example(s, contacts, surface, p) for s in scenes for p in config.prejudices]
    logger.info("%d nodes of %d trees", sum(len(tree.iou) for tree in trees), len(trees))
    state: dict[str, np.ndarray] = {}
    members = []
    for member in range(config.members):
        fitted = fit_choice(trees, surface, replace(config, seed=config.seed + member))
        state |= {f"{member}.{name}": value for name, value in fitted.items()}
        members.append(ContactModel(fitted))
    model = ObjectnessModel(members)
    prejudice = EvidenceConfig().contact_log_odds
    examples = [tree_example(scene, contacts, surface, prejudice) for scene in held_back]
    return state, scores_of(model, examples, surface.evidence.false_cost, surface.min_part_elements)


def fit_choice(
    trees: Sequence[TreeExample], surface: FusedSurfaceConfig, config: ObjectnessTraining
) -> dict[str, np.ndarray]:
    """Weights of one member: log odds whose sigmoid is the IoU to be expected of a node."""
    trees = [tree for tree in trees if len(tree.iou)]
    fit = PerceptronFit(np.concatenate([tree.nodes.features for tree in trees]), config)
    inputs = [fit.standardised(tree.nodes.features) for tree in trees]
    truths = [torch.from_numpy(tree.iou.astype(np.float32)) for tree in trees]
    judged = [judged_tree(tree.tree, tree.nodes) for tree in trees]
    objects = [int((tree.overlap.sum(axis=0)[1:] >= surface.min_part_elements).sum()) for tree in trees]
    rng = np.random.default_rng([config.seed, 5])
    cost = surface.evidence.false_cost
    for _ in range(config.steps):
        picked = rng.choice(len(trees), min(config.batch, len(trees)), replace=False).tolist()
        odds = fit.log_odds(torch.cat([inputs[i] for i in picked]))
        truth = torch.cat([truths[i] for i in picked])
        # Every scene has the same say, however many nodes its tree has.
        share = torch.cat([torch.full((len(truths[i]),), 1 / len(truths[i])) for i in picked]) / len(picked)
        said = (share * binary_cross_entropy_with_logits(odds, truth, reduction="none")).sum()
        forest = forest_of([judged[i] for i in picked])
        worth = expected_worth(forest, (torch.sigmoid(odds) - cost) / config.temperature, truth - cost)
        worth = worth / max(1, sum(objects[i] for i in picked))
        fit.step(config.iou_share * said - (1 - config.iou_share) * worth)
    return fit.state()


def scores_of(
    model: ObjectnessModel | None, examples: Sequence[TreeExample], false_cost: float, min_elements: int
) -> dict[str, float]:
    """Mean IoU over all true objects (missing = 0), recall and precision at IoU 0.5.

    model: None = an oracle that knows the IoU of every node: what the trees allow.  True objects of fewer
    than `min_elements` elements are not counted.
    """
    total, hits, found, truths = 0.0, 0, 0, 0
    for example in examples:
        expected = example.iou if model is None else model.expected_iou(example.nodes.features)
        part = choose_objects(example.tree, example.nodes, expected, false_cost)
        iou = part_iou(part, example.overlap)
        counted = example.overlap.sum(axis=0)[1:] >= min_elements
        best = iou[:, counted].max(axis=0, initial=0)
        total, truths = total + float(best.sum()), truths + int(counted.sum())
        hits += int((best >= 0.5).sum())
        found += int(part.max(initial=-1)) + 1
    return {
        "miou": total / max(truths, 1),
        "recall": hits / max(truths, 1),
        "precision": hits / max(found, 1),
    }


def part_iou(part: np.ndarray, overlap: np.ndarray) -> np.ndarray:
    """[parts, T − 1] IoU of each part with each true object; part: [P] ≥ 0, or −1; overlap: [P, T]."""
    held = np.zeros((int(part.max(initial=-1)) + 1, overlap.shape[1]))
    np.add.at(held, part[part >= 0], overlap[part >= 0])
    union = held.sum(axis=1)[:, None] + overlap.sum(axis=0)[None] - held
    return (held / np.maximum(union, 1))[:, 1:]

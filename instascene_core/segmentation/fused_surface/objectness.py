"""Which nodes of the merge tree are the objects: a learned judgement of each, and the best choice among all.

A node is worth the overlap (IoU) that it is expected to have with a true object, less what a false object
costs.  The objects are those disjoint nodes that are worth most together; so one sum weighs what is
in pieces against what is merged, and a piece of table against a thing left out.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from instascene_core.segmentation.fused_surface.contacts import ContactModel, perceptron_shapes
from instascene_core.segmentation.fused_surface.nodes import NUM_NODE_FEATURES, Nodes
from instascene_core.segmentation.fused_surface.tree import MergeTree
from instascene_core.weights import read_weights, require_shapes

WEIGHTS = Path(__file__).parents[1] / "weights" / "objectness.safetensors"
FORMAT = "instascene objectness 1"


class ObjectnessModel:
    """Perceptrons that were trained alike from different starts: features → expected IoU with an object."""

    def __init__(self, members: list[ContactModel]) -> None:
        self._members = members

    def expected_iou(self, features: np.ndarray) -> np.ndarray:
        """[N] 0 … 1 of features [N, NUM_NODE_FEATURES]: the mean of what the members say."""
        odds = np.stack([member.log_odds(features) for member in self._members])
        return (1 / (1 + np.exp(-np.clip(odds, -30, 30)))).mean(axis=0)


@lru_cache(maxsize=2)
def load_objectness_model(path: Path = WEIGHTS) -> ObjectnessModel:
    """The model in a weights file.  Raises InputError when the file is missing or not one of ours."""
    advice = (
        "leave segmentation.fused_surface.evidence.objectness_weights empty for those that come with the "
        "package"
    )
    state, _ = read_weights(path, FORMAT, "objectness model", advice)
    members: dict[str, dict[str, np.ndarray]] = {}
    for name, value in state.items():
        member, _, what = name.partition(".")
        members.setdefault(member, {})[what] = value
    for member in members.values() or [{}]:
        require_shapes(member, perceptron_shapes(member, NUM_NODE_FEATURES), path, "objectness model", advice)
    return ObjectnessModel([ContactModel(members[name]) for name in sorted(members)])


def choose_objects(tree: MergeTree, nodes: Nodes, expected_iou: np.ndarray, false_cost: float) -> np.ndarray:
    """[P] int64 part of every patch, numbered from 0, −1 where it is of no object (see `choose_nodes`)."""
    return parts_of(tree, choose_nodes(tree, nodes, expected_iou, false_cost))


def choose_nodes(tree: MergeTree, nodes: Nodes, expected_iou: np.ndarray, false_cost: float) -> np.ndarray:
    """[O] int64 nodes of the tree that are the objects, from the root down.

    The disjoint nodes with the greatest sum of expected_iou [N] − `false_cost`: from the leaves up, a node is
    taken whole where that is worth more than the best choices of its two children together.
    """
    worth = np.full(tree.size, -np.inf)
    worth[nodes.index] = expected_iou - false_cost
    best = np.maximum(worth, 0.0)
    for node, (left, right) in enumerate(tree.children, tree.leaves):
        best[node] = max(worth[node], best[left] + best[right], 0.0)
    chosen, taken = [], np.zeros(tree.size, dtype=bool)
    for node in range(tree.size - 1, -1, -1):  # parents before children
        if not taken[node] and worth[node] > 0 and worth[node] >= best[node]:
            chosen.append(node)
            taken[node] = True
        if node >= tree.leaves and taken[node]:
            taken[tree.children[node - tree.leaves]] = True
    return np.array(chosen, dtype=np.int64)


def parts_of(tree: MergeTree, chosen: np.ndarray) -> np.ndarray:
    """[P] int64 which of the disjoint nodes `chosen` [O] holds each patch, −1 where none does."""
    part = np.full(tree.leaves, -1, dtype=np.int64)
    order, start, end = tree.ranges()
    for number, node in enumerate(chosen):
        part[order[start[node] : end[node]]] = number
    return part

"""What a choice of objects among the nodes of a merge tree is worth, as a function that has a gradient.

Choosing takes the best cut, and a best cut has no gradient.  So all cuts are weighed instead: a cut is drawn
with probability exp(worth / temperature), worth being the sum of its nodes' (a Gibbs distribution over the
cuts of a tree), and what counts is the expected true worth of the cut drawn.  A sum from the leaves up, as
in the inside algorithm for trees, has both the normaliser and the expectation in one pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from instascene_core.segmentation.fused_surface.nodes import Nodes
from instascene_core.segmentation.fused_surface.tree import MergeTree


@dataclass(frozen=True)
class Forest:
    """The judged nodes of some trees, those of a level side by side; children are numbered before parents."""

    size: int  # N nodes
    # Per level: nodes [L]; and for each child of one of them, the parent's place in the level and the child
    levels: tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], ...]
    roots: torch.Tensor  # [R]


@dataclass(frozen=True)
class JudgedTree:
    """Of each node that may be an object, those judged ones that come next below it."""

    children: tuple[tuple[int, ...], ...]  # [N] places among the judged nodes
    level: np.ndarray  # [N] 0 for those with nothing below
    roots: tuple[int, ...]


def judged_tree(tree: MergeTree, nodes: Nodes) -> JudgedTree:
    """The tree without the nodes that nobody judges."""
    place = {int(node): i for i, node in enumerate(nodes.index)}
    tops: list[tuple[int, ...]] = []  # of every node: the topmost judged ones within it
    children: list[tuple[int, ...]] = [()] * len(place)
    level = np.zeros(len(place), dtype=np.int64)
    for node in range(tree.size):
        below: tuple[int, ...] = ()
        if node >= tree.leaves:
            left, right = tree.children[node - tree.leaves]
            below = tops[left] + tops[right]
        if node in place:
            children[place[node]] = below
            level[place[node]] = 1 + max((level[i] for i in below), default=-1)
            below = (place[node],)
        tops.append(below)
    roots = tuple(i for root in np.flatnonzero(tree.parent < 0) for i in tops[root])
    return JudgedTree(tuple(children), level, roots)


def forest_of(trees: Sequence[JudgedTree]) -> Forest:
    """Several trees as one, their nodes one tree after the other."""
    by_level: dict[int, list[tuple[int, tuple[int, ...], int]]] = {}
    roots: list[int] = []
    size = 0
    for tree in trees:
        for node, (below, level) in enumerate(zip(tree.children, tree.level.tolist(), strict=True)):
            by_level.setdefault(level, []).append((size + node, below, size))
        roots += [size + root for root in tree.roots]
        size += len(tree.children)
    levels = []
    for level in sorted(by_level):
        pairs = [(k, start + i) for k, (_, below, start) in enumerate(by_level[level]) for i in below]
        parent, child = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        nodes = torch.tensor([node for node, _, _ in by_level[level]])
        levels.append((nodes, torch.from_numpy(parent.copy()), torch.from_numpy(child.copy())))
    return Forest(size, tuple(levels), torch.tensor(roots, dtype=torch.int64))


def expected_worth(forest: Forest, judged: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """The sum of the `true` worth [N] over the nodes of a cut, in expectation over all cuts of all trees.

    judged: [N] worth over temperature, by which the cuts are drawn.  A cut that holds no node at all of a
    branch is one as well.
    """
    normaliser, expectation = judged.new_zeros(forest.size), judged.new_zeros(forest.size)  # logarithm; sum
    for nodes, parent, child in forest.levels:
        nothing = judged.new_zeros(len(nodes))
        apart = nothing.index_add(0, parent, normaliser[child])
        below = nothing.index_add(0, parent, expectation[child])
        whole = torch.sigmoid(judged[nodes] - apart)
        normaliser = normaliser.index_put((nodes,), torch.logaddexp(judged[nodes], apart))
        expectation = expectation.index_put((nodes,), whole * true[nodes] + (1 - whole) * below)
    return expectation[forest.roots].sum()

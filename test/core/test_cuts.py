"""The expected worth of a choice of objects, against all cuts of a small tree one by one."""

import itertools

import numpy as np
import pytest
import torch

from instascene_core.segmentation.fused_surface.nodes import NUM_NODE_FEATURES, Nodes
from instascene_core.segmentation.fused_surface.objectness import choose_objects
from instascene_core.segmentation.fused_surface.tree import MergeTree
from instascene_core.training.segmenter.cuts import expected_worth, forest_of, judged_tree

# Two trees over seven patches: ((0 1) (2 3)) and (4 5), and a patch alone.
TREE = MergeTree(7, np.array([[0, 1], [2, 3], [7, 8], [4, 5]]), np.zeros(4))
BELOW = {7: {0, 1}, 8: {2, 3}, 9: {0, 1, 2, 3}, 10: {4, 5}} | {leaf: {leaf} for leaf in range(7)}


def some_nodes(seed: int) -> Nodes:
    index = np.flatnonzero(np.random.default_rng(seed).uniform(size=TREE.size) < 0.8)
    return Nodes(index, np.zeros((len(index), NUM_NODE_FEATURES), np.float32))


def all_cuts(nodes: Nodes) -> list[tuple[int, ...]]:
    """Every set of disjoint judged nodes, as places among them."""
    places = range(len(nodes.index))
    sets = (c for n in range(len(places) + 1) for c in itertools.combinations(places, n))
    below = [BELOW[int(node)] for node in nodes.index]
    return [c for c in sets if sum(len(below[i]) for i in c) == len(set().union(*(below[i] for i in c)))]


@pytest.mark.parametrize("seed", range(4))
def test_expected_worth_is_the_sum_over_all_cuts(seed):
    nodes, rng = some_nodes(seed), np.random.default_rng([seed, 1])
    judged, true = rng.normal(size=(2, len(nodes.index)))
    cuts = all_cuts(nodes)
    odds = np.exp([sum(judged[i] for i in cut) for cut in cuts])
    plain = sum(o * sum(true[i] for i in cut) for o, cut in zip(odds, cuts, strict=True)) / odds.sum()
    forest = forest_of([judged_tree(TREE, nodes)])
    found = expected_worth(forest, torch.tensor(judged), torch.tensor(true))
    assert float(found) == pytest.approx(plain, rel=1e-5)


def test_at_a_low_temperature_the_best_cut_is_drawn_and_several_trees_add_up():
    total, judged, true = 0.0, [], []
    trees = [some_nodes(seed) for seed in (5, 6)]
    for seed, nodes in enumerate(trees):
        rng = np.random.default_rng([seed, 2])
        expected, worth = rng.uniform(size=len(nodes.index)), rng.normal(size=len(nodes.index))
        part = choose_objects(TREE, nodes, expected, 0.4)
        groups = {frozenset(np.flatnonzero(part == p).tolist()) for p in range(part.max() + 1)}
        total += sum(w for node, w in zip(nodes.index, worth, strict=True) if BELOW[int(node)] in groups)
        judged.append((expected - 0.4) / 1e-7)
        true.append(worth)
    forest = forest_of([judged_tree(TREE, nodes) for nodes in trees])
    both = (torch.tensor(np.concatenate(values)) for values in (judged, true))
    assert float(expected_worth(forest, *both)) == pytest.approx(total, abs=1e-4)


def test_the_gradient_prefers_the_whole_where_the_whole_is_right():
    nodes = Nodes(np.array([7, 8, 9]), np.zeros((3, NUM_NODE_FEATURES), np.float32))
    judged = torch.zeros(3, requires_grad=True)
    forest = forest_of([judged_tree(TREE, nodes)])
    expected_worth(forest, judged, torch.tensor([0.0, 0.0, 0.5])).backward()
    assert judged.grad is not None
    assert judged.grad[2] > 0 > judged.grad[:2].max()

"""Superpoints: hand-made graphs, and pieces of surfaces that stay on one object."""

import itertools

import numpy as np
import pytest
from points_cases import tabletop

from instascene_core.config.points import SuperpointConfig
from instascene_core.errors import InputError
from instascene_core.segmentation.points_network.cloud import PointCloud
from instascene_core.segmentation.points_network.superpoints import (
    edge_weights,
    find_superpoints,
    grow_together,
    neighbouring_points,
)

BIG = 10**6


def plain_grow_together(count, pairs, weights, granularity, max_size):
    """Felzenszwalb and Huttenlocher's algorithm as they write it, on all edges."""
    piece, within = {i: {i} for i in range(count)}, dict.fromkeys(range(count), 0.0)
    for k in np.argsort(weights, kind="stable"):
        a, b = (next(root for root, members in piece.items() if node in members) for node in pairs[k])
        if a == b or len(piece[a]) + len(piece[b]) > max_size:
            continue
        if weights[k] <= min(within[r] + granularity / len(piece[r]) for r in (a, b)):
            piece[a] |= piece.pop(b)
            within[a] = max(within[a], within.pop(b), weights[k])
    label = np.empty(count, dtype=int)
    for number, members in enumerate(sorted(piece.values(), key=min)):
        label[list(members)] = number
    return label


def test_a_chain_breaks_at_its_heavy_edge():
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    weights = np.array([0.1, 0.2, 5.0, 0.1])
    # 0-1-2: 0.2 ≤ 0.1 + 1/2; 2-3: 5 > 0.2 + 1/3.
    assert grow_together(5, pairs, weights, 1.0, 1, BIG).tolist() == [0, 0, 0, 1, 1]
    assert grow_together(5, pairs, weights, 100.0, 1, BIG).tolist() == [0] * 5
    assert grow_together(5, pairs, weights, 1e-3, 1, BIG).tolist() == [0, 1, 2, 3, 4]


def test_a_small_piece_joins_over_its_lightest_edge_and_none_grows_too_large():
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    weights = np.array([0.1, 3.0, 2.0, 0.1])
    assert grow_together(5, pairs, weights, 0.5, 1, BIG).tolist() == [0, 0, 1, 2, 2]
    assert grow_together(5, pairs, weights, 0.5, 2, BIG).tolist() == [0, 0, 1, 1, 1]
    assert grow_together(5, pairs, np.full(4, 0.1), 10.0, 1, 2).tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("seed", range(6))
def test_trees_give_the_plain_algorithm(seed):
    """On a tree all edges are tried, as in the paper."""
    rng = np.random.default_rng(seed)
    pairs = np.array([[rng.integers(i), i] for i in range(1, 40)])
    weights = rng.uniform(0, 1, len(pairs))
    ours = grow_together(40, pairs, weights, 0.5, 1, BIG)
    np.testing.assert_array_equal(ours, plain_grow_together(40, pairs, weights, 0.5, BIG))


def test_nearly_the_plain_algorithm_on_all_edges():
    """On a grid the tree's edges decide almost everything: which pairs of nodes are together."""
    rng = np.random.default_rng(3)
    index = np.arange(144).reshape(12, 12)
    pairs = np.concatenate([np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], 1),
                            np.stack([index[:-1].ravel(), index[1:].ravel()], 1)])  # fmt: skip
    weights = rng.uniform(0, 1, len(pairs))
    ours = grow_together(144, pairs, weights, 1.0, 1, BIG)
    plain = plain_grow_together(144, pairs, weights, 1.0, BIG)
    together = [
        (ours[a] == ours[b]) == (plain[a] == plain[b]) for a, b in itertools.combinations(range(144), 2)
    ]
    assert np.mean(together) > 0.9


def test_weights_by_hand():
    """A right angle weighs 1, hollow or bent outward alike; less where it is gentle and bends outward."""
    half = np.float32(np.sqrt(0.5))
    positions = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.float32)
    normals = np.array([[-half, 0, half], [0, 0, 1], [-half, 0, half]], np.float32)
    colors = np.array([[0, 0, 0], [0, 0, 0], [0.3, 0.3, 0.6]], np.float32)
    cloud = PointCloud.of_surface(positions, normals, colors, 1.0)
    weights = edge_weights(cloud, np.array([[0, 1], [1, 2]]), SuperpointConfig(color_weight=0.5))
    turn = 1 - half
    np.testing.assert_allclose(weights, [turn**2, turn + 0.5 * 0.4], atol=1e-6)


def test_neighbours_are_pairs_once_and_near():
    cloud = PointCloud.of_surface(
        np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [50, 0, 0]]),
        np.tile([0, 0, 1.0], (4, 1)),
        np.zeros((4, 3)),
        1,
    )
    pairs = neighbouring_points(cloud, SuperpointConfig(neighbours=2, max_reach=3.0))
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]


def test_superpoints_stay_on_one_object():
    scene = tabletop(0)
    superpoint = find_superpoints(scene.cloud)
    config = SuperpointConfig()
    sizes = np.bincount(superpoint)
    # What is small joins what it touches, however large that is.
    assert sizes.max() <= 2 * config.max_points and sizes.min() >= config.min_points and len(sizes) > 20
    mixed = sum(len(np.unique(scene.instance[superpoint == s])) > 1 for s in range(len(sizes)))
    assert mixed <= 0.05 * len(sizes)
    np.testing.assert_array_equal(superpoint, find_superpoints(scene.cloud))


def test_one_point_is_one_superpoint_and_none_is_said():
    one = PointCloud.of_surface(np.zeros((1, 3)), np.array([[0, 0, 1.0]]), np.zeros((1, 3)), 1.0)
    assert find_superpoints(one).tolist() == [0]
    with pytest.raises(InputError, match="no points"):
        find_superpoints(one.select(np.array([], dtype=int)))


def test_a_cloud_checks_itself():
    points = np.zeros((2, 3), np.float32)
    with pytest.raises(InputError, match="scales"):
        PointCloud(points, points, points, np.ones(2, np.float32), np.ones(3, np.float32))
    with pytest.raises(InputError, match="NaN"):
        PointCloud.of_surface(np.full((1, 3), np.nan), np.zeros((1, 3)), np.zeros((1, 3)), 1.0)

"""Superpoints: small pieces of surface that lie on one object, by graph over-segmentation.

Felzenszwalb and Huttenlocher 2004, on the nearest neighbours of every point, with the difference of normals
(less where the surface bends outward, as in ScanNet's segmentator) and of colours.  Only the edges of the
minimum spanning tree are tried: the others join what lighter edges have joined before, or two pieces of which
one has been found complete.
"""

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from instascene_core.config.points import SuperpointConfig
from instascene_core.segmentation.points_network.cloud import PointCloud


def find_superpoints(cloud: PointCloud, config: SuperpointConfig | None = None) -> np.ndarray:
    """[N] int64 superpoint of every point, 0 … S − 1 in the order of their first points."""
    config = config or SuperpointConfig()
    pairs = neighbouring_points(cloud, config)
    weights = edge_weights(cloud, pairs, config)
    return grow_together(len(cloud), pairs, weights, config.granularity, config.min_points, config.max_points)


def neighbouring_points(cloud: PointCloud, config: SuperpointConfig) -> np.ndarray:
    """[P, 2] int64: each point and its nearest ones, each pair once, first < second.

    A neighbour many times farther than usual lies on something else.
    """
    count = min(config.neighbours + 1, len(cloud))
    distance, index = cKDTree(cloud.positions).query(cloud.positions, k=np.arange(1, count + 1))
    usual = np.median(distance[:, -1])
    first = np.repeat(np.arange(len(cloud)), count)
    second, near = index.ravel(), (distance <= config.max_reach * usual).ravel()
    apart = near & (first != second)
    low, high = np.minimum(first, second)[apart], np.maximum(first, second)[apart]
    keys = np.unique(low.astype(np.int64) * len(cloud) + high)
    return np.stack([keys // len(cloud), keys % len(cloud)], axis=1)


def edge_weights(cloud: PointCloud, pairs: np.ndarray, config: SuperpointConfig) -> np.ndarray:
    """[P] float64 ≥ 0: how different two neighbours are."""
    first, second = pairs.T
    normals = cloud.normals.astype(np.float64)
    turn = 1 - (normals[first] * normals[second]).sum(axis=1)  # 1 − cos, 0 … 2
    apart = cloud.positions[first].astype(np.float64) - cloud.positions[second]
    convex = ((normals[first] - normals[second]) * apart).sum(axis=1) > 0
    turn = np.where(convex, np.minimum(turn, 1) * turn, turn)
    color = np.abs(cloud.colors[first].astype(np.float64) - cloud.colors[second]).mean(axis=1)
    return np.maximum(turn, 0) + config.color_weight * color


def grow_together(
    count: int, pairs: np.ndarray, weights: np.ndarray, granularity: float, min_size: int, max_size: int
) -> np.ndarray:
    """[count] int64 piece of every node, lightest edges first.

    Two pieces are joined where the edge is no heavier than what either has within, plus `granularity` over
    its size, and they are not more than `max_size` together.  Then pieces below `min_size` join a neighbour
    over the lightest edge.
    """
    order, (low, high) = _spanning_edges(count, pairs, weights)
    pieces = _Pieces(count)
    for weight, a, b in zip(order.tolist(), low.tolist(), high.tolist()):
        pieces.try_to_join(a, b, weight, granularity, max_size)
    for weight, a, b in zip(order.tolist(), low.tolist(), high.tolist()):
        pieces.join_if_small(a, b, weight, min_size)
    return _numbered(np.array([pieces.find(i) for i in range(count)], dtype=np.int64))


def _spanning_edges(
    count: int, pairs: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """(weights, ends) of the edges of the minimum spanning forest, lightest first."""
    shift = 1e-9  # to scipy a weight of 0 is no edge
    graph = sp.csr_matrix((weights + shift, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    tree = sp.csgraph.minimum_spanning_tree(graph).tocoo()
    order = np.lexsort((tree.col, tree.row, tree.data))
    return tree.data[order] - shift, (tree.row[order], tree.col[order])


class _Pieces:
    """Sets of nodes that are joined (union by size, paths halved)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._size = [1] * count
        self._within = [0.0] * count  # the heaviest edge in a piece

    def find(self, node: int) -> int:
        parent = self._parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def try_to_join(self, a: int, b: int, weight: float, granularity: float, max_size: int) -> None:
        a, b = self.find(a), self.find(b)
        size = self._size
        if size[a] + size[b] > max_size:
            return
        if (
            weight <= self._within[a] + granularity / size[a]
            and weight <= self._within[b] + granularity / size[b]
        ):
            self._join(a, b, weight)

    def join_if_small(self, a: int, b: int, weight: float, min_size: int) -> None:
        a, b = self.find(a), self.find(b)
        if a != b and (self._size[a] < min_size or self._size[b] < min_size):
            self._join(a, b, weight)

    def _join(self, a: int, b: int, weight: float) -> None:
        if self._size[a] < self._size[b]:
            a, b = b, a
        self._parent[b] = a
        self._size[a] += self._size[b]
        self._within[a] = max(self._within[a], self._within[b], weight)


def _numbered(roots: np.ndarray) -> np.ndarray:
    """0 … S − 1 in the order in which the roots come."""
    _, first, inverse = np.unique(roots, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]

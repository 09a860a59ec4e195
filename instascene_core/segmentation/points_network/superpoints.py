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
from instascene_core.errors import InputError
from instascene_core.segmentation.points_network.cloud import PointCloud


def find_superpoints(cloud: PointCloud, config: SuperpointConfig | None = None) -> np.ndarray:
    """[N] int64 superpoint of every point, 0 … S − 1 in the order of their first points.

    Raises InputError where there are no points.
    """
    config = config or SuperpointConfig()
    if not len(cloud):
        raise InputError("There are no points to find superpoints in.")
    pairs = neighbouring_points(cloud, config)
    weights = edge_weights(cloud, pairs, config)
    return grow_together(len(cloud), pairs, weights, config.granularity, config.min_points, config.max_points)


def neighbouring_points(cloud: PointCloud, config: SuperpointConfig) -> np.ndarray:
    """[P, 2] int64: each point and its nearest ones, each pair once, first < second.

    A neighbour many times farther than usual lies on something else.
    """
    count = min(config.neighbours + 1, len(cloud))
    tree = cKDTree(cloud.positions)
    distance, index = tree.query(cloud.positions, k=np.arange(1, count + 1), workers=-1)
    usual = np.median(distance[:, -1])
    first = np.repeat(np.arange(len(cloud)), count)
    second, near = index.ravel(), (distance <= config.max_reach * usual).ravel()
    apart = near & (first != second)
    low, high = np.minimum(first, second)[apart], np.maximum(first, second)[apart]
    keys = np.sort(low.astype(np.int64) * len(cloud) + high)
    keys = keys[np.diff(keys, prepend=-1) > 0]  # faster than unique, which hashes
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
    weight, low, high = _spanning_edges(count, pairs, weights)
    pieces = _Pieces(count)
    pieces.join_alike(weight, low, high, granularity, max_size)
    pieces.join_small(low, high, min_size)
    return _numbered(pieces.roots())


def _spanning_edges(
    count: int, pairs: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(weight, first end, second end) of the edges of the minimum spanning forest, lightest first."""
    shift = 1e-9  # to scipy a weight of 0 is no edge
    graph = sp.csr_matrix((weights + shift, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    tree = sp.csgraph.minimum_spanning_tree(graph).tocoo()
    order = np.lexsort((tree.col, tree.row, tree.data))
    return tree.data[order] - shift, tree.row[order], tree.col[order]


class _Pieces:
    """Sets of nodes that are joined (union by size, paths halved).

    The loops go over every point of a scene, so they are written out rather than divided into functions.
    """

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._size = [1] * count

    def join_alike(
        self, weight: np.ndarray, low: np.ndarray, high: np.ndarray, granularity: float, max_size: int
    ) -> None:
        """The first pass of `grow_together`, over edges [E] in their order."""
        parent, size = self._parent, self._size
        # What an edge must not exceed: the heaviest within the piece, plus the granularity over its size.
        limit = [granularity] * len(parent)
        for w, a, b in zip(weight.tolist(), low.tolist(), high.tolist()):
            while parent[a] != a:
                parent[a] = a = parent[parent[a]]
            while parent[b] != b:
                parent[b] = b = parent[parent[b]]
            if w > limit[a] or w > limit[b] or size[a] + size[b] > max_size:
                continue
            if size[a] < size[b]:
                a, b = b, a
            parent[b] = a
            size[a] += size[b]
            limit[a] = w + granularity / size[a]  # edges come lightest first: this is the heaviest

    def join_small(self, low: np.ndarray, high: np.ndarray, min_size: int) -> None:
        """Pieces below `min_size` join over the first edge [E] that leads out of them."""
        root = self.roots()
        apart = np.flatnonzero(root[low] != root[high])
        parent, size = self._parent, self._size
        for a, b in zip(low[apart].tolist(), high[apart].tolist()):
            while parent[a] != a:
                parent[a] = a = parent[parent[a]]
            while parent[b] != b:
                parent[b] = b = parent[parent[b]]
            if a != b and (size[a] < min_size or size[b] < min_size):
                if size[a] < size[b]:
                    a, b = b, a
                parent[b] = a
                size[a] += size[b]

    def roots(self) -> np.ndarray:
        """[count] int64 the node that stands for each node's piece."""
        root = np.array(self._parent, dtype=np.int64)
        while (root != (further := root[root])).any():
            root = further
        return root


def _numbered(roots: np.ndarray) -> np.ndarray:
    """0 … S − 1 in the order in which the roots come."""
    _, first, inverse = np.unique(roots, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]

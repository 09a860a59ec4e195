"""The merge tree: which patches join first, second, …, until everything that touches is one.

Every object is one node of a good tree; which node is left to `objectness`.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.segmentation.graph import Links, merge_order


@dataclass(frozen=True)
class MergeTree:
    """A forest over P patches: nodes 0 … P−1 are the patches, node P + i is the i-th merge."""

    leaves: int  # P
    children: np.ndarray  # [M, 2] int64 nodes that each merge joins
    cut: np.ndarray  # [M] mean probability of "two objects" between the two

    @property
    def size(self) -> int:
        """Number of nodes, P + M."""
        return self.leaves + len(self.children)

    @property
    def parent(self) -> np.ndarray:
        """[P + M] int64 node that each node is merged into, −1 for roots."""
        parent = np.full(self.size, -1, dtype=np.int64)
        parent[self.children.ravel()] = self.leaves + np.arange(len(self.children)).repeat(2)
        return parent

    def add_up(self, values: np.ndarray, combine=np.add) -> np.ndarray:
        """[P + M, …] of values [P, …] of the patches, combined (added) from the leaves to the roots."""
        result = np.empty((self.size, *values.shape[1:]), dtype=np.float64)
        result[: self.leaves] = values
        for node, (left, right) in enumerate(self.children, self.leaves):
            result[node] = combine(result[left], result[right])
        return result

    def meeting_node(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """[C] int64 node whose merge brought two patches together, −1 where none did."""
        parent, a, b = self.parent, first.copy(), second.copy()
        while True:
            # A parent's number is greater than its children's, so the lesser of two nodes has to climb.
            climb = np.flatnonzero((a != b) & (a >= 0) & (b >= 0))
            if not len(climb):
                return np.where(a == b, a, -1)
            lower = a[climb] < b[climb]
            a[climb[lower]] = parent[a[climb[lower]]]
            b[climb[~lower]] = parent[b[climb[~lower]]]

    def ranges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(order [P], start [P + M], end [P + M]): the patches of node n are order[start[n]:end[n]]."""
        length = self.add_up(np.ones(self.leaves)).astype(np.int64)
        start = np.zeros(self.size, dtype=np.int64)
        roots = np.flatnonzero(self.parent < 0)
        start[roots] = np.cumsum(length[roots]) - length[roots]
        for node in range(self.size - 1, self.leaves - 1, -1):
            left, right = self.children[node - self.leaves]
            start[left], start[right] = start[node], start[node] + length[left]
        order = np.empty(self.leaves, dtype=np.int64)
        order[start[: self.leaves]] = np.arange(self.leaves)
        return order, start, start + length


def merge_tree(links: Links, count: int) -> MergeTree:
    """All that `merge_order` merges, to the end."""
    node_of = list(range(count))  # the node that each region stands for
    children, cuts = [], []
    for node, (kept, lost, cut) in enumerate(merge_order(links, count), count):
        children.append((node_of[kept], node_of[lost]))
        cuts.append(cut)
        node_of[kept] = node
    return MergeTree(count, np.array(children, dtype=np.int64).reshape(-1, 2), np.array(cuts))

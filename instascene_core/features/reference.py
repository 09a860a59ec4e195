"""The kernel's questions to the surface graph (`csrc/surface_graph.cpp`) by scipy: slow, in float64, as an
oracle for the tests."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree


def compute_levels(seed: int, values: np.ndarray, neighbours: sp.csr_matrix, floor: float) -> np.ndarray:
    """As `segments.compute_levels`: the smallest value on the way through the maximum spanning tree."""
    candidates = values >= floor
    candidates[seed] = True
    local = np.flatnonzero(candidates)
    graph = neighbours[local][:, local].tocoo()
    start = int(np.searchsorted(local, seed))
    own = values[local].astype(np.float64)
    own[start] = max(1.0, own.max())
    # Weights of a spanning tree must not be 0, and lie in (0, …] for values ≤ the seed's.
    upper = graph.row < graph.col
    a, b = graph.row[upper], graph.col[upper]
    cost = 1.0 + own[start] - np.minimum(own[a], own[b])
    graph = sp.csr_matrix((cost, (a, b)), (len(local),) * 2)
    component = connected_components(graph, directed=False)[1]
    inside = np.flatnonzero(component == component[start])
    graph = graph[inside][:, inside]
    start = int(np.searchsorted(inside, start))
    tree = minimum_spanning_tree(graph)
    _, before = breadth_first_order(tree, start, directed=False)
    before[start] = start
    smallest = own[inside]
    while (before != start).any():  # pointers double their reach
        smallest, before = np.minimum(smallest, smallest[before]), before[before]
    smallest = np.minimum(smallest, own[inside])
    result = np.full(len(values), -np.inf, dtype=np.float32)
    result[local[inside]] = smallest
    return result


def enclose(chosen: np.ndarray, allowed: np.ndarray, neighbours: sp.csr_matrix, rounds: int) -> np.ndarray:
    """As `segments.enclose`."""
    degree = neighbours @ allowed.astype(np.float64)
    chosen = chosen.copy()
    for _ in range(rounds):
        around = neighbours @ chosen.astype(np.float64)
        chosen |= allowed & (2 * around > degree)
    return chosen

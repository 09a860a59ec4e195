"""From named points with predicted centres to parts: clusters, what touches joined, crumbs swept up."""

import numpy as np

from instascene_core.parts.mean_shift import mean_shift

NEIGHBOURS = 8  # of a point, by which parts are found to touch ...
BORDER = 3  # ... where so many pairs of neighbours lie across


def pushed_apart(instance: np.ndarray, region: np.ndarray | None, by: float) -> np.ndarray:
    """[N, 3] centres of instances, moved by `by` away from the centre of their semantic region (section 3.4).

    instance, region: [N, 3] predicted centres.  A name with one part has both at one place: what lies nearer
    than `by` moves in proportion, where the paper's direction would be noise of full length.
    """
    if region is None or by <= 0:
        return instance
    away = instance - region
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return instance + by * away / np.maximum(length, by)


def clusters_by_name(centres: np.ndarray, name: np.ndarray, bandwidth: float) -> np.ndarray:
    """[N] int64 part of each point: mean shift of the centres [N, 3] within each name [N]."""
    part = np.zeros(len(name), dtype=np.int64)
    known = 0
    for one in np.unique(name):
        mine = np.flatnonzero(name == one)
        part[mine] = known + mean_shift(centres[mine], bandwidth)
        known = int(part[mine].max()) + 1
    return part


def without_crumbs(points: np.ndarray, part: np.ndarray, smallest: int) -> np.ndarray:
    """[N] the parts [N] of points [N, 3]; what has fewer than `smallest` points joins the nearest other."""
    large = np.bincount(part)[part] >= smallest
    if large.all() or not large.any():
        return part
    cleaned = part.copy()
    cleaned[~large] = part[large][nearest(points[large], points[~large])]
    return cleaned


def touching_joined(
    points: np.ndarray, centres: np.ndarray, part: np.ndarray, name: np.ndarray, reach: float
) -> np.ndarray:
    """[N] the parts [N] of points [N, 3], those of one name [N] joined that touch and whose centres are near.

    centres: [N, 3] as they were clustered; near: the parts' mean centres are no more than `reach` apart.
    Offsets that are a little wrong leave one part in two clusters; two handles do not touch.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    count = int(part.max()) + 1
    if reach <= 0 or count == 1 or len(points) <= NEIGHBOURS:
        return part
    neighbour = cKDTree(points).query(points, NEIGHBOURS + 1)[1][:, 1:]
    first, second = np.repeat(np.arange(len(points)), NEIGHBOURS), neighbour.ravel()
    across = (part[first] != part[second]) & (name[first] == name[second])
    pairs, borders = np.unique(
        np.sort(np.stack([part[first[across]], part[second[across]]], axis=1), axis=1),
        axis=0,
        return_counts=True,
    )
    size = np.bincount(part, minlength=count)
    mean = np.stack([np.bincount(part, centres[:, k], count) for k in range(3)], axis=1)
    mean /= np.maximum(size, 1)[:, None]
    apart = np.linalg.norm(mean[pairs[:, 0]] - mean[pairs[:, 1]], axis=1)
    pairs = pairs[(borders >= BORDER) & (apart <= reach)]
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1][part]


def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[M] index of the nearest of points [N, 3] to each of the others [M, 3]."""
    from scipy.spatial import cKDTree

    return cKDTree(points).query(others)[1]

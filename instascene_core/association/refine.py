"""From groups of masks to 3D instances: split, clean, drop, merge (InstaScene section 3.1)."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from instascene_core.association.masks import TOLERANCE, MaskMatrices
from instascene_core.config import AssociationConfig
from instascene_core.geometry.clusters import dbscan


@dataclass(frozen=True)
class Candidate:
    """A set of Gaussians and the masks that show it."""

    gaussians: np.ndarray  # [K] int64, sorted
    support: np.ndarray  # [K] float32: masks of this candidate that show the Gaussian
    masks: np.ndarray  # [L] int64 mask rows, sorted


def candidates_from_groups(
    masks: MaskMatrices, group: np.ndarray, means: np.ndarray, config: AssociationConfig
) -> list[Candidate]:
    """Per group of masks its Gaussians, split where they lie apart; groups seen once are dropped.

    group: [M] int, −1 = in none.  Returned in the order of their smallest Gaussian, so that the
    order of masks and frames does not matter.
    """
    members = masks.columns
    order = np.argsort(group, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    result = []
    for group_masks in groups:
        if not len(group_masks) or group[group_masks[0]] < 0:
            continue
        if len(np.unique(masks.frame[group_masks])) < config.min_views:
            continue
        columns = members[:, group_masks]
        gaussians = np.unique(columns.indices)
        parts = split_by_distance(means[gaussians], config.split_spacings, config.split_min_points)
        rows = columns.tocsr()[gaussians]
        total = np.asarray(rows.sum(axis=0)).ravel()
        for part in range(parts.max(initial=-1) + 1):
            inside = rows[parts == part]
            # A mask goes where most of it lies.
            own = np.asarray(inside.sum(axis=0)).ravel() > config.majority * total
            if len(np.unique(masks.frame[group_masks[own]])) < config.min_views:
                continue
            support = np.asarray(inside[:, np.flatnonzero(own)].sum(axis=1)).ravel()
            shown = support > 0
            result.append(
                Candidate(
                    gaussians[parts == part][shown],
                    support[shown].astype(np.float32),
                    np.sort(group_masks[own]),
                )
            )
    return sorted(result, key=lambda c: (c.gaussians[0], len(c.gaussians)))


def split_by_distance(points: np.ndarray, spacings: float, min_points: int) -> np.ndarray:
    """`dbscan` with a radius of `spacings` times the median distance to the third neighbour.

    points: [K, 3].  Returns [K] int32 part index; −1 = noise.  Too few points to say are one part.
    """
    if len(points) <= min_points:
        return np.zeros(len(points), dtype=np.int32)
    nearest, _ = cKDTree(points).query(points, k=min(4, len(points)))
    return dbscan(points, spacings * max(float(np.median(nearest[:, -1])), 1e-12), min_points)


def merge_overlapping(
    candidates: list[Candidate], masks: MaskMatrices, num_gaussians: int, config: AssociationConfig
) -> list[Candidate]:
    """Merge candidates that share most of the smaller one; drop those that cover several others."""
    candidates = _drop_under_segmented(candidates, masks, num_gaussians, config)
    if not candidates:
        return []
    inside = _shared_parts(candidates, num_gaussians)
    overlapping = np.maximum(inside, inside.T) >= config.merge_overlap - TOLERANCE
    count, component = sp.csgraph.connected_components(sp.csr_matrix(overlapping), directed=False)
    merged = []
    for index in range(count):
        group = [candidates[i] for i in np.flatnonzero(component == index)]
        gaussians = np.concatenate([c.gaussians for c in group])
        unique, inverse = np.unique(gaussians, return_inverse=True)
        support = np.bincount(inverse, np.concatenate([c.support for c in group])).astype(np.float32)
        merged.append(Candidate(unique, support, np.unique(np.concatenate([c.masks for c in group]))))
    return sorted(merged, key=lambda c: (c.gaussians[0], len(c.gaussians)))


def _drop_under_segmented(candidates, masks, num_gaussians, config) -> list[Candidate]:
    """Drop a candidate that covers two others which frames keep apart.

    The same rule as for single masks: a candidate is under-segmented when at least `split_ratio` of the
    frames that show it, or parts of it, show two separate parts.  An object that fewer frames split stays.
    """
    if len(candidates) < 3:
        return candidates
    inside = _shared_parts(candidates, num_gaussians)  # [i, j]: share of i that lies in j
    frames = [np.unique(masks.frame[c.masks]) for c in candidates]
    covered = inside >= config.merge_overlap - TOLERANCE
    kept = []
    for j, candidate in enumerate(candidates):
        children = [i for i in np.flatnonzero(covered[:, j]) if i != j and not covered[j, i]]
        children.sort(key=lambda i: (-len(candidates[i].gaussians), candidates[i].gaussians[0]))
        parts: list[int] = []
        for i in children:  # the largest children that do not overlap one another
            if all(max(inside[i, k], inside[k, i]) < 1 - config.merge_overlap for k in parts):
                parts.append(i)
        counts = np.bincount(np.concatenate([frames[i] for i in parts]) if parts else [0])
        apart = np.flatnonzero(counts >= 2)
        total = len(np.union1d(apart, frames[j]))
        if not (len(parts) >= 2 and len(apart) >= config.split_ratio * total - TOLERANCE):
            kept.append(candidate)
    return kept


def _shared_parts(candidates: list[Candidate], num_gaussians: int) -> np.ndarray:
    """[C, C] float: the share of candidate i's Gaussians that candidate j has too."""
    rows = np.concatenate([c.gaussians for c in candidates])
    columns = np.repeat(np.arange(len(candidates)), [len(c.gaussians) for c in candidates])
    matrix = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(num_gaussians, len(candidates)))
    common = (matrix.T @ matrix).toarray()
    return common / np.diagonal(common)[:, None]


def make_disjoint(candidates: list[Candidate], num_gaussians: int) -> np.ndarray:
    """[N] int32 candidate of each Gaussian (−1 = none): the one with the largest share of its support."""
    candidate_of_gaussian = np.full(num_gaussians, -1, dtype=np.int32)
    best = np.zeros(num_gaussians, dtype=np.float32)
    for index, candidate in enumerate(candidates):
        better = candidate.support > best[candidate.gaussians]
        chosen = candidate.gaussians[better]
        candidate_of_gaussian[chosen], best[chosen] = index, candidate.support[better]
    return candidate_of_gaussian

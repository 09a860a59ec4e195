"""Mask clustering by view consensus (InstaScene section 3.1, after MaskClustering), as sparse algebra.

Let B be Gaussian × mask.  BᵀB holds the intersections of all masks; summed over the masks of a
frame it gives how much of a mask is labelled in that frame.  Visibility, containment,
under-segmentation and consensus all follow from it.  Nothing depends on the order of frames or
masks: every step is a comparison of counts or a connected component.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from instascene_core.association.masks import TOLERANCE, MaskMatrices
from instascene_core.config import AssociationConfig


@dataclass(frozen=True)
class Observations:
    """How the masks see one another."""

    visible: np.ndarray  # [M, F] bool: mask m is visible in frame f
    contained: sp.csr_matrix  # [M, M] float32 0/1: m is contained in mask m' of another (or its own) frame
    under_segmented: np.ndarray  # [M] bool: splits over several masks in too many frames


def observe(masks: MaskMatrices, config: AssociationConfig) -> Observations:
    """Visibility, containment and the under-segmentation filter, its influence removed."""
    count = len(masks.frame)
    frame_of_mask = masks.frame_of_mask
    intersections = (masks.membership.T @ masks.membership).tocoo()  # [M, M] Gaussians in common
    labelled = (intersections.tocsr() @ frame_of_mask).toarray()  # [M, F] Gaussians labelled in f
    size = np.asarray(masks.membership.sum(axis=0)).ravel()  # [M]
    visible = labelled >= (1 - config.max_unseen) * size[:, None] - TOLERANCE

    row, column = intersections.row, intersections.col
    frame = masks.frame[column]
    inside = intersections.data >= config.containment * labelled[row, frame] - TOLERANCE
    inside &= visible[row, frame]
    row, column, frame = row[inside], column[inside], frame[inside]

    contained_in_frame = np.zeros_like(visible)
    contained_in_frame[row, frame] = True
    splits = (visible & ~contained_in_frame).sum(axis=1)
    under_segmented = splits >= config.split_ratio * visible.sum(axis=1) - TOLERANCE
    under_segmented &= splits > 0

    # A mask that covers two objects says nothing about what lies in it: it stops being an observer.
    bad = under_segmented[column]
    visible[row[bad], frame[bad]] = False
    good = ~bad
    ones = np.ones(np.count_nonzero(good), dtype=np.float32)
    contained = sp.csr_matrix((ones, (row[good], column[good])), shape=(count, count))
    return Observations(visible, contained, under_segmented)


def cluster_masks(masks: MaskMatrices, seen: Observations, config: AssociationConfig) -> np.ndarray:
    """Group [M] int32 of every mask, UNLABELLED (−1) for the under-segmented ones.

    Groups that share view consensus C ≥ `consensus` over at least n observers are merged; n falls
    through the percentiles of the observer counts, so that well-observed pairs decide first.
    """
    active = np.flatnonzero(~seen.under_segmented)
    group = np.arange(len(active))
    visible = seen.visible[active]
    contained = seen.contained[active]
    thresholds = None
    pairs = _consensus_pairs(visible, contained, masks.frame_of_mask)
    if len(pairs.observers):
        levels = np.arange(config.first_percentile, -1, -config.percentile_step)
        thresholds = np.maximum(np.percentile(pairs.observers, levels), 1)
    for threshold in dict.fromkeys(thresholds.tolist() if thresholds is not None else []):
        merged = (pairs.observers >= threshold - TOLERANCE) & (
            pairs.supporters >= config.consensus * pairs.observers - TOLERANCE
        )
        if not merged.any():
            continue
        edges = (np.ones(merged.sum(), dtype=bool), (pairs.first[merged], pairs.second[merged]))
        graph = sp.coo_matrix(edges, shape=(len(visible), len(visible)))
        num_groups, new_of_old = sp.csgraph.connected_components(graph, directed=False)
        group = new_of_old[group]
        pool = sp.csr_matrix(
            (np.ones(len(new_of_old), dtype=np.float32), (new_of_old, np.arange(len(new_of_old)))),
            shape=(num_groups, len(new_of_old)),
        )
        visible = (pool @ visible.astype(np.float32)) > 0
        contained = pool @ contained
        contained.data[:] = 1
        pairs = _consensus_pairs(visible, contained, masks.frame_of_mask)
    result = np.full(len(masks.frame), -1, dtype=np.int32)
    result[active] = group
    return result


@dataclass(frozen=True)
class _Pairs:
    first: np.ndarray  # [P] group index
    second: np.ndarray  # [P] group index, larger than first
    supporters: np.ndarray  # [P] frames in which both are contained in one common mask
    observers: np.ndarray  # [P] frames in which both are visible and at least one is contained


def _consensus_pairs(visible: np.ndarray, contained: sp.csr_matrix, frame_of_mask: sp.csr_matrix) -> _Pairs:
    """Counts for all pairs of groups with at least one supporter.

    A frame in which both groups fall apart (that frame over-segments them) tells nothing about the
    pair and is not an observer; where only one falls apart, the frame speaks against the pair.
    """
    common = sp.coo_matrix(sp.triu(contained @ contained.T, k=1))
    first, second, supporters = common.row, common.col, common.data.astype(np.float32)
    per_frame = sp.csr_matrix(
        contained @ frame_of_mask
    )  # [G, F] masks of each frame that contain part of the group
    # Two common masks in one frame are one supporter; only groups spread over several masks need this.
    spread = np.zeros(len(visible), dtype=bool)
    counts = per_frame.tocoo()
    spread[counts.row[counts.data > 1]] = True
    recount = np.flatnonzero(spread[first] & spread[second])
    for part in np.array_split(recount, max(1, len(recount) // 20000)):
        if len(part):
            shared = contained[first[part]].multiply(contained[second[part]]) @ frame_of_mask
            supporters[part] = np.diff(sp.csr_matrix(shared).indptr)
    lost = visible & ~(per_frame.toarray() > 0)
    observers = _row_products(visible, first, second) - _row_products(lost, first, second)
    return _Pairs(first, second, supporters, observers)


def _row_products(rows: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """rows[first] · rows[second] for bool [G, F], without a G × G matrix: [P] float32."""
    packed = np.packbits(rows, axis=1)
    result = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), 500_000):
        part = slice(start, start + 500_000)
        result[part] = _POPCOUNT[packed[first[part]] & packed[second[part]]].sum(axis=1)
    return result


_POPCOUNT = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1).astype(np.uint16)

"""2D masks of all frames become 3D instances (InstaScene section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from instascene_core.association.consensus import cluster_masks, observe
from instascene_core.association.majority import join_fragments
from instascene_core.association.masks import TOLERANCE, MaskMatrices, build_masks
from instascene_core.association.refine import (
    Candidate,
    agreed_candidates,
    candidates_from_groups,
    make_disjoint,
    merge_overlapping,
)
from instascene_core.association.votes import cluster_by_votes
from instascene_core.config import AssociationConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.progress import ProgressCallback, no_progress

if TYPE_CHECKING:
    from instascene_core.rendering.trace import PixelTrace


@dataclass(frozen=True)
class Cluster:
    """One 3D instance as the masks tell it; clusters share no Gaussian."""

    gaussians: np.ndarray  # [K] int64, sorted
    masks: np.ndarray  # [L] int64 rows of the mask table that show it
    num_views: int  # frames with a mask of it


@dataclass(frozen=True)
class MaskTable:
    """What became of every mask that was large enough to be used."""

    frame: np.ndarray  # [M] int32 frame index
    label: np.ndarray  # [M] int32 id in that frame's label image
    size: np.ndarray  # [M] int64 visible Gaussians
    cluster: np.ndarray  # [M] int32 cluster index, or UNLABELLED
    under_segmented: np.ndarray  # [M] bool: filtered for covering several masks of other frames
    num_dropped: int  # masks below the minimum size, not listed


@dataclass(frozen=True)
class Association:
    """Result of `associate`."""

    clusters: tuple[Cluster, ...]
    filtered_labels: list[np.ndarray]  # per frame [H, W] int32: cluster index + 1, or UNLABELLED
    gaussian_clusters: np.ndarray  # [N] int32 cluster index, or UNLABELLED
    masks: MaskTable


def associate(
    label_images: Sequence[np.ndarray],
    traces: Sequence[PixelTrace],
    means: np.ndarray,
    config: AssociationConfig | None = None,
    progress: ProgressCallback = no_progress,
) -> Association:
    """Cluster the masks of all frames into 3D instances.

    label_images: per frame [H, W] integer, ids ≥ 1, the rest (0, UNLABELLED) is unlabelled; ids need
    not agree between frames.  traces: `trace()` of the same frames.  means: [N, 3] world frame.
    The result does not depend on the order of frames or on the ids, except for the numbering that
    follows the Gaussians.  Raises InputError for images that do not fit the traces.
    """
    config = config or AssociationConfig()
    means = np.asarray(means)
    if means.ndim != 2 or means.shape[1] != 3:
        raise InputError(f"Gaussian means have shape {means.shape}, expected (N, 3).")
    # 1. Tracker: the Gaussians each mask shows.
    masks = build_masks(label_images, traces, len(means), config, progress)
    # 2. Visibility, containment, under-segmentation filter.
    progress("association", 0.6, f"{len(masks.frame)} masks of {len(traces)} frames")
    observations = observe(masks, config)
    # 3. Clustering: by votes on patches, or iteratively by view consensus and split by distance.
    if config.clustering == "votes":
        candidates = cluster_by_votes(masks, means, config)
    elif config.clustering == "consensus":
        group = cluster_masks(masks, observations, config)
        candidates = candidates_from_groups(masks, group, means, config)
        candidates = join_fragments(candidates, masks, config)
    else:
        raise InputError(f"Unknown clustering '{config.clustering}'; known are votes, consensus.")
    # 4. Merge overlaps, recover masks filtered by mistake.
    progress("association", 0.8, f"{len(candidates)} candidates")
    candidates = merge_overlapping(candidates, masks, len(means), config)
    mask_sets = recover_masks(masks, candidates, len(means), config)
    # 5. Drop doubtful Gaussians, and write the cluster back into the label images.
    candidates = agreed_candidates(masks, mask_sets, config)
    clusters, owner, cluster_of_mask = _finish(masks, candidates, len(means), config)
    table = MaskTable(
        masks.frame, masks.label, np.asarray(masks.membership.sum(axis=0), dtype=np.int64).ravel(),
        cluster_of_mask, observations.under_segmented, masks.num_dropped,
    )  # fmt: skip
    filtered = _filtered_labels(label_images, masks, cluster_of_mask)
    progress("association", 1.0, f"{len(clusters)} instances")
    return Association(clusters, filtered, owner, table)


def recover_masks(
    masks: MaskMatrices, candidates: list[Candidate], num_gaussians: int, config: AssociationConfig
) -> list[np.ndarray]:
    """Per candidate its masks, sorted, with those that come back: [L] int64 each.

    A mask outside every candidate (filtered, or alone) comes back when one candidate holds at least
    `recovery` of it.
    """
    if not candidates:
        return []
    owner = make_disjoint(candidates, num_gaussians)
    taken = np.zeros(len(masks.frame), dtype=bool)
    taken[np.concatenate([c.masks for c in candidates])] = True
    rows = np.flatnonzero(owner >= 0)
    ones = np.ones(len(rows), dtype=np.float32)
    pool = sp.csr_matrix((ones, (owner[rows], rows)), shape=(len(candidates), num_gaussians))
    held = (pool @ masks.membership).toarray()  # [C, M] Gaussians of the mask in the candidate
    size = np.asarray(masks.membership.sum(axis=0)).ravel()
    best = held.argmax(axis=0)
    back = ~taken & (held.max(axis=0) >= config.recovery * size - TOLERANCE)
    return [np.union1d(c.masks, np.flatnonzero(back & (best == i))) for i, c in enumerate(candidates)]


def _finish(masks, candidates, num_gaussians: int, config):
    """Make the candidates disjoint, drop those left too small, number the rest 0 … C−1."""
    owner = make_disjoint(candidates, num_gaussians)
    counts = np.bincount(owner[owner >= 0], minlength=len(candidates))
    kept = np.flatnonzero(counts >= config.min_gaussians)
    new_index = np.full(len(candidates) + 1, UNLABELLED, dtype=np.int32)  # the last entry serves −1
    new_index[kept] = np.arange(len(kept))
    owner = new_index[owner]
    cluster_of_mask = np.full(len(masks.frame), UNLABELLED, dtype=np.int32)
    clusters = []
    for index, candidate in enumerate(candidates[i] for i in kept):
        cluster_of_mask[candidate.masks] = index
        views = len(np.unique(masks.frame[candidate.masks]))
        clusters.append(Cluster(np.flatnonzero(owner == index), candidate.masks, views))
    return tuple(clusters), owner, cluster_of_mask


def _filtered_labels(label_images, masks: MaskMatrices, cluster_of_mask: np.ndarray) -> list[np.ndarray]:
    """The input label images with cluster index + 1 in place of the ids; the rest UNLABELLED."""
    filtered = []
    for index, image in enumerate(label_images):
        image = np.maximum(np.asarray(image), 0)
        table = np.full(int(image.max(initial=0)) + 1, UNLABELLED, dtype=np.int32)
        here = (masks.frame == index) & (cluster_of_mask >= 0)
        table[masks.label[here]] = cluster_of_mask[here] + 1
        filtered.append(table[image])
    return filtered

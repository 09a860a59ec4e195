"""2D masks of all frames become 3D instances (InstaScene section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from instascene_core.association.consensus import Observations, cluster_masks, observe
from instascene_core.association.majority import join_fragments
from instascene_core.association.masks import MaskMatrices, build_masks
from instascene_core.association.refine import (
    candidates_from_groups,
    make_disjoint,
    merge_overlapping,
)
from instascene_core.association.refit import (
    mask_agreement,
    masks_shown,
    owners_by_masks,
    owners_by_weight,
    refit,
)
from instascene_core.association.votes import cluster_by_votes
from instascene_core.config import AssociationConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.ownership import labels_of_masks
from instascene_core.progress import ProgressCallback, no_progress

if TYPE_CHECKING:
    from instascene_core.rendering.trace import PixelTrace


@dataclass(frozen=True)
class Cluster:
    """One 3D instance as the masks tell it; clusters share no Gaussian."""

    gaussians: np.ndarray  # [K] int64, sorted
    masks: np.ndarray  # [L] int64 rows of the mask table that show it
    num_views: int  # frames with a mask of it
    agreement: float  # [0, 1] mean overlap (IoU) of its best mask over all frames that see it


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
    filtered_labels: list[np.ndarray]  # per frame [H, W] int32 cluster index, or UNLABELLED
    gaussian_clusters: np.ndarray  # [N] int32 cluster index, or UNLABELLED
    refused: np.ndarray  # [N] bool: seen where clusters have masks, and in none of them often enough
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
    not agree between frames, unless `clustering` is "ids".  traces: `trace()` of the same frames.
    means: [N, 3] world frame.  The result does not depend on the order of frames or on the ids, except for
    the numbering that follows the Gaussians.  Raises InputError for images that do not fit the traces.
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
    # 3. Clustering; then overlaps are merged, masks filtered by mistake recovered, fragments joined.
    owner, cluster_of_mask = _clusters(masks, observations, means, config, progress)
    # 4. Write the clusters back into the label images; by these every Gaussian votes, faint ones too.
    # Fragments that meet only at their rims, in frames seen from the side, find one another then.
    while True:
        owner, cluster_of_mask, views = _kept(owner, cluster_of_mask, masks, config)
        filtered = labels_of_masks(label_images, masks.frame, masks.label, cluster_of_mask)
        owner, refused = owners_by_weight(filtered, traces, means, len(views), config)
        if config.clustering == "ids":
            break
        owner, left = join_fragments(owner, len(views), masks, config)
        if left == len(views):
            break
        cluster_of_mask = masks_shown(owner, left, masks, config)
    owner, cluster_of_mask, views = _kept(owner, cluster_of_mask, masks, config)
    filtered = labels_of_masks(label_images, masks.frame, masks.label, cluster_of_mask)
    clusters = tuple(
        Cluster(np.flatnonzero(owner == c), np.flatnonzero(cluster_of_mask == c), int(count), float(share))
        for c, (count, share) in enumerate(zip(views, mask_agreement(owner, len(views), masks, config)))
    )
    table = MaskTable(
        masks.frame, masks.label, np.asarray(masks.membership.sum(axis=0), dtype=np.int64).ravel(),
        cluster_of_mask, observations.under_segmented, masks.num_dropped,
    )  # fmt: skip
    progress("association", 1.0, f"{len(clusters)} instances")
    return Association(clusters, filtered, owner, refused, table)


def _clusters(
    masks: MaskMatrices,
    observations: Observations,
    means: np.ndarray,
    config: AssociationConfig,
    progress: ProgressCallback,
) -> tuple[np.ndarray, np.ndarray]:
    """(owner [N], cluster of each mask [M]): which masks show one object, and whose each Gaussian is."""
    if config.clustering == "ids":  # as given
        ids, cluster_of_mask = np.unique(masks.label, return_inverse=True)
        return owners_by_masks(cluster_of_mask, len(ids), masks, config), cluster_of_mask.astype(np.int32)
    if config.clustering == "votes":
        candidates = cluster_by_votes(masks, means, config)
    elif config.clustering == "consensus":
        group = cluster_masks(masks, observations, config)
        candidates = candidates_from_groups(masks, group, means, config)
    else:
        raise InputError(f"Unknown clustering '{config.clustering}'; known are votes, consensus, ids.")
    progress("association", 0.8, f"{len(candidates)} candidates")
    candidates = merge_overlapping(candidates, masks, len(means), config)
    return _settle(make_disjoint(candidates, len(means)), len(candidates), masks, config)


def _settle(
    owner: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> tuple[np.ndarray, np.ndarray]:
    """(owner [N], cluster of each mask [M]), fitted to one another, fragments joined."""
    while True:
        owner, cluster_of_mask = refit(owner, num_clusters, masks, config)
        owner, left = join_fragments(owner, num_clusters, masks, config)
        if left == num_clusters:
            return owner, cluster_of_mask
        num_clusters = left


def _kept(
    owner: np.ndarray, cluster_of_mask: np.ndarray, masks: MaskMatrices, config: AssociationConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drop clusters of too few views or Gaussians, number the rest 0 … C−1 by their first Gaussian.

    Returns (owner [N] int32, cluster of each mask [M] int32, views with a mask of each cluster [C]).
    """
    count = max(owner.max(initial=-1), cluster_of_mask.max(initial=-1)) + 1
    used = np.flatnonzero(cluster_of_mask >= 0)
    shown = np.zeros((count, masks.num_frames), dtype=bool)
    shown[cluster_of_mask[used], masks.frame[used]] = True
    sizes = np.bincount(owner[owner >= 0], minlength=count)
    first = np.full(count, len(owner))
    np.minimum.at(first, owner[owner >= 0], np.flatnonzero(owner >= 0))
    kept = np.flatnonzero((sizes >= config.min_gaussians) & (shown.sum(axis=1) >= config.min_views))
    kept = kept[np.argsort(first[kept])]
    number = np.full(count + 1, UNLABELLED, dtype=np.int32)  # the last entry serves −1
    number[kept] = np.arange(len(kept))
    return number[owner], number[cluster_of_mask], shown[kept].sum(axis=1)

"""2D masks of all frames become 3D instances (InstaScene section 3.1).

Three numbers name things here.  A mask's label is its id in the label image of one frame (≥ 1) and means
nothing in another frame.  A mask row (0 … M−1) counts the masks of all frames.  A cluster index (0 … C−1)
counts the 3D instances found; UNLABELLED = −1 means none.  An InstanceId is given later, by the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from instascene_core.association.consensus import cluster_masks, observe
from instascene_core.association.majority import merge_fragments
from instascene_core.association.masks import MaskMatrices, build_masks
from instascene_core.association.refine import (
    candidates_from_groups,
    make_disjoint,
    merge_overlapping,
)
from instascene_core.association.refit import (
    assign_gaussians_by_masks,
    assign_gaussians_by_weight,
    assign_masks,
    measure_agreement,
    refit,
    seen_clusters,
)
from instascene_core.association.votes import cluster_by_votes
from instascene_core.config import AssociationConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.ownership.by_masks import labels_of_masks
from instascene_core.progress import ProgressCallback, no_progress

if TYPE_CHECKING:
    from instascene_core.rendering.trace import PixelTrace


@dataclass(frozen=True)
class Cluster:
    """One 3D instance as the masks tell it; clusters share no Gaussian."""

    gaussians: np.ndarray  # [K] int64, sorted
    masks: np.ndarray  # [L] int64 mask rows that show it
    num_views: int  # frames with a mask of it
    agreement: float  # [0, 1] mean overlap (IoU) of its best mask over all frames that see it


@dataclass(frozen=True)
class MaskTable:
    """What became of every mask that was large enough to be used, by mask row."""

    frame: np.ndarray  # [M] int32 frame index
    label: np.ndarray  # [M] int32 id in that frame's label image
    size: np.ndarray  # [M] int64 visible Gaussians
    cluster: np.ndarray  # [M] int32 cluster index, or UNLABELLED
    num_dropped: int  # masks below the minimum size, not listed
    matrices: MaskMatrices = field(repr=False)  # which Gaussians each mask shows
    config: AssociationConfig = field(repr=False)

    @cached_property
    def under_segmented(self) -> np.ndarray:
        """[M] bool: covers several masks of other frames; consensus filters these.

        Found when first asked for: it compares all masks that share Gaussians.
        """
        return observe(self.matrices, self.config).under_segmented


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
    progress("association", 0.6, f"{len(masks.frame)} masks of {len(traces)} frames")
    # 2. Clustering.  Overlaps and fragments are merged, masks filtered by mistake are recovered.
    gaussian_clusters, mask_clusters = _cluster_gaussians(masks, means, config, progress)
    # 3. Write the clusters back into the label images; by these every Gaussian is assigned, faint ones too.
    # Fragments that meet only at their rims, in frames seen from the side, can be merged after that.
    while True:
        gaussian_clusters, mask_clusters, views = _drop_small_clusters(
            gaussian_clusters, mask_clusters, masks, config
        )
        filtered = labels_of_masks(label_images, masks.frame, masks.label, mask_clusters)
        gaussian_clusters, refused = assign_gaussians_by_weight(filtered, traces, means, len(views), config)
        if config.clustering == "ids":
            break
        gaussian_clusters, left = merge_fragments(gaussian_clusters, len(views), masks, config)
        if left == len(views):
            break
        mask_clusters = assign_masks(gaussian_clusters, left, masks, config)
    gaussian_clusters, mask_clusters, views = _drop_small_clusters(
        gaussian_clusters, mask_clusters, masks, config
    )
    filtered = labels_of_masks(label_images, masks.frame, masks.label, mask_clusters)
    agreement = measure_agreement(gaussian_clusters, len(views), masks, config)
    clusters = tuple(
        Cluster(
            np.flatnonzero(gaussian_clusters == c),
            np.flatnonzero(mask_clusters == c),
            int(views[c]),
            float(agreement[c]),
        )
        for c in range(len(views))
    )
    table = MaskTable(
        masks.frame, masks.label, np.asarray(masks.membership.sum(axis=0), dtype=np.int64).ravel(),
        mask_clusters, masks.num_dropped, masks, config,
    )  # fmt: skip
    progress("association", 1.0, f"{len(clusters)} instances")
    return Association(clusters, filtered, gaussian_clusters, refused, table)


def _cluster_gaussians(
    masks: MaskMatrices,
    means: np.ndarray,
    config: AssociationConfig,
    progress: ProgressCallback,
) -> tuple[np.ndarray, np.ndarray]:
    """(cluster of each Gaussian [N], cluster of each mask [M]), int32, UNLABELLED = none."""
    if config.clustering == "ids":  # as given
        ids, mask_clusters = np.unique(masks.label, return_inverse=True)
        return assign_gaussians_by_masks(mask_clusters, len(ids), masks, config), mask_clusters.astype(
            np.int32
        )
    if config.clustering == "votes":
        candidates = cluster_by_votes(masks, means, config)
    elif config.clustering == "consensus":
        # Visibility, containment and the under-segmentation filter take the square of the number of frames.
        group = cluster_masks(masks, observe(masks, config), config)
        candidates = candidates_from_groups(masks, group, means, config)
    else:
        raise InputError(f"Unknown clustering '{config.clustering}'; known are votes, consensus, ids.")
    progress("association", 0.8, f"{len(candidates)} candidates")
    candidates = merge_overlapping(candidates, masks, len(means), config)
    return _refit_and_merge(make_disjoint(candidates, len(means)), len(candidates), masks, config)


def _refit_and_merge(
    gaussian_clusters: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> tuple[np.ndarray, np.ndarray]:
    """(cluster of each Gaussian [N], cluster of each mask [M]), fitted to one another, fragments merged."""
    while True:
        gaussian_clusters, mask_clusters = refit(gaussian_clusters, num_clusters, masks, config)
        gaussian_clusters, left = merge_fragments(gaussian_clusters, num_clusters, masks, config)
        if left == num_clusters:
            return gaussian_clusters, mask_clusters
        num_clusters = left


def _drop_small_clusters(
    gaussian_clusters: np.ndarray, mask_clusters: np.ndarray, masks: MaskMatrices, config: AssociationConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drop clusters of too few views or Gaussians, number the rest 0 … C−1 by their first Gaussian.

    Views are too few also against those that see a cluster and have masks, unless masks' ids tell whose they
    are: a mistake that many frames repeat by chance.

    Returns (cluster of each Gaussian [N] int32, cluster of each mask [M] int32, [C] int views with a mask of
    each cluster).
    """
    count = max(gaussian_clusters.max(initial=-1), mask_clusters.max(initial=-1)) + 1
    used = np.flatnonzero(mask_clusters >= 0)
    shown = np.zeros((count, masks.num_frames), dtype=bool)
    shown[mask_clusters[used], masks.frame[used]] = True
    clustered = np.flatnonzero(gaussian_clusters >= 0)
    sizes = np.bincount(gaussian_clusters[clustered], minlength=count)
    first = np.full(count, len(gaussian_clusters))
    np.minimum.at(first, gaussian_clusters[clustered], clustered)
    views = shown.sum(axis=1)
    enough = (sizes >= config.min_gaussians) & (views >= config.min_views)
    if config.clustering != "ids":
        seen = seen_clusters(gaussian_clusters, count, masks, config)[np.unique(masks.frame)]
        enough &= views >= config.min_view_share * seen.sum(axis=0)
    kept = np.flatnonzero(enough)
    kept = kept[np.argsort(first[kept])]
    new_index = np.full(count + 1, UNLABELLED, dtype=np.int32)  # the last entry serves −1
    new_index[kept] = np.arange(len(kept))
    return new_index[gaussian_clusters], new_index[mask_clusters], views[kept]

"""Fit clusters and masks to one another: each mask goes to the cluster it shows, each Gaussian to the
cluster whose masks hold it.

Clustering decides how many objects there are, from the masks and patches that are certain.  Here the
uncertain ones follow: both assignments alternate until they stay the same.  Masks that the filter dropped
by mistake come back this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from instascene_core.association.majority import membership_matrix
from instascene_core.association.masks import TOLERANCE, MaskMatrices
from instascene_core.config import AssociationConfig
from instascene_core.frame import UNLABELLED

if TYPE_CHECKING:
    from instascene_core.rendering.trace import PixelTrace


FRAMES_AT_ONCE = 16


def refit(
    gaussian_clusters: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> tuple[np.ndarray, np.ndarray]:
    """([N] int32 cluster of each Gaussian, [M] int32 cluster each mask shows), UNLABELLED = none.

    gaussian_clusters: [N] int32 the assignment to begin with.
    """
    mask_clusters = np.full(len(masks.frame), UNLABELLED, dtype=np.int32)
    for _ in range(config.refit_rounds):
        now = assign_masks(gaussian_clusters, num_clusters, masks, config)
        if (now == mask_clusters).all():
            break
        mask_clusters = now
        gaussian_clusters = assign_gaussians_by_masks(mask_clusters, num_clusters, masks, config)
    return gaussian_clusters, mask_clusters


def assign_masks(
    gaussian_clusters: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> np.ndarray:
    """[M] int32: the one cluster each mask shows, UNLABELLED where it shows none or several.

    A mask shows the cluster that most of its Gaussians with a cluster belong to.  It covers another one as
    well when that is visible in the frame and most of what is visible of it lies in the mask.  Such a mask
    is under-segmented and shows neither, unless one cluster holds `recovery` of the mask.
    """
    if not num_clusters:
        return np.full(len(masks.frame), UNLABELLED, dtype=np.int32)
    member = membership_matrix(gaussian_clusters, num_clusters)
    held = (masks.membership.T @ member).toarray()  # [M, C]
    visible = (masks.visible.T @ member).toarray()[masks.frame]  # [M, C] in the mask's frame
    size = np.maximum(np.bincount(gaussian_clusters[gaussian_clusters >= 0], minlength=num_clusters), 1)
    covered = (visible >= (1 - config.max_unseen) * size - TOLERANCE) & (held > config.majority * visible)
    best = held.argmax(axis=1)
    mask = np.arange(len(held))
    covered[mask, best] = False
    most, total = held[mask, best], held.sum(axis=1)
    # A few stray Gaussians of a cluster, in the mask of a thing without cluster, do not give it the mask.
    size_of_mask = np.asarray(masks.membership.sum(axis=0)).ravel()
    least = (1 - config.max_unseen) * np.minimum(size_of_mask, visible[mask, best])
    related = most >= least - TOLERANCE
    alone = (most > config.majority * total) & ~covered.any(axis=1)
    certain = alone | (most > 0) & (most >= config.recovery * total)
    return np.where(certain & related, best, UNLABELLED).astype(np.int32)


def assign_gaussians_by_masks(
    mask_clusters: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> np.ndarray:
    """[N] int32: the cluster whose masks hold the Gaussian in most of the frames that have one of them.

    Frames where the cluster's mask is missing say nothing; below `min_visible_ratio` a Gaussian is
    UNLABELLED.
    """
    used = np.flatnonzero(mask_clusters >= 0)
    ones = np.ones(len(used), dtype=np.float32)
    shape = (len(masks.frame), num_clusters)
    shows = sp.csr_matrix((ones, (used, mask_clusters[used])), shape=shape)
    inside = masks.membership @ shows  # [N, C]
    with_mask = masks.frame_of_mask.T @ shows  # [F, C]
    with_mask.data[:] = 1
    return _choose_largest(
        _divide(sp.csr_matrix(inside).toarray(), sp.csr_matrix(masks.visible @ with_mask).toarray()), config
    )


def assign_gaussians_by_weight(
    cluster_images: Sequence[np.ndarray],
    traces: Sequence[PixelTrace],
    means: np.ndarray,
    num_clusters: int,
    config: AssociationConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """([N] int32 cluster of each Gaussian, UNLABELLED = none; [N] bool refused).

    cluster_images: per frame [H, W] int32 cluster index, UNLABELLED where none shows.  means: [N, 3] metres.
    The rule is that of `assign_gaussians_by_masks`, with blending weight in place of counts.  Faint
    Gaussians, which the tracker leaves out, get a cluster this way.  Those that hardly ever lie on the
    visible surface, but shine through it, get none.  The borders of masks scatter, so shares of neighbours
    on the surface are smoothed.
    Refused are Gaussians on the surface that frames with masks of clusters show, but that belong to none.
    """
    inside = np.zeros((len(means), num_clusters + 1))  # the first column is for pixels of no cluster
    seen = np.zeros((len(means), num_clusters))
    total, surface = np.zeros(len(means)), np.zeros(len(means))
    for start in range(
        0, len(traces), FRAMES_AT_ONCE
    ):  # one sum for several: each adds to the whole matrices
        part = slice(start, start + FRAMES_AT_ONCE)
        weight, columns, shown = [], [], []
        for image, trace in zip(cluster_images[part], traces[part], strict=True):
            column_of_pixel = (image - UNLABELLED).ravel()
            shown.append(np.bincount(column_of_pixel, minlength=num_clusters + 1)[1:] > 0)
            columns.append(np.repeat(column_of_pixel, np.diff(trace.offsets)))
            weight.append(np.bincount(trace.indices, trace.weights, minlength=len(means)))
            front = trace.weights * (trace.transmittance > config.min_transmittance)
            surface += np.bincount(trace.indices, front, minlength=len(means))
        keys = np.concatenate([t.indices for t in traces[part]]) * np.int64(num_clusters + 1)
        keys += np.concatenate(columns)
        entry_weights = np.concatenate([t.weights for t in traces[part]])
        inside += np.bincount(keys, entry_weights, minlength=inside.size).reshape(inside.shape)
        seen += np.stack(weight, axis=1) @ np.stack(shown).astype(np.float64)
        total += np.sum(weight, axis=0)
    on_surface = (surface >= config.min_surface_share * total) & (total > 0)
    share = _divide(inside[:, 1:], seen)
    share[on_surface] = _smooth_shares(share[on_surface], means[on_surface], config)
    gaussian_clusters = _choose_largest(share, config)
    refused = on_surface & (gaussian_clusters < 0) & (seen > 0).any(axis=1)
    return np.where(on_surface, gaussian_clusters, UNLABELLED).astype(np.int32), refused


def seen_clusters(
    gaussian_clusters: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> np.ndarray:
    """[F, C] bool: the frames that see enough of each cluster."""
    member = membership_matrix(gaussian_clusters, num_clusters)
    return _is_seen((masks.visible.T @ member).toarray(), config)


def _is_seen(visible: np.ndarray, config: AssociationConfig) -> np.ndarray:
    """Of visible Gaussians [F, C]."""
    return (visible >= config.min_shown * visible.max(axis=0, initial=0)) & (visible > 0)


def measure_agreement(
    gaussian_clusters: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> np.ndarray:
    """[C] float in [0, 1]: how well single frames agree on each cluster.

    The mean, over the frames that see enough of it, of the largest intersection over union of a mask
    with what is visible of the cluster; frames that miss, merge or split it lower it.
    """
    member = membership_matrix(gaussian_clusters, num_clusters)
    held = (masks.membership.T @ member).toarray()  # [M, C]
    visible = (masks.visible.T @ member).toarray()  # [F, C]
    size = np.asarray(masks.membership.sum(axis=0)).ravel()  # [M]
    union = size[:, None] + visible[masks.frame] - held
    best = np.zeros(visible.shape)
    np.maximum.at(best, masks.frame, held / np.maximum(union, 1))
    seen = _is_seen(visible, config)
    return (best * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)


def _divide(inside: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """inside / seen, 0 where `seen` is 0."""
    return np.divide(inside, seen, out=np.zeros(inside.shape), where=seen > 0)


def _smooth_shares(share: np.ndarray, means: np.ndarray, config: AssociationConfig) -> np.ndarray:
    """`share` [K, C], moved in place towards the mean of the nearest neighbours, `smoothing_rounds` times.

    The more uncertain a share, the further it moves: `smoothing_strength` of the way at 0.5, not at all where
    the masks agree (0 or 1), so that exact masks keep their borders.  means: [K, 3] metres.
    """
    count = min(config.smoothing_neighbours, len(means) - 1)
    if count < 1 or not share.shape[1]:
        return share
    uncertain = np.flatnonzero(((share > 0) & (share < 1)).any(axis=1))  # the others never change
    _, nearest = cKDTree(means).query(means[uncertain], k=count + 1)
    rows = np.repeat(np.arange(len(uncertain)), count)
    weights = np.full(len(rows), 1 / count)
    mean = sp.csr_matrix((weights, (rows, nearest[:, 1:].ravel())), shape=(len(uncertain), len(means)))
    for _ in range(config.smoothing_rounds):
        own = share[uncertain]
        uncertainty = 1 - np.abs(2 * own - 1)
        share[uncertain] = own + config.smoothing_strength * uncertainty * (mean @ share - own)
    return share


def _choose_largest(share: np.ndarray, config: AssociationConfig) -> np.ndarray:
    """[N] int32 column of the largest share, UNLABELLED below `min_visible_ratio`."""
    if not share.shape[1]:
        return np.full(len(share), UNLABELLED, dtype=np.int32)
    best = share.argmax(axis=1)
    enough = share[np.arange(len(best)), best] >= max(config.min_visible_ratio - TOLERANCE, TOLERANCE)
    return np.where(enough, best, UNLABELLED).astype(np.int32)

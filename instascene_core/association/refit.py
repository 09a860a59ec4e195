"""Instances and masks made to agree: each mask goes to the instance it shows, each Gaussian to the
instance whose masks hold it.

Clustering decides how many objects there are; it does so on the masks and patches one can be sure of
and leaves the doubtful ones out.  Here both are fitted to one another until they stay (the recovery of
wrongly filtered masks is one case of it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from instascene_core.association.majority import indicator
from instascene_core.association.masks import TOLERANCE, MaskMatrices
from instascene_core.config import AssociationConfig
from instascene_core.frame import UNLABELLED

if TYPE_CHECKING:
    from instascene_core.rendering.trace import PixelTrace


FRAMES_AT_ONCE = 16


def refit(
    owner: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> tuple[np.ndarray, np.ndarray]:
    """(owner [N] int32 cluster of each Gaussian, [M] int32 cluster each mask shows); UNLABELLED = none.

    owner: the clusters' Gaussians so far.
    """
    cluster_of_mask = np.full(len(masks.frame), UNLABELLED, dtype=np.int32)
    for _ in range(config.refit_rounds):
        now = masks_shown(owner, num_clusters, masks, config)
        if (now == cluster_of_mask).all():
            break
        cluster_of_mask = now
        owner = owners_by_masks(cluster_of_mask, num_clusters, masks, config)
    return owner, cluster_of_mask


def masks_shown(
    owner: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> np.ndarray:
    """[M] int32: the one cluster each mask shows, UNLABELLED where it shows none or several.

    A mask shows the cluster that most of its owned Gaussians belong to.  It covers another one as well
    when that is visible in the frame and most of what is visible of it lies in the mask: then it is
    under-segmented and says nothing about either, unless one cluster holds `recovery` of the mask.
    """
    if not num_clusters:
        return np.full(len(masks.frame), UNLABELLED, dtype=np.int32)
    member = indicator(owner, num_clusters)
    held = (masks.membership.T @ member).toarray()  # [M, C]
    visible = (masks.visible.T @ member).toarray()[masks.frame]  # [M, C] in the mask's frame
    size = np.maximum(np.bincount(owner[owner >= 0], minlength=num_clusters), 1)
    taken = (visible >= (1 - config.max_unseen) * size - TOLERANCE) & (held > config.majority * visible)
    best = held.argmax(axis=1)
    mask = np.arange(len(held))
    taken[mask, best] = False
    most, total = held[mask, best], held.sum(axis=1)
    # A stray Gaussian or two of a cluster, in the mask of what has none, do not make it that cluster's.
    size_of_mask = np.asarray(masks.membership.sum(axis=0)).ravel()
    least = (1 - config.max_unseen) * np.minimum(size_of_mask, visible[mask, best])
    related = most >= least - TOLERANCE
    alone = (most > config.majority * total) & ~taken.any(axis=1)
    sure = alone | (most > 0) & (most >= config.recovery * total)
    return np.where(sure & related, best, UNLABELLED).astype(np.int32)


def owners_by_masks(
    cluster_of_mask: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> np.ndarray:
    """[N] int32: the cluster whose masks hold the Gaussian in most of the frames that have one of them.

    Frames where the cluster's mask is missing say nothing; below `min_visible_ratio` a Gaussian is
    UNLABELLED.
    """
    used = np.flatnonzero(cluster_of_mask >= 0)
    ones = np.ones(len(used), dtype=np.float32)
    shape = (len(masks.frame), num_clusters)
    shows = sp.csr_matrix((ones, (used, cluster_of_mask[used])), shape=shape)
    inside = masks.membership @ shows  # [N, C]
    with_mask = masks.frame_of_mask.T @ shows  # [F, C]
    with_mask.data[:] = 1
    return _best(_share(inside.toarray(), (masks.visible @ with_mask).toarray()), config)


def owners_by_weight(
    cluster_images: Sequence[np.ndarray],
    traces: Sequence[PixelTrace],
    means: np.ndarray,
    num_clusters: int,
    config: AssociationConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """([N] int32 as `owners_by_masks`, for every Gaussian that shows anywhere at all; [N] bool refused).

    Refused are those that frames with masks of clusters do show, but that belong to none.

    cluster_images: per frame [H, W] int32 cluster index, UNLABELLED where none shows.  Counted is blending
    weight, so the faint Gaussians that the tracker leaves out find their place as well; those that
    hardly ever lie on the visible surface, but shine through it, do not.  The borders of masks scatter;
    neighbours on the surface (means: [N, 3]) are asked together.
    """
    inside = np.zeros((len(means), num_clusters + 1))  # the first column is for pixels of no cluster
    seen = np.zeros((len(means), num_clusters))
    total, surface = np.zeros(len(means)), np.zeros(len(means))
    for start in range(0, len(traces), FRAMES_AT_ONCE):  # each adds to all of the matrices, zeros too
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
    heard = (surface >= config.min_surface_share * total) & (total > 0)
    share = _share(inside[:, 1:], seen)
    share[heard] = _smoothed(share[heard], means[heard], config)
    owner = _best(share, config)
    refused = heard & (owner < 0) & (seen > 0).any(axis=1)
    return np.where(heard, owner, UNLABELLED).astype(np.int32), refused


def mask_agreement(
    owner: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> np.ndarray:
    """[C] float in [0, 1]: how well single frames agree on each cluster.

    The mean, over the frames that see enough of it, of the largest intersection over union of a mask
    with what is visible of the cluster; frames that miss, merge or split it lower it.
    """
    member = indicator(owner, num_clusters)
    held = (masks.membership.T @ member).toarray()  # [M, C]
    visible = (masks.visible.T @ member).toarray()  # [F, C]
    size = np.asarray(masks.membership.sum(axis=0)).ravel()  # [M]
    union = size[:, None] + visible[masks.frame] - held
    best = np.zeros(visible.shape)
    np.maximum.at(best, masks.frame, held / np.maximum(union, 1))
    seen = (visible >= config.min_shown * visible.max(axis=0, initial=0)) & (visible > 0)
    return (best * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)


def _share(inside: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return np.divide(inside, seen, out=np.zeros(inside.shape), where=seen > 0)


def _smoothed(share: np.ndarray, means: np.ndarray, config: AssociationConfig) -> np.ndarray:
    """`share` [K, C], moved in place towards the mean of the nearest neighbours, a few times over.

    The more in doubt the more: `smoothing_strength` of the way at a share of 0.5, not at all where the
    masks agree (0 or 1), so that exact masks keep their borders.
    """
    count = min(config.smoothing_neighbours, len(means) - 1)
    if count < 1 or not share.shape[1]:
        return share
    doubted = np.flatnonzero(((share > 0) & (share < 1)).any(axis=1))  # the others never change
    _, nearest = cKDTree(means).query(means[doubted], k=count + 1)
    rows = np.repeat(np.arange(len(doubted)), count)
    weights = np.full(len(rows), 1 / count)
    mean = sp.csr_matrix((weights, (rows, nearest[:, 1:].ravel())), shape=(len(doubted), len(means)))
    for _ in range(config.smoothing_rounds):
        own = share[doubted]
        doubt = 1 - np.abs(2 * own - 1)
        share[doubted] = own + config.smoothing_strength * doubt * (mean @ share - own)
    return share


def _best(share: np.ndarray, config: AssociationConfig) -> np.ndarray:
    """[N] int32 column of the largest share, UNLABELLED below `min_visible_ratio`."""
    if not share.shape[1]:
        return np.full(len(share), UNLABELLED, dtype=np.int32)
    best = share.argmax(axis=1)
    enough = share[np.arange(len(best)), best] >= max(config.min_visible_ratio - TOLERANCE, TOLERANCE)
    return np.where(enough, best, UNLABELLED).astype(np.int32)

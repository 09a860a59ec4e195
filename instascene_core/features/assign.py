"""From features to instances: similarity, neighbours, and ids that stay from one update to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from instascene_core.config import FeaturesConfig
from instascene_core.errors import InputError
from instascene_core.features.field import prototypes_of
from instascene_core.frame import UNLABELLED
from instascene_core.instances import FIRST_ID, InstanceId


def assign(
    features: np.ndarray, clusters: Sequence[np.ndarray], means: np.ndarray, config: FeaturesConfig
) -> np.ndarray:
    """[N] int32 cluster index of every Gaussian, or UNLABELLED.

    features: [N, D] unit; clusters: Gaussians of each instance, they give its mean feature;
    means: [N, 3].  A Gaussian belongs to the instance with the most similar mean feature if the
    cosine reaches τ = `similarity`; the others follow their nearest neighbours where those agree.
    Raises InputError for features that are not finite.
    """
    if not np.isfinite(features).all():
        bad = np.count_nonzero(~np.isfinite(features).all(axis=1))
        raise InputError(f"The features of {bad} Gaussians contain NaN or infinity; train them again.")
    labels = np.full(len(features), UNLABELLED, dtype=np.int32)
    if not clusters:
        return labels
    similarity = features @ prototypes_of(features, clusters).T  # [N, C]
    best = similarity.argmax(axis=1)
    similar = similarity[np.arange(len(best)), best] >= config.similarity
    labels[similar] = best[similar]
    return fill_from_neighbours(labels, means, config)


def fill_from_neighbours(labels: np.ndarray, means: np.ndarray, config: FeaturesConfig) -> np.ndarray:
    """Give an unlabelled Gaussian the label that most of its nearest labelled neighbours share.

    Neighbours further than `neighbour_spacings` times the labelled Gaussians' spacing do not count;
    where too few agree the Gaussian stays UNLABELLED.
    """
    labelled, unlabelled = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
    count = min(config.neighbours, len(labelled))
    if count == 0 or not len(unlabelled):
        return labels
    tree = cKDTree(means[labelled])
    spacing = tree.query(means[labelled[:: max(1, len(labelled) // 5000)]], k=min(4, len(labelled)))[0][:, -1]
    reach = config.neighbour_spacings * float(np.median(spacing))
    distance, index = tree.query(means[unlabelled], k=count, distance_upper_bound=reach)
    distance, index = distance.reshape(len(unlabelled), count), index.reshape(len(unlabelled), count)
    near = np.isfinite(distance)
    neighbour_labels = np.where(near, labels[labelled[np.minimum(index, len(labelled) - 1)]], UNLABELLED)
    votes = np.sort(neighbour_labels, axis=1)
    # The most frequent label of each row: the longest run in the sorted row.
    run, best_run, best = np.ones(len(votes), int), np.ones(len(votes), int), votes[:, -1].copy()
    for column in range(1, count):
        run = np.where(votes[:, column] == votes[:, column - 1], run + 1, 1)
        longer = (run > best_run) & (votes[:, column] >= 0)
        best_run, best = np.where(longer, run, best_run), np.where(longer, votes[:, column], best)
    agreed = (best >= 0) & (best_run >= config.neighbour_agreement * count)
    result = labels.copy()
    result[unlabelled[agreed]] = best[agreed]
    return result


def stable_ids(
    cluster_of_gaussian: np.ndarray,
    previous: np.ndarray,
    num_clusters: int,
    min_overlap: float,
    first_free: InstanceId = FIRST_ID,
) -> np.ndarray:
    """[C] int32: the InstanceId of every cluster of a new decomposition; here clusters become instances.

    cluster_of_gaussian: [N] int32 cluster index (0 … C−1) or UNLABELLED; previous: [N] int32 the InstanceId
    the same Gaussian had (UNLABELLED for new ones).  A cluster takes the id of the old instance it shares
    most Gaussians with (Hungarian on intersection over union, at least `min_overlap`); the rest get ids
    never used, from `first_free` on.
    """
    old = np.unique(previous[previous >= 1])
    ids = np.zeros(num_clusters, dtype=np.int32)  # 0 = none yet
    if len(old) and num_clusters:
        column = np.searchsorted(old, previous)
        clustered = cluster_of_gaussian >= 0
        both = clustered & (previous >= 1)
        common = np.zeros((num_clusters, len(old)))  # Gaussians in the new cluster and in the old instance
        np.add.at(common, (cluster_of_gaussian[both], column[both]), 1)
        new_size = np.bincount(cluster_of_gaussian[clustered], minlength=num_clusters)
        old_size = np.bincount(column[previous >= 1], minlength=len(old))
        overlap = common / np.maximum(new_size[:, None] + old_size[None] - common, 1)
        for i, j in zip(*linear_sum_assignment(-overlap), strict=True):
            if overlap[i, j] >= min_overlap:
                ids[i] = old[j]
    free = max(first_free, int(old.max(initial=0)) + 1)
    missing = np.flatnonzero(ids == 0)
    ids[missing] = free + np.arange(len(missing))
    return ids


def transfer_labels(
    old_means: np.ndarray, old_labels: np.ndarray, new_means: np.ndarray, config: FeaturesConfig
) -> np.ndarray:
    """[N] int32: each new Gaussian takes the label of the nearest old one, if that is close.

    Close: within `transfer_spacings` times the old Gaussians' spacing; otherwise UNLABELLED.
    old_means: [M, 3], new_means: [N, 3], metres; old_labels: [M] int32.
    """
    if not len(old_means):
        return np.full(len(new_means), UNLABELLED, dtype=np.int32)
    tree = cKDTree(old_means)
    sample = old_means[:: max(1, len(old_means) // 5000)]
    spacing = float(
        np.median(tree.query(sample, k=min(4, len(old_means)))[0].reshape(len(sample), -1)[:, -1])
    )
    distance, index = tree.query(new_means)
    return np.where(distance <= config.transfer_spacings * spacing, old_labels[index], UNLABELLED).astype(
        np.int32
    )

"""What no mask claims: the support plane, and the background behind it."""

from collections.abc import Sequence

import numpy as np

from instascene_core.config import AssociationConfig
from instascene_core.frame import UNLABELLED
from instascene_core.rendering import PixelTrace
from instascene_core.segmentation import Support


def structure_clusters(
    masks: Sequence[np.ndarray],
    traces: Sequence[PixelTrace],
    means: np.ndarray,
    gaussian_clusters: np.ndarray,
    support: Support | None,
    config: AssociationConfig,
) -> list[tuple[str, np.ndarray]]:
    """("support" | "background", Gaussian indices [K] int64) of what the masks leave out.

    A Gaussian is structure when at most `structure_max_masked` of its blending weight, over all views
    that have masks, falls into any; it is support when it lies on that plane as well.
    """
    total, masked = np.zeros(len(means)), np.zeros(len(means))
    asked = [(mask > 0).any() for mask in masks]
    for mask, view, counts in zip(masks, traces, asked):
        if not counts and any(asked):
            continue
        in_mask = np.repeat((mask.ravel() > 0).astype(np.float64), np.diff(view.offsets))
        total += np.bincount(view.indices, view.weights, minlength=len(means))
        masked += np.bincount(view.indices, view.weights * in_mask, minlength=len(means))
    free = (gaussian_clusters < 0) & (total > 0) & (masked <= config.structure_max_masked * total)
    on_plane = np.zeros(len(means), dtype=bool)
    if support is not None and support.plane is not None:
        near = config.support_tolerances * support.tolerance
        on_plane = free & (np.abs(support.plane.height(means)) < near)
        if support.extent is not None:
            on_plane &= support.extent.contains(means)
    found = [("support", np.flatnonzero(on_plane)), ("background", np.flatnonzero(free & ~on_plane))]
    return [(kind, ids) for kind, ids in found if len(ids) >= config.min_gaussians]


def cluster_of_structure(clusters: Sequence[np.ndarray], first: int, num_gaussians: int) -> np.ndarray:
    """[N] int32 cluster index of the Gaussians in clusters `first` and later, else UNLABELLED."""
    index_of = np.full(num_gaussians, UNLABELLED, dtype=np.int32)
    for index in range(first, len(clusters)):
        index_of[clusters[index]] = index
    return index_of

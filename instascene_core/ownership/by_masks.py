"""Rule 1: a pixel belongs to the cluster of the mask that covers it."""

from collections.abc import Sequence

import numpy as np

from instascene_core.frame import UNLABELLED


def labels_of_masks(
    label_images: Sequence[np.ndarray],
    frame_of_mask: np.ndarray,
    label_of_mask: np.ndarray,
    cluster_of_mask: np.ndarray,
) -> list[np.ndarray]:
    """Per frame [H, W] int32: index of the mask's cluster in place of the mask's id, else UNLABELLED.

    label_images: per frame [H, W] integer, ids ≥ 1, everything ≤ 0 is unlabelled.  For each mask that is
    used, [M] int32: its frame's index, its id in that frame's label image, and its cluster's index
    (UNLABELLED = the mask shows no cluster, or several).
    """
    filtered = []
    for index, image in enumerate(label_images):
        image = np.maximum(np.asarray(image), 0)
        table = np.full(int(image.max(initial=0)) + 1, UNLABELLED, dtype=np.int32)
        here = (frame_of_mask == index) & (cluster_of_mask >= 0)
        table[label_of_mask[here]] = cluster_of_mask[here]
        filtered.append(table[image])
    return filtered

"""Instance features on the Gaussians, and the instances they give."""

from instascene_core.features.assign import (
    assign,
    fill_from_neighbours,
    render_label_images,
    stable_ids,
    transfer_labels,
)
from instascene_core.features.field import prototypes_of, train_features

__all__ = [
    "assign",
    "fill_from_neighbours",
    "prototypes_of",
    "render_label_images",
    "stable_ids",
    "train_features",
    "transfer_labels",
]

"""Instance features on the Gaussians, and the instances they give."""

from instascene_core.features.assign import (
    assign,
    fill_from_neighbours,
    stable_ids,
    transfer_labels,
)
from instascene_core.features.click import Click, click_pixel, click_point
from instascene_core.features.field import prototypes_of, train_features
from instascene_core.features.segments import Segment, feature_segments, grown_segments
from instascene_core.features.surface import Surface, make_surface

__all__ = [
    "Click",
    "Segment",
    "Surface",
    "assign",
    "click_pixel",
    "click_point",
    "feature_segments",
    "fill_from_neighbours",
    "grown_segments",
    "make_surface",
    "prototypes_of",
    "stable_ids",
    "train_features",
    "transfer_labels",
]

"""2D instance masks: given with the frames, or found; and the support plane."""

from instascene_core.segmentation.factories import SEGMENTERS, make_segmenter, segmenter_named
from instascene_core.segmentation.fused_surface.segmenter import SurfaceSegmenter
from instascene_core.segmentation.labels import GivenLabels, check_labels
from instascene_core.segmentation.public.segmenter import PublicSegmenter
from instascene_core.segmentation.segmenter import LabelImage, Segmenter
from instascene_core.segmentation.single_view import NetworkSegmenter
from instascene_core.segmentation.support import Support, find_support
from instascene_core.segmentation.upward import CONVENTION, Upward, find_support_and_up

__all__ = [
    "CONVENTION",
    "SEGMENTERS",
    "GivenLabels",
    "LabelImage",
    "NetworkSegmenter",
    "PublicSegmenter",
    "Segmenter",
    "Support",
    "SurfaceSegmenter",
    "Upward",
    "check_labels",
    "find_support",
    "find_support_and_up",
    "make_segmenter",
    "segmenter_named",
]

"""2D instance masks: given with the frames, or cut by geometry; and the support plane."""

from collections.abc import Sequence

from instascene_core.config import SegmentationConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.geometric import GeometricSegmenter
from instascene_core.segmentation.labels import GivenLabels, check_labels
from instascene_core.segmentation.segmenter import LabelImage, Segmenter
from instascene_core.segmentation.support import Support, find_support

SEGMENTERS = ("labels", "geometric")


def make_segmenter(
    config: SegmentationConfig,
    frames: Sequence[Frame],
    support: Support | None = None,
    progress: ProgressCallback = no_progress,
) -> Segmenter:
    """The segmenter that `config.segmenter` names, prepared for `frames`.

    "auto": the given labels where any frame has some, else geometry.  support: from `find_support`;
    found here when it is needed and None.  Raises InputError for an unknown name, or when the frames
    lack what the segmenter needs.
    """
    name = config.segmenter
    if name == "auto":
        given = any(f.labels is not None and (f.labels >= 1).any() for f in frames)
        name = "labels" if given else "geometric"
    if name == "labels":
        segmenter = GivenLabels(min_pixels=config.min_mask_pixels)
    elif name == "geometric":
        segmenter = GeometricSegmenter(config, support)
    else:
        raise InputError(f"There is no segmenter '{name}'; known are auto, {', '.join(SEGMENTERS)}.")
    segmenter.prepare(frames, progress)
    return segmenter


__all__ = [
    "SEGMENTERS",
    "GeometricSegmenter",
    "GivenLabels",
    "LabelImage",
    "Segmenter",
    "Support",
    "check_labels",
    "find_support",
    "make_segmenter",
]

"""2D instance masks: given with the frames, or found; and the support plane."""

from collections.abc import Callable, Sequence

import numpy as np

from instascene_core.config import SegmentationConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.builtin import BuiltinSegmenter
from instascene_core.segmentation.fused_surface.segmenter import GeometricSegmenter
from instascene_core.segmentation.labels import GivenLabels, check_labels
from instascene_core.segmentation.public.cropformer import CropFormerSegmenter
from instascene_core.segmentation.public.mask2former import Mask2FormerSegmenter
from instascene_core.segmentation.public.sam2 import Sam2Segmenter
from instascene_core.segmentation.public.transformers_models import PretrainedSegmenter
from instascene_core.segmentation.segmenter import LabelImage, Segmenter
from instascene_core.segmentation.single_view import NetworkSegmenter
from instascene_core.segmentation.support import Support, find_support

# Name → what makes it from (config, support, up, whether a support is to be sought).
SEGMENTERS: dict[str, Callable[..., Segmenter]] = {
    "labels": lambda config, support, up, seek: GivenLabels(config.ids_agree, config.min_mask_pixels),
    "builtin": BuiltinSegmenter,
    "network": NetworkSegmenter,
    "geometric": GeometricSegmenter,
    "mask2former": lambda config, support, up, seek: Mask2FormerSegmenter(config, support),
    "sam2": lambda config, support, up, seek: Sam2Segmenter(config, support),
    "cropformer": lambda config, support, up, seek: CropFormerSegmenter(config, support),
}


def make_segmenter(
    config: SegmentationConfig,
    frames: Sequence[Frame],
    support: Support | None = None,
    progress: ProgressCallback = no_progress,
    *,
    up: np.ndarray | None = None,
    seek_support: bool = True,
) -> Segmenter:
    """The segmenter that `config.segmenter` names, prepared for `frames`.

    "auto": the given labels where any frame has some, else the built-in one.  support: from
    `find_support`; where it is None it is sought here if need be, unless `seek_support` is False: then
    there is none.  up: [3] away from gravity where it is known.  Raises InputError for an unknown name,
    or when the frames lack what the segmenter needs.
    """
    name = config.segmenter
    if name == "auto":
        given = any(f.labels is not None and (f.labels >= 1).any() for f in frames)
        name = "labels" if given else "builtin"
    segmenter = segmenter_named(name, config, support, up, seek_support)
    segmenter.prepare(frames, progress)
    return segmenter


def segmenter_named(
    name: str,
    config: SegmentationConfig,
    support: Support | None = None,
    up: np.ndarray | None = None,
    seek_support: bool = True,
) -> Segmenter:
    """The segmenter of that name, which takes single frames as it is.  Raises InputError; see above."""
    if name not in SEGMENTERS:
        raise InputError(f"There is no segmenter '{name}'; known are auto, {', '.join(SEGMENTERS)}.")
    return SEGMENTERS[name](config, support, up, seek_support)


__all__ = [
    "SEGMENTERS",
    "BuiltinSegmenter",
    "CropFormerSegmenter",
    "GeometricSegmenter",
    "GivenLabels",
    "LabelImage",
    "Mask2FormerSegmenter",
    "NetworkSegmenter",
    "PretrainedSegmenter",
    "Sam2Segmenter",
    "Segmenter",
    "Support",
    "check_labels",
    "find_support",
    "make_segmenter",
    "segmenter_named",
]

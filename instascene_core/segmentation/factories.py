"""Segmenters by name, made from the configuration."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from instascene_core.config import SegmentationConfig
from instascene_core.config.segmentation import GivenMasksConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.fused_surface.contacts import load_contact_model
from instascene_core.segmentation.fused_surface.cutters import (
    Cutter,
    GeometricCutter,
    NetworkCutter,
    SecondOpinion,
)
from instascene_core.segmentation.fused_surface.objectness import load_objectness_model
from instascene_core.segmentation.fused_surface.segmenter import SurfaceSegmenter
from instascene_core.segmentation.labels import GivenLabels
from instascene_core.segmentation.network import network_of
from instascene_core.segmentation.points_network.cutter import PointsCutter
from instascene_core.segmentation.points_network.segment import points_network_of
from instascene_core.segmentation.propagated import PropagatedLabels
from instascene_core.segmentation.public.cropformer import CropFormer
from instascene_core.segmentation.public.mask2former import Mask2Former
from instascene_core.segmentation.public.sam2 import Sam2
from instascene_core.segmentation.public.segmenter import MaskProposer, PublicSegmenter
from instascene_core.segmentation.segmenter import Segmenter
from instascene_core.segmentation.single_view import NetworkSegmenter
from instascene_core.segmentation.support import Support


def given_labels(
    config: SegmentationConfig, support: Support | None, up: np.ndarray | None, seek_support: bool
) -> GivenLabels:
    """The label images that come with the frames."""
    return GivenLabels(config.ids_agree, config.masks.min_mask_pixels)


def builtin(
    config: SegmentationConfig,
    support: Support | None = None,
    up: np.ndarray | None = None,
    seek_support: bool = True,
) -> SurfaceSegmenter:
    """By colour, depth and normals; on the fused surface once prepared, else view by view.

    Raises InputError when the weights cannot be loaded.
    """
    cutter = _network_cutter(config, up, None)
    single_view = NetworkSegmenter(network_of(config.network), config.network, config.masks, support, up)
    return _on_surface("builtin", cutter, config, support, up, seek_support, single_view)


def points(
    config: SegmentationConfig,
    support: Support | None = None,
    up: np.ndarray | None = None,
    seek_support: bool = True,
) -> SurfaceSegmenter:
    """By a network on the points of all frames together.  Raises InputError as `builtin` does."""
    return _on_surface("points", _points_cutter(config), config, support, up, seek_support, None)


def builtin_and_points(
    config: SegmentationConfig,
    support: Support | None = None,
    up: np.ndarray | None = None,
    seek_support: bool = True,
) -> SurfaceSegmenter:
    """As `builtin`, with the instances of `points` as votes.  Raises InputError as both do."""
    cutter = _network_cutter(config, up, None, _points_cutter(config))
    single_view = NetworkSegmenter(network_of(config.network), config.network, config.masks, support, up)
    return _on_surface("builtin+points", cutter, config, support, up, seek_support, single_view)


def _points_cutter(config: SegmentationConfig) -> PointsCutter:
    return PointsCutter(points_network_of(config.points), config.points, config.fused_surface)


def propagated(
    config: SegmentationConfig,
    support: Support | None = None,
    up: np.ndarray | None = None,
    seek_support: bool = True,
) -> PropagatedLabels:
    """The label images of some frames and the built-in segmenter's evidence of all, weighed together.

    Raises InputError when the weights cannot be loaded.
    """
    cutter = _network_cutter(config, up, config.given)
    surface = _on_surface("labels", cutter, config, support, up, seek_support, None)
    return PropagatedLabels(
        given_labels(config, support, up, seek_support), surface, config.given.known_share
    )


def _network_cutter(
    config: SegmentationConfig,
    up: np.ndarray | None,
    given: GivenMasksConfig | None,
    second: SecondOpinion | None = None,
) -> NetworkCutter:
    evidence = config.fused_surface.evidence
    own, judge = evidence.contact_weights, evidence.objectness_weights
    return NetworkCutter(
        network_of(config.network),
        load_contact_model(Path(own)) if own else load_contact_model(),
        load_objectness_model(Path(judge)) if judge else load_objectness_model(),
        config.fused_surface,
        config.network,
        up,
        given,
        second,
    )


def geometric(
    config: SegmentationConfig,
    support: Support | None = None,
    up: np.ndarray | None = None,
    seek_support: bool = True,
) -> SurfaceSegmenter:
    """By depth and normals alone, on the fused surface; without `prepare` on what one view shows."""
    cutter = GeometricCutter(config.fused_surface)
    return _on_surface("geometric", cutter, config, support, up, seek_support, None)


def _on_surface(
    name: str,
    cutter: Cutter,
    config: SegmentationConfig,
    support: Support | None,
    up: np.ndarray | None,
    seek_support: bool,
    single_view: Segmenter | None,
) -> SurfaceSegmenter:
    return SurfaceSegmenter(
        name, cutter, config.fused_surface, config.masks, config.max_pixels,
        support=support, up=up, seek=config.support if seek_support else None, single_view=single_view,
    )  # fmt: skip


def _public(proposer: type[MaskProposer]) -> Callable[..., Segmenter]:
    """A factory of segmenters with public weights."""

    def make(
        config: SegmentationConfig, support: Support | None, up: np.ndarray | None, seek_support: bool
    ) -> PublicSegmenter:
        return PublicSegmenter(proposer.from_config(config.public), config.public, config.masks, support)

    return make


# Name → what makes it from (config, support, up, whether a support is to be sought).
SEGMENTERS: dict[str, Callable[..., Segmenter]] = {
    "labels": given_labels,
    "builtin": builtin,
    "network": NetworkSegmenter.from_config,
    "geometric": geometric,
    "points": points,
    "builtin+points": builtin_and_points,
    "mask2former": _public(Mask2Former),
    "sam2": _public(Sam2),
    "cropformer": _public(CropFormer),
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

    "auto": the given labels where any frame has some, else the built-in one.  Label images of few of the
    frames are carried to the others (`PropagatedLabels`).  support: from
    `find_support`; where it is None it is sought here if need be, unless `seek_support` is False: then
    there is none.  up: [3] away from gravity where it is known.  Raises InputError for an unknown name,
    or when the frames lack what the segmenter needs.
    """
    name = config.segmenter
    if name == "auto":
        given = any(f.labels is not None and (f.labels >= 1).any() for f in frames)
        name = "labels" if given else "builtin"
    if name == "labels" and _are_sparse(frames, config):
        segmenter = propagated(config, support, up, seek_support)
    else:
        segmenter = segmenter_named(name, config, support, up, seek_support)
    segmenter.prepare(frames, progress)
    return segmenter


def _are_sparse(frames: Sequence[Frame], config: SegmentationConfig) -> bool:
    """Whether so few frames have label images that masks alone cannot be told apart from their errors.

    A tracker's ids need no votes.  Without depth there is no surface to carry masks over.
    """
    given = sum(frame.labels is not None for frame in frames)
    depth = any(frame.depth is not None and (frame.depth > 0).any() for frame in frames)
    return not config.ids_agree and depth and 0 < given < config.given.alone_from * len(frames)


def segmenter_named(
    name: str,
    config: SegmentationConfig,
    support: Support | None = None,
    up: np.ndarray | None = None,
    seek_support: bool = True,
) -> Segmenter:
    """The segmenter of that name, which takes single frames as it is.

    Raises InputError for an unknown name or unusable weights, MissingDependencyError where a library lacks.
    """
    if name not in SEGMENTERS:
        raise InputError(f"There is no segmenter '{name}'; known are auto, {', '.join(SEGMENTERS)}.")
    return SEGMENTERS[name](config, support, up, seek_support)

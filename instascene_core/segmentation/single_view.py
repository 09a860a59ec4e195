"""One frame's label image from the network alone."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from instascene_core.config.segmentation import (
    MaskConfig,
    NetworkConfig,
    SegmentationConfig,
    SupportConfig,
)
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.images import resize
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.graph import affinity_links, join
from instascene_core.segmentation.labels import tidy_labels
from instascene_core.segmentation.network import STEPS, FrameNetwork, Prediction, limit_size, network_of
from instascene_core.segmentation.segmenter import LabelImage
from instascene_core.segmentation.support import Support, find_support, plane_of


class NetworkSegmenter:
    """Objects in single frames by foreground and affinities; ids do not agree between frames."""

    name = "network"
    ids_are_global = False
    needs_depth = True
    side_by_side = False

    def __init__(
        self,
        network: FrameNetwork,
        config: NetworkConfig,
        masks: MaskConfig,
        support: Support | None = None,
        up: np.ndarray | None = None,
        seek: SupportConfig | None = None,
    ) -> None:
        """support: as found before; None = found by `prepare` if `seek` says how; without one heights are
        unknown.  up: [3] away from gravity where it is known.
        """
        self.network, self.config, self.masks = network, config, masks
        self.support, self.up = support, up
        self._seek = seek if support is None else None

    @classmethod
    def from_config(
        cls,
        config: SegmentationConfig,
        support: Support | None = None,
        up: np.ndarray | None = None,
        seek_support: bool = True,
    ) -> "NetworkSegmenter":
        """Raises InputError when the weights cannot be loaded."""
        seek = config.support if seek_support else None
        return cls(network_of(config.network), config.network, config.masks, support, up, seek)

    def prepare(self, frames: Sequence[Frame], progress: ProgressCallback = no_progress) -> None:
        """Find the support unless it was given.  Raises InputError where no frame has depth."""
        require_depth(frames, self.name)
        if self._seek is not None:
            self.support = find_support(frames, self.up, self._seek)
        progress("segmentation", 1.0, "ready")

    def segment(self, frame: Frame) -> LabelImage:
        """Label image of one frame; scores are the mean foreground probability."""
        small = limit_size(frame)
        prediction = self.network.predict(small, self.up, plane_of(self.support))
        labels = labels_from_affinities(prediction, self.config, self.masks)
        if small.depth is None or not (small.depth > 0).any():
            labels[:] = UNLABELLED
            return _full_size(labels, frame, {}, (f"Frame '{frame.name}' has no depth to segment.",))
        ids = np.unique(labels[labels >= 1])
        means = ndimage.mean(prediction.foreground, labels, ids) if len(ids) else []
        return _full_size(labels, frame, {int(i): float(m) for i, m in zip(ids, means)}, ())


def require_depth(frames: Sequence[Frame], what: str) -> None:
    """InputError where no frame has any depth."""
    if not any(f.depth is not None and (f.depth > 0).any() for f in frames):
        raise InputError(
            f"The {what} segmenter needs depth: give depth images, or reconstruct the scene first "
            "so that depth can be rendered."
        )


def _full_size(labels: np.ndarray, frame: Frame, scores: dict[int, float], warnings) -> LabelImage:
    labels = resize(labels, frame.camera.width, frame.camera.height, smooth=False)
    return LabelImage(np.ascontiguousarray(labels, dtype=np.int32), scores, warnings)


def labels_from_affinities(prediction: Prediction, config: NetworkConfig, masks: MaskConfig) -> np.ndarray:
    """[H, W] int32: UNLABELLED, or ids 1, 2, … of the objects in one frame."""
    labels = np.full(prediction.foreground.shape, UNLABELLED, dtype=np.int32)
    inside = prediction.foreground > config.min_foreground
    if not inside.any():
        return labels
    regions = small_regions(prediction, inside, config)
    links = affinity_links(regions, prediction.affinities)
    group = join(links, int(regions.max()) + 1, config.max_affinity_cut)
    labels[inside] = 1 + group[regions[inside]]
    return tidy_labels(labels, masks)


def small_regions(prediction: Prediction, inside: np.ndarray, config: NetworkConfig) -> np.ndarray:
    """[H, W] int32: regions of at most about a seed cell's size that respect likely borders, −1 outside.

    A watershed of the short steps' affinities.  Its seeds are the pixels least likely on a border, one for
    each connected area without borders in every cell of a grid, so that thin things get seeds of their own.
    """
    from skimage.segmentation import watershed

    border = _border(prediction.affinities, config)
    rows, columns = np.indices(inside.shape)
    size = config.seed_cell_pixels
    cell = (rows // size) * (-(-inside.shape[1] // size)) + columns // size
    area, count = ndimage.label(inside & (border < config.max_seed_border))
    key = (cell * (count + 1) + area).ravel()
    pick = np.flatnonzero(area.ravel() if count else inside.ravel())
    order = pick[np.lexsort((border.ravel()[pick], key[pick]))]
    first = order[np.r_[True, np.diff(key[order]) > 0]]
    markers = np.zeros(inside.shape, dtype=np.int32)
    markers.ravel()[first] = 1 + np.arange(len(first))
    regions = watershed(border, markers, mask=inside).astype(np.int32) - 1
    lost = inside & (regions < 0)  # pieces without a seed
    pieces, _ = ndimage.label(lost)
    return np.where(lost, regions.max() + pieces, regions)


def _border(affinities: np.ndarray, config: NetworkConfig) -> np.ndarray:
    """[H, W] 0 … 1: how likely a border runs beside the pixel, by the steps of one and three pixels."""
    border = np.zeros(affinities.shape[1:], dtype=np.float32)
    for k, (dy, dx) in enumerate(STEPS[: config.border_steps]):
        cut = (1 - affinities[k]) * (1.0 if dy + dx == 1 else config.far_border_weight)
        border = np.maximum(border, cut)
        if dy:
            border[dy:] = np.maximum(border[dy:], cut[:-dy])
        else:
            border[:, dx:] = np.maximum(border[:, dx:], cut[:, :-dx])
    return ndimage.gaussian_filter(border, config.border_blur_pixels)

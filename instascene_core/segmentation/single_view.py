"""One frame's label image from the network alone."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from instascene_core.config import SegmentationConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.images import resize
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.graph import affinity_links, join
from instascene_core.segmentation.network import STEPS, Prediction, network_of, reduced
from instascene_core.segmentation.segmenter import LabelImage
from instascene_core.segmentation.support import Support, find_support

CELL = 8  # pixels between the seeds of the regions that are joined
CALM = 0.6  # probability of a border below which seeds are set


class NetworkSegmenter:
    """Objects in single frames by foreground and affinities; ids do not agree between frames."""

    name = "network"
    ids_are_global = False

    def __init__(
        self,
        config: SegmentationConfig | None = None,
        support: Support | None = None,
        up: np.ndarray | None = None,
        seek_support: bool = True,
    ) -> None:
        """support: as found before; None = sought in `prepare` if `seek_support`; without one heights
        are unknown.

        Raises InputError when the weights cannot be loaded.
        """
        self.config = config or SegmentationConfig()
        self.support, self.up = support, up
        self._seek_support = support is None and seek_support
        self.network = network_of(self.config)

    def prepare(self, frames: Sequence[Frame], progress: ProgressCallback = no_progress) -> None:
        """Find the support unless it was given.  Raises InputError where no frame has depth."""
        require_depth(frames, "network")
        if self._seek_support:
            self.support = find_support(frames, self.up, self.config)
        progress("segmentation", 1.0, "ready")

    def predict(self, frame: Frame) -> Prediction:
        """What the network says about a frame of the size it works at (`reduced`)."""
        plane = self.support.plane if self.support is not None else None
        return self.network.predict(frame, self.up, plane)

    def segment(self, frame: Frame) -> LabelImage:
        """Label image of one frame; scores are the mean foreground probability."""
        small = reduced(frame)
        prediction = self.predict(small)
        labels = labels_from_affinities(prediction, self.config)
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


def labels_from_affinities(prediction: Prediction, config: SegmentationConfig) -> np.ndarray:
    """[H, W] int32: UNLABELLED, or ids 1, 2, … of the objects in one frame."""
    labels = np.full(prediction.foreground.shape, UNLABELLED, dtype=np.int32)
    inside = prediction.foreground > config.min_foreground
    if not inside.any():
        return labels
    regions = small_regions(prediction, inside)
    links = affinity_links(regions, prediction.affinities)
    group = join(links, int(regions.max()) + 1, config.max_affinity_cut)
    labels[inside] = 1 + group[regions[inside]]
    return without_specks(labels, config.min_mask_pixels)


def small_regions(prediction: Prediction, inside: np.ndarray) -> np.ndarray:
    """[H, W] int32: regions of at most about CELL × CELL pixels that respect likely borders, −1 outside.

    A watershed of the short steps' affinities.  Its seeds are the calmest pixels of every calm area in
    every cell of a grid, so that thin things get seeds of their own.
    """
    from skimage.segmentation import watershed

    border = _border(prediction.affinities)
    rows, columns = np.indices(inside.shape)
    cell = (rows // CELL) * (-(-inside.shape[1] // CELL)) + columns // CELL
    area, count = ndimage.label(inside & (border < CALM))
    key = (cell * (count + 1) + area).ravel()
    pick = np.flatnonzero(area.ravel() if count else inside.ravel())
    order = pick[np.lexsort((border.ravel()[pick], key[pick]))]
    first = order[np.r_[True, np.diff(key[order]) > 0]]
    markers = np.zeros(inside.shape, dtype=np.int32)
    markers.ravel()[first] = 1 + np.arange(len(first))
    regions = watershed(border, markers, mask=inside).astype(np.int32) - 1
    lost = inside & (regions < 0)  # pieces without a calm pixel
    pieces, _ = ndimage.label(lost)
    return np.where(lost, regions.max() + pieces, regions)


def _border(affinities: np.ndarray) -> np.ndarray:
    """[H, W] 0 … 1: how likely a border runs beside the pixel, by the steps of one and three pixels."""
    border = np.zeros(affinities.shape[1:], dtype=np.float32)
    for k, (dy, dx) in enumerate(STEPS[:4]):
        cut = (1 - affinities[k]) * (1.0 if dy + dx == 1 else 0.15)
        border = np.maximum(border, cut)
        if dy:
            border[dy:] = np.maximum(border[dy:], cut[:-dy])
        else:
            border[:, dx:] = np.maximum(border[:, dx:], cut[:, :-dx])
    return ndimage.gaussian_filter(border, 0.5)


def without_specks(labels: np.ndarray, min_pixels: int) -> np.ndarray:
    """Close one-pixel holes and drop connected pieces below `min_pixels`."""
    if not (labels >= 1).any():
        return labels
    nearest = ndimage.distance_transform_edt(labels < 1, return_distances=True, return_indices=True)
    near = nearest[0] <= 1.5
    surrounded = ndimage.uniform_filter((labels >= 1).astype(np.float32), 3) > 0.6
    labels = np.where(near & surrounded, labels[tuple(nearest[1])], labels)
    result = labels.copy()
    for label, window in enumerate(ndimage.find_objects(np.maximum(labels, 0)), start=1):
        if window is None:
            continue
        pieces, count = ndimage.label(labels[window] == label)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        sizes[0] = min_pixels
        result[window][(sizes < min_pixels)[pieces]] = UNLABELLED
    return result.astype(np.int32)

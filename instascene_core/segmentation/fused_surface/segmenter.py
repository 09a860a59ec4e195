"""Masks cut in the fused surface and looked up in the views."""

from collections.abc import Sequence

import numpy as np

from instascene_core.config.segmentation import FusedSurfaceConfig, MaskConfig, SupportConfig
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.images import resize
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.borders import BorderRefiner, Way
from instascene_core.segmentation.fused_surface.cutters import CutSurface, Cutter
from instascene_core.segmentation.fused_surface.evidence import from_bytes
from instascene_core.segmentation.fused_surface.lookup import SurfaceLookup
from instascene_core.segmentation.labels import tidy_labels
from instascene_core.segmentation.network import limit_size
from instascene_core.segmentation.segmenter import LabelImage, Segmenter
from instascene_core.segmentation.single_view import require_depth
from instascene_core.segmentation.support import Support, find_support
from instascene_core.threads import side_by_side


class SurfaceSegmenter:
    """Objects on a support, from depth (of a sensor, or rendered from the scene).

    `prepare` fuses the surface of all frames and has the cutter cut it into parts; `segment` looks the
    parts up in a frame and brings their borders to where things end in it.
    """

    needs_depth = True
    side_by_side = True

    def __init__(
        self,
        name: str,
        cutter: Cutter,
        config: FusedSurfaceConfig,
        masks: MaskConfig,
        max_pixels: int,
        *,
        support: Support | None = None,
        up: np.ndarray | None = None,
        seek: SupportConfig | None = None,
        single_view: Segmenter | None = None,
    ) -> None:
        """max_pixels: larger frames are segmented smaller.

        support: as found before; None = found by `prepare`, `up` ([3], away from gravity) helping, if `seek`
        says how.  single_view: segments frames where nothing was prepared; None = such a frame is a
        sequence of its own.
        """
        self.name, self.support = name, support
        self._cutter, self._config, self._masks, self._max_pixels = cutter, config, masks, max_pixels
        self._up, self._single_view = up, single_view
        self._seek = seek if support is None else None
        self._prepared = False
        self._cut: CutSurface | None = None
        self._lookup: SurfaceLookup | None = None
        self._scores: dict[int, float] = {}
        self._borders = BorderRefiner.from_config(config.edges)
        self._way = Way()  # of moving the labels' borders

    @property
    def ids_are_global(self) -> bool:
        return self._prepared

    def prepare(self, frames: Sequence[Frame], progress: ProgressCallback = no_progress) -> None:
        """Find the support (unless it was given), fuse all frames' surface, and cut it into objects.

        Raises InputError where no frame has depth.
        """
        require_depth(frames, self.name)
        if self._seek is not None:
            self.support = find_support(frames, self._up, self._seek)
        small = [limit_size(f, self._max_pixels) for f in frames]
        self._cut = self._cutter.cut(small, self.support, progress)
        if self._cut is not None:
            self._lookup = SurfaceLookup(self._cut.surface, self.support, self._config)
            self._scores = part_scores(self._cut)
            self._way = self._way_to_edges(small, self._cut, self._lookup)
        self._prepared = True
        progress("segmentation", 1.0, f"{max(self._scores, default=0)} parts in the fused surface")

    def segment(self, frame: Frame) -> LabelImage:
        """The objects visible in one frame; ids agree between frames after `prepare`."""
        if not self._prepared:
            return self._segment_alone(frame)
        shape = (frame.camera.height, frame.camera.width)
        nothing = np.full(shape, UNLABELLED, dtype=np.int32)
        if frame.depth is None:
            return LabelImage(nothing, {}, (f"Frame '{frame.name}' has no depth to segment.",))
        if self._cut is None or self._lookup is None:  # every cut surface has a lookup
            return LabelImage(nothing, {}, (f"Nothing stands out from the structure in '{frame.name}'.",))
        small = limit_size(frame, self._max_pixels)
        labels = self._look_up(small, self._cut, self._lookup)
        labels = self._borders.moved(labels, small.rgb, small.depth, self._way)
        labels = tidy_labels(resize(labels, shape[1], shape[0], smooth=False), self._masks)
        present = np.unique(labels[labels >= 1])
        return LabelImage(labels, {int(i): self._scores[int(i)] for i in present})

    def _segment_alone(self, frame: Frame) -> LabelImage:
        if self._single_view is not None:
            return self._single_view.segment(frame)
        alone = SurfaceSegmenter(
            self.name, self._cutter, self._config, self._masks, self._max_pixels,
            support=self.support, up=self._up, seek=self._seek,
        )  # fmt: skip
        alone.prepare([frame])
        return alone.segment(frame)

    def _look_up(self, frame: Frame, cut: CutSurface, lookup: SurfaceLookup) -> np.ndarray:
        """[H, W] int32 labels of a frame at the working size, ≥ 1 or UNLABELLED, as depth has them."""
        foreground = self._foreground(frame, cut)
        element = lookup.find_elements(frame, foreground, decided=True)
        labels = np.where(element >= 0, cut.part[element], UNLABELLED).astype(np.int32)
        return self._cutter.complete(labels, foreground)

    def _way_to_edges(self, frames: Sequence[Frame], cut: CutSurface, lookup: SurfaceLookup) -> Way:
        """How borders of the looked-up labels are best moved, as measured on some frames."""
        with_depth = [frame for frame in frames if frame.depth is not None]
        some = with_depth[:: max(1, len(with_depth) // max(1, self._config.edges.frames))]
        looked_up = side_by_side(lambda frame: self._look_up(frame, cut, lookup), some)
        return self._borders.best_way(list(looked_up), some)

    def _foreground(self, frame: Frame, cut: CutSurface) -> np.ndarray | None:
        """[H, W] probability of being an object, for a frame at the working size; None = geometry decides."""
        known = cut.foreground.get(frame.name)
        if known is not None and known.shape == frame.rgb.shape[:2]:
            return from_bytes(known)
        return self._cutter.foreground(frame, self.support)


def part_scores(cut: CutSurface) -> dict[int, float]:
    """Part → confidence: the overlap with a true object that the cutter expects of it.  Where the cutter does
    not judge, high where the elements were seen often, as one sighting may be an accident."""
    named = cut.part >= 1
    count = np.bincount(cut.part[named])
    if cut.expected_iou is not None:
        total = np.bincount(cut.part[named], cut.expected_iou[named])
        return {int(i): float(total[i] / count[i]) for i in np.flatnonzero(count)}
    views = np.bincount(cut.part[named], cut.surface.views[named].astype(np.float64))
    return {int(i): float(1 - 1 / (1 + views[i] / count[i])) for i in np.flatnonzero(count)}

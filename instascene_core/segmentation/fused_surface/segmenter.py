"""Masks cut in the fused surface and looked up in the views; here by geometry alone."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from instascene_core.config import SegmentationConfig
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.geometry.depth_maps import points_of_depth
from instascene_core.images import resize
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.fused_surface.cutting import cut_surface
from instascene_core.segmentation.fused_surface.surface import FusedSurface, fuse_surface, object_pixels
from instascene_core.segmentation.network import reduced
from instascene_core.segmentation.segmenter import LabelImage
from instascene_core.segmentation.single_view import require_depth, without_specks
from instascene_core.segmentation.support import Support, find_support


class GeometricSegmenter:
    """Objects on a support, from depth and normals (sensor depth, or rendered from the scene).

    `prepare` fuses the surface of all frames and cuts it; `segment` looks the parts up in a frame.
    Without `prepare` a frame is its own sequence: the same steps on what that one view shows.
    """

    name = "geometric"

    def __init__(
        self,
        config: SegmentationConfig | None = None,
        support: Support | None = None,
        up: np.ndarray | None = None,
        seek_support: bool = True,
    ) -> None:
        """support: as found before; None = found here, `up` ([3], away from gravity) helping, unless
        `seek_support` says that there is none."""
        self.config = config or SegmentationConfig()
        self.up = up
        self.support = support
        self.surface: FusedSurface | None = None
        self.parts = np.zeros(0, dtype=np.int32)  # [K] part of every surface element
        self.scores: dict[int, float] = {}
        self._seek_support = support is None and seek_support
        self._prepared = False
        self._tree: cKDTree | None = None

    @property
    def ids_are_global(self) -> bool:
        return self._prepared

    def prepare(self, frames: Sequence[Frame], progress: ProgressCallback = no_progress) -> None:
        """Find the support (unless it was given), fuse all frames' surface, and cut it into objects.

        Raises InputError where no frame has depth.
        """
        require_depth(frames, self.name)
        if self._seek_support:
            self.support = find_support(frames, self.up, self.config)
        small = [reduced(f, self.config.max_pixels) for f in frames]
        self._fit(small, progress)
        self._prepared = True
        progress("segmentation", 1.0, f"{int(self.parts.max(initial=0))} parts in the fused surface")

    def segment(self, frame: Frame) -> LabelImage:
        """The objects visible in one frame; ids agree between frames after `prepare`."""
        if not self._prepared:
            single = type(self)(self.config, self.support, self.up, self._seek_support)
            single.prepare([frame])
            return single.segment(frame)
        shape = (frame.camera.height, frame.camera.width)
        nothing = np.full(shape, UNLABELLED, dtype=np.int32)
        if frame.depth is None:
            return LabelImage(nothing, {}, (f"Frame '{frame.name}' has no depth to segment.",))
        if self.surface is None:
            return LabelImage(nothing, {}, (f"Nothing stands out from the structure in '{frame.name}'.",))
        small = reduced(frame, self.config.max_pixels)
        element = self.elements_of(small)
        labels = np.where(element >= 0, self.parts[element], UNLABELLED).astype(np.int32)
        labels = self.completed(labels, small)
        labels = resize(labels, shape[1], shape[0], smooth=False)
        labels = without_specks(labels, self.config.min_mask_pixels)
        present = np.unique(labels[labels >= 1])
        return LabelImage(labels, {int(i): self.scores[int(i)] for i in present})

    def elements_of(self, frame: Frame) -> np.ndarray:
        """[H, W] int64: the surface element each pixel of a reduced frame shows, −1 where none."""
        points = points_of_depth(frame.depth, frame.camera)
        world = points.reshape(-1, 3) @ frame.world_from_camera[:3, :3].T + frame.world_from_camera[:3, 3]
        pick = np.flatnonzero(points[..., 2].ravel() > 0)
        foreground = self.foreground_of(frame)
        foreground = None if foreground is None else foreground.ravel()[pick]
        pick = pick[object_pixels(world[pick], self.support, foreground)]
        reach = self.config.lookup_spacings * self.surface.spacing
        distance, nearest = self._tree.query(world[pick], distance_upper_bound=reach)
        found = np.isfinite(distance)
        element = np.full(points.shape[:2], -1, dtype=np.int64)
        element.ravel()[pick[found]] = nearest[found]
        return element

    def completed(self, labels: np.ndarray, frame: Frame) -> np.ndarray:
        """The labels [H, W] of a reduced frame with what the surface misses; geometry knows no more."""
        return labels

    def foreground_of(self, frame: Frame) -> np.ndarray | None:
        """[H, W] probability of being an object; None = geometry decides."""
        return None

    def _fit(self, frames: Sequence[Frame], progress: ProgressCallback) -> None:
        self.surface = fuse_surface(frames, self.support, self.config, None, progress)
        if self.surface is None:
            return
        progress("segmentation", 0.8, f"cutting {len(self.surface.positions)} surface elements")
        self.set_parts(cut_surface(self.surface, self.config))

    def set_parts(self, parts: np.ndarray) -> None:
        """Keep the part [K] of every element; confident when seen often: one sighting may be an accident."""
        self.parts = parts
        self._tree = cKDTree(self.surface.positions)
        named = parts >= 1
        count = np.bincount(parts[named])
        views = np.bincount(parts[named], self.surface.views[named].astype(np.float64))
        self.scores = {int(i): float(1 - 1 / (1 + views[i] / count[i])) for i in np.flatnonzero(count)}

"""The built-in segmenter without weights: the fused surface cut at creases, projected into views."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from instascene_core.config import SegmentationConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.fused import FusedSurface, cut_surface, fuse_surface
from instascene_core.segmentation.points import view_points
from instascene_core.segmentation.segmenter import LabelImage
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
    ) -> None:
        """support: as found before; None = found here, `up` ([3], away from gravity) helping."""
        self.config = config or SegmentationConfig()
        self.up = up
        self.support = support
        self.surface: FusedSurface | None = None
        self.parts = np.zeros(0, dtype=np.int32)  # [K] part of every surface element
        self.scores: dict[int, float] = {}
        self._prepared = False
        self._tree: cKDTree | None = None

    @property
    def ids_are_global(self) -> bool:
        return self._prepared

    def prepare(self, frames: Sequence[Frame], progress: ProgressCallback = no_progress) -> None:
        """Find the support (unless it was given), fuse all frames' surface, and cut it into objects.

        Raises InputError where no frame has depth.
        """
        if not any(f.depth is not None and (f.depth > 0).any() for f in frames):
            raise InputError(
                "The geometric segmenter needs depth: give depth images, or reconstruct the scene first "
                "so that depth can be rendered."
            )
        self._fit(frames, progress)
        self._prepared = True
        progress("segmentation", 1.0, f"{int(self.parts.max(initial=0))} parts in the fused surface")

    def segment(self, frame: Frame) -> LabelImage:
        """The objects visible in one frame; ids agree between frames after `prepare`."""
        if not self._prepared:
            single = GeometricSegmenter(self.config, self.support, self.up)
            single.prepare([frame])
            return single.segment(frame)
        labels = np.full((frame.camera.height, frame.camera.width), UNLABELLED, dtype=np.int32)
        if frame.depth is None:
            return LabelImage(labels, {}, (f"Frame '{frame.name}' has no depth to segment.",))
        if self.surface is None:
            return LabelImage(labels, {}, (f"Nothing stands out from the structure in '{frame.name}'.",))
        points = view_points(frame)
        world = points.reshape(-1, 3) @ frame.world_from_camera[:3, :3].T + frame.world_from_camera[:3, 3]
        pick = np.flatnonzero(points[..., 2].ravel() > 0)
        if self.support is not None:
            pick = pick[self.support.is_object_region(world[pick])]
        reach = self.config.lookup_spacings * self.surface.spacing
        distance, nearest = self._tree.query(world[pick], distance_upper_bound=reach)
        found = np.isfinite(distance)
        labels.ravel()[pick[found]] = self.parts[nearest[found]]
        labels = _without_specks(labels, self.config.min_mask_pixels)
        present = np.unique(labels[labels >= 1])
        return LabelImage(labels, {int(i): self.scores[int(i)] for i in present})

    def _fit(self, frames: Sequence[Frame], progress: ProgressCallback) -> None:
        self.support = self.support or find_support(frames, self.up, self.config)
        self.surface = fuse_surface(frames, self.support, self.config, progress)
        if self.surface is None:
            return
        progress("segmentation", 0.6, f"cutting {len(self.surface.positions)} surface elements")
        self.parts = cut_surface(self.surface, self.config)
        self._tree = cKDTree(self.surface.positions)
        views = self.surface.views.astype(np.float64)
        for part in range(1, int(self.parts.max(initial=0)) + 1):
            # Confident when seen often: one sighting in n views may always be an accident.
            self.scores[part] = float(1 - 1 / (1 + views[self.parts == part].mean()))


def _without_specks(labels: np.ndarray, min_pixels: int) -> np.ndarray:
    """Close one-pixel holes and drop connected pieces below `min_pixels`."""
    if not (labels >= 1).any():
        return labels
    nearest = ndimage.distance_transform_edt(labels < 1, return_distances=True, return_indices=True)
    near = nearest[0] <= 1.5
    surrounded = ndimage.uniform_filter((labels >= 1).astype(np.float32), 3) > 0.6
    labels = np.where(near & surrounded, labels[tuple(nearest[1])], labels)
    # Pieces: connected pixels of one label.
    result = labels.copy()
    for label, window in enumerate(ndimage.find_objects(np.maximum(labels, 0)), start=1):
        if window is None:
            continue
        pieces, count = ndimage.label(labels[window] == label)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        sizes[0] = min_pixels
        result[window][(sizes < min_pixels)[pieces]] = UNLABELLED
    return result.astype(np.int32)

"""The network on points as a cutter of the fused surface, and as a second opinion beside another."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from scipy.spatial import cKDTree

from instascene_core.config.points import PointsConfig
from instascene_core.config.segmentation import FusedSurfaceConfig
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.progress import ProgressCallback
from instascene_core.segmentation.fused_surface.cutters import CutSurface
from instascene_core.segmentation.fused_surface.surface import FusedSurface, fuse_surface
from instascene_core.segmentation.points_network.network import PointsNetwork
from instascene_core.segmentation.points_network.reading import disjoint_labels
from instascene_core.segmentation.points_network.scene_points import cloud_of_surface, near_objects, upright
from instascene_core.segmentation.points_network.segment import segment_points
from instascene_core.segmentation.support import Support


class PointsCutter:
    """Instances of the whole scene at once; no single frame is looked at."""

    def __init__(self, network: PointsNetwork, config: PointsConfig, surface: FusedSurfaceConfig) -> None:
        self._network, self._config, self._surface = network, config, surface

    def cut(
        self, frames: Sequence[Frame], support: Support | None, progress: ProgressCallback
    ) -> CutSurface | None:
        """The surface of all frames with the structure near objects; None where nothing stands out."""
        surface = fuse_surface(frames, None, self._surface, None, progress)
        if surface is None:
            return None
        surface = _elements(surface, near_objects(surface, support, self._config))
        if not len(surface.positions):
            return None
        progress("segmentation", 0.8, f"network on {len(surface.positions)} points")
        up = support.plane.normal if support is not None and support.plane is not None else None
        cloud = upright(cloud_of_surface(surface), up)
        found = segment_points(cloud, self._network, self._config)
        part = disjoint_labels(found, self._surface.min_part_elements)
        scores = np.append(found.scores, 0.0)
        return CutSurface(
            surface, part, expected_iou=np.where(part >= 1, scores[np.maximum(part, 1) - 1], 0.0)
        )

    def foreground(self, frame: Frame, support: Support | None) -> np.ndarray | None:
        """None: geometry decides."""
        return None

    def complete(self, labels: np.ndarray, foreground: np.ndarray | None) -> np.ndarray:
        return labels

    def labels_of(
        self,
        frames: Sequence[Frame],
        support: Support | None,
        positions: np.ndarray,
        progress: ProgressCallback,
    ) -> np.ndarray:
        """[K] int32 instance ≥ 1 at each of the positions [K, 3], UNLABELLED where none is near."""
        cut = self.cut(frames, support, progress)
        if cut is None:
            return np.full(len(positions), UNLABELLED, dtype=np.int32)
        reach = self._surface.lookup_spacings * cut.surface.spacing
        distance, nearest = cKDTree(cut.surface.positions).query(positions, distance_upper_bound=reach)
        near = np.isfinite(distance)
        return np.where(near, cut.part[np.where(near, nearest, 0)], UNLABELLED).astype(np.int32)


def _elements(surface: FusedSurface, kept: np.ndarray) -> FusedSurface:
    columns = [entry.name for entry in fields(surface) if entry.name != "spacing"]
    return replace(surface, **{name: getattr(surface, name)[kept] for name in columns})

"""The points of a fused surface that the network is shown: what may be an object, and what it stands on."""

import numpy as np
from scipy.spatial import cKDTree

from instascene_core.config.points import PointsConfig
from instascene_core.segmentation.fused_surface.surface import FusedSurface
from instascene_core.segmentation.points_network.cloud import PointCloud
from instascene_core.segmentation.support import Support


def cloud_of_surface(surface: FusedSurface) -> PointCloud:
    """All elements as points, their CIE Lab colours as RGB."""
    import cv2

    lab = surface.colors.astype(np.float32).reshape(1, -1, 3)
    rgb = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)[0] if lab.size else np.zeros((0, 3))
    return PointCloud.of_surface(surface.positions, surface.normals, rgb, surface.spacing)


def near_objects(surface: FusedSurface, support: Support | None, config: PointsConfig) -> np.ndarray:
    """[K] bool: elements that geometry does not take for structure, and those within `context` of one.

    All of them where no support is known.
    """
    if support is None:
        return np.ones(len(surface.positions), dtype=bool)
    free = support.is_object_region(surface.positions)
    if not free.any():
        return free
    kept = free.copy()
    structure = np.flatnonzero(~free)
    distance, _ = cKDTree(surface.positions[free]).query(
        surface.positions[structure], distance_upper_bound=config.context_m
    )
    kept[structure[np.isfinite(distance)]] = True
    return kept

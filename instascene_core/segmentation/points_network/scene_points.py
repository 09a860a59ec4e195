"""The points of a fused surface that the network is shown: what may be an object, and what it stands on."""

from dataclasses import replace

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


def upright(cloud: PointCloud, up: np.ndarray | None) -> PointCloud:
    """The cloud turned so that `up` [3] (unit) is z: the network has only seen tables that lie level.

    None, and what is z already, leaves it as it is.
    """
    if up is None or up[2] > 1 - 1e-9:
        return cloud
    side = np.cross([0.0, 0.0, 1.0], up) if up[2] > -1 + 1e-9 else np.array([1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    rotation = np.stack([side, np.cross(up, side), up])  # rows: the new axes
    positions, normals = (
        (values @ rotation.T).astype(np.float32) for values in (cloud.positions, cloud.normals)
    )
    return replace(cloud, positions=positions, normals=normals)


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

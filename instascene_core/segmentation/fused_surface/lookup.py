"""The fused surface found again in a frame: which element each pixel shows."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from instascene_core.config.segmentation import FusedSurfaceConfig
from instascene_core.frame import Frame
from instascene_core.geometry.depth_maps import points_of_depth
from instascene_core.segmentation.fused_surface.surface import FusedSurface, object_pixels
from instascene_core.segmentation.support import Support


class SurfaceLookup:
    """Elements of a surface by the pixels of frames."""

    def __init__(self, surface: FusedSurface, support: Support | None, config: FusedSurfaceConfig) -> None:
        """support: as it was when the surface was fused."""
        self._tree = cKDTree(surface.positions)
        self._spacing = surface.spacing
        self._reach = max(config.lookup_spacings, config.seen_again_spacings) * surface.spacing
        self._support, self._config = support, config

    def find_elements(self, frame: Frame, foreground: np.ndarray | None, decided: bool = False) -> np.ndarray:
        """[H, W] int64: the surface element each pixel shows, −1 where none (everywhere without depth).

        foreground: [H, W] probability of being an object; None = geometry decides.  decided: all views
        together have decided what the elements are; a view that takes one for structure has no veto.
        """
        if frame.depth is None:
            return np.full(frame.rgb.shape[:2], -1, dtype=np.int64)
        points = points_of_depth(frame.depth, frame.camera)
        world = points.reshape(-1, 3) @ frame.world_from_camera[:3, :3].T + frame.world_from_camera[:3, 3]
        pick = np.flatnonzero(points[..., 2].ravel() > 0)
        share = None if foreground is None else foreground.ravel()[pick]
        told = object_pixels(world[pick], self._support, share, self._config)
        again = self._config.seen_again_spacings if decided else 0.0
        reach = np.where(told, self._config.lookup_spacings, again) * self._spacing
        near = told | (object_pixels(world[pick], self._support, None, self._config) & decided)
        pick, reach = pick[near], reach[near]
        distance, nearest = self._tree.query(world[pick], distance_upper_bound=self._reach)
        found = distance <= reach
        element = np.full(points.shape[:2], -1, dtype=np.int64)
        element.ravel()[pick[found]] = nearest[found]
        return element


def fill_foreground(
    labels: np.ndarray, foreground: np.ndarray, min_foreground: float, fill_pixels: float
) -> np.ndarray:
    """[H, W] labels ([H, W], ids ≥ 1) to which the foreground within `fill_pixels` of a mask is added.

    Along depth's edges and in its holes the surface has no elements.  foreground: [H, W] probability.
    """
    distance, nearest = ndimage.distance_transform_edt(labels < 1, return_indices=True)
    near = (distance <= fill_pixels) & (foreground > min_foreground)
    return np.where(near, labels[tuple(nearest)], labels)

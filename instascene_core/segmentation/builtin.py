"""The built-in segmenter: the network's evidence of all views gathered on the fused surface.

One view's mistake is random or it is not; a seam between two identical boxes is plain from the side
and invisible from the front.  So the network looks at every view, its affinities are collected on
pairs of surface patches, and few views that see a seam well outvote many that do not.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from instascene_core.config import SegmentationConfig
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback
from instascene_core.segmentation.cutting import grow_patches, neighbour_pairs, patch_contacts, tidy_parts
from instascene_core.segmentation.fused import FusedSurface, fuse_surface
from instascene_core.segmentation.geometric import GeometricSegmenter
from instascene_core.segmentation.graph import Links, affinity_links, join
from instascene_core.segmentation.network import STEPS, Prediction, network_of
from instascene_core.segmentation.segmenter import LabelImage
from instascene_core.segmentation.single_view import NetworkSegmenter
from instascene_core.segmentation.support import Support

SHORT = 4  # of the steps: those short enough to say where exactly a border runs


class BuiltinSegmenter(GeometricSegmenter):
    """Objects by colour, depth and normals; on the fused surface once prepared, else view by view."""

    name = "builtin"

    def __init__(
        self,
        config: SegmentationConfig | None = None,
        support: Support | None = None,
        up: np.ndarray | None = None,
        seek_support: bool = True,
    ) -> None:
        """As of GeometricSegmenter.  Raises InputError when the weights cannot be loaded."""
        super().__init__(config, support, up, seek_support)
        self.network = network_of(self.config)
        self._foreground: dict[str, np.ndarray] = {}  # frame name → [H, W] uint8

    def segment(self, frame: Frame) -> LabelImage:
        """The objects visible in one frame; ids agree between frames after `prepare`."""
        if not self._prepared:
            return NetworkSegmenter(self.config, self.support, self.up).segment(frame)
        return super().segment(frame)

    def predict(self, frame: Frame) -> Prediction:
        plane = self.support.plane if self.support is not None else None
        return self.network.predict(frame, self.up, plane)

    def foreground_of(self, frame: Frame) -> np.ndarray:
        known = self._foreground.get(frame.name)
        if known is not None and known.shape == frame.rgb.shape[:2]:
            return known.astype(np.float32) / 255
        return self.predict(frame).foreground

    def completed(self, labels: np.ndarray, frame: Frame) -> np.ndarray:
        """Foreground pixels beside a mask join it: depth's edges and holes have no surface elements."""
        distance, nearest = ndimage.distance_transform_edt(labels < 1, return_indices=True)
        near = (distance <= self.config.fill_pixels) & (
            self.foreground_of(frame) > self.config.min_foreground
        )
        return np.where(near, labels[tuple(nearest)], labels)

    def _fit(self, frames: Sequence[Frame], progress: ProgressCallback) -> None:
        affinities = []
        for index, frame in enumerate(frames):
            progress("segmentation", 0.5 * index / len(frames), f"network on {frame.name}")
            prediction = self.predict(frame)
            self._foreground[frame.name] = np.round(prediction.foreground * 255).astype(np.uint8)
            affinities.append(np.round(prediction.affinities * 255).astype(np.uint8))
        foreground = [self.foreground_of(frame) for frame in frames]
        surface = fuse_surface(frames, self.support, self.config, foreground, progress)
        self.surface = None if surface is None else _objects(surface, self.config)
        if self.surface is None:
            return
        self._tree = cKDTree(self.surface.positions)
        pairs = neighbour_pairs(self.surface)
        elements = [self.elements_of(frame) for frame in frames]
        trust = [self._facing(frame)[element] for frame, element in zip(frames, elements)]
        views = list(zip(elements, affinities, trust))
        border = border_between(pairs, views)
        patch = grow_patches(self.surface, pairs, self.config, border)
        progress("segmentation", 0.8, f"joining {int(patch.max()) + 1} patches")
        contacts = patch_contacts(self.surface, pairs, patch, self.config)
        seen = [
            affinity_links(np.where(element >= 0, patch[element], -1), probabilities(affinity), weight)
            for element, affinity, weight in views
        ]
        links = combined(contacts, seen, int(patch.max()) + 1, self.config)
        part = join(links, int(patch.max()) + 1, self.config.max_affinity_cut)[patch]
        self.set_parts(tidy_parts(self.surface, pairs, part, self.config))

    def _facing(self, frame: Frame) -> np.ndarray:
        """[K] cosine at which the frame's camera sees each element, at least 0.05."""
        toward = frame.world_from_camera[:3, 3] - self.surface.positions
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        return np.clip((toward * self.surface.normals).sum(axis=1), 0.05, 1.0)


def probabilities(stored: np.ndarray) -> np.ndarray:
    """float32 in [0, 1] from uint8."""
    return stored.astype(np.float32) / 255


def border_between(pairs: np.ndarray, views) -> np.ndarray:
    """[P] 0 … 1: mean over the views of 1 − affinity between two neighbouring elements; 0 where unseen.

    pairs: [P, 2].  views: (elements [H, W], affinities [len(STEPS), H, W] uint8, trust [H, W]) each.
    """
    size = int(pairs.max(initial=0)) + 1
    wanted = pairs.min(axis=1).astype(np.int64) * size + pairs.max(axis=1)
    order = np.argsort(wanted)
    total, cut = np.zeros(len(pairs)), np.zeros(len(pairs))
    for element, affinity, trust in views:
        links = affinity_links(element, probabilities(affinity[:SHORT]), trust, STEPS[:SHORT])
        keys = links.first * size + links.second
        at = np.searchsorted(wanted, keys, sorter=order)
        at = order[np.minimum(at, len(order) - 1)]
        hit = wanted[at] == keys
        total[at[hit]] += links.weight[hit]
        cut[at[hit]] += (links.weight * links.cut)[hit]
    return cut / np.maximum(total, 1e-9)


def _objects(surface: FusedSurface, config: SegmentationConfig) -> FusedSurface | None:
    """The elements that are more likely object than structure."""
    keep = surface.foreground > config.min_surface_foreground
    if keep.sum() < config.min_part_elements:
        return None
    return replace(
        surface,
        **{
            name: getattr(surface, name)[keep]
            for name in ("positions", "normals", "colors", "views", "foreground")
        },
    )


def combined(contacts: Links, seen: Sequence[Links], count: int, config: SegmentationConfig) -> Links:
    """One link per pair of patches: the views' evidence, and geometry at the contacts.

    Over the views the cut is the weighted quantile `view_quantile`: a split seen well in some views
    counts though the others see one object.  Patches that do not touch have a say as well, less by
    `apart_weight`.
    """
    keys = np.concatenate([links.first * count + links.second for links in seen] or [np.zeros(0, np.int64)])
    weight = np.concatenate([links.weight for links in seen] or [np.zeros(0)])
    cut = np.concatenate([links.cut for links in seen] or [np.zeros(0)])
    pairs, cut, weight = _quantile_by_key(keys, cut, weight, config.view_quantile)
    contact = contacts.first * count + contacts.second
    every = np.union1d(pairs, contact)
    net_weight, net_cut, own_weight, own_cut = (np.zeros(len(every)) for _ in range(4))
    at = np.searchsorted(every, pairs)
    net_weight[at], net_cut[at] = weight, cut
    at = np.searchsorted(every, contact)
    own_weight[at] = contacts.weight
    # Geometry's own threshold is moved to the network's.
    scale = config.max_affinity_cut / config.max_cut
    own_cut[at] = np.minimum(contacts.cut * scale, 1.0)
    touching = own_weight > 0
    net_weight = np.where(touching, np.minimum(net_weight, config.max_view_weight * own_weight), net_weight)
    net_weight = np.where(touching, net_weight, np.minimum(net_weight, 30.0) * config.apart_weight)
    own_weight = own_weight * config.geometry_weight
    total = np.maximum(net_weight + own_weight, 1e-9)
    mixed = (net_weight * net_cut + own_weight * own_cut) / total
    return Links(every // max(count, 1), every % max(count, 1), total, mixed, touching)


def _quantile_by_key(
    keys: np.ndarray, values: np.ndarray, weights: np.ndarray, quantile: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(distinct keys, weighted quantile of their values, mean of their weights)."""
    order = np.lexsort((values, keys))
    keys, values, weights = keys[order], values[order], weights[order]
    distinct, start, count = np.unique(keys, return_index=True, return_counts=True)
    if not len(distinct):
        return distinct, np.zeros(0), np.zeros(0)
    running = np.cumsum(weights)
    total = np.add.reduceat(weights, start)
    before = running[start] - weights[start]
    target = before + quantile * total
    # The first entry of each key at which the running weight reaches the target.
    at = np.searchsorted(running, target)
    at = np.clip(at, start, start + count - 1)
    return distinct, values[at], total / count

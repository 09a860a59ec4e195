"""The built-in segmenter: the network's evidence of all views gathered on the fused surface.

One view's mistake is random or it is not; a seam between two identical boxes is plain from the side
and invisible from the front.  So the network looks at every view, its affinities are collected on
pairs of surface patches, and with the shape and colours of both they decide which patches are one object.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from instascene_core.config import SegmentationConfig
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback
from instascene_core.segmentation.fused_surface.contacts import (
    ContactModel,
    Pairs,
    gather,
    load_contact_model,
)
from instascene_core.segmentation.fused_surface.cutting import (
    grow_patches,
    neighbour_pairs,
    patch_contacts,
    tidy_parts,
)
from instascene_core.segmentation.fused_surface.segmenter import GeometricSegmenter
from instascene_core.segmentation.fused_surface.surface import FusedSurface, fuse_surface
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
        self.contacts = self._contact_model()
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
        evidence = gather(self.surface, pairs, patch, border, contacts, seen)
        part = join(self.judged(evidence, patch), int(patch.max()) + 1, max_cut=0.5)[patch]
        self.set_parts(tidy_parts(self.surface, pairs, part, self.config))

    def judged(self, evidence: Pairs, patch: np.ndarray) -> Links:
        """One link a pair of patches: the probability that they are two objects.

        patch: [K] of every element.  A contact weighs by its length.  Patches that do not touch have a say
        as well: what the views show of them, less by `apart_weight`.
        """
        config = self.config
        odds = self.contacts.log_odds(evidence.features) + config.contact_log_odds
        apart = config.apart_weight * np.minimum(evidence.seen, config.max_apart)
        weight = np.where(evidence.touching, evidence.contact, np.maximum(apart, 1e-9))
        cut = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
        return Links(evidence.first, evidence.second, weight, cut, evidence.touching)

    def _contact_model(self) -> ContactModel:
        own = self.config.contact_weights
        return load_contact_model(Path(own)) if own else load_contact_model()

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

"""Two ways to cut the fused surface into objects: by its shape alone, or by the network's evidence."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from instascene_core.config.segmentation import (
    EvidenceConfig,
    FusedSurfaceConfig,
    GivenMasksConfig,
    NetworkConfig,
    SecondOpinionConfig,
)
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback
from instascene_core.segmentation.fused_surface.contacts import ContactModel, PatchPairs
from instascene_core.segmentation.fused_surface.cutting import cut_surface, tidy_objects
from instascene_core.segmentation.fused_surface.evidence import Evidence, collect_evidence
from instascene_core.segmentation.fused_surface.lookup import fill_foreground
from instascene_core.segmentation.fused_surface.mask_votes import combine, votes_of_masks
from instascene_core.segmentation.fused_surface.nodes import describe_nodes
from instascene_core.segmentation.fused_surface.objectness import ObjectnessModel, choose_nodes, parts_of
from instascene_core.segmentation.fused_surface.surface import FusedSurface, fuse_surface
from instascene_core.segmentation.fused_surface.tree import merge_tree
from instascene_core.segmentation.graph import Links, join
from instascene_core.segmentation.network import FrameNetwork
from instascene_core.segmentation.support import Support, plane_of


@dataclass(frozen=True)
class CutSurface:
    """A fused surface cut into parts, each an object."""

    surface: FusedSurface  # K elements
    part: np.ndarray  # [K] int32 part of every element, ≥ 1, or −1
    # Frame name → [H, W] uint8 probability of being an object, in 1/255, where the cutter knows it
    foreground: dict[str, np.ndarray] = field(default_factory=dict)
    # [K] 0 … 1, the overlap (IoU) that each element's part is expected to have with a true object; None where
    # the cutter does not judge its parts
    expected_iou: np.ndarray | None = None


class Cutter(Protocol):
    """What decides which elements of the surface are one object.  Frames are at the working size."""

    def cut(
        self, frames: Sequence[Frame], support: Support | None, progress: ProgressCallback
    ) -> CutSurface | None:
        """Fuse the surface that the frames show and cut it; None where nothing stands out."""
        ...

    def foreground(self, frame: Frame, support: Support | None) -> np.ndarray | None:
        """[H, W] probability of being an object; None = geometry decides."""
        ...

    def complete(self, labels: np.ndarray, foreground: np.ndarray | None) -> np.ndarray:
        """The labels [H, W] of a frame with what the surface misses; foreground: as of `foreground`."""
        ...


class SecondOpinion(Protocol):
    """Who else tells instances of the whole scene apart, and is heard beside the network's evidence."""

    def labels_of(
        self,
        frames: Sequence[Frame],
        support: Support | None,
        positions: np.ndarray,
        progress: ProgressCallback,
    ) -> np.ndarray:
        """[K] int32 instance ≥ 1 at each of the positions [K, 3], world, metres; UNLABELLED where none."""
        ...


class GeometricCutter:
    """Cuts by depth and normals alone; no frame tells more than the surface."""

    def __init__(self, config: FusedSurfaceConfig) -> None:
        self._config = config

    def cut(
        self, frames: Sequence[Frame], support: Support | None, progress: ProgressCallback
    ) -> CutSurface | None:
        surface = fuse_surface(frames, support, self._config, None, progress)
        if surface is None:
            return None
        progress("segmentation", 0.8, f"cutting {len(surface.positions)} surface elements")
        return CutSurface(surface, cut_surface(surface, self._config))

    def foreground(self, frame: Frame, support: Support | None) -> np.ndarray | None:
        return None

    def complete(self, labels: np.ndarray, foreground: np.ndarray | None) -> np.ndarray:
        return labels


class NetworkCutter:
    """Cuts by what the network says in all views, weighed together with the shape by a contact model."""

    def __init__(
        self,
        network: FrameNetwork,
        contact_model: ContactModel,
        objectness: ObjectnessModel,
        config: FusedSurfaceConfig,
        network_config: NetworkConfig,
        up: np.ndarray | None = None,
        given: GivenMasksConfig | None = None,
        second: SecondOpinion | None = None,
    ) -> None:
        """up: [3] away from gravity where it is known.  given: how the label images of the frames that have
        some count; None = not at all.  second: whose instances are votes beside this evidence; not with
        `given`, where the masks decide."""
        self._network, self._contact_model, self._up = network, contact_model, up
        self._objectness = objectness
        self._config, self._network_config, self._given = config, network_config, given
        self._second = second

    def cut(
        self, frames: Sequence[Frame], support: Support | None, progress: ProgressCallback
    ) -> CutSurface | None:
        config = self._config
        masks = [frame.labels for frame in frames] if self._given is not None else []
        steps = self._network_config.border_steps
        evidence = collect_evidence(frames, self._network, support, self._up, config, steps, progress, masks)
        if evidence is None:
            return None
        opinion = None
        if self._second is not None:
            opinion = self._second.labels_of(frames, support, evidence.surface.positions, progress)
        part, expected_iou = self._objects_among(evidence, masks, support, opinion)
        part = tidy_objects(evidence.neighbours, part, config.min_part_elements)
        return CutSurface(evidence.surface, part, evidence.foreground, expected_iou)

    def _objects_among(
        self,
        evidence: Evidence,
        masks: Sequence[np.ndarray | None],
        support: Support | None,
        opinion: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """[K] part of every element, ≥ 0, or −1 where it is of no object; and `CutSurface.expected_iou`.

        opinion: [K] instances of a second opinion, or None.
        """
        config, pairs = self._config.evidence, evidence.pairs
        count = int(evidence.patch.max()) + 1
        odds = self._contact_model.log_odds(pairs.features) + config.contact_log_odds
        if self._given is not None:
            # Whoever drew the masks has decided what an object is; it remains to tell which patches are one.
            votes = votes_of_masks(masks, evidence.elements, evidence.patch, pairs, self._given)
            least = np.where(votes.heard, self._given.apart_weight, 0.0)
            links = links_of_pairs(pairs, combine(odds, votes, pairs, self._given), config, least)
            return join(links, count, config.max_evidence_cut)[evidence.patch], None
        if opinion is not None:
            odds = odds + opinion_log_odds(opinion, evidence.patch, pairs, config.second)
        links = links_of_pairs(pairs, odds, config)
        if config.choice == "threshold":
            return join(links, count, config.max_evidence_cut)[evidence.patch], None
        tree = merge_tree(links, count)
        nodes = describe_nodes(
            evidence.surface, evidence.patch, pairs, links, tree, evidence.border_share, support,
            min_elements=self._config.min_part_elements, min_parent_cut=config.min_parent_cut,
        )  # fmt: skip
        expected = self._objectness.expected_iou(nodes.features)
        chosen = choose_nodes(tree, nodes, expected, config.false_cost)
        part = parts_of(tree, chosen)[evidence.patch]
        judged = np.zeros(tree.size)
        judged[nodes.index] = expected
        return part, np.where(part >= 0, np.append(judged[chosen], 0.0)[part], 0.0)

    def foreground(self, frame: Frame, support: Support | None) -> np.ndarray | None:
        return self._network.predict(frame, self._up, plane_of(support)).foreground

    def complete(self, labels: np.ndarray, foreground: np.ndarray | None) -> np.ndarray:
        assert foreground is not None  # the network says one for every frame
        least = self._network_config.min_foreground
        return fill_foreground(labels, foreground, least, self._config.evidence.fill_pixels)


def opinion_log_odds(
    opinion: np.ndarray, patch: np.ndarray, pairs: PatchPairs, config: SecondOpinionConfig
) -> np.ndarray:
    """[C] what instances [K] of the elements add to the log odds that two patches are two objects.

    A patch is of an instance that has most of its elements by a clear share; without one it is silent.
    """
    count = int(patch.max()) + 1
    label = np.maximum(opinion, 0)
    table = np.bincount(patch * (int(label.max()) + 1) + label, minlength=count * (int(label.max()) + 1))
    table = table.reshape(count, -1)
    clear = table.max(axis=1) >= config.min_share * table.sum(axis=1)
    instance = np.where(clear, table.argmax(axis=1), 0)  # 0 = silent
    first, second = instance[pairs.first], instance[pairs.second]
    said = np.where(first == second, -config.same_log_odds, config.different_log_odds)
    return np.where((first > 0) & (second > 0), said, 0.0)


def links_of_pairs(
    pairs: PatchPairs, odds: np.ndarray, config: EvidenceConfig, least_apart: np.ndarray | float = 0.0
) -> Links:
    """One link a pair of patches: the probability that they are two objects, of log odds [C].

    A contact weighs by its length.  Patches that do not touch have a say as well: what the views show of
    them, less by `apart_weight`, or `least_apart` [C] where that is more.
    """
    apart = np.maximum(config.apart_weight * np.minimum(pairs.seen, config.max_apart), least_apart)
    weight = np.where(pairs.touching, pairs.contact, np.maximum(apart, 1e-9))
    cut = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
    return Links(pairs.first, pairs.second, weight, cut, pairs.touching)

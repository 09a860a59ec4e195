"""The network's evidence of all views, gathered on patches of the fused surface.

One view's mistake is random or it is not; a seam between two identical boxes is plain from the side
and invisible from the front.  So the network looks at every view, and its affinities are collected on
pairs of surface patches, with the shape and colours of both.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from instascene_core.config.segmentation import FusedSurfaceConfig
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback
from instascene_core.segmentation.fused_surface.contacts import PatchPairs, describe_pairs
from instascene_core.segmentation.fused_surface.cutting import grow_patches, neighbour_pairs, patch_contacts
from instascene_core.segmentation.fused_surface.lookup import SurfaceLookup
from instascene_core.segmentation.fused_surface.surface import FusedSurface, fuse_surface
from instascene_core.segmentation.graph import Links, affinity_links
from instascene_core.segmentation.network import STEPS, FrameNetwork
from instascene_core.segmentation.support import Support, plane_of
from instascene_core.threads import side_by_side
from instascene_core.transforms import dots, lengths


@dataclass(frozen=True)
class Evidence:
    """Patches of the surface that may be objects, and what is known of each pair of them."""

    surface: FusedSurface  # K elements
    neighbours: np.ndarray  # [P, 2] elements that touch
    patch: np.ndarray  # [K] int64 patch of every element
    pairs: PatchPairs
    elements: tuple[np.ndarray, ...]  # per frame [H, W] int64: element each pixel shows, −1 where none
    foreground: dict[str, np.ndarray]  # frame name → [H, W] uint8 probability of being an object, in 1/255
    border_share: np.ndarray  # [K] float64: share of an element's sightings at the border of the image


@dataclass(frozen=True)
class ViewOfSurface:
    """What one view shows of the surface and what the network says about it."""

    elements: np.ndarray  # [H, W] int64 element of each pixel, −1 where none
    affinities: np.ndarray  # [len(STEPS), H, W] uint8 probability of one object, in 1/255
    trust: np.ndarray  # [H, W] weight of each pixel


def collect_evidence(
    frames: Sequence[Frame],
    network: FrameNetwork,
    support: Support | None,
    up: np.ndarray | None,
    config: FusedSurfaceConfig,
    border_steps: int,
    progress: ProgressCallback,
    masks: Sequence[np.ndarray | None] = (),
) -> Evidence | None:
    """The evidence of frames of the size the network works at; None where they show no objects.

    up: [3] away from gravity where it is known.  border_steps: see `NetworkConfig`.  masks: a frame's
    [H, W] label image, or None; patches do not reach over borders on which those of several frames agree.
    """
    foreground, affinities = {}, []
    with closing(network.predict_all(frames, up, plane_of(support))) as predictions:
        for index, (frame, prediction) in enumerate(zip(frames, predictions)):
            progress("segmentation", 0.5 * index / len(frames), f"network on {frame.name}")
            foreground[frame.name] = to_bytes(prediction.foreground)
            affinities.append(to_bytes(prediction.affinities))
    shares = [from_bytes(foreground[frame.name]) for frame in frames]
    surface = fuse_surface(frames, support, config, shares, progress)
    surface = None if surface is None else _objects_of(surface, config)
    if surface is None:
        return None
    neighbours = neighbour_pairs(surface, config.patches)
    lookup = SurfaceLookup(surface, support, config)
    given = list(zip(frames, shares))
    elements = tuple(side_by_side(lambda pair: lookup.find_elements(*pair), given))
    least = config.evidence.min_facing
    trust = [_facing(surface, frame, least)[element] for frame, element in zip(frames, elements)]
    views = [ViewOfSurface(*view) for view in zip(elements, affinities, trust)]
    border = border_between(neighbours, views, border_steps)
    drawn = np.maximum(border, border_of_masks(neighbours, elements, masks))
    patch = grow_patches(surface, neighbours, config.patches, drawn)
    progress("segmentation", 0.8, f"joining {int(patch.max()) + 1} patches")
    contacts = patch_contacts(surface, neighbours, patch, config.creases)
    seen = list(side_by_side(lambda view: _links_of_patches(view, patch), views))
    pairs = describe_pairs(surface, neighbours, patch, border, contacts, seen)
    border_share = _share_at_border(elements, len(surface.positions), config.evidence.image_border_pixels)
    return Evidence(surface, neighbours, patch, pairs, elements, foreground, border_share)


def to_bytes(probabilities: np.ndarray) -> np.ndarray:
    """uint8 in 1/255 from [0, 1]: many views are held at once."""
    return np.round(probabilities * 255).astype(np.uint8)


def from_bytes(stored: np.ndarray) -> np.ndarray:
    """float32 in [0, 1] from uint8 in 1/255."""
    return stored.astype(np.float32) / 255


def border_between(neighbours: np.ndarray, views: Sequence[ViewOfSurface], border_steps: int) -> np.ndarray:
    """[P] 0 … 1: mean over the views of 1 − affinity between two neighbouring elements; 0 where unseen.

    neighbours: [P, 2] elements.  border_steps: of the network's steps, as many count.
    """
    size = int(neighbours.max(initial=0)) + 1
    wanted = neighbours.min(axis=1).astype(np.int64) * size + neighbours.max(axis=1)
    order = np.argsort(wanted)
    total, cut = np.zeros(len(neighbours)), np.zeros(len(neighbours))

    def links_of(view: ViewOfSurface) -> Links:
        affinities = from_bytes(view.affinities[:border_steps])
        return affinity_links(view.elements, affinities, view.trust, STEPS[:border_steps])

    for links in side_by_side(links_of, views):
        keys = links.first * size + links.second
        at = np.searchsorted(wanted, keys, sorter=order)
        at = order[np.minimum(at, len(order) - 1)]
        hit = wanted[at] == keys
        total[at[hit]] += links.weight[hit]
        cut[at[hit]] += (links.weight * links.cut)[hit]
    return cut / np.maximum(total, 1e-9)


def border_of_masks(
    neighbours: np.ndarray, elements: Sequence[np.ndarray], masks: Sequence[np.ndarray | None]
) -> np.ndarray:
    """[P] 0 … 1: share of the frames, of those with both of two neighbouring elements in masks, that have
    them in different ones; 0 where there is none.

    neighbours: [P, 2] elements; elements: per frame [H, W] element each pixel shows, −1 where none; masks: of
    the same frames, or none at all.
    """
    size = int(neighbours.max(initial=0)) + 1
    apart, seen = np.zeros(len(neighbours)), np.zeros(len(neighbours))
    for element, mask in zip(elements, masks or [None] * len(elements), strict=True):
        if mask is None:
            continue
        label = np.zeros(size, dtype=np.int64)
        shown = (element >= 0) & (element < size) & (mask > 0)
        label[element[shown]] = mask[shown]
        first, second = label[neighbours].T
        both = (first > 0) & (second > 0)
        seen += both
        apart += both & (first != second)
    return apart / np.maximum(seen, 1)


def _links_of_patches(view: ViewOfSurface, patch: np.ndarray) -> Links:
    regions = np.where(view.elements >= 0, patch[view.elements], -1)
    return affinity_links(regions, from_bytes(view.affinities), view.trust)


def _share_at_border(elements: Sequence[np.ndarray], count: int, width: int) -> np.ndarray:
    """[count] of each element's pixels, the share within `width` of the border of their image."""
    total, cut = np.zeros(count), np.zeros(count)
    for image in elements:
        inner = np.zeros(image.shape, dtype=bool)
        inner[width:-width, width:-width] = True
        total += np.bincount(image[image >= 0], minlength=count)
        cut += np.bincount(image[(image >= 0) & ~inner], minlength=count)
    return cut / np.maximum(total, 1)


def _facing(surface: FusedSurface, frame: Frame, least: float) -> np.ndarray:
    """[K] cosine at which the frame's camera sees each element, at least `least`."""
    toward = frame.world_from_camera[:3, 3] - surface.positions
    toward /= lengths(toward)[:, None]
    return np.clip(dots(toward, surface.normals), least, 1.0)


def _objects_of(surface: FusedSurface, config: FusedSurfaceConfig) -> FusedSurface | None:
    """The elements that are more likely object than structure; None where they are too few."""
    keep = surface.foreground > config.evidence.min_surface_foreground
    if keep.sum() < config.min_part_elements:
        return None
    return replace(
        surface,
        **{
            name: getattr(surface, name)[keep]
            for name in ("positions", "normals", "colors", "views", "foreground")
        },
    )

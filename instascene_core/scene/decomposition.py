"""Masks of single views become instances of the scene (InstaScene sections 3.1 and 3.2).

Composes the rooms association and features, which do not know each other.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instascene_core import association, features
from instascene_core.config import Config
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.images import resize
from instascene_core.instances import Instance, InstanceMap
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.rendering import PixelTrace, evaluate_sh, trace
from instascene_core.segmentation import Support

MIN_TRACE_WEIGHT = 0.02  # blending weight below which an entry of a trace is not kept


def decompose(
    views: Sequence[Frame],
    masks: Sequence[np.ndarray],
    gaussians: GaussianModel,
    support: Support | None,
    config: Config,
    previous: np.ndarray | None = None,
    progress: ProgressCallback = no_progress,
    first_free_id: int = 1,
) -> InstanceMap:
    """Instances from one label image a view.

    masks: per view [H, W] int32, ids need not agree between views.  previous: [N] int32 ids the same
    Gaussians had before, so that instances keep theirs; new ones get ids from `first_free_id` on.
    """
    means = gaussians.means.detach().numpy()
    # 1. Tracer: the Gaussians behind each pixel, at a resolution that bounds time and memory.
    traces = trace_views(views, gaussians, config.association.max_trace_pixels, progress)
    small_masks = [resize(m, t.width, t.height, smooth=False) for m, t in zip(masks, traces)]
    # 2. Mask clustering: reliable 3D instances and the masks that agree with them.
    result = association.associate(small_masks, traces, means, config.association, progress)
    # 3. What no mask claims is structure: the support plane, and the background behind it.
    structure = structure_clusters(small_masks, traces, means, result.gaussian_clusters, support, config)
    clusters = [c.gaussians for c in result.clusters] + [gaussian_ids for _, gaussian_ids in structure]
    kind_index = _index_of_gaussian(clusters, len(result.clusters), len(means))
    labels = _with_structure(result.filtered_labels, small_masks, traces, kind_index)
    if not config.features.filtered_masks:
        labels = small_masks
    # 4. Contrastive features, from filtered 2D masks and 3D instances together.
    field = features.train_features(
        traces, labels, clusters, len(means), config.features, config.features.seed, progress
    )
    # 5. Instances at τ, then ids that stay from one update to the next.
    index = features.assign(field, clusters, means, config.features)
    old = np.full(len(means), UNLABELLED, dtype=np.int32) if previous is None else previous
    if config.features.keep_votes:
        # What the masks of all views have decided stays; features decide on what they do not see.
        index[result.refused & (index < len(result.clusters))] = UNLABELLED
        index = np.where(result.gaussian_clusters >= 0, result.gaussian_clusters, index).astype(np.int32)
    for number, (_, gaussian_ids) in enumerate(structure, len(result.clusters)):
        # No mask speaks against these; where their feature does not say otherwise they stay structure.
        open_ids = gaussian_ids[index[gaussian_ids] < 0]
        index[open_ids] = number
    ids = features.stable_ids(index, old, len(clusters), config.features.min_id_overlap, first_free_id)
    gaussian_labels = np.where(index >= 0, ids[index], UNLABELLED).astype(np.int32)
    kinds = ["object"] * len(result.clusters) + [kind for kind, _ in structure]
    num_views = [c.num_views for c in result.clusters] + [len(views)] * len(structure)
    agreement = [c.agreement for c in result.clusters] + [1.0] * len(structure)
    instances = tuple(
        _instance(ids[i], kinds[i], gaussian_labels, means, field, clusters[i], num_views[i], agreement[i])
        for i in range(len(clusters))
    )
    gaussians.features = _as_tensor(field, gaussians)
    images = label_images(views, gaussians, gaussian_labels, progress)
    return InstanceMap(instances, gaussian_labels, images, support.plane if support else None)


def trace_views(
    views: Sequence[Frame],
    gaussians: GaussianModel,
    max_pixels: int,
    progress: ProgressCallback = no_progress,
) -> list[PixelTrace]:
    """`trace()` of each view, its image made smaller than `max_pixels` where it is larger.

    Memory: 8 bytes an entry, at most 1 / MIN_TRACE_WEIGHT entries a pixel, and 4 to 8 on scenes as
    trained: 60 views of 320×240 take about 0.2 GB, whatever the size of the images.
    """
    traces = []
    for index, view in enumerate(views):
        progress("trace", index / len(views), view.name)
        factor = min(1.0, (max_pixels / (view.camera.width * view.camera.height)) ** 0.5)
        camera = view.camera.scaled(factor)
        full = trace(gaussians, camera, view.world_from_camera, weight_min=MIN_TRACE_WEIGHT)
        half = {name: getattr(full, name).astype(np.float16) for name in ("weights", "transmittance")}
        traces.append(replace(full, **half))
    return traces


def structure_clusters(
    masks: Sequence[np.ndarray],
    traces: Sequence[PixelTrace],
    means: np.ndarray,
    gaussian_clusters: np.ndarray,
    support: Support | None,
    config: Config,
) -> list[tuple[str, np.ndarray]]:
    """("support" | "background", Gaussian indices [K] int64) of what the masks leave out.

    A Gaussian is structure when at most `structure_max_masked` of its blending weight, over all views
    that have masks, falls into any; it is support when it lies on that plane as well.
    """
    total, masked = np.zeros(len(means)), np.zeros(len(means))
    asked = [(mask > 0).any() for mask in masks]
    for mask, view, counts in zip(masks, traces, asked):
        if not counts and any(asked):
            continue
        in_mask = np.repeat((mask.ravel() > 0).astype(np.float64), np.diff(view.offsets))
        total += np.bincount(view.indices, view.weights, minlength=len(means))
        masked += np.bincount(view.indices, view.weights * in_mask, minlength=len(means))
    free = (gaussian_clusters < 0) & (total > 0) & (masked <= config.association.structure_max_masked * total)
    on_plane = np.zeros(len(means), dtype=bool)
    if support is not None and support.plane is not None:
        on_plane = free & (np.abs(support.plane.height(means)) < 2 * support.tolerance)
        if support.extent is not None:
            on_plane &= support.extent.contains(means)
    found = [("support", np.flatnonzero(on_plane)), ("background", np.flatnonzero(free & ~on_plane))]
    return [(kind, ids) for kind, ids in found if len(ids) >= config.association.min_gaussians]


def _index_of_gaussian(clusters: Sequence[np.ndarray], first: int, num_gaussians: int) -> np.ndarray:
    """[N] int32: cluster index + 1 of the Gaussians in clusters `first` and later, else UNLABELLED."""
    index_of = np.full(num_gaussians, UNLABELLED, dtype=np.int32)
    for index in range(first, len(clusters)):
        index_of[clusters[index]] = index + 1
    return index_of


def _with_structure(filtered, masks, traces, index_of_gaussian) -> list[np.ndarray]:
    """The filtered label images with the structure's pixels added.

    A pixel without a mask is evidence for structure only where the Gaussian it mostly shows is one:
    segmenters miss objects.
    """
    result = []
    for labels, mask, view in zip(filtered, masks, traces):
        front = frontmost(view)
        shown = np.where(front >= 0, index_of_gaussian[front], UNLABELLED).reshape(labels.shape)
        result.append(np.where((mask <= 0) & (shown > 0), shown, labels))
    return result


def frontmost(view: PixelTrace) -> np.ndarray:
    """[H·W] int64: the Gaussian with the largest weight in each pixel, −1 where there is none."""
    counts = np.diff(view.offsets)
    winner = np.full(len(counts), -1, dtype=np.int64)
    filled = counts > 0
    if filled.any():
        largest = np.maximum.reduceat(view.weights, view.offsets[:-1][filled])
        is_largest = np.flatnonzero(view.weights == np.repeat(largest, counts[filled]))[::-1]
        rows = np.repeat(np.arange(len(counts)), counts)
        winner[rows[is_largest]] = view.indices[is_largest]  # of equals the first, written last
    return winner


def label_images(
    views: Sequence[Frame],
    gaussians: GaussianModel,
    gaussian_labels: np.ndarray,
    progress: ProgressCallback = no_progress,
) -> dict[str, np.ndarray]:
    """Frame name → [H, W] int32 instance ids at the frame's own resolution, one view in memory at a time."""
    images = {}
    for index, view in enumerate(views):
        progress("labels", index / len(views), view.name)
        view_trace = trace(gaussians, view.camera, view.world_from_camera)
        images[view.name] = features.label_pixels(gaussian_labels, view_trace, evidence_of(view, gaussians))
    return images


def evidence_of(view: Frame, gaussians: GaussianModel) -> list[features.Evidence]:
    """What the view says about whose a pixel is: its colour, and its depth where it has one."""
    import torch

    position = view.world_from_camera[:3, 3]
    means = gaussians.means.detach().cpu()
    colors = evaluate_sh(means, gaussians.sh.detach().cpu(), torch.tensor(position, dtype=torch.float32))
    valid = np.ones(view.rgb.shape[:2], dtype=bool) if view.valid is None else view.valid
    result = [features.Evidence(colors.numpy(), view.rgb / np.float32(255), valid)]
    if view.depth is not None:
        along = (means.numpy() - position) @ view.world_from_camera[:3, 2]  # metres along the optical axis
        result.append(features.Evidence(along[:, None], view.depth[:, :, None], view.depth > 0))
    return result


def _instance(instance_id, kind, gaussian_labels, means, field, cluster, num_views, agreement) -> Instance:
    """Its confidence: how well the views agree on it (a doubt the less, the more views), times how alike
    its Gaussians' features are."""
    own = np.flatnonzero(gaussian_labels == instance_id)
    prototype = field[cluster].mean(axis=0)
    prototype /= max(float(np.linalg.norm(prototype)), 1e-8)
    # A box of all but the outermost percent: one stray Gaussian must not blow it up.
    points = means[own] if len(own) else means[cluster]
    low, high = np.percentile(points, [1, 99], axis=0)
    alike = float((field[own] @ prototype).mean()) if len(own) else 0.0
    confidence = float(np.clip(alike, 0, 1)) * agreement * num_views / (num_views + 1)
    return Instance(
        int(instance_id), kind, confidence, low, high, prototype, len(own), int(num_views)
    )  # fmt: skip


def _as_tensor(field: np.ndarray, gaussians: GaussianModel):
    import torch

    return torch.from_numpy(field).to(gaussians.means.device)

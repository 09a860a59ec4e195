"""Masks of single views become instances of the scene (InstaScene sections 3.1 and 3.2).

Composes the packages association and features, which do not know each other.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from instascene_core import association, features
from instascene_core.config import Config, FeaturesConfig
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.images import resize
from instascene_core.instances import Instance, InstanceId, InstanceMap
from instascene_core.ownership.by_masks import add_structure
from instascene_core.progress import ProgressCallback, no_progress, told
from instascene_core.rendering import PixelTrace, trace
from instascene_core.scene.label_images import label_images
from instascene_core.scene.region import kinds_in_region
from instascene_core.scene.results import IdHistory
from instascene_core.scene.sharpening import sharpened
from instascene_core.scene.structure import cluster_of_structure, structure_clusters
from instascene_core.segmentation import Support
from instascene_core.threads import side_by_side


@dataclass(frozen=True)
class FoundInstances:
    """Instances, and the features that tell them apart."""

    instances: InstanceMap
    features: np.ndarray  # [N, 16] float32 unit, of every Gaussian


def find_instances(
    views: Sequence[Frame],
    masks: Sequence[np.ndarray],
    gaussians: GaussianModel,
    support: Support | None,
    config: Config,
    ids: IdHistory | None = None,
    progress: ProgressCallback = no_progress,
    *,
    ids_agree: bool = False,
    scores: Sequence[Mapping[int, float]] = (),
) -> FoundInstances:
    """Instances from one label image a view.

    masks: per view [H, W] integer; ids need not agree between views, unless `ids_agree`: then masks of one
    id are of one object.  ids: those given before; instances keep theirs, new ones get ids never given.
    scores: per view, id of a mask → 0 … 1 as its segmenter says; what is not there counts 1.
    """
    ids = ids or IdHistory()
    means = gaussians.means.detach().numpy()
    how = replace(config.association, clustering="ids") if ids_agree else config.association
    # 1. Tracer: the Gaussians behind each pixel, at a resolution that bounds time and memory.
    traces = trace_views(views, gaussians, how.max_trace_pixels, how.min_trace_weight, progress)
    small_masks = [resize(m, t.width, t.height, smooth=False) for m, t in zip(masks, traces)]
    # 2. Mask clustering: reliable 3D instances and the masks that agree with them.
    result = association.associate(small_masks, traces, means, how, progress)
    # 3. What no mask claims is structure: the support plane, and the background behind it.
    structure = structure_clusters(small_masks, traces, means, result.gaussian_clusters, support, how)
    clusters = [c.gaussians for c in result.clusters] + [members for _, members in structure]
    structure_of_gaussian = cluster_of_structure(clusters, len(result.clusters), len(means))
    labels = add_structure(result.filtered_labels, small_masks, traces, structure_of_gaussian)
    if not config.features.filtered_masks:
        labels = [np.where(mask > 0, mask.astype(np.int32), UNLABELLED) for mask in small_masks]
    # 4. Contrastive features, from filtered 2D masks and 3D instances together.
    field = features.train_features(
        traces, labels, clusters, len(means), config.features, config.features.seed, progress
    )
    # 5. Instances at τ.
    cluster_of_gaussian = _assigned(field, clusters, result, means, config.features)
    # 6. Ids that stay from one update to the next, and label images.
    id_of_cluster = _lasting_ids(cluster_of_gaussian, len(clusters), means, ids, config.features)
    # Cluster −1, of no instance, finds the last; there may be no cluster at all.
    gaussian_labels = np.append(id_of_cluster, UNLABELLED)[cluster_of_gaussian].astype(np.int32)
    images = label_images(views, gaussians, gaussian_labels, config.pixel_labels, progress, traces=traces)
    found = [int(i) for i in id_of_cluster[: len(result.clusters)]]
    edges = config.segmentation.fused_surface.edges
    if edges.label_images:
        images = sharpened(images, views, found, edges, config.segmentation.max_pixels, progress)
    kind_of = kinds_in_region(found, gaussian_labels, means, views, images, support, config)
    kinds = [kind_of[i] for i in found] + [kind for kind, _ in structure]
    num_views = [c.num_views for c in result.clusters] + [len(views)] * len(structure)
    agreement = [c.agreement for c in result.clusters] + [1.0] * len(structure)
    score = _mask_scores(result, scores) + [1.0] * len(structure)
    instances = tuple(
        _describe(
            InstanceId(int(id_of_cluster[i])), kinds[i], gaussian_labels, means, field, clusters[i],
            num_views[i], agreement[i], score[i], how.box_percentile,
        )
        for i in range(len(clusters))
    )  # fmt: skip
    plane = support.plane if support else None
    return FoundInstances(InstanceMap(instances, gaussian_labels, images, plane), field)


def _assigned(
    field: np.ndarray,
    clusters: Sequence[np.ndarray],
    found: association.Association,
    means: np.ndarray,
    config: FeaturesConfig,
) -> np.ndarray:
    """[N] int32 the cluster of each Gaussian, or UNLABELLED.

    field: [N, 16] features; clusters: Gaussians of each, those of `found` first, then structure; means:
    [N, 3] metres.
    """
    cluster = features.assign(field, clusters, means, config)
    if config.keep_votes:
        # What the masks of all views have decided stays; features decide on what they do not see.
        cluster[found.refused & (cluster < len(found.clusters))] = UNLABELLED
        cluster = np.where(found.gaussian_clusters >= 0, found.gaussian_clusters, cluster).astype(np.int32)
    for number in range(len(found.clusters), len(clusters)):
        # No mask speaks against these; where their feature does not say otherwise they stay structure.
        members = clusters[number]
        cluster[members[cluster[members] < 0]] = number
    return cluster


def _lasting_ids(
    cluster_of_gaussian: np.ndarray, count: int, means: np.ndarray, ids: IdHistory, config: FeaturesConfig
) -> np.ndarray:
    """[count] the id of each cluster: that of the instance it was before, or one never given."""
    old = np.full(len(means), UNLABELLED, dtype=np.int32)
    if ids.means is not None and ids.labels is not None:
        old = features.transfer_labels(ids.means, ids.labels, means, config)
    return features.stable_ids(cluster_of_gaussian, old, count, config.min_id_overlap, ids.next_free)


def trace_views(
    views: Sequence[Frame],
    gaussians: GaussianModel,
    max_pixels: int,
    min_weight: float,
    progress: ProgressCallback = no_progress,
) -> list[PixelTrace]:
    """`trace()` of each view, its image made smaller than `max_pixels` where it is larger.

    Entries of a blending weight below `min_weight` are not kept.

    Memory: 8 bytes an entry, at most 1 / min_weight entries a pixel, and 4 to 8 on scenes as
    trained: 60 views of 320×240 take about 0.2 GB, whatever the size of the images.
    """

    def of_view(view: Frame) -> PixelTrace:
        camera = view.camera.limited(max_pixels)
        full = trace(gaussians, camera, view.world_from_camera, weight_min=min_weight)
        half = {name: getattr(full, name).astype(np.float16) for name in ("weights", "transmittance")}
        return replace(full, **half)

    with closing(side_by_side(of_view, views)) as each:
        return [found for _, found in zip(told(views, progress, "trace"), each)]


def _mask_scores(found: association.Association, scores: Sequence[Mapping[int, float]]) -> list[float]:
    """Per cluster the mean of what `scores` (per view, id → score) says of its masks, weighed by their size
    in Gaussians; 1 where it says nothing."""
    table = found.masks
    said = [scores[f].get(int(label), 1.0) for f, label in zip(table.frame, table.label)] if scores else []
    said = np.array(said) if said else np.ones(len(table.frame))
    return [
        float(np.average(said[c.masks], weights=table.size[c.masks])) if len(c.masks) else 1.0
        for c in found.clusters
    ]


def _describe(
    instance_id: InstanceId,
    kind: str,
    gaussian_labels: np.ndarray,
    means: np.ndarray,
    field: np.ndarray,
    cluster: np.ndarray,
    num_views: int,
    agreement: float,
    mask_score: float,
    percentile: float,
) -> Instance:
    """Its confidence: how well the views agree on it (a doubt the less, the more views), times how alike
    its Gaussians' features are."""
    own = np.flatnonzero(gaussian_labels == instance_id)
    prototype = field[cluster].mean(axis=0)
    prototype /= max(float(np.linalg.norm(prototype)), 1e-8)
    # A box of all but the outermost percent: one stray Gaussian must not blow it up.
    points = means[own] if len(own) else means[cluster]
    low, high = np.percentile(points, [percentile, 100 - percentile], axis=0)
    alike = float((field[own] @ prototype).mean()) if len(own) else 0.0
    confidence = float(np.clip(alike, 0, 1)) * agreement * num_views / (num_views + 1)
    return Instance(instance_id, kind, confidence, low, high, prototype, len(own), int(num_views), mask_score)

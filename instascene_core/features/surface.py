"""The Gaussians as a graph over the surface: neighbours, filtered features, creases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from instascene_core.config import ClickConfig
from instascene_core.errors import InputError

if TYPE_CHECKING:
    from instascene_core.frame import Frame
    from instascene_core.gaussians import GaussianModel


@dataclass(frozen=True)
class Surface:
    """The Gaussians as a graph over the surface; made once for a model."""

    means: np.ndarray  # [N, 3] metres, world frame
    tree: cKDTree  # of the means
    spacing: float  # metres: median distance to the third neighbour
    neighbours: sp.csr_matrix  # [N, N] 1 where two Gaussians are neighbours, symmetric
    features: np.ndarray  # [N, D] float32 unit, filtered over the neighbours
    smoothness: np.ndarray  # [N] in [0, 1]: 0 in a crease
    radii: np.ndarray  # [N] float32 metres: the greater standard deviation of each disk


def make_surface(gaussians: GaussianModel, views: Sequence[Frame], config: ClickConfig) -> Surface:
    """Neighbourhoods, averaged features and creases of a model with trained features.

    views: frames with depth, to know the outside of a surface.  Raises InputError where the features
    are missing or not finite.
    """
    features = gaussians.require_features().detach().numpy()
    if not np.isfinite(features).all():
        bad = np.count_nonzero(~np.isfinite(features).all(axis=1))
        raise InputError(f"The features of {bad} Gaussians contain NaN or infinity; train them again.")
    means = gaussians.means.detach().numpy()
    tree = cKDTree(means)
    count = min(config.neighbours + 1, len(means))
    distance, index = tree.query(means, k=count)
    spacing = float(np.median(distance[:, min(3, count - 1)]))
    rows, columns = np.repeat(np.arange(len(means)), count), index.ravel()
    near = (distance.ravel() <= config.reach_spacings * spacing) & (rows != columns)
    graph = sp.csr_matrix((np.ones(near.sum(), np.float32), (rows[near], columns[near])), (len(means),) * 2)
    graph = (graph + graph.T).tocsr()
    graph.data[:] = 1.0
    weights = gaussians.opacities.detach().numpy()
    filtered = filter_features(features, graph, weights, config)
    colors = _average_with_neighbours(gaussians.base_colors.detach().numpy(), graph, weights)
    normals = orient_normals(means, gaussians.normals.detach().numpy(), views, config)
    smoothness = compute_smoothness(means, normals, colors, graph, config)
    radii = np.exp(gaussians.log_scales.detach().numpy().max(axis=1))
    return Surface(means, tree, spacing, graph, filtered, smoothness, radii)


def _average_with_neighbours(values: np.ndarray, graph: sp.csr_matrix, weights: np.ndarray) -> np.ndarray:
    """[N, D] float32: each Gaussian's mean with its neighbours, by weight."""
    itself = sp.identity(len(values), dtype="float32", format="csr")
    mixing = (graph + itself) @ sp.diags(weights)
    mixing = sp.diags(1 / np.maximum(np.asarray(mixing.sum(axis=1)).ravel(), 1e-8)) @ mixing
    return (mixing @ values).astype(np.float32)


def filter_features(
    features: np.ndarray, graph: sp.csr_matrix, weights: np.ndarray, config: ClickConfig
) -> np.ndarray:
    """[N, D] float32 unit: the feature that most of a Gaussian's neighbours have.

    A Gaussian that no pixel shows has a random feature, so single features mean little; but a plain mean
    blurs the borders of instances.  This is a mean shift: start at the mean of the neighbours, then
    `smoothing` times take their mean again, each by how well it agrees with the last one.
    """
    itself = sp.identity(len(features), dtype="float32", format="csr")
    edges = sp.csr_matrix(graph + itself)
    rows = np.repeat(np.arange(len(features)), np.diff(edges.indptr))
    estimate = _average_with_neighbours(features, graph, weights)
    for _ in range(config.smoothing):
        estimate /= np.maximum(np.linalg.norm(estimate, axis=1, keepdims=True), 1e-8)
        agreement = np.einsum("ed,ed->e", estimate[rows], features[edges.indices])
        edges.data = weights[edges.indices] * np.maximum(agreement, 1e-3) ** config.agreement_power
        estimate = edges @ features
    norm = np.linalg.norm(estimate, axis=1, keepdims=True)
    return (estimate / np.maximum(norm, 1e-12)).astype(np.float32)


def orient_normals(
    means: np.ndarray, normals: np.ndarray, views: Sequence[Frame], config: ClickConfig
) -> np.ndarray:
    """[N, 3] unit normals turned toward the cameras whose depth images show the Gaussian."""
    toward = np.zeros_like(means)
    for view in views[:: max(1, len(views) // config.orienting_views)]:
        at = view.locate(means)
        off = np.abs(view.require_depth()[at.row, at.column] - at.z)
        seen = np.flatnonzero(at.inside & (off <= config.visible_share * at.z))
        ray = view.world_from_camera[:3, 3] - means[seen]
        toward[seen] += ray / np.linalg.norm(ray, axis=1, keepdims=True)
    return np.where((normals * toward).sum(axis=1, keepdims=True) < 0, -normals, normals)


def compute_smoothness(
    means: np.ndarray, normals: np.ndarray, colors: np.ndarray, graph: sp.csr_matrix, config: ClickConfig
) -> np.ndarray:
    """[N] float32 in [0, 1]: 1 where the surface is even or bends outward, 0 in an inward crease.

    normals: outward.  The bend from one neighbour to another is (n_b − n_a)·(p_b − p_a)/|p_b − p_a|,
    = ∓2 sin(angle / 2) across a crease, negative inward; averaged around a Gaussian the noise of
    single normals cancels.  A step of colour counts less.
    """
    from skimage.color import rgb2lab

    edges = graph.tocoo()
    a, b = edges.row, edges.col
    direction = means[b] - means[a]
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)
    inward = -((normals[b] - normals[a]) * direction).sum(axis=1)
    lab = rgb2lab(np.clip(colors, 0, 1)[None])[0] * (config.lightness_weight, 1, 1)
    step = np.linalg.norm(lab[b] - lab[a], axis=1)
    degree = np.maximum(np.bincount(a, minlength=len(means)), 1)
    inward = np.bincount(a, inward, minlength=len(means)) / degree
    step = np.bincount(a, step, minlength=len(means)) / degree
    # In the crease itself about half of the neighbours are across.
    crease = inward / np.sin(np.radians(config.crease_degrees) / 2)
    color = config.color_share * np.clip(step / config.color_difference, 0, 1)
    return ((1 - np.clip(crease, 0, 1)) * (1 - color)).astype(np.float32)

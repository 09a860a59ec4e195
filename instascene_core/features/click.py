"""A segment from one click: the rendered feature at a pixel, grown over the surface (InstaScene section 3.2).

One rule gives all answers.  Every Gaussian has a value in [−1, 1]: the cosine between its feature and the
clicked one or, where features say nothing, the smoothness of the surface there.  Its *level* is the highest
threshold at which it is still connected to the clicked Gaussian through neighbours above that threshold.
The segment at τ consists of the levels ≥ τ, so segments of falling thresholds are nested.  Those that stay
the same over a range of thresholds are the parts, objects and groups of the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

from instascene_core.camera import PinholeCamera
from instascene_core.config import ClickConfig
from instascene_core.errors import InputError

if TYPE_CHECKING:
    from instascene_core.frame import Frame
    from instascene_core.gaussians import GaussianModel

# How far the renderer draws a disk, with some to spare; both only decide what is traced.
DISK_REACH = 4.0  # standard deviations; the renderer draws a little over 3
FILTER_PIXELS = 4.0  # its screen filter makes small disks this wide at most


@dataclass(frozen=True)
class Surface:
    """The Gaussians as a graph over the surface; made once for a model."""

    means: np.ndarray  # [N, 3] metres, world frame
    tree: cKDTree  # of the means
    spacing: float  # metres: median distance to the third neighbour
    neighbours: sp.csr_matrix  # [N, N] 1 where two Gaussians are neighbours, symmetric
    features: np.ndarray  # [N, D] float32 unit, filtered over the neighbours
    smoothness: np.ndarray  # [N] in [0, 1]: 0 in a crease


@dataclass(frozen=True)
class Click:
    """What was clicked."""

    gaussian: int
    point: np.ndarray  # [3] metres, world frame
    feature: np.ndarray  # [D] unit
    label: int  # InstanceId that most of the clicked surface belongs to, or UNLABELLED


@dataclass(frozen=True)
class Segment:
    """One answer to a click."""

    gaussians: np.ndarray  # [K] int64, ascending
    threshold: float  # that gives it: cosine, or smoothness where `grown`
    grown: bool = False  # over the surface, not by features


# --- the surface ---


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
    return Surface(
        means, tree, spacing, graph, filtered, compute_smoothness(means, normals, colors, graph, config)
    )


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


# --- what was clicked ---


def click_pixel(
    gaussians: GaussianModel,
    camera: PinholeCamera,
    world_from_camera: np.ndarray,
    pixel: tuple[int, int],
    labels: np.ndarray,
    config: ClickConfig,
) -> Click:
    """The surface at a pixel (column, row): its rendered feature, traced through that pixel only.

    labels: [N] int32 InstanceId of each Gaussian, or UNLABELLED.  Raises InputError outside the image and
    where nothing is reconstructed.
    """
    import torch

    from instascene_core.rendering.trace import trace

    column, row = pixel
    if not (0 <= column < camera.width and 0 <= row < camera.height):
        raise InputError(
            f"The pixel ({column}, {row}) lies outside the image of {camera.width}×{camera.height}."
        )
    one = PinholeCamera(1, 1, camera.fx, camera.fy, camera.cx - column, camera.cy - row)
    near = find_near_ray(gaussians, one, world_from_camera)
    ray = trace(gaussians.select(torch.from_numpy(near)), one, world_from_camera)
    shown = near[ray.indices]
    if ray.weights.sum() < config.min_coverage:
        raise InputError(f"Nothing is reconstructed at pixel ({column}, {row}); click on a surface.")
    # The front Gaussian: where the summed weight reaches a half, as for the median depth.
    front = int(shown[np.searchsorted(np.cumsum(ray.weights), 0.5 * ray.weights.sum())])
    direction = world_from_camera[:3, :3] @ one.rays[0, 0].astype(np.float64)
    disk = gaussians.select(torch.tensor([front])).detached()
    origin, normal = world_from_camera[:3, 3], disk.normals[0].numpy().astype(np.float64)
    mean = disk.means[0].numpy().astype(np.float64)
    facing = direction @ normal
    along = direction if abs(facing) > 1e-3 else normal  # a disk seen edge-on has no intersection
    point = origin + direction * ((mean - origin) @ normal / facing) if along is direction else mean
    feature = ray.weights @ gaussians.require_features()[torch.from_numpy(shown)].detach().numpy()
    return Click(front, point, _normalised(feature), _majority_label(labels[shown], ray.weights))


def find_near_ray(
    gaussians: GaussianModel, camera: PinholeCamera, world_from_camera: np.ndarray
) -> np.ndarray:
    """[K] int64, ascending: the Gaussians that may show in a camera of one pixel, and a few more."""
    pose = np.linalg.inv(world_from_camera)
    points = gaussians.means.detach().numpy() @ pose[:3, :3].T.astype(np.float32) + pose[:3, 3]
    x, y, z = points.T
    # Distance from the ray across the line of sight, at the depth of each disk.
    ray_x, ray_y, _ = camera.rays[0, 0]
    reach = DISK_REACH * np.exp(gaussians.log_scales.detach().numpy().max(axis=1))
    reach += FILTER_PIXELS / min(camera.fx, camera.fy) * z
    slant = np.hypot(1.0, np.hypot(ray_x, ray_y))  # a disk tilted along the line of sight reaches further
    return np.flatnonzero((z > -reach) & (np.hypot(x - ray_x * z, y - ray_y * z) <= slant * reach))


def click_point(surface: Surface, point: np.ndarray, labels: np.ndarray, config: ClickConfig) -> Click:
    """The surface at a point [3] (metres, world frame); InputError where there is none near it."""
    point = np.asarray(point, dtype=np.float64)
    if not np.isfinite(point).all():
        raise InputError("The clicked point contains NaN or infinity.")
    distance, index = surface.tree.query(point, k=min(config.neighbours, len(surface.means)))
    distance, index = np.atleast_1d(distance), np.atleast_1d(index)
    if distance[0] > config.max_point_spacings * surface.spacing:
        raise InputError(
            f"The clicked point is {distance[0]:.3f} m from the nearest surface; click on a surface."
        )
    weights = np.exp(-0.5 * ((distance - distance[0]) / surface.spacing) ** 2)
    feature = weights @ surface.features[index]
    return Click(int(index[0]), point, _normalised(feature), _majority_label(labels[index], weights))


def _normalised(vector: np.ndarray) -> np.ndarray:
    return (vector / max(float(np.linalg.norm(vector)), 1e-8)).astype(np.float32)


def _majority_label(labels: np.ndarray, weights: np.ndarray) -> int:
    """The label with the largest summed weight, the smaller of equals."""
    names, index = np.unique(labels, return_inverse=True)
    return int(names[np.bincount(index, weights).argmax()])


# --- segments ---


def compute_levels(seed: int, values: np.ndarray, neighbours: sp.csr_matrix, floor: float) -> np.ndarray:
    """[N] float32: the highest threshold ≥ `floor` that still connects a Gaussian to `seed`, else −inf.

    values: [N].  The seed itself is connected at every threshold.  This is the widest path: the smallest
    value on the way through the maximum spanning tree of the neighbourhood graph.
    """
    candidates = values >= floor
    candidates[seed] = True
    local = np.flatnonzero(candidates)
    graph = neighbours[local][:, local].tocoo()
    start = int(np.searchsorted(local, seed))
    own = values[local].astype(np.float64)
    own[start] = max(1.0, own.max())
    # Weights of a spanning tree must not be 0, and lie in (0, …] for values ≤ the seed's.
    upper = graph.row < graph.col
    a, b = graph.row[upper], graph.col[upper]
    cost = 1.0 + own[start] - np.minimum(own[a], own[b])
    graph = sp.csr_matrix((cost, (a, b)), (len(local),) * 2)
    component = connected_components(graph, directed=False)[1]
    inside = np.flatnonzero(component == component[start])
    graph = graph[inside][:, inside]
    start = int(np.searchsorted(inside, start))
    tree = minimum_spanning_tree(graph)
    _, before = breadth_first_order(tree, start, directed=False)
    before[start] = start
    smallest = own[inside]
    while (before != start).any():  # pointers double their reach
        smallest, before = np.minimum(smallest, smallest[before]), before[before]
    smallest = np.minimum(smallest, own[inside])
    result = np.full(len(values), -np.inf, dtype=np.float32)
    result[local[inside]] = smallest
    return result


def select_level(
    levels: np.ndarray,
    threshold: float,
    allowed: np.ndarray,
    degree: np.ndarray,
    surface: Surface,
    config: ClickConfig,
) -> np.ndarray:
    """[K] int64: Gaussians of level ≥ `threshold`, and those they enclose.

    allowed: [N] bool; degree: [N] how many neighbours of each are allowed.  A single Gaussian that no pixel
    shows may have any feature, so it belongs to the segment when most of its allowed neighbours do.
    """
    members = np.flatnonzero(levels >= threshold)
    chosen = np.zeros(len(levels), dtype=bool)
    chosen[members] = True
    for _ in range(config.enclosing_rounds):
        rows = surface.neighbours[members]  # symmetric: whoever is a neighbour of a member
        around = np.bincount(rows.indices, minlength=len(levels))
        chosen |= allowed & (2 * around > degree)
        members = np.flatnonzero(chosen)
    return members


def find_stable_thresholds(levels: np.ndarray, lowest: float, config: ClickConfig) -> list[float]:
    """Thresholds, falling, of the segments that stay the same over a range of them.

    Within a range of at least `min_gap` the size must not change by more than the share `same_size`;
    each is given by its middle.  Ranges end at `lowest`.
    """
    grid = np.round(np.arange(1.0, lowest - 1e-9, -0.01), 2)
    ordered = np.sort(levels[np.isfinite(levels)])
    sizes = len(ordered) - np.searchsorted(ordered, grid.astype(np.float32), side="left")
    found, first = [], 0
    for index in range(1, len(grid) + 1):
        if index < len(grid) and sizes[index] <= (1 + config.same_size) * sizes[first]:
            continue
        if sizes[first] >= config.min_gaussians and grid[first] - grid[index - 1] >= config.min_gap - 1e-9:
            found.append(float(grid[(first + index - 1) // 2]))
        first = index
    return found


def feature_segments(
    click: Click, surface: Surface, threshold: float, config: ClickConfig
) -> tuple[list[Segment], int]:
    """(nested segments, finest first; index of the one at `threshold`) by similarity of features."""
    values = surface.features @ click.feature
    floor = min(config.min_similarity, threshold)
    levels = compute_levels(click.gaussian, values, surface.neighbours, floor)
    everything = np.ones(len(values), dtype=bool)
    return _nested_segments(levels, threshold, floor, everything, surface, config, grown=False)


def grown_segments(
    click: Click, surface: Surface, allowed: np.ndarray, threshold: float, config: ClickConfig
) -> tuple[list[Segment], int]:
    """The same by growth over the smooth surface, among the `allowed` [N] bool Gaussians only."""
    values = np.where(allowed, surface.smoothness, -np.inf)
    seed = click.gaussian
    floor = max(min(threshold, config.min_growth), 1e-3)
    levels = compute_levels(seed, values, surface.neighbours, floor)
    return _nested_segments(levels, threshold, floor, allowed, surface, config, grown=True)


def _nested_segments(levels, threshold, floor, allowed, surface, config, grown) -> tuple[list[Segment], int]:
    """(nested segments, index of the one at `threshold`): it and the stable ones of another size."""
    degree = surface.neighbours @ allowed.astype(np.float32)
    wanted = select_level(levels, threshold, allowed, degree, surface, config)
    segments, chosen = [], 0
    thresholds = [t for t in find_stable_thresholds(levels, floor, config) if t != threshold]
    for value in sorted([*thresholds, threshold], reverse=True):
        if value == threshold:
            chosen = len(segments)
            segments.append(Segment(wanted, threshold, grown))
            continue
        members = select_level(levels, value, allowed, degree, surface, config)
        others = [wanted, *(s.gaussians for s in segments)]
        if all(_differs_in_size(len(members), len(other), config.same_size) for other in others):
            segments.append(Segment(members, value, grown))
    return segments, chosen


def _differs_in_size(a: int, b: int, share: float) -> bool:
    """Whether the larger size exceeds the smaller one by more than `share`."""
    return max(a, b) > (1 + share) * min(a, b)

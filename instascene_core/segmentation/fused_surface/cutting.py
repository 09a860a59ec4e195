"""The fused surface cut into parts: patches that respect creases, and what their contacts look like.

A crease between two touching objects is rarely seen well in one view.  Fused, every view's evidence
adds up, occlusion edges disappear (points far apart are no neighbours), and a hollow vessel stays
one piece through its thin wall.
"""

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from instascene_core.config.segmentation import CreaseConfig, FusedSurfaceConfig, PatchConfig
from instascene_core.segmentation.fused_surface.surface import FusedSurface, unit
from instascene_core.segmentation.graph import Links, join


def neighbour_pairs(surface: FusedSurface, config: PatchConfig) -> np.ndarray:
    """[P, 2] elements that touch."""
    reach = config.neighbour_spacings * surface.spacing
    return cKDTree(surface.positions).query_pairs(reach, output_type="ndarray")


def cut_surface(surface: FusedSurface, config: FusedSurfaceConfig) -> np.ndarray:
    """[K] int32: part of every element, 1 … P, or −1 where a part would be too small.

    Elements are gathered into patches that respect creases; patches are joined, smoothest contact
    first, as long as the contact is not mostly concave (after LCCP, Stein et al. 2014).
    """
    pairs = neighbour_pairs(surface, config.patches)
    patch = grow_patches(surface, pairs, config.patches)
    contacts = patch_contacts(surface, pairs, patch, config.creases)
    decision = config.geometric
    part = join(contacts, int(patch.max()) + 1, decision.max_cut, decision.contact_doubt)[patch]
    return tidy_parts(pairs, part, config.min_part_elements)


def grow_patches(
    surface: FusedSurface, pairs: np.ndarray, config: PatchConfig, border: np.ndarray | None = None
) -> np.ndarray:
    """[K] int64 patch of every element: geodesic cells around seeds, creases count as distance.

    border: [P] 0 … 1, how likely the border of an object runs between the two elements of a pair; counts
    as distance as well.
    """
    positions, normals, spacing = surface.positions, surface.normals, surface.spacing
    size = config.patch_spacings
    cell = np.floor(positions / (size * spacing)).astype(np.int64)
    side = np.abs(normals).argmax(axis=1)
    side = 2 * side + (normals[np.arange(len(side)), side] > 0)
    _, group = np.unique(np.column_stack([cell, side]), axis=0, return_inverse=True)
    group = group.ravel()
    count = np.bincount(group)
    centre = np.stack([np.bincount(group, positions[:, i]) for i in range(3)], axis=1) / count[:, None]
    distance = np.linalg.norm(positions - centre[group], axis=1)
    # A patch seeded in the bottom of a crease would bridge its two sides in two half-bends.
    first, second = pairs.T
    bent = _bend_per_spacing(surface, pairs, config)
    hollow = bent < -config.hollow_bend
    order = np.lexsort((distance, hollow, group))
    seeds = order[np.r_[True, np.diff(group[order]) > 0]]
    seeds = seeds[(count[group[seeds]] >= config.min_patch_fill * size**2) & ~hollow[seeds]]
    step = np.linalg.norm(positions[first] - positions[second], axis=1) / spacing
    turn = 1 - (normals[first] * normals[second]).sum(1)  # 1 − cos
    weight = step + config.turn_distance * np.minimum(turn, config.max_turn)
    if border is not None:
        weight = weight + config.border_distance * border
    graph = sp.csr_matrix((weight, (first, second)), shape=(len(positions),) * 2)
    if not len(seeds):
        return np.zeros(len(positions), dtype=np.int64)
    _, _, source = sp.csgraph.dijkstra(
        graph, directed=False, indices=seeds, min_only=True, return_predecessors=True
    )
    # Islands without a seed are patches of their own.
    lost = source < 0
    if lost.any():
        _, island = sp.csgraph.connected_components(graph, directed=False)
        source = np.where(lost, len(positions) + island, source)
    return np.unique(source, return_inverse=True)[1].ravel()


def _bend_per_spacing(surface: FusedSurface, pairs: np.ndarray, config: PatchConfig) -> np.ndarray:
    """[K] radians per element spacing, mean over the neighbours: > 0 convex, < 0 concave."""
    first, second = pairs.T
    apart = surface.positions[first] - surface.positions[second]
    squared = np.maximum((apart**2).sum(1), 1e-18)
    bend = ((surface.normals[first] - surface.normals[second]) * apart).sum(1) / squared * surface.spacing
    bend = np.clip(bend, -config.max_bend, config.max_bend)
    size = len(surface.positions)
    total = np.bincount(first, bend, minlength=size) + np.bincount(second, bend, minlength=size)
    count = np.bincount(first, minlength=size) + np.bincount(second, minlength=size)
    return total / np.maximum(count, 1)


def patch_contacts(
    surface: FusedSurface, pairs: np.ndarray, patch: np.ndarray, config: CreaseConfig
) -> Links:
    """How much each contact of two patches looks like two bodies that touch; weight: element pairs."""
    ends = patch[pairs]
    crossing = np.flatnonzero(ends[:, 0] != ends[:, 1])
    swap = ends[crossing, 0] > ends[crossing, 1]
    near = np.where(swap[:, None], pairs[crossing][:, ::-1], pairs[crossing])  # element of first, of second
    count = int(patch.max()) + 1
    keys, contact, length = np.unique(
        patch[near[:, 0]] * count + patch[near[:, 1]], return_inverse=True, return_counts=True
    )
    first, second = keys // count, keys % count
    # Once between whole patches, once between the elements that meet: the first sees gentle creases
    # through noise, the second thin parts whose patch means lie beside the contact.
    centre, normal = group_mean(surface.positions, patch), unit(group_mean(surface.normals, patch))
    wide = _crease(centre[first], normal[first], centre[second], normal[second], config)
    here, there = near.T
    close = _crease(
        group_mean(surface.positions[here], contact), unit(group_mean(surface.normals[here], contact)),
        group_mean(surface.positions[there], contact), unit(group_mean(surface.normals[there], contact)),
        config,
    )  # fmt: skip
    # The same colour on both sides speaks for one body with a bend.
    tint = group_mean(surface.colors, patch) * [config.lightness_weight, 1, 1]
    difference = np.linalg.norm(tint[first] - tint[second], axis=1)
    low = config.same_color_trust
    trust = low + (1 - low) * np.clip(difference / config.color_difference, 0, 1)
    touching = np.ones(len(first), dtype=bool)
    return Links(first, second, length.astype(np.float64), trust * np.maximum(wide, close), touching)


def _crease(p1, n1, p2, n2, config: CreaseConfig) -> np.ndarray:
    """[C] 0 … 1: how surely the surface elements (p1, n1) and (p2, n2) belong to two bodies."""
    apart = p1 - p2
    distance = np.maximum(np.linalg.norm(apart, axis=1), 1e-12)
    direction = apart / distance[:, None]
    # > 0: the surface bends outwards (convex), < 0: inwards, as at a contact.
    bend = ((n1 - n2) * direction).sum(1)
    angle = np.degrees(np.arccos(np.clip((n1 * n2).sum(1), -1, 1)))
    concave = np.where(bend < 0, angle, 0.0)
    # A depth step between parallel patches: one lies beside, not on, the other's surface.
    step = np.minimum(np.abs((n1 * direction).sum(1)), np.abs((n2 * direction).sum(1)))
    parallel = angle < config.concave_low_degrees
    step = np.where(parallel, np.degrees(np.arcsin(np.clip(step, 0, 1))), 0.0)
    low, high = config.concave_low_degrees, config.concave_high_degrees
    cut = np.clip((np.maximum(concave, step) - low) / (high - low), 0, 1)
    # Convex, but side by side along the edge both planes share: bodies that meet in a point (LCCP's
    # sanity criterion, equation 4).
    beside = np.degrees(np.arccos(np.clip(np.abs((unit(np.cross(n1, n2)) * direction).sum(1)), 0, 1)))
    growth = np.exp(-config.singular_slope * (angle - config.singular_middle_degrees))
    limit = config.singular_limit_degrees / (1.0 + growth)
    singular = (bend >= 0) & (angle < config.singular_max_degrees) & (beside < limit)
    return np.where(singular, np.maximum(cut, config.singular_cut), cut)


def group_mean(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """[G, D] mean of [K, D] values by group [K]."""
    size = np.maximum(np.bincount(group), 1)[:, None]
    return np.stack([np.bincount(group, column) for column in values.T], axis=1) / size


def tidy_parts(pairs: np.ndarray, part: np.ndarray, min_elements: int) -> np.ndarray:
    """[K] int32: parts numbered from 1; those too small to be an object join the neighbour they touch most.

    pairs: [P, 2] elements that touch.  part: [K] ≥ 0.  What is smaller than `min_elements` and touches
    nothing is −1.
    """
    part = part.copy()
    for _ in range(10):
        size = np.bincount(part)
        small = np.flatnonzero((size > 0) & (size < min_elements))
        across = part[pairs]
        across = across[across[:, 0] != across[:, 1]]
        if not len(small) or not len(across):
            break
        across = np.concatenate([across, across[:, ::-1]])
        across = across[np.isin(across[:, 0], small) & (size[across[:, 1]] >= size[across[:, 0]])]
        if not len(across):
            break
        keys, length = np.unique(across[:, 0] * len(size) + across[:, 1], return_counts=True)
        order = np.lexsort((length, keys // len(size)))
        last = order[np.r_[np.diff(keys[order] // len(size)) > 0, True]]
        target = np.arange(len(size))
        target[keys[last] // len(size)] = keys[last] % len(size)
        part = target[part]
    size = np.bincount(part)
    kept = np.flatnonzero(size >= min_elements)
    number = np.full(len(size), -1, dtype=np.int32)
    number[kept] = 1 + np.arange(len(kept))
    return number[part]


def tidy_objects(pairs: np.ndarray, part: np.ndarray, min_elements: int) -> np.ndarray:
    """[K] int32: `tidy_parts` where some elements are of no object (part −1).

    What is of no object and smaller than an object can be is a leftover and joins the neighbour it touches
    most; what is larger stays out (−1).
    """
    outside = np.flatnonzero(part < 0)
    if not len(outside):
        return tidy_parts(pairs, part, min_elements)
    within = pairs[(part[pairs] < 0).all(axis=1)]
    graph = sp.csr_matrix((np.ones(len(within)), tuple(within.T)), shape=(len(part),) * 2)
    _, island = sp.csgraph.connected_components(graph, directed=False)
    first = int(part.max()) + 1
    whole = part.copy()
    whole[outside] = first + np.unique(island[outside], return_inverse=True)[1]
    large = np.bincount(whole) >= min_elements
    left_out = large[whole] & (whole >= first)
    tidy = tidy_parts(pairs, whole, min_elements)
    # A leftover that joined what is left out is left out with it.
    dropped = np.unique(tidy[left_out])
    tidy[np.isin(tidy, dropped[dropped >= 1])] = -1
    kept = np.unique(tidy[tidy >= 1])
    number = np.full(int(tidy.max(initial=0)) + 2, -1, dtype=np.int32)
    number[kept] = 1 + np.arange(len(kept))
    return number[tidy]

"""One surface from all views: averaged points with normals, and the cut of that surface into parts.

A crease between two touching objects is rarely seen well in one view.  Fused, every view's evidence
adds up, occlusion edges disappear (points far apart are no neighbours), and a hollow vessel stays
one piece through its thin wall.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from instascene_core.config import SegmentationConfig
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.points import view_geometry
from instascene_core.segmentation.support import Support


@dataclass(frozen=True)
class FusedSurface:
    """Surface elements of everything that is not structure."""

    positions: np.ndarray  # [K, 3] float64 metres, world frame
    normals: np.ndarray  # [K, 3] float64 unit, outward
    colors: np.ndarray  # [K, 3] float64 CIE Lab
    views: np.ndarray  # [K] int: frames that saw it
    spacing: float  # metres between neighbouring elements


def fuse_surface(
    frames: Sequence[Frame],
    support: Support | None,
    config: SegmentationConfig,
    progress: ProgressCallback = no_progress,
) -> FusedSurface | None:
    """Average the object pixels of all frames on a grid; None where there is nothing to see.

    Opposite sides of a thin wall share grid cells, so cells are kept apart by the main direction of
    the normal as well.
    """
    import cv2

    positions, normals, colors, frame_index, footprint = [], [], [], [], []
    for index, frame in enumerate(frames):
        progress("segmentation", 0.5 * index / len(frames), f"fusing {frame.name}")
        if frame.depth is None:
            continue
        points, directions, valid = view_geometry(frame)
        rotation = frame.world_from_camera[:3, :3]
        pick = np.flatnonzero(valid.ravel())
        world = points.reshape(-1, 3)[pick] @ rotation.T + frame.world_from_camera[:3, 3]
        keep = support.is_object_region(world) if support is not None else np.ones(len(pick), dtype=bool)
        pick = pick[keep]
        lab = cv2.cvtColor(frame.rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
        positions.append(world[keep])
        normals.append(directions.reshape(-1, 3)[pick] @ rotation.T)
        colors.append(lab[pick])
        frame_index.append(np.full(len(pick), index))
        footprint.append(points.reshape(-1, 3)[pick, 2] / frame.camera.fx)
    if not positions or sum(map(len, positions)) < config.min_part_elements:
        return None
    positions, normals = np.concatenate(positions), np.concatenate(normals)
    noise = support.tolerance / config.plane_sigmas if support is not None else 0.0
    spacing = max(config.element_pixels * float(np.median(np.concatenate(footprint))), 1.5 * noise)
    return _average(
        positions, normals, np.concatenate(colors), np.concatenate(frame_index), spacing, len(frames)
    )


def _average(positions, normals, colors, frame_index, spacing: float, num_frames: int) -> FusedSurface | None:
    low = positions.min(axis=0)
    cell = np.floor((positions - low) / spacing).astype(np.int64)
    side = np.abs(normals).argmax(axis=1)
    side = 2 * side + (normals[np.arange(len(side)), side] > 0)
    extent = cell.max(axis=0) + 1
    key = ((cell[:, 0] * extent[1] + cell[:, 1]) * extent[2] + cell[:, 2]) * 6 + side
    _, element, count = np.unique(key, return_inverse=True, return_counts=True)

    def mean(values):
        return np.stack([np.bincount(element, values[:, i]) for i in range(3)], axis=1) / count[:, None]

    views = np.bincount(np.unique(element * num_frames + frame_index) // num_frames)
    kept = views >= (2 if num_frames >= 5 else 1)
    surface = FusedSurface(
        mean(positions)[kept], _unit(mean(normals))[kept], mean(colors)[kept], views[kept], spacing
    )
    return _smoothed(surface) if len(surface.positions) else None


def _smoothed(surface: FusedSurface) -> FusedSurface:
    """Move every element along its normal onto the mean of its like-oriented neighbours."""
    tree = cKDTree(surface.positions)
    pairs = tree.query_pairs(2.0 * surface.spacing, output_type="ndarray")
    alike = (surface.normals[pairs[:, 0]] * surface.normals[pairs[:, 1]]).sum(1) > 0.6
    first, second = pairs[alike].T
    weight = surface.views.astype(np.float64)
    size = len(surface.positions)
    graph = sp.csr_matrix(
        (np.ones(2 * len(first)), (np.r_[first, second], np.r_[second, first])), shape=(size, size)
    )
    graph = (graph + sp.eye(size)) @ sp.diags(weight)
    total = np.asarray(graph.sum(axis=1))
    centre = graph @ surface.positions / total
    normals = _unit(graph @ surface.normals)
    offset = ((centre - surface.positions) * normals).sum(1, keepdims=True)
    colors = graph @ surface.colors / total
    return FusedSurface(surface.positions + offset * normals, normals, colors, surface.views, surface.spacing)


def cut_surface(surface: FusedSurface, config: SegmentationConfig) -> np.ndarray:
    """[K] int32: part of every element, 1 … P, or −1 where a part would be too small.

    Elements are gathered into patches that respect creases; patches are joined, smoothest contact
    first, as long as the contact is not mostly concave (after LCCP, Stein et al. 2014).
    """
    pairs = cKDTree(surface.positions).query_pairs(1.9 * surface.spacing, output_type="ndarray")
    patch = grow_patches(surface, pairs, config)
    contacts = patch_contacts(surface, pairs, patch, config)
    part = join_patches(contacts, int(patch.max()) + 1, config.max_cut, config.contact_doubt)[patch]
    return tidy_parts(surface, pairs, part, config)


def grow_patches(surface: FusedSurface, pairs: np.ndarray, config: SegmentationConfig) -> np.ndarray:
    """[K] int64 patch of every element: geodesic cells around seeds, creases count as distance."""
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
    bent = _bend_per_spacing(surface, pairs)
    hollow = bent < -config.hollow_bend
    order = np.lexsort((distance, hollow, group))
    seeds = order[np.r_[True, np.diff(group[order]) > 0]]
    seeds = seeds[(count[group[seeds]] >= 0.15 * size**2) & ~hollow[seeds]]
    step = np.linalg.norm(positions[first] - positions[second], axis=1) / spacing
    turn = 1 - (normals[first] * normals[second]).sum(1)  # 1 − cos
    weight = step + 15.0 * np.minimum(turn, 1.0)
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


def _bend_per_spacing(surface: FusedSurface, pairs: np.ndarray) -> np.ndarray:
    """[K] radians per element spacing, mean over the neighbours: > 0 convex, < 0 concave."""
    first, second = pairs.T
    apart = surface.positions[first] - surface.positions[second]
    squared = np.maximum((apart**2).sum(1), 1e-18)
    bend = ((surface.normals[first] - surface.normals[second]) * apart).sum(1) / squared * surface.spacing
    bend = np.clip(bend, -1.0, 1.0)
    size = len(surface.positions)
    total = np.bincount(first, bend, minlength=size) + np.bincount(second, bend, minlength=size)
    count = np.bincount(first, minlength=size) + np.bincount(second, minlength=size)
    return total / np.maximum(count, 1)


@dataclass(frozen=True)
class Contacts:
    """Pairs of neighbouring patches."""

    first: np.ndarray  # [C]
    second: np.ndarray  # [C]
    length: np.ndarray  # [C] element pairs across the contact
    cut: np.ndarray  # [C] 0 = one surface … 1 = crease between two bodies


def patch_contacts(
    surface: FusedSurface, pairs: np.ndarray, patch: np.ndarray, config: SegmentationConfig
) -> Contacts:
    """How much each contact of two patches looks like two bodies that touch."""
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
    centre, normal = _group_mean(surface.positions, patch), _unit(_group_mean(surface.normals, patch))
    wide = _crease(centre[first], normal[first], centre[second], normal[second], config)
    here, there = near.T
    close = _crease(
        _group_mean(surface.positions[here], contact), _unit(_group_mean(surface.normals[here], contact)),
        _group_mean(surface.positions[there], contact), _unit(_group_mean(surface.normals[there], contact)),
        config,
    )  # fmt: skip
    # The same colour on both sides speaks for one body with a bend.
    tint = _group_mean(surface.colors, patch) * [0.5, 1, 1]  # shading changes lightness most
    difference = np.linalg.norm(tint[first] - tint[second], axis=1)
    low = config.same_color_trust
    trust = low + (1 - low) * np.clip(difference / config.color_difference, 0, 1)
    return Contacts(first, second, length.astype(np.float64), trust * np.maximum(wide, close))


def _crease(p1, n1, p2, n2, config: SegmentationConfig) -> np.ndarray:
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
    beside = np.degrees(np.arccos(np.clip(np.abs((_unit(np.cross(n1, n2)) * direction).sum(1)), 0, 1)))
    limit = 60.0 / (1.0 + np.exp(-0.25 * (angle - 25.0)))
    singular = (bend >= 0) & (angle < 150) & (beside < limit)
    return np.where(singular, np.maximum(cut, config.singular_cut), cut)


def _group_mean(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """[G, 3] mean of [K, 3] values by group [K]."""
    size = np.maximum(np.bincount(group), 1)[:, None]
    return np.stack([np.bincount(group, values[:, i]) for i in range(3)], axis=1) / size


def join_patches(contacts: Contacts, count: int, max_cut: float, doubt: float) -> np.ndarray:
    """[count] int64 part of every patch: agglomeration by the mean cut over the whole contact.

    `doubt` element pairs that speak for a cut are added to every contact: where two surfaces meet in
    a point, nothing says that they are one.
    """
    import heapq

    def score(length: float, cut: float) -> float:
        return (length * cut + doubt) / (length + doubt)

    neighbours: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for a, b, length, cut in zip(*(v.tolist() for v in (contacts.first, contacts.second, contacts.length,
                                                        contacts.cut)), strict=True):  # fmt: skip
        neighbours[a][b] = neighbours[b][a] = (length, cut)
    parent = np.arange(count)
    version = [0] * count
    heap = [
        (score(length, cut), -length, a, b, 0, 0)
        for a in range(count)
        for b, (length, cut) in neighbours[a].items()
        if a < b
    ]
    heapq.heapify(heap)
    while heap:
        cut, _, a, b, version_a, version_b = heapq.heappop(heap)
        if cut > max_cut:
            break
        if version[a] != version_a or version[b] != version_b or b not in neighbours[a]:
            continue
        if len(neighbours[a]) < len(neighbours[b]):
            a, b = b, a
        parent[b] = a
        version[a] += 1
        version[b] = -1
        del neighbours[a][b]
        for c, (length, value) in neighbours[b].items():
            if c == a:
                continue
            del neighbours[c][b]
            known_length, known = neighbours[a].get(c, (0.0, 0.0))
            total = length + known_length
            neighbours[a][c] = neighbours[c][a] = (total, (length * value + known_length * known) / total)
        neighbours[b] = {}
        for c, (length, value) in neighbours[a].items():
            heapq.heappush(heap, (score(length, value), -length, a, c, version[a], version[c]))
    for index in range(count):  # to the root
        root = index
        while parent[root] != root:
            root = parent[root]
        parent[index] = root
    return np.unique(parent, return_inverse=True)[1].ravel()


def tidy_parts(
    surface: FusedSurface, pairs: np.ndarray, part: np.ndarray, config: SegmentationConfig
) -> np.ndarray:
    """Give parts too small to be an object to the neighbour they touch most; number the rest from 1."""
    part = part.copy()
    ends = pairs
    for _ in range(10):
        size = np.bincount(part)
        small = np.flatnonzero((size > 0) & (size < config.min_part_elements))
        across = part[ends]
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
    kept = np.flatnonzero(size >= config.min_part_elements)
    number = np.full(len(size), -1, dtype=np.int32)
    number[kept] = 1 + np.arange(len(kept))
    return number[part]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

"""Synthetic traces and the plain, set-based mask clustering that serves as oracle."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FakeTrace:
    """The fields of `rendering.trace.PixelTrace`."""

    height: int
    width: int
    offsets: np.ndarray
    indices: np.ndarray
    weights: np.ndarray
    transmittance: np.ndarray


def spheres(count: int, points: int, seed: int = 0, radius: float = 0.08, pitch: float = 0.2):
    """Points on spheres in a square arrangement: means [N, 3], normals [N, 3], object [N]."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(count * points, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    owner = np.repeat(np.arange(count), points)
    side = int(np.ceil(np.sqrt(count)))
    centres = np.stack([owner % side, owner // side, np.zeros(len(owner))], axis=1) * pitch
    return centres + radius * normals, normals, owner


def trace_of_points(means, direction, size: int = 64, spread: int = 1) -> FakeTrace:
    """An orthographic view along `direction`, points z-buffered, each pixel up to three deep."""
    direction = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    right = np.cross(direction, [0.123, 0.456, 0.789])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(direction, right)])
    flat = (means - means.mean(axis=0)) @ axes.T
    scale = (size - 4) / (2 * np.abs(means - means.mean(axis=0)).max() * 1.3)
    pixel = np.floor(flat * scale + size / 2).astype(int).clip(0, size - 1)
    depth = means @ direction
    rows, gaussians, depths = [], [], []
    for dy in range(-spread, spread + 1):  # every point covers a small square
        for dx in range(-spread, spread + 1):
            moved = (pixel + np.array([dy, dx])).clip(0, size - 1)
            rows.append(moved[:, 0] * size + moved[:, 1])
            gaussians.append(np.arange(len(means)))
            depths.append(depth)
    rows, gaussians, depths = np.concatenate(rows), np.concatenate(gaussians), np.concatenate(depths)
    order = np.lexsort((depths, rows))
    rows, gaussians = rows[order], gaussians[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = rank < 3
    rows, gaussians, rank = rows[kept], gaussians[kept], rank[kept]
    before = np.array([1.0, 0.4, 0.16], dtype=np.float32)[rank]
    offsets = np.searchsorted(rows, np.arange(size * size + 1)).astype(np.int64)
    return FakeTrace(size, size, offsets, gaussians.astype(np.int32), 0.6 * before, before)


def labels_of_trace(trace: FakeTrace, owner: np.ndarray) -> np.ndarray:
    """[H, W] int32: the front Gaussian's owner + 1, −1 where there is nothing."""
    front = np.full(trace.height * trace.width, -1, dtype=np.int32)
    filled = np.diff(trace.offsets) > 0
    front[filled] = owner[trace.indices[trace.offsets[:-1][filled]]] + 1
    return front.reshape(trace.height, trace.width)


def cluster_image(trace: FakeTrace, owner: np.ndarray) -> np.ndarray:
    """[H, W] int32: the front Gaussian's owner, UNLABELLED where there is nothing."""
    labels = labels_of_trace(trace, owner)
    return np.where(labels > 0, labels - 1, -1)


def directions(count: int, seed: int = 0, lift: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3)) + np.array([0, 0, lift])


def disks_on_surface(frames, pixels: float = 1.5):
    """Opaque Gaussians on the voxel-averaged surface of posed depth images, facing along its normals."""
    import torch

    from instascene_core.gaussians import GaussianModel
    from instascene_core.geometry.depth_maps import smooth_geometry
    from instascene_core.transforms import quaternion_from_matrix

    points, normals = [], []
    for frame in frames:
        here, facing, valid = smooth_geometry(frame.depth, frame.camera)
        rotation = frame.world_from_camera[:3, :3]
        points.append(here[valid] @ rotation.T + frame.world_from_camera[:3, 3])
        normals.append(facing[valid] @ rotation.T)
    points, normals = np.concatenate(points), np.concatenate(normals)
    size = pixels * np.median(frames[0].depth[frames[0].depth > 0]) / frames[0].camera.fx
    _, voxel, count = np.unique(
        np.floor(points / size).astype(int), axis=0, return_inverse=True, return_counts=True
    )
    voxel = voxel.ravel()
    mean = [
        np.stack([np.bincount(voxel, v[:, i]) / count for i in range(3)], axis=1) for v in (points, normals)
    ]
    means, axis = (v[count >= 3] for v in mean)
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    side = np.cross(np.where(np.abs(axis[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]]), axis)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    quaternions = quaternion_from_matrix(np.stack([side, np.cross(axis, side), axis], axis=2))
    number = len(means)
    return GaussianModel(
        means=torch.tensor(means, dtype=torch.float32),
        quaternions=torch.tensor(quaternions, dtype=torch.float32),
        log_scales=torch.full((number, 2), float(np.log(0.6 * size))),
        logit_opacities=torch.full((number,), 3.0),
        sh=torch.zeros(number, 1, 3),
    )


# ── the oracle: loops and sets, as in the paper's text ───────────────────────────────────────────


def oracle_masks(label_images, traces, config):
    """[(frame, label, frozenset of Gaussians)], {frame: set of visible Gaussians}."""
    masks, visible = [], {}
    for index, (image, trace) in enumerate(zip(label_images, traces, strict=True)):
        weight = defaultdict(lambda: defaultdict(float))
        flat = np.maximum(oracle_inner(image).ravel(), 0)
        for pixel in range(len(flat)):
            for entry in range(trace.offsets[pixel], trace.offsets[pixel + 1]):
                on_surface = trace.transmittance[entry] > config.min_transmittance
                if on_surface and trace.weights[entry] >= config.min_weight:
                    weight[int(trace.indices[entry])][int(flat[pixel])] += float(trace.weights[entry])
        visible[index] = set(weight)
        members = defaultdict(set)
        for gaussian, labels in weight.items():
            best = max(labels.values())
            members[min(k for k, v in labels.items() if v == best)].add(gaussian)
        for label in sorted(members):
            if label > 0 and len(members[label]) >= config.min_gaussians:
                masks.append((index, label, frozenset(members[label])))
    return masks, visible


def oracle_inner(image):
    """The label image, unlabelled wherever one of the four neighbours has another label."""
    result = image.copy()
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < image.shape[0] and 0 <= u < image.shape[1] and image[v, u] != image[y, x]:
                    result[y, x] = -1
    return result


def oracle_groups(masks, num_frames, config):
    """(set of frozensets of mask indices, set of under-segmented mask indices)."""
    of_frame = defaultdict(list)
    for m, (frame, _, _) in enumerate(masks):
        of_frame[frame].append(m)
    visible, holder, under = [], [], set()
    for m, (_, _, gaussians) in enumerate(masks):
        seen, inside = set(), {}
        for frame in range(num_frames):
            common = {k: len(gaussians & masks[k][2]) for k in of_frame[frame]}
            labelled = sum(common.values())
            if labelled < (1 - config.max_unseen) * len(gaussians) - 1e-6 or not labelled:
                continue
            seen.add(frame)
            best = max(common, key=common.get)
            if common[best] >= config.containment * labelled - 1e-6:
                inside[frame] = best
        if len(seen) > len(inside) and len(seen) - len(inside) >= config.split_ratio * len(seen) - 1e-6:
            under.add(m)
        visible.append(seen)
        holder.append(inside)
    for m in range(len(masks)):
        for frame, k in list(holder[m].items()):
            if k in under:
                del holder[m][frame]
                visible[m].discard(frame)
    groups = [
        ({m}, set(visible[m]), {frame: {k} for frame, k in holder[m].items()})
        for m in range(len(masks)) if m not in under
    ]  # fmt: skip
    thresholds = None
    while True:
        counts = {}
        for i in range(len(groups)):
            for j in range(i + 1, len(groups)):
                support = sum(
                    1 for f in groups[i][2] if groups[i][2][f] & groups[j][2].get(f, set())
                )  # fmt: skip
                if support:
                    both = groups[i][1] & groups[j][1]
                    neither = {f for f in both if f not in groups[i][2] and f not in groups[j][2]}
                    counts[i, j] = (support, len(both) - len(neither))
        if thresholds is None:
            levels = range(config.first_percentile, -1, -config.percentile_step)
            observed = [n for _, n in counts.values()]
            thresholds = [max(1.0, float(np.percentile(observed, p))) for p in levels] if observed else []
            thresholds = list(dict.fromkeys(thresholds))
        if not thresholds:
            break
        limit = thresholds.pop(0)
        parent = list(range(len(groups)))

        def root(i, parent=parent):
            while parent[i] != i:
                i = parent[i]
            return i

        for (i, j), (support, n) in counts.items():
            if n >= limit - 1e-6 and support >= config.consensus * n - 1e-6:
                parent[root(i)] = root(j)
        merged = defaultdict(lambda: (set(), set(), defaultdict(set)))
        for i, (members, seen, inside) in enumerate(groups):
            target = merged[root(i)]
            target[0].update(members)
            target[1].update(seen)
            for frame, holders in inside.items():
                target[2][frame].update(holders)
        groups = list(merged.values())
    return {frozenset(members) for members, _, _ in groups}, under

"""Surface points of one instance, each checked against every view.

Masks bleed over their borders, rendered depth has floaters, poses are off: a point is kept when the
views that see its place agree that there is surface, and that it belongs to the instance.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instascene_core.config.completion import ObservingConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.geometry import Plane, SurfacePoints
from instascene_core.geometry.depth_maps import (
    depth_slopes_within,
    edge_keeping_normals,
    grown,
    part_holding,
)
from instascene_core.geometry.tsdf import (
    BORDER,
    NOTHING,
    OTHER,
    TARGET,
    UNOWNED,
    DepthView,
    FusedVolume,
    visible_box,
)
from instascene_core.instances import InstanceId
from instascene_core.ownership.by_surface import adopt_surface, surroundings
from instascene_core.transforms import apply, dots, inverse, lengths


def views_of_instance(
    frames: Sequence[Frame], instance_id: InstanceId, support: Plane | None, config: ObservingConfig
) -> list[DepthView]:
    """The frames as views of the instance, at most `config.max_views` of them.

    Raises InputError when no frame has depth and labels, or none shows the instance.
    """
    usable = [f for f in frames if f.depth is not None and f.labels is not None]
    if not usable:
        raise InputError("Completion needs frames with depth and labels, and there are none.")
    pixels = np.array([((f.require_labels() == instance_id) & (f.require_depth() > 0)).sum() for f in usable])
    if pixels.max() == 0:
        raise InputError(f"No depth was measured on instance {instance_id}, so it cannot be completed.")
    chosen = _spread_views(usable, pixels, config.max_views, config.unseen_value)
    return [_view(usable[i], instance_id, support, config) for i in chosen]


def neighbour_points(
    frames: Sequence[Frame], instance_id: InstanceId, volume: FusedVolume, max_views: int, limit: int
) -> tuple[np.ndarray, ...]:
    """Surface points [N, 3] of every other instance inside the volume's box, world frame, one array each.

    max_views: frames looked at; limit: pixels of one frame taken.

    Points where most views see the target itself are mislabelled and left out.
    """
    usable = [f for f in frames if f.depth is not None and f.labels is not None]
    every = max(1, len(usable) // max_views)
    points, owners = [], []
    for frame in usable[::every]:
        box = visible_box(volume.grid, frame.camera, frame.world_from_camera)
        if box is None:
            continue
        cut = np.s_[box[1] : box[3], box[0] : box[2]]
        labels, depth = frame.require_labels()[cut], frame.require_depth()[cut]
        pixels = np.flatnonzero(
            (labels != instance_id) & (labels != UNLABELLED) & (depth > 0) & np.isfinite(depth)
        )
        pixels = pixels[:: max(1, len(pixels) // limit)]
        local = frame.camera.rays[cut].reshape(-1, 3)[pixels] * depth.ravel()[pixels, None]
        points.append(apply(frame.world_from_camera, local.astype(np.float64)))
        owners.append(labels.ravel()[pixels])
    if not points:
        return ()
    points, owners = np.concatenate(points), np.concatenate(owners)
    inside = volume.grid.contains(points)
    points, owners = points[inside], owners[inside]
    foreign = volume.grid.sample((volume.other_views > volume.views).astype(np.float32), points) > 0.5
    points, owners = points[foreign], owners[foreign]
    return tuple(points[owners == owner] for owner in np.unique(owners))


def _spread_views(frames: Sequence[Frame], pixels: np.ndarray, count: int, unseen: float) -> list[int]:
    """Indices (ascending) of at most `count` frames: the best one, then always the frame that is
    farthest from those chosen, weighted by how much of the instance it shows.

    pixels: [F] of the instance in each frame; unseen: value of a frame that shows none, next to 1.
    """
    if len(frames) <= count:
        return list(range(len(frames)))
    centers = np.stack([f.world_from_camera[:3, 3] for f in frames])
    value = np.sqrt(pixels / pixels.max()) + unseen  # a frame that does not show it still empties space
    chosen = [int(np.argmax(pixels))]
    gap = np.linalg.norm(centers - centers[chosen[0]], axis=1)
    while len(chosen) < count:
        score = (gap + 1e-6 * gap.max()) * value
        score[chosen] = -1
        chosen.append(int(np.argmax(score)))
        gap = np.minimum(gap, np.linalg.norm(centers - centers[chosen[-1]], axis=1))
    return sorted(chosen)


def _view(frame: Frame, instance_id: InstanceId, support: Plane | None, config: ObservingConfig) -> DepthView:
    """Sort a frame's pixels into target, other, border and nothing, and weigh the target's."""
    depth = _measured(frame.require_depth())
    labels = frame.require_labels()
    near = surroundings(labels == instance_id, config.ownership)
    weight = None
    if near is not None:
        normals = edge_keeping_normals(depth, frame.camera, near)
        labels = adopt_surface(frame.with_(depth=depth), instance_id, support, normals, config.ownership)
    what = np.full(depth.shape, OTHER, dtype=np.uint8)
    what[labels == UNLABELLED] = UNOWNED
    if near is not None:
        # Borders reach beyond what was adopted; the rest of the image shows nothing of the instance.
        rim = grown(near, config.mask_erosion + 1)
        thin = _sort_target(what[rim], (labels[rim] == instance_id) & (depth[rim] > 0), depth[rim], config)
        inner = thin[tuple(slice(one.start - r.start, one.stop - r.start) for one, r in zip(near, rim))]
        weight = np.zeros(depth.shape, np.float32)
        facing = _facing_weight(frame.camera.rays[near], normals, config.min_facing)
        weight[near] = np.where(inner, config.thin_weight, 1.0) * facing
    what[depth <= 0] = NOTHING
    return DepthView(frame.camera, frame.world_from_camera, depth, what, frame.rgb, weight)


def _measured(depth: np.ndarray) -> np.ndarray:
    """[H, W] float32 metres, 0 where nothing was measured; the image itself where it says so already."""
    if depth.size and depth.min() >= 0 and depth.max() < np.inf:
        return depth
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def _sort_target(
    what: np.ndarray, mask: np.ndarray, depth: np.ndarray, config: ObservingConfig
) -> np.ndarray:
    """Marks TARGET and BORDER of a mask [h, w] bool in `what` [h, w], in place.

    Returns [h, w] bool: parts too thin to survive the erosion (handles, stems), which are kept whole, with
    less trust.  depth: [h, w] metres.
    """
    import cv2

    erosion, mask = config.mask_erosion, mask.astype(np.uint8)
    kernel = np.ones((2 * erosion + 1, 2 * erosion + 1), np.uint8)
    core = cv2.erode(mask, kernel) if erosion > 0 else mask
    grown_core = cv2.dilate(core, np.ones((2 * erosion + 3, 2 * erosion + 3), np.uint8))
    thin = (mask > 0) & (grown_core == 0)
    what[cv2.dilate(mask, kernel) > 0] = BORDER
    what[(core > 0) | thin] = TARGET
    what[(what == TARGET) & _is_flying(depth, config.flying_step)] = BORDER
    return thin


def _is_flying(depth: np.ndarray, share: float) -> np.ndarray:
    """[H, W] bool: pixels that hang between two surfaces (a step of more than `share` of the depth on
    both opposite sides)."""
    flying = np.zeros(depth.shape, dtype=bool)
    for d, f in ((depth, flying), (depth.T, flying.T)):
        step = np.diff(d, axis=1)
        before, after = step[:, :-1], step[:, 1:]
        limit = share * d[:, 1:-1]
        f[:, 1:-1] |= (np.abs(before) > limit) & (np.abs(after) > limit) & (before * after > 0)
    return flying


def _facing_weight(rays: np.ndarray, normals: np.ndarray, least: float) -> np.ndarray:
    """[h, w] in [least, 1]: cosine between the surface normal and the ray (both [h, w, 3])."""
    cosine = -dots(normals, rays) / lengths(rays)
    return np.clip(cosine, least, 1.0)


def confirmed_points(
    views: Sequence[DepthView], instance_id: InstanceId, config: ObservingConfig
) -> tuple[SurfacePoints, float, float]:
    """Confirmed surface points, the noise of a depth reading (metres) and the pixel footprint (metres).

    Raises InputError when fewer than `config.min_points` are confirmed.
    """
    points = _all_points(views, config.max_points)
    _require_enough(len(points.positions), instance_id, config.min_points)
    depths = [view.depth[view.what == TARGET] / view.camera.fx for view in views]
    pixel = float(np.median(np.concatenate(depths)))
    mean_depth = float(np.median(np.concatenate([d * v.camera.fx for d, v in zip(depths, views)])))
    band = max(config.agreeing_footprints * pixel, config.agreeing_depth * mean_depth)
    mine, other, through, residuals = _votes(points, views, band, config)
    noise = config.min_noise * pixel
    if len(residuals) >= config.min_readings:  # two readings differ by √2 of one reading's noise
        noise = max(noise, float(np.median(np.abs(residuals))) * 1.4826 / np.sqrt(2))
    seen = mine + other + through
    keep = (mine >= other) & (through <= mine) & ((mine >= config.min_agreeing_views) | (seen == 1))
    points = SurfacePoints(points.positions, points.normals, points.colors, points.view, mine).select(keep)
    _require_enough(len(points.positions), instance_id, config.min_points)
    points = points.select(_belongs_to_body(points.positions, pixel, config))
    _require_enough(len(points.positions), instance_id, config.min_points)
    if noise > config.rough_noise * pixel:  # neighbouring pixels then differ more by noise than by shape
        radius = max(config.normal_footprints * pixel, config.normal_noise * noise)
        points = _with_averaged_normals(points, views, radius, config.normal_points)
    return points, noise, pixel


def _with_averaged_normals(
    points: SurfacePoints, views: Sequence[DepthView], radius: float, count: int
) -> SurfacePoints:
    """The points with normals of the planes through at most `count` neighbours within `radius` metres,
    toward the camera that saw each."""
    from instascene_core.geometry.open3d_loader import open3d

    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points.positions))
    cloud.estimate_normals(open3d.geometry.KDTreeSearchParamHybrid(radius=radius, max_nn=count))
    normals = np.asarray(cloud.normals)
    centers = np.stack([view.world_from_camera[:3, 3] for view in views])[points.view]
    away = np.einsum("nc,nc->n", normals, centers - points.positions) < 0
    return replace(points, normals=np.where(away[:, None], -normals, normals))


def _require_enough(count: int, instance_id: InstanceId, least: int) -> None:
    if count < least:
        raise InputError(
            f"Instance {instance_id} has only {count} confirmed surface points ({least} are "
            "needed), so it cannot be completed; show it to the camera from nearer or from more sides."
        )


def _all_points(views: Sequence[DepthView], limit: int) -> SurfacePoints:
    """Back-projected target pixels of all views, evenly thinned to about `limit`."""
    total = sum(int((view.what == TARGET).sum()) for view in views)
    stride = max(1, total // max(1, limit))
    rows = []
    for index, view in enumerate(views):
        target = view.what == TARGET
        pixels = np.flatnonzero(target)[index % stride :: stride]
        part = part_holding(target)
        if len(pixels) == 0 or part is None:
            continue
        row, column = np.divmod(pixels, view.camera.width)
        local = view.camera.rays[row, column] * view.depth[row, column, None]
        normals = edge_keeping_normals(view.depth, view.camera, part)
        rows.append(
            (
                apply(view.world_from_camera, local.astype(np.float64)),
                normals[row - part[0].start, column - part[1].start] @ view.world_from_camera[:3, :3].T,
                view.rgb[row, column],
                np.full(len(pixels), index, dtype=np.int32),
            )
        )
    if not rows:
        empty = np.zeros((0, 3))
        return SurfacePoints(empty, empty, empty.astype(np.uint8), *np.zeros((2, 0), np.int32))
    positions, normals, colors, view = (np.concatenate(column) for column in zip(*rows))
    return SurfacePoints(positions, normals, colors, view, np.ones(len(view), dtype=np.int32))


def _votes(
    points: SurfacePoints, views: Sequence[DepthView], band: float, config: ObservingConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per point [N]: views that see target there, something else there, or past it; and the depth
    differences [M] (metres) of other views' readings at the same place, from the same side: what lies
    behind a thin wall is no reading of its front.

    band: metres within which a reading shows the point.
    """
    count = len(points.positions)
    mine, through = np.zeros(count, dtype=np.int32), np.zeros(count, dtype=np.int32)
    other = np.zeros(count, dtype=np.float64)
    residuals = []
    for index, view in enumerate(views):
        local = apply(inverse(view.world_from_camera), points.positions)
        pixels, z = view.camera.project(local)
        with np.errstate(invalid="ignore"):
            inside = view.camera.shows(pixels)
        column, row = pixels[inside].astype(int).T
        offset = pixels[inside] - (column + 0.5)[:, None] * [1, 0] - (row + 0.5)[:, None] * [0, 1]
        if not len(row):
            continue
        part = np.s_[row.min() : row.max() + 1, column.min() : column.max() + 1]
        du, dv = (
            slope[row - row.min(), column - column.min()] for slope in depth_slopes_within(view.depth, part)
        )
        depth = view.depth[row, column]
        depth = depth + du * offset[:, 0] + dv * offset[:, 1]
        difference, what = depth - z[inside], view.what[row, column]
        near = (np.abs(difference) < band) & (what != NOTHING)
        mine[inside] += near & (what == TARGET)
        other[inside] += near * ((what == OTHER) + config.unowned_vote * (what == UNOWNED))
        through[inside] += (difference > band) & (what != NOTHING) & (what != BORDER)
        foreign = points.column("view")[inside] != index
        toward = view.world_from_camera[:3, 3] - points.positions[inside]
        cosine = dots(toward, points.normals[inside]) / lengths(toward)
        residuals.append(difference[near & (what == TARGET) & foreign & (cosine > config.min_side_cosine)])
    return mine, other, through, np.concatenate(residuals)


def _belongs_to_body(positions: np.ndarray, pixel: float, config: ObservingConfig) -> np.ndarray:
    """[N] bool: points in pieces that hold a fair share of the points, and not small ones far away.

    Something in front of an object may cut its visible surface in two, so several pieces are kept.
    """
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    side = config.piece_cell * pixel
    cells, cell = np.unique(np.floor(positions / side).astype(np.int64), axis=0, return_inverse=True)
    cell = cell.ravel()
    tree = cKDTree(cells)
    graph = tree.sparse_distance_matrix(tree, 2.9, output_type="coo_matrix")
    _, piece = connected_components(graph, directed=False)
    piece = piece[cell]
    sizes = np.bincount(piece)
    main = int(np.argmax(sizes))
    body = positions[piece == main]
    extent = float(np.linalg.norm(np.ptp(body, axis=0)))
    keep = sizes >= config.min_piece * len(positions)
    main_tree = cKDTree(body)
    for index in np.flatnonzero(keep):
        gap = float(main_tree.query(positions[piece == index])[0].min())
        share = max(config.min_piece_gap, sizes[index] / sizes[main])
        keep[index] = index == main or gap < config.piece_gap * extent * share
    return keep[piece]

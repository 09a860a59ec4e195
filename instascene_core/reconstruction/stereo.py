"""Depth images from posed colour images: plane sweep, semi-global smoothing, cross-view consistency.

For each frame, planes parallel to the image are swept in steps of equal disparity (Collins 1996);
the match of a plane is the zero-mean NCC of small windows with several neighbouring views, the best
two of which count (the others may be occluded).  Semi-global matching (Hirschmüller 2008) carries depth over
weak texture.  A depth survives where other frames' depths agree with it, and is averaged with them.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.reconstruction.triangulation import SparsePoints, neighbours_by_pose

logger = logging.getLogger(__name__)

_MAX_PIXELS = 320 * 240  # resolution of the sweep
_NUM_SOURCES = 4
_MAX_PLANES = 112
_BEYOND = 2.0  # the sweep goes this much farther than the farthest points found
_WINDOW = 5  # pixels
_MIN_VARIANCE = 1.0  # grey levels²: flatter windows match anything, so they get the neutral cost 1
_GOOD_ANGLE, _MAX_ANGLE = np.deg2rad(10), np.deg2rad(35)  # triangulation angles
_OUTSIDE = -10_000.0  # grey value of no image: pulls any window's mean below zero
_P1, _P2 = 0.08, 0.6  # smoothness: for one plane's step, for a jump
_AGREEMENT = 0.01  # relative depth difference at which two frames still see the same surface
_MIN_AGREEING = 2  # other frames


@dataclass(frozen=True)
class _Reference:
    """A frame at the sweep's resolution."""

    camera: PinholeCamera
    world_from_camera: np.ndarray
    grey: np.ndarray  # [H, W] float32, 0 … 255; _OUTSIDE where the image shows nothing


def depth_from_stereo(
    frames: list[Frame],
    points: SparsePoints,
    max_frames: int = 40,
    progress: ProgressCallback = no_progress,
) -> list[Frame]:
    """The frames, up to `max_frames` of them with `depth` estimated from their neighbours.

    Depth is 0 where no agreement was found; the other frames (close to one that has depth) get none.

    Raises InputError when hardly anything agrees: then poses or intrinsics are wrong.
    """
    references = [_reference(frame) for frame in frames]
    swept = _spread_out(frames, max_frames)

    def sweep(i: int) -> np.ndarray:
        sources = _choose_sources(references, i, points)
        return _sweep(references, i, sources, _inverse_depths(references, i, sources, points))

    depths: dict[int, np.ndarray] = {}
    with ThreadPoolExecutor(max_workers=2) as pool:  # cv2 and large numpy operations release the GIL
        for i, depth in zip(swept, pool.map(sweep, swept)):
            depths[i] = depth
            progress("stereo", len(depths) / len(swept), f"{len(depths)} of {len(swept)} images")
    order = neighbours_by_pose(frames)
    fused = {i: _fuse(references, depths, i, [j for j in order[i] if j in depths][:8]) for i in swept}
    share = float(np.mean([(depth > 0).mean() for depth in fused.values()]))
    logger.info("stereo: %.0f %% of the pixels have a depth that several views agree on", 100 * share)
    if share < 0.01:
        raise InputError(
            "The images' depths contradict one another; check poses and intrinsics, or give depth images."
        )
    return [_with_depth(frame, fused[i]) if i in fused else frame for i, frame in enumerate(frames)]


def _spread_out(frames: list[Frame], count: int) -> list[int]:
    """Up to `count` frames, each the one least like those already taken (farthest-point sampling)."""
    centers = np.stack([frame.world_from_camera[:3, 3] for frame in frames])
    forward = np.stack([frame.world_from_camera[:3, 2] for frame in frames])
    unit = max(float(np.linalg.norm(centers.std(axis=0))), 1e-9)
    views = np.concatenate([centers / unit, forward], axis=1)
    taken, nearest = [0], np.full(len(frames), np.inf)
    while len(taken) < min(count, len(frames)):
        nearest = np.minimum(nearest, np.linalg.norm(views - views[taken[-1]], axis=1))
        nearest[taken] = -1
        taken.append(int(nearest.argmax()))
    return sorted(taken)


def _reference(frame: Frame) -> _Reference:
    import cv2

    factor = min(1.0, (_MAX_PIXELS / (frame.camera.width * frame.camera.height)) ** 0.5)
    camera = frame.camera.scaled(factor)
    grey = frame.rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    if frame.valid is not None:
        grey[~frame.valid] = _OUTSIDE
    if factor < 1:
        grey = cv2.resize(grey, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    return _Reference(camera, frame.world_from_camera, grey)


def _in_view(reference: _Reference, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pixels [P, 2], z [P], inside the image [P])."""
    pose = reference.world_from_camera
    pixels, z = reference.camera.project((positions - pose[:3, 3]) @ pose[:3, :3])
    with np.errstate(invalid="ignore"):
        inside = ((pixels > 0) & (pixels < [reference.camera.width, reference.camera.height])).all(-1)
    return pixels, z, inside & (z > 0)


def _points_seen(references: list[_Reference], index: int, points: SparsePoints) -> np.ndarray:
    """[P, 3] points that the frame matched, or where those are few, all that fall into its image."""
    own = points.positions[points.observations[index]]
    return own if len(own) >= 20 else points.positions[_in_view(references[index], points.positions)[2]]


def _choose_sources(references: list[_Reference], index: int, points: SparsePoints) -> list[int]:
    """Views that see the same points from usefully different directions, spread to several sides."""
    seen = _points_seen(references, index, points)
    if len(seen) < 3:
        return []
    center = references[index].world_from_camera[:3, 3]
    own = _unit(seen - center)
    forward = references[index].world_from_camera[:3, 2]
    scores, sides = {}, {}
    for j, other in enumerate(references):
        if j == index or forward @ other.world_from_camera[:3, 2] < np.cos(_MAX_ANGLE + np.deg2rad(10)):
            continue
        inside = _in_view(other, seen)[2]
        rays = _unit(seen - other.world_from_camera[:3, 3])
        angle = np.arccos(np.clip((own * rays).sum(-1), -1, 1))
        useful = np.minimum(angle / _GOOD_ANGLE, 1) * np.clip((_MAX_ANGLE - angle) / (_MAX_ANGLE / 2), 0, 1)
        scores[j] = float((useful * inside).mean())
        baseline = other.world_from_camera[:3, 3] - center
        sides[j] = baseline / max(np.linalg.norm(baseline), 1e-9)
    chosen: list[int] = []
    while scores and len(chosen) < _NUM_SOURCES:
        best = max(scores, key=scores.__getitem__)
        if scores.pop(best) < 0.05:
            break
        chosen.append(best)
        for j in scores:  # the next one rather from another side
            scores[j] *= 1 - 0.5 * max(0.0, float(sides[j] @ sides[best])) ** 2
    return chosen


def _inverse_depths(
    references: list[_Reference], index: int, sources: list[int], points: SparsePoints
) -> np.ndarray:
    """[D] planes, equally spaced in inverse depth, about one pixel of disparity apart, near to far."""
    reference = references[index]
    pose = reference.world_from_camera
    _, z, inside = _in_view(reference, points.positions)
    own = (_points_seen(references, index, points) - pose[:3, 3]) @ pose[:3, 2]
    own = own[own > 0]
    everything = z[inside]
    if not sources or len(own) < 3:
        return np.empty(0)
    # The frame's own points set the range; all points in its view may widen it a little.
    near = min(np.quantile(own, 0.02), max(np.quantile(everything, 0.02), 0.7 * np.quantile(own, 0.02)))
    far = max(np.quantile(own, 0.98), min(np.quantile(everything, 0.98), 1.5 * np.quantile(own, 0.98)))
    first, last = 1 / (0.8 * near), 1 / (_BEYOND * far)
    baseline = max(
        float(np.linalg.norm(references[j].world_from_camera[:3, 3] - pose[:3, 3])) for j in sources
    )
    planes = int(np.ceil((first - last) * baseline * reference.camera.fx))
    return np.linspace(first, last, int(np.clip(planes, 16, _MAX_PLANES)))


def _sweep(
    references: list[_Reference], index: int, sources: list[int], inverse_depths: np.ndarray
) -> np.ndarray:
    """Depth [H, W] float32 of one frame, 0 where nothing matches."""
    reference = references[index]
    if not len(inverse_depths):
        return np.zeros(reference.grey.shape, dtype=np.float32)
    cost = _matching_cost(reference, [references[j] for j in sources], inverse_depths)
    smoothed = _semi_global(cost)
    best = smoothed.argmin(axis=2)
    inside = (best > 0) & (best < len(inverse_depths) - 1)
    inner = np.clip(best, 1, len(inverse_depths) - 2)
    before, at, after = (
        np.take_along_axis(smoothed, (inner + k)[..., None], axis=2)[..., 0] for k in (-1, 0, 1)
    )
    curvature = before - 2 * at + after
    shift = np.where(curvature > 1e-6, 0.5 * (before - after) / np.maximum(curvature, 1e-6), 0)
    step = inverse_depths[1] - inverse_depths[0]
    inverse = inverse_depths[inner] + np.clip(shift, -0.5, 0.5) * step
    matched = np.take_along_axis(cost, inner[..., None], axis=2)[..., 0] < 0.9
    matched &= reference.grey >= 0
    return np.where(inside & matched, 1 / inverse, 0).astype(np.float32)


def _matching_cost(
    reference: _Reference, sources: list[_Reference], inverse_depths: np.ndarray
) -> np.ndarray:
    """1 − NCC of the best two of the sources (one of two), [H, W, D] float32 in [0, 2]."""
    import cv2

    height, width = reference.grey.shape
    size = (_WINDOW, _WINDOW)

    def mean(image: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(image, -1, size, borderType=cv2.BORDER_REFLECT)

    grey = reference.grey
    own_mean = mean(grey)
    own_variance = np.maximum(mean(grey * grey) - own_mean**2, 0)
    silent = (own_variance < _MIN_VARIANCE) | (own_mean < 0)
    own_spread = np.maximum(own_variance, _MIN_VARIANCE)
    cost = np.empty((len(inverse_depths), height, width), dtype=np.float32)
    for d, inverse_depth in enumerate(inverse_depths):
        best = np.full(grey.shape, 2, dtype=np.float32)
        second = best.copy()
        for source in sources:
            homography = _homography(source, reference, inverse_depth)
            warped = cv2.warpPerspective(
                source.grey, homography, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_CONSTANT, borderValue=_OUTSIDE,
            )  # fmt: skip
            its_mean = mean(warped)
            variance = np.maximum(mean(warped * warped) - its_mean**2, _MIN_VARIANCE)
            covariance = mean(grey * warped) - own_mean * its_mean
            score = 1 - covariance / np.sqrt(variance * own_spread)
            score[(its_mean < 0) | silent] = 1  # outside the source, or nothing to match: says nothing
            np.minimum(second, np.maximum(best, score), out=second)
            np.minimum(best, score, out=best)
        cost[d] = 0.5 * (best + second) if len(sources) > 2 else best
    return np.ascontiguousarray(np.clip(cost, 0, 2).transpose(1, 2, 0))


def _homography(source: _Reference, reference: _Reference, inverse_depth: float) -> np.ndarray:
    """[3, 3]: OpenCV pixel of the reference → OpenCV pixel of the source, for one swept plane."""
    pose = np.linalg.inv(source.world_from_camera) @ reference.world_from_camera
    plane = pose[:3, :3] + np.outer(pose[:3, 3], [0, 0, inverse_depth])
    half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])  # to OpenCV's pixel centres
    return half @ source.camera.matrix @ plane @ np.linalg.inv(reference.camera.matrix) @ np.linalg.inv(half)


def _semi_global(cost: np.ndarray) -> np.ndarray:
    """Costs [H, W, D] summed along paths from four sides."""
    total = np.zeros_like(cost)
    columns = np.ascontiguousarray(cost.transpose(1, 0, 2))
    total_columns = np.zeros_like(columns)
    for lines, sums in ((cost, total), (columns, total_columns)):
        for order in (range(len(lines)), range(len(lines) - 1, -1, -1)):
            path = None
            for row in order:
                path = _path_step(path, lines[row])
                sums[row] += path
    return total + total_columns.transpose(1, 0, 2)


def _path_step(path: np.ndarray | None, cost: np.ndarray) -> np.ndarray:
    """One step of all parallel paths [L, D] (Hirschmüller 2008, eq. 13)."""
    if path is None:
        return cost.copy()
    least = path.min(axis=1, keepdims=True)
    best = np.minimum(path, least + np.float32(_P2))
    stepped = path + np.float32(_P1)
    np.minimum(best[:, 1:], stepped[:, :-1], out=best[:, 1:])
    np.minimum(best[:, :-1], stepped[:, 1:], out=best[:, :-1])
    best += cost
    best -= least
    return best


def _fuse(
    references: list[_Reference], depths: dict[int, np.ndarray], index: int, others: list[int]
) -> np.ndarray:
    """Depth [H, W] averaged with the other frames' depths that agree; 0 where too few do."""
    reference = references[index]
    depth = depths[index]
    rows, columns = np.nonzero(depth > 0)
    z = depth[rows, columns].astype(np.float64)
    rays = reference.camera.rays[rows, columns].astype(np.float64)
    pose = reference.world_from_camera
    world = (rays * z[:, None]) @ pose[:3, :3].T + pose[:3, 3]
    total, agreeing = z.copy(), np.zeros(len(z), dtype=np.int64)
    for j in others:
        other = references[j]
        pixels, other_z, inside = _in_view(other, world)
        u, v = np.where(inside[:, None], pixels, 0).astype(np.int64).T
        found = depths[j][v, u].astype(np.float64)
        relative = np.where(inside & (found > 0), (found - other_z) / np.maximum(other_z, 1e-9), np.inf)
        agree = np.abs(relative) < _AGREEMENT
        # The point slid along the other's ray to the depth found there, seen along this frame's axis.
        ray = other.camera.rays[v, u].astype(np.float64) @ other.world_from_camera[:3, :3].T
        total += np.where(agree, z + (found - other_z) * (ray @ pose[:3, 2]), 0)
        agreeing += agree
    result = np.zeros_like(depth)
    enough = agreeing >= min(_MIN_AGREEING, max(1, len(others)))
    result[rows[enough], columns[enough]] = (total / (1 + agreeing))[enough]
    return result


def _with_depth(frame: Frame, depth: np.ndarray) -> Frame:
    """The frame with the sweep's depth brought to its own resolution (nearest, so edges stay edges)."""
    import cv2

    size = (frame.camera.width, frame.camera.height)
    if depth.shape != size[::-1]:
        depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
    return frame.with_(depth=depth.astype(np.float32))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)

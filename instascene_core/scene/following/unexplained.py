"""What new frames show and the scene does not explain: as points, parted into things."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from instascene_core.config.following import FollowingConfig
from instascene_core.frame import Frame
from instascene_core.geometry import SurfacePoints
from instascene_core.geometry.clusters import dbscan
from instascene_core.geometry.depth_maps import edge_keeping_normals
from instascene_core.scene.following.comparing import Comparison, least_around
from instascene_core.segmentation import Support
from instascene_core.transforms import apply

_SPECK = 12  # pixels: a smaller patch is the sensor's noise
_REACH = 3.0  # spacings: points nearer than this belong together
_TOGETHER = 4  # points within reach of one that is not at a thing's rim


@dataclass(frozen=True)
class NewThing:
    """Points that nothing explains."""

    points: SurfacePoints  # one a cell of `spacing`; `view` is the first frame that shows it
    since: int  # index of the first frame that shows any of it
    noise: float  # metres: standard deviation of the depth they are from


def unexplained_points(comparisons: Sequence[Comparison]) -> tuple[SurfacePoints, np.ndarray]:
    """All points before what is expected, through which no newer frame looks, `view` is the frame's index;
    and [N] metres, the noise of the depth of each."""
    parts = [_points_before(c, index) for index, c in enumerate(comparisons)]
    points = SurfacePoints.joined(parts)
    lasting = np.ones(len(points), dtype=bool)
    views = points.column("view")
    for index, comparison in enumerate(comparisons):
        older = views < index
        lasting[older] &= ~looked_through(comparison, points.positions[older])
    noise = np.zeros(len(points))
    for index, comparison in enumerate(comparisons):
        own = views == index
        at = comparison.frame.locate(points.positions[own])
        noise[own] = comparison.noise[at.row, at.column]
    return points.select(lasting), noise[lasting]


def passing_pixels(comparison: Comparison, things: Sequence[NewThing], config: FollowingConfig) -> np.ndarray:
    """[H, W] bool: what stands before the scene in this frame, and is none of the things that came to it: a
    hand, an arm, a flying pixel."""
    passing = comparison.before.copy()
    if things and passing.any():
        frame = comparison.frame
        seen = apply(frame.world_from_camera, frame.camera.back_project(frame.require_depth())[passing])
        known = cKDTree(np.concatenate([thing.points.positions for thing in things]))
        reach = _REACH * config.spacing + comparison.tolerance[passing]
        passing[passing] = known.query(seen)[0] > reach
    return passing


def depth_of_points(frame: Frame, points: np.ndarray, outline: int) -> np.ndarray:
    """[H, W] metres: the nearest of points [K, 3] within so many pixels, infinite where there is none."""
    at = frame.locate(points)
    nearest = np.full((frame.camera.height, frame.camera.width), np.inf, np.float32)
    shown = at.row[at.inside], at.column[at.inside]
    np.minimum.at(nearest, shown, at.z[at.inside].astype(np.float32))
    return least_around(nearest, outline)


def things_among(
    points: SurfacePoints, noise: np.ndarray, support: Support | None, config: FollowingConfig
) -> list[NewThing]:
    """The points parted into things: connected, in enough frames, large enough, not the support itself.

    noise: [N] metres, of the depth of each.
    """
    if len(points) == 0:
        return []
    cells, index = np.unique(
        np.floor(points.positions / config.spacing).astype(np.int64), axis=0, return_inverse=True
    )
    index = index.reshape(-1)
    views = points.column("view")
    merged = SurfacePoints(
        _means(points.positions, index, len(cells)),
        _unit(_means(points.normals, index, len(cells))),
        colors=_means(points.column("colors"), index, len(cells)).astype(np.float32),
        view=_least(views, index, len(cells)),
    )
    groups = dbscan(merged.positions, _REACH * config.spacing, _TOGETHER)
    found = []
    for group in range(groups.max() + 1):
        own = merged.select(groups == group)
        frames = np.unique(views[groups[index] == group])
        if _is_thing(own, len(frames), support, config):
            mine = groups[index] == group
            found.append(NewThing(own, int(frames[0]), float(np.median(noise[mine]))))
    return found


def _is_thing(own: SurfacePoints, frames: int, support: Support | None, config: FollowingConfig) -> bool:
    if len(own) < config.min_points or frames < config.min_views:
        return False
    if np.ptp(own.positions, axis=0).max() < config.min_size:
        return False
    return support is None or bool(np.mean(~support.is_structure(own.positions)) >= config.min_free)


def looked_through(comparison: Comparison, points: np.ndarray) -> np.ndarray:
    """[K] bool: points [K, 3] behind which the frame has measured something, also all around them."""
    at = comparison.frame.locate(points)
    tolerance = comparison.tolerance[at.row, at.column]
    return at.inside & (comparison.empty_to[at.row, at.column] > at.z + tolerance)


def _points_before(comparison: Comparison, index: int) -> SurfacePoints:
    """The points of the pixels before what is expected, specks left out."""
    import cv2

    frame = comparison.frame
    count, labels, stats, _ = cv2.connectedComponentsWithStats(comparison.before.astype(np.uint8))
    large = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= _SPECK)
    chosen = comparison.before & np.isin(labels, large[large > 0]) & (count > 1)
    depth, turn = frame.require_depth(), frame.world_from_camera[:3, :3]
    normals = edge_keeping_normals(depth, frame.camera)[chosen]
    return SurfacePoints(
        apply(frame.world_from_camera, frame.camera.back_project(depth)[chosen].astype(np.float64)),
        normals @ turn.T,
        colors=frame.rgb[chosen].astype(np.float32) / 255,
        view=np.full(int(chosen.sum()), index, dtype=np.int32),
    )


def _means(values: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """[count, C] means of the rows [N, C] that share an index."""
    sizes = np.bincount(index, minlength=count)
    sums = [np.bincount(index, weights=column, minlength=count) for column in values.T]
    return np.stack(sums, axis=1) / sizes[:, None]


def _least(values: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    least = np.full(count, np.iinfo(np.int32).max, dtype=np.int32)
    np.minimum.at(least, index, values)
    return least


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

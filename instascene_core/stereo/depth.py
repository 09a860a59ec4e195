"""Depth images from posed colour images, in the order of the work.

For each frame: a plane sweep on a small image (`sweep`), slanted patches that are refined on larger and
larger ones (`patches`), and of all frames together what several of them agree on (`agreement`).
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.rendering.library import num_threads
from instascene_core.stereo.agreement import agreed_depth
from instascene_core.stereo.patches import DepthPlanes, finer, planes_of_depth, refine
from instascene_core.stereo.sweep import sweep, swept_range
from instascene_core.stereo.triangulation import SparsePoints, neighbours_by_pose
from instascene_core.stereo.views import StereoView, choose_sources, pyramid

logger = logging.getLogger(__name__)

_COARSE_ITERATIONS, _FINEST_ITERATIONS = 4, 2  # of the patches: at the coarser levels, at the finest
_LEAST_COVERED = 0.01  # share of the pixels; with less, poses or intrinsics are wrong
_COMPARED = 8  # other frames that a frame's depth is compared with


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
    levels = list(zip(*(pyramid(frame) for frame in frames), strict=True))  # coarse to fine, of all frames
    matched = spread_out(frames, max_frames)
    planes: dict[int, DepthPlanes] = {}
    with ThreadPoolExecutor(max_workers=num_threads()) as pool:  # cv2, numpy, the kernel: all release the GIL
        for i, found in zip(matched, pool.map(lambda i: _match(levels, i, points), matched)):
            planes[i] = found
            progress("stereo", len(planes) / len(matched), f"{len(planes)} of {len(matched)} images")
        order = neighbours_by_pose(frames)
        others = {i: [j for j in order[i] if j in planes][:_COMPARED] for i in matched}
        depths = pool.map(lambda i: agreed_depth(levels[-1], planes, i, others[i]), matched)
        agreed = dict(zip(matched, depths))
    share = float(np.mean([(depth > 0).mean() for depth in agreed.values()]))
    logger.info("stereo: %.0f %% of the pixels have a depth that several views agree on", 100 * share)
    if share < _LEAST_COVERED:
        raise InputError(
            "The images' depths contradict one another; check poses and intrinsics, or give depth images."
        )
    return [_with_depth(frame, agreed[i]) if i in agreed else frame for i, frame in enumerate(frames)]


def _match(levels: Sequence[Sequence[StereoView]], index: int, points: SparsePoints) -> DepthPlanes:
    """Planes of one frame at the finest level."""
    coarsest = levels[0]
    sources = choose_sources(coarsest, index, points)
    inverse_depths = swept_range(coarsest, index, sources, points)
    if not len(inverse_depths):
        return DepthPlanes.unknown(levels[-1][index].camera)
    limits = float(inverse_depths[-1]), float(inverse_depths[0])
    depth = sweep(coarsest[index], [coarsest[j] for j in sources], inverse_depths)
    found = planes_of_depth(depth, coarsest[index].camera, limits[0])
    for views in levels:
        own, finest = views[index], views is levels[-1]
        iterations = _FINEST_ITERATIONS if finest else _COARSE_ITERATIONS
        found = refine(own, [views[j] for j in sources], finer(found, own.camera), limits, iterations)
    return found


def spread_out(frames: Sequence[Frame], count: int) -> list[int]:
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


def _with_depth(frame: Frame, depth: np.ndarray) -> Frame:
    """The frame with the estimated depth brought to its own resolution (nearest, so edges stay edges)."""
    import cv2

    size = (frame.camera.width, frame.camera.height)
    if depth.shape != size[::-1]:
        depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
    return frame.with_(depth=depth.astype(np.float32))

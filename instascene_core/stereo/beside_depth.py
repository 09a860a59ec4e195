"""What stereo of colours says of a depth that a sensor measured, pixel by pixel.

The sensor's depth is where the search begins: slanted patches (`patches`) of a frame are refined until its
neighbours match best.  How far they move is what the sensor is off, and what the matching is; the former is
the same in all frames of a camera, the latter is not.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from instascene_core.frame import Frame
from instascene_core.rendering.library import num_threads
from instascene_core.stereo.depth import spread_out
from instascene_core.stereo.patches import planes_of_depth, refine
from instascene_core.stereo.triangulation import SparsePoints
from instascene_core.stereo.views import StereoView, choose_sources, pyramid

_POINTS = 60  # of a frame's depth: they tell which frames see the same
_MARGIN = 1.3  # the search goes this much farther than what was measured, and as much nearer
_ITERATIONS = 3  # of the patches
_MAX_COST = 0.4  # 1 − NCC above which a pixel is not matched well enough to say anything
_MAX_SHIFT = 0.06  # relative depth: what moved farther has found another surface


@dataclass(frozen=True)
class DepthDifference:
    """The sensor's inverse depth less that of stereo, at the S pixels of a frame that were matched."""

    places: np.ndarray  # [S, 2] float32: shares of the image's width and height
    inverse: np.ndarray  # [S] float32, 1 / m

    def __len__(self) -> int:
        return len(self.inverse)


def differences_from_stereo(
    frames: Sequence[Frame], max_frames: int, max_pixels: int
) -> list[DepthDifference]:
    """Of up to `max_frames` of the frames, spread over all, which must have depth; fewer where a frame has no
    neighbours that see the same from usefully far apart.

    max_pixels: of the images that are compared, which are made smaller where they are larger.
    """
    views = [_limited(frame, max_pixels) for frame in frames]
    points = _points_of_depth(frames)

    def matched(index: int) -> DepthDifference | None:
        sources = choose_sources(views, index, points)
        return _difference(frames[index], views[index], [views[j] for j in sources]) if sources else None

    with ThreadPoolExecutor(max_workers=num_threads()) as pool:  # cv2, numpy, the kernel: all release the GIL
        found = list(pool.map(matched, spread_out(frames, max_frames)))
    return [difference for difference in found if difference is not None and len(difference)]


def _limited(frame: Frame, max_pixels: int) -> StereoView:
    """The largest image of the frame's pyramid that is small enough; its smallest where none is."""
    views = pyramid(frame)
    return next((view for view in reversed(views) if view.grey.size <= max_pixels), views[0])


def _points_of_depth(frames: Sequence[Frame]) -> SparsePoints:
    """Some points of each frame's depth, as if this frame alone had seen them."""
    rng, positions, observations, count = np.random.default_rng(0), [np.empty((0, 3))], [], 0
    for frame in frames:
        depth, pose = frame.require_depth(), frame.world_from_camera
        rows, columns = np.nonzero(depth > 0)
        chosen = rng.choice(len(rows), min(_POINTS, len(rows)), replace=False)
        z = depth[rows[chosen], columns[chosen], None].astype(np.float64)
        positions.append(
            (frame.camera.rays[rows[chosen], columns[chosen]] * z) @ pose[:3, :3].T + pose[:3, 3]
        )
        observations.append(np.arange(count, count + len(chosen)))
        count += len(chosen)
    return SparsePoints(np.concatenate(positions), tuple(observations))


def _difference(frame: Frame, view: StereoView, sources: Sequence[StereoView]) -> DepthDifference | None:
    inverse = _inverse_at(frame.require_depth(), (view.camera.width, view.camera.height))
    measured = inverse > 0
    if not measured.any():
        return None
    near, middle, far = np.quantile(inverse[measured], [0.99, 0.5, 0.01])
    depth = np.where(measured, 1 / np.where(measured, inverse, 1), 0).astype(np.float32)
    planes = refine(
        view,
        sources,
        planes_of_depth(depth, view.camera, float(middle)),
        (float(far / _MARGIN), float(near * _MARGIN)),
        _ITERATIONS,
    )
    difference = inverse - planes.inverse[0]
    matched = measured & (planes.cost < _MAX_COST) & (np.abs(difference) < _MAX_SHIFT * inverse)
    rows, columns = np.nonzero(matched)
    places = (np.stack([columns, rows], axis=1) + 0.5) / inverse.shape[::-1]
    return DepthDifference(places.astype(np.float32), difference[rows, columns].astype(np.float32))


def _inverse_at(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Inverse depth [h, w] float32 at another size (width, height), 1 / m; 0 where anything is missing.

    A mean over what each pixel covers, as grey values are: the nearest reading lies up to half a pixel beside
    its middle, which on a slanted table is as much as sensors bend.
    """
    import cv2

    known = (depth > 0).astype(np.float32)
    inverse = np.where(known > 0, 1 / np.where(known > 0, depth, 1), 0).astype(np.float32)
    if depth.shape == size[::-1]:
        return inverse
    how = cv2.INTER_AREA if size[0] < depth.shape[1] else cv2.INTER_LINEAR
    whole = cv2.resize(known, size, interpolation=how) > 0.999
    return np.where(whole, cv2.resize(inverse, size, interpolation=how), 0)

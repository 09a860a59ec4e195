"""Where the Gaussians start: on the surface that depth images show."""

import logging
from dataclasses import dataclass

import numpy as np

from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel, gaussians_from_points
from instascene_core.geometry import SurfacePoints
from instascene_core.geometry.depth_maps import normals_from_depth
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.threads import side_by_side

logger = logging.getLogger(__name__)

_MAX_SAMPLES = 3_000_000  # back-projected pixels over all frames
_OCTREE_DEPTH = 14  # finest cell: 1 / 16,384 of the scene
_SMALLEST_CELL = 1.2  # pixels' footprints: a cell this small is not split further
_DETAIL_SLOPE = 2.0  # grey levels a pixel that double a pixel's importance


@dataclass(frozen=True)
class Initialisation:
    """What training starts from."""

    gaussians: GaussianModel
    frames: list[Frame]  # the given ones, with estimated depth where there was none
    depth_is_measured: bool  # by a sensor; else estimated from the images


def initialise(frames: list[Frame], budget: int, progress: ProgressCallback = no_progress) -> Initialisation:
    """Start from the sensor's depth where frames have it, else from depth estimated by stereo.

    Raises InputError when the depth is unusable, or when too little can be triangulated.
    """
    if any(frame.depth is not None and (frame.depth > 0).any() for frame in frames):
        progress("initialise", 0.0, "from depth images")
        model = gaussians_from_depth(frames, budget)
        progress("initialise", 1.0, f"{len(model)} Gaussians")
        return Initialisation(model, frames, True)
    from instascene_core.reconstruction.background import shell_points
    from instascene_core.stereo import depth_from_stereo, triangulate

    frames = [frame.with_(depth=None) for frame in frames]  # an all-zero depth says nothing
    frames = depth_from_stereo(frames, triangulate(frames, progress), progress=progress)
    surface = back_project_frames(frames)
    points = thin_out(SurfacePoints.joined([surface, shell_points(frames, surface)]), budget)
    logger.info("initialised %d Gaussians from stereo", len(points))
    return Initialisation(gaussians_from_points(points), frames, False)


def gaussians_from_depth(frames: list[Frame], budget: int) -> GaussianModel:
    """About `budget` Gaussians on the surface shown by the frames' depth images.

    Raises InputError when no frame has usable depth.
    """
    points = thin_out(back_project_frames(frames), budget)
    logger.info("initialised %d Gaussians from depth", len(points))
    return gaussians_from_points(points)


def back_project_frames(frames: list[Frame]) -> SurfacePoints:
    """Every trusted depth pixel of the frames as a world point (subsampled to a few million)."""
    with_depth = [frame for frame in frames if frame.depth is not None]
    pixels = sum(frame.depth.size for frame in frames if frame.depth is not None)
    stride = max(1, int(np.ceil(np.sqrt(pixels / _MAX_SAMPLES))))
    numbered = list(enumerate(with_depth))
    parts = list(side_by_side(lambda item: back_project(item[1], stride, offset=item[0]), numbered))
    if sum(len(part) for part in parts) < 10:
        raise InputError("The frames' depth images show no surface: they are empty, zero or only noise.")
    return SurfacePoints.joined(parts)


def back_project(
    frame: Frame, stride: int = 1, offset: int = 0, where: np.ndarray | None = None
) -> SurfacePoints:
    """The trusted depth pixels of one frame, every `stride`-th each way; only `where` [H, W] bool.

    Raises InputError when the frame has no depth image.
    """
    if frame.depth is None:
        raise InputError(f"The frame '{frame.name}' has no depth image, so no surface can be taken from it.")
    found = normals_from_depth(frame.depth, frame.camera)
    usable = found.valid if frame.valid is None else found.valid & frame.valid
    if where is not None:
        usable = usable & where
    # Frames with another offset look at other pixels of the grid: together they see everything.
    rows, columns = np.nonzero(usable[offset % stride :: stride, (offset // stride) % stride :: stride])
    rows, columns = rows * stride + offset % stride, columns * stride + (offset // stride) % stride
    depth = frame.depth[rows, columns, None]
    rotation = frame.world_from_camera[:3, :3].astype(np.float32)
    positions = (frame.camera.rays[rows, columns] * depth) @ rotation.T
    return SurfacePoints(
        positions=positions + frame.world_from_camera[:3, 3].astype(np.float32),
        normals=found.normals[rows, columns] @ rotation.T,
        colors=frame.rgb[rows, columns].astype(np.float32) / 255,
        footprints=depth[:, 0] / np.float32(np.sqrt(frame.camera.fx * frame.camera.fy)),
        importances=_detail(frame.rgb)[rows, columns],
    )


def _detail(rgb: np.ndarray) -> np.ndarray:
    """[H, W] float32 ≥ 1: how busy the image is around each pixel (1 = uniform)."""
    import cv2

    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    slope = np.hypot(cv2.Sobel(grey, -1, 1, 0, scale=0.125), cv2.Sobel(grey, -1, 0, 1, scale=0.125))
    return 1 + cv2.GaussianBlur(slope, (0, 0), 2.0) / _DETAIL_SLOPE


def thin_out(points: SurfacePoints, budget: int) -> SurfacePoints:
    """Average the points over the leaves of an octree, about `budget` of them, of equal importance.

    A cell is split while the importance of its points exceeds a limit, so places that many pixels
    show, and show in detail, get small cells; but none much smaller than a pixel's footprint there.
    """
    origin = points.positions.min(axis=0)
    span = float((points.positions.max(axis=0) - origin).max()) + 1e-9
    codes = _morton_codes((points.positions - origin) / np.float32(span * 1.0001))
    order = np.argsort(codes, kind="stable")
    points = points.select(order)
    levels = _octree_levels(codes[order], points, span)
    # Leaves grow in number as the limit falls; bisection on its logarithm.
    low, high = -20.0, float(np.log(points.column("importances").sum()))
    starts = np.array([0])
    for _ in range(24):
        limit = 0.5 * (low + high)
        starts = _leaves(levels, float(np.exp(limit)))
        if abs(len(starts) - budget) < 0.02 * budget:
            break
        low, high = (limit, high) if len(starts) > budget else (low, limit)
    return _average(points, starts)


@dataclass(frozen=True)
class _Level:
    """The cells of one octree level over points in Morton order."""

    starts: np.ndarray  # [C] first point of each cell
    importances: np.ndarray  # [C]
    divisible: np.ndarray  # [C] bool: larger than a pixel's footprint there
    children: np.ndarray  # [C + 1] index of the first cell at the next level


def _morton_codes(unit: np.ndarray) -> np.ndarray:
    """[N] int64 from positions [N, 3] in [0, 1): bits of x, y, z interleaved."""
    cells = np.clip(unit.astype(np.float64) * 2**_OCTREE_DEPTH, 0, 2**_OCTREE_DEPTH - 1).astype(np.int64)
    codes = np.zeros(len(cells), dtype=np.int64)
    for axis in range(3):
        value = cells[:, axis]
        spread = value
        for shift, mask in (
            (32, 0x1F00000000FFFF),
            (16, 0x1F0000FF0000FF),
            (8, 0x100F00F00F00F00F),
            (4, 0x10C30C30C30C30C3),
            (2, 0x1249249249249249),
        ):
            spread = (spread | (spread << shift)) & mask
        codes |= spread << axis
    return codes


def _octree_levels(codes: np.ndarray, points: SurfacePoints, span: float) -> list[_Level]:
    """All levels, coarsest first, of the octree over sorted Morton codes."""
    total = np.concatenate([[0.0], np.cumsum(points.column("importances"), dtype=np.float64)])
    all_starts = []
    for depth in range(_OCTREE_DEPTH + 1):
        prefix = codes >> (3 * (_OCTREE_DEPTH - depth))
        all_starts.append(np.concatenate([[0], np.flatnonzero(prefix[1:] != prefix[:-1]) + 1]))
    levels = []
    for depth, starts in enumerate(all_starts):
        last = depth == _OCTREE_DEPTH
        finer = all_starts[depth] if last else all_starts[depth + 1]
        children = np.append(np.searchsorted(finer, starts), len(finer))
        nearest = np.minimum.reduceat(points.column("footprints"), starts)
        cell = span / 2**depth
        levels.append(
            _Level(
                starts,
                np.diff(total[np.append(starts, len(codes))]),
                np.full(len(starts), False) if last else cell > _SMALLEST_CELL * nearest,
                children,
            )
        )
    return levels


def _leaves(levels: list[_Level], limit: float) -> np.ndarray:
    """[L] sorted first points of the leaves, when cells above `limit` are split."""
    found, alive = [], np.array([True])
    for depth, level in enumerate(levels):
        split = alive & level.divisible & (level.importances > limit)
        found.append(level.starts[alive & ~split])
        if depth + 1 < len(levels):
            alive = np.repeat(split, np.diff(level.children))
    return np.sort(np.concatenate(found))


def _average(points: SurfacePoints, starts: np.ndarray) -> SurfacePoints:
    """The means over runs of points that begin at `starts` [L]."""
    counts = np.diff(np.append(starts, len(points)))

    def mean(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values.astype(np.float64), starts) / counts.reshape(
            -1, *[1] * (values.ndim - 1)
        )

    normals = mean(points.normals)
    length = np.linalg.norm(normals, axis=1)
    good = length > 0.3  # both sides of a thin thing in one cell cancel
    return SurfacePoints(
        positions=mean(points.positions)[good].astype(np.float32),
        normals=(normals / np.maximum(length, 1e-12)[:, None])[good].astype(np.float32),
        colors=mean(points.column("colors"))[good].astype(np.float32),
        footprints=mean(points.column("footprints"))[good].astype(np.float32),
        importances=(mean(points.column("importances")) * counts)[good].astype(np.float32),
    )

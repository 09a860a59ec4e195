"""Where the Gaussians start: on the surface that depth images show (METHOD section 1)."""

import logging
from dataclasses import dataclass

import numpy as np
import torch

from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.reconstruction.depth_maps import normals_from_depth

logger = logging.getLogger(__name__)

SH_C0 = 0.28209479177387814  # the constant spherical harmonic
_MAX_SAMPLES = 3_000_000  # back-projected pixels over all frames
_COARSENING_LEVELS = 4  # cells grow by at most 2^4 where nothing was seen from near
_INITIAL_OPACITY = 0.7
_COVERAGE = 0.55  # standard deviation over the spacing: neighbours overlap without blurring


@dataclass(frozen=True)
class SurfacePoints:
    """Points on surfaces, world frame."""

    positions: np.ndarray  # [N, 3] float32 metres
    normals: np.ndarray  # [N, 3] float32 unit, toward the camera that saw the point
    colors: np.ndarray  # [N, 3] float32 in [0, 1]
    footprints: np.ndarray  # [N] float32 metres: what one pixel covers at that distance

    def __len__(self) -> int:
        return len(self.positions)


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
        return Initialisation(gaussians_from_depth(frames, budget), frames, True)
    from instascene_core.reconstruction.stereo import depth_from_stereo
    from instascene_core.reconstruction.triangulation import triangulate

    frames = [frame.with_(depth=None) for frame in frames]  # an all-zero depth says nothing
    frames = depth_from_stereo(frames, triangulate(frames, progress), progress=progress)
    return Initialisation(gaussians_from_depth(frames, budget), frames, False)


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
    pixels = sum(frame.depth.size for frame in with_depth)
    stride = max(1, int(np.ceil(np.sqrt(pixels / _MAX_SAMPLES))))
    parts = [_back_project(frame, stride, offset=i) for i, frame in enumerate(with_depth)]
    if sum(len(part) for part in parts) < 10:
        raise InputError("The frames' depth images show no surface: they are empty, zero or only noise.")
    return SurfacePoints(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("positions", "normals", "colors", "footprints")
        )
    )


def _back_project(frame: Frame, stride: int, offset: int) -> SurfacePoints:
    found = normals_from_depth(frame.depth, frame.camera)
    # Other frames look at other pixels of the grid, so that together they see everything.
    rows, columns = np.nonzero(found.valid[offset % stride :: stride, (offset // stride) % stride :: stride])
    rows, columns = rows * stride + offset % stride, columns * stride + (offset // stride) % stride
    depth = frame.depth[rows, columns, None]
    rotation = frame.world_from_camera[:3, :3].astype(np.float32)
    positions = (frame.camera.rays[rows, columns] * depth) @ rotation.T
    return SurfacePoints(
        positions=positions + frame.world_from_camera[:3, 3].astype(np.float32),
        normals=found.normals[rows, columns] @ rotation.T,
        colors=frame.rgb[rows, columns].astype(np.float32) / 255,
        footprints=depth[:, 0] / np.float32(np.sqrt(frame.camera.fx * frame.camera.fy)),
    )


def thin_out(points: SurfacePoints, budget: int) -> SurfacePoints:
    """Average the points over cells sized so that about `budget` remain.

    What was only seen from far gets cells up to 2^4 coarser, as one pixel covers more there.
    """
    if len(points) <= budget:
        return points
    origin = points.positions.min(axis=0)
    span = float((points.positions.max(axis=0) - origin).max())
    reference = float(np.quantile(points.footprints, 0.25))
    cell = max(reference, span / 2000)
    groups = None
    for _ in range(5):  # the count falls with the square of the cell: this converges at once
        groups = _group(points, origin, cell, reference)
        count = int(groups.max()) + 1
        if abs(count - budget) < 0.05 * budget:
            break
        cell *= float(np.sqrt(count / budget))
    return _average(points, groups)


def _group(points: SurfacePoints, origin: np.ndarray, cell: float, reference: float) -> np.ndarray:
    """[N] int64: which cell (0 … C−1) each point falls in."""
    relative = (points.positions - origin) / np.float32(cell)
    # The nearest view decides a neighbourhood's resolution, so near and far views share cells.
    coarse = _cell_keys(np.floor(relative / 2**_COARSENING_LEVELS).astype(np.int64))
    _, neighbourhood = np.unique(coarse, return_inverse=True)
    nearest = np.full(neighbourhood.max() + 1, np.inf, dtype=np.float32)
    np.minimum.at(nearest, neighbourhood, points.footprints)
    level = np.log2(np.maximum(nearest / np.float32(2 * reference), 1)).astype(np.int64)
    level = np.minimum(level, _COARSENING_LEVELS)[neighbourhood]
    keys = _cell_keys(np.floor(relative / np.exp2(level)[:, None]).astype(np.int64))
    _, groups = np.unique(keys * (_COARSENING_LEVELS + 1) + level, return_inverse=True)
    return groups


def _cell_keys(cells: np.ndarray) -> np.ndarray:
    """[N] int64 from cell indices [N, 3] (0 ≤ index < 2²⁰)."""
    cells = np.minimum(cells, 2**20 - 1)
    return (cells[:, 0] << 40) | (cells[:, 1] << 20) | cells[:, 2]


def _average(points: SurfacePoints, groups: np.ndarray) -> SurfacePoints:
    counts = np.bincount(groups)

    def mean(values: np.ndarray) -> np.ndarray:
        columns = [np.bincount(groups, weights=column) / counts for column in values.T]
        return np.stack(columns, axis=1)

    normals = mean(points.normals)
    length = np.linalg.norm(normals, axis=1)
    # Both sides of a thin thing in one cell cancel; a lone point among dense cells is a stray pixel.
    good = (length > 0.3) & (counts >= min(3, 0.05 * np.median(counts)))
    return SurfacePoints(
        positions=mean(points.positions)[good].astype(np.float32),
        normals=(normals / np.maximum(length, 1e-12)[:, None])[good].astype(np.float32),
        colors=mean(points.colors)[good].astype(np.float32),
        footprints=mean(points.footprints[:, None])[good, 0].astype(np.float32),
    )


def gaussians_from_points(points: SurfacePoints) -> GaussianModel:
    """One disk a point: facing along its normal, as wide as its neighbours are far, degree-0 colour."""
    from scipy.spatial import cKDTree

    n = len(points)
    neighbours = min(4, n)
    distances, _ = cKDTree(points.positions).query(points.positions, k=neighbours)
    spacing = distances.reshape(n, neighbours)[:, 1:].mean(axis=1) if n > 1 else points.footprints
    spacing = np.clip(spacing, 1e-7, 4 * np.median(spacing) + 1e-7)
    log_scales = np.log(_COVERAGE * spacing)[:, None].repeat(2, axis=1)
    # The smallest rotation of +z onto ±normal; the sign of a disk's normal means nothing.
    normals = np.where(points.normals[:, 2:] < 0, -points.normals, points.normals)
    quaternions = np.stack(
        [1 + normals[:, 2], -normals[:, 1], normals[:, 0], np.zeros(n, dtype=np.float32)], axis=1
    )
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    opacity = float(np.log(_INITIAL_OPACITY / (1 - _INITIAL_OPACITY)))
    return GaussianModel(
        means=torch.from_numpy(points.positions.copy()),
        quaternions=torch.from_numpy(quaternions.astype(np.float32)),
        log_scales=torch.from_numpy(log_scales.astype(np.float32)),
        logit_opacities=torch.full((n,), opacity),
        sh=torch.from_numpy(((points.colors - 0.5) / SH_C0)[:, None].astype(np.float32)),
    )

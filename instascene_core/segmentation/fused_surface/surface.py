"""One surface from all views: averaged points with normals and colours."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from instascene_core.config.segmentation import FusedSurfaceConfig
from instascene_core.frame import Frame
from instascene_core.geometry.depth_maps import smooth_geometry
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.support import Support
from instascene_core.threads import side_by_side
from instascene_core.transforms import dots, lengths


@dataclass(frozen=True)
class FusedSurface:
    """Surface elements of everything that is not structure."""

    positions: np.ndarray  # [K, 3] float64 metres, world frame
    normals: np.ndarray  # [K, 3] float64 unit, outward
    colors: np.ndarray  # [K, 3] float64 CIE Lab
    views: np.ndarray  # [K] int: frames that saw it
    foreground: np.ndarray  # [K] float64: mean probability of being an object
    spacing: float  # metres between neighbouring elements


def fuse_surface(
    frames: Sequence[Frame],
    support: Support | None,
    config: FusedSurfaceConfig,
    foreground: Sequence[np.ndarray] | None = None,
    progress: ProgressCallback = no_progress,
) -> FusedSurface | None:
    """Average the object pixels of all frames on a grid; None where there is nothing to see.

    foreground: per frame [H, W] probability of being an object; without it everything that is not
    structure is one.  Opposite sides of a thin wall share grid cells, so cells are kept apart by the
    main direction of the normal as well.
    """

    def of_frame(index: int) -> tuple[np.ndarray, np.ndarray] | None:
        share = None if foreground is None else foreground[index]
        return None if frames[index].depth is None else _samples(frames[index], support, share, config)

    samples, footprint = [], []
    with closing(side_by_side(of_frame, range(len(frames)))) as each:
        for index, (frame, found) in enumerate(zip(frames, each)):
            progress("segmentation", 0.5 + 0.2 * index / len(frames), f"fusing {frame.name}")
            if found is not None:
                samples.append(np.column_stack([found[0], np.full(len(found[0]), index)]))
                footprint.append(found[1])
    if not samples or sum(map(len, samples)) < config.min_part_elements:
        return None
    pixel = float(np.median(np.concatenate(footprint)))  # metres
    noise = support.noise if support is not None else 0.0
    spacing = max(config.element_pixels * pixel, config.min_spacing_noises * noise)
    return _average(np.concatenate(samples), spacing, len(frames), config)


def object_pixels(
    world: np.ndarray, support: Support | None, foreground: np.ndarray | None, config: FusedSurfaceConfig
) -> np.ndarray:
    """[N] bool: which world points [N, 3] may be objects, by geometry and (where given) the network.

    Each can overrule the other where it is sure.
    """
    free = support.is_object_region(world) if support is not None else np.ones(len(world), dtype=bool)
    if foreground is None:
        return free
    return foreground > np.where(free, config.surely_structure, config.surely_object)


def _samples(
    frame: Frame, support: Support | None, foreground: np.ndarray | None, config: FusedSurfaceConfig
) -> tuple[np.ndarray, np.ndarray]:
    """([N, 10] position, normal, colour, foreground; [N] metres a pixel spans) of the object pixels."""
    import cv2

    points, directions, valid = smooth_geometry(frame.require_depth(), frame.camera)
    rotation = frame.world_from_camera[:3, :3]
    pick = np.flatnonzero(valid.ravel())
    world = points.reshape(-1, 3)[pick] @ rotation.T + frame.world_from_camera[:3, 3]
    share = np.ones(len(pick)) if foreground is None else foreground.ravel()[pick]
    keep = object_pixels(world, support, None if foreground is None else share, config)
    pick = pick[keep]
    lab = cv2.cvtColor(frame.rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    normals = directions.reshape(-1, 3)[pick] @ rotation.T
    samples = np.column_stack([world[keep], normals, lab[pick], share[keep]])
    return samples, points.reshape(-1, 3)[pick, 2] / frame.camera.fx


def _average(
    samples: np.ndarray, spacing: float, num_frames: int, config: FusedSurfaceConfig
) -> FusedSurface | None:
    """One element for the samples [N, 11] (as of `_samples`, and the frame's index) in each cell."""
    positions, normals, frame_index = samples[:, :3], samples[:, 3:6], samples[:, 10].astype(np.int64)
    cell = np.floor((positions - positions.min(axis=0)) / spacing).astype(np.int64)
    side = np.abs(normals).argmax(axis=1)
    side = 2 * side + (normals[np.arange(len(side)), side] > 0)
    extent = cell.max(axis=0) + 1
    key = ((cell[:, 0] * extent[1] + cell[:, 1]) * extent[2] + cell[:, 2]) * 6 + side
    _, element, count = np.unique(key, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(element, samples[:, i]) for i in range(10)], axis=1) / count[:, None]
    views = np.bincount(np.unique(element * num_frames + frame_index) // num_frames)
    enough = views >= (config.min_element_views if num_frames >= config.many_views else 1)
    mean, views = mean[enough], views[enough]
    if not len(mean):
        return None
    surface = FusedSurface(mean[:, :3], unit(mean[:, 3:6]), mean[:, 6:9], views, mean[:, 9], spacing)
    return _smooth(surface, config)


def _smooth(surface: FusedSurface, config: FusedSurfaceConfig) -> FusedSurface:
    """Move every element along its normal onto the mean of its like-oriented neighbours."""
    tree = cKDTree(surface.positions)
    pairs = tree.query_pairs(config.smoothing_spacings * surface.spacing, output_type="ndarray")
    alignment = dots(surface.normals[pairs[:, 0]], surface.normals[pairs[:, 1]])
    alike = alignment > config.smoothing_alignment
    first, second = pairs[alike].T
    weight = surface.views.astype(np.float64)
    size = len(surface.positions)
    graph = sp.csr_matrix(
        (np.ones(2 * len(first)), (np.r_[first, second], np.r_[second, first])), shape=(size, size)
    )
    graph = (graph + sp.eye(size)) @ sp.diags(weight)
    total = np.asarray(graph.sum(axis=1))
    centre = graph @ surface.positions / total
    normals = unit(graph @ surface.normals)
    offset = ((centre - surface.positions) * normals).sum(1, keepdims=True)
    colors = graph @ surface.colors / total
    foreground = (graph @ surface.foreground) / total[:, 0]
    return replace(
        surface,
        positions=surface.positions + offset * normals,
        normals=normals,
        colors=colors,
        foreground=foreground,
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    """[N, 3] at length 1."""
    return vectors / np.maximum(lengths(vectors), 1e-12)[:, None]

"""The planes things stand on and lean against, found in the fused depth of all frames."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from instascene_core.config.segmentation import SupportConfig
from instascene_core.frame import Frame
from instascene_core.geometry import Plane
from instascene_core.segmentation.scene_sample import SceneSample, sample_surface

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extent:
    """Where a plane was actually seen: cells of a grid in the plane, holes and margin filled in."""

    axes: np.ndarray  # [2, 3] unit vectors that span the plane
    origin: np.ndarray  # [2] metres: lower corner along the axes
    cell: float  # metres
    mask: np.ndarray  # [A, B] bool

    def contains(self, points: np.ndarray) -> np.ndarray:
        """[...] bool: does the projection of world points [..., 3] fall on the extent?"""
        flat = np.moveaxis((points @ self.axes.T - self.origin) / self.cell, -1, 0)
        row, column = np.floor(flat).astype(np.int64)
        inside = (row >= 0) & (row < self.mask.shape[0]) & (column >= 0) & (column < self.mask.shape[1])
        return inside & self.mask[np.where(inside, row, 0), np.where(inside, column, 0)]


@dataclass(frozen=True)
class Support:
    """The plane objects stand on, its extent, and the other planes that bound the scene."""

    plane: Plane | None  # normal up, toward the free side; None where only walls were found
    extent: Extent | None  # of the plane
    walls: tuple[Plane, ...]  # structure: nothing of the scene lies behind them
    tolerance: float  # metres: measured points of the planes lie within this distance
    noise: float  # metres: standard deviation of that distance

    def is_structure(self, points: np.ndarray) -> np.ndarray:
        """[...] bool: world points [..., 3] on, below or behind one of the planes."""
        found = np.zeros(points.shape[:-1], dtype=bool)
        for plane in (*self.walls, *([self.plane] if self.plane is not None else [])):
            found |= plane.height(points) < self.tolerance
        return found

    def is_object_region(self, points: np.ndarray) -> np.ndarray:
        """[...] bool: world points [..., 3] over the extent that are not structure."""
        free = ~self.is_structure(points)
        return free & self.extent.contains(points) if self.extent is not None else free


def plane_of(support: Support | None) -> Plane | None:
    """The plane objects stand on, where there is one."""
    return support.plane if support is not None else None


def find_support(
    frames: Sequence[Frame], up: np.ndarray | None = None, config: SupportConfig | None = None
) -> Support | None:
    """Find the support plane and the walls by RANSAC over the depth of all frames.

    up: direction [3] away from gravity where it is known.  Without it, or where the cameras
    contradict it, the cameras tell: people and robots hold them upright and look down a little.
    Returns None where the frames have no depth or show no plane that could carry anything.
    """
    config = config or SupportConfig()
    sample = sample_surface(frames, config)
    if sample is None:
        return None
    return support_of_points(sample, up, config)


def support_of_points(
    sample: SceneSample,
    up: np.ndarray | None,
    config: SupportConfig,
    found: tuple[list[Plane], np.ndarray, float] | None = None,
) -> Support | None:
    """`find_support` on points that were fused before; found: what `extract_planes` gives for them."""
    planes, shares, tolerance = found or extract_planes(sample, config)
    if not planes:
        return None
    noise = tolerance / config.plane_sigmas
    looks_up = _likely_up(sample, up)
    alignment = np.array([p.normal @ looks_up for p in planes])
    known = (
        up is not None and np.degrees(np.arccos(np.clip(alignment.max(), -1, 1))) < config.up_known_degrees
    )
    limit = np.cos(np.radians(config.up_known_degrees if known else config.up_guess_degrees))
    score = np.where(alignment >= limit, shares * np.maximum(alignment, 0) ** 2, 0)
    best = int(score.argmax())
    if score[best] > 0:
        plane = planes[best]
        on_plane = np.abs(plane.height(sample.points.positions)) < tolerance
        margin = config.extent_margin * sample.scale
        extent = _extent_of(plane, sample.points.positions, on_plane, tolerance, margin, config)
        # At the level of a floor that can be seen most of what there is faces up.  Where it does not,
        # the "plane" is the top of a flat thing that stands on a floor the sensor hardly measured.
        level = on_plane & extent.contains(sample.points.positions)
        facing = sample.points.normals[level] @ plane.normal > config.up_facing_alignment
        if up is None or facing.mean() >= config.min_level_facing:
            others = [p for i, p in enumerate(planes) if i != best]
            walls = [p for p in others if _bounds_scene(p, sample, extent, tolerance, config)]
            return Support(plane, extent, tuple(walls), tolerance, noise)
    logger.info("none of %d planes could carry objects", len(planes))
    weak = _weak_support(sample, looks_up, tolerance, config) if up is not None else None
    walls = [p for p in planes if _bounds_scene(p, sample, None, tolerance, config)]
    return Support(weak, None, tuple(walls), tolerance, noise) if walls or weak is not None else None


def _likely_up(sample: SceneSample, up: np.ndarray | None) -> np.ndarray:
    """[3] unit: the hint, unless most cameras would be upside down with it."""
    # Averaged "image up" plus "backward" points up for any elevation from level to straight down.
    guess = -(sample.world_from_camera[:, :3, 1] + sample.world_from_camera[:, :3, 2]).mean(axis=0)
    guess /= max(np.linalg.norm(guess), 1e-9)
    if up is not None:
        up = np.asarray(up, dtype=np.float64) / np.linalg.norm(up)
        if up @ guess > 0:
            return up
        logger.info("the cameras contradict the given up direction; theirs is used")
    return guess


def extract_planes(sample: SceneSample, config: SupportConfig) -> tuple[list[Plane], np.ndarray, float]:
    """Planes by decreasing share of all points, those shares, and the noise tolerance in metres."""
    generator = np.random.default_rng(0)
    positions, normals = sample.points.positions, sample.points.normals
    coarse = config.plane_tolerance * sample.scale
    free = np.ones(len(positions), dtype=bool)
    planes, shares, spreads = [], [], []
    for _ in range(config.max_planes):
        left = np.flatnonzero(free)
        if len(left) < config.min_plane_share * len(positions):
            break
        seeds = generator.choice(left, min(config.plane_trials, len(left)), replace=False)
        tried = left[:: max(1, len(left) // config.trial_points)]
        distance = positions[tried] @ normals[seeds].T - (positions[seeds] * normals[seeds]).sum(1)
        parallel = normals[tried] @ normals[seeds].T > config.trial_alignment
        best = seeds[((np.abs(distance) < coarse) & parallel).sum(axis=0).argmax()]
        plane = Plane(normals[best].astype(np.float64), float(positions[best] @ normals[best]))
        for tolerance in (coarse, coarse, config.last_fit_tolerance * coarse):
            aligned = normals @ plane.normal > config.fit_alignment
            inlier = (np.abs(plane.height(positions)) < tolerance) & free & aligned
            if inlier.sum() < config.min_fit_points:
                break
            plane = _fit(positions[inlier], plane.normal)
        aligned = normals @ plane.normal > config.plane_alignment
        near = (np.abs(plane.height(positions)) < coarse) & free & aligned
        free &= np.abs(plane.height(positions)) >= coarse
        free[best] = False
        if near.sum() >= config.min_plane_share * len(positions):
            planes.append(plane)
            shares.append(near.mean())
            spreads.append(1.4826 * np.median(np.abs(plane.height(positions[near]))))
    if not planes:
        return [], np.zeros(0), coarse
    noise = float(np.average(spreads, weights=shares))
    tolerance = float(
        np.clip(config.plane_sigmas * noise, config.min_tolerance * coarse, config.max_tolerance * coarse)
    )
    return planes, np.array(shares), tolerance


def _weak_support(
    sample: SceneSample, up: np.ndarray, tolerance: float, config: SupportConfig
) -> Plane | None:
    """A level plane that objects hide but for `min_weak_share` of the points, as in a full bin.

    Trusts the given up direction: the lowest level where enough points face up, with next to nothing
    below it.
    """
    height = sample.points.positions @ up
    level = sample.points.normals @ up > np.cos(np.radians(config.up_known_degrees))
    if np.count_nonzero(level) < config.min_weak_share * len(height):
        return None
    bins = np.floor((height - height.min()) / tolerance).astype(int)
    counts = np.bincount(bins[level], minlength=bins.max() + 1)
    below = np.cumsum(np.bincount(bins)) - np.bincount(bins)
    enough = counts >= config.min_weak_share * len(height)
    candidates = np.flatnonzero(enough & (below <= config.max_behind_wall * len(height)))
    if not len(candidates):
        return None
    best = int(candidates[0])
    offset = float(np.median(height[level & (bins == best)]))
    return Plane(np.asarray(up, dtype=np.float64), offset)


def _fit(positions: np.ndarray, toward: np.ndarray) -> Plane:
    centre = positions.mean(axis=0, dtype=np.float64)
    _, vectors = np.linalg.eigh(np.cov((positions - centre).T))
    normal = vectors[:, 0] * np.sign(vectors[:, 0] @ toward)
    return Plane(normal, float(centre @ normal))


def _bounds_scene(
    plane: Plane, sample: SceneSample, extent: Extent | None, tolerance: float, config: SupportConfig
) -> bool:
    """Is this a wall: next to the support, large, and with nothing of the scene behind it?

    An object's face is not: the ground and the other objects go on behind it.
    """
    height = plane.height(sample.points.positions)
    near = (
        extent.contains(sample.points.positions) if extent is not None else np.ones(len(height), dtype=bool)
    )
    inlier = (np.abs(height) < tolerance) & (sample.points.normals @ plane.normal > config.wall_alignment)
    if np.count_nonzero(inlier & near) < config.min_wall_share * np.count_nonzero(near):
        return False
    behind = np.count_nonzero(near & (height < -config.behind_tolerances * tolerance))
    return bool(behind < config.max_behind_wall * np.count_nonzero(near))


def _extent_of(
    plane: Plane,
    positions: np.ndarray,
    on_plane: np.ndarray,
    tolerance: float,
    margin: float,
    config: SupportConfig,
) -> Extent:
    """The largest connected patch of inliers, closed over the objects that hide parts of it.

    What stands on the plane beside the patch belongs to it as well: sensors often do not measure a
    shiny floor itself.
    """
    first = np.cross(plane.normal, np.eye(3)[np.argmin(np.abs(plane.normal))])
    first /= np.linalg.norm(first)
    axes = np.stack([first, np.cross(plane.normal, first)])
    flat = positions @ axes.T
    low, high = flat.min(axis=0) - 4 * margin, flat.max(axis=0) + 4 * margin
    cell = max(margin / 2, float((high - low).max()) / 500)
    shape = np.ceil((high - low) / cell).astype(int)
    index = tuple(((flat - low) / cell).astype(int).T)
    grid = np.zeros(shape, dtype=bool)
    grid[index[0][on_plane], index[1][on_plane]] = True
    grid |= _feet(index, plane.height(positions), tolerance, shape, config)
    # Patches as far apart as an object is wide belong together.
    labels, count = ndimage.label(ndimage.binary_dilation(grid, iterations=config.extent_gap_cells))
    if count > 1:
        sizes = ndimage.sum_labels(grid, labels, np.arange(1, count + 1))
        grid &= labels == 1 + int(np.argmax(sizes))
    mask = _convex_fill(grid)
    steps = max(1, round(margin / cell))
    return Extent(axes, low, cell, ndimage.binary_dilation(mask, iterations=steps))


def _feet(
    index: tuple, height: np.ndarray, tolerance: float, shape: np.ndarray, config: SupportConfig
) -> np.ndarray:
    """[A, B] bool: cells whose surface ends at the level of the plane.

    A wall beyond a table's edge goes on below its level, as a camera above the table sees; a thing
    that stands on the table does not, but for its faint mirror image in a shiny floor.
    """
    foot, deep = np.zeros(shape), np.zeros(shape)
    foot_reach, deep_reach = config.foot_tolerances * tolerance, config.deep_tolerances * tolerance
    np.add.at(foot, index, np.abs(height) < foot_reach)
    np.add.at(deep, index, (height < -foot_reach) & (height >= -deep_reach))
    foot, deep = (ndimage.uniform_filter(counts, 3) for counts in (foot, deep))
    return (foot * 9 >= config.min_foot_points) & (deep <= config.max_deep_share * foot)


def _convex_fill(grid: np.ndarray) -> np.ndarray:
    """All cells inside the convex hull of the set cells."""
    from scipy.spatial import ConvexHull, QhullError

    cells = np.argwhere(grid).astype(np.float64)
    try:
        hull = ConvexHull(cells)
    except (QhullError, ValueError):  # all in one line
        return grid.copy()
    rows, columns = np.indices(grid.shape)
    inside = np.ones(grid.shape, dtype=bool)
    for a, b, c in hull.equations:
        inside &= a * rows + b * columns + c <= 1e-9
    return inside

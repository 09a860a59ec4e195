"""Axes about which an observed surface may be a body of revolution."""

from collections.abc import Callable, Iterator

import numpy as np

from instascene_core.completion.explanations.outline import Axis
from instascene_core.completion.explanations.shapes import perpendicular
from instascene_core.config.completion import RevolutionConfig
from instascene_core.geometry import SurfacePoints


def axis_candidates(
    points: SurfacePoints, up: np.ndarray, config: RevolutionConfig
) -> Iterator[tuple[Axis, bool]]:
    """Lines that the normals' lines meet: upright, nearly upright, and of any direction; and whether they
    are to stay upright, as what stands on something is."""
    every = max(1, len(points.positions) // config.axis_points)
    positions, normals = points.positions[::every], points.normals[::every]
    upright = Axis(_meeting_point(positions, normals, up, config.upright_error), up)
    yield upright, True
    yield upright, False
    # Normals' lines n, p × n meet a line (a, ā) where (p × n)·a + n·ā = 0 (Pottmann & Wallner 2001).
    middle = positions.mean(axis=0)
    scale = float(np.linalg.norm(np.ptp(positions, axis=0)))
    moments = np.cross((positions - middle) / scale, normals)
    weight = np.ones(len(normals))
    direction, point = up, middle
    for _ in range(5):
        a = (moments * weight[:, None]).T @ moments
        b = (moments * weight[:, None]).T @ normals
        c = (normals * weight[:, None]).T @ normals + 1e-4 * weight.sum() * np.eye(3)
        direction = np.linalg.eigh(a - b @ np.linalg.solve(c, b.T))[1][:, 0]
        moment = -np.linalg.solve(c, b.T @ direction)
        point = middle + scale * np.cross(direction, moment)
        weight = 1 / (1 + ((moments @ direction + normals @ moment) / config.axis_error) ** 2)
    if abs(direction @ up) < config.upright_cosine:
        yield Axis(point, direction), False


def _meeting_point(
    positions: np.ndarray, normals: np.ndarray, direction: np.ndarray, error: float
) -> np.ndarray:
    """[3] a point on the line along `direction` that most normals' lines meet.

    error: distance, as a share of the points' diagonal, at which a normal's weight is halved.
    """
    x, y = perpendicular(direction)
    flat = np.stack([positions @ x, positions @ y], axis=1)
    across = np.stack([-(normals @ y), normals @ x], axis=1)  # ⟂ to the normal, in the plane
    middle, scale = flat.mean(axis=0), float(np.linalg.norm(np.ptp(flat, axis=0)))
    offset = ((flat - middle) * across).sum(axis=1)
    weight, center = np.ones(len(flat)), np.zeros(2)
    for _ in range(8):
        rows = across * weight[:, None]
        center = np.linalg.lstsq(rows, offset * weight, rcond=None)[0]
        weight = 1 / (1 + ((across @ center - offset) / (error * scale)) ** 2)
    center = center + middle
    return center[0] * x + center[1] * y + (positions @ direction).mean() * direction


def refine_axis(
    axis: Axis, points: SurfacePoints, sigma: float, upright: bool, config: RevolutionConfig
) -> Axis:
    """Moved, and unless `upright` tilted, until the points of a ring have one radius (its ends: one height).

    First what lies off the middle of its ring is left out: a handle would pull the axis to its side.
    sigma: metres, standard deviation of a point.
    """
    every = max(1, len(points.positions) // config.refine_points)
    positions, normals = points.positions[::every], points.normals[::every]
    for allowed in config.refine_sigmas:
        ring, value = _assign_rings(axis, positions, normals, config)
        kept = np.abs(value(axis) - _ring_medians(ring, value(axis))) < allowed * sigma
        if kept.sum() < config.refine_min_points:
            return axis
        axis = _center_axis(axis, positions[kept], normals[kept], sigma, upright, config)
    return axis


def _assign_rings(
    axis: Axis, positions: np.ndarray, normals: np.ndarray, config: RevolutionConfig
) -> tuple[np.ndarray, Callable[[Axis], np.ndarray]]:
    """[N] number of the ring that each point lies on, apart for surface that faces in, out and along the
    axis; and what is constant on a ring, as a function of the axis: [N] metres."""
    bins = config.refine_rings
    radius, height = axis.profile(positions)
    radial = (positions - axis.point) - height[:, None] * axis.direction
    outward = np.sign((radial * normals).sum(axis=1)).astype(int)
    end = np.abs(normals @ axis.direction) > config.end_cosine
    along = np.where(end, radius, height)
    ring = np.clip(((along - along.min()) / (np.ptp(along) + 1e-12) * bins).astype(int), 0, bins - 1)
    ring = ring + bins * ((outward + 1) + 3 * end)
    return ring, lambda moved: np.where(end, *moved.profile(positions)[::-1])


def _ring_medians(ring: np.ndarray, value: np.ndarray) -> np.ndarray:
    """[N] the median of each point's ring."""
    from scipy.ndimage import median

    names, group = np.unique(ring, return_inverse=True)
    return median(value, group.ravel(), np.arange(len(names)))[group.ravel()]


def _center_axis(
    axis: Axis,
    positions: np.ndarray,
    normals: np.ndarray,
    sigma: float,
    upright: bool,
    config: RevolutionConfig,
) -> Axis:
    """The axis about which the rings of these points differ least from their means."""
    from scipy.optimize import least_squares

    x, y = perpendicular(axis.direction)
    scale = float(np.linalg.norm(np.ptp(positions, axis=0)))
    ring, value = _assign_rings(axis, positions, normals, config)
    count = np.maximum(np.bincount(ring), 1)

    def moved(v: np.ndarray) -> Axis:
        direction = axis.direction if upright else axis.direction + v[2] * x + v[3] * y
        return Axis(axis.point + scale * (v[0] * x + v[1] * y), direction / np.linalg.norm(direction))

    def residual(v: np.ndarray) -> np.ndarray:
        now = value(moved(v))
        return (now - (np.bincount(ring, now) / count)[ring]) / sigma

    start = np.zeros(2 if upright else 4)
    result = least_squares(residual, start, loss="soft_l1", f_scale=1.5, max_nfev=15, diff_step=1e-5)
    return moved(result.x)

"""Plain bodies fitted to observed points: consensus for a start, then robust least squares."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from instascene_core.completion.explanations.shapes import Box, Cylinder, Shape, Sphere, perpendicular
from instascene_core.config.completion import FittingConfig
from instascene_core.geometry import SurfacePoints
from instascene_core.geometry.mesh import smallest_rectangle

AnyShape = TypeVar("AnyShape", bound=Shape)


def fit_shapes(
    points: SurfacePoints, up: np.ndarray, sigma: float, pixel: float, config: FittingConfig, seed: int = 0
) -> Iterator[Shape]:
    """Boxes, cylinders and a sphere that may explain the points; most of them will not.

    sigma: metres, standard deviation of a point; pixel: metres, footprint of one, by which outlines
    are seen too small.
    """
    rng = np.random.default_rng(seed)
    every = max(1, len(points.positions) // config.max_points)
    positions, normals = points.positions[::every], points.normals[::every]
    planes = _find_planes(positions, normals, config.plane_sigmas * sigma, config, rng)
    axes = _box_axes(planes, positions, up, config.square_planes)
    boxes = [_box_around(positions, normals, axis, pixel, config) for axis in axes]
    for start in _promising(boxes, positions, sigma, config):
        yield _trim(_refine_box(start, positions, sigma, config), positions, pixel, config.rim)
    axes = _cylinder_axes(planes, normals, up, config)
    cylinders = [_cylinder_along(positions, normals, axis, sigma, pixel, config) for axis in axes]
    for start in _promising([c for c in cylinders if c is not None], positions, sigma, config):
        yield _trim(_refine_cylinder(start, positions, sigma, config), positions, pixel, config.rim)
    ball = _fit_round(positions, normals, sigma, config)
    if ball is not None:
        yield Sphere(*ball)


def _promising(
    starts: list[AnyShape], positions: np.ndarray, sigma: float, config: FittingConfig
) -> list[AnyShape]:
    """The starts on which most points lie, if these are many: the others are not refined."""
    near = config.start_sigmas * sigma
    shares = [float((np.abs(start.signed_distance(positions)) < near).mean()) for start in starts]
    order = np.argsort(shares)[::-1][: config.tries]
    return [starts[k] for k in order if shares[k] > config.start_share]


def _trim(shape: Shape, positions: np.ndarray, pixel: float, rim: float) -> Shape:
    """The body without what lies beyond all points: nothing holds a face that has none.

    rim: quantile of the points at which such a face is put.
    """
    samples, _, faces = shape.surface(300)
    for face, outward in shape.ends.items():
        last = np.quantile(positions @ outward, rim)
        beyond = samples[faces == face].mean(axis=0) @ outward - last - pixel
        if beyond > 0:
            shape = shape.with_end_moved(face, -float(beyond))
    return shape


def _find_planes(
    positions: np.ndarray,
    normals: np.ndarray,
    tolerance: float,
    config: FittingConfig,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Unit normals [3] of the planes that most points lie on within `tolerance` metres, best first, none
    parallel to another."""
    found: list[np.ndarray] = []
    left = np.ones(len(positions), dtype=bool)
    for _ in range(config.max_planes):
        index = np.flatnonzero(left)
        if len(index) < max(12, config.plane_share * len(positions)):
            break
        p, n = positions[index], normals[index]
        chosen = rng.choice(len(index), min(config.plane_draws, len(index)), replace=False)
        distance = np.abs(n[chosen] @ p.T - (n[chosen] * p[chosen]).sum(axis=1)[:, None])
        lies = (distance < tolerance) & (n[chosen] @ n.T > config.plane_cosine)
        best = lies[np.argmax(lies.sum(axis=1))]
        if best.sum() < 10:
            break
        normal = np.linalg.svd(p[best] - p[best].mean(axis=0), full_matrices=False)[2][2]
        left[index[best]] = False
        if all(abs(normal @ other) < config.parallel_planes for other in found):
            found.append(normal)
    return found


def _box_axes(
    planes: list[np.ndarray], positions: np.ndarray, up: np.ndarray, square: float
) -> Iterator[np.ndarray]:
    """Rotations [3, 3] that a box may have: along two planes whose cosine is below `square`, and upright."""
    for i, first in enumerate(planes):
        for second in planes[i + 1 :]:
            if abs(first @ second) < square:
                second = second - (first @ second) * first
                second /= np.linalg.norm(second)
                yield np.stack([first, second, np.cross(first, second)], axis=1)
    yield smallest_rectangle(positions, up)


def _box_around(
    positions: np.ndarray, normals: np.ndarray, axes: np.ndarray, pixel: float, config: FittingConfig
) -> Box:
    """The box with these axes [3, 3]: faces where points face that way, else where the points end."""
    local, facing = positions @ axes, normals @ axes
    low = np.quantile(local, 1 - config.rim, axis=0) - pixel
    high = np.quantile(local, config.rim, axis=0) + pixel
    for axis in range(3):
        for sign, bound in ((-1, low), (1, high)):
            alike = sign * facing[:, axis] > config.face_cosine
            # Points that face this way but lie elsewhere (a step, a recess) make no face of the box.
            if alike.sum() > config.face_share * len(local):
                median = np.median(local[alike, axis])
                gap = config.face_gap * (high - low)[axis] + config.face_gap_footprints * pixel
                if abs(median - bound[axis]) < gap:
                    bound[axis] = median
    pose = np.eye(4)
    pose[:3, :3] = axes
    pose[:3, 3] = axes @ ((low + high) / 2)
    return Box(pose, np.maximum((high - low) / 2, config.min_half_footprints * pixel))


def _refine_box(box: Box, positions: np.ndarray, sigma: float, config: FittingConfig) -> Box:
    """Turned, moved and resized to the points; faces without points hardly move."""
    from scipy.spatial.transform import Rotation

    def make(x: np.ndarray) -> Box:
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec(x[:3]).as_matrix() @ box.world_from_box[:3, :3]
        low, high = -box.half + scale * x[3:6], box.half + scale * x[6:]
        pose[:3, 3] = box.world_from_box[:3, 3] + pose[:3, :3] @ ((low + high) / 2)
        return Box(pose, np.maximum((high - low) / 2, 0.1 * sigma))

    scale = float(np.linalg.norm(box.half))
    return make(_least_squares(make, np.zeros(9), positions, sigma, config.refine_points))


def _cylinder_axes(
    planes: list[np.ndarray], normals: np.ndarray, up: np.ndarray, config: FittingConfig
) -> Iterator[np.ndarray]:
    """Directions [3]: up, across the planes, and the one the normals avoid."""
    tried: list[np.ndarray] = []
    flat = np.ones(len(normals), dtype=bool)
    for plane in planes[:1]:
        flat &= np.abs(normals @ plane) < config.axis_plane_cosine
    avoided = [np.linalg.eigh(n.T @ n)[1][:, 0] for n in (normals, normals[flat]) if len(n) >= 12]
    for axis in (up, *planes, *avoided):
        if all(abs(axis @ other) < config.same_axis for other in tried):
            tried.append(axis)
            yield axis


def _cylinder_along(
    positions: np.ndarray,
    normals: np.ndarray,
    axis: np.ndarray,
    sigma: float,
    pixel: float,
    config: FittingConfig,
) -> Cylinder | None:
    """The cylinder along `axis`: a circle through the points of its side, caps as a box's faces."""
    x, y = perpendicular(axis)
    side = np.abs(normals @ axis) < config.side_cosine
    if side.sum() < max(12, config.side_share * len(positions)):
        return None
    flat = positions[side] @ np.stack([x, y], axis=1)
    circle = _fit_round(flat, normals[side] @ np.stack([x, y], axis=1), sigma, config)
    if circle is None:
        return None
    center, radius = circle
    along = positions @ axis
    low, high = np.quantile(along, 1 - config.rim) - pixel, np.quantile(along, config.rim) + pixel
    for sign in (-1, 1):
        cap = sign * (normals @ axis) > config.face_cosine
        bound = low if sign < 0 else high
        if cap.sum() > config.face_share * len(along):
            median = float(np.median(along[cap]))
            gap = config.face_gap * (high - low) + config.face_gap_footprints * pixel
            if abs(median - bound) < gap:
                low, high = (median, high) if sign < 0 else (low, median)
    middle = center[0] * x + center[1] * y + (low + high) / 2 * axis
    return Cylinder(middle, axis, radius, max((high - low) / 2, config.min_half_footprints * pixel))


def _fit_round(
    points: np.ndarray, normals: np.ndarray, sigma: float, config: FittingConfig
) -> tuple[np.ndarray, float] | None:
    """Centre [D] and radius of the circle or sphere through points [N, D] with normals [N, D] (Kåsa's
    algebraic fit, re-weighted by its residuals); None where the normals do not leave its centre."""
    weight = np.ones(len(points))
    origin = points.mean(axis=0)
    local = points - origin
    for _ in range(6):
        rows = np.column_stack([2 * local, np.ones(len(local))]) * weight[:, None]
        solution = np.linalg.lstsq(rows, (local**2).sum(axis=1) * weight, rcond=None)[0]
        center = solution[:-1]
        square = solution[-1] + center @ center
        if square <= 0:
            return None
        radius = float(np.sqrt(square))
        reach = np.linalg.norm(local - center, axis=1)
        weight = 1 / (1 + ((reach - radius) / (config.round_sigmas * sigma)) ** 2)
    outward = ((local - center) * normals).sum(axis=1) > 0
    longest = config.max_radius * np.linalg.norm(np.ptp(points, axis=0))
    if radius > longest or outward.mean() < config.outward_share:
        return None
    return center + origin, radius


def _refine_cylinder(
    cylinder: Cylinder, positions: np.ndarray, sigma: float, config: FittingConfig
) -> Cylinder:
    """Tilted, moved and resized to the points."""
    x, y = perpendicular(cylinder.axis)
    scale = cylinder.radius + cylinder.half

    def make(v: np.ndarray) -> Cylinder:
        axis = cylinder.axis + v[0] * x + v[1] * y
        axis /= np.linalg.norm(axis)
        low, high = -cylinder.half + scale * v[5], cylinder.half + scale * v[6]
        center = cylinder.center + scale * (v[2] * x + v[3] * y) + (low + high) / 2 * axis
        radius = max(cylinder.radius + scale * v[4], 0.1 * sigma)
        return Cylinder(center, axis, radius, max((high - low) / 2, 0.1 * sigma))

    return make(_least_squares(make, np.zeros(7), positions, sigma, config.refine_points))


def _least_squares(
    make: Callable[[np.ndarray], Shape], start: np.ndarray, positions: np.ndarray, sigma: float, count: int
) -> np.ndarray:
    """Parameters that bring the surface of `make(parameters)` to about `count` of the points (soft L1:
    points off the body hardly pull)."""
    from scipy.optimize import least_squares

    every = max(1, len(positions) // count)
    sample = positions[::every]
    result = least_squares(
        lambda x: make(x).signed_distance(sample) / sigma,
        start,
        loss="soft_l1",
        f_scale=1.5,
        max_nfev=15,
        diff_step=1e-5,
    )
    return result.x

"""A thing that is missing, laid over points that nothing explains: has it moved there?

Iterated closest points, from point to plane (Chen and Medioni 1991), with a bisquare weight of shrinking
reach; started from turns about the vertical, and where none of these fits from every other side down.  That
placement counts which lets most of the points lie on the thing, least of it lie where cameras looked through,
and colours agree best.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from instascene_core.config.following import FollowingConfig
from instascene_core.geometry import SurfacePoints
from instascene_core.scene.following.comparing import Comparison
from instascene_core.scene.following.unexplained import NewThing, looked_through
from instascene_core.transforms import apply, inverse

_QUICK_ROUNDS, _QUICK_POINTS, _KEPT = 8, 200, 5  # of every start; starts that are refined
_CORNERS, _ALIKE = 200, 0.05  # points that tell two motions apart; mean distance, of the size
_FIRST_REACH, _LAST_REACH, _LAST_NOISES = 0.25, 2.0, 3.0  # of the size; spacings; standard deviations
_COLOR_REACH, _COLOR_ROUNDS, _ALONG = 0.03, 15, 0.1  # metres for a whole difference in colour; weight
_GRAZING = 0.3  # cosine below which a surface is seen too flat to be held against a depth
_POINTS = 1200  # that a placement is refined and judged by


@dataclass(frozen=True)
class Placing:
    """Where a thing is now, and how well that agrees."""

    motion: np.ndarray  # [4, 4]: now = motion · before
    shift: float  # metres by which its surface moved, mean
    reach: float  # metres: what lies nearer is one surface, as far as the depth's noise lets know
    inliers: float  # share of the points that lie on the thing
    in_front: float  # share of its surface that would stand where cameras looked through
    color: float  # mean difference of colours, 0 to 1

    @property
    def turned(self) -> float:
        """Degrees by which the thing was turned."""
        return float(np.degrees(Rotation.from_matrix(self.motion[:3, :3]).magnitude()))

    def worth(self, config: FollowingConfig) -> float:
        misfit = self.in_front + config.color_weight * self.color
        return self.inliers - misfit - config.turn_weight * self.turned / 180

    def fits(self, config: FollowingConfig) -> bool:
        return self.inliers >= config.min_inliers and self.in_front <= config.max_in_front


class _Surface:
    """A thing's surface as closest points are looked up on it."""

    def __init__(self, points: SurfacePoints) -> None:
        self.points, self.tree = points, cKDTree(points.positions)
        self.colored = cKDTree(
            np.concatenate([points.positions, _COLOR_REACH * points.column("colors")], axis=1)
        )
        self.center = (points.positions.min(axis=0) + points.positions.max(axis=0)) / 2
        self.size = float(np.linalg.norm(np.ptp(points.positions, axis=0)))


def _thinned(points: SurfacePoints, most: int) -> SurfacePoints:
    """About so many of the points, evenly."""
    return points.select(np.arange(0, len(points), max(1, len(points) // most)))


def place_again(
    model: SurfacePoints,
    thing: NewThing,
    comparisons: Sequence[Comparison],
    up: np.ndarray,
    config: FollowingConfig,
) -> Placing | None:
    """The motion that lays a thing over the points; None where none fits.

    model: its surface where it was, outward normals, with colours; comparisons: of the frames that show it
    where it is now; up: [3] unit, against gravity.
    """
    data = _thinned(thing.points, _POINTS)
    reach = max(_LAST_REACH * config.spacing, _LAST_NOISES * thing.noise)
    surface = _Surface(_thinned(model, 3 * _POINTS))
    for sides in (_upright(up, config.turns), _toppled(up, config.turns)):
        found = _best_of(sides, surface, data, reach, comparisons, config)
        if found is not None:
            return found
    return None


def _best_of(
    turns: Sequence[np.ndarray], surface: _Surface, data: SurfacePoints, reach: float,
    comparisons: Sequence[Comparison], config: FollowingConfig,
) -> Placing | None:  # fmt: skip
    """The best placement that fits, of those that the turns [3, 3] lead to."""
    few = _thinned(data, _QUICK_POINTS)
    starts = [_start(turn, surface, few) for turn in turns]
    quick = [_iterated(start, surface, few, _QUICK_ROUNDS, reach) for start in starts]
    quick.sort(key=lambda motion: _misfit(motion, surface, few, config))
    placings = []
    for motion in _distinct(quick, surface)[:_KEPT]:
        refined = _iterated(motion, surface, data, config.rounds, reach)
        refined = _colored(refined, surface, data)
        placings.append(_judged(refined, surface, data, reach, comparisons))
    fitting = [placing for placing in placings if placing.fits(config)]
    return max(fitting, key=lambda placing: placing.worth(config), default=None)


def _upright(up: np.ndarray, turns: int) -> list[np.ndarray]:
    """Rotations [3, 3] about the vertical."""
    return [Rotation.from_rotvec(up * angle).as_matrix() for angle in 2 * np.pi * np.arange(turns) / turns]


def _toppled(up: np.ndarray, turns: int) -> list[np.ndarray]:
    """The same with each other side of the thing down."""
    flat = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    flat /= np.linalg.norm(flat)
    sides = (flat, -flat, np.cross(up, flat), -np.cross(up, flat))
    tilts = [np.pi * flat, *(np.pi / 2 * side for side in sides)]
    return [turn @ Rotation.from_rotvec(tilt).as_matrix() for tilt in tilts for turn in _upright(up, turns)]


def _start(turn: np.ndarray, surface: _Surface, data: SurfacePoints) -> np.ndarray:
    """[4, 4]: turned about its middle, which comes to the middle of the points."""
    low, high = data.positions.min(axis=0), data.positions.max(axis=0)
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = turn, (low + high) / 2 - turn @ surface.center
    return motion


def _iterated(
    motion: np.ndarray, surface: _Surface, data: SurfacePoints, rounds: int, last: float
) -> np.ndarray:
    """The motion after so many rounds of closest points, the last of them no farther than `last` metres."""
    back = inverse(motion)  # of the points to where the thing was
    for reach in np.geomspace(max(_FIRST_REACH * surface.size, last), last, rounds):
        local, normals = apply(back, data.positions), data.normals @ back[:3, :3].T
        distance, nearest = surface.tree.query(local)
        weights = np.clip(1 - (distance / reach) ** 2, 0, None) ** 2
        weights *= (normals * surface.points.normals[nearest]).sum(axis=1) > 0  # a wall has two sides
        back = _step(back, local, surface.points, nearest, weights, 0.0)
    return inverse(back)


def _colored(motion: np.ndarray, surface: _Surface, data: SurfacePoints) -> np.ndarray:
    """The motion after rounds in which a point's closest one is near in colour as well: prints tell how far
    a thing was turned whose shape does not (after Park et al. 2017; closest points in place of gradients)."""
    back = inverse(motion)
    colors = _COLOR_REACH * data.column("colors")
    for _ in range(_COLOR_ROUNDS):
        local = apply(back, data.positions)
        distance, nearest = surface.colored.query(np.concatenate([local, colors], axis=1))
        weights = np.clip(1 - (distance / _COLOR_REACH) ** 2, 0, None) ** 2
        back = _step(back, local, surface.points, nearest, weights, _ALONG)
    return inverse(back)


def _step(
    back: np.ndarray, local: np.ndarray, surface: SurfacePoints, nearest: np.ndarray, weights: np.ndarray,
    along: float,
) -> np.ndarray:  # fmt: skip
    """One Gauss-Newton step of the motion that brings points `local` to their closest ones on the surface.

    Distances along the normal count in full, those along the surface by the share `along`.
    """
    if (weights > 0).sum() < 6:
        return back
    target, facing = surface.positions[nearest], surface.normals[nearest]
    middle = local.mean(axis=0)  # turning about it keeps the numbers even
    arms, gaps = local - middle, target - local
    rows = np.concatenate([np.cross(arms, facing), facing], axis=1)
    left = rows.T @ (weights[:, None] * rows)
    right = rows.T @ (weights * (gaps * facing).sum(axis=1))
    if along:
        for axis in np.eye(3):
            rows = np.concatenate([np.cross(arms, axis), np.broadcast_to(axis, arms.shape)], axis=1)
            left += along * rows.T @ (weights[:, None] * rows)
            right += along * rows.T @ (weights * (gaps @ axis))
    # Slight pull: what the points leave open (turning about an axis of revolution) stays as it is.
    step = np.linalg.solve(left + 1e-6 * np.trace(left) * np.eye(6), right)
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix()
    moved[:3, 3] = middle + step[3:] - moved[:3, :3] @ middle
    return moved @ back


def _misfit(motion: np.ndarray, surface: _Surface, data: SurfacePoints, config: FollowingConfig) -> float:
    """Mean distance of the nearer three quarters of the points, in tenths of the size, and their colours'."""
    distance, nearest = surface.tree.query(apply(inverse(motion), data.positions))
    near = np.argsort(distance, kind="stable")[: max(1, 3 * len(distance) // 4)]
    colors = np.abs(surface.points.column("colors")[nearest[near]] - data.column("colors")[near]).mean()
    return 10 * float(distance[near].mean()) / surface.size + config.color_weight * float(colors)


def _distinct(motions: Sequence[np.ndarray], surface: _Surface) -> list[np.ndarray]:
    """The motions, in order, that bring the surface elsewhere than any before."""
    corners = surface.points.positions[:: max(1, len(surface.points) // _CORNERS)]
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for motion in motions:
        places = apply(motion, corners)
        apart = [np.linalg.norm(places - other, axis=1).mean() for _, other in kept]
        if min(apart, default=np.inf) > _ALIKE * surface.size:
            kept.append((motion, places))
    return [motion for motion, _ in kept]


def _judged(
    motion: np.ndarray, surface: _Surface, data: SurfacePoints, reach: float,
    comparisons: Sequence[Comparison],
) -> Placing:  # fmt: skip
    distance, nearest = surface.tree.query(apply(inverse(motion), data.positions))
    on = distance <= reach
    colors = np.abs(surface.points.column("colors")[nearest] - data.column("colors")).mean(axis=1)
    placed, turned = apply(motion, surface.points.positions), surface.points.normals @ motion[:3, :3].T
    shares = []
    for comparison in comparisons:
        sight = placed - comparison.frame.world_from_camera[:3, 3]
        facing = (sight * turned).sum(axis=1) < -_GRAZING * np.linalg.norm(sight, axis=1)
        shares.append(float(looked_through(comparison, placed[facing]).mean()) if facing.any() else 0.0)
    color = float(colors[on].mean()) if on.any() else 1.0
    shift = float(np.linalg.norm(placed - surface.points.positions, axis=1).mean())
    return Placing(motion, shift, reach, float(on.mean()), max(shares, default=0.0), color)


def lies_on(points: SurfacePoints, model: SurfacePoints, placing: Placing) -> bool:
    """Whether most of the points are of a thing, whose surface was `model`, as it is placed now."""
    distance = cKDTree(apply(placing.motion, model.positions)).query(points.positions)[0]
    return bool(np.median(distance) <= placing.reach)

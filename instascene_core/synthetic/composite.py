"""A free grammar of things: random primitives attached to one another, banded and dressed, each its own look.

Three ways to grow: `grown` (anything on anything), `chain` (segments in a row, as tools and bottles are),
`dressed` (one body with many small parts, as appliances are).  What the named kinds of `assemblies` share is
only how things are put together; this draws that without their shapes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from instascene_core.synthetic.assembly import Assembly
from instascene_core.synthetic.bodies import arc, frame_along, hull
from instascene_core.synthetic.draws import chance
from instascene_core.synthetic.lathe import smooth_profile
from instascene_core.synthetic.solids import Solid

SINK = 0.004  # metres by which an attached part reaches into what it is attached to, at least
LARGEST, LONGEST = 0.28, 0.13  # metres: of a thing, of one of its parts
PAINTS = ("plain", "plain", "plain", "rubber", "metal", "wood", "print")
DENSITY = 700.0  # kg/m³
ATTEMPTS = 20
UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class _Seat:
    """Where another part may grow."""

    point: np.ndarray  # [3] a little below the surface
    outward: np.ndarray  # [3]
    room: float  # metres: about the radius that fits


@dataclass(frozen=True)
class _Place:
    """Where a part grows: its frame begins below the seat, inside what it is attached to."""

    frame: np.ndarray  # [4, 4], z outward
    size: float  # metres, about the radius
    total: float  # metres from the frame's origin to the end


def composite(rng: np.random.Generator) -> Solid:
    """A thing nobody has seen before, standing or lying on the lowest of its parts."""
    for _ in range(ATTEMPTS):
        b = Assembly("composite", DENSITY)
        WAYS[rng.integers(len(WAYS))](b, rng)
        thing = b.solid()
        if 0.04 <= thing.dimensions.max() <= LARGEST:
            return thing
    return thing


# --- the ways to grow ---


def _grown(b: Assembly, rng: np.random.Generator) -> None:
    """Two to five parts, each on one that is there, some of them in pairs."""
    seats = _part(b, rng, _Seat(np.zeros(3), UP, 0.0), rng.uniform(0.02, 0.045), _paint(rng, 0), ROOTS)
    for k in range(1, int(rng.integers(2, 6))):
        seat = seats[rng.integers(len(seats))]
        seat = _Seat(seat.point, _tilted(seat.outward, 0.25, rng), seat.room)
        new = _attach(b, rng, seat, seat.room * rng.uniform(0.35, 1.1), _paint(rng, k), LIMBS)
        seats = seats + new if chance(rng, 0.6) else seats


def _chain(b: Assembly, rng: np.random.Generator) -> None:
    """Three to six segments end to end, lying or upright, straight or with a bend; then a limb or two."""
    outward = UP if chance(rng, 0.35) else np.array([1.0, 0.0, 0.0])
    size, seat = rng.uniform(0.009, 0.03), _Seat(np.zeros(3), outward, 0.0)
    sides: list[_Seat] = []
    for k in range(int(rng.integers(3, 7))):
        seats = _part(b, rng, seat, size, _paint(rng, k % 4), SEGMENTS)
        seat, sides = seats[0], sides + seats[1:]
        if chance(rng, 0.2):
            seat = _Seat(seat.point, _tilted(seat.outward, 0.5, rng), seat.room)
        size = float(np.clip(size * rng.uniform(0.5, 1.5), 0.005, 0.04))
    for k in range(int(rng.integers(0, 3))):
        side = sides[rng.integers(len(sides))]
        _part(b, rng, side, side.room * rng.uniform(0.3, 0.8), _paint(rng, k + 4), LIMBS)


def _dressed(b: Assembly, rng: np.random.Generator) -> None:
    """One body with three to nine small parts on all its sides: knobs, feet, panels, bows."""
    seats = _part(b, rng, _Seat(np.zeros(3), UP, 0.0), rng.uniform(0.028, 0.06), _paint(rng, 0), ROOTS)
    for k in range(int(rng.integers(3, 10))):
        seat = seats[rng.integers(len(seats))]
        moved = seat.point + rng.normal(0, 0.25 * seat.room, 3) * (1 - np.abs(seat.outward))
        size = seat.room * rng.uniform(0.1, 0.55)
        _attach(b, rng, _Seat(moved, seat.outward, seat.room), size, _paint(rng, 1 + k % 4), LIMBS)


WAYS = (_grown, _chain, _dressed)


def _attach(
    b: Assembly, rng: np.random.Generator, seat: _Seat, size: float, paint: str, kinds
) -> list[_Seat]:
    """A part, and where it points sideways half the time the same on the other side."""
    seed = int(rng.integers(2**31))
    new = _part(b, np.random.default_rng(seed), seat, size, paint, kinds)
    if abs(seat.outward[0]) > 0.5 and chance(rng, 0.5):
        flip = np.array([-1.0, 1.0, 1.0])
        _part(
            b,
            np.random.default_rng(seed),
            _Seat(seat.point * flip, seat.outward * flip, seat.room),
            size,
            paint,
            kinds,
        )
    return new


def _tilted(direction: np.ndarray, by: float, rng: np.random.Generator) -> np.ndarray:
    tilted = direction + rng.normal(0, by, 3)
    return tilted / np.linalg.norm(tilted)


def _paint(rng: np.random.Generator, number: int) -> str:
    paint = PAINTS[rng.integers(len(PAINTS))]
    return f"{paint}{number}" if paint in ("plain", "print") else paint


# --- the parts ---


def _part(b: Assembly, rng: np.random.Generator, seat: _Seat, size: float, paint: str, kinds) -> list[_Seat]:
    """Add one primitive that grows from the seat; the seats it offers, the one at its end first."""
    make = kinds[rng.integers(len(kinds))]
    if kinds is LIMBS:
        b.part(NAMES.get(make, "limb"))
    size = max(size, 0.004)
    sink = max(SINK, 0.25 * size)
    outward, foot = seat.outward, seat.point
    length = min(size * rng.uniform(0.8, 4.0), LONGEST)
    frame = frame_along(foot - sink * outward, foot + outward)
    wide, deep = make(b, rng, _Place(frame, size, length + sink), paint)
    if not wide:
        return []
    if chance(rng, 0.3):
        _band(b, rng, _Place(frame, 3 * max(wide, deep), length + sink))
    end = foot + (length - 0.1 * size) * outward
    side, across = frame[:3, 0], frame[:3, 1]
    middle = foot + rng.uniform(0.2, 0.8) * length * outward
    room = min(size, 0.5 * length)
    seats = [_Seat(end, outward, 0.9 * size)]
    seats += [_Seat(middle + s * 0.75 * wide * side, s * side, room) for s in (-1, 1)]
    return seats + [_Seat(middle + s * 0.75 * deep * across, s * across, room) for s in (-1, 1)]


def _band(b: Assembly, rng: np.random.Generator, at: _Place) -> None:
    """Another look for a slice of the part added last: all round, or on one side as a label is."""
    low, high = np.sort(rng.uniform(0.1, 1.0, 2)) * at.total
    x = (-1.0, 1.0) if chance(rng, 0.6) else (rng.uniform(-0.2, 0.2), 1.0)
    corners = np.array(
        [[sx * at.size, sy * at.size, z] for sx in x for sy in (-1, 1) for z in (low, high + 1e-3)]
    )
    cutter = hull(corners @ at.frame[:3, :3].T + at.frame[:3, 3])
    b.repaint(cutter, _paint(rng, int(rng.integers(5, 9))), at.frame)


def _block(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    wide, deep = at.size * rng.uniform(0.6, 1.4), at.size * rng.uniform(0.4, 1.1)
    size = (2 * wide, 2 * deep, at.total)
    b.block(size, (0, 0, at.total / 2), paint, rng.uniform(0.05, 0.4) * deep, at.frame)
    return wide, deep


def _wedge(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    low, high = at.size * rng.uniform([1.2, 0.8], [2.4, 2.0]), at.size * rng.uniform(0.5, 2.0, 2)
    b.wedge((*low, 0.0), (*high, at.total), paint, at.frame, rng.uniform(0.05, 0.3) * at.size)
    return float(min(low[0], high[0])) / 2, float(min(low[1], high[1])) / 2


def _plate(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    """Flat and broad: a lid, a panel, a flange."""
    wide, deep = at.size * rng.uniform(0.8, 1.8, 2)
    thick = min(at.total, SINK + rng.uniform(0.001, 0.4 * at.size))
    b.block((2 * wide, 2 * deep, thick), (0, 0, thick / 2), paint, rng.uniform(0.1, 0.4) * thick, at.frame)
    return 0.0, 0.0


def _fin(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    """Flat and standing: a blade, a wing, a key."""
    wide, deep = at.size * rng.uniform(0.8, 1.6), max(0.0015, at.size * rng.uniform(0.05, 0.25))
    tip = rng.uniform(0.2, 1.2) * wide
    b.wedge((2 * wide, 2 * deep, 0.0), (2 * tip, 2 * deep, at.total), paint, at.frame, 0.5 * deep)
    return 0.0, 0.0


def _rod(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    end = rng.uniform(0.3, 1.5) if chance(rng, 0.5) else 1.0
    start, tip = at.frame[:3, 3], at.frame[:3, 3] + at.total * at.frame[:3, 2]
    b.rod(start, tip, at.size, paint, end * at.size, edge=rng.uniform(0.0005, 0.005))
    return at.size * min(1.0, end), at.size * min(1.0, end)


def _disc(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    """A knob, a wheel, a cap."""
    start, out = at.frame[:3, 3], at.frame[:3, 2]
    b.rod(start, start + min(at.total, SINK + 0.7 * at.size) * out, 1.3 * at.size, paint, edge=0.002)
    return 0.0, 0.0


def _pill(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    start, out = at.frame[:3, 3], at.frame[:3, 2]
    tip = start + max(at.total - 0.3 * at.size, 0.3 * at.size) * out
    b.pill(start, tip, at.size, paint, at.size * rng.uniform(0.6, 1.0))
    return at.size * 0.6, at.size * 0.6


def _ball(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    wide, deep = at.size * rng.uniform(0.7, 1.3, 2)
    b.ball((0, 0, at.total / 2), (wide, deep, at.total / 2), paint, at.frame)
    return 0.8 * wide, 0.8 * deep


def _turned(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    """A solid of revolution with a profile of three to five knots."""
    knots = int(rng.integers(3, 6))
    radii = at.size * rng.uniform(0.45, 1.4, knots)
    profile = np.column_stack([radii, np.linspace(0.0, at.total, knots)])
    b.lathe(smooth_profile(profile, 7) if chance(rng, 0.7) else profile, paint, at.frame)
    return float(radii.min()), float(radii.min())


def _vessel(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    """An open vessel, upright; its inside may have a colour of its own."""
    wall, top = rng.uniform(0.002, 0.005), max(at.total, 0.6 * at.size)
    radii = at.size * rng.uniform([0.7, 0.8, 0.9], [1.0, 1.2, 1.5])
    outline = smooth_profile(np.column_stack([radii, [0.0, 0.5 * top, top]]), 7)
    inside = _paint(rng, 9) if chance(rng, 0.4) else None
    b.vessel(outline, wall, 2 * wall, paint, inside, at.frame)
    return float(radii.min()), float(radii.min())


def _bow(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    """A handle that returns to where it came from."""
    reach, high = max(at.size, 0.014), min(at.total, 0.05)
    across = np.array([0.25, rng.uniform(0.2, 0.5)]) * max(0.6 * at.size, 0.012)
    path = arc((0, 0, 0), (reach, high), 0, 180, 11)
    b.tube(path, across * np.ones((11, 2)), paint, up=(1, 0, 0), frame=at.frame)
    return 0.0, 0.0


def _horn(b: Assembly, rng, at: _Place, paint: str) -> tuple[float, float]:
    """A bent arm: a spout, a tail, a lever, a cable's stub."""
    bend = rng.uniform(-0.6, 0.6) * at.total
    path = [(0, 0, 0), (0.3 * bend, 0, 0.55 * at.total), (bend, 0, at.total)]
    thick = max(0.35 * at.size, 0.0025) * np.array([1.0, rng.uniform(0.7, 1.0), rng.uniform(0.4, 1.0)])
    b.tube(path, np.repeat(thick[:, None], 2, axis=1), paint, parts=2, up=(0, 1, 0), frame=at.frame)
    return 0.0, 0.0


_Primitive = Callable[[Assembly, np.random.Generator, _Place, str], tuple[float, float]]
# Each adds its body and returns how wide and deep it is along x and y (half, metres); (0, 0) where nothing
# may grow on it.
SEGMENTS: tuple[_Primitive, ...] = (_block, _rod, _rod, _pill, _ball, _turned, _wedge)
ROOTS: tuple[_Primitive, ...] = (_block, _block, _wedge, _rod, _turned, _vessel, _ball)
LIMBS: tuple[_Primitive, ...] = (
    _block, _rod, _pill, _ball, _turned, _wedge, _plate, _fin, _disc, _disc, _bow, _bow, _horn,
)  # fmt: skip
NAMES = {_bow: "bow", _fin: "blade"}  # limbs that are parts of a name of their own

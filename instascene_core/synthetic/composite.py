"""A free grammar of things: two to five random primitives, one attached to another, each with its look."""

import numpy as np

from instascene_core.synthetic.assembly import Assembly, arc, frame_along
from instascene_core.synthetic.lathe import smooth_profile
from instascene_core.synthetic.solids import Solid

SINK = 0.004  # metres by which an attached part reaches into what it is attached to, at least
LARGEST = 0.28  # metres
PAINTS = ("plain", "plain", "plain", "rubber", "metal", "wood", "print")
DENSITY = 700.0  # kg/m³
ATTEMPTS = 20


def composite(rng: np.random.Generator) -> Solid:
    """A thing nobody has seen before, standing on the lowest of its parts."""
    for _ in range(ATTEMPTS):
        thing = _attempt(rng)
        if 0.04 <= thing.dimensions.max() <= LARGEST:
            return thing
    return thing


def _attempt(rng: np.random.Generator) -> Solid:
    b = Assembly("composite", DENSITY)
    seats = _primitive(
        b, rng, np.zeros(3), np.array([0.0, 0.0, 1.0]), rng.uniform(0.02, 0.045), _paint(rng, 0)
    )
    for k in range(1, int(rng.integers(2, 6))):
        point, outward, room = seats[rng.integers(len(seats))]
        size = room * rng.uniform(0.35, 1.1)
        tilt = outward + rng.normal(0, 0.25, 3)
        tilt /= np.linalg.norm(tilt)
        paint, seed = _paint(rng, k), int(rng.integers(2**31))
        new = _primitive(b, np.random.default_rng(seed), point, tilt, size, paint)
        if abs(outward[0]) > 0.5 and rng.uniform() < 0.5:  # the same on the other side
            flip = np.array([-1.0, 1.0, 1.0])
            _primitive(b, np.random.default_rng(seed), point * flip, tilt * flip, size, paint)
        seats = seats + new if rng.uniform() < 0.6 else seats
    return b.solid()


def _paint(rng: np.random.Generator, number: int) -> str:
    paint = PAINTS[rng.integers(len(PAINTS))]
    return f"{paint}{number}" if paint in ("plain", "print") else paint


def _primitive(b: Assembly, rng: np.random.Generator, foot, outward, size: float, paint: str) -> list:
    """Add one primitive that grows from `foot` along `outward`; the seats it offers: (point, outward, size).

    size: metres, about the radius.  It begins a little below `foot`, inside what it is attached to.
    """
    style = int(rng.integers(6))
    style = 0 if style == 4 and not foot.any() else style  # a bow needs something to end on
    sink = max(SINK, 0.25 * size)
    frame = frame_along(foot - sink * outward, foot + outward)
    length = size * rng.uniform(0.8, 4.0) if style != 4 else size * rng.uniform(0.8, 1.6)
    length = min(length, 0.13)
    total, start = length + sink, frame[:3, 3]
    end = foot + length * outward
    side, across = frame[:3, 0], frame[:3, 1]
    wide, deep = size, size
    if style == 0:
        wide, deep = size * rng.uniform(0.6, 1.4), size * rng.uniform(0.4, 1.1)
        b.block((2 * wide, 2 * deep, total), (0, 0, total / 2), paint, rng.uniform(0.001, 0.4 * deep), frame)
    elif style == 1:
        b.rod(start, end, size, paint, edge=rng.uniform(0.0005, 0.005))
    elif style == 2:
        b.pill(start, end - 0.3 * size * outward, size, paint, size * rng.uniform(0.6, 1.0))
    elif style == 3:
        b.rod(start, end, size, paint, size * rng.uniform(0.3, 1.5))
    elif style == 4:  # a bow that returns to where it came from
        reach = max(size, 0.014)
        path = arc((0, 0, 0), (reach, length + sink), 0, 180, 11)
        b.tube(
            path,
            np.array([0.25, rng.uniform(0.2, 0.5)]) * max(0.6 * size, 0.012) * np.ones((11, 2)),
            paint,
            up=(1, 0, 0),
            frame=frame,
        )
    else:
        radii = size * rng.uniform([0.7, 0.5, 0.4], [1.0, 1.3, 1.5])
        outline = smooth_profile(np.column_stack([radii, [0.0, 0.5 * total, total]]), 7)
        b.lathe(outline, paint, frame)
    seats = [] if style == 4 else [(end - 0.1 * size * outward, outward, 0.9 * size)]
    middle = foot + rng.uniform(0.2, 0.8) * length * outward
    if style != 4:
        seats += [(middle + s * 0.75 * wide * side, s * side, min(size, 0.5 * length)) for s in (-1, 1)]
        seats += [(middle + s * 0.75 * deep * across, s * across, min(size, 0.5 * length)) for s in (-1, 1)]
    return seats

"""What is no object though it has edges: table tops and their ends, steps, slats, fronts, frames, furniture.

Everything is made of boxes and stands behind the objects (+y) or under them, so that cameras which look from
the front (−y) never stand in it.
"""

import itertools
from typing import SupportsFloat

import numpy as np

from instascene_core.geometry import TriangleMesh
from instascene_core.synthetic.plans import FLOOR, Fixture, slab

Box = tuple[np.ndarray, np.ndarray]  # two corners [3], metres
SIGHT = (-np.pi / 2, 1.1)  # (azimuth, half span) in radians one sees in from where something stands behind


def structure(
    points: np.ndarray, table_heights: np.ndarray, room: bool, rng: np.random.Generator
) -> tuple[list[Fixture], tuple[float, float] | None]:
    """A table and fittings for the objects' points [N, 3], and from where one sees in, None = from all round.

    table_heights: [*] heights in metres between which the table of the scene lies.
    """
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    top = float(table_heights.max())
    near = rng.uniform(size=4) < 0.4  # sides at which the table ends close to the objects
    margin = np.where(near, rng.uniform(0.005, 0.12, 4), rng.uniform(0.12, 0.6, 4))
    low, high = low - margin[:2], high + margin[2:]
    fixtures = _table(low, high, top, rng)
    behind = []
    if rng.uniform() < 0.45:
        behind += _wall(low, high, top, rng)
    elif rng.uniform() < 0.6:
        behind += _step(low, high, top, rng)
    if room and rng.uniform() < 0.6:
        behind += _furniture(high, rng)
    return fixtures + behind, SIGHT if behind else None


def _fixture(name: str, boxes: list[Box], texel: float = 0.001) -> Fixture:
    """Boxes of one look as one fixture."""
    meshes = [slab(a, b) for a, b in boxes]
    starts = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    triangles = np.concatenate([m.triangles + start for m, start in zip(meshes, starts)])
    mesh = TriangleMesh(np.concatenate([m.vertices for m in meshes]), triangles.astype(np.int32))
    return Fixture(name, mesh, texel)


def _box(*corners: SupportsFloat) -> Box:
    """The box between (x, y, z) and (x, y, z)."""
    return np.array(corners[:3], dtype=float), np.array(corners[3:], dtype=float)


def _table(low: np.ndarray, high: np.ndarray, top: float, rng: np.random.Generator) -> list[Fixture]:
    """A board or slats, at times with an apron of drawers and legs under it."""
    (x0, y0), (x1, y1) = low, high
    thick = rng.uniform(0.012, 0.06)
    boards = [_box(x0, y0, top - thick, x1, y1, top)]
    if rng.uniform() < 0.25:  # slats with gaps between them
        pitch, gap = rng.uniform(0.05, 0.12), rng.uniform(0.002, 0.009)
        if rng.uniform() < 0.5:
            boards = [
                _box(x, y0, top - thick, min(x + pitch - gap, x1), y1, top)
                for x in np.arange(x0, x1 - gap, pitch)
            ]
        else:
            boards = [
                _box(x0, y, top - thick, x1, min(y + pitch - gap, y1), top)
                for y in np.arange(y0, y1 - gap, pitch)
            ]
        boards.append(
            _box(x0 + 0.01, y0 + 0.01, top - thick - 0.01, x1 - 0.01, y1 - 0.01, top - thick + 0.003)
        )
    fixtures = [_fixture("table", boards)]
    under = top - thick
    if rng.uniform() < 0.35:
        fixtures += _fronts(
            x0, x1, y0 + rng.uniform(-0.004, 0.02), under - rng.uniform(0.08, 0.4), under, -1, rng
        )
    elif rng.uniform() < 0.4:
        w = rng.uniform(0.03, 0.06)
        legs = [_box(x, y, FLOOR, x + w, y + w, under) for x in (x0, x1 - w) for y in (y0, y1 - w)]
        fixtures.append(_fixture("table legs", legs))
    if rng.uniform() < 0.15:  # a raised edge or moulding along one side
        fixtures.append(
            _fixture("table edge", [_box(x0, y1, under, x1, y1 + 0.012, top + rng.uniform(0.002, 0.03))])
        )
    return fixtures


def _fronts(
    x0: float, x1: float, y: float, z0: float, z1: float, side: int, rng: np.random.Generator
) -> list[Fixture]:
    """A carcass with drawer fronts or door panels on the plane y, facing `side`, and their handles."""
    columns, rows = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    gap, proud = rng.uniform(0.002, 0.012), rng.uniform(0.004, 0.022)
    xs, zs = np.linspace(x0, x1, columns + 1), np.linspace(z0, z1, rows + 1)
    y_front = y + side * proud
    carcass = [_box(x0, min(y, y - 0.05 * side), z0, x1, max(y, y - 0.05 * side), z1)]
    fronts, handles = [], []
    for xa, xb in itertools.pairwise(xs):
        for za, zb in itertools.pairwise(zs):
            ya, yb = sorted((y, y_front))
            fronts.append(_box(xa + gap / 2, ya, za + gap / 2, xb - gap / 2, yb, zb - gap / 2))
            w, z = min(0.1, 0.4 * (xb - xa)), za + 0.75 * (zb - za)
            ha, hb = sorted((y_front, y_front + side * rng.uniform(0.012, 0.03)))
            handles.append(_box((xa + xb - w) / 2, ha, z, (xa + xb + w) / 2, hb, z + 0.012))
    fixtures = [_fixture("carcass", carcass), _fixture("fronts", fronts)]
    return fixtures + ([_fixture("handles", handles)] if rng.uniform() < 0.7 else [])


def _wall(low: np.ndarray, high: np.ndarray, top: float, rng: np.random.Generator) -> list[Fixture]:
    """A wall behind the table with what is fixed to it: fronts, slats, frames, sockets, a door."""
    y = high[1] + (0.0 if rng.uniform() < 0.5 else rng.uniform(0.02, 0.6))
    x0, x1 = low[0] - rng.uniform(0.3, 1.2), high[0] + rng.uniform(0.3, 1.2)
    floor, ceiling = min(FLOOR, top - 0.3), top + rng.uniform(0.5, 1.6)
    fixtures = [_fixture("wall", [_box(x0, y, floor, x1, y + 0.1, ceiling)], 0.004)]
    style = rng.integers(5)
    if style == 0:
        z0 = top + rng.uniform(-0.1, 0.25)
        return fixtures + _fronts(x0, x1, y, z0, z0 + rng.uniform(0.3, 0.8), -1, rng)
    if style == 1:  # boarding or slats
        pitch, gap, proud = rng.uniform(0.04, 0.15), rng.uniform(0.004, 0.03), rng.uniform(0.004, 0.02)
        upright = rng.uniform() < 0.5
        span = np.arange(x0, x1, pitch) if upright else np.arange(top, ceiling, pitch)
        slats = [
            _box(a, y - proud, top, a + pitch - gap, y, ceiling)
            if upright
            else _box(x0, y - proud, a, x1, y, a + pitch - gap)
            for a in span
        ]
        return [*fixtures, _fixture("slats", slats)]
    if style == 2:  # picture frames
        for _ in range(rng.integers(1, 4)):
            fixtures += _picture(x0, x1, y, top, rng)
    if style == 3:  # a door or a niche: jambs and a panel
        x, w = rng.uniform(x0, x1 - 0.3), rng.uniform(0.3, 0.8)
        jamb, deep = rng.uniform(0.03, 0.08), rng.uniform(0.006, 0.03)
        sides = [_box(a, y - deep, floor, a + jamb, y, ceiling - 0.1) for a in (x, x + w)]
        fixtures.append(_fixture("jambs", sides))
        fixtures.append(_fixture("panel", [_box(x + jamb, y - 0.4 * deep, floor, x + w, y, ceiling - 0.1)]))
    sockets = []
    for _ in range(rng.integers(0, 3)):
        x, z = rng.uniform(low[0] - 0.1, high[0] + 0.1), top + rng.uniform(0.03, 0.3)
        sockets += [
            _box(x, y - 0.009, z, x + 0.08, y, z + 0.08),
            _box(x + 0.02, y - 0.013, z + 0.02, x + 0.06, y, z + 0.06),
        ]
    if sockets:
        fixtures.append(_fixture("sockets", sockets))
    if rng.uniform() < 0.4:  # a ledge or backsplash where the wall meets the table
        deep, tall = rng.uniform(0.006, 0.03), rng.uniform(0.015, 0.12)
        fixtures.append(_fixture("ledge", [_box(x0, y - deep, top - 0.1, x1, y, top + tall)]))
    return fixtures


def _picture(x0: float, x1: float, y: float, top: float, rng: np.random.Generator) -> list[Fixture]:
    """A framed picture on the wall y."""
    w, h = rng.uniform(0.12, 0.5, 2)
    x, z = rng.uniform(x0, max(x1 - w, x0 + 0.01)), top + rng.uniform(0.05, 0.4)
    t, deep = rng.uniform(0.01, 0.04), rng.uniform(0.008, 0.03)
    bars = [
        _box(x, y - deep, z, x + t, y, z + h), _box(x + w - t, y - deep, z, x + w, y, z + h),
        _box(x + t, y - deep, z, x + w - t, y, z + t), _box(x + t, y - deep, z + h - t, x + w - t, y, z + h),
    ]  # fmt: skip
    picture = _box(x + t, y - 0.3 * deep, z + t, x + w - t, y, z + h - t)
    return [_fixture("frame", bars), _fixture("picture", [picture], 0.0008)]


def _step(low: np.ndarray, high: np.ndarray, top: float, rng: np.random.Generator) -> list[Fixture]:
    """A counter that goes on higher or lower behind the table."""
    y, depth = high[1] + (0.0 if rng.uniform() < 0.6 else rng.uniform(0.003, 0.1)), rng.uniform(0.1, 0.7)
    height = rng.uniform(0.012, 0.15) if rng.uniform() < 0.5 else -rng.uniform(0.012, 0.3)
    over = rng.uniform(-0.1, 0.4)
    return [_fixture("step", [_box(low[0] - over, y, top - 0.4, high[0] + over, y + depth, top + height)])]


def _furniture(high: np.ndarray, rng: np.random.Generator) -> list[Fixture]:
    """One to three cupboards, chairs or crates on the floor, well behind the table."""
    fixtures = []
    for _ in range(rng.integers(1, 4)):
        w, d, h = rng.uniform([0.25, 0.25, 0.3], [1.2, 0.5, 1.7])
        x, y = rng.uniform(-1.6, 1.6) - w / 2, high[1] + rng.uniform(0.25, 1.1)
        y = min(y, 1.9)
        if rng.uniform() < 0.4:  # a seat with a back and legs
            seat, t = FLOOR + 0.45, 0.04
            parts = [
                _box(x, y, seat - t, x + 0.45, y + 0.45, seat),
                _box(x, y + 0.41, seat, x + 0.45, y + 0.45, seat + 0.45),
            ]
            parts += [
                _box(x + a, y + b, FLOOR, x + a + t, y + b + t, seat) for a in (0, 0.41) for b in (0, 0.41)
            ]
            fixtures.append(_fixture("chair", parts, 0.002))
        else:
            fixtures.append(_fixture("cupboard", [_box(x, y, FLOOR, x + w, y + d, FLOOR + h)], 0.003))
            if rng.uniform() < 0.6:
                fixtures += _fronts(x, x + w, y, FLOOR + 0.05, FLOOR + h - 0.02, -1, rng)
    return fixtures

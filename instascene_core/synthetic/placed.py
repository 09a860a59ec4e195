"""Layouts put together by hand instead of dropped: neat stacks, flush rows, nested vessels, flat things.

Every object is let down onto what lies there already, straight down and without physics.  That is
exact where things are stacked as people stack them, and a hundred times faster than settling.
"""

from collections.abc import Callable

import numpy as np

from instascene_core.config import SyntheticConfig
from instascene_core.synthetic.household import COMMON, CONTENTS, FLAT, KINDS, STACKABLE, VESSELS
from instascene_core.synthetic.physics import Drop
from instascene_core.synthetic.plans import Plan, grid, random_solids, surroundings, turned
from instascene_core.synthetic.solids import Solid

CELL = 0.002  # metres between the columns at which heights are compared
GAP = 0.0002  # metres left between two things that touch
TALLEST = 0.36  # metres a stack may rise


class HeightField:
    """The highest surface over a square table, in columns `CELL` metres apart."""

    def __init__(self, half: float, floor: float = 0.0) -> None:
        self.half, self.top = half, np.full((round(2 * half / CELL),) * 2, floor)

    def put(self, solid: Solid, rotation: np.ndarray, place: np.ndarray) -> float:
        """Let `solid` down at x, y = place [2] metres; the height of its origin at rest, metres."""
        first, columns = self._columns(solid, rotation, place)
        bottom, top = columns
        window = tuple(slice(a, a + n) for a, n in zip(first, bottom.shape))
        filled = np.isfinite(bottom)
        under = self.top[window]
        height = float((under - bottom)[filled].max()) + GAP
        self.top[window] = np.where(filled, np.maximum(under, top + height), under)
        return height

    def _columns(self, solid: Solid, rotation: np.ndarray, place: np.ndarray):
        """First column [2] and (lowest, highest) z [A, B] of the solid there, ±inf beside it."""
        from instascene_core.geometry.open3d_loader import open3d

        vertices = solid.mesh.vertices @ rotation.T + [*place, 0.0]
        scene = open3d.t.geometry.RaycastingScene(nthreads=1)
        tensor = open3d.core.Tensor
        scene.add_triangles(
            tensor(vertices.astype(np.float32)), tensor(solid.mesh.triangles.astype(np.uint32))
        )
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        limit = len(self.top) - 1
        first = np.clip(np.floor((low[:2] + self.half) / CELL).astype(int), 0, limit)
        last = np.clip(np.floor((high[:2] + self.half) / CELL).astype(int), 0, limit)
        x, y = ((np.arange(a, b + 1) + 0.5) * CELL - self.half for a, b in zip(first, last))
        rays = np.zeros((2, len(x), len(y), 6), dtype=np.float32)
        rays[..., 0], rays[..., 1] = x[:, None], y
        rays[0, ..., 2], rays[0, ..., 5] = low[2] - 1, 1.0  # from below
        rays[1, ..., 2], rays[1, ..., 5] = high[2] + 1, -1.0
        t = scene.cast_rays(tensor(rays))["t_hit"].numpy()
        return first, (low[2] - 1 + t[0], high[2] + 1 - t[1])


class Table:
    """Collects drops at rest."""

    def __init__(self, config: SyntheticConfig, floor: float = 0.0) -> None:
        self.config, self.drops = config, []
        self._field = HeightField(config.table_size / 2, floor)

    @property
    def full(self) -> bool:
        return len(self.drops) >= self.config.num_objects

    def put(self, solid: Solid, rotation: np.ndarray, place, twin_of: int | None = None) -> None:
        """Add one object unless there are enough."""
        if not self.full:
            height = self._field.put(solid, rotation, np.asarray(place, dtype=float))
            self.drops.append(Drop(solid, rotation, np.asarray(place, dtype=float), height, twin_of))

    def plan(self) -> Plan:
        return Plan(self.drops, surroundings(self.config), placed=True)


def lying(solid: Solid, rng: np.random.Generator) -> np.ndarray:
    """[3, 3] random turn about the vertical with the solid's thinnest side up."""
    thin = int(solid.dimensions.argmin())
    down = np.roll(np.eye(3), 2 - thin, axis=0)  # a cyclic change of axes, so a rotation
    return turned(rng) @ down


def nearly(rotation: np.ndarray, rng: np.random.Generator, degrees: float) -> np.ndarray:
    """`rotation` turned about the vertical by a random angle of that standard deviation."""
    angle = np.radians(degrees) * rng.normal()
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ rotation


def stacks(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Columns of two to four identical things with the same print, one flush on the other."""
    table = Table(config)
    columns = max(1, round(config.num_objects / 3))
    solids = random_solids(("box", "can", "book", "tray", "bowl"), columns, config, rng, STACKABLE)
    neat = rng.uniform() < 0.5
    apart = rng.uniform(0.002, 0.03)
    places = grid(columns, max(float(s.dimensions[:2].max()) for s in solids) + apart)
    for solid, place in zip(solids, places):
        rotation = np.eye(3) if neat else turned(rng)
        first = len(table.drops)
        count = 4 if columns * 3 < config.num_objects else int(rng.integers(2, 5))
        if solid.mapping == "box" and (count * solid.dimensions[2] > TALLEST or rng.uniform() < 0.5):
            rotation = rotation @ np.roll(np.eye(3), 2 - int(solid.dimensions.argmin()), axis=0)
        count = max(2, min(count, int(TALLEST / np.ptp(solid.mesh.vertices @ rotation[2]))))
        for level in range(count):
            shift = rng.normal(0, 0.0008, 2)
            table.put(solid, nearly(rotation, rng, 1.0), place + shift, first if level else None)
    for place in grid(16, 0.14)[[0, 3, 12, 15, 1, 2, 13, 14]]:  # what the columns left over stands around
        table.put(random_solids(("can", "box"), 1, config, rng, STACKABLE)[0], turned(rng), place)
    return table.plan()


def flush(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Cartons side by side in a row without a gap, a second layer on them, some of them identical."""
    table = Table(config)
    count = max(1, -(-config.num_objects * 2 // 3))
    solids = random_solids(("box", "book", "box"), count, config, rng, ("tin",))
    x, row = -0.4 * config.table_size, []
    for i, solid in enumerate(solids):
        twin = row[-1][3] if row and rng.uniform() < 0.35 else None
        solid = solid if twin is None else table.drops[twin].solid
        width, depth, _ = (float(v) for v in solid.dimensions)
        if x + width > 0.4 * config.table_size:
            break
        offset = 0.5 * depth + rng.normal(0, 0.0015)  # fronts in line
        row.append((x + width / 2, offset, solid, i if twin is None else twin))
        table.put(solid, np.eye(3), (row[-1][0], offset), twin)
        x += width + abs(rng.normal(0, 0.0006))
    middle = (x - 0.4 * config.table_size) / 2
    while not table.full:
        for at, offset, solid, own in sorted(row, key=lambda entry: entry[2].dimensions[2]):
            table.put(solid, np.eye(3), (at + rng.normal(0, 0.002), offset), own)
    turn = turned(rng)
    table.drops = [
        Drop(d.solid, turn @ d.rotation, turn[:2, :2] @ (d.position - [middle, 0.05]), d.height, d.twin_of)
        for d in table.drops
    ]
    return table.plan()


def nested(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Vessels inside their likes, and small things in the uppermost."""
    table = Table(config)
    groups = max(1, config.num_objects // 4)
    vessels = random_solids(("bowl", "tray", "bowl", "plate"), groups, config, rng, VESSELS)
    places = grid(groups, max(float(s.dimensions[:2].max()) for s in vessels) + 0.03)
    for solid, place in zip(vessels, places):
        first, rotation = len(table.drops), turned(rng)
        for level in range(int(rng.integers(1, 4)) if groups > 1 or config.num_objects > 3 else 1):
            table.put(solid, nearly(rotation, rng, 2.0), place, first if level else None)
    fill = random_solids(("ball", "can", "ball", "tool"), config.num_objects, config, rng, CONTENTS)
    for i, solid in enumerate(fill):
        place, room = places[i % groups], 0.25 * float(vessels[i % groups].dimensions[:2].min())
        angle, reach = rng.uniform(0, 2 * np.pi), room * np.sqrt(rng.uniform())
        spot = place + reach * np.array([np.cos(angle), np.sin(angle)])
        table.put(solid, lying(solid, rng) if rng.uniform() < 0.6 else turned(rng), spot)
    return table.plan()


def flat(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Thin things lying flat beside and half on each other: plates, tools, trays, books."""
    table = Table(config)
    kinds = ("tool", "plate", "tray", "tool", "book")
    solids = random_solids(kinds, config.num_objects, config, rng, FLAT)
    pitch = rng.uniform(0.55, 0.9) * float(np.mean([np.sort(s.dimensions)[1:].mean() for s in solids]))
    order = sorted(range(len(solids)), key=lambda i: -float(np.prod(np.sort(solids[i].dimensions)[1:])))
    for i, place in zip(order, rng.permutation(grid(len(solids), pitch + 0.02))):
        table.put(solids[i], lying(solids[i], rng), place + rng.normal(0, 0.008, 2))
    return table.plan()


def heap(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Anything, close together, standing or lying, some on others."""
    table = Table(config)
    reach = rng.uniform(0.035, 0.06) * np.sqrt(config.num_objects)
    for solid in random_solids(COMMON, config.num_objects, config, rng, tuple(KINDS)):
        angle, radius = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform())
        rotation = turned(rng) if rng.uniform() < 0.6 else lying(solid, rng)
        table.put(solid, rotation, radius * np.array([np.cos(angle), np.sin(angle)]))
    return table.plan()


PLACED_LAYOUTS: dict[str, Callable[[SyntheticConfig, np.random.Generator], Plan]] = {
    "stacks": stacks,
    "flush": flush,
    "nested": nested,
    "flat": flat,
    "heap": heap,
}

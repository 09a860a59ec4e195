"""Layouts put together by hand instead of dropped: neat stacks, flush rows, nested vessels, flat things.

Every object is let down onto what lies there already, straight down and without physics.  That is
exact where things are stacked as people stack them, and a hundred times faster than settling.
"""

from collections.abc import Callable

import numpy as np

from instascene_core.config import SyntheticConfig
from instascene_core.synthetic.assemblies import ASSEMBLIES
from instascene_core.synthetic.household import ALL_KINDS, COMMON, CONTENTS, FLAT, STACKABLE, VESSELS
from instascene_core.synthetic.physics import Drop
from instascene_core.synthetic.plans import Fixture, Plan, grid, random_solids, slab, surroundings, turned
from instascene_core.synthetic.solids import Solid
from instascene_core.synthetic.unseen_assemblies import HELD_OUT_ASSEMBLIES

CELL = 0.002  # metres between the columns at which heights are compared
GAP = 0.0002  # metres left between two things that touch
TALLEST = 0.36  # metres a stack may rise
QUARTER = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # a quarter turn about the vertical


class HeightField:
    """The highest surface over a square table, in columns `CELL` metres apart."""

    def __init__(self, half: float, floor: float = 0.0) -> None:
        self.half, self.top = half, np.full((round(2 * half / CELL),) * 2, floor)

    def put(self, solid: Solid, rotation: np.ndarray, place: np.ndarray) -> float:
        """Let `solid` down at x, y = place [2] metres; the height of its origin at rest, metres."""
        return self.put_lowest(solid, rotation, np.asarray(place)[None])[1]

    def put_lowest(self, solid: Solid, rotation: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, float]:
        """Let `solid` down at that of places [N, 2] where it lies lowest; (place, height of its origin).

        Places after the first are rounded to whole columns from it.
        """
        first, (bottom, top) = self._columns(solid, rotation, places[0])
        filled = np.isfinite(bottom)
        steps = np.round((places - places[0]) / CELL).astype(int)
        inside = (first + steps >= 0).all(axis=1) & (first + steps + bottom.shape <= len(self.top)).all(
            axis=1
        )
        inside[0] = True
        windows = [tuple(slice(a, a + n) for a, n in zip(first + s, bottom.shape)) for s in steps[inside]]
        heights = [float((self.top[w] - bottom)[filled].max()) + GAP for w in windows]
        best = int(np.argmin(heights))
        under = self.top[windows[best]]
        self.top[windows[best]] = np.where(filled, np.maximum(under, top + heights[best]), under)
        return places[0] + CELL * steps[inside][best], heights[best]

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

    def put_lowest(self, solid: Solid, rotation: np.ndarray, places: np.ndarray) -> None:
        """Add one object at the lowest of places [N, 2] unless there are enough."""
        if not self.full:
            place, height = self._field.put_lowest(solid, rotation, places)
            self.drops.append(Drop(solid, rotation, place, height))

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
    for solid in random_solids(COMMON, config.num_objects, config, rng, tuple(ALL_KINDS)):
        angle, radius = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform())
        rotation = turned(rng) if rng.uniform() < 0.6 else lying(solid, rng)
        table.put(solid, rotation, radius * np.array([np.cos(angle), np.sin(angle)]))
    return table.plan()


def assemblies(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Things of several parts, standing, lying, tilted, some on or in others, among cartons and cans.

    The plain ones keep "touching and of another colour" from always meaning one object.
    """
    table = Table(config)
    plain = round(rng.uniform(0.0, 0.45) * config.num_objects)
    composed = random_solids(tuple(ASSEMBLIES), config.num_objects - plain, config, rng, HELD_OUT_ASSEMBLIES)
    between = random_solids(
        ("box", "can", "book", "bowl", "tray"), plain, config, rng, (*STACKABLE, *VESSELS)
    )
    solids = [(s, True) for s in composed] + [(s, False) for s in between]
    order = sorted(rng.permutation(len(solids)), key=lambda i: solids[i][1] and rng.uniform() < 0.7)
    close = rng.uniform(0.35, 1.0)  # of the room that lets them stand apart
    pitch = close * float(np.mean([np.hypot(*s.dimensions[:2]) for s, _ in solids])) + 0.01
    for i, place in zip(order, grid(len(solids), pitch)[rng.permutation(len(solids))]):
        solid, of_parts = solids[i]
        upright = rng.uniform() < (0.5 if of_parts else 0.75)
        rotation = turned(rng) if upright else lying(solid, rng)
        if of_parts and rng.uniform() < 0.15:  # as if it leaned on its neighbour
            rotation = tilted(rng.uniform(8.0, 40.0), rng) @ rotation
        # Mostly where there is room: hardly anything stays balanced on the tip of another.
        tries = 6 if rng.uniform() < 0.7 else 1
        table.put_lowest(solid, rotation, place + rng.normal(0, 0.3 * pitch, (tries, 2)))
    return table.plan()


def tilted(degrees: float, rng: np.random.Generator) -> np.ndarray:
    """[3, 3] rotation by that angle about a random horizontal axis."""
    turn, angle = turned(rng), np.radians(degrees)
    c, s = np.cos(angle), np.sin(angle)
    return turn @ np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]) @ turn.T


def twins_cross(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Equal cartons or cans with the same print, two to four high and side by side, some laid crosswise.

    As people stack them: turned by a few degrees, shifted by millimetres; only a seam tells them apart.
    """
    table = Table(config)
    groups = max(1, round(config.num_objects / 5))
    kinds = ("box", "can", "box", "book")
    solids = [
        solid
        for solid in random_solids(kinds, 4 * groups, config, rng, ("tin", "taped_carton"))
        if np.sort(solid.dimensions)[1:].sum() < 0.4
    ]
    solids = solids or random_solids(("can",), groups, config, rng, STACKABLE)
    pitch = max(float(np.hypot(*np.sort(s.dimensions)[1:])) for s in solids[: groups + 1])
    places = grid(25, pitch * rng.uniform(1.0, 1.3))
    slack = rng.uniform(0.0, 3.0)  # degrees turned and millimetres shifted
    for k, place in enumerate(places[np.argsort(np.linalg.norm(places, axis=1), kind="stable")]):
        _cross(table, solids[k % min(groups + 1, len(solids))], place, slack, rng)
    return table.plan()


def _cross(table: Table, solid: Solid, place: np.ndarray, slack: float, rng: np.random.Generator) -> None:
    """One stack of equal things; every other layer may be turned by 90 degrees."""
    first, heading = len(table.drops), turned(rng)
    boxy = solid.mapping == "box"
    down = np.roll(np.eye(3), 2 - int(solid.dimensions.argmin()), axis=0) if boxy else np.eye(3)
    size = np.abs(down) @ solid.dimensions
    beside = int(rng.integers(1, 3)) if size[1] < 0.6 * size[0] or not boxy else 1
    levels = max(1 if beside > 1 else 2, min(int(rng.integers(2, 5)), int(TALLEST / size[2])))
    crosswise = boxy and rng.uniform() < 0.65
    for level in range(levels):
        axes = heading @ QUARTER if crosswise and level % 2 else heading
        for k in range(beside):
            off = (k - (beside - 1) / 2) * (size[1] + abs(rng.normal(0, 0.0005))) * axes[:2, 1]
            off = off + 1e-3 * slack * rng.normal(0, 0.6, 2)
            twin = first if len(table.drops) > first else None
            table.put(solid, nearly(axes @ down, rng, slack), place + off, twin)


def doubles(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """A heap in which every other thing comes twice, one on or right beside the other, as shops pack them."""
    table = Table(config)
    reach = rng.uniform(0.05, 0.08) * np.sqrt(config.num_objects)
    slack = rng.uniform(0.0, 3.0)  # degrees turned and millimetres apart
    kinds = ("box", "can", "book", *COMMON)
    for solid in random_solids(kinds, config.num_objects, config, rng, tuple(ALL_KINDS)):
        angle, radius = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform())
        place = radius * np.array([np.cos(angle), np.sin(angle)])
        rotation = turned(rng) if rng.uniform() < 0.6 else lying(solid, rng)
        first = len(table.drops)
        table.put(solid, rotation, place)
        if rng.uniform() < 0.5:
            spread = solid.mesh.vertices @ rotation.T
            on_top = solid.kind in STACKABLE and np.ptp(spread[:, 2]) < 2 * np.ptp(spread, axis=0)[:2].min()
            place = place if on_top and rng.uniform() < 0.5 else place + _beside(spread, rotation, slack, rng)
            table.put(solid, nearly(rotation, rng, slack), place, first)
    return table.plan()


def _beside(spread: np.ndarray, rotation: np.ndarray, slack: float, rng: np.random.Generator) -> np.ndarray:
    """[2] metres from a thing with these vertices [N, 3] to an equal one that touches its side."""
    axes = rotation[:2, np.abs(rotation[2]) < 0.5].T  # the thing's own axes that lie in the plane
    axis = axes[rng.integers(len(axes))] / np.linalg.norm(axes[0]) * rng.choice([-1.0, 1.0])
    return (np.ptp(spread[:, :2] @ axis) + 1e-3 * slack * abs(rng.normal(0, 0.6))) * axis


def leaning(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """A compartment open to the front (−y): books and flat cartons lean at its walls, some one behind the
    other; before them stand and lie other things."""
    board = 0.01
    table = Table(config, board)
    half, depth, height = rng.uniform([0.13, 0.13, 0.18], [0.26, 0.24, 0.4])
    flat = random_solids(("book", "box", "book"), max(2, round(0.6 * config.num_objects)), config, rng, FLAT)
    reach = {wall: 0.0 for wall in ("left", "right", "back")}  # metres from each wall that are taken
    for solid in flat:
        wall = str(rng.choice(list(reach), p=[0.4, 0.4, 0.2]))
        rotation = _leaning_at(wall, solid, rng)
        spread = solid.mesh.vertices @ rotation.T
        low, high = spread.min(axis=0), spread.max(axis=0)
        gap = reach[wall] + GAP
        if wall == "back":
            place = np.array([rng.uniform(-0.6, 0.6) * half, depth - gap - high[1]])
        else:
            y = rng.uniform(-depth - low[1], max(depth - high[1], -depth - low[1]))
            place = np.array([-half + gap - low[0] if wall == "left" else half - gap - high[0], y])
        reach[wall] += float(np.sort(solid.dimensions)[0]) / 0.8 if rng.uniform() < 0.6 else 0.0
        table.put(solid, rotation, place)
    kinds = ("box", "can", "bottle", "mug", "bowl", "tool")
    for solid in random_solids(kinds, config.num_objects, config, rng, tuple(ALL_KINDS)):
        rotation = turned(rng) if rng.uniform() < 0.6 else lying(solid, rng)
        places = rng.uniform([-0.7 * half, -0.8 * depth], [0.7 * half, 0.6 * depth], (5, 2))
        table.put_lowest(solid, rotation, places)
    walls = {
        "bottom": slab((-half, -depth, 0.0), (half, depth, board)),
        "back": slab((-half, depth, 0.0), (half, depth + board, height)),
        "left": slab((-half - board, -depth, 0.0), (-half, depth, height)),
        "right": slab((half, -depth, 0.0), (half + board, depth, height)),
    }
    top = max(
        float((d.solid.mesh.vertices @ d.rotation.T)[:, 2].max()) + (d.height or 0.0) for d in table.drops
    )
    if top + 0.03 < height or rng.uniform() < 0.5:
        level = max(height, top + 0.03)
        walls["top"] = slab((-half - board, -depth, level), (half + board, depth + board, level + board))
    fixtures = surroundings(config) + [Fixture(f"shelf {name}", mesh) for name, mesh in walls.items()]
    region = ((-half, half), (-depth - 0.1, depth))
    return Plan(table.drops, fixtures, None, board, region, (-130.0, 80.0), (8.0, 40.0), placed=True)


def _leaning_at(wall: str, solid: Solid, rng: np.random.Generator) -> np.ndarray:
    """[3, 3] rotation that leans a flat solid at a wall: thin axis toward the wall, tilted a few degrees."""
    thin, *others = np.argsort(solid.dimensions)
    upward = int(others[1] if rng.uniform() < 0.75 else others[0])
    axes = np.zeros((3, 3))
    axes[0, thin], axes[2, upward] = 1.0, 1.0  # rows: the object's axes that become x and z
    axes[1] = np.cross(axes[2], axes[0])
    if rng.uniform() < 0.5:  # front or back cover to the room
        axes = np.diag([-1.0, -1.0, 1.0]) @ axes
    angle = np.radians(rng.uniform(2.0, 25.0))
    c, s = np.cos(angle), np.sin(angle)
    tilt = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])  # the top moves toward +x
    heading = {"right": np.eye(3), "left": np.diag([-1.0, -1.0, 1.0]), "back": QUARTER}[wall]
    return heading @ tilt @ axes


PLACED_LAYOUTS: dict[str, Callable[[SyntheticConfig, np.random.Generator], Plan]] = {
    "stacks": stacks,
    "flush": flush,
    "nested": nested,
    "flat": flat,
    "heap": heap,
    "leaning": leaning,
    "assemblies": assemblies,
    "twins_cross": twins_cross,
    "doubles": doubles,
}

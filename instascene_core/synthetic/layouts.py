"""How objects are brought together: which solids, onto what, and where each is let go."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from instascene_core.config import SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.objects import TriangleMesh
from instascene_core.synthetic.household import COMMON, make
from instascene_core.synthetic.physics import Drop, Pen
from instascene_core.synthetic.solids import Solid

TABLE_THICKNESS = 0.03  # metres; the top is at z = 0
FLOOR = -0.72
ROOM_SIZE, ROOM_HEIGHT = 5.0, 2.6


@dataclass(frozen=True)
class Fixture:
    """Something that does not move and is not an object: table, floor, walls, shelf boards."""

    name: str
    mesh: TriangleMesh  # world frame
    texel: float = 0.001  # metres of texture detail
    collides: bool = True


@dataclass(frozen=True)
class Plan:
    """What is dropped onto what, and from where it can be looked at."""

    drops: list[Drop]
    fixtures: list[Fixture]
    pen: Pen | None = None
    support_height: float = 0.0  # metres z of the plane the objects stand on
    region: tuple[tuple[float, float], tuple[float, float]] | None = (
        None  # x, y where objects must end; None = table
    )
    arc: tuple[float, float] | None = (
        None  # (start, span) in degrees from where one sees in; None = all round
    )
    elevations: tuple[float, float] = (5.0, 88.0)  # degrees from which one sees in


def slab(low, high) -> TriangleMesh:
    """The box between two corners [3], metres, triangles facing outward."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (high - low) + low
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [(a, b, c) for a, b, c, _ in quads] + [(a, c, d) for a, _, c, d in quads]
    return TriangleMesh(corners, np.array(triangles, dtype=np.int32))


def surroundings(config: SyntheticConfig) -> list[Fixture]:
    """The table and, if wanted, the room around it."""
    half = config.table_size / 2
    fixtures = [Fixture("table", slab((-half, -half, -TABLE_THICKNESS), (half, half, 0.0)))]
    if config.room:
        side = ROOM_SIZE / 2
        inside = slab((-side, -side, FLOOR), (side, side, FLOOR + ROOM_HEIGHT))
        floor = slab((-side, -side, FLOOR - 0.1), (side, side, FLOOR))
        walls = TriangleMesh(inside.vertices, inside.triangles[:, ::-1])
        fixtures.append(Fixture("floor", floor, texel=0.005, collides=False))
        fixtures.append(Fixture("walls", walls, texel=0.008, collides=False))
    return fixtures


def random_solids(
    kinds: tuple[str, ...], count: int, config: SyntheticConfig, rng: np.random.Generator
) -> list[Solid]:
    """`count` solids of `kinds` (or of the config's, where it names some); all come up before one repeats."""
    kinds = config.kinds or kinds
    if count == 0:
        return []
    order = np.concatenate([rng.permutation(len(kinds)) for _ in range(-(-count // len(kinds)))])
    return [make(kinds[i], rng) for i in order[:count]]


def turned(rng: np.random.Generator) -> np.ndarray:
    """[3, 3] random turn about the vertical."""
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def tumbled(rng: np.random.Generator) -> np.ndarray:
    """[3, 3] uniformly random rotation."""
    from instascene_core.transforms import matrix_from_quaternion

    return matrix_from_quaternion(rng.standard_normal(4))


def pile(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """A heap: dropped close together, half of them upright, so that they touch, lean and hide each other."""
    solids = random_solids(COMMON, config.num_objects, config, rng)
    reach = 0.04 * np.sqrt(len(solids))  # metres; 8 objects: 11 cm
    drops = []
    for solid in solids:
        angle, radius = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform())
        rotation = turned(rng) if rng.uniform() < 0.55 else tumbled(rng)
        drops.append(Drop(solid, rotation, radius * np.array([np.cos(angle), np.sin(angle)])))
    return Plan(drops, surroundings(config), Pen(1.5 * reach + 0.02, 2.5 * reach + 0.02))


def spread(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Standing apart on a grid, nothing touching: the easy case."""
    solids = random_solids(COMMON, config.num_objects, config, rng)
    places = grid(len(solids), max(float(np.hypot(*s.dimensions[:2])) for s in solids) + 0.02)
    drops = [Drop(s, turned(rng), place) for s, place in zip(solids, places)]
    return Plan(drops, surroundings(config))


def twins(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Identical pairs, flush side by side or one on the other: nothing but a seam tells them apart."""
    pairs = (config.num_objects + 1) // 2
    solids = random_solids(("box", "can", "book", "jar", "bottle"), pairs, config, rng)
    places = grid(pairs, max(2 * float(s.dimensions[:2].max()) for s in solids) + 0.03)
    drops: list[Drop] = []
    for solid, place in zip(solids, places):
        rotation = turned(rng)
        size = solid.dimensions
        stacked = (
            solid.kind in ("box", "can", "book") and size[2] < 2.0 * size[:2].min() and rng.uniform() < 0.6
        )
        side = np.zeros(2) if stacked else rotation[:2, int(size[1] < size[0])] * size[:2].min() / 2
        first = len(drops)
        drops.append(Drop(solid, rotation, place - side, 0.0005))
        drops.append(
            Drop(solid, rotation, place + side, size[2] + 0.001 if stacked else 0.0005, twin_of=first)
        )
    return Plan(drops[: config.num_objects], surroundings(config))


def contents(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Small things in bowls, pans and trays."""
    vessels = random_solids(("bowl", "tray", "pan"), max(1, config.num_objects // 4), config, rng)
    places = grid(len(vessels), max(float(s.dimensions[:2].max()) for s in vessels) + 0.04)
    drops = [Drop(s, turned(rng), place, 0.0005) for s, place in zip(vessels, places)]
    for i, solid in enumerate(
        random_solids(("ball", "tool", "ball", "can"), config.num_objects - len(vessels), config, rng)
    ):
        place = places[i % len(vessels)] + rng.normal(0, 0.012, 2)
        drops.append(Drop(solid, tumbled(rng), place))
    return Plan(drops, surroundings(config))


def thin(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Plates, pans, trays and bowls stacked and leaning: thin walls and nested surfaces."""
    solids = random_solids(("plate", "pan", "plate", "bowl", "tray", "tool"), config.num_objects, config, rng)
    solids = sorted(solids, key=lambda s: -float(s.dimensions[:2].max()))  # wide ones below
    places = grid(max(1, len(solids) // 3), 0.2)
    drops = []
    for i, solid in enumerate(solids):
        place = places[i % len(places)] + rng.normal(0, 0.008, 2)
        drops.append(Drop(solid, turned(rng), place))
    return Plan(drops, surroundings(config))


def shelf(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """A compartment open to the front (−y), things standing in it in two rows."""
    solids = random_solids(
        ("book", "box", "bottle", "can", "mug", "jar", "cup"), config.num_objects, config, rng
    )
    depths, board, gap = 0.36, 0.015, 0.012
    columns = -(-len(solids) // 2)
    rows = [sorted(solids[:columns], key=_height), sorted(solids[columns:], key=_height)]
    rows = rows if not rows[1] or _height(rows[0][0]) > _height(rows[1][-1]) else rows[::-1]
    widths = [sum(float(s.dimensions[:2].max()) + gap for s in row) for row in rows]
    half, top = max(widths) / 2 + 0.02, max(map(_height, solids)) + 0.06
    drops = []
    for row, width, y in zip(rows, widths, (0.09, -0.07)):  # the taller row behind
        x = -width / 2
        for solid in rng.permutation(np.array(row, dtype=object)) if row else []:
            size = float(solid.dimensions[:2].max()) + gap
            drops.append(
                Drop(
                    solid,
                    turned(rng) if solid.mapping == "cylinder" else np.eye(3),
                    np.array([x + size / 2, y]),
                    board + 0.0005,
                )
            )
            x += size
    d = depths / 2
    boards = {
        "bottom": slab((-half, -d, 0.0), (half, d, board)),
        "top": slab((-half, -d, board + top), (half, d, 2 * board + top)),
        "back": slab((-half, d, 0.0), (half, d + board, 2 * board + top)),
        "left": slab((-half - board, -d, 0.0), (-half, d + board, 2 * board + top)),
        "right": slab((half, -d, 0.0), (half + board, d + board, 2 * board + top)),
    }
    fixtures = surroundings(config) + [Fixture(f"shelf {name}", mesh) for name, mesh in boards.items()]
    region = ((-half, half), (-d, d))
    return Plan(drops, fixtures, None, board, region, arc=(-125.0, 70.0), elevations=(5.0, 25.0))


def _height(solid: Solid) -> float:
    return float(solid.dimensions[2])


def bin_(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """A tote with things poured in, seen from above: bin picking."""
    solids = random_solids(COMMON, config.num_objects, config, rng)
    board = 0.008
    half = np.array([0.075, 0.055]) * np.sqrt(max(len(solids), 3))  # 8 objects: 42 × 31 cm
    (x, y), height = half, 0.13
    walls = {
        "bottom": slab((-x, -y, 0.0), (x, y, board)),
        "left": slab((-x - board, -y - board, 0.0), (-x, y + board, height)),
        "right": slab((x, -y - board, 0.0), (x + board, y + board, height)),
        "front": slab((-x, -y - board, 0.0), (x, -y, height)),
        "back": slab((-x, y, 0.0), (x, y + board, height)),
    }
    drops = [Drop(s, tumbled(rng), rng.uniform(-0.5, 0.5, 2) * half) for s in solids]
    fixtures = surroundings(config) + [Fixture(f"bin {name}", mesh) for name, mesh in walls.items()]
    return Plan(drops, fixtures, None, board, ((-x, x), (-y, y)), elevations=(45.0, 80.0))


def grid(count: int, pitch: float) -> np.ndarray:
    """[count, 2] places around the origin, `pitch` metres apart."""
    columns = int(np.ceil(np.sqrt(count)))
    places = np.array([[i % columns, i // columns] for i in range(count)], dtype=float)
    return (places - places.mean(axis=0)) * pitch


LAYOUTS: dict[str, Callable[[SyntheticConfig, np.random.Generator], Plan]] = {
    "pile": pile,
    "spread": spread,
    "twins": twins,
    "contents": contents,
    "thin": thin,
    "shelf": shelf,
    "bin": bin_,
}


def plan(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """The plan of `config.layout`; InputError names the known layouts."""
    if config.layout not in LAYOUTS:
        raise InputError(f"There is no layout '{config.layout}'; known layouts: {', '.join(LAYOUTS)}.")
    return LAYOUTS[config.layout](config, rng)

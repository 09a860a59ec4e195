"""How objects are brought together: which solids, onto what, and where each is let go."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from instascene_core.config import SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.objects import TriangleMesh
from instascene_core.synthetic.household import KINDS, make
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
    """What is dropped onto what."""

    drops: list[Drop]
    fixtures: list[Fixture]
    pen: Pen | None = None
    arc_limit_degrees: float = 360.0  # from how far round the scene can be looked at
    elevation_limit_degrees: tuple[float, float] = field(default=(10.0, 85.0))


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


def random_solids(config: SyntheticConfig, rng: np.random.Generator) -> list[Solid]:
    """num_objects solids; every kind comes up before one repeats."""
    kinds = config.kinds or tuple(KINDS)
    order = np.concatenate([rng.permutation(len(kinds)) for _ in range(-(-config.num_objects // len(kinds)))])
    return [make(kinds[i], rng) for i in order[: config.num_objects]]


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
    solids = random_solids(config, rng)
    reach = 0.04 * np.sqrt(len(solids))  # metres; 8 objects: 11 cm
    drops = []
    for solid in solids:
        angle, radius = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform())
        rotation = turned(rng) if rng.uniform() < 0.55 else tumbled(rng)
        drops.append(Drop(solid, rotation, radius * np.array([np.cos(angle), np.sin(angle)])))
    return Plan(drops, surroundings(config), Pen(1.5 * reach + 0.02, 2.5 * reach + 0.02))


def spread(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Standing apart on a grid, nothing touching: the easy case."""
    solids = random_solids(config, rng)
    columns = int(np.ceil(np.sqrt(len(solids))))
    pitch = max(float(np.hypot(*s.dimensions[:2])) for s in solids) + 0.02
    places = np.array([[i % columns, i // columns] for i in range(len(solids))], dtype=float)
    places = (places - places.mean(axis=0)) * pitch
    drops = [Drop(s, turned(rng), place) for s, place in zip(solids, places)]
    return Plan(drops, surroundings(config))


LAYOUTS: dict[str, Callable[[SyntheticConfig, np.random.Generator], Plan]] = {
    "pile": pile,
    "spread": spread,
}


def plan(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """The plan of `config.layout`; InputError names the known layouts."""
    if config.layout not in LAYOUTS:
        raise InputError(f"There is no layout '{config.layout}'; known layouts: {', '.join(LAYOUTS)}.")
    return LAYOUTS[config.layout](config, rng)

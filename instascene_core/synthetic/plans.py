"""What a layout is: solids, what they rest on, and where each one goes."""

from dataclasses import dataclass

import numpy as np

from instascene_core.config import SyntheticConfig
from instascene_core.geometry import TriangleMesh
from instascene_core.synthetic.household import make
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
    placed: bool = False  # the drops' poses are final; nothing is let go
    cameras: np.ndarray | None = None  # [V, 4, 4] world_from_camera; None = arcs around the things


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
    kinds: tuple[str, ...],
    count: int,
    config: SyntheticConfig,
    rng: np.random.Generator,
    more: tuple[str, ...] = (),
) -> list[Solid]:
    """`count` solids of `kinds`; all come up before one repeats.

    Where the config names kinds, those of them that suit this role (`kinds` and `more`) are taken, or
    all of them where none suits.
    """
    suited = tuple(k for k in config.kinds if k in (*kinds, *more))
    kinds = suited or config.kinds or kinds
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


def grid(count: int, pitch: float) -> np.ndarray:
    """[count, 2] places around the origin, `pitch` metres apart."""
    columns = int(np.ceil(np.sqrt(count)))
    places = np.array([[i % columns, i // columns] for i in range(count)], dtype=float)
    return (places - places.mean(axis=0)) * pitch

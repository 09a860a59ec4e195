"""How objects are brought together: which solids, onto what, and where each is let go or put."""

from collections.abc import Callable

import numpy as np

from instascene_core.config import SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.synthetic.flat import LAYOUT as FLAT_OF_ROOMS
from instascene_core.synthetic.flat import flat
from instascene_core.synthetic.household import (
    ALL_KINDS,
    COMMON,
    CONTENTS,
    FLAT,
    STACKABLE,
    STANDING,
    VESSELS,
)
from instascene_core.synthetic.physics import Drop, Pen
from instascene_core.synthetic.placed import PLACED_LAYOUTS
from instascene_core.synthetic.plans import (
    Fixture,
    Plan,
    grid,
    random_solids,
    slab,
    surroundings,
    tumbled,
    turned,
)
from instascene_core.synthetic.solids import Solid


def pile(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """A heap: dropped close together, half of them upright, so that they touch, lean and hide each other."""
    solids = random_solids(COMMON, config.num_objects, config, rng, tuple(ALL_KINDS))
    reach = 0.04 * np.sqrt(len(solids))  # metres; 8 objects: 11 cm
    drops = []
    for solid in solids:
        angle, radius = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform())
        rotation = turned(rng) if rng.uniform() < 0.55 else tumbled(rng)
        drops.append(Drop(solid, rotation, radius * np.array([np.cos(angle), np.sin(angle)])))
    return Plan(drops, surroundings(config), Pen(1.5 * reach + 0.02, 2.5 * reach + 0.02))


def spread(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Standing apart on a grid, nothing touching: the easy case."""
    solids = random_solids(COMMON, config.num_objects, config, rng, tuple(ALL_KINDS))
    places = grid(len(solids), max(float(np.hypot(*s.dimensions[:2])) for s in solids) + 0.02)
    drops = [Drop(s, turned(rng), place) for s, place in zip(solids, places)]
    return Plan(drops, surroundings(config))


def twins(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Identical pairs, flush side by side or one on the other: nothing but a seam tells them apart."""
    pairs = (config.num_objects + 1) // 2
    solids = random_solids(("box", "can", "book", "jar", "bottle"), pairs, config, rng, STACKABLE)
    places = grid(pairs, max(2 * float(s.dimensions[:2].max()) for s in solids) + 0.03)
    drops: list[Drop] = []
    for solid, place in zip(solids, places):
        rotation = turned(rng)
        size = solid.dimensions
        stacked = (
            solid.kind in ("box", "can", "book", "tin", "board")
            and size[2] < 2.0 * size[:2].min()
            and rng.uniform() < 0.6
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
    vessels = random_solids(("bowl", "tray", "pan"), max(1, config.num_objects // 4), config, rng, VESSELS)
    places = grid(len(vessels), max(float(s.dimensions[:2].max()) for s in vessels) + 0.04)
    drops = [Drop(s, turned(rng), place, 0.0005) for s, place in zip(vessels, places)]
    for i, solid in enumerate(
        random_solids(
            ("ball", "tool", "ball", "can"), config.num_objects - len(vessels), config, rng, CONTENTS
        )
    ):
        place = places[i % len(vessels)] + rng.normal(0, 0.012, 2)
        drops.append(Drop(solid, tumbled(rng), place))
    return Plan(drops, surroundings(config))


def thin(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """Plates, pans, trays and bowls stacked and leaning: thin walls and nested surfaces."""
    kinds = ("plate", "pan", "plate", "bowl", "tray", "tool")
    solids = random_solids(kinds, config.num_objects, config, rng, (*FLAT, *VESSELS))
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
        ("book", "box", "bottle", "can", "mug", "jar", "cup"), config.num_objects, config, rng, STANDING
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
    solids = random_solids(COMMON, config.num_objects, config, rng, tuple(ALL_KINDS))
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


# On a table; the layout FLAT_OF_ROOMS is another kind of scene.
LAYOUTS: dict[str, Callable[[SyntheticConfig, np.random.Generator], Plan]] = {
    "pile": pile,
    "spread": spread,
    "twins": twins,
    "contents": contents,
    "thin": thin,
    "shelf": shelf,
    "bin": bin_,
    **PLACED_LAYOUTS,
}


def plan(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """The plan of `config.layout`; InputError names the known layouts."""
    if config.layout == FLAT_OF_ROOMS:
        return flat(config, rng)
    if config.layout not in LAYOUTS:
        known = ", ".join((*LAYOUTS, FLAT_OF_ROOMS))
        raise InputError(f"There is no layout '{config.layout}'; known layouts: {known}.")
    return LAYOUTS[config.layout](config, rng)

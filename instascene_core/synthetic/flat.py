"""A flat: rooms in a grid, doors between them, furniture along their walls with things on it, and a walk
through all of it.

Rooms are built one by one, each by a generator of its own: the first rooms of a large flat are those of a
small one.  There is no ceiling, so that the sun gets in.
"""

from dataclasses import dataclass, replace

import numpy as np

from instascene_core.config import SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.synthetic.household import ALL_KINDS, make
from instascene_core.synthetic.physics import Drop
from instascene_core.synthetic.plans import Fixture, Plan, slab, turned
from instascene_core.synthetic.solids import Solid
from instascene_core.transforms import look_at

LAYOUT = "rooms"  # its name among the layouts
ROOM = 4.0  # metres, inner side of a room
WALL, HEIGHT = 0.1, 2.4  # metres: thickness and height of walls
PITCH = ROOM + WALL
DOOR, LINTEL = 0.9, 2.05  # metres: width and height of a doorway
MARGIN = 0.05  # metres between furniture and the walls
GAP = 0.03  # metres at least between two things
DRAWS = 60  # how often a thing is drawn anew until it fits
# Things that stand by themselves; all come up before one repeats
KINDS = ("box", "bottle", "mug", "jar", "can", "bowl", "cup")
EYE = 1.45  # metres: height of the camera on its way
AROUND, AWAY = 50.0, 0.62  # degrees to either side, metres beside: from where it looks at things
WALK = 1 / 8  # share of the views that are taken on the way


@dataclass(frozen=True)
class Board:
    """A level surface that things stand on."""

    low: np.ndarray  # [2] metres x, y of its corners
    high: np.ndarray  # [2]
    top: float  # metres z
    tallest: float = 0.25  # metres a thing on it may be high
    above: float = 0.7  # metres over it from which one looks at it


@dataclass(frozen=True)
class Piece:
    """A piece of furniture."""

    name: str
    mesh: TriangleMesh
    boards: tuple[Board, ...]

    @property
    def middle(self) -> np.ndarray:
        """[2] metres."""
        return (self.boards[0].low + self.boards[0].high) / 2


def flat(config: SyntheticConfig, rng: np.random.Generator) -> Plan:
    """`config.rooms` rooms with `num_objects` things and `num_views` views in all, shared out evenly."""
    count, seed = config.rooms, int(rng.integers(2**31))
    if count < 1 or min(config.num_objects, config.num_views // 2) < count:
        raise InputError(
            f"A flat needs at least a room, and for {count} of them {count} objects and {2 * count} views."
        )
    cells = room_cells(count)
    fixtures: list[Fixture] = []
    drops: list[Drop] = []
    poses: list[np.ndarray] = []
    for k, cell in enumerate(cells):
        own = np.random.default_rng([seed, k])
        middle = PITCH * np.array(cell, dtype=float)
        pieces = furnish(middle, own)
        boards = [board for piece in pieces for board in piece.boards]
        drops += _things_on(boards, _share(config.num_objects, count, k), config, own)
        entry = middle if k == 0 else PITCH * (np.array(cells[k - 1]) + cell) / 2
        poses += _walk(middle, entry, pieces, _share(config.num_views, count, k), own)
        inside = (*(middle - ROOM / 2), 0.0), (*(middle + ROOM / 2), 0.0)
        floor = slab((*inside[0][:2], -WALL), inside[1])
        fixtures += [Fixture(f"floor {k}", floor, 0.004), Fixture(f"walls {k}", walls_of(k, cells), 0.006)]
        fixtures += [Fixture(f"{piece.name} {k}", piece.mesh, 0.002) for piece in pieces]
    corners = PITCH * np.array(cells)
    low, high = corners.min(axis=0) - ROOM / 2, corners.max(axis=0) + ROOM / 2
    region = ((low[0], high[0]), (low[1], high[1]))
    return Plan(drops, fixtures, None, 0.0, region, placed=True, cameras=np.stack(poses))


def room_cells(count: int) -> list[tuple[int, int]]:
    """Column and row of each room, in the order of the walk: each is beside the one before."""
    rows = 2 if count >= 4 and count % 2 == 0 else 1
    columns = count // rows
    return [(c if r % 2 == 0 else columns - 1 - c, r) for r in range(rows) for c in range(columns)]


def _share(total: int, parts: int, index: int) -> int:
    """How many of `total` are of part `index`, when all are shared out evenly."""
    return total * (index + 1) // parts - total * index // parts


# ── walls and furniture ───────────────────────────────────────────────────────────────────────────


def walls_of(index: int, cells: list[tuple[int, int]]) -> TriangleMesh:
    """The walls of a room, those it shares with an earlier one aside; with doors to the rooms before and
    after it in the walk."""
    cell = np.array(cells[index])
    beside = [cells[k] for k in (index - 1, index + 1) if 0 <= k < len(cells)]
    parts = []
    for step in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        other = (int(cell[0] + step[0]), int(cell[1] + step[1]))
        if other not in cells[:index]:
            parts += _wall(PITCH * cell, np.array(step), door=other in beside)
    return joined(parts)


def _wall(middle: np.ndarray, step: np.ndarray, door: bool) -> list[TriangleMesh]:
    """Slabs of the wall of the room around `middle` [2] on the side `step` [2]."""
    centre, along = middle + PITCH / 2 * step, np.abs(step[::-1])
    half = PITCH / 2 + WALL / 2
    spans = [(-half, half, 0.0)]
    if door:
        spans = [(-half, -DOOR / 2, 0.0), (DOOR / 2, half, 0.0), (-DOOR / 2, DOOR / 2, LINTEL)]
    thick = WALL / 2 * np.abs(step)
    return [
        slab((*(centre + a * along - thick), bottom), (*(centre + b * along + thick), HEIGHT))
        for a, b, bottom in spans
    ]


def furnish(middle: np.ndarray, rng: np.random.Generator) -> list[Piece]:
    """Two tables, a sideboard and a shelf in the corners of the room around `middle` [2] metres."""
    makers = [_table, _table, _sideboard, _shelf]
    pieces = []
    for corner, number in zip(((-1, -1), (1, -1), (1, 1), (-1, 1)), rng.permutation(len(makers))):
        pieces.append(makers[number](middle, np.array(corner)))
    return pieces


def _place(middle: np.ndarray, corner: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """[2] the middle of a piece of `size` metres in a corner, its longer side along the wall in x."""
    return middle + corner * (ROOM / 2 - MARGIN - np.array(size) / 2)


def _box(centre: np.ndarray, size: tuple[float, float], bottom: float, top: float) -> TriangleMesh:
    half = np.array(size) / 2
    return slab((*(centre - half), bottom), (*(centre + half), top))


def _board(centre: np.ndarray, size: tuple[float, float], top: float) -> Board:
    half = np.array(size) / 2 - 0.02
    return Board(centre - half, centre + half, top)


def _table(middle: np.ndarray, corner: np.ndarray) -> Piece:
    size, top, leg = (1.2, 0.7), 0.72, 0.05
    centre = _place(middle, corner, size)
    inset = np.array(size) / 2 - leg
    legs = [_box(centre + inset * (i, j), (leg, leg), 0.0, top - 0.03) for i in (-1, 1) for j in (-1, 1)]
    mesh = joined([_box(centre, size, top - 0.03, top), *legs])
    return Piece("table", mesh, (_board(centre, size, top),))


def _sideboard(middle: np.ndarray, corner: np.ndarray) -> Piece:
    size, top = (1.2, 0.5), 0.55
    centre = _place(middle, corner, size)
    return Piece("sideboard", _box(centre, size, 0.0, top), (_board(centre, size, top),))


def _shelf(middle: np.ndarray, corner: np.ndarray) -> Piece:
    """Two boards one over the other, open to the front."""
    size, lower, upper, thick = (1.1, 0.4), 0.45, 0.9, 0.025
    centre = _place(middle, corner, size)
    aside = np.array([(size[0] - thick) / 2, 0.0])
    sides = [_box(centre + s * aside, (thick, size[1]), 0.0, upper) for s in (-1, 1)]
    boards = [_box(centre, size, top - thick, top) for top in (lower, upper)]
    inner = (size[0] - 2 * thick, size[1])
    # The lower board's things stand at its front.
    front = centre - corner * (0, 0.06)
    low = replace(_board(front, (inner[0] - 0.1, inner[1] - 0.12), lower), tallest=0.2, above=0.35)
    return Piece("shelf", joined([*sides, *boards]), (_board(centre, size, upper), low))


def joined(parts: list[TriangleMesh]) -> TriangleMesh:
    """Several meshes as one."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    triangles = [part.triangles + start for part, start in zip(parts, starts)]
    return TriangleMesh(
        np.concatenate([part.vertices for part in parts]), np.concatenate(triangles).astype(np.int32)
    )


# ── things and views ──────────────────────────────────────────────────────────────────────────────


def _things_on(
    boards: list[Board], count: int, config: SyntheticConfig, rng: np.random.Generator
) -> list[Drop]:
    """`count` things, shared out over the boards by their area, each in a cell of its own."""
    areas = np.array([np.prod(board.high - board.low) for board in boards])
    limits = np.round(np.cumsum([0, *areas]) / areas.sum() * count).astype(int)
    kinds = config.kinds or KINDS
    order = np.concatenate([rng.permutation(len(kinds)) for _ in range(-(-count // len(kinds)))])
    drops = []
    for board, first, last in zip(boards, limits[:-1], limits[1:]):
        for (low, high), number in zip(_cells(board, last - first), order[first:last]):
            drops.append(_thing_in(low, high, board, kinds[number], rng))
    return drops


def _cells(board: Board, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Corners [2] of `count` cells of the board, rows of about square ones."""
    if count == 0:
        return []
    size = board.high - board.low
    rows = max(1, round(float(np.sqrt(count * size[1] / size[0]))))
    cells = []
    for row in range(rows):
        columns = _share(count, rows, row)
        steps = size / (max(columns, 1), rows)
        lows = [board.low + steps * (column, row) for column in range(columns)]
        cells += [(low, low + steps) for low in lows]
    return cells


def _thing_in(low: np.ndarray, high: np.ndarray, board: Board, kind: str, rng: np.random.Generator) -> Drop:
    """A thing of that kind upright somewhere in a cell.  Raises InputError where none fits."""
    if kind not in ALL_KINDS:
        make(kind, rng)  # says which kinds there are
    for _ in range(DRAWS):
        solid, rotation = make(kind, rng), turned(rng)
        least, most = _extent(solid, rotation)
        room = (high - low) - (most - least)[:2] - GAP
        if (room >= 0).all() and (most - least)[2] <= board.tallest:
            corner = low + GAP / 2 + room * rng.uniform(size=2)
            return Drop(solid, rotation, corner - least[:2], board.top + 0.0005 - least[2])
    raise InputError(f"No {kind} fits on the furniture; ask for fewer objects a room, or other kinds.")


def _extent(solid: Solid, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([3], [3]) corners of the box around a turned solid, metres."""
    turned_vertices = solid.mesh.vertices @ rotation.T
    return turned_vertices.min(axis=0), turned_vertices.max(axis=0)


def _walk(
    middle: np.ndarray, entry: np.ndarray, pieces: list[Piece], count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """`world_from_camera` [4, 4] of `count` views: in at the door `entry` [2], a look around, then the
    furniture piece by piece, each half of it in an arc."""
    walking = max(1, round(WALK * count))
    poses = []
    for k in range(walking):
        share = k / walking
        eye = entry + (middle - entry) * min(1.0, 2 * share)
        poses.append(_view(eye, EYE, pieces[k % len(pieces)].middle, 0.7, rng))
    stops = [(piece, board, side) for piece in pieces for board in piece.boards for side in (-1, 1)]
    for number, (piece, board, side) in enumerate(stops):
        target = (board.low + board.high) / 2 + side * (board.high - board.low) * (0.25, 0)
        inward = np.arctan2(*(middle - piece.middle)[::-1])
        views = _share(count - walking, len(stops), number)
        turns = np.radians(np.linspace(-AROUND, AROUND, views)) if views > 1 else np.zeros(views)
        for k, turn in enumerate(turns if number % 2 == 0 else turns[::-1]):
            direction = np.array([np.cos(inward + turn), np.sin(inward + turn)])
            eye = np.clip(target + AWAY * direction, middle - ROOM / 2 + 0.15, middle + ROOM / 2 - 0.15)
            height = board.top + (board.above if k % 2 else board.above - 0.2)
            poses.append(_view(eye, height, target, board.top + 0.05, rng))
    return poses


def _view(
    eye: np.ndarray, height: float, target: np.ndarray, at: float, rng: np.random.Generator
) -> np.ndarray:
    """From over `eye` [2] to the point at the height `at` over `target` [2], metres."""
    return look_at(np.array([*eye, height]) + rng.normal(0, 0.02, 3), np.array([*target, at]))

"""Shapes of PartNet as points with parts at up to three levels, from either of its two layouts.

    ROOT/after_merging_label_ids/Chair-level-1.txt          names of a level's parts, one a line: id name kind
    ROOT/ins_seg_h5/Chair/train-00.h5 and .json             pts, nor [S, N, 3], label [S, N]; ins_seg
or, a folder a shape,
    ROOT/merging_hierarchy_mapping/Chair.txt                original path and merged name, a pair a line
    ROOT/train_val_test_split/Chair.train.json              anno_id of each shape
    ROOT/data/<anno_id>/result.json                         the tree of parts
    ROOT/data/<anno_id>/point_sample/sample-points-all-{pts-nor-rgba,label}-10000.txt
What lies beside `data` and `ins_seg_h5` is in the `stats` folder of PartNet's repositories.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.errors import InputError, needs
from instascene_core.parts.samples import UNKNOWN
from instascene_core.untrusted import read_json

CATEGORIES = (
    "Bag", "Bed", "Bottle", "Bowl", "Chair", "Clock", "Dishwasher", "Display", "Door", "Earphone", "Faucet",
    "Hat", "Keyboard", "Knife", "Lamp", "Laptop", "Microwave", "Mug", "Refrigerator", "Scissors",
    "StorageFurniture", "Table", "TrashCan", "Vase",
)  # fmt: skip
SPLITS = ("train", "val", "test")
MOST_POINTS = 1_000_000  # of a shape: PartNet has 10,000
DEEPEST = 64  # of a shape's tree of parts


@dataclass(frozen=True)
class PartNetShape:
    """One shape."""

    name: str  # anno_id, or where it stands in its file
    points: np.ndarray  # [N, 3] float32, unit ball
    normals: np.ndarray  # [N, 3] float32
    semantic: np.ndarray  # [L, N] int16 index into the level's names; UNKNOWN = −1: of no part of the level
    instance: np.ndarray  # [L, N] int16, number of the part; UNKNOWN where the semantic label is


def level_names(root: Path, category: str) -> tuple[tuple[str, ...], ...]:
    """The names of a category's parts at each of its levels (1 to 3 of them), coarse to fine."""
    if category not in CATEGORIES:
        raise InputError(f"PartNet has no category '{category}'; it has {', '.join(CATEGORIES)}.")
    folder, levels = Path(root) / "after_merging_label_ids", []
    for level in (1, 2, 3):
        path = folder / f"{category}-level-{level}.txt"
        if not path.is_file():
            continue
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
        if not rows or any(len(row) < 2 for row in rows):
            raise InputError(f"'{path}' is not a list of 'id name kind' lines.")
        levels.append(tuple(row[1] for row in rows))
    if not levels:
        raise InputError(f"There is no {category}-level-1.txt in '{folder}'; it is in PartNet's stats.")
    return tuple(levels)


def shapes_of(root: Path, category: str, split: str) -> Iterator[PartNetShape]:
    """The shapes of a split, from ins_seg_h5 where that is there, else from a folder a shape."""
    root, names = Path(root), level_names(root, category)
    if split not in SPLITS:
        raise InputError(f"PartNet has no split '{split}'; it has {', '.join(SPLITS)}.")
    if (root / "ins_seg_h5").is_dir():
        return _from_h5(root / "ins_seg_h5" / category, split, names)
    if (root / "data").is_dir():
        return _from_folders(root, category, split, names)
    raise InputError(f"'{root}' holds neither ins_seg_h5 nor data: it is no folder of PartNet.")


# --- HDF5 files ---


def _from_h5(folder: Path, split: str, names: Sequence[Sequence[str]]) -> Iterator[PartNetShape]:
    with needs("h5py", "PartNet's files need h5py; install it with `pip install instascene[partnet]`."):
        import h5py  # pyright: ignore[reportMissingImports] (optional: the extra partnet)
    paths = sorted(folder.glob(f"{split}-*.h5"))
    if not paths:
        raise InputError(f"There is no {split}-00.h5 in '{folder}'.")
    for path in paths:
        records = _list_of(path.with_suffix(".json"))
        try:
            with h5py.File(path, "r") as file:
                found = [file[key] for key in ("pts", "nor", "label")]
                columns = [one for one in found if isinstance(one, h5py.Dataset)]
                if len(columns) != len(found):
                    raise InputError(f"'{path}' is not an instance file of PartNet (a group, no numbers).")
                points, normals, labels = columns
                _require_layout(path, points.shape, normals.shape, labels.shape, len(records))
                for k, record in enumerate(records):
                    name = str(_field(record, "anno_id", path, default=f"{path.stem}/{k}"))
                    parts = _parts_listed(record, path)
                    yield _shape(name, points[k], normals[k], labels[k], parts, names, path)
        except (OSError, KeyError) as error:
            raise InputError(f"'{path}' is not an instance file of PartNet ({error}).") from error


def _require_layout(path: Path, points: tuple, normals: tuple, labels: tuple, records: int) -> None:
    good = len(points) == 3 and points[2] == 3 and normals == points and labels == points[:2]
    if not good or not 0 < points[1] <= MOST_POINTS:
        raise InputError(
            f"'{path}' should hold pts and nor [S, N, 3] and label [S, N]; "
            f"they are {points}, {normals}, {labels}."
        )
    if records != points[0]:
        raise InputError(f"'{path}' holds {points[0]} shapes, the .json beside it tells of {records}.")


def _parts_listed(record: Any, path: Path) -> list[tuple[str, list[int]]]:
    """(name, leaf ids) of each part in a record of the .json beside an .h5."""
    listed = _field(record, "ins_seg", path)
    try:
        return [(str(one["part_name"]), [int(leaf) for leaf in one["leaf_id_list"]]) for one in listed]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The parts listed beside '{path}' lack part_name or leaf_id_list.") from error


# --- a folder a shape ---


def _from_folders(
    root: Path, category: str, split: str, names: Sequence[Sequence[str]]
) -> Iterator[PartNetShape]:
    mapping = _mapping(root / "merging_hierarchy_mapping" / f"{category}.txt")
    listing = root / "train_val_test_split" / f"{category}.{split}.json"
    for record in _list_of(listing):
        number = str(_field(record, "anno_id", listing))
        if not number.isalnum():
            raise InputError(f"'{listing}' names a shape {number!r}, which is no number.")
        folder = root / "data" / number
        table = _table(folder / "point_sample" / "sample-points-all-pts-nor-rgba-10000.txt", 6)
        labels = _table(folder / "point_sample" / "sample-points-all-label-10000.txt", 1)
        if len(table) != len(labels):
            raise InputError(f"'{folder}' has {len(table)} points but {len(labels)} labels.")
        tree = _list_of(folder / "result.json")
        parts: list[tuple[str, list[int]]] = []
        for node in tree:
            _merged(node, "", mapping, parts, folder / "result.json", 0)
        leaves = labels[:, 0].astype(np.int64)
        yield _shape(number, table[:, :3], table[:, 3:6], leaves, parts, names, folder)


def _mapping(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise InputError(f"There is no '{path}'; it is in PartNet's stats.")
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    if any(len(row) != 2 for row in rows):
        raise InputError(f"'{path}' is not a list of 'path merged-name' lines.")
    return {row[0]: row[1] for row in rows}


def _merged(
    node: Any, above: str, mapping: Mapping[str, str], parts: list, path: Path, depth: int
) -> list[int]:
    """The leaf ids below a node of the tree; appends the (merged name, leaf ids) of it and what is below,
    parents before their children, as PartNet's own files list them."""
    name = f"{above}/{_field(node, 'name', path)}".lstrip("/")
    if depth > DEEPEST:
        raise InputError(f"The tree of parts in '{path}' is deeper than {DEEPEST}.")
    place = len(parts)
    if isinstance(node.get("children"), list):
        children = [_merged(child, name, mapping, parts, path, depth + 1) for child in node["children"]]
        below = [leaf for child in children for leaf in child]
    else:
        below = [int(_field(node, "id", path))]
    if name in mapping:
        parts.insert(place, (mapping[name], below))
    return below


def _table(path: Path, columns: int) -> np.ndarray:
    """[N, ≥ columns] numbers of a text file; InputError where it is missing or not that."""
    if not path.is_file():
        raise InputError(f"There is no '{path}'.")
    try:
        table = np.loadtxt(path, ndmin=2, max_rows=MOST_POINTS)
    except ValueError as error:
        raise InputError(f"'{path}' is not a table of numbers.") from error
    if len(table) == 0 or table.shape[1] < columns or not np.isfinite(table).all():
        raise InputError(f"'{path}' should have {columns} numbers a line; it has shape {table.shape}.")
    return table


# --- both ---


def _shape(
    name: str, points: np.ndarray, normals: np.ndarray, leaves: np.ndarray,
    parts: Sequence[tuple[str, list[int]]], names: Sequence[Sequence[str]], path: Path,
) -> PartNetShape:  # fmt: skip
    """Labels of each level: a point is of the part that lists its leaf, if that has a name of the level."""
    semantic = np.full((len(names), len(points)), UNKNOWN, dtype=np.int16)
    instance = semantic.copy()
    for level, known in enumerate(names):
        number = 0
        for part, ids in parts:
            mine = np.isin(leaves, ids)
            if part in known and mine.any():
                semantic[level, mine], instance[level, mine] = known.index(part), number
                number += 1
    if not np.isfinite(points).all() or not np.isfinite(normals).all():
        raise InputError(f"Shape {name} in '{path}' has coordinates that are not finite numbers.")
    return PartNetShape(name, points.astype(np.float32), normals.astype(np.float32), semantic, instance)


def _list_of(path: Path) -> list:
    found = read_json(path)
    if not isinstance(found, list):
        raise InputError(f"'{path}' should hold a list.")
    return found


_NONE = object()


def _field(record: Any, key: str, path: Path, default: Any = _NONE) -> Any:
    if isinstance(record, dict) and key in record:
        return record[key]
    if default is not _NONE:
        return default
    raise InputError(f"A record in '{path}' lacks '{key}'.")

"""A miniature of PartNet on disk: two chairs, in both of its layouts."""

import json
from pathlib import Path

import numpy as np

NAMES = {1: ("chair/back", "chair/base"), 2: ("chair/back", "chair/base/leg")}
TREE = [{
    "id": 0, "name": "chair", "text": "Chair", "children": [
        {"id": 1, "name": "chair_back", "text": "Back", "children": [
            {"id": 4, "name": "bar", "text": "Bar", "objs": ["a"]},
            {"id": 5, "name": "bar", "text": "Bar", "objs": ["b"]},
        ]},
        {"id": 2, "name": "chair_base", "text": "Base", "children": [
            {"id": 6, "name": "leg", "text": "Leg", "objs": ["c"]},
            {"id": 7, "name": "leg", "text": "Leg", "objs": ["d"]},
        ]},
        {"id": 3, "name": "ornament", "text": "Ornament", "objs": ["e"]},
    ],
}]  # fmt: skip
MAPPING = """chair chair
chair/chair_back chair/back
chair/chair_base chair/base
chair/chair_base/leg chair/base/leg
"""
PARTS = [
    {"part_name": "chair", "leaf_id_list": [4, 5, 6, 7, 3]},
    {"part_name": "chair/back", "leaf_id_list": [4, 5]},
    {"part_name": "chair/base", "leaf_id_list": [6, 7]},
    {"part_name": "chair/base/leg", "leaf_id_list": [6]},
    {"part_name": "chair/base/leg", "leaf_id_list": [7]},
]
PLACES = {4: (0, -0.3, 0.9), 5: (0, 0.3, 0.9), 6: (-0.6, 0, -0.5), 7: (0.6, 0, -0.5), 3: (0, 0, 0.1)}


def chair(seed: int, each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(points, normals, leaf ids): five balls, `each` points a ball, in no order."""
    rng = np.random.default_rng(seed)
    leaves = rng.permutation(np.repeat(list(PLACES), each))
    normals = rng.normal(size=(len(leaves), 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = np.array([PLACES[leaf] for leaf in leaves]) + 0.15 * normals
    return points.astype(np.float32), normals.astype(np.float32), leaves.astype(np.int32)


def write_names(root: Path) -> None:
    folder = root / "after_merging_label_ids"
    folder.mkdir(parents=True)
    for level, names in NAMES.items():
        lines = [f"{k + 1} {name} leaf" for k, name in enumerate(names)]
        (folder / f"Chair-level-{level}.txt").write_text("\n".join(lines) + "\n")


def write_h5(root: Path, each: int = 20, shapes: int = 2) -> None:
    """ROOT/ins_seg_h5/Chair/{train,val,test}-00.h5 and .json."""
    import h5py

    write_names(root)
    folder = root / "ins_seg_h5" / "Chair"
    folder.mkdir(parents=True)
    for start, split in enumerate(("train", "val", "test")):
        drawn = [chair(10 * start + k, each) for k in range(shapes)]
        with h5py.File(folder / f"{split}-00.h5", "w") as file:
            for column, name in enumerate(("pts", "nor", "label")):
                file.create_dataset(name, data=np.stack([d[column] for d in drawn]), compression="gzip")
        records = [{"anno_id": str(100 * start + k), "ins_seg": PARTS} for k in range(shapes)]
        (folder / f"{split}-00.json").write_text(json.dumps(records))


def write_folders(root: Path, each: int = 20) -> None:
    """ROOT/data/<anno_id>/… of one test shape, the first of `write_h5`'s training split."""
    write_names(root)
    for folder in ("merging_hierarchy_mapping", "train_val_test_split", "data/0/point_sample"):
        (root / folder).mkdir(parents=True)
    (root / "merging_hierarchy_mapping" / "Chair.txt").write_text(MAPPING)
    (root / "train_val_test_split" / "Chair.test.json").write_text(json.dumps([{"anno_id": "0"}]))
    (root / "data/0/result.json").write_text(json.dumps(TREE))
    points, normals, leaves = chair(0, each)
    more = np.tile([128, 128, 128, 1.0], (len(points), 1))
    samples = root / "data/0/point_sample"
    table = np.concatenate([points, normals, more], axis=1)
    np.savetxt(samples / "sample-points-all-pts-nor-rgba-10000.txt", table, fmt="%.7g")
    np.savetxt(samples / "sample-points-all-label-10000.txt", leaves, fmt="%d")

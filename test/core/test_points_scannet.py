"""ScanNet's layout, read from a generated miniature, and what is wrong with one."""

import json

import numpy as np
import pytest
import torch

from instascene_core.errors import InputError
from instascene_core.training.points.__main__ import main
from instascene_core.training.points.prepared import NOTHING, VOID, read_prepared
from instascene_core.training.points.scannet import CLASSES, NYU40, prepare_scannet, read_table

NAME = "scene0000_00"
TSV = "id\traw_category\tcategory\tnyu40id\n1\toffice chair\tchair\t5\n2\tfloor\tfloor\t2\n3\tmug\tcup\t\n"
# Six vertices: a chair of segments 7 and 9, the floor of segment 4, segment 8 of nothing.
SEGMENTS = [7, 7, 9, 4, 4, 8]
LABELS = [5, 5, 5, 2, 2, 0]


def ply(path, label=None) -> None:
    """Binary, as ScanNet's: colours with alpha, and a label in the labels' file."""
    kind = [("xyz", "<f4", 3), ("rgba", "u1", 4)] + ([("label", "<u2")] if label is not None else [])
    vertices = np.zeros(6, dtype=kind)
    vertices["xyz"] = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [3, 0, 0], [4, 0, 0], [3, 1, 0]]
    vertices["rgba"] = [[255, 0, 51, 255]] * 6
    lines = ["ply", "format binary_little_endian 1.0", "element vertex 6"]
    lines += [f"property float {n}" for n in "xyz"]
    lines += [f"property uchar {n}" for n in ("red", "green", "blue", "alpha")]
    if label is not None:
        vertices["label"] = label
        lines.append("property ushort label")
    lines += ["element face 2", "property list uchar int vertex_indices", "end_header", ""]
    faces = b"".join(b"\x03" + np.array(f, "<i4").tobytes() for f in ([0, 1, 2], [3, 4, 5]))
    path.write_bytes("\n".join(lines).encode() + vertices.tobytes() + faces)


@pytest.fixture
def split(tmp_path):
    folder = tmp_path / "scannetv2" / "val"
    folder.mkdir(parents=True)
    (folder.parent / "scannetv2-labels.combined.tsv").write_text(TSV)
    ply(folder / f"{NAME}_vh_clean_2.ply")
    ply(folder / f"{NAME}_vh_clean_2.labels.ply", LABELS)
    segments = {"sceneId": NAME, "segIndices": SEGMENTS}
    (folder / f"{NAME}_vh_clean_2.0.010000.segs.json").write_text(json.dumps(segments))
    groups = [
        {"id": 0, "objectId": 0, "segments": [7, 9], "label": "office chair"},
        {"id": 1, "objectId": 1, "segments": [4], "label": "floor"},
    ]
    (folder / f"{NAME}.aggregation.json").write_text(json.dumps({"sceneId": NAME, "segGroups": groups}))
    return folder


def test_a_scan_by_hand(split, tmp_path):
    assert prepare_scannet(split, tmp_path / "out") == 1
    scene = read_prepared(tmp_path / "out" / f"{NAME}.npz")
    assert scene.instance.tolist() == [1, 1, 1, NOTHING, NOTHING, VOID]
    chair = CLASSES.index("chair")
    assert scene.category.tolist() == [chair, chair, chair, -1, -1, -1]
    assert scene.superpoint.tolist() == [1, 1, 3, 0, 0, 2]
    np.testing.assert_allclose(scene.cloud.positions[4], [4, 0, 0])
    np.testing.assert_allclose(scene.cloud.normals, np.tile([0, 0, 1], (6, 1)), atol=1e-2)
    np.testing.assert_allclose(scene.cloud.colors[0], [1, 0, 0.2], atol=0.01)
    np.testing.assert_allclose(scene.cloud.scales, 1, atol=1e-3)


def test_a_scan_of_the_test_split_is_void(split, tmp_path):
    for pattern in ("*.json", "*.labels.ply"):
        for path in split.glob(pattern):
            path.unlink()
    prepare_scannet(split, tmp_path / "out")
    scene = read_prepared(tmp_path / "out" / f"{NAME}.npz")
    assert scene.instance.tolist() == [VOID] * 6 and scene.superpoint.min() == 0


def test_the_classes_are_scannets():
    assert len(CLASSES) == len(NYU40) == 18
    assert dict(zip(CLASSES, NYU40))["otherfurniture"] == 39


def test_the_table_by_hand(split):
    assert read_table(split.parent / "scannetv2-labels.combined.tsv") == {"office chair": 5, "floor": 2}


def segments_file(split):
    return next(split.glob("*.segs.json"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda s: (s.parent / "scannetv2-labels.combined.tsv").unlink(), "--table"),
        (lambda s: (s.parent / "scannetv2-labels.combined.tsv").write_text("a\tb\n1\t2\n"), "label table"),
        (lambda s: (s / f"{NAME}_vh_clean_2.ply").unlink(), "no ScanNet scans"),
        (lambda s: (s / f"{NAME}_vh_clean_2.ply").write_bytes(b"ply\n"), "vh_clean_2.ply"),
        (lambda s: (s / f"{NAME}_vh_clean_2.labels.ply").unlink(), "labels.ply"),
        (lambda s: ply(s / f"{NAME}_vh_clean_2.labels.ply"), "a label for each"),
        (lambda s: segments_file(s).unlink(), "segs.json"),
        (lambda s: segments_file(s).write_text('{"segIndices": [1, 2]}'), "segIndices"),
        (lambda s: segments_file(s).write_text("{"), "JSON"),
        (lambda s: (s / f"{NAME}.aggregation.json").write_text("{}"), "segGroups"),
        (
            lambda s: (s / f"{NAME}.aggregation.json").write_text(
                '{"segGroups": [{"segments": [7], "label": "unicorn"}]}'
            ),
            "unicorn",
        ),
        (
            lambda s: (s / f"{NAME}.aggregation.json").write_text('{"segGroups": [{"label": "floor"}]}'),
            "segments",
        ),
    ],
)
def test_what_is_wrong_is_said(split, tmp_path, damage, says):
    damage(split)
    with pytest.raises(InputError, match=says) as caught:
        prepare_scannet(split, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_the_command_prepares_and_says_what_is_wrong(split, tmp_path, capsys):
    command = ["--threads", str(torch.get_num_threads()), "scannet"]
    main([*command, str(split), str(tmp_path / "out")])
    assert (tmp_path / "out" / f"{NAME}.npz").is_file()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SystemExit) as ended:
        main([*command, str(empty), str(tmp_path / "out")])
    assert ended.value.code == 1 and "There are no ScanNet scans" in capsys.readouterr().err

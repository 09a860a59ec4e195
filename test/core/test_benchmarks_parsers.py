"""The checker of files finds nothing wrong with what is right, and what was made wrong."""

import pytest
from exported_scene import write_all

from benchmarks import parsers
from benchmarks.simulator_tables import parsers as section

FORMATS = ("ply", "glb", "stl", "obj", "collision", "urdf", "sdf", "mjcf")


@pytest.fixture
def saved(tmp_path, monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.setattr(
        parsers, "READERS", {n: parsers.READERS[n] for n in ("trimesh", "open3d", "mujoco", "sdf")}
    )
    write_all(tmp_path, FORMATS)
    return tmp_path


def test_files_that_are_right_pass(saved):
    row = parsers.check(saved)
    assert row["good"] and row["objects"] == 2
    assert all(
        answer["files"] >= 3 and max(answer["worst"].values()) < 1e-4 for answer in row["readers"].values()
    )
    assert "| mujoco | 1 of 1 | 6 |" in section({"runs": [{**row, "mark": ""}]})


@pytest.mark.parametrize(
    ("name", "old", "new", "reader"),
    [
        ("objects/4/object.xml", 'mass="', 'mass="1', "mujoco"),
        ("objects/4/model.sdf", "<mass>", "<mass>1", "sdf"),
        ("scene.sdf", "objects/4/mesh.obj", "objects/4/lost.obj", "sdf"),
    ],
)
def test_what_was_made_wrong_is_found(saved, name, old, new, reader):
    path = saved / name
    path.write_text(path.read_text().replace(old, new, 1))
    row = parsers.check(saved)
    assert not row["good"] and not row["readers"][reader]["good"]
    assert all(answer["good"] for other, answer in row["readers"].items() if other != reader)


def test_an_open_mesh_is_found(saved):
    path = saved / "objects/9/mesh.obj"
    lines = path.read_text().splitlines()
    face = next(k for k, line in enumerate(lines) if line.startswith("f "))
    path.write_text("\n".join(lines[:face] + lines[face + 1 :]) + "\n")
    row = parsers.check(saved)
    assert any(
        "objects" not in said and "9/mesh.obj" in said for said in row["readers"]["trimesh"]["complaints"]
    )

"""Parts of objects as files, and `instascene parts`."""

import json
import shutil
import struct

import numpy as np
import pytest
import torch
import trimesh
from click_scene import RED, decomposed_scene
from test_cli_saved import checksums_hold, run_cli

from instascene_core import cli
from instascene_core.config import ExportConfig
from instascene_core.errors import InputError
from instascene_core.export.object_loading import load_objects
from instascene_core.export.part_files import (
    PartedMesh,
    part_facts,
    part_of_triangles,
    read_parts,
    write_parts,
)
from instascene_core.export.saved_scene import put_object, save_scene
from instascene_core.geometry import TriangleMesh
from instascene_core.parts.network import PartNetwork, PartShape, TrainedParts, save_network
from instascene_core.parts.segment import PartLabels, PartLevel

NAMES = (("body", "handle"), ("body", "grip", "ear"))


def strip() -> PartedMesh:
    """A strip of five vertices and three triangles; at the finer level the handle is two."""
    vertices = np.array([[0.0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0], [2, 0, 0]])
    triangles = np.array([[0, 2, 1], [2, 3, 1], [2, 4, 3]], dtype=np.int32)
    coarse = PartLevel(np.array([0, 0, 1, 1, 1], np.int32), ("body", "handle"), np.array([0.9, 0.8]))
    fine = PartLevel(np.array([0, 0, 1, 1, 2], np.int32), ("body", "ear", "ear"), np.array([0.9, 0.7, 0.6]))
    return PartedMesh("object_1", TriangleMesh(vertices, triangles), PartLabels((coarse, fine)), 1)


def gltf(path) -> dict:
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[12:16])
    return json.loads(data[20 : 20 + length])


def test_labels_come_back(tmp_path):
    write_parts(tmp_path, strip())
    read = read_parts(tmp_path)
    for a, b in zip(read.levels, strip().labels.levels, strict=True):
        np.testing.assert_array_equal(a.part, b.part)
        assert a.names == b.names
        np.testing.assert_allclose(a.scores, b.scores)


def test_the_ply_is_one_that_others_read(tmp_path):
    write_parts(tmp_path, strip())
    mesh = trimesh.load(tmp_path / "parts.ply", process=False)
    np.testing.assert_allclose(mesh.vertices, strip().mesh.vertices)
    np.testing.assert_array_equal(mesh.faces, strip().mesh.triangles)
    raw = mesh.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(raw["part_2"].ravel(), [0, 0, 1, 1, 2])
    assert b"comment part_2: 0 body, 1 ear, 2 ear\n" in (tmp_path / "parts.ply").read_bytes()


def test_a_triangle_goes_with_two_of_its_corners():
    np.testing.assert_array_equal(part_of_triangles(strip().mesh, strip().labels.levels[1]), [0, 1, 1])


def test_the_glb_has_a_primitive_a_part(tmp_path):
    write_parts(tmp_path, strip())
    document = gltf(tmp_path / "parts.glb")
    primitives = document["meshes"][0]["primitives"]
    # Part 2 has a vertex but no triangle: it is no primitive.
    assert [p["extras"]["name"] for p in primitives] == ["body", "ear"]
    assert len({p["attributes"]["POSITION"] for p in primitives}) == 1  # the vertices are shared
    assert [document["accessors"][p["indices"]]["count"] for p in primitives] == [3, 6]
    assert len({p["material"] for p in primitives}) == 2
    shapes = trimesh.load(tmp_path / "parts.glb").geometry.values()
    assert sorted(len(shape.faces) for shape in shapes) == [1, 2]


def test_facts_by_hand():
    (coarse, fine) = part_facts(strip())["levels"]
    body, handle = coarse["parts"]
    assert body["name"] == "body" and body["surface_share"] == pytest.approx(1 / 3, abs=1e-4)
    np.testing.assert_allclose(body["center_m"], [1 / 3, 1 / 3, 0])
    np.testing.assert_allclose(handle["box_max_m"], [2, 1, 0])
    np.testing.assert_allclose(fine["parts"][2]["center_m"], [2, 0, 0])  # a part without a triangle


@pytest.mark.parametrize("damage", ["no ply", "short", "facts", "beyond"])
def test_damaged_parts_are_one_sentence(tmp_path, damage):
    write_parts(tmp_path, strip())
    ply, facts = tmp_path / "parts.ply", tmp_path / "parts.json"
    if damage == "no ply":
        ply.unlink()
    elif damage == "short":
        ply.write_bytes(ply.read_bytes()[:-5])
    elif damage == "facts":
        facts.write_text('{"levels": []}')
    else:
        told = json.loads(facts.read_text())
        told["levels"][1]["parts"] = told["levels"][1]["parts"][:2]
        facts.write_text(json.dumps(told))
    with pytest.raises(InputError) as error:
        read_parts(tmp_path)
    assert "\n" not in str(error.value) and "instascene parts" in str(error.value)


# --- the command ---


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts") / "saved"
    scene, _ = decomposed_scene()
    scene.complete(RED)
    save_scene(scene, folder)
    torch.manual_seed(0)
    network = PartNetwork(PartShape((2, 3), widths=(4, 6), features=5, hidden=6))
    save_network(TrainedParts(network.eval(), NAMES), folder.parent / "tiny.safetensors", {})
    return folder


@pytest.fixture
def saved(original, tmp_path):
    shutil.copytree(original, tmp_path / "saved")
    return tmp_path / "saved"


def words(saved, original) -> tuple[str, ...]:
    return ("parts", str(saved), "--weights", str(original.parent / "tiny.safetensors"), "--level", "2")


def test_parts_of_a_saved_scene(saved, original, capsys):
    cli.main([*words(saved, original), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {str(RED)} and len(told[str(RED)]["levels"]) == 2
    folder = saved / "objects" / str(RED)
    thing, labels = load_objects(saved)[RED], read_parts(folder)
    assert all(len(level.part) == len(thing.mesh.vertices) for level in labels.levels)
    assert json.loads((folder / "parts.json").read_text()) == told[str(RED)]
    assert checksums_hold(saved)
    before = (folder / "parts.ply").read_bytes()
    cli.main([*words(saved, original), "--quiet"])
    assert (folder / "parts.ply").read_bytes() == before and capsys.readouterr().out == ""


def test_parts_of_an_object_leave_with_it(saved, original):
    cli.main(list(words(saved, original)))
    put_object(saved, load_objects(saved)[RED], ExportConfig(formats=("ply",)))
    assert not (saved / "objects" / str(RED) / "parts.ply").exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--instance", "77"), "no completed object 77"),
        (("--level", "3"), "takes 1 to 2"),
        (("--weights", "nowhere.safetensors"), "nowhere.safetensors"),
    ],
)
def test_what_parts_cannot_do_is_one_sentence(saved, original, capsys, more, sentence):
    assert sentence in run_cli(*words(saved, original), *more, capsys=capsys)


def test_parts_want_a_saved_scene(tmp_path, capsys):
    assert "no completed objects" in run_cli("parts", str(tmp_path), capsys=capsys)

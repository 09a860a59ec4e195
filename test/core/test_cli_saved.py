"""`instascene complete`, `export`: the commands on a saved scene."""

import hashlib
import json
import shutil
import subprocess
import webbrowser

import numpy as np
import pytest
import trimesh
from click_scene import BLUE, RED, SUPPORT, decomposed_scene

from instascene_core import cli
from instascene_core.config import ExportConfig
from instascene_core.export.object_loading import load_objects
from instascene_core.export.saved_scene import put_object, save_scene
from instascene_core.owned_folder import owned_files
from instascene_core.terminal import summarise


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "saved"
    scene, _ = decomposed_scene()
    scene.complete(RED)
    save_scene(scene, folder, with_frames=True)
    return folder


@pytest.fixture
def saved(original, tmp_path):
    shutil.copytree(original, tmp_path / "saved")
    return tmp_path / "saved"


def run_cli(*words: str, capsys) -> str:
    """What the command says on stderr; it must fail with status 1."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(words))
    error = capsys.readouterr().err
    assert exit_.value.code == 1 and len(error.strip().splitlines()) == 1 and "Traceback" not in error
    return error


def checksums_hold(folder) -> bool:
    """Every file of the manifest is listed with its own checksum."""
    listed = json.loads((folder / "scene.json").read_text())["checksums_sha256"]
    files = {str(p.relative_to(folder)) for p in owned_files(folder)} - {"scene.json"}
    return set(listed) == files and all(
        hashlib.sha256((folder / name).read_bytes()).hexdigest() == value for name, value in listed.items()
    )


def test_complete_adds_an_object_to_the_scene(saved, capsys):
    (saved / "objects" / str(BLUE)).mkdir()
    (saved / "objects" / str(BLUE) / "grasps.txt").write_text("mine")
    cli.main(["complete", str(saved), "--instance", str(BLUE)])
    objects = load_objects(saved)
    assert set(objects) == {RED, BLUE} and objects[BLUE].watertight
    report = (saved / "report.html").read_text()
    assert all((saved / "pictures" / f"object_{number}_color.webp").is_file() for number in (RED, BLUE))
    assert "Object 2" in report and "2 complete objects from 8 images" in report
    assert objects[BLUE].volume == pytest.approx(1e-3, rel=0.2)  # a box of 10 cm
    names = {p.name for p in (saved / "objects" / str(BLUE)).iterdir()}
    assert {"mesh.ply", "mesh.glb", "object.urdf", "object.json", "grasps.txt"} <= names
    assert [p.name for p in (saved / "objects").iterdir() if p.name.startswith(".")] == []
    assert "objects/2" in capsys.readouterr().out.replace("\n", "") and checksums_hold(saved)
    seconds = json.loads((saved / "metrics.json").read_text())["seconds"]
    assert seconds["complete"] > 0  # of both boxes


def test_complete_that_cannot_be_saved_is_refused_before_the_work(saved, capsys, monkeypatch):
    def late(*_):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("instascene_core.scene.Scene.complete", late)
    (saved / "objects" / str(BLUE)).mkdir()
    (saved / "objects" / str(BLUE) / "mesh.glb").write_text("mine")
    error = run_cli("complete", str(saved), "--instance", str(BLUE), capsys=capsys)
    assert "'objects/2/mesh.glb' in it is not ours" in error
    assert (saved / "objects" / str(BLUE) / "mesh.glb").read_text() == "mine"


def test_metrics_that_cannot_be_read_are_told_before_the_work(saved, capsys, monkeypatch):
    def late(*_):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("instascene_core.scene.Scene.complete", late)
    monkeypatch.setattr("instascene_core.export.settling.settle", late)
    (saved / "metrics.json").write_text('{"psnr": ')
    before = (saved / "scene.json").read_bytes()
    for words in (("complete", str(saved), "--instance", str(BLUE)), ("settle", str(saved))):
        assert "metrics.json is not readable JSON" in run_cli(*words, capsys=capsys)
    (saved / "metrics.json").unlink()
    error = run_cli("complete", str(saved), "--instance", str(BLUE), capsys=capsys)
    assert "There is no finished run" in error
    assert (saved / "scene.json").read_bytes() == before


def test_an_object_put_again_leaves_no_stale_files(saved):
    (saved / "objects" / str(RED) / "grasps.txt").write_text("mine")
    files = put_object(saved, load_objects(saved)[RED], ExportConfig(formats=("stl",)))
    names = {"mesh.ply", "mesh.stl", "object.json"}
    place = saved / "objects" / str(RED)
    bodies = set((place / "collision").iterdir())  # what reading it back needs
    assert {*files} == {place / name for name in names} | bodies and checksums_hold(saved)
    assert {p.name for p in place.iterdir()} == {*names, "grasps.txt", "collision"} and bodies


def test_complete_refuses_in_one_sentence(saved, tmp_path, capsys):
    assert "is the support" in run_cli("complete", str(saved), "--instance", str(SUPPORT), capsys=capsys)
    assert "no instance 77" in run_cli("complete", str(saved), "--instance", "77", capsys=capsys)
    assert "no saved scene" in run_cli("complete", str(tmp_path), "--instance", "1", capsys=capsys)
    assert set(load_objects(saved)) == {RED}


def test_export_in_no_format_is_refused(saved, capsys):
    assert "--formats is empty" in run_cli("export", str(saved), "--formats", capsys=capsys)


def test_an_object_without_its_convex_bodies_is_not_exported(saved, tmp_path, capsys):
    """Its hull would stand in for them, unsaid, and a cup be a solid to every simulator."""
    place = saved / "objects" / str(RED)
    count = len(list((place / "collision").iterdir()))
    (place / "collision/part_000.obj").unlink()
    error = run_cli("export", str(saved), "--formats", "urdf", capsys=capsys)
    assert f"holds {count - 1} convex bodies, object.json beside it tells of {count}" in error
    shutil.rmtree(place / "collision")
    before = (place / "object.json").read_bytes()
    for formats in ("urdf", "stl"):  # what is written anew would say that there were none
        error = run_cli("export", str(saved), "--formats", formats, capsys=capsys)
        assert f"The {count} convex bodies of object 1 are not in" in error and "instascene complete" in error
    assert (place / "object.json").read_bytes() == before
    to = tmp_path / "elsewhere"
    assert "convex bodies" in run_cli(
        "export", str(saved), "--to", str(to), "--formats", "mjcf", capsys=capsys
    )
    cli.main(["export", str(saved), "--to", str(to), "--formats", "stl"])
    cli.main(["complete", str(saved), "--instance", str(RED)])
    cli.main(["export", str(saved), "--formats", "urdf"])


def test_a_physics_file_of_another_scene_is_told(saved, tmp_path, capsys):
    (tmp_path / "known.yaml").write_text("objects: {1: {mass_kg: 1}, 77: {mass_kg: 2}}\n")
    cli.main(["export", str(saved), "--formats", "urdf", "--physics", str(tmp_path / "known.yaml")])
    said = " ".join(capsys.readouterr().out.split())
    assert "objects that this scene does not have: 77; its ids are 1, 2, 3, 4" in said


def test_export_writes_other_formats(saved, tmp_path):
    before = json.loads((saved / "objects" / str(RED) / "object.json").read_text())
    (saved / "objects" / str(RED) / "mesh.stl").unlink()
    cli.main(["export", str(saved), "--formats", "stl"])
    assert (saved / "objects" / str(RED) / "mesh.stl").is_file() and checksums_hold(saved)
    after = json.loads((saved / "objects" / str(RED) / "object.json").read_text())
    assert after["convex_parts"] == before["convex_parts"] > 0
    assert after["mass_kg"] == pytest.approx(before["mass_kg"])
    cli.main(["export", str(saved), "--formats", "urdf", "glb", "--to", str(tmp_path / "elsewhere")])
    names = {p.name for p in (tmp_path / "elsewhere" / str(RED)).rglob("*")}
    assert {"object.urdf", "mesh.glb", "part_000.obj"} <= names


def test_export_brings_an_object_of_an_earlier_version_into_its_own_frame(saved, capsys):
    """Its mesh.* lay in the world: none of them may stay beside an object.json that says otherwise."""
    folder = saved / "objects" / str(RED)
    facts = json.loads((folder / "object.json").read_text())
    (folder / "object.json").write_text(json.dumps({**facts, "frame": "world (that of the input)"}))
    expected = load_objects(saved)[RED].mesh.vertices
    cli.main(["export", str(saved), "--formats", "stl"])
    again = load_objects(saved)[RED]
    np.testing.assert_allclose(again.mesh.vertices, expected, atol=1e-6)
    assert json.loads((folder / "object.json").read_text())["frame"] == "object"
    bottom = trimesh.load(folder / "mesh.stl", force="mesh").bounds[0, 2]
    assert bottom == pytest.approx(0, abs=1e-5)  # in the object's frame
    assert not (folder / "mesh.glb").exists() and not (folder / "object.urdf").exists()
    assert checksums_hold(saved)


def test_export_refuses_in_one_sentence(saved, tmp_path, capsys):
    assert "'dwg'" in run_cli("export", str(saved), "--formats", "dwg", capsys=capsys)
    assert "no completed object 2; known ids: 1" in run_cli(
        "export", str(saved), "--instance", str(BLUE), capsys=capsys
    )
    assert "no completed objects" in run_cli("export", str(tmp_path), capsys=capsys)


def test_a_job_ends_with_the_path_of_the_report_and_opens_nothing(saved, capsys, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda *_: pytest.fail("a browser was opened"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    summarise(saved)
    assert " ".join(capsys.readouterr().out.split()[-2:]).endswith(str(saved / "report.html"))


def test_export_writes_the_support_without_holes(saved, tmp_path, capsys):
    table = tmp_path / "table.ply"
    cli.main(["export", str(saved), "--to", str(tmp_path / "objects"), "--support", str(table)])
    mesh = trimesh.load_mesh(table)
    assert mesh.is_watertight and mesh.visual.kind == "vertex"
    for name, words in (("table.obj", "glb, ply, stl"), ("table.ply", "already")):
        error = run_cli("export", str(saved), "--support", str(tmp_path / name), capsys=capsys)
        assert words in error


def test_the_whole_scene_is_in_one_file_and_follows_its_objects(saved, tmp_path, capsys):
    names = {p.name for p in saved.glob("scene.*")}
    assert names == {"scene.ply", "scene.json", "scene.urdf", "scene.sdf", "scene.xml", "scene.glb"}
    assert "object_1" in (saved / "scene.xml").read_text()
    cli.main(["complete", str(saved), "--instance", str(BLUE)])
    mujoco = pytest.importorskip("mujoco")
    model = mujoco.MjModel.from_xml_path(str(saved / "scene.xml"))
    assert {model.body(k).name for k in range(model.nbody)} == {"world", "object_1", "object_2"}
    assert model.geom("support").size[0] == pytest.approx(0.32, abs=0.06)  # the table is 60 cm wide
    assert checksums_hold(saved)


def test_a_scene_is_exported_elsewhere_with_meshes_named_as_asked(saved, tmp_path, capsys):
    words = ["--formats", "URDF", "mjcf", "--to", str(tmp_path / "out"), "--mesh-uri", "package://my_scene"]
    cli.main(["export", str(saved), *words])
    out = tmp_path / "out"
    assert (out / "scene" / "scene.urdf").is_file() and (out / "scene" / "scene.xml").is_file()
    assert "package://my_scene/1/mesh.obj" in (out / "scene" / "scene.urdf").read_text()
    assert "../1/mesh.obj" in (out / "scene" / "scene.xml").read_text()
    assert (out / "1" / "mesh.png").is_file()  # the texture that was saved
    known = tmp_path / "known.yaml"
    known.write_text("objects: {1: {mass_kg: 0.5}}")
    cli.main(["export", str(saved), "--formats", "mjcf", "--physics", str(known)])
    assert 'mass="0.5"' in (saved / "scene.xml").read_text()
    assert "not 'ftp://'" in run_cli("export", str(saved), "--mesh-uri", "ftp://", capsys=capsys)


def test_an_export_takes_the_settings_of_the_scene(saved):
    """Also those within a section: a scene made with a physics file is exported with it."""
    known = saved.parent / "known.yaml"
    known.write_text("objects: {1: {mass_kg: 0.25}}")
    described = json.loads((saved / "scene.json").read_text())
    described["parameters"]["export"]["physics"]["file"] = str(known)
    (saved / "scene.json").write_text(json.dumps(described))
    cli.main(["export", str(saved), "--formats", "mjcf"])
    facts = json.loads((saved / "objects" / str(RED) / "object.json").read_text())
    assert facts["mass_kg"] == pytest.approx(0.25) and facts["mass_is_given"]


def test_a_scene_without_textures_and_frames_gets_the_colours_of_vertices(saved, tmp_path, capsys):
    shutil.rmtree(saved / "frames")
    for name in ("mesh.obj", "mesh.png"):
        (saved / "objects" / "1" / name).unlink()
    cli.main(["export", str(saved), "--formats", "glb", "--to", str(tmp_path / "out")])
    assert "colours of vertices" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "out" / "1" / "object.json").read_text())["texture"] is None


def test_a_texture_that_is_missing_is_baked_again_from_the_frames(saved, tmp_path):
    for name in ("mesh.obj", "mesh.png"):
        (saved / "objects" / "1" / name).unlink()
    cli.main(["export", str(saved), "--formats", "obj", "--to", str(tmp_path / "out")])
    assert (tmp_path / "out" / "1" / "mesh.png").is_file()

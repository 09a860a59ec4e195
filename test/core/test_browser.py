"""`instascene view`: what the viewer shows, and what its buttons do."""

import importlib.util
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
import viser_stand_in
from click_scene import BLUE, RED, decomposed_scene
from reported_scene import EVIL

from instascene_core import browser, cli
from instascene_core.browser import tables
from instascene_core.browser.contents import FIELD_OF_VIEW, Contents, covariances, view_of
from instascene_core.browser.shapes import SHADINGS, Z_UP, colors_of, shaded
from instascene_core.browser.stage import LAYERS
from instascene_core.browser.work import Work
from instascene_core.colors import GENERATED_COLOR, OBSERVED_COLOR, part_color
from instascene_core.errors import InputError
from instascene_core.export.object_loading import load_objects
from instascene_core.export.part_files import PartedMesh
from instascene_core.export.saved_scene import load_scene, put_parts, save_scene
from instascene_core.geometry import TriangleMesh
from instascene_core.parts.segment import PartLabels, PartLevel
from instascene_core.transforms import inverse, matrix_from_quaternion

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tools.chromium import Chromium, find_chromium


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view") / "saved"
    scene, _ = decomposed_scene()
    scene.complete(RED)
    save_scene(scene, folder, with_frames=True)
    return folder


@pytest.fixture
def saved(original, tmp_path):
    shutil.copytree(original, tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture(scope="module")
def contents(original):
    return Contents.of(original)


# ── what is shown ─────────────────────────────────────────────────────────────────────────────────


def test_the_first_view_shows_the_objects_upright(contents):
    pose = contents.first_view()
    points = contents.objects[RED].mesh.vertices @ inverse(pose)[:3, :3].T + inverse(pose)[:3, 3]
    angle = np.arctan(np.linalg.norm(points[:, :2], axis=1) / points[:, 2])
    assert (points[:, 2] > 0).all() and 0.4 * FIELD_OF_VIEW / 2 < angle.max() < FIELD_OF_VIEW / 2
    assert pose[2, 1] < -0.5 and pose[2, 3] > 0.1  # the camera's down is the world's down; from above
    assert abs(pose[2, 0]) < 1e-9  # level


def test_a_view_shows_a_sphere_whole():
    pose = view_of(np.array([1.0, 2, 3]), 0.5, np.array([0.0, 1, 1]), np.array([0, 0, 1.0]))
    distance = np.linalg.norm(pose[:3, 3] - [1, 2, 3])
    assert np.arcsin(0.5 / distance) < FIELD_OF_VIEW / 2


def test_splats_are_flat_disks_and_those_of_objects_are_told_apart(contents):
    model, owner = decomposed_scene()[0].gaussians, contents.is_object
    deviation = 0.6 * 0.01
    expected = np.diag([deviation**2, deviation**2, (0.01 * deviation) ** 2])  # a disk of the table
    np.testing.assert_allclose(covariances(model)[0], expected, atol=1e-9)
    part = contents.splats.of(owner)
    assert 0 < len(part.means) < len(owner) and np.ptp(part.means[:, 0]) < 0.12  # a box of 10 cm


@pytest.mark.parametrize("shading", SHADINGS)
def test_an_object_stands_upright_in_each_shading(contents, shading, tmp_path):
    thing = contents.objects[RED]
    (tmp_path / "a.glb").write_bytes(shaded(thing, shading))
    mesh = trimesh.load(tmp_path / "a.glb", force="mesh", process=False)
    upright = np.asarray(mesh.vertices) @ matrix_from_quaternion(Z_UP).T
    np.testing.assert_allclose(np.ptp(upright, axis=0), thing.dimensions, atol=1e-4)
    assert upright[:, 2].min() == pytest.approx(0, abs=1e-4)
    if shading == "texture":
        assert mesh.visual.kind == "texture"
    if shading == "observed":
        colors = colors_of(thing, shading)
        np.testing.assert_array_equal(colors[thing.observed == 1][0], OBSERVED_COLOR)
        np.testing.assert_array_equal(colors[thing.observed == 0][0], GENERATED_COLOR)


def test_parts_are_shown_where_they_are_named(saved):
    assert not Contents.of(saved).parts
    thing = load_objects(saved)[RED]
    gray = colors_of(thing, "parts")
    assert (gray == gray[0, 0]).all()
    part = (thing.mesh.vertices[:, 2] > np.median(thing.mesh.vertices[:, 2])).astype(np.int32)
    labels = PartLabels((PartLevel(part, ("body", "lid"), np.ones(2)),))
    put_parts(saved, {RED: PartedMesh("object_1", thing.mesh, labels, 0)})
    parts = Contents.of(saved).parts[RED]
    np.testing.assert_array_equal(colors_of(thing, "parts", parts)[part == 1][0], part_color(1))
    put_parts(saved, {RED: PartedMesh("object_1", strip(), PartLabels((named_strip(),)), 0)})
    with pytest.raises(InputError, match="another mesh"):
        Contents.of(saved)


def strip() -> TriangleMesh:
    return TriangleMesh(np.eye(3), np.array([[0, 1, 2]], np.int32))


def named_strip() -> PartLevel:
    return PartLevel(np.zeros(3, np.int32), ("body",), np.ones(1))


def test_tables_tell_of_objects_and_escape_what_they_are_told(saved):
    path = saved / "objects" / "1" / "object.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "notes": [EVIL], "material": EVIL}))
    contents = Contents.of(saved)
    table = tables.objects(contents, RED)
    assert (
        table.count("<tr") == 2
        and "rgba(26,111,181" in table
        and "rgba" not in tables.objects(contents, None)
    )
    assert f"{100 * facts['confidence']:.0f}" in table
    told = tables.details(contents, RED)
    assert "<script" not in told and "&lt;script&gt;" in told and "would show" in told
    assert contents.title == "1 complete object from 8 images"
    assert "Complete the objects" in tables.stages(contents)


def test_a_scene_without_objects_is_shown(saved):
    shutil.rmtree(saved / "objects")
    contents = Contents.of(saved)
    assert not contents.is_object.any() and "No object" in tables.objects(contents, None)
    assert np.isfinite(contents.first_view()).all()


# ── its buttons ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def shown(saved, monkeypatch):
    """The server that shows the scene, its cameras' images there."""
    monkeypatch.setitem(sys.modules, "viser", viser_stand_in.module())
    said: list[str] = []
    server = browser.serve(saved, 8123, said.append, wait=False)
    assert server.host == "127.0.0.1" and "http://localhost:8123" in said[0]
    wait_for(lambda: idle(server) and server.scene.made["/cameras/0"].image is not None)
    return server


def wait_for(done, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def idle(server) -> bool:
    """No job's progress is shown below the panel."""
    return getattr(server.gui.made[""], "content", "") == ""


def test_view_shows_splats_objects_cameras(shown):
    drawn = shown.scene.made
    means, covariance, colors, opacities = drawn["/background"].values[1:]
    assert covariance.shape == (len(means), 3, 3) and opacities.shape == (len(means), 1)
    assert colors.shape == means.shape and len(drawn["/splats"].values[1]) > 0
    assert drawn["/background"].visible and not drawn["/splats"].visible and drawn[f"/meshes/{RED}"].visible
    assert drawn["/cameras/7"].image.shape == (180, 240, 3) and drawn["/cameras/0"].aspect == 4 / 3
    start = shown.initial_camera
    assert np.linalg.norm(start.look_at - load_objects_center(shown)) < 0.05 and start.fov == FIELD_OF_VIEW


def load_objects_center(shown) -> np.ndarray:
    return np.asarray(shown.scene.made[f"/meshes/{RED}"].position)


def test_switches_and_shadings(shown):
    gui, drawn = shown.gui.made, shown.scene.made
    gui[LAYERS["meshes"][0]].use(False)
    gui[LAYERS["splats"][0]].use(True)
    assert not drawn[f"/meshes/{RED}"].visible and drawn["/splats"].visible
    before = drawn[f"/meshes/{RED}"].values[1]
    gui["Shading"].use(SHADINGS["observed"])
    assert drawn[f"/meshes/{RED}"].values[1] != before and not drawn[f"/meshes/{RED}"].visible


def test_a_click_on_an_object_chooses_it(shown):
    gui, drawn = shown.gui.made, shown.scene.made
    assert gui["Complete again"].disabled and "/selected" not in drawn
    drawn[f"/meshes/{RED}"].use()
    assert gui["Object"].value == str(RED) and not gui["Complete again"].disabled
    assert drawn["/next_best_view"].visible and drawn["/selected"].values[1].shape == (12, 2, 3)
    gui["Look at it"].use(client=shown.client)
    assert viser_stand_in.looks_at(shown.client, load_objects_center(shown)) < 15
    drawn["/cameras/2"].use(client=shown.client)
    np.testing.assert_allclose(shown.client.camera.position, drawn["/cameras/2"].position)
    gui["Download its GLB"].use(client=shown.client)
    assert shown.client.downloads[f"object_{RED}.glb"][:4] == b"glTF"
    gui["Object"].use("–")
    assert drawn["/selected"].removed and gui["Remove"].disabled


def test_complete_export_and_remove_change_the_saved_scene(shown, saved):
    gui, drawn = shown.gui.made, shown.scene.made
    drawn[f"/meshes/{RED}"].use()
    before = (saved / "objects" / "1" / "object.json").stat().st_mtime_ns
    gui["Complete again"].use()
    wait_for(lambda: idle(shown) and (saved / "objects" / "1" / "object.json").stat().st_mtime_ns > before)
    gui["Format"].use("stl")
    (saved / "objects" / "1" / "mesh.stl").unlink()
    gui["Write to the scene's folder"].use()
    wait_for(lambda: idle(shown) and (saved / "objects" / "1" / "mesh.stl").is_file())
    assert shown.client.told[-1][0] == "Written"
    gui["Remove"].use(client=shown.client)
    asked = shown.client.gui.made
    asked["Remove"].use()
    wait_for(lambda: idle(shown) and not (saved / "objects").exists() and gui["Object"].value == "–")
    assert drawn[f"/meshes/{RED}"].removed and gui["Object"].options == ("–",)
    scene = load_scene(saved).scene
    assert {i.id for i in scene.instances.objects} == {BLUE} and asked["Remove object 1?"].removed


def test_what_cannot_be_done_is_said(saved):
    work, told = Work(saved), []
    work.start(work.complete, 77, done=lambda *end: told.append(end)).result()
    assert told[0][0] is None and "There is no instance 77" in told[0][1]
    work.start(lambda _: 1 / 0, done=lambda *end: told.append(end)).result()
    assert "ZeroDivisionError" in told[1][1]
    work.start(lambda _: 5, done=lambda *end: told.append(end)).result()
    assert told[2] == (5, "")
    work.close()


def test_work_under_way_is_cancelled_when_the_viewer_ends(saved):
    work, told = Work(saved), []

    def endless(progress):
        while True:
            progress("complete", 0.5)
            time.sleep(0.01)

    work.start(endless, done=lambda *end: told.append(end))
    work.close()
    assert told == []


def test_view_without_viser_names_the_report(saved, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(browser, "viser_is_installed", lambda: False)
    cli.main(["view", str(saved)])
    shown = capsys.readouterr().out
    assert "pip install viser" in shown and (saved / "report.html").as_uri() in shown
    with pytest.raises(SystemExit):
        cli.main(["view", str(tmp_path)])
    assert "no finished run" in capsys.readouterr().err


# ── in a browser ──────────────────────────────────────────────────────────────────────────────────

# What viser (up to 1.1.1) says when it first draws splats: it gives the corners of their squares two
# coordinates, and three.js asks for a third when it looks whether they are in view.  Nothing hangs on it.
OWN_ERROR = "THREE.BufferGeometry.computeBoundingSphere(): Computed radius is NaN"


def test_it_is_shown_in_a_browser(saved):
    executable = find_chromium()
    if executable is None:
        pytest.skip("there is no Chromium (apt install chromium)")
    if importlib.util.find_spec("viser") is None:
        pytest.skip("viser is not installed (pip install viser)")
    server = browser.serve(saved, 8137, lambda _: None, wait=False)
    try:
        with Chromium(executable) as page:
            page.open(f"http://localhost:{server.get_port()}", 900, 700)
            text = "document.body.innerText"
            page.wait(lambda: "1 complete object from 8 images" in page.run(text), 60)
            time.sleep(8)  # without a GPU it takes its time to draw
            page.click(450, 350)  # the object is in the middle
            page.wait(lambda: "Look at 1" in page.run(text), 60)
            assert [e for e in page.errors if OWN_ERROR not in e] == []
            assert {url.split("/")[2] for url in page.requests if url.startswith("http")} == {
                f"localhost:{server.get_port()}"
            }
    finally:
        server.stop()

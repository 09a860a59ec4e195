"""The folder of a saved scene: what is replaced, what stays, what is refused before the work, and what a
kill leaves."""

import errno
import hashlib
import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click_scene import BLUE, RED, decomposed_scene

from instascene_core import cli
from instascene_core.config import ExportConfig
from instascene_core.config.texture import TextureConfig
from instascene_core.errors import InputError
from instascene_core.export.object_loading import load_objects
from instascene_core.export.saved_scene import (
    export_saved,
    load_scene,
    put_metrics,
    put_object,
    require_savable,
    save_scene,
    write_recording,
)
from instascene_core.export.saved_scene import writing as writing_module
from instascene_core.frame import Frame
from instascene_core.owned_folder import MANIFEST, STATE, owned_files
from instascene_core.scene import Scene


@pytest.fixture(scope="module")
def scene():
    """Without textures: each kill saves it twice."""
    scene, _ = decomposed_scene()
    plain = ExportConfig(formats=("ply", "glb", "stl", "urdf"), texture=TextureConfig(enabled=False))
    scene.config = replace(scene.config, export=plain)
    scene.complete(RED)
    return scene


@pytest.fixture
def save(scene, monkeypatch):
    """`save_scene` without the second that drawing its pictures takes."""
    for name in ("overview_picture", "objects_picture"):
        monkeypatch.setattr(writing_module, name, lambda _: np.zeros((4, 4, 3), np.uint8))
    for name in ("scene_pictures", "objects_pictures", "all_objects_pictures"):
        monkeypatch.setattr(writing_module, name, lambda *_, name=name, **__: {f"{name}.webp": b"drawn"})
    return lambda folder, **options: save_scene(scene, folder, **options)


@pytest.fixture(scope="module")
def recording(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording") / "data"
    write_recording(folder, scene.frames)
    return folder


@pytest.fixture
def no_work(monkeypatch):
    """Reading a frame or making a scene's results is too late for a refusal."""

    def late(*_):
        raise AssertionError("the work has begun")

    for name in ("add_frame", "run"):
        monkeypatch.setattr(f"instascene_core.scene.Scene.{name}", late)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refusal(*words: str, capsys) -> str:
    """What the command says; it must fail with status 1 and one sentence."""
    with pytest.raises(SystemExit) as exit_:
        cli.main([str(word) for word in words])
    error = capsys.readouterr().err
    assert exit_.value.code == 1 and len(error.strip().splitlines()) == 1 and "Internal error" not in error
    return error


def is_complete(folder: Path) -> bool:
    """Every file that scene.json lists is there as it was saved, and the manifest names no other."""
    listed = json.loads((folder / "scene.json").read_text())["checksums_sha256"]
    ours = {str(p.relative_to(folder)) for p in owned_files(folder)}
    return ours == {*listed, "scene.json"} and all(
        hashlib.sha256((folder / name).read_bytes()).hexdigest() == value for name, value in listed.items()
    )


def forget_manifest(folder: Path) -> None:
    """The folder as versions without manifests left it."""
    shutil.rmtree(folder / STATE)


# ── what is not ours ──────────────────────────────────────────────────────────────────────────────


def test_notes_of_a_user_survive_a_second_save(save, tmp_path):
    save(tmp_path / "out", with_frames=True)
    for name in ("notes.txt", "objects/1/grasps.yaml", "instances/mine.txt", "photos/1.jpg"):
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text("mine")
    files = save(tmp_path / "out")
    assert not (tmp_path / "out" / "frames").exists()  # of the first save alone
    for name in ("notes.txt", "objects/1/grasps.yaml", "instances/mine.txt", "photos/1.jpg"):
        assert (tmp_path / "out" / name).read_text() == "mine" and tmp_path / "out" / name not in files
    assert is_complete(tmp_path / "out") and load_scene(tmp_path / "out").scene.objects.keys() == {RED}


def test_notes_of_a_user_survive_a_second_run(save, scene, recording, tmp_path, monkeypatch):
    """The whole command, but for the minutes in which the results are made."""

    def done(self, *_) -> dict:
        origin = self.origin
        self.restore(scene.gaussians, scene.frames, scene.instances, scene.objects)
        self.origin = origin
        return {}

    monkeypatch.setattr(Scene, "run", done)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    cli.main(["run", str(recording), "--output", "."])
    (tmp_path / "out" / "notes.txt").write_text("mine")
    cli.main(["run", str(recording), "--output", str(tmp_path / "out")])
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine" and is_complete(tmp_path / "out")
    loaded = load_scene(tmp_path / "out")
    assert loaded.scene.origin["source"] == str(recording) and loaded.scene.objects.keys() == {RED}


def thesis(folder: Path) -> None:
    (folder / "scene.json").write_text('{"metadata": {"type": "Object"}}')  # as three.js writes one
    (folder / "thesis.tex").write_text("mine")


def only_a_scene_json(folder: Path) -> None:
    (folder / "scene.json").write_text('{"instances": 3}')


@pytest.mark.parametrize(("fill", "foreign"), [(thesis, "scene.json"), (only_a_scene_json, "scene.json")])
def test_a_folder_with_some_scene_json_is_refused(fill, foreign, recording, no_work, tmp_path, capsys):
    fill(tmp_path)
    before = files_of(tmp_path)
    error = refusal("run", recording, "--output", tmp_path, capsys=capsys)
    assert "--output" in error and f"'{foreign}' is in the way" in error and files_of(tmp_path) == before


def test_the_input_and_what_lies_around_it_are_no_output(recording, no_work, tmp_path, capsys):
    shutil.copytree(recording, tmp_path / "work" / "data")
    before = files_of(tmp_path)
    for output in ("work", "work/data"):
        error = refusal("run", tmp_path / "work/data", "--output", tmp_path / output, capsys=capsys)
        assert "--output" in error and "is in the way" in error
    assert files_of(tmp_path) == before
    require_savable(tmp_path / "work/data/out", tmp_path / "work/data")  # beside the images: nothing is lost


def test_an_input_that_lies_in_a_saved_scene_is_not_replaced(save, no_work, tmp_path, capsys):
    out = tmp_path / "out"
    save(out, with_frames=True)
    before = files_of(tmp_path)
    for given in (out / "frames", out / "frames" / "transforms.json"):
        error = refusal("run", given, "--output", out, capsys=capsys)
        assert f"the input {given} lies in it" in error and "--output" in error
    scene, _ = decomposed_scene()
    scene.origin = {"source": str(out / "frames")}
    with pytest.raises(InputError, match="lies in it"):
        save_scene(scene, out)
    assert files_of(tmp_path) == before


def test_a_scene_of_an_earlier_version_is_read_and_replaced(save, tmp_path):
    save(tmp_path / "out")
    forget_manifest(tmp_path / "out")
    assert load_scene(tmp_path / "out").scene.objects.keys() == {RED}
    save(tmp_path / "out", with_frames=True)
    assert is_complete(tmp_path / "out")


@pytest.mark.parametrize("name", ["notes.txt", "instances/photo.png", "objects/1/grasps.yaml", ".git/config"])
def test_a_scene_of_an_earlier_version_with_other_files_is_refused(save, tmp_path, name):
    """instances/photo.png may be a label image by its name, but scene.json does not list it."""
    save(tmp_path / "out")
    forget_manifest(tmp_path / "out")
    (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / name).write_text("mine")
    before = files_of(tmp_path)
    for request in (lambda: require_savable(tmp_path / "out"), lambda: save(tmp_path / "out")):
        with pytest.raises(InputError, match=re.escape(f"'{name}' in it is not ours")) as caught:
            request()
        assert "--output" in str(caught.value)
    assert files_of(tmp_path) == before
    load_scene(tmp_path / "out")


def test_export_to_a_folder_of_a_user_is_refused(save, tmp_path, capsys):
    save(tmp_path / "out")
    (tmp_path / "models" / "1").mkdir(parents=True)
    (tmp_path / "models" / "1" / "mesh.glb").write_text("mine")
    (tmp_path / "models" / "list.txt").write_text("mine")
    words = ("export", tmp_path / "out", "--to", tmp_path / "models")
    assert "'mesh.glb' is in the way" in refusal(*words, capsys=capsys)
    assert (tmp_path / "models" / "1" / "mesh.glb").read_text() == "mine"
    (tmp_path / "models" / "1" / "mesh.glb").unlink()
    for _ in range(2):
        cli.main([str(word) for word in words])
    assert (tmp_path / "models" / "list.txt").read_text() == "mine"


def test_an_object_of_an_earlier_version_is_replaced(scene, tmp_path):
    from instascene_core.export import export_object

    export_object(scene.objects[RED], tmp_path / "1")
    forget_manifest(tmp_path / "1")
    export_object(scene.objects[RED], tmp_path / "1")
    forget_manifest(tmp_path / "1")
    (tmp_path / "1" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"'notes\.txt' in it is not ours.*--to"):
        export_object(scene.objects[RED], tmp_path / "1")


# ── folders that could not be written before, names that lead elsewhere ───────────────────────────


def test_the_present_folder_and_a_link_hold_a_scene(save, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    for folder in (Path("."), Path("."), tmp_path / "link"):
        require_savable(folder)
        save(folder)
        assert is_complete(tmp_path / "here") and load_scene(folder).scene.objects.keys() == {RED}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here", "link"]


def test_an_image_name_of_245_characters_is_saved(save, scene, tmp_path):
    names = {"view0": "x" * 245, "view1": "ä" * 122}
    frames = [frame.with_(name=names.get(frame.name, frame.name)) for frame in scene.frames]
    images = {names.get(name, name): image for name, image in scene.instances.label_images.items()}
    long = Scene(scene.config)
    long.restore(scene.gaussians, frames, replace(scene.instances, label_images=images))
    require_savable(tmp_path / "out", frame_names=[frame.name for frame in frames])
    save_scene(long, tmp_path / "out", with_frames=True)
    again = load_scene(tmp_path / "out")
    assert again.frames_found == 8 and again.notes == ()
    assert again.scene.frames[0].name == names["view0"] and is_complete(tmp_path / "out")


def test_what_cannot_be_written_is_refused_before_the_work(recording, no_work, tmp_path, capsys, monkeypatch):
    plain = os.mkdir

    def refuse(path, *more, **options):
        if str(path).startswith(str(tmp_path / "locked")):
            raise OSError(errno.EACCES, "Permission denied")
        return plain(path, *more, **options)

    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(os, "mkdir", refuse)
    for output in ("locked", "locked/new"):
        error = refusal("run", recording, "--output", tmp_path / output, capsys=capsys)
        assert "Cannot save to" in error and "Permission denied" in error
    with pytest.raises(InputError, match="File name too long"):
        require_savable(tmp_path / "out", frame_names=["view0", "ä" * 126])
    assert [p.name for p in tmp_path.rglob("*")] == ["locked"]


def edit(path: Path, change) -> None:
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))


@pytest.mark.parametrize("number", ["../../../stolen", "/tmp/stolen", 1.5, True, None, 0, -3, [1], "1"])
def test_an_instance_id_is_no_path(save, tmp_path, capsys, number):
    save(tmp_path / "out")
    edit(tmp_path / "out" / "objects" / "1" / "object.json", lambda d: d.update(instance_id=number))
    before = files_of(tmp_path)
    error = refusal("export", tmp_path / "out", "--to", tmp_path / "to", capsys=capsys)
    assert "is not a whole number from 1 on" in error and files_of(tmp_path) == before
    edit(tmp_path / "out" / "scene.json", lambda d: d["instances"]["list"][0].update(id=number))
    with pytest.raises(InputError, match="is not a whole number from 1 on"):
        load_scene(tmp_path / "out")


def test_an_id_or_a_name_given_in_python_is_no_path_either(save, scene, tmp_path):
    save(tmp_path / "out")
    before = files_of(tmp_path)
    thing = replace(scene.objects[RED], instance_id="../../stolen")
    with pytest.raises(InputError, match="is not a whole number from 1 on"):
        put_object(tmp_path / "out", thing, scene.config.export)
    other = Scene(scene.config)
    images = {"../../stolen": next(iter(scene.instances.label_images.values()))}
    other.restore(scene.gaussians, scene.frames, replace(scene.instances, label_images=images))
    with pytest.raises(InputError, match="is not the name of a file in"):
        save_scene(other, tmp_path / "out")
    assert files_of(tmp_path) == before


def test_an_object_lies_in_the_folder_of_its_id(save, tmp_path):
    save(tmp_path / "out")
    edit(tmp_path / "out" / "objects" / "1" / "object.json", lambda d: d.update(instance_id=2))
    with pytest.raises(InputError, match="is of object 2; put it back into objects/2"):
        load_objects(tmp_path / "out")


@pytest.mark.parametrize("name", ["../../stolen", "/tmp/stolen", "a/b", "..", "", "a\0b", 3, None])
def test_a_frame_name_is_no_path(save, tmp_path, name):
    save(tmp_path / "out")
    edit(tmp_path / "out" / "scene.json", lambda d: d["frames"][0].update(name=name))
    with pytest.raises(InputError, match=r"the frame name .* cannot name a file"):
        load_scene(tmp_path / "out")


def test_a_frame_with_such_a_name_cannot_be_made(scene):
    frame = scene.frames[0]
    with pytest.raises(InputError, match="cannot name a file"):
        Frame("../stolen", 0.0, frame.camera, frame.world_from_camera, frame.rgb)


def test_frames_of_one_name_are_refused(save, tmp_path):
    save(tmp_path / "out")
    edit(tmp_path / "out" / "scene.json", lambda d: d["frames"][0].update(name="view1"))
    with pytest.raises(InputError, match="lists the frame 'view1' more than once"):
        load_scene(tmp_path / "out")


def test_checksums_name_no_file_elsewhere(save, tmp_path):
    save(tmp_path / "out")
    (tmp_path / "scene.ply").write_text("mine")
    change = {"instances/../../scene.ply": "0" * 64}
    edit(tmp_path / "out" / "scene.json", lambda d: d["checksums_sha256"].update(change))
    with pytest.raises(InputError, match="is not the name of a file in"):
        load_scene(tmp_path / "out")


# ── killed and failing saves ──────────────────────────────────────────────────────────────────────


class Dead(BaseException):
    """In place of every file-system call after a kill: what follows reaches no disk, cleaning up included."""


class Killer:
    """After `left` file-system calls below `folder` none succeeds any more."""

    def __init__(self) -> None:
        self.folder, self.left, self.calls, self.armed = "", 0, 0, False
        sys.addaudithook(self._hook)  # cannot be taken away again, only disarmed

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.armed or event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            return
        if self.left > 0 and not str(arguments[0]).startswith(self.folder):
            return
        self.calls, self.left = self.calls + 1, self.left - 1
        if self.left < 0:
            raise Dead


@pytest.fixture(scope="module")
def killer():
    return Killer()


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_during_a_save_leaves_the_old_scene_or_the_new_one(scene, save, killer, tmp_path, step):
    """At every seventh (slow: every) call of a save of a scene with one object over one with another."""
    other, _ = decomposed_scene()
    other.complete(BLUE)
    save_scene(other, tmp_path / "old", with_frames=True)
    found, at = [], 1
    while True:
        target = tmp_path / f"at{at}"
        shutil.copytree(tmp_path / "old", target)
        (target / "notes.txt").write_text("mine")
        killer.folder, killer.left, killer.armed = str(target), at, True
        try:
            save(target)
            break
        except Dead:
            pass
        finally:
            killer.armed = False
        (kept,) = load_scene(target).scene.objects
        found.append(kept)
        assert is_complete(target), at
        assert (target / "frames").exists() == (kept == BLUE) and (target / "notes.txt").read_text() == "mine"
        save(target)
        assert is_complete(target) and [p.name for p in (target / STATE).iterdir()] == [MANIFEST]
        shutil.rmtree(target)
        at += step
    assert set(found) == {BLUE, RED} and len(found) > 15
    assert found == sorted(found, reverse=True)  # BLUE = 2 until the commit, RED = 1 from there on


def test_a_kill_during_complete_and_export_leaves_the_scene_whole(scene, save, killer, tmp_path):
    save(tmp_path / "out")
    thing = load_objects(tmp_path / "out")[RED]
    changes = (
        lambda folder: put_object(folder, thing, ExportConfig(formats=("stl",))),
        lambda folder: export_saved(folder, [thing], ExportConfig(formats=("urdf",))),
        lambda folder: put_metrics(folder, {"psnr": 1.0}),
    )
    for change in changes:
        for at in range(1, 400, 5):
            killer.folder, killer.left, killer.armed = str(tmp_path / "out"), at, True
            try:
                change(tmp_path / "out")
                break
            except Dead:
                pass
            finally:
                killer.armed = False
            assert load_objects(tmp_path / "out").keys() == {RED} and is_complete(tmp_path / "out"), at
        else:
            raise AssertionError("the change was never reached to its end")

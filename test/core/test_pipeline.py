"""The whole job from files, on a small procedural scene; every way it is misused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from instascene_core import cli
from instascene_core.config_file import load_config
from instascene_core.datasets import open_dataset
from instascene_core.errors import InputError, NotReadyError
from instascene_core.export.object_loading import load_objects
from instascene_core.export.saved_scene import save_scene
from instascene_core.frame import UNLABELLED
from instascene_core.metrics import evaluate_objects, multi_view_iou
from instascene_core.scene import Scene

SETTINGS = ("reconstruction.iterations=150", "reconstruction.max_gaussians=8000")
REFINED = ("reconstruction.refine_poses=true", "reconstruction.pose_iterations=150")
NUM_OBJECTS = 3


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset

    folder = tmp_path_factory.mktemp("pipeline") / "scene"
    config = SyntheticConfig(
        seed=5, num_objects=NUM_OBJECTS, num_views=16, width=200, height=150, supersampling=1,
        layout="spread", kinds=("box", "can", "bottle"),
    )  # fmt: skip
    write_dataset(generate_scene(config), folder)
    return folder


@pytest.fixture(scope="module")
def scene(dataset):
    scene = Scene(load_config(None, SETTINGS))
    for frame in open_dataset(dataset, use_masks=False):
        scene.add_frame(frame)
    instances = scene.segment()
    for instance in instances.objects:
        scene.complete(instance.id)
    return scene


def test_every_object_is_found_closed_and_in_place(scene, dataset):
    accuracy = evaluate_objects(scene.objects, dataset / "ground_truth")
    assert accuracy.found == NUM_OBJECTS
    assert accuracy.spurious == 0
    assert accuracy.all_watertight
    assert accuracy.mean_volume_iou > 0.6
    assert accuracy.mean_observed_offset < 0.003


def test_label_images_agree_with_the_truth(scene, dataset):
    truth = [frame.labels for frame in open_dataset(dataset, use_masks=True)]
    ids = [i.id for i in scene.instances.objects]
    found = [
        np.where(np.isin(image, ids), image, UNLABELLED) for image in scene.instances.label_images.values()
    ]
    scores = multi_view_iou(found, truth)
    assert scores.ap50 == pytest.approx(1.0)
    assert scores.miou > 0.75


def test_the_support_is_found_but_not_completed(scene):
    plane = scene.instances.support
    assert plane.normal @ [0, 0, 1] > 0.999
    support = next(i for i in scene.instances.instances if i.kind == "support")
    with pytest.raises(InputError, match="is the support"):
        scene.complete(support.id)


def test_unknown_instance_names_the_known_ones(scene):
    with pytest.raises(InputError, match="no instance 77; known ids: 1"):
        scene.complete(77)


def test_completion_is_repeatable(scene):
    first = next(iter(scene.objects.values()))
    again = scene.complete(first.instance_id)
    np.testing.assert_array_equal(first.mesh.vertices, again.mesh.vertices)


def test_objects_of_another_scene_are_not_taken_over(scene):
    before = scene.state
    stranger = replace(next(iter(scene.objects.values())), instance_id=77)
    with pytest.raises(InputError, match="no instance 77"):
        scene.take_objects([stranger])
    assert scene.state is before


def test_saved_scene_reads_back(scene, tmp_path):
    files = save_scene(scene, tmp_path / "out", source="test")
    names = {str(f.relative_to(tmp_path / "out")) for f in files}
    assert {"scene.ply", "scene.json", "metrics.json", "report.html", "overview.png", "objects.png"} <= names
    loaded = load_objects(tmp_path / "out")
    assert loaded.keys() == scene.objects.keys()
    for instance_id, original in scene.objects.items():
        np.testing.assert_allclose(loaded[instance_id].mesh.vertices, original.mesh.vertices, atol=1e-6)
        np.testing.assert_array_equal(loaded[instance_id].mesh.triangles, original.mesh.triangles)
        np.testing.assert_allclose(
            loaded[instance_id].world_from_object, original.world_from_object, atol=1e-6
        )
    description = json.loads((tmp_path / "out" / "scene.json").read_text())
    assert len(description["frames"]) == 16
    assert "scene.ply" in description["checksums_sha256"]


def test_a_saved_scene_can_be_read_whatever_formats_are_wanted(scene, tmp_path):
    wanted = scene.config
    scene.config = load_config(None, (*SETTINGS, "export.formats=[stl]"))
    try:
        save_scene(scene, tmp_path / "out")
    finally:
        scene.config = wanted
    assert load_objects(tmp_path / "out").keys() == scene.objects.keys()
    assert not list((tmp_path / "out").rglob("*.glb"))


def test_saving_replaces_an_earlier_scene_and_nothing_else(scene, tmp_path):
    save_scene(scene, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    save_scene(scene, tmp_path / "out")
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_text("precious")
    with pytest.raises(InputError, match="not empty and holds no earlier scene"):
        save_scene(scene, tmp_path / "photos")
    assert (tmp_path / "photos" / "holiday.jpg").read_text() == "precious"


def test_folder_that_cannot_be_written(scene, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot save to"):
        save_scene(scene, tmp_path / "file" / "out")


def test_ids_stay_when_frames_are_added(dataset):
    frames = list(open_dataset(dataset, use_masks=False))
    scene = Scene(load_config(None, SETTINGS))
    for frame in frames[:-4]:
        scene.add_frame(frame)
    before = {i.id: (i.box_min + i.box_max) / 2 for i in scene.segment().objects}
    for frame in frames[-4:]:
        scene.add_frame(frame)
    assert not scene.is_reconstructed
    after = {i.id: (i.box_min + i.box_max) / 2 for i in scene.segment().objects}
    assert before.keys() == after.keys()
    for instance_id, centre in before.items():
        np.testing.assert_allclose(after[instance_id], centre, atol=0.02)


def test_refined_poses_reach_every_later_stage(dataset):
    scene = Scene(load_config(None, (*SETTINGS, *REFINED)))
    for frame in open_dataset(dataset, use_masks=False):
        scene.add_frame(frame)
    scene.reconstruct()
    moved = [
        np.abs(posed.world_from_camera - given.world_from_camera).max()
        for posed, given in zip(scene.posed_frames, scene.frames)
    ]
    assert 0 < max(moved) < 0.01  # the given poses are exact


def test_too_few_frames(dataset):
    scene = Scene()
    with pytest.raises(NotReadyError, match=r"has 0 frame\(s\)"):
        scene.segment()
    scene.add_frame(open_dataset(dataset)[0])
    with pytest.raises(NotReadyError, match="at least 2"):
        scene.complete(1)
    with pytest.raises(InputError, match="already in the scene"):
        scene.add_frame(open_dataset(dataset)[0])
    with pytest.raises(NotReadyError, match="no reconstruction yet"):
        save_scene(scene, dataset.parent / "never")


def run_cli(*words: str, capsys) -> tuple[int, str]:
    """(exit code, what was written to stderr) of the command line."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(words))
    return exit_.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "nowhere", "--output", "out"], "There is nothing at nowhere"),
        (["run", "nowhere", "--output", "out", "--set", "x"], "not of the form KEY=VALUE"),
        (["run", "nowhere", "--output", "out", "--set", "reconstruction.iteration=3"], "did you mean"),
        (["run", "nowhere", "--output", "out", "--stop-after", "lunch"], "--stop-after takes one of"),
        (["run", "nowhere", "--output", "out", "--hold-out", "1"], "--hold-out takes 0"),
        (["run", "nowhere", "--output", "out", "--topics", "rgb"], "not of the form NAME=TOPIC"),
        (["run", "nowhere", "--output", "out", "--topics", "rbg=/x"], "did you mean 'rgb'"),
        (["eval", "nowhere", "--ground-truth", "gt"], "nowhere"),
    ],
)
def test_command_line_says_one_sentence(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, error = run_cli(*words, capsys=capsys)
    assert code == 1
    assert sentence in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_refused_before_the_work(dataset, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    for output, words in ((tmp_path, "not empty"), (tmp_path / "notes.txt" / "out", "Cannot save")):
        code, error = run_cli("run", str(dataset), "--output", str(output), capsys=capsys)
        assert code == 1 and words in error and len(error.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_an_internal_error_is_one_sentence_too(monkeypatch, capsys):
    def fail():
        raise RuntimeError("boom\nin two lines")

    monkeypatch.setattr("instascene_core.doctor.examine", fail)
    monkeypatch.delenv("INSTASCENE_DEBUG", raising=False)
    code, error = run_cli("doctor", capsys=capsys)
    assert code == 1 and "RuntimeError: boom in two lines" in error and len(error.strip().splitlines()) == 1
    monkeypatch.setenv("INSTASCENE_DEBUG", "1")
    with pytest.raises(RuntimeError, match="boom"):
        cli.main(["doctor"])


def test_command_line_does_the_job(dataset, tmp_path, capsys):
    output = tmp_path / "out"
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    cli.main(["run", str(dataset), "--output", str(output), "--hold-out", "8", "--stop-after", "reconstruct",
              *settings])  # fmt: skip
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["frames"] == 14
    assert metrics["held_out_frames"] == 2
    assert metrics["held_out_psnr"] > 15
    assert "held_out_psnr" in capsys.readouterr().out

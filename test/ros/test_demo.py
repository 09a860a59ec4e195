"""`make demo`: what it plays, what it refuses before it starts anything (the whole of it: `make demo`)."""

import pytest

from instascene_core.config import SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.progress import no_progress
from instascene_ros import demo


@pytest.fixture
def made(monkeypatch, tmp_path):
    """The folders in which scenes were made, in place of the minute that making them takes."""
    folders = []

    def write(config, folder, progress):
        (folder / "ground_truth").mkdir(parents=True, exist_ok=True)
        (folder / "ground_truth" / "scene.json").write_text("{}")
        folders.append(folder)
        if len(folders) == 1:
            raise KeyboardInterrupt  # in the middle: the frames are not there yet
        (folder / "transforms.json").write_text("{}")

    monkeypatch.setattr(demo, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(demo.synthetic, "generate_scene", lambda config: config)
    monkeypatch.setattr(demo.synthetic, "write_dataset", write)
    return folders


def test_a_scene_is_made_once_and_anew_after_an_interruption(made):
    args = demo.arguments(["--seed", "4"])
    with pytest.raises(KeyboardInterrupt):
        demo.prepare_input(args, no_progress)
    folder = demo.prepare_input(args, no_progress)
    assert demo.prepare_input(args, no_progress) == folder and made == [folder, folder]
    assert demo.prepare_input(demo.arguments(["--seed", "5"]), no_progress) != folder


def test_the_cache_knows_what_a_scene_depends_on():
    assert demo.synthetic_digest(SyntheticConfig()) == demo.synthetic_digest(SyntheticConfig())
    assert demo.synthetic_digest(SyntheticConfig()) != demo.synthetic_digest(SyntheticConfig(num_objects=3))


def test_settings_of_the_node():
    assert demo.node_settings(["a.b:=3", "c:=x:=y"]) == {"a.b": "3", "c": "x:=y"}
    with pytest.raises(InputError, match="not of the form NAME:=VALUE"):
        demo.node_settings(["a.b=3"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--input", "nowhere"], "There is nothing at nowhere"),
        (["--input", "data", "--output", "data"], "not empty and holds no earlier scene"),
        (["--input", "data", "--output", ".hidden"], "must not begin with a dot"),
        (["--input", "data", "--output", "data/0.png/out"], "Cannot save"),
        (["--input", "data", "--set", "iterations=3"], "NAME:=VALUE"),
    ],
)
def test_bad_requests_start_nothing(words, sentence, monkeypatch, tmp_path, capsys):
    import json

    from PIL import Image

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "data" / "0.png")
    pose = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    frames = [{"file_path": "0.png", "transform_matrix": pose}]
    (tmp_path / "data" / "transforms.json").write_text(json.dumps({"fl_x": 5.0, "frames": frames}))

    def start(*arguments):
        raise AssertionError("a node was started")

    monkeypatch.setattr(demo, "node_process", start)
    assert demo.main(words) == 1
    assert sentence in " ".join(capsys.readouterr().out.split())

"""The folder of a synthetic dataset: what is replaced, what is refused."""

import dataclasses
import json

import pytest

from instascene_core import cli
from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset


@pytest.fixture(scope="module")
def scene():
    return generate_scene(SyntheticConfig(seed=5, num_objects=2, num_views=6, width=96, height=72))


def test_a_dataset_is_replaced_by_another_of_ours_only(scene, tmp_path):
    write_dataset(scene, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "rgb" / "thumbs.db").write_text("mine")
    fewer = dataclasses.replace(scene, poses=scene.poses[:3])
    write_dataset(fewer, tmp_path / "out")
    assert len(list((tmp_path / "out" / "rgb").glob("*.png"))) == 3
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "out" / "rgb" / "thumbs.db").read_text() == "mine"
    assert len(json.loads((tmp_path / "out" / "transforms.json").read_text())["frames"]) == 3


@pytest.mark.parametrize(
    "name", ["transforms.json", "rgb/000000.png", "ground_truth/scene.json", "notes.txt"]
)
def test_a_dataset_of_a_user_is_refused_before_the_work(tmp_path, monkeypatch, capsys, name):
    def generate(*_):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("instascene_core.synthetic.generate_scene", generate)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(SystemExit) as exit_:
        cli.main(["synth", str(tmp_path)])
    error = capsys.readouterr().err
    assert exit_.value.code == 1 and f"'{name}' is in the way" in error and "OUTPUT" in error
    assert len(error.strip().splitlines()) == 1
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == "mine"

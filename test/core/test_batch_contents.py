"""What names a result: the files of a recording, the settings, the files that these name, the code."""

import os
from dataclasses import replace

import pytest
from batch_cases import write_empty

from instascene_core import contents
from instascene_core.batch import Plan, Reading
from instascene_core.config import Config
from instascene_core.config.batch import BatchConfig, StageResources
from instascene_core.config_file import load_config
from instascene_core.contents import code_version, content_of, settings_digest
from instascene_core.errors import InputError


@pytest.fixture
def recording(tmp_path):
    folder = write_empty(tmp_path / "recording")
    (folder / "rgb").mkdir()
    (folder / "rgb" / "a.png").write_bytes(b"1")
    (folder / ".cache").write_bytes(b"1")
    return folder


def test_bytes_and_names_count_but_not_places_times_and_hidden_files(recording, tmp_path):
    first = content_of(recording)
    assert (first.files, first.size) == (2, 15)
    os.utime(recording / "rgb" / "a.png", (1, 1))
    (recording / ".cache").write_bytes(b"2")
    moved = recording.rename(tmp_path / "elsewhere")
    assert content_of(moved).digest == first.digest
    (moved / "rgb" / "a.png").write_bytes(b"2")
    changed = content_of(moved).digest
    assert changed != first.digest
    (moved / "rgb" / "a.png").rename(moved / "rgb" / "b.png")
    assert content_of(moved).digest not in (changed, first.digest)


def test_a_transforms_json_is_the_recording_of_its_folder(recording):
    assert content_of(recording / "transforms.json").digest == content_of(recording).digest


def test_bytes_are_read_again_only_where_a_file_changed(recording, tmp_path, monkeypatch):
    memo = tmp_path / "memo.json"
    first = content_of(recording, memo)
    monkeypatch.setattr(contents, "_sha256", lambda path: pytest.fail(f"{path} was read"))
    assert content_of(recording, memo) == first
    monkeypatch.undo()
    (recording / "rgb" / "a.png").write_bytes(b"2")
    assert content_of(recording, memo).digest != first.digest
    memo.write_text("{")
    assert content_of(recording, memo).digest != first.digest  # a damaged memo is none


def test_a_recording_that_cannot_be_read_is_a_sentence(recording):
    with pytest.raises(InputError, match="cannot be read"):
        content_of(recording / "not there")


def test_settings_and_the_files_that_they_name_count(tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"1")
    plain, named = Config(), load_config(None, [f"completion.confidence.weights={weights}"])
    assert settings_digest(plain) != settings_digest(named)
    before = settings_digest(named)
    other = weights.rename(tmp_path / "other.safetensors")
    moved = load_config(None, [f"completion.confidence.weights={other}"])
    assert settings_digest(moved) == before  # what is in it counts, not where it lies
    other.write_bytes(b"2")
    assert settings_digest(moved) != before
    assert settings_digest(load_config(None, ["reconstruction.device=cpu"])) == settings_digest(plain)


def test_a_plan_is_of_its_readings_and_settings_and_of_no_machine(tmp_path, monkeypatch):
    def digest(config=None, reading=None, batch=None) -> str:
        return Plan.of(tmp_path, config or Config(), reading or Reading(), batch or BatchConfig()).digest

    usual = digest()
    assert digest(batch=BatchConfig(complete=StageResources(gpus=1.0))) == usual
    assert digest(reading=Reading(scale=0.5)) != usual
    assert digest(config=replace(Config(), max_frames=7)) != usual
    monkeypatch.setattr("instascene_core.batch.plan.code_version", lambda: "another")
    assert digest() != usual


def test_the_version_of_the_code_is_of_what_makes_results(monkeypatch, tmp_path):
    for name in ("a.py", "verbs/b.py", "scene/c.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(contents, "PACKAGE", tmp_path)

    def version() -> str:
        code_version.cache_clear()
        return code_version()

    try:
        first = version()
        (tmp_path / "verbs" / "b.py").write_text("2")
        assert version() == first
        (tmp_path / "scene" / "c.py").write_text("2")
        assert version() != first
    finally:
        code_version.cache_clear()

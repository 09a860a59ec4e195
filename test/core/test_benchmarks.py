"""Figures on record: the page shows them, and none outlives the code and weights that made it unnoticed."""

import argparse
import json

import pytest

from benchmarks import completion, completion_scenes, tables
from instascene_core.config import SyntheticConfig


class MeasuredAnewError(Exception):
    """Raised in place of a measurement that would take minutes."""


def test_docs_show_the_results_on_record():
    assert tables.PAGE.read_text() == tables.page()


def test_tables_are_markdown_and_skip_what_is_not_known():
    assert tables.table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert tables._millimetres(float("nan")) == tables._millimetres(None) == "–"
    assert tables._millimetres(0.00123) == "1.23 mm"


def test_a_decomposition_by_unknown_code_is_not_taken(tmp_path, monkeypatch):
    def measure(*_args, **_kwargs):
        raise MeasuredAnewError

    monkeypatch.setattr(completion_scenes, "cached_scene", measure)
    settings = SyntheticConfig(seed=7, num_views=3)
    (tmp_path / "7-3-rgbd-decomposed.npz").touch()  # the name that earlier versions gave it
    with pytest.raises(MeasuredAnewError):
        completion_scenes._decomposed(settings, True, tmp_path)


def test_completed_objects_by_unknown_code_are_not_taken(tmp_path):
    kept = {"case": "box 0/0", "group": "box", "method": "carving", "iou": 0.5, "sound": True, "seconds": 1.0}
    (tmp_path / "objects.json").write_text(json.dumps([kept]))
    arguments = argparse.Namespace(
        cache=tmp_path, methods=[], meshes=tmp_path, only=["nothing"], observations=1, plain_observations=1
    )
    assert completion.run_objects(arguments) == {"objects": []}


def test_rows_by_unknown_code_are_marked(tmp_path, monkeypatch):
    run = {"seed": 701, "hz": 2.0, "frames": 60, "ready_s": 8.0, "offline_s": 21.0,
           "streamed": {"psnr": 35.0}, "offline": {"psnr": 36.0}}  # fmt: skip
    machine = {"cpu": "a processor", "threads": 2, "torch": "2"}
    (tmp_path / "streaming.json").write_text(json.dumps({"machine": machine, "runs": [run]}))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    line = next(line for line in tables.page().splitlines() if line.startswith("| 701"))
    assert line.startswith("| 701 ‡ |")

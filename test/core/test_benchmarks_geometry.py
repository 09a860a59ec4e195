"""The yardstick of geometry alone: completed by true labels, every true object counts, rows are kept."""

import json
import math
from dataclasses import replace

import pytest
import torch

from benchmarks import conditions, geometry, records, tables
from instascene_core.config import CompletionConfig, Config, SyntheticConfig
from instascene_core.gaussians import GaussianModel
from instascene_core.metrics import ObjectAccuracy
from instascene_core.scene import Reconstruction
from instascene_core.synthetic import generate_scene


def no_gaussians() -> GaussianModel:
    sizes = (3, 4, 2, 1)  # of means, quaternions, scales
    means, quaternions, scales, _ = (torch.ones(1, n) for n in sizes)
    return GaussianModel(means, quaternions, scales, torch.ones(1), torch.ones(1, 1, 3))


def test_true_labels_decide_what_is_completed():
    """Two boxes by their true labels: both come out; one that no frame shows counts 0 and says why."""
    scene = generate_scene(
        SyntheticConfig(
            seed=3, num_objects=2, num_views=8, width=96, height=72, kinds=("box",), layout="spread"
        )
    )
    frames = list(scene.frames())
    truths = [(o.mesh, ObjectAccuracy(o.id, f"{o.kind} {o.id}", math.nan)) for o in scene.objects]
    absent = (scene.objects[0].mesh.moved([9.0, 0.0, 0.0]), ObjectAccuracy(77, "ghost 77", math.nan))
    bare = tuple(frame.with_(labels=None) for frame in frames)
    config = Config(completion=replace(CompletionConfig(), prior="carving"))
    row = geometry.completed(frames, Reconstruction(bare, no_gaussians(), None), [*truths, absent], config)
    assert row["true_objects"] == 3 and row["instances"] == 2
    assert all(row["objects"][truth.name] > 0.8 for _, truth in truths)
    assert row["objects"]["ghost 77"] == 0 and "ghost 77" in row["failures"]
    assert set(row["f_scores"]) == set(row["objects"])


def test_seeds_of_development_are_not_those_of_the_report():
    tuned = set(geometry.DEVELOPMENT_SEEDS)
    assert not tuned & (set(conditions.SEEDS) | set(conditions.RETIRED))
    settings = geometry.development_settings(next(iter(tuned)), "d435")
    assert settings.sensor == "d435" and settings.seed in tuned


ROW = {
    "layout": "pile", "development": False, "true_objects": 8, "instances": 8, "recall_50": 1.0,
    "precision_50": 1.0, "recall_75": 0.75, "precision_75": 0.75, "spurious": 0, "mean_volume_iou_all": 0.875,
    "mean_f_score_all": 0.5, "objects": {"pan 1": 0.5}, "f_scores": {"pan 1": 0.5}, "failures": {},
    "seconds": 9.0,
}  # fmt: skip


def test_rows_are_kept_and_those_of_development_apart(tmp_path, monkeypatch):
    calls = []

    def measure(condition, seed, *_args):
        calls.append(seed)
        tuned = seed in geometry.DEVELOPMENT_SEEDS
        return {**ROW, "condition": condition, "seed": seed, "development": tuned}

    monkeypatch.setattr(geometry, "measure", measure)
    path = tmp_path / "geometry.json"
    report, tuned = next(iter(conditions.SEEDS)), next(iter(geometry.DEVELOPMENT_SEEDS))
    geometry.run(["d435"], [report], tmp_path, path)
    geometry.run(["d435"], [report, tuned], tmp_path, path)
    assert calls == [report, tuned]
    found = json.loads(path.read_text())
    assert [(s["development"], s["scenes"]) for s in found["scenes_summary"]] == [(False, 1), (True, 1)]
    assert any("0.875" in line for line in geometry.reported(found))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    assert "| d435, development" in tables.page()


def test_a_recording_that_is_absent_is_one_sentence(tmp_path, caplog):
    geometry.run_recordings(tmp_path, tmp_path, tmp_path / "geometry.json")
    assert len(caplog.records) == len(conditions.DEVELOPMENT)


@pytest.mark.parametrize("seed", geometry.DEVELOPMENT_SEEDS)
def test_scenes_of_development_have_a_layout(seed):
    from instascene_core.synthetic.layouts import LAYOUTS

    assert geometry.DEVELOPMENT_SEEDS[seed][0] in LAYOUTS

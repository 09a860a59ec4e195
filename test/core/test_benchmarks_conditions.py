"""Yardsticks: the interval, the seeds of the report, resuming, drawn masks, counts, and their tables."""

import ast
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cached_scenes, conditions, decomposition, delivery, recordings, records, tables
from benchmarks.provenance import Provenance
from instascene_core.config import Config, ReconstructionConfig, SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.files import write_image, write_json
from instascene_core.frame import UNLABELLED
from instascene_core.instances import Instance, InstanceId, InstanceMap
from instascene_core.synthetic import generate_scene

MACHINE = {"cpu": "a processor", "threads": 2, "torch": "2"}
MASKS = {
    "layout": "pile", "reconstruction_seconds": 9.0, "true_objects": 8, "instances": 9, "recall_50": 0.75,
    "precision_50": 0.5, "recall_75": 0.5, "precision_75": 0.25, "false_instances": 2, "miou": 0.625,
    "seconds": 4.0, "objects": {"1": 0.625},
}  # fmt: skip
OBJECTS = {
    **MASKS, "spurious": 3, "mean_volume_iou_all": 0.5, "mean_f_score_all": 0.25, "iou_of_poses": 0.875,
    "placed_iou_all": 0.75, "failures": {}, "objects": {"box 1": 0.5},
}  # fmt: skip


# ── means over scenes ─────────────────────────────────────────────────────────────────────────────


def test_interval_is_students():
    """Four scenes: s = √(5/3), t(0.975, 3) = 3.182 from the printed tables."""
    mean, half = delivery.interval([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5 and half == pytest.approx(3.182 * math.sqrt(5 / 3) / 2, rel=1e-3)
    assert delivery.interval([0.5] * 10) == (0.5, 0.0)


def test_undefined_figures_are_left_out_of_the_interval():
    assert delivery.interval([1.0, math.nan, None, 3.0]) == delivery.interval([1.0, 3.0])
    mean, half = delivery.interval([0.25])
    assert mean == 0.25 and math.isnan(half)
    assert all(math.isnan(value) for value in delivery.interval([]))


@pytest.fixture(scope="module")
def scene():
    return generate_scene(SyntheticConfig(seed=3, num_objects=2, num_views=2, width=64, height=48))


def found_in(frames, ids) -> InstanceMap:
    """Their true labels as instances, the table and room as id 90; `ids` are objects."""
    images = {f.name: np.where(f.labels == UNLABELLED, 90, f.labels) for f in frames}
    kinds = {**dict.fromkeys(ids, "object"), 90: "support"}
    zero = np.zeros(3)
    instances = tuple(
        Instance(InstanceId(i), kind, 0.5, zero, zero, np.zeros(16, np.float32), 1, 2)
        for i, kind in kinds.items()
    )
    return InstanceMap(instances, np.zeros(0, np.int32), images)


def test_only_objects_of_a_decomposition_are_delivered(scene):
    frames = list(scene.frames())
    scores = delivery.mask_scores(found_in(frames, [1, 2]), frames)
    assert (scores.instances, scores.precision_50, scores.miou) == (2, 1.0, 1.0)
    scores = delivery.mask_scores(found_in(frames, [1]), frames)
    assert (scores.true_objects, scores.instances, scores.recall_50, scores.miou) == (2, 1, 0.5, 0.5)
    row = json.loads(json.dumps(delivery.mask_figures(scores)))
    assert row["objects"] == {"1": 1.0, "2": 0.0}


# ── the seeds ─────────────────────────────────────────────────────────────────────────────────────


def test_seeds_of_the_report_are_fresh():
    """At least ten a condition, none retired, none a number that other code or training names."""
    seeds = set(conditions.SEEDS)
    plain = [seed for seed, (layout, _) in conditions.SEEDS.items() if layout != "assemblies"]
    assert len(plain) >= 10 and all(10_000 <= seed < 100_000 for seed in seeds)
    assert not seeds & set(conditions.RETIRED)
    assert set(conditions.RETIRED.values()) <= seeds | set(conditions.RETIRED)
    root = Path(conditions.__file__).resolve().parents[1]
    files = [*root.glob("benchmarks/*.py"), *root.glob("instascene_core/**/*.py"), *root.glob("test/**/*.py")]
    for file in files:
        if file.name == "conditions.py":
            continue
        numbers = {n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)}
        assert not seeds & {n for n in numbers if isinstance(n, int)}, file


def test_seeds_of_shards_do_not_reach_those_of_the_report():
    """Shards of training are numbered from 0 and, for validation of completion, from 90,000."""
    from instascene_core.training.completion import data
    from instascene_core.training.completion import train as completion
    from instascene_core.training.segmenter import train as segmenter

    most = max(completion.TrainingConfig.shards, segmenter.TrainingConfig.shards)
    assert most < min(conditions.SEEDS) and max(conditions.SEEDS) < data.VALIDATION


@pytest.mark.skipif(not hasattr(SyntheticConfig, "sensor"), reason="SyntheticConfig has no sensor yet")
@pytest.mark.parametrize("name", conditions.CONDITIONS)
def test_a_condition_changes_nothing_but_the_sensor(name):
    seed = next(iter(conditions.SEEDS))
    how = conditions.CONDITIONS[name]
    plain = conditions.settings_of(conditions.CONDITIONS["perfect"], seed)
    assert conditions.settings_of(how, seed) == replace(plain, sensor=how.sensor)
    assert how.depth == (name != "rgb")


# ── resuming ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def measured(monkeypatch):
    """Conditions and seeds that `run` measures, in place of minutes of work."""
    calls = []

    def measure(condition, seed, stage, *_args):
        calls.append((condition, seed, stage))
        row = {"condition": condition, "seed": seed}
        return {"masks": {**row, **MASKS}, **({"objects": {**row, **OBJECTS}} if stage == "objects" else {})}

    monkeypatch.setattr(conditions, "measure", measure)
    return calls


def test_a_run_goes_on_where_it_was_stopped(tmp_path, measured, monkeypatch):
    path, seeds = tmp_path / "conditions.json", list(conditions.SEEDS)[:2]
    conditions.run(["perfect"], seeds[:1], "masks", tmp_path, path)
    conditions.run(["perfect", "tof"], seeds, "masks", tmp_path, path)
    assert measured == [(name, seed, "masks") for seed in seeds for name in ("perfect", "tof")]
    found = json.loads(path.read_text())
    assert [(row["condition"], row["seed"]) for row in found["masks"]] == [
        (name, seed) for name in ("perfect", "tof") for seed in seeds
    ]
    assert all(row["commit"] and row["weights"] and row["machine"]["cpu"] for row in found["masks"])
    assert found["masks_summary"][0]["scenes"] == 2 and found["masks_summary"][0]["miou"] == [0.625, 0.0]
    conditions.run(["tof"], seeds[:1], "objects", tmp_path, path)  # masks alone do not stand for objects
    assert measured[-1] == ("tof", seeds[0], "objects")
    # Rows by other weights are measured again.
    count = len(measured)
    monkeypatch.setattr(conditions, "mark_of", lambda *_: " †")
    conditions.run(["tof"], seeds[:1], "masks", tmp_path, path)
    assert len(measured) == count + 1


def test_a_recording_that_is_absent_is_one_sentence(tmp_path, caplog):
    conditions.run_development(tmp_path, tmp_path, tmp_path / "conditions.json")
    assert [r.getMessage().split(" with")[0] for r in caplog.records] == [
        f"There is no recording '{name}'" for name in conditions.DEVELOPMENT
    ]
    assert not (tmp_path / "conditions.json").exists()


def test_what_is_reconstructed_once_comes_back_as_it_was(tmp_path, scene):
    """Poses as refined, not as given; without depth none comes back."""
    frames = list(scene.frames())
    moved = np.eye(4)
    moved[0, 3] = 0.125

    config = ReconstructionConfig(iterations=2)
    key = cached_scenes.content_key(cached_scenes.RECONSTRUCTION, frames, Config(reconstruction=config))
    made, seconds = cached_scenes.cached_reconstruction("x", frames, config, True, tmp_path, key)
    facts = tmp_path / f"x-rgbd-{key}.json"
    kept = json.loads(facts.read_text())
    kept["poses"][1] = moved.tolist()
    for what in ("rgbd", "rgb"):  # as if both had been made
        write_json(tmp_path / f"x-{what}-{key}.json", kept)
        (tmp_path / f"x-{what}-{key}.ply").write_bytes(facts.with_suffix(".ply").read_bytes())
    for depth in (True, False):
        again, same = cached_scenes.cached_reconstruction("x", frames, config, depth, tmp_path, key)
        assert same == seconds > 0 and len(again.gaussians) == len(made.gaussians)
        np.testing.assert_array_equal(again.posed_frames[1].world_from_camera, moved)
        assert all((frame.depth is not None) == depth for frame in again.posed_frames)
    other = [frames[0], frames[1].with_(world_from_camera=moved)]
    assert key != cached_scenes.content_key(
        cached_scenes.RECONSTRUCTION, other, Config(reconstruction=config)
    )


def test_true_meshes_come_back_as_they_were(tmp_path, scene):
    for _ in range(2):
        found = cached_scenes.true_meshes(scene.config, tmp_path)
        assert [(number, kind) for number, kind, _ in found] == [(o.id, o.kind) for o in scene.objects]
        for (_, _, mesh), thing in zip(found, scene.objects, strict=True):
            np.testing.assert_array_equal(mesh.vertices, thing.mesh.vertices)
            np.testing.assert_array_equal(mesh.triangles, thing.mesh.triangles)


# ── real recordings ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def drawn(tmp_path):
    """Two views of 1×8 pixels: a book (1), a cup (2) that only the first shows, and the shelf (3)."""
    folder = tmp_path / "drawn"
    for name, row in (("000000", [1, 1, 1, 1, 2, 2, 3, 0]), ("000002", [1, 1, 3, 3, 3, 3, 3, 0])):
        write_image(folder / f"{name}.png", np.array([row], np.uint8))
    write_json(folder / "names.json", {"1": "book", "2": "cup", "3": "background"})
    return folder


def test_drawn_objects_have_one_instance_for_all_views(drawn):
    images = {
        "000000": np.array([[5, 5, 5, 6, 90, 90, 5, 5]]),
        "000001": np.array([[7] * 8]),  # nothing was drawn here
        "000002": np.array([[6, 6, 90, 90, 90, 90, 90, 90]]),
    }
    figures = recordings.drawn_figures(images, [5, 6, 7], *recordings.read_drawn(drawn))
    # Pooled, the book is 6 (3 of 6 pixels; 5 has 3 of 7), which is 1 of 4 and 2 of 2.  The last pixel is not
    # judged.  The cup is the table's, which is no object.
    assert figures["objects"] == {"book": pytest.approx((1 / 4 + 1) / 2), "cup": 0.0}
    assert figures["miou"] == pytest.approx(0.3125)
    assert (figures["drawn_views"], figures["drawn_objects"]) == (2, 2)


def test_what_was_drawn_must_have_names(drawn, tmp_path):
    assert recordings.read_drawn(tmp_path / "nothing") == ({}, {})
    write_json(drawn / "names.json", {"1": "book"})
    with pytest.raises(InputError, match=r"no name for the drawn ids \[2, 3\]"):
        recordings.read_drawn(drawn)
    (drawn / "names.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        recordings.read_drawn(drawn)


def test_counts_by_eye_join_the_row(tmp_path):
    path = tmp_path / "recordings.json"
    made_by = {"runs": Provenance("c0ffee", "code", {}, MACHINE)}
    row = {"recording": "fox", "frames": 50, "depth": False, "instances": 3, "seconds": 1.0}
    records.write_results(path, "recordings", {"runs": [row]}, made_by)
    recordings.add_counts(path, recordings.counts_of(["fox=2"]))
    (found,) = json.loads(path.read_text())["runs"]
    assert found["false_objects"] == 2 and found["false_objects_by"] == "counted by eye"
    assert found["commit"] == "c0ffee"
    for words, sentence in ((["fox=4"], "only 3"), (["redkitchen=1"], "no row of redkitchen")):
        with pytest.raises(InputError, match=sentence):
            recordings.add_counts(path, recordings.counts_of(words))
    for word in ("fox", "fox=", "fox=-1", "d1=1"):
        with pytest.raises(InputError, match="NAME=N"):
            recordings.counts_of([word])
    records.write_results(path, "recordings", {"runs": [row]}, made_by)
    assert "false_objects" not in json.loads(path.read_text())["runs"][0]  # those were other instances


def test_contact_sheet_colours_objects_alone(scene):
    frames = list(scene.frames())
    one, two = (recordings.contact_sheet(frames, found_in(frames, ids)) for ids in ([1], [1, 2]))
    assert one.shape == two.shape and one.dtype == np.uint8 and (one != two).any()
    none = recordings.contact_sheet(frames, found_in(frames, []))
    body = none[40:300]  # below the titles: grey where nothing is an object
    assert (body.max(axis=2) == body.min(axis=2)).all()


# ── tables ────────────────────────────────────────────────────────────────────────────────────────


def test_tables_of_conditions(tmp_path, measured, monkeypatch):
    seeds = list(conditions.SEEDS)[:2]
    conditions.run(["rgb"], seeds, "objects", tmp_path, tmp_path / "conditions.json")
    made_by = {"development": Provenance("c0ffee", "code", {}, MACHINE)}
    development = {"recording": "d1", "reconstruction_seconds": 1.0, "masks": MASKS, "objects": OBJECTS}
    conditions.write(tmp_path / "conditions.json", {"development": development}, made_by)
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    page = tables.page(marked=False)
    placed = "0.88 ± 0.00 | 0.75 ± 0.00"
    counts = "0.75 ± 0.00 | 0.50 ± 0.00 | 0.50 ± 0.00 | 0.25 ± 0.00"
    assert f"| rgb | 2 | 18 / 16 | {counts} | 0.62 ± 0.00 | 2.0 ± 0.0 | 9.0 ± 0.0 | 4.0 ± 0.0 |" in page
    volumes = f"0.50 ± 0.00 | {placed} | 0.25 ± 0.00"
    assert f"| rgb | 2 | 18 / 16 | {counts} | {volumes} | 3.0 ± 0.0 | 4.0 ± 0.0 |" in page
    assert "| d1 | 9 / 8 | 0.62 | 0.75 | 0.50 | 0.50 | 0.25 | 3 |" in page
    assert tables.without_marks(tables.page()) == page


def test_tables_of_recordings():
    row = {"recording": "apc_shelf", "frames": 15, "depth": True, "instances": 5, "mark": ""}
    full = {**row, "false_objects": 1, "miou": 0.5, "objects": {"book": 0.25, "box": 0.75}}
    text = tables.recordings({"runs": [row, full]})
    assert "| apc_shelf | 15 RGB-D | 5 | – | – | – |" in text
    assert "| apc_shelf | 15 RGB-D | 5 | 1 | 0.50 | book 0.25, box 0.75 |" in text


def test_decomposition_rows_of_earlier_versions_show_a_dash():
    old = {"scene": "pile", "group": "separable", "depth": True, "masks": "true", "miou": 1.0, "ap50": 1.0,
           "seconds": 1.0, "mark": ""}  # fmt: skip
    new = {**old, **{name: 0.5 for name in delivery.COUNTED}, "false_instances": 1}
    assert tables._counts_by([old], "masks").splitlines()[2] == "| true | 1 | – | – | – | – | – |"
    mixed = tables._counts_by([old, new], "masks").splitlines()[2]
    assert mixed == "| true | 2 | – | – | – | – | – |"  # a mean over some of the scenes would mislead
    line = tables._counts_by([{**new, "precision_50": math.nan}, new], "masks").splitlines()[2]
    assert line == "| true | 2 | 0.50 | 0.50 | 0.50 | 0.50 | 1.00 |"
    (means,) = decomposition.report([new, {**new, "recall_50": 1.0}])
    assert means["recall_50"] == 0.75 and means["false_instances"] == 1.0
    (means,) = decomposition.report([old, new])
    assert "recall_50" not in means

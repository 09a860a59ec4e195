"""The probability that a completed object is a good one: its evidence, its model, its training."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from completion_scene import orbit, render, table_mesh

from instascene_core.completion import complete
from instascene_core.completion.confidence.alternatives import notes_on
from instascene_core.completion.confidence.evidence import EVIDENCE
from instascene_core.completion.confidence.model import (
    ARRAYS,
    FORMAT,
    GOOD_IOU,
    WEIGHTS,
    ConfidenceModel,
    load_confidence_model,
    save_confidence_model,
)
from instascene_core.completion.confidence.sightings import compare_with_views
from instascene_core.completion.observing.observation import observe
from instascene_core.config import CompletionConfig, Config
from instascene_core.config.completion import ConfidenceConfig, ConvexPartsConfig, ObservingConfig
from instascene_core.errors import InputError
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.instances import Instance, InstanceId
from instascene_core.training.confidence import fit, jobs
from instascene_core.weights import write_weights

TABLE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)
BOX = 2  # its label; 1 is the table
CONFIG = CompletionConfig(
    observing=ObservingConfig(max_voxels=60_000), convex_parts=ConvexPartsConfig(max_parts=1)
)


def box(extents=(0.12, 0.08, 0.1), at=(0.0, 0.0)) -> trimesh.Trimesh:
    made = trimesh.creation.box(extents)
    made.apply_translation([*at, extents[2] / 2])
    return made


def views(count: int, noise: float = 0.001):
    return render([table_mesh(0.01), box()], orbit(count, (30, 60)), noise=noise)


def instance(mask_score: float = 1.0, agreement: float = 1.0) -> Instance:
    zero = np.zeros(3)
    feature = np.zeros(16, np.float32)
    return Instance(InstanceId(BOX), "object", agreement, zero, zero, feature, 1, 2, mask_score)


@pytest.fixture(scope="module")
def seen():
    """A box that twelve cameras see, completed."""
    return complete(views(12), InstanceId(BOX), TABLE, CONFIG, instance=instance(0.9, 0.8))


# ── evidence ──────────────────────────────────────────────────────────────────────────────────────


def test_evidence_about_a_box_that_is_seen_well(seen):
    evidence = seen.evidence
    assert evidence.keys() == EVIDENCE.keys() and np.isfinite(list(evidence.values())).all()
    assert evidence["observed"] == pytest.approx(seen.observed_fraction)
    assert evidence["silhouette"] > 0.95 and evidence["strangers"] < 0.02 and evidence["misfit"] < 0.02
    assert evidence["hidden_top"] < 0.05 and evidence["fullness"] > 0.95 and evidence["contact"] == 0
    assert (evidence["mask_score"], evidence["agreement"]) == (0.9, 0.8)
    assert evidence["views"] == pytest.approx(np.log2(12))
    thickness = 0.12 * 0.08 * 0.1 / (2 * (0.12 * 0.08 + 0.12 * 0.1 + 0.08 * 0.1))
    observation = observe(views(12), InstanceId(BOX), TABLE, None, CONFIG)
    assert evidence["noise"] == pytest.approx(np.log10(observation.noise / thickness), abs=0.02)


def test_less_that_is_seen_is_less_to_be_believed(seen):
    single = complete(views(1), InstanceId(BOX), TABLE, CONFIG, instance=instance(0.9, 0.8))
    doubtful = complete(views(12), InstanceId(BOX), TABLE, CONFIG, instance=instance(0.2, 0.8))
    for worse in (single, doubtful):
        assert worse.confidence < seen.confidence - 0.02
    assert single.evidence["observed"] < seen.evidence["observed"] - 0.2
    assert single.evidence["doubt"] > seen.evidence["doubt"]


def test_silhouettes_tell_a_mesh_that_is_elsewhere(seen):
    observation = observe(views(12), InstanceId(BOX), TABLE, None, CONFIG)
    right, _ = compare_with_views(observation, seen.mesh)
    moved, _ = compare_with_views(observation, seen.mesh.moved(np.array([0.03, 0.0, 0.0])))
    grown = TriangleMesh(1.5 * seen.mesh.vertices, seen.mesh.triangles)
    assert right > 0.95 and moved < 0.6 and compare_with_views(observation, grown)[0] < 0.2


def test_a_mesh_over_what_the_masks_give_to_others_has_strangers():
    """Half of the box is labelled as another thing; the whole of it is taken for the object."""
    halves = [
        frame.with_(labels=np.where((frame.require_labels() == BOX) & left(frame), 3, frame.labels))
        for frame in views(8)
    ]
    observation = observe(halves, InstanceId(BOX), TABLE, None, CONFIG)
    whole = meshes.from_trimesh(box())
    _, strangers = compare_with_views(observation, whole)
    assert 0.3 < strangers < 0.7


def left(frame) -> np.ndarray:
    """[H, W] bool: pixels that see what lies at x < 0."""
    points = frame.camera.rays * frame.require_depth()[..., None]
    pose = frame.world_from_camera
    return (points @ pose[:3, :3].T + pose[:3, 3])[..., 0] < 0


@pytest.mark.parametrize(
    ("other", "words"),
    [("hollow", "may as well be hollow.* 2[0-9] % of this volume"), ("same", "^$"), ("smaller", "^$")],
)
def test_the_open_alternative_is_told(other, words):
    solid = box()
    inner = box((0.11, 0.07, 0.1))
    inner.apply_translation([0, 0, 0.01])
    shapes = {"hollow": solid.difference(inner), "same": solid, "smaller": box((0.06, 0.04, 0.05))}
    own, guess = meshes.from_trimesh(solid), meshes.from_trimesh(shapes[other])
    told = notes_on(own, [own, guess], ConfidenceConfig())
    assert re.search(words, "".join(told))
    if other == "hollow":
        (back,) = notes_on(guess, [own], ConfidenceConfig())
        assert "may as well be solid" in back and "times this volume" in back
    assert notes_on(own, [], ConfidenceConfig()) == ()


# ── model ─────────────────────────────────────────────────────────────────────────────────────────


def model(names=("observed", "noise")) -> ConfidenceModel:
    """Centre 0.5, scale 0.25, bounds 0 and 1."""
    ones = np.ones(len(names))
    return ConfidenceModel(names, ones / 2, ones / 4, 0 * ones, ones, np.array([1.0, -2.0]), bias=0.5)


def test_the_probability_by_hand():
    odds = 0.5 + (0.75 - 0.5) / 0.25 - 2 * (0.0 - 0.5) / 0.25
    assert model().probability({"observed": 0.75, "noise": 0.0}) == pytest.approx(1 / (1 + np.exp(-odds)))
    # Beyond what training has seen nothing more is said.
    assert model().probability({"observed": 9, "noise": -3}) == model().probability(
        {"observed": 1, "noise": 0}
    )


def test_weights_come_back_from_their_file(tmp_path):
    save_confidence_model(tmp_path / "c.safetensors", model(), {"seed": "0"})
    found = load_confidence_model(tmp_path / "c.safetensors")
    assert found.names == model().names and found.bias == 0.5
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(model(), name))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"evidence": json.dumps(["observed", "luck"])}, "does not say which evidence"),
        ({"evidence": "["}, "does not say which evidence"),
        ({"evidence": json.dumps(["observed"])}, "do not fit the confidence model"),
        ({"format": "instascene objectness 1"}, "does not hold weights of the confidence model"),
        ({"scale": np.zeros(2, np.float32)}, "a scale that is not positive"),
        ({"weight": np.full(2, np.nan, np.float32)}, "not finite"),
    ],
)
def test_weights_that_are_not_ours_are_refused_in_one_sentence(tmp_path, change, words):
    arrays = {name: getattr(model(), name).astype(np.float32) for name in ARRAYS}
    arrays |= {"bias": np.zeros(1, np.float32)}
    arrays |= {name: value for name, value in change.items() if isinstance(value, np.ndarray)}
    notes = {"evidence": json.dumps(model().names)}
    notes |= {name: value for name, value in change.items() if name == "evidence"}
    path = tmp_path / "c.safetensors"
    write_weights(path, arrays, str(change.get("format", FORMAT)), notes, half=False)
    with pytest.raises(InputError, match=words) as error:
        load_confidence_model(path)
    assert str(error.value).endswith(".") and "completion.confidence.weights" in str(error.value)


def test_a_setting_takes_other_weights(tmp_path):
    path = tmp_path / "c.safetensors"
    save_confidence_model(path, replace(model(), weight=np.zeros(2), bias=0.0), {})
    config = replace(CONFIG, confidence=ConfidenceConfig(weights=str(path)))
    assert complete(views(4), InstanceId(BOX), TABLE, config).confidence == 0.5


def test_the_weights_of_the_package_keep_to_the_signs():
    found = load_confidence_model(WEIGHTS)
    assert set(found.names) == set(fit.SIGNS) <= set(EVIDENCE) and (found.weight != 0).sum() >= 4
    assert all(fit.SIGNS[name] * weight >= 0 for name, weight in zip(found.names, found.weight))


# ── training ──────────────────────────────────────────────────────────────────────────────────────


def drawn_rows(count: int, seed: int = 0):
    """Evidence and IoU at random, by a rule of three of its numbers, one of them against its sign."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, len(EVIDENCE)))
    evidence = [dict(zip(EVIDENCE, row.tolist())) for row in values]
    silhouette, doubt, noise = (values[:, list(EVIDENCE).index(n)] for n in ("silhouette", "doubt", "noise"))
    odds = 2 * silhouette - 1.5 * doubt + noise + rng.logistic(size=count)
    return evidence, 0.7 + 0.3 * np.tanh(odds / 6)  # at odds 0 the least that is good


def test_the_fit_finds_what_matters_and_keeps_to_the_signs():
    evidence, iou = drawn_rows(1500)
    found = dict(zip(fit.SIGNS, fit.fit_model(evidence, iou, 1.0).weight))
    assert found["silhouette"] > 1 and found["doubt"] < -0.8
    assert found["noise"] == 0  # more noise cannot make a good object likelier
    assert max(abs(found[name]) for name in ("observed", "views", "fullness", "mask_score")) < 0.3


def test_what_is_said_of_scenes_held_out_is_calibrated():
    evidence, iou = drawn_rows(1500)
    good = iou >= GOOD_IOU
    said = fit.held_out(evidence, iou, np.arange(1500) // 8, 1.0)
    assert fit.expected_calibration_error(said, good) < 0.06
    assert fit.area_under_roc(said, good) > 0.8
    assert fit.log_loss(said, good) < 0.55 < fit.log_loss(np.full(1500, good.mean()), good)


def test_jobs_are_run_once_and_fitted(tmp_path, monkeypatch):
    evidence, iou = drawn_rows(120)
    made = []

    def run(job):
        made.append(job.scene.seed)
        k = 10 * (len(made) - 1)
        rows = [{"iou": float(i), "evidence": e} for e, i in zip(evidence[k : k + 10], iou[k : k + 10])]
        return {"condition": job.condition, "scene": {"seed": job.scene.seed, "layout": "pile"},
                "true_objects": 10, "rows": rows}  # fmt: skip

    monkeypatch.setattr(jobs, "run_job", run)
    seeds = range(jobs.FIRST_SEED, jobs.FIRST_SEED + 12)
    jobs.run_jobs(tmp_path, seeds[:5])
    jobs.run_jobs(tmp_path, seeds)
    assert made == list(seeds)
    fit.fit_to_jobs(tmp_path, tmp_path / "c.safetensors", 12)
    assert load_confidence_model(tmp_path / "c.safetensors").names == tuple(fit.SIGNS)
    with pytest.raises(InputError, match="run some first"):
        jobs.read_jobs(tmp_path / "none")


def test_jobs_are_the_same_for_the_same_seed_and_differ_from_the_benchmarks():
    from benchmarks import confidence

    assert jobs.job_of(88007) == jobs.job_of(88007) != jobs.job_of(88008)
    assert {jobs.job_of(88001 + k).condition for k in range(6)} == set(jobs.CONDITIONS)
    assert min(confidence.SEEDS) > jobs.FIRST_SEED + 900 and len(set(confidence.SEEDS)) == 40
    kept = confidence.kept_job(confidence.SEEDS[0]).scene.kinds
    assert not set(kept) & {*jobs.OWN_UNSEEN, *jobs.TRAINING_KINDS}


def test_a_layout_that_does_not_come_out_is_an_outcome(monkeypatch):
    def fails(_):
        raise InputError("The objects fell off.")

    monkeypatch.setattr(jobs, "generate_scene", fails)
    facts = jobs.run_job(jobs.job_of(88001))
    assert facts["rows"] == [] and facts["reason"] == "The objects fell off."


def test_a_job_does_without_what_changes_no_mesh():
    small = jobs.cheap(Config())
    assert small.completion.convex_parts.max_parts == 1 and small.plausibility.check == "skip"
    assert small.completion.prior == Config().completion.prior


@pytest.mark.slow
def test_a_job_from_images_to_rows():
    job = jobs.job_of(88002)
    scene = replace(job.scene, layout="spread", num_objects=3, num_views=6, arc_degrees=360.0)
    facts = jobs.run_job(replace(job, condition="perfect", scene=replace(scene, sensor="perfect")))
    assert facts["true_objects"] == 3 and len(facts["rows"]) >= 2
    for row in facts["rows"]:
        assert row["evidence"].keys() == EVIDENCE.keys() and 0 <= row["iou"] <= 1
    assert max(row["iou"] for row in facts["rows"]) > 0.5
    assert any(row["true"] for row in facts["rows"])


# ── the figures ───────────────────────────────────────────────────────────────────────────────────


def test_figures_are_of_what_is_delivered():
    from benchmarks import confidence

    evidence, iou = drawn_rows(40)
    good = iou >= GOOD_IOU
    things = [{"iou": 0.9 * g, "true": "can 1" if g else "", "evidence": e} for e, g in zip(evidence, good)]
    rows = [{"group": "synthetic", "scene": str(k), "objects": things[k::2]} for k in range(2)]
    (found,) = confidence.figures(rows)
    assert (found["scenes"], found["objects"], found["good"]) == (2, 40, int(good.sum()))
    assert found["auc_bad"] == found["auc_false"]  # here what is bad is false
    assert sum(b["count"] for b in found["reliability"]) == 40
    assert found["precision"][0]["precision"] == pytest.approx(good.mean())
    assert json.loads(json.dumps(found, allow_nan=False)) == found

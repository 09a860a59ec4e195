"""Training of the network that finds the true borders: what it learns from, and that it learns."""

import json

import numpy as np
import pytest

from instascene_core.config import SegmentationConfig
from instascene_core.segmentation.border_network import CHANNELS, load_border_network
from instascene_core.training.borders.data import BorderScene, gather, gather_scene, read_scene
from instascene_core.training.borders.train import (
    BorderTraining,
    changed_labels,
    example,
    scene_files,
    train,
)
from instascene_core.weights import read_weights

HOW = BorderTraining(minutes=0.05, batch=2, crop=(32, 40))


def drawn(seed: int) -> BorderScene:
    """A disc on a table in two views, its labels three pixels too large."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:60, :80]
    away = np.hypot(y - 30, x - rng.uniform(30, 50, (2, 1, 1)))
    truth = (away < 14).astype(np.uint8)
    colors = np.where(truth[..., None], (60, 90, 160), (150, 140, 120)) + rng.normal(0, 4, (2, 60, 80, 3))
    depths = np.where(away < 17, 0.9, 1.0).astype(np.float32)
    return BorderScene(colors.astype(np.uint8), depths, (away < 17).astype(np.uint8), truth, 2.0)


def write(folder, scenes) -> None:
    for index, scene in enumerate(scenes):
        np.savez_compressed(folder / f"scene_{index:05d}.npz", **({} if scene is None else vars(scene)))


def test_an_example_says_where_the_label_beyond_is_the_true_one():
    scene = drawn(0)
    how = BorderTraining(crop=(60, 80), moved_share=0, grown_share=0)
    made = example(scene, 0, np.random.default_rng(1), how)
    assert made is not None and made.inputs.shape == (CHANNELS, 60, 80)
    wrong = scene.labels[0] != scene.truth[0]
    assert made.beyond.sum() >= wrong.sum() == (made.beyond * made.weight).sum()
    empty = BorderScene(scene.colors, scene.depths, 0 * scene.labels, scene.truth, 2.0)
    assert example(empty, 0, np.random.default_rng(1), how) is None


def test_labels_are_changed_as_told():
    labels = drawn(0).labels[0]
    rng = np.random.default_rng(0)
    assert changed_labels(labels, rng, BorderTraining(moved_share=0, grown_share=0)) is labels
    how, before = BorderTraining(moved_share=0, grown_share=1), int(labels.sum())
    sizes = {int(changed_labels(labels, rng, how).sum()) - before for _ in range(8)}
    assert len(sizes) == 2 and min(sizes) < 0 < max(sizes)


def test_it_learns_and_writes_weights_with_scores(tmp_path):
    write(tmp_path, [drawn(0), drawn(1), None])
    learned, held_back = scene_files(tmp_path)
    assert [path.name for path in held_back] == ["scene_00000.npz"] and len(learned) == 2
    scores = train(tmp_path, tmp_path / "borders.safetensors", HOW)
    assert scores["scenes"] == 1 and scores["miou"] > scores["miou_before"]
    load_border_network(tmp_path / "borders.safetensors")
    _, notes = read_weights(tmp_path / "borders.safetensors", "instascene borders 1", "border network")
    assert json.loads(notes["scores"]) == scores and json.loads(notes["training"])["scenes"] == 1


@pytest.mark.slow
def test_a_gathered_scene_errs_at_borders_only(tmp_path):
    scene = gather_scene(0, 1, SegmentationConfig())
    assert scene is not None and scene.offset > 1.1
    wrong = (scene.labels != scene.truth).mean()
    assert 0 < wrong < 0.1
    gather(tmp_path, range(1, 2), 0, SegmentationConfig())
    again = read_scene(tmp_path / "scene_00001.npz")
    assert again is not None
    np.testing.assert_array_equal(again.labels, scene.labels)

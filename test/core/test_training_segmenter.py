"""Training of the built-in segmenter: views, targets, the loop and its checkpoint."""

import numpy as np
import pytest
import torch

from instascene_core.segmentation.network import STEPS, load_network
from instascene_core.synthetic.unseen import HELD_OUT
from instascene_core.training.segmenter import train as training
from instascene_core.training.segmenter.data import batches, make_shard, read_shard, shard_path, write_shards
from instascene_core.training.segmenter.scenes import TRAINING_KINDS
from instascene_core.training.segmenter.train import TrainingConfig, affinity_targets, train

TINY = TrainingConfig(shards=3, validation_shards=1, epochs=2, batch=2, checkpoint_every_s=1e9)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    write_shards(folder, range(3), scenes=1, views=4)
    return folder


def test_shapes_of_the_benchmark_are_not_trained_on():
    assert not set(TRAINING_KINDS) & set(HELD_OUT)
    assert len(TRAINING_KINDS) >= 10


def test_views_are_written_once_and_the_same_for_the_same_seed(data):
    shard = read_shard(shard_path(data, 1))
    again = make_shard(1, scenes=1, views=4)
    np.testing.assert_array_equal(shard.colors, again.colors)
    np.testing.assert_array_equal(shard.geometry, again.geometry)
    assert shard.labels.dtype == np.uint8 and shard.labels.max() >= 2
    assert (read_shard(shard_path(data, 0)).labels != shard.labels).any()
    before = shard_path(data, 1).stat().st_mtime_ns
    write_shards(data, range(3))
    assert shard_path(data, 1).stat().st_mtime_ns == before


def test_targets_of_two_objects_by_hand():
    labels = torch.tensor([[[1, 1, 2, 0, 0]]])
    target, weight = affinity_targets(labels, between_objects=4.0)
    right = STEPS.index((0, 1))
    assert target[0, right, 0].tolist() == [1, 0, 0, 0, 0]
    assert weight[0, right, 0].tolist() == [1, 4, 1, 0, 0]
    three = STEPS.index((0, 3))
    assert target[0, three, 0].tolist() == [0] * 5 and weight[0, three, 0].tolist() == [1, 1, 0, 0, 0]
    assert not weight[0, STEPS.index((1, 0))].any()  # below is outside


def test_a_pass_shows_crops_of_all_views(data):
    rng = np.random.default_rng(0)
    seen = list(batches(data, range(2), 2, rng, in_order=True))
    assert len(seen) == 4
    for inputs, labels in seen:
        assert inputs.shape == (2, 13, 192, 256) and inputs.dtype == np.float32
        assert np.abs(inputs[:, :3]).max() <= 1 and labels.shape == (2, 192, 256)


def test_a_short_training_lowers_the_loss_and_goes_on_where_it_was_stopped(data, tmp_path, monkeypatch):
    losses = []
    update = training._update

    def noted(*args):
        losses.append(update(*args))
        return losses[-1]

    monkeypatch.setattr(training, "_update", noted)
    scores = train(data, tmp_path / "whole.safetensors", TINY)
    assert len(losses) == 8 and np.mean(losses[-3:]) < 0.93 * losses[0]
    assert 0.26 < scores["cut_f1"] < 0.4 and 0 < scores["foreground_iou"] < 0.5  # hardly anything yet
    load_network(tmp_path / "whole.safetensors")

    class Stopped(Exception):
        pass

    def stopping(*args):
        if len(losses) == 8 + 5:
            raise Stopped
        return noted(*args)

    monkeypatch.setattr(training, "_update", stopping)
    often = TrainingConfig(**{**vars(TINY), "checkpoint_every_s": 0.0})
    with pytest.raises(Stopped):
        train(data, tmp_path / "parts.safetensors", often)
    monkeypatch.setattr(training, "_update", noted)
    train(data, tmp_path / "parts.safetensors", TINY)
    assert len(losses) == 16
    np.testing.assert_allclose(losses[8:], losses[:8], rtol=2e-2)


@pytest.mark.slow
def test_minutes_of_training_find_seams(tmp_path):
    """4 shards, 4 minutes: foreground and cuts on views never trained on."""
    write_shards(tmp_path, range(6))
    config = TrainingConfig(shards=6, validation_shards=1, epochs=60, minutes=4.0)
    scores = train(tmp_path, tmp_path / "w.safetensors", config)
    assert scores["foreground_iou"] > 0.7 and scores["cut_f1"] > 0.45, scores

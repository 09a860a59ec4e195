"""Training of the part network: things, what is shown of them, interrupting and going on, overfitting."""

import json

import numpy as np
import pytest
import torch

from instascene_core.config import PartsConfig
from instascene_core.metrics.parts import part_scores
from instascene_core.parts.losses import LossWeights, part_loss
from instascene_core.parts.network import PartNetwork, PartShape, TrainedParts, load_network
from instascene_core.parts.samples import PartExample, batch_of
from instascene_core.parts.segment import PartSegmenter
from instascene_core.synthetic.anatomy import LEVEL_NAMES
from instascene_core.synthetic.household import make
from instascene_core.synthetic.unseen import HELD_OUT
from instascene_core.synthetic.unseen_assemblies import HELD_OUT_ASSEMBLIES
from instascene_core.training.ahead import made_ahead
from instascene_core.training.parts import train as training
from instascene_core.training.parts.data import (
    PLAIN,
    Showing,
    Showings,
    half_seen_rows,
    read_shard,
    shard_path,
    shown,
    write_shards,
)
from instascene_core.training.parts.partnet.run import judged_parts
from instascene_core.training.parts.things import TRAINING_KINDS, random_rotation, thing_of
from instascene_core.training.parts.train import PartTraining, train

TINY = PartShape(tuple(len(names) for names in LEVEL_NAMES), widths=(4, 6), features=5, hidden=6, voxel=0.2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    write_shards(folder, range(3), things=6)
    return folder


def test_training_keeps_to_its_kinds():
    assert not set(TRAINING_KINDS) & {*HELD_OUT, *HELD_OUT_ASSEMBLIES}


def test_cameras_see_what_faces_them():
    thing = thing_of(make("mug", np.random.default_rng(0)), np.random.default_rng(0), 2000, upright=1.0)
    seen = np.unpackbits(thing.seen[:, None], axis=1)  # [N, 8]
    below = thing.normals[:, 2] < -0.99
    assert below.any() and not seen[below & (thing.points[:, 2] < 0.001)].any()
    assert 0.2 < seen.mean() < 0.6
    rows = half_seen_rows(thing, np.random.default_rng(1))
    assert 300 <= len(rows) < 1400


def test_rotations_are_rotations():
    rng = np.random.default_rng(0)
    for upright in (0.0, 1.0):
        turn = random_rotation(rng, upright)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        assert (turn[2, 2] == 1) == bool(upright)


def test_the_same_seed_makes_the_same_things(data, tmp_path):
    write_shards(tmp_path, [1], things=6)
    for a, b in zip(read_shard(shard_path(data, 1)), read_shard(shard_path(tmp_path, 1)), strict=True):
        np.testing.assert_array_equal(a.points, b.points)
        np.testing.assert_array_equal(a.semantic, b.semantic)


def test_a_thing_shown_plainly_is_the_thing(data):
    thing = read_shard(shard_path(data, 0))[0]
    example = shown(thing, np.random.default_rng(0), PLAIN)
    assert example.points.shape == (2048, 3) and example.semantic.shape == (3, 2048)
    assert np.abs(np.linalg.norm(np.ptp(example.points, axis=0)) - 2) < 1e-4
    np.testing.assert_allclose(np.linalg.norm(example.normals, axis=1), 1, atol=1e-5)
    few = shown(thing, np.random.default_rng(0), Showing(points=(100, 200)))
    assert 100 <= len(few.points) <= 200


def test_a_pass_shows_every_thing_once(data):
    passes = Showings(data, (0, 1, 2), 3, seed=0, showing=PLAIN)
    assert passes.per_epoch() == 6
    for epoch in (0, 1):
        batches = [passes.batch(6 * epoch + number) for number in range(6)]
        assert [len(batch.counts) for batch in batches] == [3] * 6
        # Turned and in another order, but no two things have the same labels here.
        shown_labels = {bytes(np.sort(one.numpy().sum(axis=0))) for b in batches for one in split(b)}
        assert len(shown_labels) == 18


def split(batch):
    return batch.semantic.split(batch.counts, dim=1)


def test_a_shard_that_is_not_there_yet_is_replaced(data):
    passes = Showings(data, (0, 1, 7), 3, seed=0, showing=PLAIN)
    one, two = passes.batch(4), passes.batch(4)  # the turn of the third
    assert len(one.counts) == 3
    torch.testing.assert_close(one.points, two.points, rtol=0, atol=0)


def test_batches_made_ahead_are_those_made_in_time(data):
    passes = Showings(data, (0, 1, 2), 3, seed=0, showing=Showing(points=(100, 150)))
    ahead = made_ahead(passes.batch, 5, workers=2)
    for step, batch in zip(range(5, 9), ahead):
        torch.testing.assert_close(batch.points, passes.batch(step).points, rtol=0, atol=0)
    ahead.close()


def config(epochs: int) -> PartTraining:
    return PartTraining(
        shards=3, validation_shards=1, epochs=epochs, batch=3, showing=Showing(points=(100, 150))
    )


def state(path) -> dict:
    from safetensors.numpy import load_file

    return load_file(path.with_suffix(".checkpoint"))


def test_an_interrupted_training_goes_on_to_the_same_weights(data, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    scores = train(data, whole, LEVEL_NAMES, config(2), TINY)
    assert scores["steps"] == 8 and 0 <= scores["all_round_accuracy_1"] <= 1

    update, done = training._update, []

    def stops(*arguments):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(1)
        return update(*arguments)

    monkeypatch.setattr(training, "_update", stops)
    often = PartTraining(**{**config(2).__dict__, "checkpoint_every_s": 0.0})
    with pytest.raises(KeyboardInterrupt):
        train(data, broken, LEVEL_NAMES, often, TINY)
    assert not broken.exists()
    monkeypatch.setattr(training, "_update", update)
    train(data, broken, LEVEL_NAMES, config(2), TINY)
    for name, values in state(whole).items():
        np.testing.assert_array_equal(values, state(broken)[name], err_msg=name)


def test_weights_say_how_they_were_made(data, tmp_path):
    from safetensors import safe_open

    path = tmp_path / "w.safetensors"
    train(data, path, LEVEL_NAMES, config(1), TINY)
    with safe_open(str(path), framework="np") as file:
        notes = file.metadata()
    assert json.loads(notes["training"])["epochs"] == 1 and "half_seen_accuracy_3" in json.loads(
        notes["scores"]
    )
    assert load_network(path).names == LEVEL_NAMES


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_eight_things_are_learnt_by_heart():
    """From procedural things to scores: what the network has seen often, as it was, it names and parts."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    kinds = ("handled_vessel", "jug", "striker", "knife", "lamp", "lidded_box", "shears", "driver")
    things = [
        thing_of(make(kind, np.random.default_rng(k)), np.random.default_rng(k), 600, upright=1.0)
        for k, kind in enumerate(kinds)
    ]
    batch = batch_of([PartExample.of(t.points, t.normals, t.semantic, t.instance) for t in things])
    classes = tuple(len(names) for names in LEVEL_NAMES)
    network = PartNetwork(PartShape(classes, widths=(16, 32, 48), features=24, hidden=24, voxel=1 / 12))
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    steps = 200
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 5e-3 * 0.5 * (1 + np.cos(np.pi * step / steps))
        loss = part_loss(network(batch.points, batch.normals, batch.counts), batch, LossWeights())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    segmenter = PartSegmenter(TrainedParts(network.eval(), LEVEL_NAMES), PartsConfig(passes=1, smallest=4))
    coarse = []
    for thing in things:
        labels = segmenter.label_points(thing.points, thing.normals)
        truth = (thing.semantic.astype(int), thing.instance.astype(int))
        coarse.append(judged_parts(labels, LEVEL_NAMES, *truth)[0])
    assert part_scores(coarse, smallest=3).mean_ap >= 0.95

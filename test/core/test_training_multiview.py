"""Training of the multi-view model: painted bodies, what cameras saw of them, the loop and its checkpoint."""

import csv
import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from instascene_core.completion.priors.multiview.inputs import CONDITIONS, GENERATED
from instascene_core.completion.priors.multiview.network import (
    MultiviewNetwork,
    load_network,
    save_network,
    side_of,
)
from instascene_core.errors import InputError
from instascene_core.geometry import mesh as meshes
from instascene_core.training.ahead import made_ahead
from instascene_core.training.multiview import train as training
from instascene_core.training.multiview.bodies import (
    HELD_OUT_SHAPES,
    damage_body,
    look_from,
    make_body,
)
from instascene_core.training.multiview.data import (
    ARRAYS,
    VALIDATION,
    halved,
    make_shard,
    read_shard,
    shard_path,
    turned,
    write_shards,
)
from instascene_core.training.multiview.examples import SIDE
from instascene_core.training.multiview.paints import KINDS, Light, make_paint
from instascene_core.training.multiview.scores import psnr, score_network
from instascene_core.training.multiview.train import TrainingConfig, draw, loss_of, rate_at, train

TINY = TrainingConfig(steps=2, half_steps=1, batch=1, warm_up=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    write_shards(folder, [0, VALIDATION], examples=2)
    return folder


@pytest.fixture(scope="module")
def example(data):
    return read_shard(shard_path(data, 0))[0]


@pytest.mark.parametrize("held_out", [False, True])
def test_paints_of_every_kind_are_colours_and_repeat(held_out):
    rng = np.random.default_rng(0)
    points, normals = rng.uniform(-0.05, 0.05, (50, 3)), rng.normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    kinds = set()
    for seed in range(20):
        paints = [make_paint(np.random.default_rng(seed), np.full(3, 0.1), 0.003, held_out) for _ in range(2)]
        first, again = (paint.colors(points, normals) for paint in paints)
        np.testing.assert_array_equal(first, again)
        assert first.shape == (50, 3) and first.min() >= 0 and first.max() <= 1
        lit = Light.draw(rng).lit(first, points, normals, normals, 0.3, 0.1)
        assert lit.min() >= 0 and lit.max() <= 1
        kinds.add(paints[0].kind)
    assert kinds == (set(KINDS) - {"plain", "material"} if held_out else set(KINDS))


def test_a_body_is_damaged_only_where_nobody_looked():
    rng = np.random.default_rng(3)
    kind, body = make_body(rng)
    assert kind not in HELD_OUT_SHAPES and make_body(rng, held_out=True)[0] in HELD_OUT_SHAPES
    sources = look_from(rng, body)
    damaged = damage_body(rng, body, sources)
    assert damaged is not None
    guess, grid, expected = damaged
    assert meshes.is_watertight(guess) and (expected > 0).all()
    seen = np.any([s.sees(guess.vertices, 3 * grid.voxel) for s in sources], axis=0)
    error = meshes.distance(body, guess.vertices)
    assert error[seen].mean() < 0.6 * grid.voxel


def test_examples_are_written_once_and_the_same_for_the_same_seed(data):
    stored, again = read_shard(shard_path(data, 0)), make_shard(0, 2)
    for first, second in zip(stored, again, strict=True):
        assert first.kind == second.kind and first.focal == second.focal
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    kinds = {e.kind.split("/")[0] for e in read_shard(shard_path(data, VALIDATION))}
    assert kinds <= set(HELD_OUT_SHAPES)
    before = shard_path(data, 0).stat().st_mtime_ns
    write_shards(data, [0], examples=2)
    assert shard_path(data, 0).stat().st_mtime_ns == before


def test_truth_and_guess_agree_where_somebody_looked(example):
    seen = (example.seen > 0) & (example.depth > 0)
    assert seen.sum() > 100
    assert np.median(np.abs(example.depth - example.given_depth)[seen]) < 0.03
    assert (example.seen[example.given_depth == 0] == 0).all()
    known = example.known(255)
    np.testing.assert_allclose(known.rgb, example.rgb / 255, atol=1e-6)


def test_turning_and_mirroring_keep_views_consistent(example):
    np.testing.assert_array_equal(turned(example, 3, False).rgb[0], example.rgb[3])
    mirrored = turned(example, 0, True)
    np.testing.assert_array_equal(mirrored.rgb[1], example.rgb[15][:, ::-1])
    for other in (turned(example, 5, False), mirrored):
        given = other.given()
        points = given.views.points(given.depth)[given.depth > 0]
        # The same body, turned or mirrored: as high and as far from the axis as before.
        before = example.given()
        old = before.views.points(before.depth)[before.depth > 0]
        np.testing.assert_allclose(np.sort(points[:, 2]), np.sort(old[:, 2]), atol=1e-5)
        radius = [np.sort(np.hypot(p[:, 0], p[:, 1])) for p in (points, old)]
        np.testing.assert_allclose(*radius, atol=1e-5)


def test_examples_of_half_the_side_keep_coverage_and_colour(example):
    half = halved(example)
    assert half.rgb.shape == (16, 32, 32, 3) and half.depth.shape == (16, 32, 32)
    assert half.coverage.mean() == pytest.approx(example.coverage.mean(), abs=1)
    inside = example.coverage.reshape(16, 32, 2, 32, 2).min(axis=(2, 4)) == 255
    mean = example.rgb.reshape(16, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(half.rgb[inside], mean[inside], atol=0.51)


def test_a_draw_has_weights_where_they_count(example):
    config = replace(TINY, no_sources=0.0)
    drawn = draw(np.random.default_rng(1), example, config)
    assert drawn.conditions.shape == (16, CONDITIONS, 64, 64) and drawn.truth.shape == (16, GENERATED, 64, 64)
    assert np.unique(drawn.weight[:, :3].numpy()) == pytest.approx([0.02, 0.2, 1.0])
    assert np.isfinite(drawn.conditions.numpy()).all()
    nothing = draw(np.random.default_rng(1), example, replace(TINY, no_sources=1.0))
    assert not nothing.conditions[:, :8].any()


def test_the_loss_of_a_start_that_is_right_is_small_and_grows_with_its_error(example):
    drawn = draw(np.random.default_rng(1), example, TINY)
    network = MultiviewNetwork((32, 32, 32)).eval()  # gives back its starting point
    noise = torch.randn(drawn.truth.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        right = loss_of(network, replace(drawn, start=drawn.truth), 999, noise)
        wrong = loss_of(network, replace(drawn, start=drawn.truth + 0.5), 999, noise)
    assert float(right) < 1e-4 and float(wrong) == pytest.approx(0.25 / 0.09, rel=0.02)


def test_the_learning_rate_rises_stays_and_falls_to_zero():
    config = TrainingConfig(steps=1000, warm_up=10, run_down=0.3)
    rates = [rate_at(step, step / 1000, config) for step in (0, 9, 500, 700, 850, 1000)]
    assert rates == pytest.approx([0.1, 1, 1, 1, 0.5, 0])


def test_psnr_by_hand():
    assert psnr(np.array([0.01, 0.01])) == pytest.approx(20)


def test_a_training_goes_on_where_it_was_stopped(data, tmp_path):
    output = tmp_path / "multiview.safetensors"
    scores = train(data, output, TINY)
    assert {"nearest", "mean", "sample"} <= set(scores) and all(np.isfinite(v) for v in scores.values())
    network, notes = load_network(output)
    assert notes["steps"] == "2" and side_of(notes) == 64
    again = score_network(network, data)
    assert again["nearest"] == pytest.approx(scores["nearest"])
    train(data, output, replace(TINY, steps=3, half_steps=3))
    with pytest.raises(InputError, match="a side of views that it cannot have"):
        side_of({"side": "65"})
    assert training.Trainer(TINY, output.with_suffix(".checkpoint")).step == 3
    with output.with_suffix(".csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "3"]


def test_what_a_step_sees_hangs_on_its_number_not_on_who_makes_it(data):
    make = partial(training.make_draws, data, replace(TINY, batch=2))
    alone = itertools.islice(made_ahead(make, 3, workers=0), 2)
    by_others = made_ahead(make, 3, workers=2)
    for ours, theirs in zip(alone, by_others, strict=False):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one.conditions, other.conditions) and torch.equal(one.truth, other.truth)
    by_others.close()


def test_a_training_may_end_by_the_clock(data, tmp_path):
    config = replace(TINY, steps=1000, minutes=1e-6, widths=(32, 32, 64))
    train(data, tmp_path / "multiview.safetensors", config)
    network, notes = load_network(tmp_path / "multiview.safetensors")
    assert network.widths == (32, 32, 64) and int(notes["steps"]) <= 1


def test_examples_of_another_side_show_the_same_bodies(data):
    small, large = read_shard(shard_path(data, 0))[1], make_shard(0, 2, side=2 * SIDE)[1]
    assert large.rgb.shape == (16, 128, 128, 3) and large.kind == small.kind
    assert large.focal == pytest.approx(small.focal)
    half = halved(large)
    both = (half.coverage == 255) & (small.coverage == 255)
    assert both.sum() > 1000
    assert np.abs(half.rgb.astype(int) - small.rgb)[both].mean() < 8  # of 255: prints end between the pixels
    assert np.abs(half.coverage.astype(int) - small.coverage).mean() < 4


def test_the_second_stage_is_trained_on_what_the_first_one_makes(tmp_path):
    first, output = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    torch.manual_seed(0)
    network = MultiviewNetwork((32, 32, 32))
    torch.nn.init.normal_(network.head.weight, std=0.05)
    save_network(network, first, {"side": "64"})
    write_shards(tmp_path, [0, VALIDATION], examples=1, side=2 * SIDE)
    config = replace(TINY, minutes=1e-9, first=str(first))
    scores = train(tmp_path, output, config)
    # Before the first step it gives back the first stage's views, but for what half precision rounds.
    assert scores["second"] == pytest.approx(scores["enlarged"], abs=0.05)
    drawn = training.make_draws(tmp_path, config, 0)[0]
    assert drawn.start.shape == (16, GENERATED, 128, 128)
    single = training.make_draws(tmp_path, replace(config, first=""), 0)[0]
    assert not torch.equal(drawn.start, single.start)  # what was generated, not the nearest colours
    known = drawn.conditions[:, 3:4].bool()
    where = known.expand_as(drawn.start[:, :3])
    torch.testing.assert_close(drawn.start[:, :3][where], drawn.conditions[:, :3][where])
    after = train(tmp_path, output, replace(config, minutes=0.0, learning_rate=1e-2))
    assert after["enlarged"] == scores["enlarged"] and after["second"] != scores["second"]
    trained, notes = load_network(output, "second")
    assert side_of(notes) == 128 and notes["steps"] == "2" and trained.widths == (32, 32, 32)


def test_training_without_examples_says_so(tmp_path):
    with pytest.raises(InputError, match="no training examples"):
        train(tmp_path, tmp_path / "out.safetensors", TINY)

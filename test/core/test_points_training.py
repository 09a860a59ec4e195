"""Training of the network on points: prepared scenes, augmentation, the loop, and that it can learn."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from points_cases import tabletop, tiny_network

from instascene_core.config.points import PointsConfig, ReadingConfig
from instascene_core.errors import InputError
from instascene_core.files import TEMPORARY
from instascene_core.segmentation.points_network.files import load_points_network
from instascene_core.segmentation.points_network.network import PointsNetwork
from instascene_core.synthetic.unseen import HELD_OUT
from instascene_core.training.checkpoint import Standing, load_checkpoint, save_checkpoint
from instascene_core.training.points import procedural
from instascene_core.training.points.__main__ import main
from instascene_core.training.points.augmentation import AugmentationConfig, augmented
from instascene_core.training.points.evaluate import evaluate
from instascene_core.training.points.prepared import (
    NOTHING,
    VOID,
    prepared_scenes,
    read_prepared,
    write_prepared,
)
from instascene_core.training.points.presets import PRESETS
from instascene_core.training.points.train import PointsTraining, step_batch, train, training_scenes

TINY = PointsTraining(steps=4, held_back=1, batch=2, network=tiny_network("kernel"), checkpoint_every_s=1e9)


@pytest.fixture
def folder(tmp_path):
    for seed in range(4):
        write_prepared(tmp_path / f"scene_{seed}.npz", tabletop(seed))
    return tmp_path


def test_prepared_scenes_come_back(folder):
    scene, again = tabletop(2), read_prepared(folder / "scene_2.npz")
    np.testing.assert_array_equal(again.cloud.positions, scene.cloud.positions)
    np.testing.assert_allclose(again.cloud.normals, scene.cloud.normals, atol=0.01)
    np.testing.assert_allclose(again.cloud.colors, scene.cloud.colors, atol=0.01)
    for name in ("superpoint", "instance", "category"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scene, name))


def test_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no prepared scenes"):
        prepared_scenes(tmp_path)
    with pytest.raises(InputError, match="no prepared scene"):
        read_prepared(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="not a prepared scene"):
        read_prepared(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", format=np.array([{}], dtype=object))  # a pickle within
    with pytest.raises(InputError, match="not a prepared scene"):
        read_prepared(tmp_path / "b.npz")


def test_augmentation_keeps_what_is_true():
    scene = tabletop(1)
    config = AugmentationConfig(max_points=2000)
    one = augmented(scene, config, np.random.default_rng(0))
    two = augmented(scene, config, np.random.default_rng(0))
    np.testing.assert_array_equal(one.cloud.positions, two.cloud.positions)
    assert 0.5 * 2000 < len(one.cloud) <= 2000
    assert one.superpoint.max() + 1 == len(np.unique(one.superpoint))
    assert set(np.unique(one.instance)) <= {NOTHING, 1, 2, 3} and one.instance.max() >= 1
    np.testing.assert_allclose(np.linalg.norm(one.cloud.normals, axis=1), 1, atol=1e-4)
    assert (one.cloud.colors >= 0).all() and (one.cloud.colors <= 1).all()


def test_augmentation_without_anything_only_turns():
    scene = tabletop(1)
    void = dataclasses.replace(scene, instance=np.where(scene.instance == 1, VOID, scene.instance))
    still = AugmentationConfig(
        scale=0, jitter_m=0, normal_noise=0, color_gain=0, color_shift=0, color_noise=0, least_kept=1.0,
        see_through=0, scale_noise=0, floaters=0,
    )  # fmt: skip
    turned = augmented(void, still, np.random.default_rng(1))
    ours, theirs = turned.cloud.positions.astype(float), scene.cloud.positions.astype(float)
    for points in (ours, theirs):
        points -= points[0]
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1), atol=1e-5)
    np.testing.assert_allclose(ours[:, 2], theirs[:, 2], atol=1e-5)  # up stays up
    np.testing.assert_array_equal(turned.instance, void.instance)
    np.testing.assert_array_equal(turned.superpoint, scene.superpoint)


def test_training_writes_weights_that_load(folder, tmp_path):
    output = tmp_path / "points.safetensors"
    result = train(folder, output, TINY)
    assert result is not None and result.scores.true_instances == 3
    network = load_points_network(output)
    assert network.config == TINY.network
    again = evaluate(network, prepared_scenes(folder)[:1], ReadingConfig())
    assert again.scores.true_instances == 3


def test_a_training_can_start_from_weights_and_leaves_them_alone(folder, tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    train(folder, first, TINY)
    before = {k: v.clone() for k, v in load_points_network(first).state_dict().items()}
    train(folder, second, dataclasses.replace(TINY, initial=str(first), network=tiny_network("transformer")))
    assert load_points_network(second).config == TINY.network  # that of the weights
    changed = load_points_network(second).state_dict()
    assert any((value != changed[name]).any() for name, value in before.items())
    for name, value in load_points_network(first).state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_an_interrupted_training_goes_on_to_the_same_weights(folder, tmp_path, monkeypatch):
    """Four steps, or two and then two more from the checkpoint."""
    train(folder, tmp_path / "whole.safetensors", TINY)
    # Fewer steps would run the learning rate down sooner, so it is interrupted in earnest.
    half = dataclasses.replace(TINY, checkpoint_every_s=0.0)
    module = sys.modules[train.__module__]
    update, calls = module._update, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return update(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(folder, tmp_path / "halves.safetensors", half)
    train(folder, tmp_path / "halves.safetensors", half)
    one, two = (load_points_network(tmp_path / f"{n}.safetensors").state_dict() for n in ("whole", "halves"))
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-2, atol=1e-3)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    one, other = torch.nn.Linear(2, 3), torch.nn.Linear(4, 3)
    path = tmp_path / "a.checkpoint"
    optimiser = torch.optim.AdamW(one.parameters())
    assert load_checkpoint(path, one, optimiser) == Standing()
    one(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    save_checkpoint(path, one, optimiser, Standing(7, 1.5))
    assert load_checkpoint(path, one, optimiser) == Standing(7, 1.5)
    with pytest.raises(InputError, match="not a checkpoint of this training"):
        load_checkpoint(path, other, torch.optim.AdamW(other.parameters()))


def test_what_a_step_sees_follows_from_its_number(folder):
    one, two, other = (step_batch(folder, TINY, 0.01, step) for step in (5, 5, 6))
    torch.testing.assert_close(one[0].features, two[0].features, rtol=0, atol=0)
    torch.testing.assert_close(one[1][0].masks, two[1][0].masks, rtol=0, atol=0)
    assert one[0].features.shape != other[0].features.shape


def test_scenes_that_are_being_written_are_none_yet(folder):
    (folder / f"{TEMPORARY}x.npz").write_bytes(b"PK")
    assert [path.stem for path in prepared_scenes(folder)] == [f"scene_{i}" for i in range(4)]


def test_weights_so_far_come_with_a_checkpoint(folder, tmp_path):
    train(folder, tmp_path / "w.safetensors", dataclasses.replace(TINY, checkpoint_every_s=0.0))
    assert load_points_network(tmp_path / "w.interim.safetensors").config == TINY.network


def test_wide_weights_stay_below_ten_megabytes():
    config = dataclasses.replace(PRESETS["wide"].network, architecture="kernel")
    assert 5e6 < 2 * sum(p.numel() for p in PointsNetwork(config).parameters()) < 10e6


def test_all_held_back_is_said(folder):
    with pytest.raises(InputError, match="held back"):
        training_scenes(folder, 4)


def test_unseen_kinds_are_not_trained_on():
    assert procedural.KINDS["unseen"].kinds == HELD_OUT
    assert procedural.KINDS["training"].kinds is None  # the segmenter's, which leave them out
    assert abs(sum(procedural.UNSEEN_SHARES.values()) - 1) < 1e-9


def test_a_procedural_scene_is_labelled_like_its_views():
    """Things of the held-out kinds; the same for the same seed."""
    scene = procedural.make_scene("unseen", 0, PointsConfig())
    assert scene is not None
    counts = np.bincount(scene.instance)
    assert (counts[1:] >= procedural.MIN_OBJECT_POINTS).sum() >= procedural.MIN_OBJECTS
    assert 0.05 < counts[1:].sum() / counts.sum() < 0.9
    # Superpoints tell objects from one another and from the table, as far as the sensor does.
    table = np.zeros((scene.superpoint.max() + 1, len(counts)))
    np.add.at(table, (scene.superpoint, scene.instance), 1)
    assert table.max(axis=1).sum() / table.sum() > 0.85


def test_presets_are_trainings():
    assert PRESETS["table"] == PointsTraining()
    assert PRESETS["room"].network.classes == 18 and PRESETS["room"].network.voxel_m == 0.02


def test_the_command_trains_and_evaluates(folder, tmp_path, capsys):
    command = ["--threads", str(torch.get_num_threads())]
    output = tmp_path / "points.safetensors"
    more = ["--architecture", "kernel", "--steps", "1", "--held-back", "0", "--no-decorrelation"]
    main([*command, "train", str(folder), "--output", str(output), *more])
    main([*command, "evaluate", str(folder), "--weights", str(output)])
    shown = capsys.readouterr().out
    assert "mAP50" in shown and "4 scenes" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "start", "steps"), [("kernel", "sampled", 250), ("transformer", "learned", 800)]
)
def test_eight_scenes_are_learned_by_heart(tmp_path, architecture, start, steps):
    for seed in range(8):
        write_prepared(tmp_path / f"scene_{seed}.npz", tabletop(seed))
    plain = PointsTraining()
    decoder = dataclasses.replace(plain.network.decoder, start=start, queries=12, layers=3)
    config = dataclasses.replace(
        plain, steps=steps, held_back=0, augmentation=None, learning_rate=2e-3,
        network=dataclasses.replace(
            plain.network, architecture=architecture, decoder=decoder, widths=(16, 24, 32, 48)
        ),
    )  # fmt: skip
    train(tmp_path, tmp_path / "out" / "points.safetensors", config)
    network = load_points_network(tmp_path / "out" / "points.safetensors")
    assert evaluate(network, prepared_scenes(tmp_path), ReadingConfig()).scores.ap50 >= 0.95

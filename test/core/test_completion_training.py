"""Training of the learned completion prior: shapes, simulated observations, the loop and its checkpoint."""

import csv
import inspect

import numpy as np
import pytest
import torch

from instascene_core.completion.priors.network import CHANNELS, CLIP, HEADS, load_network
from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.tsdf import VoxelGrid
from instascene_core.training.completion import shapes
from instascene_core.training.completion import train as training
from instascene_core.training.completion.data import (
    VALIDATION,
    make_shard,
    read_shard,
    shard_path,
    turn_example,
    write_shards,
)
from instascene_core.training.completion.observations import (
    Example,
    fill_hidden_cavities,
    true_distance,
)
from instascene_core.training.completion.scores import score_network
from instascene_core.training.completion.shapes import HOLLOW, KINDS, make_shape
from instascene_core.training.completion.train import TrainingConfig, head_losses, train, voxel_weights

TINY = TrainingConfig(
    shards=2, validation_shards=1, epochs=3 / 32, batch=2, checkpoint_every_s=1e9, learning_rate=2e-3
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    write_shards(folder, [0, 1, VALIDATION], examples=3, side=24)
    return folder


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_shapes_of_every_kind_are_closed(kind):
    from instascene_core.synthetic.solids import mesh_of

    mesh = mesh_of(KINDS[kind][1](np.random.default_rng(4)))
    assert meshes.is_watertight(mesh) and meshes.volume(mesh) > 0


def test_shapes_are_about_one_unit_long_repeatable_and_not_those_of_the_synthetic_scenes():
    for seed in range(10):
        kind, mesh = make_shape(np.random.default_rng(seed))
        again = make_shape(np.random.default_rng(seed))[1]
        np.testing.assert_array_equal(mesh.vertices, again.vertices)
        assert np.isclose(np.linalg.norm(np.ptp(mesh.vertices, axis=0)), 1) and kind in KINDS
    source = inspect.getsource(shapes)
    assert "import household" not in source and "synthetic.household import" not in source
    assert "synthetic.unseen import" not in source and "import unseen" not in source
    shares = {name: share for name, (share, _) in KINDS.items()}
    assert sum(shares[name] for name in HOLLOW) / sum(shares.values()) == pytest.approx(0.355, abs=0.01)


def pot(upside_down: bool) -> tuple[np.ndarray, np.ndarray]:
    """Distance [20, 20, 20] of an open box of walls of two voxels on a table at z = 2, and what a camera
    from above and from the sides knows of it."""
    inside = np.zeros((20, 20, 20), dtype=bool)
    inside[4:16, 4:16, 2:14] = True
    inside[6:14, 6:14, slice(2, 12) if upside_down else slice(4, 14)] = False
    inputs = np.zeros((CHANNELS, 20, 20, 20), dtype=np.float32)
    hull = np.zeros_like(inside)
    hull[4:16, 4:16, 2:14] = True
    inputs[2] = ~hull if upside_down else ~inside
    inputs[5], inputs[6] = np.clip((np.arange(20) - 1.5) / 8, -1, 1), 1
    from scipy.ndimage import distance_transform_edt

    signed = np.where(inside, 0.5 - distance_transform_edt(inside), distance_transform_edt(~inside) - 0.5)
    return np.clip(signed, -CLIP, CLIP).astype(np.float32), inputs


def test_a_cavity_is_to_be_learned_only_where_some_camera_saw_into_it():
    distance, inputs = pot(upside_down=False)
    np.testing.assert_array_equal(fill_hidden_cavities(distance, inputs), distance)
    distance, inputs = pot(upside_down=True)
    filled = fill_hidden_cavities(distance, inputs)
    assert (distance[6:14, 6:14, 2:12] > 0).all() and (filled[6:14, 6:14, 2:12] < 0).all()
    np.testing.assert_array_equal(filled < 0, ~(inputs[2] > 0.5))
    outside = distance > CLIP - 1
    outside[4:16, 4:16, :14] = False  # below it the filled floor is nearer than the walls were
    np.testing.assert_array_equal(filled[outside], distance[outside])


def test_true_distances_of_a_box_by_hand():
    box = TriangleMesh(np.array(np.meshgrid([0, 1.0], [0, 2.0], [0, 3.0])).reshape(3, -1).T, np.zeros((0, 3)))
    box = meshes.convex_hull(box.vertices)
    matrix = np.eye(4)
    matrix[:3, 3] = -0.5
    distance = true_distance(box, VoxelGrid(matrix, 0.25, (9, 13, 17)))
    x, y, z = np.meshgrid(*(0.25 * np.arange(n) - 0.5 for n in distance.shape), indexing="ij")
    out = np.stack([np.maximum(-x, x - 1), np.maximum(-y, y - 2), np.maximum(-z, z - 3)])
    expected = np.where((out > 0).any(0), np.linalg.norm(np.maximum(out, 0), axis=0), out.max(axis=0)) / 0.25
    np.testing.assert_allclose(distance, np.clip(expected, -CLIP, CLIP), atol=1e-4)


def test_examples_are_written_once_and_the_same_for_the_same_seed(data):
    shard, again = read_shard(shard_path(data, 1)), make_shard(1, examples=3, side=24)
    for first, second in zip(shard.inputs + shard.distances, again.inputs + again.distances, strict=True):
        np.testing.assert_array_equal(first, second)
    before = shard_path(data, 1).stat().st_mtime_ns
    write_shards(data, [1], examples=3, side=24)
    assert shard_path(data, 1).stat().st_mtime_ns == before


def test_what_is_seen_agrees_with_what_is_there(data):
    for seed in (0, 1):
        shard = read_shard(shard_path(data, seed))
        for index in range(len(shard.kinds)):
            example = shard.example(index)
            assert example.inputs.shape == (CHANNELS, *example.distance.shape)
            assert all(n % 8 == 0 for n in example.distance.shape)
            trusted = example.inputs[1] > 0.9
            assert trusted.sum() > 100
            assert np.abs(CLIP * example.inputs[0] - example.distance)[trusted].mean() < 0.64  # voxels
            assert (example.distance[example.inputs[2] > 0.5] > -1).all()  # free space is empty


def test_turning_an_example_turns_inputs_and_distances_alike():
    rng = np.random.default_rng(0)
    distance = rng.normal(size=(8, 16, 24)).astype(np.float32)
    example = Example("box", np.stack([distance] * CHANNELS), distance)
    for quarters in range(4):
        for mirrored in (False, True):
            result = turn_example(example, quarters, mirrored)
            np.testing.assert_array_equal(result.inputs[3], result.distance)
            assert result.distance.shape == ((8, 16, 24) if quarters % 2 == 0 else (16, 8, 24))
            np.testing.assert_array_equal(  # up stays up
                np.sort(result.distance, axis=None), np.sort(distance, axis=None)
            )
            np.testing.assert_allclose(
                np.sort(result.distance[..., 5], axis=None), np.sort(distance[..., 5], axis=None)
            )


def test_the_loss_counts_only_the_wrong_side_beyond_the_clip():
    truth = torch.full((1, 8, 8, 8), CLIP)
    weight = torch.ones_like(truth)
    far, near, wrong = (
        head_losses(torch.full((1, HEADS, 8, 8, 8), value), truth, weight) for value in (9.0, 2.0, -1.0)
    )
    assert far.shape == (1, HEADS) and float(far.max()) < 1e-3
    assert 0.9 < float(near[0, 0]) < 1.1 and float(wrong[0, 0]) > 4


def test_surface_and_unseen_space_weigh_more_than_free_space():
    inputs = torch.zeros(1, CHANNELS, 1, 1, 3)
    inputs[0, 7] = 1  # carved away everywhere
    inputs[0, 2, 0, 0, 0] = 1  # free
    truth = torch.tensor([[[[2.5, 2.5, -0.5]]]])
    weight = voxel_weights(inputs, truth, 2.0)[0, 0, 0]
    assert weight.tolist() == pytest.approx([0.3, 1.5, 4 * 1.5 * 2])


def test_a_training_goes_on_where_it_was_stopped(data, tmp_path):
    output = tmp_path / "completion.safetensors"
    scores = train(data, output, TINY)
    assert 0 < scores["iou_carving"] < 1 and scores["doubt_scale"] > 0
    network, notes = load_network(output)
    assert notes["steps"] == "3"
    assert score_network(network, data, range(VALIDATION, VALIDATION + 1))["iou"] > 0.58
    trainer = training.Trainer(TINY, output.with_suffix(".checkpoint"))
    assert trainer.step == 3 and trainer.seconds > 0
    more = TrainingConfig(**{**TINY.__dict__, "epochs": 5 / 32})
    train(data, output, more)
    assert training.Trainer(more, output.with_suffix(".checkpoint")).step == 5
    with output.with_suffix(".csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "5"]


def test_training_without_examples_says_so(tmp_path):
    with pytest.raises(InputError, match="no training examples"):
        train(tmp_path, tmp_path / "out.safetensors", TINY)


@pytest.mark.slow
def test_five_minutes_of_training_lower_the_validation_error(tmp_path):
    torch.set_num_threads(1)
    write_shards(tmp_path, [0, 1, 2, VALIDATION], examples=32, side=32)
    output = tmp_path / "completion.safetensors"
    held_out = range(VALIDATION, VALIDATION + 1)
    config = TrainingConfig(shards=3, validation_shards=1, minutes=4.0, average=0.98)
    before = score_network(training.Trainer(config, tmp_path / "none").averaged, tmp_path, held_out)
    after = train(tmp_path, output, config)
    assert after["error"] < 0.9 * before["error"]
    assert after["iou"] > max(before["iou"], after["iou_carving"]) + 0.02

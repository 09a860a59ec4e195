"""The learned completion prior: its grid, its inputs, what it predicts and how sure it is."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from instascene_core.completion import PRIORS, complete_observation, make_prior, observe
from instascene_core.completion.priors.learned import LearnedPrior, resample
from instascene_core.completion.priors.network import (
    CHANNELS,
    HEADS,
    WEIGHTS,
    CompletionNetwork,
    load_network,
    network_grid,
    network_input,
    observed_at,
    save_network,
)
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ConvexPartsConfig, LearnedConfig, ObservingConfig
from instascene_core.errors import InputError
from instascene_core.geometry import Plane
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.tsdf import VoxelGrid
from instascene_core.training.completion.observations import (
    TARGET_LABEL,
    place_body,
    simulate_frames,
    true_distance,
)
from instascene_core.training.completion.shapes import make_shape

UP = np.array([0.0, 0.0, 1.0])
SMALL = CompletionConfig(
    observing=ObservingConfig(max_points=4000, max_voxels=60_000),
    convex_parts=ConvexPartsConfig(max_parts=1),
)


def simulated_shape(seed: int):
    """(frames, support, body) of a procedural shape that no training seed makes."""
    rng = np.random.default_rng([909, seed])
    kind, body = make_shape(rng)
    body = place_body(rng, kind, body)
    return *simulate_frames(rng, body), body


def observed_shape(seed: int):
    """(observation, body) of it."""
    frames, support, body = simulated_shape(seed)
    return observe(frames, TARGET_LABEL, support, UP, SMALL), body


@pytest.fixture(scope="module")
def shapes():
    return [observed_shape(seed) for seed in (0, 1, 3)]


@pytest.mark.parametrize("shape", [(40, 40, 40), (90, 20, 12), (7, 60, 30)])
def test_the_network_grid_covers_the_box_in_multiples_of_eight(shape):
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    matrix[:3, 3] = [0.3, -0.2, 0.1]
    grid = VoxelGrid(matrix, 0.003, shape)
    small = network_grid(grid, 32)
    assert all(n % 8 == 0 for n in small.shape)
    assert 0.5 * 32**3 < np.prod(small.shape) < 2 * 32**3
    corners = grid.centers()[:: shape[0] - 1, :: shape[1] - 1, :: shape[2] - 1].reshape(-1, 3)
    assert small.contains(corners).all()
    np.testing.assert_allclose(small.centers().mean((0, 1, 2)), grid.centers().mean((0, 1, 2)), atol=1e-9)


def test_resampling_keeps_a_linear_field():
    source = VoxelGrid(np.eye(4), 0.02, (12, 9, 15))
    matrix = np.eye(4)
    matrix[:3, 3] = [0.031, 0.022, 0.047]
    target = VoxelGrid(matrix, 0.011, (10, 8, 14))
    values = source.centers() @ [1.0, -2.0, 0.5]
    np.testing.assert_allclose(
        resample(values, source, target), target.centers() @ [1.0, -2.0, 0.5], atol=1e-5
    )


def test_inputs_do_not_depend_on_the_scale_of_the_scene(shapes):
    """The same frames with every length multiplied by 16."""
    frames, support, _ = simulated_shape(0)
    large = []
    for frame in frames:
        pose = frame.world_from_camera.copy()
        pose[:3, 3] *= 16
        large.append(frame.with_(depth=16 * frame.depth, world_from_camera=pose))
    scaled = observe(large, TARGET_LABEL, Plane(support.normal, 16 * support.offset), UP, SMALL)
    small, small_scaled = (observed_at(observation, 24) for observation in (shapes[0][0], scaled))
    assert small_scaled.grid.voxel == pytest.approx(16 * small.grid.voxel)
    inputs = network_input(small)
    assert inputs.shape == (CHANNELS, *small.grid.shape) and np.abs(inputs).max() <= 1
    np.testing.assert_allclose(network_input(small_scaled), inputs, atol=1e-5)


def test_inputs_without_a_support_say_so(shapes):
    small = replace(observed_at(shapes[0][0], 24), support=None)
    inputs = network_input(small)
    assert not inputs[5].any() and not inputs[6].any()


def test_the_network_starts_at_the_carved_body():
    torch.manual_seed(0)
    inputs = torch.rand(1, CHANNELS, 16, 8, 24) * 2 - 1
    with torch.inference_mode():
        distances, doubt, rank = CompletionNetwork()(inputs)
    assert distances.shape == (1, HEADS, 16, 8, 24)
    assert doubt.shape == (1, 16, 8, 24) and rank.shape == (1, HEADS)
    assert float((distances - 3 * inputs[:, 7:8]).abs().mean()) < 0.032


def test_a_prediction_is_repeatable_and_its_samples_are_distinct(shapes):
    observation, _ = shapes[0]
    prior = LearnedPrior(LearnedConfig(side=24))
    first, again = prior.predict(observation, 6, 3), prior.predict(observation, 6, 3)
    np.testing.assert_array_equal(first.fields, again.fields)
    np.testing.assert_array_equal(first.uncertainty, again.uncertainty)
    assert first.fields.shape == (6, *observation.grid.shape) and first.fields.dtype == np.float32
    assert (first.uncertainty > 0).all() and np.isfinite(first.fields).all()
    for i in range(6):
        for j in range(i):
            assert np.abs(first.fields[i] - first.fields[j]).max() > 0.05 * observation.grid.voxel
    one = prior.predict(observation, 1, 3)
    np.testing.assert_array_equal(one.fields[0], first.fields[0])
    other = prior.predict(observation, 6, 4)
    assert np.abs(other.fields[5] - first.fields[5]).max() > 0.1 * observation.grid.voxel


def test_it_beats_carving_on_shapes_it_never_saw(shapes):
    gains = []
    for observation, body in shapes:
        truth = true_distance(body, observation.grid) < 0
        ious = []
        for name in ("carving", "learned"):
            prior = LearnedPrior(LearnedConfig(side=32)) if name == "learned" else make_prior(name)
            inside = prior.predict(observation, 1, 0).fields[0] < 0
            ious.append((inside & truth).sum() / (inside | truth).sum())
        gains.append(ious[1] - ious[0])
    assert np.mean(gains) > 0.15


def test_doubted_surface_is_farther_from_the_truth(shapes):
    errors, doubts = [], []
    for observation, body in shapes:
        prediction = LearnedPrior(LearnedConfig(side=32)).predict(observation, 1, 0)
        voxel = observation.grid.voxel
        surface = np.abs(prediction.fields[0]) < voxel
        truth = true_distance(body, observation.grid, 8) * voxel
        errors.append(np.abs(prediction.fields[0] - truth)[surface] / voxel)
        doubts.append(prediction.uncertainty[surface] / voxel)
    errors, doubts = np.concatenate(errors), np.concatenate(doubts)
    quarters = [errors[part].mean() for part in np.array_split(np.argsort(doubts), 4)]
    assert quarters[-1] > 9 * quarters[0]


def test_a_learned_completion_is_closed_and_says_its_prior(shapes):
    result = complete_observation(shapes[1][0], LearnedPrior(LearnedConfig(side=32)), SMALL, 1, 0)
    assert result.watertight and meshes.is_watertight(result.mesh)
    assert result.prior.startswith("learned") and "Apache-2.0" in result.prior
    assert isinstance(make_prior("learned"), LearnedPrior) and "learned" in PRIORS


def test_weights_come_with_the_package_and_are_small():
    assert WEIGHTS.stat().st_size < 10e6
    network, notes = load_network()
    assert float(notes["doubt_scale"]) > 0 and sum(p.numel() for p in network.parameters()) < 5e6


def test_loading_weights_does_not_load_torchs_compiler():
    """It would for a tensor that is drawn without memory, and takes a second."""
    code = (
        "import sys\n"
        "from instascene_core.completion.priors.network import load_network\n"
        "load_network()\n"
        "print('torch._dynamo' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stdout + result.stderr


def test_weights_survive_a_round_trip_and_foreign_files_are_refused(tmp_path):
    torch.manual_seed(1)
    network = CompletionNetwork((8, 16, 24))
    save_network(network, tmp_path / "a.safetensors", {"doubt_scale": "1.5"})
    loaded, notes = load_network(tmp_path / "a.safetensors")
    assert notes["doubt_scale"] == "1.5"
    for first, second in zip(network.parameters(), loaded.parameters(), strict=True):
        torch.testing.assert_close(first, second, atol=1e-3, rtol=1e-2)
    with pytest.raises(InputError, match="no weights of the completion network"):
        load_network(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="not a readable weights file"):
        load_network(tmp_path / "bad.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors", metadata={"format": "other"})
    with pytest.raises(InputError, match="does not hold weights"):
        load_network(tmp_path / "other.safetensors")

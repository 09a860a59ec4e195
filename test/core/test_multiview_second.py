"""In-situ generation: the second stage, which corrects the views at twice the side."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from completion_scene import orbit, render, table_mesh
from multiview_cases import UP, ball, given_of, half_known

from instascene_core.completion import complete, make_prior, observe
from instascene_core.completion.priors.multiview.inputs import GeneratedViews
from instascene_core.completion.priors.multiview.network import MultiviewNetwork, load_network, save_network
from instascene_core.completion.priors.multiview.prior import MultiviewPrior
from instascene_core.completion.priors.multiview.sampling import Sampler
from instascene_core.completion.priors.multiview.second import enlarged, refined, sharpened
from instascene_core.config import CompletionConfig
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.config_file import config_with
from instascene_core.errors import Cancelled, InputError
from instascene_core.geometry import Plane
from instascene_core.instances import InstanceId


def network(head: float) -> MultiviewNetwork:
    """Random, of the true architecture; head: spread of its last convolution, 0 = as before any training."""
    torch.manual_seed(1)
    made = MultiviewNetwork((32, 32, 32)).eval()
    torch.nn.init.normal_(made.head.weight, std=head)
    return made


def test_views_are_enlarged_over_the_pixels_of_the_object_alone():
    rgb = np.zeros((1, 2, 2, 3), np.float32)
    rgb[0, :, 0], rgb[0, :, 1] = 0.25, 0.75
    whole = enlarged(rgb, np.ones((1, 2, 2)), 4)
    # Centres of the large pixels lie a quarter of a small one to both sides of its centre.
    np.testing.assert_allclose(whole[0, 0, :, 0], [0.25, 0.375, 0.625, 0.75], atol=1e-6)
    half = enlarged(rgb, np.array([[[1.0, 0], [1, 0]]]), 4)  # the right column shows no object
    np.testing.assert_allclose(half[0, 0, :, 0], [0.25, 0.25, 0.25, 0.5], atol=1e-6)


@pytest.fixture(scope="module")
def stages():
    """(first stage's geometry, its views, the second's geometry and what is known there)."""
    body = ball()
    small, large = given_of(body, 16), given_of(body, 32)
    config = MultiviewConfig()
    views = Sampler(network(0.02), config).sample(small, [half_known(small)], 0)
    return small, views, large, [half_known(large), half_known(large, (0.8, 0.2, 0.0))]


def test_before_any_training_the_second_stage_gives_back_the_first_ones_views(stages):
    small, views, large, known = stages
    made = refined(network(0.0), large, known, views, small.coverage, MultiviewConfig())
    assert made.rgb.shape == (16, 32, 32, 3)
    valid = known[0].valid
    np.testing.assert_allclose(made.rgb[valid], np.broadcast_to([0.9, 0.1, 0.0], (valid.sum(), 3)), atol=1e-6)
    unseen = (large.coverage == 1) & ~valid
    expected = enlarged(views.rgb, small.coverage, 32)
    np.testing.assert_allclose(made.rgb[unseen], expected[unseen], atol=2e-2)
    np.testing.assert_allclose(made.coverage, large.coverage, atol=2e-2)


def test_a_trained_second_stage_corrects_what_nobody_saw_and_hangs_on_the_first(stages):
    small, views, large, known = stages
    config = MultiviewConfig()
    made = refined(network(0.02), large, known, views, small.coverage, config)
    again = refined(network(0.02), large, known, views, small.coverage, config)
    np.testing.assert_array_equal(made.rgb, again.rgb)
    unseen = (large.coverage == 1) & ~known[0].valid
    plain = refined(network(0.0), large, known, views, small.coverage, config)
    assert np.abs(made.rgb - plain.rgb)[unseen].mean() > 1e-3
    other = GeneratedViews(1 - views.rgb, views.depth, views.coverage)
    assert (
        np.abs(refined(network(0.02), large, known, other, small.coverage, config).rgb - made.rgb).max() > 0.1
    )


def test_the_first_stages_own_network_shares_the_finer_views_with_them(stages):
    small, views, large, known = stages
    config = MultiviewConfig(steps=4)
    made = sharpened(network(0.02), large, known, views, small.coverage, config)
    alone = Sampler(network(0.02), MultiviewConfig(steps=1)).sample(large, known, 0)
    mean = (enlarged(views.rgb, small.coverage, 32) + alone.rgb) / 2
    valid = known[0].valid
    np.testing.assert_allclose(made.rgb[~valid], mean[~valid], atol=1e-6)
    np.testing.assert_allclose(made.rgb[valid], np.broadcast_to([0.9, 0.1, 0.0], (valid.sum(), 3)), atol=1e-6)
    np.testing.assert_array_equal(made.coverage, alone.coverage)


def test_one_pass_needs_no_noise_and_seeds_agree(stages):
    small = stages[0]
    sampler = Sampler(network(0.02), MultiviewConfig(steps=1))
    first, other = (sampler.sample(small, [half_known(small)], seed).rgb for seed in (0, 1))
    np.testing.assert_array_equal(first, other)


# --- the prior, end to end ---


@pytest.fixture(scope="module")
def frames():
    body = trimesh.creation.box((0.1, 0.08, 0.06))
    body.apply_translation((0, 0, 0.03))
    return render([table_mesh(), body], orbit(3, (35.0,), (0.0, 90.0)), 100, 75, 95.0)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> CompletionConfig:
    folder = tmp_path_factory.mktemp("weights")
    save_network(network(0.02), folder / "first.safetensors", {"side": "32"})
    save_network(network(0.02), folder / "second.safetensors", {"side": "64", "stage": "second"})
    changes = {
        "prior": "multiview",
        "multiview.weights": str(folder / "first.safetensors"),
        "multiview.second_weights": str(folder / "second.safetensors"),
        "multiview.second_stage": "trained",
        "observing.max_voxels": 8_000,
        "learned.side": 16,
        "convex_parts.max_parts": 1,
    }
    return config_with(CompletionConfig(), changes)


def test_the_prior_paints_with_the_second_stages_views_where_told_to(frames, config):
    told = []
    result = complete(frames, 2, up=UP, config=config, progress=lambda *report: told.append(report))
    messages = [message for _, _, message in told]
    assert messages.index("refining views") > messages.index("generating views, pass 1 of 1")
    shares = [share for _, share, _ in told]
    assert shares == sorted(shares)
    begun = shares[messages.index("refining views")]
    assert shares[messages.index("generating views, pass 1 of 1")] < begun < 0.69  # where painting ends
    plain = complete(frames, 2, up=UP, config=config_with(config, {"multiview.second_stage": "none"}))
    own = complete(frames, 2, up=UP, config=config_with(config, {"multiview.second_stage": "own"}))
    assert own.prior == result.prior and not np.array_equal(own.colors, result.colors)
    assert result.prior.startswith("multiview (Apache-2.0)") and result.watertight
    assert result.volume == pytest.approx(plain.volume, rel=1e-6)
    observation = observe(frames, InstanceId(2), Plane(UP, 0.0), UP, config)
    prior = make_prior("multiview", config)
    assert isinstance(prior, MultiviewPrior)
    painted, _ = prior.paint(observation, plain.mesh, plain.vertex_uncertainty, 0)
    assert painted.views[0].rgb.shape == painted.geometry.normals.shape == (16, 64, 64, 3)


def test_the_second_stage_can_be_cancelled_before_it_begins(frames, config):
    def stop(stage: str, share: float, message: str = "") -> None:
        if message == "refining views":
            raise Cancelled()

    with pytest.raises(Cancelled):
        complete(frames, 2, up=UP, config=config, progress=stop)


def test_weights_of_the_other_stage_are_refused_in_one_sentence(frames, config):
    multiview = config.multiview
    with pytest.raises(InputError, match="no weights of the first stage"):
        load_network(multiview.second_weights)
    swapped = replace(config, multiview=replace(multiview, second_weights=multiview.weights))
    result = complete(frames, 2, up=UP, config=swapped)
    assert result.prior.startswith("learned (Apache-2.0)")
    assert any("holds no weights of the second stage" in note for note in result.notes)
    missing = replace(config, multiview=replace(multiview, second_weights="/nowhere/at.safetensors"))
    with pytest.raises(InputError, match="There are no weights"):
        make_prior("multiview", missing).require_means()
    unnamed = replace(config, multiview=replace(multiview, second_weights=""))
    with pytest.raises(InputError, match=r"name their file in completion\.multiview\.second_weights"):
        make_prior("multiview", unnamed).require_means()

"""The whole reconstruction on a small scene, and its refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from reconstruction_scene import tabletop_frames

from instascene_core.config import ReconstructionConfig
from instascene_core.errors import Cancelled, InputError
from instascene_core.reconstruction import evaluate, reconstruct
from instascene_core.reconstruction.initialisation import gaussians_from_depth
from instascene_core.reconstruction.trainer import Trainer, gaussian_budget, training_scale

SMALL = ReconstructionConfig(iterations=120, max_gaussians=4000, refine_every=30, finer_at=(0.3,))


@pytest.fixture(scope="module")
def frames():
    return tabletop_frames(12)


@pytest.fixture(scope="module")
def result(frames):
    return reconstruct(frames, SMALL)


def test_new_views_and_depth_are_right(frames, result):
    unseen = tabletop_frames(12, phase=0.5)[:4]
    before = evaluate(gaussians_from_depth(frames, 3000), unseen).summary()
    after = evaluate(result.gaussians, unseen).summary()
    assert after["psnr"] > before["psnr"] + 2.9 and after["psnr"] > 25
    assert after["depth_error"] < 0.00013
    assert after["normal_error"] < 0.95
    assert after["covered"] > 0.99


def test_result_tells_what_happened(result):
    assert result.iterations == 120 and len(result.gaussians) <= 4000
    assert len(result.gaussians) > 3400  # it grew
    assert [entry.iteration for entry in result.history] == [50, 100, 120]
    assert result.history[-1].psnr == result.psnr_train > result.history[0].psnr
    assert 0 < result.history[-1].seconds <= result.seconds
    assert result.gaussians.sh_degree == SMALL.sh_degree
    assert not result.gaussians.means.requires_grad
    assert torch.isfinite(result.gaussians.means).all()


def test_images_of_more_pixels_get_more_gaussians_up_to_the_maximum(frames):
    config = ReconstructionConfig(gaussians_per_pixel=0.3, max_gaussians=10_000, max_pixels=160 * 120)
    assert gaussian_budget(frames, config) == 7680  # 0.3 · 19,200 / 0.75
    assert gaussian_budget(frames, replace(config, max_gaussians=5000)) == 5000
    assert gaussian_budget(frames, replace(config, max_pixels=80 * 60)) == 1920
    assert training_scale(frames, replace(config, max_pixels=80 * 60)) == 0.5


def test_same_seed_same_bits(frames):
    first, again, other = (
        reconstruct(frames, replace(SMALL, iterations=45, seed=seed)).gaussians for seed in (0, 0, 1)
    )
    assert len(first) > 3100  # past the first densification
    for name in ("means", "quaternions", "log_scales", "logit_opacities", "sh"):
        assert torch.equal(getattr(again, name), getattr(first, name)), name
    assert not torch.equal(other.means, first.means)


def test_rates_stand_and_then_decay(frames, result):
    config = replace(SMALL, lr_decays_from=0.6, lr_final_share=0.1, means_lr=1e-3, means_lr_final_share=0.01)
    rates = Trainer(frames, result.gaussians, config)._learning_rates
    begin, middle, late, end = (rates(fraction) for fraction in (0.0, 0.6, 0.8, 1.0))
    for name, given in (("log_scales", config.scales_lr), ("sh", config.sh_lr)):
        assert begin[name] == middle[name] == given
        assert np.allclose([late[name], end[name]], [given * 0.1**0.5, given * 0.1])
    assert np.allclose([middle["means"], end["means"]], begin["means"] * np.array([0.01**0.6, 0.01]))


def test_continues_from_given_gaussians(frames, result):
    more = reconstruct(frames, SMALL, initial=result.gaussians, iterations=20, begin=0.5)
    assert more.iterations == 20
    assert more.psnr_train > result.psnr_train - 0.5


def test_time_budget_ends_the_run_and_its_schedules(frames):
    quick = reconstruct(frames, SMALL, iterations=10**6, time_budget_s=3.0)
    assert quick.seconds < 6.0 and 0 < quick.iterations < 10**6
    assert quick.gaussians.sh_degree == SMALL.sh_degree  # schedules went all the way


@pytest.mark.parametrize("use_depth", [True, False])
def test_a_time_budget_that_preparing_takes_whole_is_refused(frames, use_depth):
    given = frames if use_depth else [f.with_(depth=None) for f in frames]
    with pytest.raises(InputError, match="time budget was over before the optimisation began"):
        reconstruct(given, SMALL, time_budget_s=1e-6)


def test_a_frame_that_is_masked_as_a_whole_has_no_error(frames, caplog):
    """Its mean was NaN, and the progress said `nan dB`."""
    hidden = frames[0].with_(valid=np.zeros(frames[0].rgb.shape[:2], dtype=bool))
    said = []
    found = reconstruct([hidden, *frames[1:]], SMALL, lambda *words: said.append(words[2]), iterations=60)
    assert np.isfinite(found.psnr_train) and all(np.isfinite(entry.psnr) for entry in found.history)
    assert any("dB" in message for message in said) and not any("nan" in message for message in said)


def test_progress_is_reported_and_can_cancel(frames):
    seen = []

    def progress(stage, fraction, message):
        seen.append((stage, fraction))
        if stage == "reconstruct" and fraction > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        reconstruct(frames, SMALL, progress=progress)
    fractions = [fraction for stage, fraction in seen if stage == "reconstruct"]
    assert fractions == sorted(fractions) and len(fractions) >= 2


def test_exposure_changes_are_taken_out(frames):
    gains = np.linspace(0.7, 1.3, len(frames))
    flickering = [
        f.with_(rgb=np.clip(f.rgb * gain, 0, 255).astype(np.uint8)) for f, gain in zip(frames, gains)
    ]
    quick = replace(SMALL, iterations=60, finer_at=())
    plain = reconstruct(flickering, quick).psnr_train
    compensated = reconstruct(flickering, replace(quick, exposure=True, exposure_lr=0.02)).psnr_train
    assert compensated > plain + 1.7


def test_a_backdrop_is_learned_as_one_colour(frames):
    """Where nothing is reconstructed there is no depth either: Gaussians must not stand in for it."""
    color = np.array([200, 150, 90], dtype=np.uint8)
    views = frames + tabletop_frames(12, phase=0.5)[:2]
    views = [f.with_(rgb=np.where(f.depth[..., None] > 0, f.rgb, color)) for f in views]
    assert np.mean([(f.depth == 0).mean() for f in views]) > 0.05  # it is there to be seen
    train, unseen = views[:12], views[12:]
    learned = reconstruct(train, SMALL)
    black = reconstruct(train, replace(SMALL, learn_background=False))
    assert np.allclose(learned.background.numpy() * 255, color, atol=8) and black.background is None
    figures, without = (evaluate(r.gaussians, unseen, r.background).summary() for r in (learned, black))
    assert figures["psnr"] > without["psnr"] + 13
    assert figures["depth_error"] < without["depth_error"]
    blind = reconstruct([f.with_(depth=None) for f in train], SMALL)
    assert evaluate(blind.gaussians, unseen, blind.background).summary()["psnr"] > without["psnr"] + 10


def test_gradient_strategy_trains_too(frames):
    result = reconstruct(
        frames, replace(SMALL, iterations=60, densification="gradient", densify_gradient=1e-6)
    )
    assert 3900 < len(result.gaussians) <= 4000 and result.psnr_train > 25


def test_opacity_reset_is_survived_by_what_the_images_need(frames):
    config = replace(SMALL, densification="gradient", densify_gradient=1.0, finer_at=(), refine_until=0.6)
    plain = reconstruct(frames, config, iterations=150)
    often = replace(config, opacity_reset_every=60)  # the last time just before refinement ends
    at_reset, reset = (reconstruct(frames, often, iterations=n).gaussians for n in (60 + 42, 150))
    assert at_reset.opacities.median() < plain.gaussians.opacities.median() - 0.32
    assert reset.opacities.median() > at_reset.opacities.median()
    assert 0.95 * len(plain.gaussians) < len(reset) <= len(plain.gaussians)
    assert evaluate(reset, frames[:3]).summary()["psnr"] > 25


def test_unusable_input_is_refused(frames):
    with pytest.raises(InputError, match="at least 2"):
        reconstruct(frames[:1], SMALL)
    with pytest.raises(InputError, match="Unknown densification 'magic'"):
        reconstruct(frames, replace(SMALL, densification="magic"))


def test_evaluate_without_depth_and_without_gaussians(frames, result):
    blind = evaluate(result.gaussians, [frames[0].with_(depth=None)])
    assert np.isnan(blind.depth_error[0]) and blind.psnr[0] > 27
    nothing = evaluate(result.gaussians.select(torch.zeros(0, dtype=torch.int64)), frames[:1])
    assert nothing.covered[0] == 0 and np.isnan(nothing.depth_error[0])


def test_given_normals_straighten_what_nothing_else_holds(frames):
    """Without depth or consistency of its own, the surface follows the prior."""
    from instascene_core.geometry.depth_maps import normals_from_depth

    guessed = [f.with_(normals=normals_from_depth(f.depth, f.camera).normals) for f in frames]
    loose = replace(SMALL, depth_weight=0.0, normal_weight=0.0, normal_prior_weight=4.0)
    unseen = tabletop_frames(12, phase=0.5)[:4]
    without, held = (evaluate(reconstruct(f, loose).gaussians, unseen).summary() for f in (frames, guessed))
    assert held["normal_error"] < 0.38 * without["normal_error"]
    assert held["depth_error"] < 0.9 * without["depth_error"]


def test_a_training_that_loses_all_gaussians_says_so():
    config = ReconstructionConfig(iterations=3, means_lr=float("nan"))
    with pytest.raises(RuntimeError, match="lost all Gaussians"):
        reconstruct(tabletop_frames(3, 32, 24), config)

"""Depth that bends alike in all frames: found by stereo, taken out, and left alone where it is not there."""

from dataclasses import replace

import numpy as np
import pytest
from reconstruction_scene import tabletop_frames

from instascene_core.config import Config, DepthBendConfig
from instascene_core.frame import Frame
from instascene_core.scene import Scene, reconstruct
from instascene_core.scene.depth_bend import DepthBend, measure_bend, straighten, without_bend
from instascene_core.stereo import differences_from_stereo

CONFIG = DepthBendConfig(correct=True)
# 1 / m: of about a hundredth of the depth here
WAVES = np.array([[0.006, 0, 0], [0.014, -0.008, 0], [0, 0, 0.010]])


def bent(frames: list[Frame], field: DepthBend) -> list[Frame]:
    """Frames of a sensor with such a bend: its inverse depth is too large by the field."""
    return without_bend(frames, [(frames[0].camera, DepthBend(-field.waves))])


def error(frames, exact) -> float:
    """Root mean square of the relative error of depth, where both are."""
    pairs = [(f.depth, e.depth, (f.depth > 0) & (e.depth > 0)) for f, e in zip(frames, exact, strict=True)]
    off = np.concatenate([measured[both] / true[both] - 1 for measured, true, both in pairs])
    return float(np.sqrt(np.mean(off**2)))


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return tabletop_frames(16)


@pytest.fixture(scope="module")
def bent_frames(frames) -> list[Frame]:
    return bent(frames, DepthBend(WAVES))


def test_a_field_is_what_its_waves_are():
    field = DepthBend(WAVES)
    x, y = 0.3, 0.8
    by_hand = sum(
        WAVES[a, b] * np.cos(np.pi * a * x) * np.cos(np.pi * b * y) for a in range(3) for b in range(3)
    )
    assert field.at(np.array([[x, y]]))[0] == pytest.approx(by_hand)


def test_taking_out_is_by_inverse_depth_at_the_middle_of_pixels():
    field, depth = DepthBend(WAVES), np.full((6, 10), 0.8, np.float32)
    depth[2, 3] = 0
    found = field.taken_out(depth)
    place = np.array([[(7 + 0.5) / 10, (4 + 0.5) / 6]])
    assert found[4, 7] == pytest.approx(1 / (1 / 0.8 - field.at(place)[0]), rel=1e-5)
    assert found[2, 3] == 0 and (found > 0).sum() == 59


def test_depth_that_bends_is_straightened(frames, bent_frames):
    """A per cent of the depth, the same in all frames, is found to a quarter of it."""
    result = straighten(bent_frames, CONFIG)
    assert result.metrics[0]["corrected"] and result.metrics[0]["left"] < 0.4
    before, after = error(bent_frames, frames), error(result.frames, frames)
    assert before > 0.008 and after < before / 4
    assert all(np.array_equal(a.depth > 0, b.depth > 0) for a, b in zip(result.frames, bent_frames))


def test_exact_depth_keeps_its_bits(frames):
    result = straighten(frames, CONFIG)
    assert not result.bends and not result.metrics[0]["corrected"]
    assert all(a is b for a, b in zip(result.frames, frames, strict=True))


def test_noise_is_no_bend(frames):
    """Half a per cent from pixel to pixel, and from frame to frame another smooth error of half a per cent:
    nothing that frames share."""
    rng, noisy = np.random.default_rng(0), []
    for frame in frames:
        own = DepthBend(0.004 * rng.normal(size=(3, 3))).taken_out(frame.depth)
        noise = 1 + 0.005 * rng.normal(size=own.shape)
        noisy.append(frame.with_(depth=(own * noise).astype(np.float32)))
    estimate = measure_bend(noisy, CONFIG)
    assert estimate is not None and not estimate.is_there(CONFIG)


def test_larger_images_are_compared_at_the_middle_of_pixels():
    """Stereo looks at smaller images: a nearest reading beside their pixels' middles would be a bend."""
    large = tabletop_frames(12, width=320, height=240)
    found = differences_from_stereo(large, 12, 320 * 240 // 4)
    inverse = np.concatenate([difference.inverse for difference in found])
    typical = np.median(large[0].depth[large[0].depth > 0])
    assert len(inverse) > 10_000 and abs(np.median(inverse)) * typical < 2e-4


def test_each_camera_has_its_own_bend(frames, bent_frames):
    """Every other frame is of a second camera, which does not bend."""
    second = replace(frames[0].camera, cx=frames[0].camera.cx + 1e-3)
    mixed = [f for pair in zip(bent_frames, (e.with_(camera=second) for e in frames)) for f in pair]
    result = straighten(mixed, CONFIG)
    assert [camera for camera, _ in result.bends] == [frames[0].camera]
    assert all(a is b for a, b in zip(result.frames[1::2], mixed[1::2], strict=True))


def test_too_few_frames_and_frames_without_depth_are_left_alone(frames, bent_frames):
    assert measure_bend(bent_frames[:5], CONFIG) is None
    bare = [frame.with_(depth=None) for frame in frames]
    assert straighten(bare, CONFIG).frames == tuple(bare)
    off = straighten(bent_frames, DepthBendConfig())  # it is off unless asked for
    assert all(a is b for a, b in zip(off.frames, bent_frames, strict=True)) and not off.metrics


def test_a_reconstruction_is_made_of_straight_depth(frames, bent_frames):
    """It says so, hands on what it took out, and does not finish what was begun with depth that bends."""
    begun = []
    config = Config(
        depth_bend=CONFIG,
        reconstruction=replace(Config().reconstruction, iterations=20),
        registration=replace(Config().registration, correct_poses=False),  # they are exact
    )
    made = reconstruct(bent_frames, config, optimise=lambda *given, **_: begun.append(given))
    assert made.metrics["depth_bend"][0]["corrected"] and not begun
    assert error(made.posed_frames, frames) < error(bent_frames, frames) / 4
    again = without_bend(bent_frames, made.bends)
    assert np.array_equal(again[3].depth, made.posed_frames[3].depth)


def test_held_out_frames_are_held_against_the_scene_straightened(frames, bent_frames):
    """They come from the same sensor; their bend is no error of the Gaussians."""
    exact_poses = replace(Config().registration, correct_poses=False)
    scene = Scene(Config(depth_bend=CONFIG, registration=exact_poses))
    for frame in bent_frames[:12]:
        scene.add_frame(frame)
    scene.reconstruct(iterations=60)
    held_out = bent(tabletop_frames(12, phase=0.5)[:3], DepthBend(WAVES))
    made, errors = scene.state.require_reconstruction(), []
    for bends in (made.bends, ()):
        scene.state = replace(scene.state, reconstruction=replace(made, bends=bends))
        scene.evaluate_held_out(held_out)
        errors.append(scene.metrics["held_out_depth_error"])
    assert made.bends and errors[0] < 0.7 * errors[1]

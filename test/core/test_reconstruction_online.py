"""Reconstruction while frames arrive."""

from dataclasses import replace

import numpy as np
import pytest
from reconstruction_scene import tabletop_frames

from instascene_core.config import Config, ReconstructionConfig
from instascene_core.reconstruction import OnlineReconstruction, evaluate, reconstruct
from instascene_core.reconstruction.trainer import gaussian_budget
from instascene_core.scene import Scene
from instascene_core.scene.keyframes import most_redundant

SMALL = ReconstructionConfig(
    iterations=120, max_gaussians=4000, refine_every=30, online_iterations=12, polish_iterations=60,
    polish_time_s=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def frames():
    return tabletop_frames(12)


def stream(frames, config=SMALL) -> OnlineReconstruction:
    online = OnlineReconstruction(config)
    for frame in frames:
        online.add(frame)
        assert online.work(60.0) is False  # done before the next one comes
    return online


@pytest.fixture(scope="module")
def streamed(frames):
    return stream(frames)


def test_a_short_polish_reaches_the_offline_result(frames, streamed):
    unseen = tabletop_frames(12, phase=0.5)[:4]
    polished = streamed.polish(frames)
    assert polished.iterations == 60
    offline = reconstruct(frames, SMALL)
    reached = evaluate(polished.gaussians, unseen, polished.background).summary()
    wanted = evaluate(offline.gaussians, unseen, offline.background).summary()
    assert reached["psnr"] > wanted["psnr"] - 0.6
    assert reached["depth_error"] < 0.00035 and reached["covered"] > 0.99


def test_what_was_fused_from_other_poses_is_not_polished(frames, streamed):
    """Poses are corrected once all frames are there: by more than half a pixel the surface is another one."""
    for pixels, kept in ((0.2, True), (2.0, False)):
        corrected = []
        for frame in frames:
            pose = frame.world_from_camera.copy()
            pose[:3, 3] += pixels / frame.camera.fx * 0.6 * pose[:3, 0]  # the scene is about .6 m away
            corrected.append(frame.with_(world_from_camera=pose))
        assert (streamed.polish(corrected, iterations=1) is not None) == kept


def test_new_views_bring_only_what_is_new(frames):
    config = replace(SMALL, max_gaussians=20_000)
    online = OnlineReconstruction(config)
    counts = []
    for frame in (frames[0], frames[0].with_(name="again"), frames[6]):
        online.add(frame)
        counts.append(len(online.gaussians))
    first, again, opposite = np.diff([0, *counts])
    assert first > 940 and again < 0.013 * first  # the same view again shows nothing new
    assert 0.46 * first < opposite < 0.56 * first  # the back of things, but the same table


def test_large_frames_with_normals_bring_what_is_new():
    frames = [f.resized(400, 300) for f in tabletop_frames(2)]
    normals = np.zeros((300, 400, 3), dtype=np.float32)
    normals[..., 2] = -1
    online = OnlineReconstruction(replace(SMALL, max_gaussians=20_000))
    online.add(frames[0].with_(normals=normals))
    before = len(online.gaussians)
    online.add(frames[1].with_(normals=normals))
    assert len(online.gaussians) > 1.1 * before


def test_memory_stays_within_the_budget(frames, streamed):
    assert len(streamed.gaussians) <= gaussian_budget(frames, SMALL)
    tight = stream(frames[:4], replace(SMALL, max_gaussians=500))
    assert len(tight.gaussians) <= 500


def test_work_has_an_end_and_goes_on_with_the_next_frame(frames):
    online = OnlineReconstruction(SMALL)
    assert online.work(1.0) is False  # nothing there
    online.add(frames[0])
    assert online.work(0.0) is True  # one step was made, more remain
    assert online.work(60.0) is False and online.work(60.0) is False
    online.add(frames[1])
    assert online.work(0.0) is True


def test_without_depth_it_waits_for_a_sensor(frames):
    blind = [frame.with_(depth=None) for frame in frames]
    online = OnlineReconstruction(SMALL)
    online.add(blind[0])
    online.add(blind[1].with_(depth=np.zeros_like(frames[1].depth)))
    assert online.gaussians is None and online.polish(blind[:2]) is None
    assert online.names == {"000", "001"}
    online.add(frames[2])
    assert online.names == {"000", "001", "002"} and len(online.gaussians) > 880
    online.drop("001")
    assert online.names == {"000", "002"}
    online.work(60.0)


def test_the_scene_works_ahead_and_then_only_polishes(frames):
    scene = Scene(Config(reconstruction=SMALL))
    for frame in frames[:8]:
        scene.add_frame(frame)
        while scene.work_ahead(1.0):
            pass
    assert scene.gaussians is None and not scene.is_reconstructed
    scene.reconstruct()
    assert scene.is_reconstructed and scene.metrics["iterations"] == SMALL.polish_iterations
    before = len(scene.gaussians)
    # More frames: what is there stays, and is polished again.
    for frame in frames[8:]:
        scene.add_frame(frame)
    assert not scene.is_reconstructed
    scene.reconstruct(iterations=20)
    assert scene.is_reconstructed and scene.metrics["iterations"] == 20
    assert len(scene.gaussians) > 0.95 * before


def test_a_scene_asked_for_at_once_catches_up_first(frames):
    """With more missing than a whole run has, it begins anew."""
    late = OnlineReconstruction(SMALL)
    for frame in frames[:6]:
        late.add(frame)
    fractions = []
    result = late.polish(frames[:6], lambda stage, fraction, message: fractions.append(fraction))
    assert result.iterations == SMALL.polish_iterations
    assert fractions == sorted(fractions) and 0 < fractions[0] < SMALL.polish_begin and fractions[-1] == 1
    hasty = OnlineReconstruction(replace(SMALL, iterations=20))
    for frame in frames:
        hasty.add(frame)
    assert hasty.polish(frames) is None
    assert hasty.polish(frames, iterations=2).iterations == 2  # as the caller wants it


def test_same_frames_same_bits(frames):
    first, again = (stream(frames[:3]).polish(frames[:3], iterations=10).gaussians for _ in range(2))
    assert np.array_equal(first.means.numpy(), again.means.numpy())


def test_the_most_redundant_frame_goes_first(frames):
    turned = frames[0].world_from_camera.copy()
    turned[:3, 3] += 0.001
    twin = frames[0].with_(name="twin", world_from_camera=turned)
    order = [frames[0], frames[3], frames[6], twin, frames[9]]
    assert order[most_redundant(order)].name in ("000", "twin")
    scene = Scene(Config(max_frames=4))
    for frame in order[:4]:
        assert scene.add_frame(frame) is None
    assert scene.add_frame(order[4]).name in ("000", "twin")
    assert len(scene.frames) == 4 and frames[9] in scene.frames


def test_a_restored_scene_goes_on_where_it_was(frames):
    first = Scene(Config(reconstruction=SMALL))
    for frame in frames[:8]:
        first.add_frame(frame)
    first.reconstruct()
    second = Scene(first.config)
    second.restore(first.gaussians, first.posed_frames, None, background=None)
    assert second.is_reconstructed
    for frame in frames[8:]:
        second.add_frame(frame)
    second.reconstruct()
    assert second.is_reconstructed and second.metrics["iterations"] == SMALL.polish_iterations
    second.evaluate_held_out(tabletop_frames(12, phase=0.5)[:4])
    assert second.metrics["held_out_psnr"] > 28.5

"""Poses that agree with one another: errors of known size are found, exact poses are left as they are."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from instascene_core.camera import PinholeCamera
from instascene_core.config import RegistrationConfig, SyntheticConfig
from instascene_core.errors import Cancelled
from instascene_core.frame import Frame
from instascene_core.registration import register
from instascene_core.registration.images import stack
from instascene_core.registration.solver import motions, moved
from instascene_core.synthetic import generate_scene

CONFIG = SyntheticConfig(
    seed=6, num_objects=5, num_views=14, width=192, height=144, supersampling=1, arc_degrees=200.0
)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """With exact poses and depth."""
    return list(generate_scene(CONFIG).frames())


def poses_of(frames) -> np.ndarray:
    return np.stack([frame.world_from_camera for frame in frames])


def with_errors(frames: list[Frame], pixels: float, seed: int = 0) -> list[Frame]:
    """Every pose off at random: images shifted by about so many pixels."""
    rng = np.random.default_rng(seed)
    depth = np.median([frame.require_depth() for frame in frames])
    angle = pixels / frames[0].camera.fx / np.sqrt(2)
    twists = rng.normal(0.0, angle, (len(frames), 6)) * ([depth] * 3 + [1.0] * 3)
    return with_poses(frames, moved(poses_of(frames), twists))


def with_poses(frames, poses) -> list[Frame]:
    return [frame.with_(world_from_camera=pose) for frame, pose in zip(frames, poses)]


def pixel_error(found, truth) -> float:
    """Mean pixels by which images are off, the motion of all cameras together left out."""
    a, b = poses_of(found), poses_of(truth)
    depth = np.median([frame.require_depth() for frame in truth])
    centre_a, centre_b = ((p[:, :3, 3] + depth * p[:, :3, 2]).mean(axis=0) for p in (a, b))
    back = Rotation.from_matrix(b[:, :3, :3] @ a[:, :3, :3].transpose(0, 2, 1)).mean().as_matrix()
    a = a.copy()
    a[:, :3, 3] = (a[:, :3, 3] - centre_a) @ back.T + centre_b
    a[:, :3, :3] = back @ a[:, :3, :3]
    twists = motions(a, b)
    shift = twists[:, :3] + np.cross(twists[:, 3:], [0.0, 0.0, depth])
    return float(np.linalg.norm(shift[:, :2], axis=1).mean() / depth * truth[0].camera.fx)


@pytest.mark.parametrize("pixels", [1.0, 4.0])
def test_errors_of_poses_are_found(frames, pixels):
    off = with_errors(frames, pixels)
    before = pixel_error(off, frames)
    result = register(off)
    assert result.corrected and before > 0.6 * pixels
    assert pixel_error(result.frames, frames) < 0.05
    assert result.pixels == pytest.approx(before, rel=0.3)
    # The world the poses were given in stays in place.
    mean = motions(poses_of(result.frames), poses_of(off)).mean(axis=0)
    assert np.abs(mean).max() < 0.5 * pixels / frames[0].camera.fx


def test_exact_poses_stay_to_the_last_bit(frames):
    result = register(frames)
    assert not result.corrected and result.pixels < 0.05
    assert all(a is b for a, b in zip(result.frames, frames))


def test_noisy_depth_does_not_move_exact_poses_by_a_pixel(frames):
    rng = np.random.default_rng(2)
    noisy = []
    for frame in frames:
        depth = frame.require_depth()
        noise = rng.normal(0.0, 0.004, depth.shape) * depth**2
        noisy.append(frame.with_(depth=(depth + noise * (depth > 0)).astype(np.float32)))
    assert pixel_error(register(noisy).frames, frames) < 0.1


def test_what_a_real_sensor_reports_is_better_afterwards():
    scene = generate_scene(replace(CONFIG, sensor="d435", arc_degrees=360.0))
    reported = list(scene.frames())
    truth = with_poses(reported, scene.poses)
    result = register(reported)
    assert result.corrected
    assert pixel_error(result.frames, truth) < 0.6 * pixel_error(reported, truth)


def test_exposure_that_drifts_does_no_harm(frames):
    rng = np.random.default_rng(3)
    off = []
    for frame in with_errors(frames, 2.0):
        rgb = frame.rgb * rng.uniform(0.7, 1.1) + rng.uniform(0, 15)
        off.append(frame.with_(rgb=np.clip(rgb, 0, 255).astype(np.uint8)))
    assert pixel_error(register(off).frames, frames) < 0.15


def test_frames_without_depth_and_cameras_of_different_size(frames):
    off = with_errors(frames, 2.0)
    off[3] = off[3].with_(depth=None)
    off[5] = off[5].cropped(16, 8, 176, 136)
    result = register(off)
    assert result.frames[3] is off[3]
    assert result.frames[5].rgb.shape == (128, 160, 3)
    kept = [i for i in range(len(frames)) if i not in (3, 5)]
    assert pixel_error([result.frames[i] for i in kept], [frames[i] for i in kept]) < 0.05
    # In one world with the others, the smaller camera's too: its error counts with theirs.
    truth = [frames[i] for i in range(len(frames)) if i != 3]
    assert pixel_error([f for i, f in enumerate(result.frames) if i != 3], truth) < 0.05


def test_a_thing_fixed_to_the_camera_has_no_say(frames):
    """A gripper moves with the camera: comparing it would say that the camera never moved."""
    valid = np.ones((144, 192), bool)
    valid[90:, 40:150] = False
    off = []
    for frame in with_errors(frames, 2.0):
        depth, rgb = frame.require_depth().copy(), frame.rgb.copy()
        depth[~valid], rgb[~valid] = 0.2, 30
        off.append(frame.with_(depth=depth, rgb=rgb, valid=valid))
    assert pixel_error(register(off).frames, frames) < 0.1


def test_what_cannot_be_compared_is_returned(frames):
    bare = [frame.with_(depth=None) for frame in frames]
    apart = [frames[0], frames[0].with_(name="away", world_from_camera=np.diag([-1.0, 1, -1, 1]))]
    empty = [frame.with_(depth=np.zeros_like(frame.depth)) for frame in frames]
    for given in (bare, apart, empty, frames[:1], []):
        result = register(given)
        assert not result.corrected and all(a is b for a, b in zip(result.frames, given))
    off = with_errors(frames, 2.0)
    assert not register(off, RegistrationConfig(correct_poses=False)).corrected


def test_one_view_without_any_depth_among_others(frames):
    off = with_errors(frames, 2.0)
    off[2] = off[2].with_(depth=np.zeros_like(off[2].depth))
    result = register(off)
    assert result.corrected and result.frames[2] is off[2]


def test_it_can_be_cancelled(frames):
    def cancel(stage: str, fraction: float, message: str = "") -> None:
        raise Cancelled(stage)

    with pytest.raises(Cancelled, match="register"):
        register(with_errors(frames, 2.0), progress=cancel)


def test_thinned_pixels_stay_where_they_were_measured():
    """A plane seen at an angle, thinned out: every depth lies on its pixel's ray to the plane."""
    camera = PinholeCamera(640, 480, 500.0, 500.0, 320.0, 240.0)
    x, y = np.meshgrid((np.arange(640) + 0.5 - 320) / 500, (np.arange(480) + 0.5 - 240) / 500)
    depth = (1.0 / (1.0 + 0.3 * x + 0.2 * y)).astype(np.float32)
    frame = Frame("a", 0.0, camera, np.eye(4), np.zeros((480, 640, 3), np.uint8), depth)
    images = stack([frame], 1.0, 80_000)
    fx, fy, cx, cy = images.intrinsics[0].tolist()
    height, width = images.size
    assert height * width <= 80_000
    x, y = np.meshgrid((np.arange(width) + 0.5 - cx) / fx, (np.arange(height) + 0.5 - cy) / fy)
    known = images.depth[0].numpy() > 0
    assert known.mean() > 0.8
    expected = 1 / (1 + 0.3 * x + 0.2 * y)
    np.testing.assert_allclose(images.depth[0].numpy()[known], expected[known], rtol=1e-5)
    normal = -np.array([0.3, 0.2, 1.0]) / np.linalg.norm([0.3, 0.2, 1.0])
    np.testing.assert_allclose(images.normals[0].numpy()[known], np.tile(normal, (known.sum(), 1)), atol=2e-3)

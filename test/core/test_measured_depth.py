"""A sensor's depth and that of the Gaussians, weighted by how noisy each is."""

from dataclasses import replace

import numpy as np
import pytest

from instascene_core.camera import PinholeCamera
from instascene_core.config import Config, MeasuredDepthConfig
from instascene_core.frame import Frame
from instascene_core.reconstruction import reconstruct
from instascene_core.scene import Reconstruction
from instascene_core.scene.dense_views import dense_views
from instascene_core.scene.depth_noise import DepthNoise
from instascene_core.scene.measured_depth import combined_depth, measure_noise

CAMERA = PinholeCamera(80, 60, 100.0, 100.0, 40.0, 30.0)
CONFIG = MeasuredDepthConfig()
WALL = 2.0  # metres, what all cameras face
ORDER = [[1, 2, 3], [0, 2, 3], [1, 3, 0], [2, 1, 0], [3, 2, 1], [4, 3, 2]]  # similar frames, for six of them


def wall_frames(depths: list[np.ndarray]) -> list[Frame]:
    """Cameras beside each other, all facing the wall."""
    rgb = np.zeros((60, 80, 3), np.uint8)
    frames = []
    for index, depth in enumerate(depths):
        pose = np.eye(4)
        pose[0, 3] = 0.02 * index
        frames.append(Frame(f"{index}", 0.1 * index, CAMERA, pose, rgb, depth.astype(np.float32)))
    return frames


def wall(count: int = 4) -> list[np.ndarray]:
    return [np.full((60, 80), WALL) for _ in range(count)]


def render_wall(frame: Frame) -> np.ndarray:
    return np.full((60, 80), WALL, np.float32)


def test_the_noise_of_a_sensor_is_measured_over_the_depth():
    rng = np.random.default_rng(0)
    slanted = np.linspace(0.5, 3.0, 80)[None, :].repeat(60, axis=0)
    frames = wall_frames([slanted + 0.01 * slanted**2 * rng.standard_normal((60, 80)) for _ in range(6)])
    noise = measure_noise(frames, ORDER, lambda frame: slanted.astype(np.float32), CONFIG)
    assert noise is not None
    assert noise.at(np.array([1.0, 2.0])) == pytest.approx([0.01, 0.04], rel=0.25)


def test_exact_depth_keeps_its_bits_whatever_the_gaussians_say():
    frames = wall_frames(wall())
    rng = np.random.default_rng(1)
    off = rng.normal(0, 0.001, (60, 80))  # the Gaussians are off by less than they are said to be

    def render(frame: Frame) -> np.ndarray:
        return (WALL + off).astype(np.float32)

    noise = measure_noise(frames, ORDER, render, CONFIG)
    assert noise is not None and noise.deviations.max() == 0
    depth = combined_depth(frames, 0, render(frames[0]), [1, 2, 3], noise, CONFIG)
    np.testing.assert_array_equal(depth, frames[0].depth)


def test_a_noisy_sensor_says_less_than_all_views_together():
    rng = np.random.default_rng(2)
    frames = wall_frames([WALL + rng.normal(0, 0.04, (60, 80)) for _ in range(4)])
    noise = measure_noise(frames, ORDER, render_wall, CONFIG)
    assert noise is not None
    depth = combined_depth(frames, 0, render_wall(frames[0]), [1, 2, 3], noise, CONFIG)
    held = depth > 0
    assert held.mean() > 0.99
    # A pixel's footprint is 2 cm, so the Gaussians count as 8 mm off: the sensor's share is 8² / (8² + 40²).
    own = CONFIG.rendered_error * WALL / 100
    share = own**2 / (own**2 + 0.04**2)
    assert np.std(depth[held] - WALL) == pytest.approx(share * 0.04, rel=0.15)


def test_gaussians_that_went_astray_are_no_reason_to_doubt_a_sensor():
    frames = wall_frames(wall())

    def astray(frame: Frame) -> np.ndarray:
        return np.full((60, 80), 0.7 * WALL, np.float32)

    noise = measure_noise(frames, ORDER, astray, CONFIG)
    assert noise is not None and noise.deviations.max() < 1e-6
    depth = combined_depth(frames, 0, astray(frames[0]), [1, 2, 3], noise, CONFIG)
    np.testing.assert_array_equal(depth, frames[0].depth)


def test_noise_that_fusion_can_average_is_left_to_it():
    rng = np.random.default_rng(4)
    frames = wall_frames([WALL + rng.normal(0, 0.02, (60, 80)) for _ in range(4)])  # a pixel's footprint
    noise = measure_noise(frames, ORDER, render_wall, CONFIG)
    assert noise is not None
    depth = combined_depth(frames, 0, render_wall(frames[0]), [1, 2, 3], noise, CONFIG)
    np.testing.assert_array_equal(depth, frames[0].depth)


def test_what_nothing_confirms_is_no_surface_and_holes_stay_holes():
    depths = wall()
    depths[0][10:14, 20:24] = 1.2  # flies before the wall; no other view has it
    depths[0][40:44, 50:54] = 0.0
    frames = wall_frames(depths)
    noise = DepthNoise(np.array([0.5, WALL]), np.array([0.04, 0.04]))
    depth = combined_depth(frames, 0, render_wall(frames[0]), [1, 2, 3], noise, CONFIG)
    assert (depth[10:14, 20:24] == 0).all() and (depth[40:44, 50:54] == 0).all()
    assert (depth > 0).sum() == 60 * 80 - 32


def test_a_thin_thing_that_the_gaussians_miss_stays_where_other_views_have_it():
    depths = wall()
    for index, depth in enumerate(depths):  # 1 m away, 2 cm of baseline: two pixels to the left a view
        depth[10:50, 40 - 2 * index : 43 - 2 * index] = 1.0
    frames = wall_frames(depths)
    noise = DepthNoise(np.array([1.0, WALL]), np.array([0.02, 0.04]))
    depth = combined_depth(frames, 0, render_wall(frames[0]), [1, 2, 3], noise, CONFIG)
    assert (depth[10:50, 40:43] == 1.0).all()
    alone = combined_depth(frames, 0, render_wall(frames[0]), [1], noise, CONFIG)
    assert (alone[10:50, 40:43] == 0).all()  # one view is not enough


def test_nothing_to_measure_on():
    bare = [frame.with_(depth=None) for frame in wall_frames(wall())]
    assert measure_noise(bare, ORDER, render_wall, CONFIG) is None
    empty = wall_frames([np.zeros((60, 80))] * 4)
    assert measure_noise(empty, ORDER, render_wall, CONFIG) is None


def test_the_scene_takes_the_combined_depth_unless_told_otherwise():
    rng = np.random.default_rng(3)
    frames = [f.with_(rgb=rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)) for f in wall_frames(wall())]
    frames = [
        f.with_(depth=(f.require_depth() + rng.normal(0, 0.05, (60, 80))).astype(np.float32)) for f in frames
    ]
    config = replace(Config().reconstruction, iterations=60)
    result = reconstruct(frames, config)
    made = Reconstruction(tuple(frames), result.gaussians, result.background)
    plain = replace(Config(), measured_depth=replace(CONFIG, combine=False))
    assert all(view is frame for view, frame in zip(dense_views(made, plain), frames))
    errors = [view.require_depth()[view.require_depth() > 0] - WALL for view in dense_views(made, Config())]
    assert np.abs(np.concatenate(errors)).mean() < 0.6 * 0.04  # of ± 5 cm, 4 cm in the mean

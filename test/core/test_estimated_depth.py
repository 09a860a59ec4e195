"""Depth from colours alone: how it reaches the views, and where the Gaussians overrule it."""

from dataclasses import replace

import numpy as np
import pytest
from reconstruction_scene import tabletop_frames

from instascene_core.camera import PinholeCamera
from instascene_core.config import Config, EstimatedDepthConfig
from instascene_core.frame import Frame
from instascene_core.scene import reconstruct
from instascene_core.scene.dense_views import dense_views
from instascene_core.scene.estimated_depth import checked_depth, measure_difference

CONFIG = EstimatedDepthConfig()
CAMERA = PinholeCamera(80, 60, 100.0, 100.0, 40.0, 30.0)


def estimated_frame(depth: np.ndarray) -> Frame:
    rgb = np.zeros((60, 80, 3), np.uint8)
    return Frame("0", 0.0, CAMERA, np.eye(4), rgb, estimated_depth=depth.astype(np.float32))


def test_stereo_counts_where_the_gaussians_confirm_it():
    rng = np.random.default_rng(0)
    rendered = np.full((60, 80), 1.0, np.float32)
    depth = 1.0 + rng.normal(0, 0.001, (60, 80))
    depth[20:24, 30:34] = 0.9  # fattens what stands in front
    depth[40:44, 50:54] = 0.0  # nothing found
    frame = estimated_frame(depth)
    difference = measure_difference([frame], lambda _: rendered, CONFIG)
    assert difference is not None and difference.at(np.array([1.0])) == pytest.approx(0.001, rel=0.1)
    found = checked_depth(frame, rendered, difference, CONFIG)
    overruled = np.zeros((60, 80), dtype=bool)
    overruled[20:24, 30:34] = overruled[40:44, 50:54] = True
    assert (found[overruled] == 1.0).all()
    np.testing.assert_array_equal(found[~overruled], frame.estimated_depth[~overruled])


def test_a_frame_that_stereo_left_out_shows_the_gaussians():
    rendered = np.full((60, 80), 1.0, np.float32)
    frame = estimated_frame(rendered)
    bare = frame.with_(estimated_depth=None)
    difference = measure_difference([bare, frame], lambda _: rendered, CONFIG)
    assert checked_depth(bare, rendered, difference, CONFIG) is rendered
    assert measure_difference([bare], lambda _: rendered, CONFIG) is None


@pytest.fixture(scope="module")
def colours_alone():
    """(frames with the exact depth, what was reconstructed from their colours)."""
    frames = tabletop_frames(12)
    config = replace(Config(), reconstruction=replace(Config().reconstruction, iterations=400))
    return frames, reconstruct([frame.with_(depth=None) for frame in frames], config)


def test_the_views_of_a_scene_of_colours_alone_lie_where_the_surface_is(colours_alone):
    """Fusion averages what scatters, but not what lies too deep."""
    frames, made = colours_alone
    assert all(frame.depth is None and frame.estimated_depth is not None for frame in made.posed_frames)
    without = replace(made, posed_frames=tuple(f.with_(estimated_depth=None) for f in made.posed_frames))

    def error(of) -> tuple[float, float]:
        """(mean of what is less than 5 mm off, 95 % quantile of the amount), metres."""
        views = dense_views(of, Config())
        off = np.concatenate([(v.depth - f.depth)[f.depth > 0] for v, f in zip(views, frames)])
        return abs(float(off[np.abs(off) < 0.005].mean())), float(np.quantile(np.abs(off), 0.95))

    bias, tail = error(made)
    bias_without, tail_without = error(without)
    assert bias < 0.5 * bias_without and tail < 0.9 * tail_without


def test_measured_depth_is_not_estimated():
    frames = tabletop_frames(4)
    config = replace(Config(), reconstruction=replace(Config().reconstruction, iterations=20))
    made = reconstruct(frames, config)
    assert all(frame.estimated_depth is None for frame in made.posed_frames)

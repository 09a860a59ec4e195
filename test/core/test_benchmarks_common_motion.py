"""What all poses have in common is told apart from what completion loses."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from benchmarks import geometry
from benchmarks.common_motion import best_motion, common_motion, figures_beside_motion
from instascene_core.config import CompletionConfig, Config, SyntheticConfig
from instascene_core.gaussians import GaussianModel
from instascene_core.metrics import ObjectAccuracy
from instascene_core.scene import Reconstruction
from instascene_core.synthetic import generate_scene
from instascene_core.transforms import apply


def small_motion(seed: int, degrees: float, metres: float) -> np.ndarray:
    rng, motion = np.random.default_rng(seed), np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * rng.normal(size=3)).as_matrix()
    motion[:3, 3] = metres * rng.normal(size=3)
    return motion


def test_best_motion_of_moved_points_is_the_motion():
    points, motion = np.random.default_rng(0).normal(size=(20, 3)), small_motion(1, 20, 0.5)
    assert np.allclose(best_motion(points, apply(motion, points)), motion)


def test_common_motion_is_what_stays_when_each_pose_has_its_own_error():
    """Forty poses that share a motion, each half a millimetre and .03° off by itself."""
    true = np.stack([small_motion(k, 60, 0.8) for k in range(40)])
    shared, points = small_motion(99, 0.2, 0.002), np.random.default_rng(5).normal(0, 0.2, (50, 3))
    poses = np.stack([shared @ pose @ small_motion(1000 + k, 0.03, 0.0005) for k, pose in enumerate(true)])
    found = common_motion(true, poses, points)
    assert np.abs(apply(found, points) - apply(shared, points)).max() < 0.0005


def no_gaussians() -> GaussianModel:
    means, quaternions, scales = (torch.ones(1, n) for n in (3, 4, 2))
    return GaussianModel(means, quaternions, scales, torch.ones(1), torch.ones(1, 1, 3))


def test_an_offset_of_all_poses_is_taken_out():
    """All poses 4 mm off: as much IoU is lost as the true meshes lose, and beside the offset nothing is."""
    scene = generate_scene(
        SyntheticConfig(
            seed=3, num_objects=2, num_views=8, width=96, height=72, kinds=("box",), layout="spread"
        )
    )
    truths = [(o.mesh, ObjectAccuracy(o.id, f"{o.kind} {o.id}", math.nan)) for o in scene.objects]
    config = Config(completion=replace(CompletionConfig(), prior="carving"))
    offset, rows = np.eye(4), {}
    for metres in (0.0, 0.004):
        offset[0, 3] = metres
        frames = [f.with_(world_from_camera=offset @ f.world_from_camera) for f in scene.frames()]
        bare = tuple(frame.with_(labels=None) for frame in frames)
        rows[metres] = geometry.completed(
            frames, Reconstruction(bare, no_gaussians(), None), truths, config, scene.poses
        )
    exact, off = rows[0.0], rows[0.004]
    assert exact["common_offset_mm"] == pytest.approx(0, abs=1e-9) and exact["iou_of_poses"] > 0.999
    assert exact["placed_iou_all"] == pytest.approx(exact["mean_volume_iou_all"], abs=0.01)
    assert off["common_offset_mm"] == pytest.approx(4) and off["iou_of_poses"] < 0.95
    assert off["mean_volume_iou_all"] < exact["mean_volume_iou_all"] - 0.02
    assert off["placed_iou_all"] == pytest.approx(exact["placed_iou_all"], abs=0.02)


def test_nothing_is_said_where_true_poses_are_unknown():
    assert figures_beside_motion([], [], None, []) == {}

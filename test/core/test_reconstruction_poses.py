"""Pose refinement: its gradients, its gauge, and what it recovers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from reconstruction_scene import tabletop_frames
from scipy.spatial.transform import Rotation

from instascene_core.config import ReconstructionConfig
from instascene_core.reconstruction import evaluate, reconstruct
from instascene_core.reconstruction.alignment import align_frame
from instascene_core.reconstruction.initialisation import gaussians_from_depth
from instascene_core.reconstruction.poses import PoseRates, PoseRefiner, add_normal_torque
from instascene_core.rendering.fused import add_normal_consistency
from instascene_core.rendering.training_pass import TrainingPass
from instascene_core.transforms import look_at

QUICK = ReconstructionConfig(iterations=360, pose_iterations=360, max_gaussians=4000, refine_every=60)


@pytest.fixture(scope="module")
def frames():
    return tabletop_frames(12)


def moved(pose: np.ndarray, degrees: float, metres: float, rng: np.random.Generator) -> np.ndarray:
    """`pose` turned and shifted by that much in a random direction."""
    turn, shift = rng.normal(size=3), rng.normal(size=3)
    result = pose.copy()
    turn *= np.deg2rad(degrees) / np.linalg.norm(turn)
    result[:3, :3] = pose[:3, :3] @ Rotation.from_rotvec(turn).as_matrix()
    result[:3, 3] += shift * metres / np.linalg.norm(shift)
    return result


def pixels_off(poses, truths) -> float:
    """Median over frames of how far the world's origin lands from where it should, in pixels."""
    ahead = [np.linalg.inv(pose)[:3, 3] / np.linalg.inv(pose)[2, 3] for pose in poses]
    right = [np.linalg.inv(pose)[:3, 3] / np.linalg.inv(pose)[2, 3] for pose in truths]
    return float(np.median([144 * np.linalg.norm(a - b) for a, b in zip(ahead, right)]))


def ring(n: int) -> np.ndarray:
    angles = 2 * np.pi * np.arange(n) / n
    return np.stack([look_at([np.cos(a), np.sin(a), 0.7], [0, 0, 0]) for a in angles])


def test_steps_find_the_pose_that_minimises_a_loss():
    target = moved(ring(1)[0], 1.0, 0.01, np.random.default_rng(0))
    refiner = PoseRefiner(ring(1), 1.2, PoseRates(5e-3, 5e-3, prior=0.0), fix_gauge=False)
    for i in range(300):
        refiner.step(0, torch.from_numpy(refiner.pose(0) - target), 0.01 ** (i / 300))
    assert np.abs(refiner.pose(0) - target).max() < 1e-12
    assert np.allclose(refiner.pose(0)[:3, :3] @ refiner.pose(0)[:3, :3].T, np.eye(3), atol=1e-12)


def test_the_prior_draws_back_where_the_images_say_nothing():
    refiner = PoseRefiner(ring(1), 1.2, PoseRates(5e-3, 5e-3), fix_gauge=False)
    for _ in range(5):
        refiner.step(0, torch.from_numpy(np.random.default_rng(1).normal(size=(4, 4))))
    away = np.abs(refiner.pose(0) - ring(1)[0]).max()
    for i in range(200):
        refiner.step(0, torch.zeros(4, 4), 0.01 ** (i / 200))
    assert away > 5e-3 and np.abs(refiner.pose(0) - ring(1)[0]).max() < 1e-6 * away


def test_moving_all_cameras_alike_is_not_a_refinement():
    given = ring(8)
    refiner = PoseRefiner(given, 1.2, PoseRates(5e-3, 5e-3, prior=0.0))
    pull = torch.zeros(4, 4)
    pull[:3, 3] = torch.tensor([0.3, -1.0, 0.5])
    for i in range(80):
        refiner.step(i % 8, pull)
    centres = refiner.world_from_camera[:, :3, 3]
    assert np.allclose(centres.mean(axis=0), given[:, :3, 3].mean(axis=0), atol=1e-12)
    turns = refiner.world_from_camera[:, :3, :3] @ given[:, :3, :3].transpose(0, 2, 1)
    assert np.linalg.norm(Rotation.from_matrix(turns).as_rotvec().mean(axis=0)) < 1e-4


def test_growing_the_ring_of_cameras_is_held_back():
    """The scene would shrink or grow along: scale is a gauge without depth, and a drift with."""
    given = ring(8)
    outward = [PoseRefiner(given, 1.2, PoseRates(1e-3, 1e-3, 0.0), fix_gauge=fix) for fix in (True, False)]
    for refiner in outward:
        for i in range(80):
            gradient = torch.zeros(4, 4)
            gradient[:3, 3] = -torch.from_numpy(given[i % 8, :3, 3])
            refiner.step(i % 8, gradient)
    held, free = (np.linalg.norm(r.world_from_camera[:, :2, 3], axis=1).mean() - 1 for r in outward)
    assert free > 5e-3 and abs(held) < 1e-3 * free


def test_normal_consistency_gives_the_torque_of_the_depth_images_normals(frames):
    """Against central differences by the rotation, the images held still."""
    gaussians, frame = gaussians_from_depth(frames, 3000), frames[1]
    passes, pose = TrainingPass(), frame.world_from_camera
    images = passes.render(gaussians, frame.camera, pose)

    def loss(turned: np.ndarray) -> float:
        return add_normal_consistency(
            images, frame.camera, torch.from_numpy(turned), 1.0, passes.image_gradients
        )

    loss(pose)
    gradient = torch.zeros(4, 4)
    add_normal_torque(images, passes.image_gradients, pose, gradient)
    for axis in np.eye(3):
        step = np.eye(4)
        step[:3, :3] = Rotation.from_rotvec(0.02 * axis).as_matrix()
        expected = (loss(step @ pose) - loss(np.linalg.inv(step) @ pose)) / 0.04
        generator = np.cross(axis, pose[:3, :3].T).T  # d(turned R)/d angle
        found = float((gradient[:3, :3].numpy() * generator).sum())
        assert abs(found - expected) < 5e-4 * abs(expected)
        assert abs(expected) > 1e-5


def test_disturbed_poses_are_recovered_and_exact_ones_kept(frames):
    rng = np.random.default_rng(3)
    truths = [f.world_from_camera for f in frames]
    bad = [f.with_(world_from_camera=moved(f.world_from_camera, 0.7, 0.006, rng)) for f in frames]
    plain = reconstruct(bad, QUICK)
    refined = reconstruct(bad, replace(QUICK, refine_poses=True))
    assert np.array_equal(plain.world_from_camera, [f.world_from_camera for f in bad])
    before, after = (pixels_off(r.world_from_camera, truths) for r in (plain, refined))
    assert before > 1.9 and after < 0.3 * before
    assert refined.psnr_train > plain.psnr_train + 3.7
    exact = reconstruct(frames, replace(QUICK, pose_iterations=240, refine_poses=True))
    assert exact.iterations == 240
    assert np.array_equal(exact.world_from_camera, truths)  # refining hardly moved them: given ones hold
    unseen = tabletop_frames(12, phase=0.5)[:4]
    assert evaluate(exact.gaussians, unseen).summary()["psnr"] > 25


def test_a_held_out_frame_finds_its_place(frames):
    gaussians = reconstruct(frames, replace(QUICK, iterations=200)).gaussians
    truth = tabletop_frames(12, phase=0.5)[2]
    off = truth.with_(world_from_camera=moved(truth.world_from_camera, 0.7, 0.006, np.random.default_rng(5)))
    aligned = align_frame(gaussians, off, 0.8)
    given, found = (pixels_off([f.world_from_camera], [truth.world_from_camera]) for f in (off, aligned))
    assert given > 2.2 and found < 0.036 * given
    assert evaluate(gaussians, [off], align=True).psnr[0] > evaluate(gaussians, [off]).psnr[0] + 6.9

"""Ways to spoil a recording as people do, each with the name that the check should find."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from instascene_core.frame import Frame
from instascene_core.plausibility import verdict
from instascene_core.pose_conventions import OURS, POSE_CONVENTIONS, read_as

UNITS = (1000.0, 100.0, 10.0, 5.0, 4.0, 0.25, 0.2, 0.1, 0.01, 0.001)
SHIFT = 0.04, 0.09  # shares of the image's width
LEFT_HANDED = "left-handed"


@dataclass(frozen=True)
class Damaged:
    """Frames, and what they must be found to be."""

    frames: list[Frame]
    name: str
    value: Any = None  # of the correction, where one helps: convention, factor, seconds, pixels


def poses_of(frames: Sequence[Frame]) -> np.ndarray:
    """[N, 4, 4]."""
    return np.stack([f.world_from_camera for f in frames])


def with_poses(frames: Sequence[Frame], poses: np.ndarray) -> list[Frame]:
    return [f.with_(world_from_camera=pose) for f, pose in zip(frames, poses)]


def with_pose_noise(frames: Sequence[Frame], pixels: float, rng: np.random.Generator) -> list[Frame]:
    """Each pose off so that the image is by about so many pixels, half by turning and half by moving."""
    moved = []
    for frame in frames:
        angle = pixels / frame.camera.fx
        depth = frame.depth[frame.depth > 0] if frame.depth is not None else np.ones(1)
        pose = frame.world_from_camera.copy()
        turn = Rotation.from_rotvec(rng.normal(0, angle / np.sqrt(6), 3)).as_matrix()
        pose[:3, :3] = turn @ pose[:3, :3]
        pose[:3, 3] += rng.normal(0, angle * np.median(depth) / np.sqrt(6), 3)
        moved.append(frame.with_(world_from_camera=pose))
    return moved


def convention(frames: Sequence[Frame], rng: np.random.Generator) -> Damaged:
    name = rng.choice([c for c in POSE_CONVENTIONS if c != OURS])
    return Damaged(with_poses(frames, read_as(poses_of(frames), name, OURS)), verdict.CONVENTION, name)


def pose_scale(frames: Sequence[Frame], rng: np.random.Generator) -> Damaged:
    """Any factor from 1/20 to 20 that is none between units."""
    factor = 1.0
    while min(abs(np.log(factor / u)) for u in (1.0, *UNITS)) < 0.2:
        factor = float(np.exp(rng.uniform(-3, 3)))
    poses = poses_of(frames)
    poses[:, :3, 3] *= factor
    return Damaged(with_poses(frames, poses), verdict.POSE_SCALE, 1 / factor)


def depth_unit(frames: Sequence[Frame], rng: np.random.Generator) -> Damaged:
    factor = rng.choice(UNITS)
    spoilt = [f.with_(depth=(f.require_depth() * factor).astype(np.float32)) for f in frames]
    return Damaged(spoilt, verdict.DEPTH_UNIT, 1 / factor)


def depth_range(frames: Sequence[Frame], rng: np.random.Generator) -> Damaged:
    spoilt = [
        f.with_(depth=(f.require_depth() * np.linalg.norm(f.camera.rays, axis=2)).astype(np.float32))
        for f in frames
    ]
    return Damaged(spoilt, verdict.RANGE)


def depth_shift(frames: Sequence[Frame], rng: np.random.Generator) -> Damaged:
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(*SHIFT) * frames[0].camera.width
    right, down = round(length * np.cos(angle)), round(length * np.sin(angle))
    spoilt = [f.with_(depth=np.roll(f.require_depth(), (down, right), (0, 1))) for f in frames]
    return Damaged(spoilt, verdict.DEPTH_SHIFT, (-right, -down))


def time_offset(frames: Sequence[Frame], rng: np.random.Generator) -> Damaged:
    """Images with the poses of some frames earlier or later."""
    shift = int(rng.integers(1, max(2, min(4, len(frames) // 5)))) * int(rng.choice([-1, 1]))
    frames = sorted(frames, key=lambda f: f.stamp)
    poses, stamps = poses_of(frames), [f.stamp for f in frames]
    pairs = [(i, i + shift) for i in range(len(frames)) if 0 <= i + shift < len(frames)]
    period = float(np.median(np.diff(stamps)))
    spoilt = [frames[i].with_(world_from_camera=poses[j]) for i, j in pairs]
    return Damaged(spoilt, verdict.TIME, -shift * period)


def same_poses(frames: Sequence[Frame], rng: np.random.Generator) -> Damaged:
    pose = frames[int(rng.integers(len(frames)))].world_from_camera
    return Damaged(with_poses(frames, np.stack([pose] * len(frames))), verdict.SAME_POSES)


def no_translation(frames: Sequence[Frame], rng: np.random.Generator) -> Damaged:
    poses = poses_of(frames)
    poses[:, :3, 3] = rng.normal(size=3)
    return Damaged(with_poses(frames, poses), verdict.NO_TRANSLATION)


def no_rotation(frames: Sequence[Frame], rng: np.random.Generator) -> Damaged:
    poses = poses_of(frames)
    poses[:, :3, :3] = poses[int(rng.integers(len(frames))), :3, :3]
    return Damaged(with_poses(frames, poses), verdict.NO_ROTATION)


def other_recording(frames: Sequence[Frame], rng: np.random.Generator) -> Damaged:
    """Poses in another order, or turned at random: no reading helps."""
    poses = poses_of(frames)
    if rng.uniform() < 0.5:
        poses = poses[rng.permutation(len(poses))]
    else:
        poses[:, :3, :3] = Rotation.from_quat(rng.normal(size=(len(poses), 4))).as_matrix()
    return Damaged(with_poses(frames, poses), verdict.NONE_FITS)


Damage = Callable[[Sequence[Frame], np.random.Generator], Damaged]
OF_POSES: tuple[Damage, ...] = (
    convention, time_offset, same_poses, no_translation, no_rotation, other_recording
)  # fmt: skip
OF_DEPTH: tuple[Damage, ...] = (pose_scale, depth_unit, depth_range, depth_shift)

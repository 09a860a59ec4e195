"""A sample of the surface that many frames show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.config.segmentation import SupportConfig
from instascene_core.frame import Frame
from instascene_core.geometry import SurfacePoints
from instascene_core.geometry.depth_maps import smooth_geometry
from instascene_core.images import resize

MAX_PIXELS = 320 * 240  # of a depth image: more hold no point more


@dataclass(frozen=True)
class SceneSample:
    """Points of all frames together, as evenly spread over the images as the frames allow."""

    points: SurfacePoints  # float32
    world_from_camera: np.ndarray  # [F, 4, 4] of the frames used
    scale: float  # metres: median distance of the points from their cameras


def sample_surface(frames: Sequence[Frame], config: SupportConfig) -> SceneSample | None:
    """About `support_points` points over evenly chosen frames; None where there is hardly any depth."""
    usable = [f for f in frames if f.depth is not None and (f.depth > 0).any()]
    if not usable:
        return None
    spread = np.linspace(0, len(usable) - 1, config.support_frames).round().astype(int)
    chosen = [usable[i] for i in np.unique(spread)]
    generator = np.random.default_rng(0)
    positions, normals, distances = [], [], []
    for frame in chosen:
        camera = frame.camera.limited(MAX_PIXELS)
        depth = resize(frame.require_depth(), camera.width, camera.height, smooth=False)
        points, directions, valid = smooth_geometry(depth, camera)
        pick = np.flatnonzero(valid.ravel())
        pick = generator.choice(pick, min(len(pick), config.support_points // len(chosen) + 1), replace=False)
        rotation = frame.world_from_camera[:3, :3].astype(np.float32)
        here = points.reshape(-1, 3)[pick]
        positions.append(here @ rotation.T + frame.world_from_camera[:3, 3].astype(np.float32))
        normals.append(directions.reshape(-1, 3)[pick] @ rotation.T)
        distances.append(here[:, 2])
    positions = np.concatenate(positions)
    if len(positions) < config.min_support_points:
        return None
    poses = np.stack([f.world_from_camera for f in chosen])
    surface = SurfacePoints(positions, np.concatenate(normals))
    return SceneSample(surface, poses, float(np.median(np.concatenate(distances))))

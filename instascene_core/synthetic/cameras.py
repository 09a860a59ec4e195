"""Camera paths around a pile."""

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.config import SyntheticConfig
from instascene_core.transforms import look_at


def make_camera(config: SyntheticConfig) -> PinholeCamera:
    """The pinhole camera of a config; square pixels, principal point in the middle."""
    focal = config.width / 2 / np.tan(np.radians(config.fov_degrees) / 2)
    return PinholeCamera(config.width, config.height, focal, focal, config.width / 2, config.height / 2)


def fitting_distance(camera: PinholeCamera, radius: float) -> float:
    """Metres from which a sphere of `radius` metres just fills the smaller side of the image."""
    half_angle = np.arctan(min(camera.width / camera.fx, camera.height / camera.fy) / 2)
    return float(radius / np.sin(half_angle))


def arc_poses(
    config: SyntheticConfig, target: np.ndarray, distance: float, rng: np.random.Generator
) -> np.ndarray:
    """`world_from_camera` [num_views, 4, 4] on arcs around `target` [3], one arc per elevation.

    The arcs are travelled to and fro, so that successive views are neighbours as on a real robot;
    small random offsets keep the views from lying exactly on a circle.
    """
    elevations = np.radians(config.elevations_degrees)
    counts = [len(part) for part in np.array_split(np.arange(config.num_views), len(elevations))]
    arc, start = np.radians(config.arc_degrees), np.radians(config.arc_start_degrees)
    closed = config.arc_degrees >= 360  # then the last view must not repeat the first
    poses = []
    for i, (elevation, count) in enumerate(zip(elevations, counts)):
        fractions = (np.arange(count) + 0.5 * (i % 2) * closed) / max(count if closed else count - 1, 1)
        if not closed and count == 1:
            fractions = np.array([0.5])
        if i % 2:
            fractions = fractions[::-1]
        for fraction in fractions:
            azimuth = start + arc * fraction + rng.normal(0, 0.02)
            tilt = elevation + rng.normal(0, 0.02)
            direction = [np.cos(azimuth) * np.cos(tilt), np.sin(azimuth) * np.cos(tilt), np.sin(tilt)]
            eye = target + distance * rng.uniform(0.95, 1.08) * np.array(direction)
            poses.append(look_at(eye, target + rng.normal(0, 0.01, 3)))
    return np.stack(poses)

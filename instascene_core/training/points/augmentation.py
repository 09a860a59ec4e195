"""What changes from recording to recording: turned, mirrored, thinned, noisy scenes."""

from dataclasses import dataclass, replace

import numpy as np

from instascene_core.segmentation.points_network.cloud import PointCloud
from instascene_core.training.points.prepared import NOTHING, PreparedScene, selected


@dataclass(frozen=True)
class AugmentationConfig:
    """How much; every figure is the most, or the standard deviation where it says so."""

    max_points: int = 15_000  # larger scenes are cut around one instance
    scale: float = 0.1  # sizes are off by this share
    jitter_m: float = 0.0006  # standard deviation of positions
    normal_noise: float = 0.08  # standard deviation of a normal's coordinates
    color_gain: float = 0.25
    color_shift: float = 0.1
    color_noise: float = 0.02  # standard deviation
    least_kept: float = 0.6  # share of the points
    see_through: float = 0.5  # share of the scenes with opacities below 1
    least_opacity: float = 0.3
    scale_noise: float = 0.3  # standard deviation of the logarithm of the points' scales
    floaters: float = 0.01  # share of points lifted off their surface, of no instance
    floater_m: float = 0.01  # standard deviation of how far


def augmented(scene: PreparedScene, config: AugmentationConfig, rng: np.random.Generator) -> PreparedScene:
    """The scene as another recording of it might be."""
    scene = _cut(scene, config.max_points, rng)
    kept = rng.uniform(size=len(scene.cloud)) < rng.uniform(config.least_kept, 1.0)
    if kept.sum() > 1:
        scene = selected(scene, np.flatnonzero(kept))
    lifted = rng.uniform(size=len(scene.cloud)) < rng.uniform(0, config.floaters)
    instance = np.where(lifted & (scene.instance >= NOTHING), NOTHING, scene.instance)
    cloud = _moved(_recolored(scene.cloud, config, rng), lifted, config, rng)
    return replace(scene, cloud=cloud, instance=instance.astype(np.int32))


def _cut(scene: PreparedScene, most: int, rng: np.random.Generator) -> PreparedScene:
    """The points nearest to one instance's middle, sideways, where there are more than `most`."""
    if len(scene.cloud) <= most:
        return scene
    positions = scene.cloud.positions
    ids = np.unique(scene.instance[scene.instance > NOTHING])
    if len(ids):
        centre = positions[scene.instance == rng.choice(ids)].mean(axis=0)
    else:
        centre = positions[rng.integers(len(positions))]
    distance = np.abs(positions - centre)[:, :2].max(axis=1)
    return selected(scene, np.sort(np.argpartition(distance, most)[:most]))


def _recolored(cloud: PointCloud, config: AugmentationConfig, rng: np.random.Generator) -> PointCloud:
    count = len(cloud)
    gain = 1 + rng.uniform(-config.color_gain, config.color_gain, 3)
    shift = rng.uniform(-config.color_shift, config.color_shift, 3)
    colors = cloud.colors * gain + shift + rng.normal(0, config.color_noise, (count, 3))
    opacities = np.ones(count)
    if rng.uniform() < config.see_through:
        opacities = rng.uniform(config.least_opacity, 1.0, count) ** rng.uniform(0.2, 1.0)
    scales = cloud.scales * np.exp(
        rng.normal(0, config.scale_noise * rng.uniform(), count) + rng.normal(0, 0.2)
    )
    return replace(
        cloud,
        colors=np.clip(colors, 0, 1).astype(np.float32),
        opacities=opacities.astype(np.float32),
        scales=scales.astype(np.float32),
    )


def _moved(
    cloud: PointCloud, lifted: np.ndarray, config: AugmentationConfig, rng: np.random.Generator
) -> PointCloud:
    """Turned about z, perhaps mirrored, at another size, with noise."""
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]]
    ) @ np.diag([rng.choice([-1.0, 1.0]), 1.0, 1.0])
    size = 1 + rng.uniform(-config.scale, config.scale)
    count = len(cloud)
    noise = rng.normal(0, config.jitter_m * rng.uniform(), (count, 3))
    noise += rng.normal(0, config.floater_m, (count, 3)) * lifted[:, None]
    # Where a voxel's border lies is chance.
    positions = size * cloud.positions @ turn.T + noise + rng.uniform(0, 0.1, 3)
    normals = cloud.normals @ turn.T + rng.normal(0, config.normal_noise * rng.uniform(), (count, 3))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    return replace(
        cloud,
        positions=positions.astype(np.float32),
        normals=normals.astype(np.float32),
        scales=(cloud.scales * size).astype(np.float32),
    )

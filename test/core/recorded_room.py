"""A small recording made by formulas: balls on a patterned floor, seen from an arc, with exact depth."""

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.frame import Frame
from instascene_core.transforms import look_at

CAMERA = PinholeCamera(160, 120, 150.0, 150.0, 80.0, 60.0)
BALLS = np.array(
    [[0, 0, 0.1, 0.1], [0.25, 0.1, 0.07, 0.07], [-0.2, 0.18, 0.08, 0.08], [0.05, -0.28, 0.06, 0.06]]
)


def pattern(points: np.ndarray) -> np.ndarray:
    """[..., 3] uint8: blotches of several sizes, fixed in the world."""
    values = [
        sum(np.sin(points @ w * k + k) for w, k in zip(rng.normal(size=(9, 3)), np.geomspace(15, 150, 9)))
        for rng in map(np.random.default_rng, range(3))
    ]
    return (127 + 35 * np.stack(values, axis=-1)).clip(0, 255).astype(np.uint8)


def view(index: int, pose: np.ndarray, camera: PinholeCamera = CAMERA) -> Frame:
    """What the camera sees: z = 0 and the balls."""
    rays = camera.rays.astype(np.float64) @ pose[:3, :3].T
    eye = pose[:3, 3]
    with np.errstate(divide="ignore"):
        depth = np.where(rays[..., 2] < -1e-3, -eye[2] / rays[..., 2], np.inf)
    depth[depth > 4] = np.inf
    for x, y, z, radius in BALLS:
        to_center = eye - [x, y, z]
        a, b = (rays**2).sum(-1), (rays * to_center).sum(-1)
        root = b**2 - a * (to_center @ to_center - radius**2)
        hit = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        depth = np.minimum(depth, np.where(hit > 0, hit, np.inf))
    seen = np.isfinite(depth)
    points = eye + rays * np.where(seen, depth, 0)[..., None]
    rgb = np.where(seen[..., None], pattern(points), 0).astype(np.uint8)
    for x, y, z, radius in BALLS:  # darker than the floor, so that depth's edges are edges of colour
        on = np.linalg.norm(points - [x, y, z], axis=-1) < radius + 1e-6
        rgb[on & seen] //= 3
    return Frame(f"{index:03d}", 0.1 * index, camera, pose, rgb, np.where(seen, depth, 0).astype(np.float32))


def recording(count: int = 12, camera: PinholeCamera = CAMERA, seed: int = 0) -> list[Frame]:
    """Views from an unsteady arc of 150°."""
    rng = np.random.default_rng(seed)
    frames = []
    for k, angle in enumerate(np.radians(np.linspace(0, 150, count))):
        tilt, away = rng.uniform(0.5, 1.0), rng.uniform(0.7, 1.0)
        eye = away * np.array([np.cos(angle) * np.cos(tilt), np.sin(angle) * np.cos(tilt), np.sin(tilt)])
        frames.append(view(k, look_at(eye, rng.normal(0, 0.03, 3)), camera))
    return frames

"""A corridor seen from above, with boxes on its floor, and scenes of it made without any computing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.config.tiles import TilesConfig
from instascene_core.config_file import load_config
from instascene_core.datasets import open_dataset
from instascene_core.export.saved_scene import write_recording
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.geometry import mesh as meshes
from instascene_core.instances import Instance, InstanceId, InstanceMap
from instascene_core.objects import CompletedObject
from instascene_core.progress import no_progress
from instascene_core.scene import Scene
from instascene_core.tiles import Job, tiling_of
from instascene_core.transforms import apply

CAMERA = PinholeCamera(32, 24, 16.0, 16.0, 16.0, 12.0)
HEIGHT = 1.5  # metres of the cameras: an image spans 3 m along x and 2.2 m along y
SIDE = 0.2  # metres of a box
# x of the boxes' centres: one in either tile's core, one astride the seam at 1.5 m
FIRST, SEAM, LAST = 0.2, 1.45, 3.3
CAMERAS = (-0.1, -0.05, 0.0, 0.05, 0.1, 1.4, 1.5, 1.6, 2.9, 2.95, 3.0, 3.05, 3.1)  # x
TILES = TilesConfig(size_m=3.0, overlap_m=0.5, roam_m=2.0)
SETTINGS = ("export.formats=[ply, obj, collision, glb, mjcf]", "export.texture.enabled=false")


def corridor(move: np.ndarray | None = None) -> list[Frame]:
    """Views straight down on an empty floor at z = 0, its origin at `move` [3]."""
    frames = []
    for k, x in enumerate(CAMERAS):
        pose = np.diag([1.0, -1.0, -1.0, 1.0])
        pose[:3, 3] = np.array([x, 0, HEIGHT]) + (0 if move is None else move)
        depth = np.full((CAMERA.height, CAMERA.width), HEIGHT, dtype=np.float32)
        rgb = np.full((*depth.shape, 3), 90 + 5 * k, dtype=np.uint8)
        frames.append(Frame(f"{k:03d}", float(k), CAMERA, pose, rgb, depth))
    return frames


def corridor_job(root: Path, move: np.ndarray | None = None, *settings: str) -> Job:
    """The corridor as a recording on disk, to be made in two tiles."""
    if not (root / "in").exists():
        write_recording(root / "in", corridor(move))
    config, dataset = load_config(None, (*SETTINGS, *settings)), open_dataset(root / "in")
    tiling = tiling_of(dataset, config, TILES)
    assert tiling is not None
    origin = {"source": str(root / "in"), "use_depth": True, "use_masks": False}
    return Job(dataset, origin, config, TILES, tiling, root / "out")


def box_at(x: float, number: int) -> CompletedObject:
    """A box on the floor, its middle at x, 0."""
    corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (0, 2)]) * SIDE / 2
    mesh = meshes.convex_hull(corners + np.array([x, 0, 0]))
    count, pose = len(mesh.vertices), np.eye(4)
    pose[:3, 3] = [x, 0, 0]
    return CompletedObject(
        InstanceId(number), mesh, np.full((count, 3), 128, np.uint8), np.ones(count, np.float32),
        np.full(count, 1e-3, np.float32), pose, np.full(3, SIDE), True, SIDE**3, 0.8, 1e-3, 0.9,
        "carving", 0.0, (mesh,),
    )  # fmt: skip


def pretend(places: tuple[float, ...] = (FIRST, SEAM, LAST), problem: Callable | None = None) -> Callable:
    """What stands for `Scene.run`: finds the boxes at `places` on the part of the floor that frames see.

    problem: scene → raises where its run is to fail.
    """

    def run(scene: Scene, until: str = "complete", progress=no_progress, **_) -> dict:
        progress("reconstruct", 0.5, "pretended")
        if problem is not None:
            problem(scene)
        low, high = _seen(scene)
        first, origin, offset = scene.state.ids.highest + 1, scene.origin, scene.world_offset
        found = {first + n: x for n, x in enumerate(x for x in places if low < x < high)}
        support = first + len(found)
        points, labels = _floor(low, high), []
        labels.append(np.full(len(points), support))
        for number, x in found.items():
            own = _surface(x, low, high)
            points = np.concatenate([points, own])
            labels.append(np.full(len(own), number))
        ids = np.concatenate(labels).astype(np.int32)
        instances = InstanceMap(
            tuple(
                _instance(number, "support" if number == support else "object", points[ids == number])
                for number in (*found, support)
            ),
            ids,
            {frame.name: _label_image(frame, found, support) for frame in scene.frames},
        )
        objects = {InstanceId(n): box_at(x, n) for n, x in found.items()}
        scene.restore(
            _gaussians(points), scene.state.frames, instances, objects, highest_id=support,
            world_offset=offset,
        )  # fmt: skip
        scene.origin = origin
        return {}

    return run


def _seen(scene: Scene) -> tuple[float, float]:
    """From which x to which frames see the floor."""
    xs = [_places(f)[f.depth > 0][:, 0] for f in scene.frames if f.depth is not None]
    everything = np.concatenate(xs)
    return float(everything.min()), float(everything.max())


def _places(frame: Frame) -> np.ndarray:
    """[H, W, 3] what pixels show, where they show the floor."""
    points = frame.camera.back_project(np.full((24, 32), HEIGHT, np.float32)).reshape(-1, 3)
    return apply(frame.world_from_camera, points).reshape(24, 32, 3)


def _floor(low: float, high: float) -> np.ndarray:
    x, y = np.meshgrid(np.arange(low, high, 0.1), np.arange(-1, 1, 0.1))
    return np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)


def _surface(x: float, low: float, high: float) -> np.ndarray:
    """Points of a box's top and sides, those that are seen."""
    steps = np.linspace(-SIDE / 2, SIDE / 2, 9)
    a, b = (grid.ravel() for grid in np.meshgrid(steps, steps))
    top = np.stack([a, b, np.full(a.size, SIDE)], axis=1)
    side = np.stack([a, np.full(a.size, -SIDE / 2), b + SIDE / 2], axis=1)
    points = np.concatenate([top, side]) + np.array([x, 0, 0])
    return points[(points[:, 0] > low) & (points[:, 0] < high)]


def _instance(number: int, kind: str, points: np.ndarray) -> Instance:
    low, high = points.min(axis=0), points.max(axis=0)
    return Instance(InstanceId(number), kind, 0.9, low, high, np.eye(16, dtype=np.float32)[0], len(points), 3)


def _label_image(frame: Frame, found: dict[int, float], support: int) -> np.ndarray:
    image = np.full((24, 32), support, dtype=np.int32)
    places = _places(frame)
    for number, x in found.items():
        image[(np.abs(places[..., :2] - [x, 0]) < SIDE / 2).all(axis=-1)] = number
    assert frame.depth is not None
    image[frame.depth == 0] = UNLABELLED
    return image


def _gaussians(points: np.ndarray) -> GaussianModel:
    count = len(points)
    return GaussianModel(
        means=torch.from_numpy(points.astype(np.float32)),
        quaternions=torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        log_scales=torch.full((count, 2), -4.0),
        logit_opacities=torch.full((count,), 3.0),
        sh=torch.zeros(count, 1, 3),
        features=torch.eye(16)[:1].repeat(count, 1),
    )

"""Procedural scenes with their reconstruction, kept in a folder so that the next run starts from them."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.provenance import CORE, Sources, cache_key
from benchmarks.records import COMPLETION, DECOMPOSITION
from instascene_core.camera import PinholeCamera
from instascene_core.config import Config, ReconstructionConfig, SyntheticConfig
from instascene_core.files import atomic_path
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.gaussians_ply import read_gaussians, write_gaussians
from instascene_core.scene import Scene
from instascene_core.synthetic import generate_scene

FRAMES = Sources((f"{CORE}.synthetic",))
RECONSTRUCTION = Sources(("benchmarks.cached_scenes",), unused=(*DECOMPOSITION, *COMPLETION))

logger = logging.getLogger("benchmarks")


@dataclass(frozen=True)
class CachedScene:
    """Frames with true labels, and the Gaussians they were reconstructed to."""

    name: str
    frames: list[Frame]
    gaussians: GaussianModel

    @property
    def truth(self) -> list[np.ndarray]:
        """Per frame [H, W] int32 the true ids."""
        return [depth_and_labels(frame)[1] for frame in self.frames]


def depth_and_labels(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """[H, W] float32 metres and [H, W] int32 ids of a frame that is known to have both."""
    assert frame.depth is not None and frame.labels is not None, f"{frame.name} lacks depth or labels"
    return frame.depth, frame.labels


def cached_scene(
    name: str, scene: SyntheticConfig, config: ReconstructionConfig, depth: bool, cache: Path, trust: bool
) -> CachedScene:
    """The scene of `scene`, reconstructed with or without its depth.

    Its files are named by everything the result depends on, the code included; trust: take the newest
    of that name, whatever settings and code made them.
    """
    what = f"{name}-{'rgbd' if depth else 'rgb'}"
    frames_path = cache / f"{name}-{cache_key(FRAMES, scene)}.npz"
    ply = cache / f"{what}-{cache_key(RECONSTRUCTION, scene, Config(reconstruction=config))}.ply"
    if trust:
        frames_path, ply = _newest(cache, f"{name}-*.npz", frames_path), _newest(cache, f"{what}-*.ply", ply)
    if not frames_path.exists():
        logger.info("%s: rendering", name)
        _write_frames(frames_path, list(generate_scene(scene).frames()))
    frames = _read_frames(frames_path)
    if not ply.exists():
        logger.info("%s: reconstruction %s depth", name, "with" if depth else "without")
        builder = Scene(Config(reconstruction=config))
        for frame in frames:
            builder.add_frame(frame if depth else frame.with_(depth=None))
        builder.reconstruct()
        assert builder.gaussians is not None, "the scene was just reconstructed"
        write_gaussians(ply, builder.gaussians)
    return CachedScene(name, frames, read_gaussians(ply).gaussians)


def _newest(cache: Path, pattern: str, otherwise: Path) -> Path:
    return max(cache.glob(pattern), key=lambda path: path.stat().st_mtime, default=otherwise)


def _write_frames(path: Path, frames: list[Frame]) -> None:
    camera = frames[0].camera
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            intrinsics=np.array([camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy]),
            poses=np.stack([f.world_from_camera for f in frames]),
            rgb=np.stack([f.rgb for f in frames]),
            depth=np.stack([depth_and_labels(f)[0] for f in frames]),
            labels=np.stack([depth_and_labels(f)[1] for f in frames]),
        )


def _read_frames(path: Path) -> list[Frame]:
    with np.load(path, allow_pickle=False) as file:
        width, height, *rest = file["intrinsics"]
        camera = PinholeCamera(int(width), int(height), *map(float, rest))
        arrays = zip(file["poses"], file["rgb"], file["depth"], file["labels"], strict=True)
        return [Frame(f"{i:06d}", 0.1 * i, camera, *values) for i, values in enumerate(arrays)]

"""Procedural scenes with their reconstruction, kept in a folder so that the next run starts from them."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.provenance import CORE, Sources, cache_key, digest
from benchmarks.records import COMPLETION, DECOMPOSITION
from instascene_core.camera import PinholeCamera
from instascene_core.config import Config, ReconstructionConfig, SyntheticConfig
from instascene_core.files import atomic_path, write_json
from instascene_core.frame import IMAGES, Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.gaussians_ply import read_gaussians, write_gaussians
from instascene_core.geometry import TriangleMesh
from instascene_core.scene import Reconstruction, Scene
from instascene_core.synthetic import generate_scene

FRAMES = Sources((f"{CORE}.synthetic",))
RECONSTRUCTION = Sources(("benchmarks.cached_scenes",), unused=(*DECOMPOSITION, *COMPLETION))

logger = logging.getLogger("benchmarks")


@dataclass(frozen=True)
class CachedScene:
    """Frames with true labels, and the Gaussians they were reconstructed to."""

    name: str
    frames: list[Frame]
    reconstruction: Reconstruction  # of these frames; its poses are the refined ones
    seconds: float  # the reconstruction took; not today, where it was kept

    @property
    def gaussians(self) -> GaussianModel:
        return self.reconstruction.gaussians

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
    frames_path = cache / f"{name}-{cache_key(FRAMES, scene)}.npz"
    key = cache_key(RECONSTRUCTION, scene, Config(reconstruction=config))
    if trust:
        frames_path = _newest(cache, f"{name}-*.npz", frames_path)
    frames = rendered_frames(name, scene, frames_path)
    made, seconds = cached_reconstruction(name, frames, config, depth, cache, key, trust)
    return CachedScene(name, frames, made, seconds)


def rendered_frames(name: str, scene: SyntheticConfig, path: Path) -> list[Frame]:
    """The frames of a scene from the file `path`, rendered to it first where it is not there."""
    if not path.exists():
        logger.info("%s: rendering", name)
        _write_frames(path, list(generate_scene(scene).frames()))
    return _read_frames(path)


def cached_reconstruction(
    name: str,
    frames: Sequence[Frame],
    config: ReconstructionConfig,
    depth: bool,
    cache: Path,
    key: str,
    trust: bool = False,
) -> tuple[Reconstruction, float]:
    """The frames reconstructed with or without their depth, and the seconds that this took.

    key: names everything that the result depends on; trust: take the newest of that name, whatever its key.
    """
    what = f"{name}-{'rgbd' if depth else 'rgb'}"
    facts = cache / f"{what}-{key}.json"  # written last: where it is there, the Gaussians are as well
    if trust:
        facts = _newest(cache, f"{what}-*.json", facts)
    ply, estimated = facts.with_suffix(".ply"), facts.with_name(f"estimated-{facts.stem}.npz")
    given = tuple(frame if depth else frame.with_(depth=None) for frame in frames)
    if not facts.exists():
        logger.info("%s: reconstruction %s depth", name, "with" if depth else "without")
        builder = Scene(Config(reconstruction=config))
        for frame in given:
            builder.add_frame(frame)
        start = time.perf_counter()
        builder.reconstruct()
        seconds, made = time.perf_counter() - start, builder.state.require_reconstruction()
        write_gaussians(ply, made.gaussians)
        _write_depths(estimated, made.posed_frames)
        background = None if made.background is None else made.background.tolist()
        poses = [frame.world_from_camera.tolist() for frame in made.posed_frames]
        write_json(facts, {"seconds": seconds, "background": background, "poses": poses})
    known = json.loads(facts.read_text())
    depths = _read_depths(estimated)
    posed = tuple(
        frame.with_(world_from_camera=np.array(pose), estimated_depth=depths.get(frame.name))
        for frame, pose in zip(given, known["poses"], strict=True)
    )
    background = None if known["background"] is None else torch.tensor(known["background"])
    return Reconstruction(posed, read_gaussians(ply).gaussians, background), known["seconds"]


def _write_depths(path: Path, frames: Sequence[Frame]) -> None:
    """The depth that stereo estimated, by frame name; no file where a sensor measured."""
    depths: dict[str, Any] = {f.name: f.estimated_depth for f in frames if f.estimated_depth is not None}
    if depths:
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **depths)


def _read_depths(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def content_key(sources: Sources, frames: Sequence[Frame], config: Config) -> str:
    """Names a result of these sources, of this configuration and of the contents of these frames."""
    parts = [cache_key(sources, config).encode()]
    for frame in frames:
        camera = frame.camera
        parts.append(
            repr(
                (frame.name, camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
            ).encode()
        )
        arrays = (*(getattr(frame, name) for name in IMAGES), frame.world_from_camera)
        parts += [b"-" if array is None else np.ascontiguousarray(array).tobytes() for array in arrays]
    return digest(b"".join(parts))


def true_meshes(scene: SyntheticConfig, cache: Path) -> list[tuple[int, str, TriangleMesh]]:
    """(id, kind, exact mesh in the world frame) of every object of a scene."""
    path = cache / f"truth-{scene.seed}-{cache_key(FRAMES, scene)}.npz"
    if not path.exists():
        things = generate_scene(scene).objects
        arrays: dict[str, Any] = {"ids": [o.id for o in things], "kinds": [o.kind for o in things]}
        for thing in things:
            mesh = thing.mesh
            arrays |= {f"vertices{thing.id}": mesh.vertices, f"triangles{thing.id}": mesh.triangles}
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **arrays)
    with np.load(path, allow_pickle=False) as file:
        return [
            (int(i), str(kind), TriangleMesh(file[f"vertices{i}"], file[f"triangles{i}"]))
            for i, kind in zip(file["ids"], file["kinds"], strict=True)
        ]


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

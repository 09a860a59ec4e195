"""Clouds of procedural rooms and tables, as fused views give them: what the network on points learns from.

The scenes, sensors and errors are those of the segmenter's training; the views of a scene are registered and
fused as in use (`segmentation.fused_surface`), so that points are noisy and incomplete as they will be.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from instascene_core.config import SegmentationConfig
from instascene_core.config.points import PointsConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry.depth_maps import points_of_depth
from instascene_core.progress import no_progress
from instascene_core.segmentation import find_support
from instascene_core.segmentation.fused_surface.surface import FusedSurface, fuse_surface
from instascene_core.segmentation.points_network.scene_points import cloud_of_surface, near_objects
from instascene_core.segmentation.points_network.superpoints import find_superpoints
from instascene_core.synthetic.unseen import HELD_OUT
from instascene_core.training.points.prepared import NOTHING, PreparedScene, selected, write_prepared
from instascene_core.training.segmenter.scenes import Prints, scene_views

logger = logging.getLogger(__name__)
UP = np.array([0.0, 0.0, 1.0])
MIN_VIEWS, MAX_VIEWS = 6, 16
PIXEL_STEP = 2  # every so many pixels of a row and column say whose an element is
MIN_OBJECTS, MIN_OBJECT_POINTS = 2, 40  # a scene must show so many things with so many points each
# Layouts of scenes of unseen kinds → how often: those of the benchmark of decomposition.
UNSEEN_LAYOUTS: tuple[str, ...] = (
    "pile", "spread", "heap", "bin", "shelf", "stacks", "flush", "nested", "contents", "flat",
)  # fmt: skip
UNSEEN_SHARES = {layout: 1 / len(UNSEEN_LAYOUTS) for layout in UNSEEN_LAYOUTS}


@dataclass(frozen=True)
class _Kind:
    """Which things a scene is made of, and how often they lie how; None = as in training."""

    stream: int  # of random numbers
    kinds: tuple[str, ...] | None
    shares: dict[str, float] | None


KINDS = {"training": _Kind(31, None, None), "unseen": _Kind(32, HELD_OUT, UNSEEN_SHARES)}


def make_scene(kind: str, seed: int, config: PointsConfig) -> PreparedScene | None:
    """Scene `seed` of a kind, the same for the same seed; None where it shows too little."""
    what = KINDS[kind]
    rng = np.random.default_rng([what.stream, seed])
    views = list(
        scene_views(rng, Prints(rng, 6), int(rng.integers(MIN_VIEWS, MAX_VIEWS + 1)), what.kinds, what.shares)
    )
    frames = [replace(view.frame, name=str(i)) for i, view in enumerate(views)]
    settings = SegmentationConfig()
    support = find_support(frames, UP, settings.support)
    surface = fuse_surface(frames, None, settings.fused_surface, None, no_progress)
    if surface is None:
        return None
    owner = true_owner(surface, frames)
    kept = near_objects(surface, support, config)
    if np.count_nonzero(np.bincount(owner[kept])[1:] >= MIN_OBJECT_POINTS) < MIN_OBJECTS:
        return None
    cloud = cloud_of_surface(surface)
    everything = PreparedScene(cloud, np.zeros(len(cloud), np.int32), owner, np.zeros(len(cloud), np.int16))
    scene = selected(everything, np.flatnonzero(kept))
    superpoint = find_superpoints(scene.cloud, config.superpoints)
    return replace(scene, superpoint=superpoint.astype(np.int32))


def true_owner(surface: FusedSurface, frames: list[Frame]) -> np.ndarray:
    """[K] int32: the id that most pixels at an element have in the true label images, NOTHING = none."""
    count = 1 + max(int(frame.require_labels().max(initial=0)) for frame in frames)
    votes = np.zeros((len(surface.positions), count), dtype=np.int32)
    tree = cKDTree(surface.positions)
    step = (slice(None, None, PIXEL_STEP),) * 2
    for frame in frames:
        points = points_of_depth(frame.require_depth(), frame.camera)[step].reshape(-1, 3)
        labels = np.maximum(frame.require_labels()[step].ravel(), NOTHING)
        measured = points[:, 2] > 0
        world = points[measured] @ frame.world_from_camera[:3, :3].T + frame.world_from_camera[:3, 3]
        distance, element = tree.query(world, distance_upper_bound=2 * surface.spacing)
        hit = np.isfinite(distance)
        np.add.at(votes, (element[hit], labels[measured][hit]), 1)
    return votes.argmax(axis=1).astype(np.int32)


def scene_path(folder: Path, kind: str, seed: int) -> Path:
    return Path(folder) / f"{kind}_{seed:05d}.npz"


def write_scenes(folder: Path, kind: str, seeds: range, config: PointsConfig) -> None:
    """Make those scenes that are not there yet; a scene that shows too little is left out, and said."""
    if kind not in KINDS:
        raise InputError(f"There are no scenes of kind '{kind}'; known are {', '.join(KINDS)}.")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = scene_path(folder, kind, seed)
        if path.exists():
            continue
        scene = make_scene(kind, seed, config)
        if scene is None:
            logger.info("%s: shows too little", path.stem)
            continue
        write_prepared(path, scene)
        logger.info("%s: %d points, %d superpoints", path.stem, len(scene.cloud), scene.superpoint.max() + 1)

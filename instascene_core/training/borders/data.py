"""Views with labels as they are looked up in the fused surface, and the true ones: what borders learn from.

Scenes of the segmenter's training through sensors that measure coarsely, from a few places each.  The surface
is fused as in use and its elements get their true owners, so the labels err as a sensor makes them err and in
nothing else.  One file a scene, so that the work can be split over processes and goes on where it ended.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from instascene_core.config import SegmentationConfig
from instascene_core.files import atomic_path
from instascene_core.frame import UNLABELLED
from instascene_core.progress import no_progress
from instascene_core.registration import register
from instascene_core.segmentation import find_support
from instascene_core.segmentation.edges import border_offset
from instascene_core.segmentation.fused_surface.evidence import collect_evidence, from_bytes
from instascene_core.segmentation.fused_surface.lookup import SurfaceLookup, fill_foreground
from instascene_core.segmentation.network import limit_size, network_of
from instascene_core.training.segmenter.evidence import UP, true_owner
from instascene_core.training.segmenter.scenes import Prints, scene_views

logger = logging.getLogger(__name__)
SENSORS = {"d435": 0.5, "kinect": 0.2, "tof": 0.1, "lidar": 0.2}
MIN_VIEWS, MAX_VIEWS = 6, 14


@dataclass(frozen=True)
class BorderScene:
    """Views of one scene."""

    colors: np.ndarray  # [N, H, W, 3] uint8
    depths: np.ndarray  # [N, H, W] float32 metres, 0 = none
    labels: np.ndarray  # [N, H, W] uint8 as looked up, 0 = no object
    truth: np.ndarray  # [N, H, W] uint8 the same ids where they really are
    offset: float  # pixels that borders of `labels` lie from edges (`edges.border_offset`)


def gather_scene(seed: int, index: int, segmentation: SegmentationConfig) -> BorderScene | None:
    """Scene `index`; None where it shows no objects."""
    rng = np.random.default_rng([seed, 78, index])
    count = int(rng.integers(MIN_VIEWS, MAX_VIEWS + 1))
    taken = scene_views(rng, Prints(rng, 6), count, sensors=SENSORS)
    frames = [replace(view.frame, name=str(i)) for i, view in enumerate(taken)]
    frames = list(register(frames).frames)
    support = find_support(frames, UP, segmentation.support)
    frames = [limit_size(frame, segmentation.max_pixels) for frame in frames]
    surface, network = segmentation.fused_surface, segmentation.network
    evidence = collect_evidence(
        frames, network_of(network), support, UP, surface, network.border_steps, no_progress
    )
    if evidence is None:
        return None
    truth = [np.maximum(frame.require_labels(), 0) for frame in frames]
    owner = true_owner(evidence, truth)
    lookup = SurfaceLookup(evidence.surface, support, surface)
    labels = []
    for frame in frames:
        foreground = from_bytes(evidence.foreground[frame.name])
        element = lookup.find_elements(frame, foreground, decided=True)
        found = np.where((element >= 0) & (owner[element] > 0), owner[element], UNLABELLED)
        found = fill_foreground(found, foreground, network.min_foreground, surface.evidence.fill_pixels)
        labels.append(np.maximum(found, 0))
    return BorderScene(
        np.stack([frame.rgb for frame in frames]),
        np.stack([frame.require_depth() for frame in frames]),
        np.stack(labels).astype(np.uint8),
        np.stack(truth).astype(np.uint8),
        border_offset(labels, [frame.rgb for frame in frames]),
    )


def gather(folder: Path, scenes: range, seed: int, segmentation: SegmentationConfig) -> None:
    """Write those scenes that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in scenes:
        path = folder / f"scene_{index:05d}.npz"
        if path.exists():
            continue
        scene = gather_scene(seed, index, segmentation)
        arrays = {} if scene is None else vars(scene)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        logger.info("%s: %d views", path.name, 0 if scene is None else len(scene.labels))


def read_scene(path: Path) -> BorderScene | None:
    """What `gather` wrote; None for a scene without objects."""
    with np.load(path, allow_pickle=False) as file:
        if "labels" not in file:
            return None
        arrays = {name: file[name] for name in ("colors", "depths", "labels", "truth")}
        return BorderScene(**arrays, offset=float(file["offset"]))

"""Evidence of whole procedural scenes, gathered as in use, with the truth: what the judges learn from.

Scenes of the segmenter's training, seen from 8 to 40 places by one sensor, are fused and gathered into
patches.  One file a scene, so that the work can be split over processes and goes on where it ended.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from instascene_core.config import SegmentationConfig
from instascene_core.files import atomic_path
from instascene_core.geometry import Plane
from instascene_core.progress import no_progress
from instascene_core.registration import register
from instascene_core.segmentation import Support, find_support
from instascene_core.segmentation.fused_surface.contacts import PatchPairs
from instascene_core.segmentation.fused_surface.evidence import Evidence, collect_evidence
from instascene_core.segmentation.fused_surface.surface import FusedSurface
from instascene_core.segmentation.network import limit_size, network_of
from instascene_core.training.segmenter.scenes import Prints, scene_views

logger = logging.getLogger(__name__)
UP = np.array([0.0, 0.0, 1.0])
MIN_VIEWS, MAX_VIEWS = 8, 40


@dataclass(frozen=True)
class SceneEvidence:
    """What is known of one scene, and what is true."""

    surface: FusedSurface
    patch: np.ndarray  # [K] int64
    pairs: PatchPairs
    border_share: np.ndarray  # [K]
    support: Support | None  # plane and noise only
    owner: np.ndarray  # [K] int64 true id of most of an element's sightings, 0 = no object


def true_owner(evidence: Evidence, labels: list[np.ndarray]) -> np.ndarray:
    """[K] int64: the id that most of an element's pixels have in the true label images, 0 = none."""
    count = 1 + max(int(image.max(initial=0)) for image in labels)
    votes = np.zeros((len(evidence.surface.positions), count))
    for image, element in zip(labels, evidence.elements, strict=True):
        hit = element >= 0
        np.add.at(votes, (element[hit], np.maximum(image[hit], 0)), 1)
    return votes.argmax(axis=1)


def gather_scene(
    seed: int, index: int, segmentation: SegmentationConfig, views: int | None = None
) -> SceneEvidence | None:
    """The evidence of scene `index` from that many views, None = 8 to 40; None where it shows no objects."""
    rng = np.random.default_rng([seed, 77, index])
    count = int(rng.integers(MIN_VIEWS, MAX_VIEWS + 1)) if views is None else views
    taken = scene_views(rng, Prints(rng, 6), count)
    frames = [replace(view.frame, name=str(i)) for i, view in enumerate(taken)]
    frames = list(register(frames).frames)
    support = find_support(frames, UP, segmentation.support)
    frames = [limit_size(frame, segmentation.max_pixels) for frame in frames]
    evidence = collect_evidence(
        frames, network_of(segmentation.network), support, UP, segmentation.fused_surface,
        segmentation.network.border_steps, no_progress,
    )  # fmt: skip
    if evidence is None:
        return None
    owner = true_owner(evidence, [frame.require_labels() for frame in frames])
    return SceneEvidence(
        evidence.surface, evidence.patch, evidence.pairs, evidence.border_share, support, owner
    )


SURFACE = ("positions", "normals", "colors", "views", "foreground")
PAIRS = ("first", "second", "touching", "contact", "seen", "features")


def write_scene(path: Path, scene: SceneEvidence | None) -> None:
    """Atomically; an empty file stands for a scene without objects."""
    arrays: dict[str, np.ndarray] = {}
    if scene is not None:
        arrays = {f"surface.{name}": getattr(scene.surface, name).astype(np.float32) for name in SURFACE}
        arrays |= {f"pairs.{name}": getattr(scene.pairs, name) for name in PAIRS}
        arrays |= {"patch": scene.patch, "border_share": scene.border_share, "owner": scene.owner}
        arrays["spacing"] = np.array(scene.surface.spacing)
        if scene.support is not None and scene.support.plane is not None:
            plane = scene.support.plane
            arrays["plane"] = np.array(
                [*plane.normal, plane.offset, scene.support.tolerance, scene.support.noise]
            )
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType] names are free


def shows_objects(path: Path) -> bool:
    """Whether `write_scene` had a scene to write there."""
    with np.load(path, allow_pickle=False) as file:
        return "patch" in file


def read_scene(path: Path) -> SceneEvidence | None:
    """What `write_scene` wrote."""
    with np.load(path, allow_pickle=False) as file:
        if "patch" not in file:
            return None
        values = {name: file[f"surface.{name}"].astype(np.float64) for name in SURFACE}
        surface = FusedSurface(**values, spacing=float(file["spacing"]))
        pairs = PatchPairs(**{name: file[f"pairs.{name}"] for name in PAIRS})
        support = None
        if "plane" in file:
            *normal, offset, tolerance, noise = file["plane"].tolist()
            support = Support(Plane(np.array(normal), offset), None, (), tolerance, noise)
        return SceneEvidence(surface, file["patch"], pairs, file["border_share"], support, file["owner"])


def gather(folder: Path, scenes: range, seed: int, segmentation: SegmentationConfig) -> None:
    """Write the evidence of those scenes that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in scenes:
        path = folder / f"scene_{index:05d}.npz"
        if path.exists():
            continue
        scene = gather_scene(seed, index, segmentation)
        write_scene(path, scene)
        logger.info("%s: %d patches", path.name, 0 if scene is None else int(scene.patch.max()) + 1)

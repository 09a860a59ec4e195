"""Colours of scanned objects in clutter: `python -m benchmarks.generation_scanned FOLDER`.

FOLDER holds recordings of scanned objects with true masks and meshes (as `benchmarks.geometry --clutter`).
Each object is completed, by its true masks, from eight frames of an arc of the recording; the frames of the
rest show what the colours are on the sides that those did not see.  Writes to
benchmarks/results/generation.json; the recordings are not part of the repository.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.generation import METHODS, measure_object, summary
from benchmarks.generation_scores import ImageScores
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.completion.priors.multiview.views import ray_scene
from instascene_core.datasets import open_dataset
from instascene_core.datasets.images import read_labels
from instascene_core.frame import Frame, labels_from_image
from instascene_core.geometry import TriangleMesh
from instascene_core.instances import InstanceId
from instascene_core.metrics.objects import load_truth
from instascene_core.segmentation import find_support_and_up
from instascene_core.segmentation.support import plane_of
from instascene_core.transforms import apply, inverse

RECORDINGS = ("d1", "d2")  # those with exact poses
GIVEN, ARC = 8, 100.0  # frames, and degrees about the scene that they are taken from
LEAST_PIXELS = 400  # of an object in a frame that is compared
SAME_PLACE = 0.006  # metres
CHOSEN = (
    "single view",
    "alternated",
    "averaged",
    "averaged + warping",
    "averaged + warping + joint optimisation",
    "the same in one step",
    "one step + joint optimisation",
    "one step + second stage",
    "one step, depth has half a vote",
    "one step, untrained",
)

logger = logging.getLogger("benchmarks.generation_scanned")


def read_frames(folder: Path) -> list[Frame]:
    """The recording's frames with their true masks as labels."""
    masks = folder / "ground_truth" / "masks"
    found = []
    for frame in open_dataset(folder):
        labels = labels_from_image(read_labels(masks / f"{Path(frame.name).stem}.png"))
        found.append(frame.with_(labels=labels))
    return found


def labels_of(frame: Frame) -> np.ndarray:
    """[H, W] int32 of a frame that has them."""
    assert frame.labels is not None
    return frame.labels


def of_an_arc(frames: Sequence[Frame], center: np.ndarray) -> tuple[list[Frame], list[Frame]]:
    """GIVEN frames whose cameras stand within ARC degrees about `center` from the first one's side, and all
    others outside the arc."""
    toward = np.stack([f.world_from_camera[:2, 3] - center[:2] for f in frames])
    azimuth = np.rad2deg(np.arctan2(toward[:, 1], toward[:, 0]))
    apart = (azimuth - azimuth[0]) % 360
    within = np.flatnonzero(apart <= ARC)
    taken = within[np.unique(np.linspace(0, len(within) - 1, GIVEN).astype(int))]
    return [frames[i] for i in taken], [frames[i] for i in np.flatnonzero(apart > ARC)]


@dataclass(frozen=True)
class Shown:
    """The part of a frame that shows an object."""

    rgb: np.ndarray  # [H, W, 3] in [0, 1]
    rays: np.ndarray  # [H, W, 6] float32 origin, direction (camera z = 1); world
    mask: np.ndarray  # [H, W] bool: the object
    seen: np.ndarray  # [H, W] bool: of these, places that a given frame saw


def shown_in(number: int, given: Sequence[Frame], others: Sequence[Frame]) -> list[Shown]:
    """What `others` show of an object of which the `given` ones are told."""
    found = []
    for frame in others:
        assert frame.depth is not None
        mask = (labels_of(frame) == number) & (frame.depth > 0)
        if mask.sum() < LEAST_PIXELS:
            continue
        cut = tuple(
            slice(int(hit[0]), int(hit[-1]) + 1) for hit in (np.flatnonzero(mask.any(axis=k)) for k in (1, 0))
        )
        mask = mask[cut]
        directions = frame.camera.rays[cut] @ frame.world_from_camera[:3, :3].T
        eyes = np.broadcast_to(frame.world_from_camera[:3, 3], directions.shape)
        points = eyes[mask] + frame.depth[cut][mask][:, None] * directions[mask]  # where the object is
        seen = np.zeros(mask.shape, dtype=bool)
        seen[mask] = _seen(points, number, given)
        rays = np.concatenate([eyes, directions], axis=-1).astype(np.float32)
        found.append(Shown(frame.rgb[cut] / np.float32(255), rays, mask, seen))
    return found


def scores(mesh: TriangleMesh, colors: np.ndarray, shown: Sequence[Shown]) -> dict[str, float]:
    """PSNR and SSIM of a coloured mesh (world, 0 … 255); empty where too little was not seen."""
    from instascene_core.geometry.open3d_loader import open3d

    scene, found = ray_scene(mesh), ImageScores()
    for part in shown:
        hit = scene.cast_rays(open3d.core.Tensor(part.rays), nthreads=1)
        both = part.mask & np.isfinite(hit["t_hit"].numpy())
        uv = hit["primitive_uvs"].numpy()[both]
        corners = mesh.triangles[hit["primitive_ids"].numpy()[both].astype(np.int64)]
        weights = np.concatenate([1 - uv.sum(axis=1, keepdims=True), uv], axis=1)
        made = np.zeros(part.rgb.shape)
        made[both] = np.einsum("nk,nkc->nc", weights, colors[corners].astype(np.float64)) / 255
        found.add(part.rgb, made, both, part.seen)
    return found.figures() if found.count("unseen") >= LEAST_PIXELS else {}


def _seen(points: np.ndarray, number: int, frames: Sequence[Frame]) -> np.ndarray:
    found = np.zeros(len(points), dtype=bool)
    for frame in frames:
        assert frame.depth is not None
        pixels, z = frame.camera.project(apply(inverse(frame.world_from_camera), points))
        inside = (z > 0) & (pixels >= 0).all(axis=1)
        inside &= (pixels < (frame.camera.width, frame.camera.height)).all(axis=1)
        column, row = np.where(inside[:, None], pixels, 0).astype(int).T
        near = np.abs(frame.depth[row, column] - z) < SAME_PLACE
        found |= inside & near & (labels_of(frame)[row, column] == number)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="of the recordings d1 and d2")
    parser.add_argument("--output", type=Path, default=RESULTS / "generation.json")
    parser.add_argument("--weights", type=Path, help="of the multi-view model; default: the package's")
    parser.add_argument("--things", type=int, default=12)
    parser.add_argument("--methods", nargs="*", default=list(CHOSEN), choices=list(METHODS))
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    made_by, rows, things = provenance_of("generation"), [], 0
    for name in RECORDINGS:
        frames = read_frames(chosen.folder / name)
        support = plane_of(find_support_and_up(frames, "auto")[0])
        center = np.mean([f.world_from_camera[:3, 3] for f in frames], axis=0)
        given, others = of_an_arc(frames, center)
        for body, truth in load_truth(chosen.folder / name / "ground_truth"):
            number = truth.truth_id
            if things == chosen.things or not any((labels_of(f) == number).any() for f in given):
                continue
            shown = shown_in(number, given, others)
            found = measure_object(
                f"{name} {truth.name}",
                (given, InstanceId(number), support),
                body,
                chosen.methods,
                chosen.weights,
                lambda mesh, colors, shown=shown: scores(mesh, colors, shown),
            )
            if found and "psnr_unseen" in found[0]:
                rows, things = rows + found, things + 1
                for row in found:
                    logger.info("%s", {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
    found = summary(rows)
    write_results(chosen.output, "generation", {"scanned": found}, {"scanned": made_by["scanned"]})
    logger.info("written to %s", chosen.output)


if __name__ == "__main__":
    main()

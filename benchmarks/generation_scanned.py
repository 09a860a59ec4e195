"""Colours of scanned objects in clutter: `python -m benchmarks.generation_scanned FOLDER`.

FOLDER holds recordings of scanned objects with true masks and meshes (as `benchmarks.geometry --clutter`).
Each object is completed, by its true masks, from eight frames of an arc of the recording; the frames of the
rest show what the colours are on the sides that those did not see.  Writes to
benchmarks/results/generation.json; the recordings are not part of the repository.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.generation import METHODS, RULE, colored
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.completion import complete_observation, make_prior, observe
from instascene_core.completion.priors.multiview.views import ray_scene
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ConvexPartsConfig
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.datasets import open_dataset
from instascene_core.datasets.images import read_labels
from instascene_core.errors import InputError
from instascene_core.frame import Frame, labels_from_image
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.instances import InstanceId
from instascene_core.segmentation import find_support_and_up
from instascene_core.segmentation.support import plane_of
from instascene_core.transforms import apply, inverse

RECORDINGS = ("d1", "d2")  # those with exact poses
GIVEN, ARC = 8, 100.0  # frames, and degrees about the scene that they are taken from
LEAST_PIXELS = 400  # of an object in a frame that is compared
SAME_PLACE = 0.006  # metres
CHOSEN = (
    "averaged + warping",
    "the same in one step",
    "one step + joint optimisation",
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


def unseen_error(
    mesh: TriangleMesh, colors: np.ndarray, number: int, given: Sequence[Frame], others: Sequence[Frame]
) -> tuple[float, int]:
    """Sum of squared colour errors (0 … 1, mean of channels) and number of the pixels of other frames that
    show the object where no given frame saw it."""
    from instascene_core.geometry.open3d_loader import open3d

    scene, total, count = ray_scene(mesh), 0.0, 0
    for frame in others:
        assert frame.depth is not None
        rows, columns = np.nonzero((labels_of(frame) == number) & (frame.depth > 0))
        if len(rows) < LEAST_PIXELS:
            continue
        rows, columns = rows[::3], columns[::3]
        local = frame.camera.rays[rows, columns]
        directions = local @ frame.world_from_camera[:3, :3].T
        eye = frame.world_from_camera[:3, 3]
        rays = np.concatenate([np.broadcast_to(eye, directions.shape), directions], axis=1)
        hit = scene.cast_rays(open3d.core.Tensor(rays.astype(np.float32)), nthreads=1)
        points = eye + frame.depth[rows, columns, None] * directions  # where the object is
        used = np.isfinite(hit["t_hit"].numpy()) & ~_seen(points, number, given)
        uv = hit["primitive_uvs"].numpy()[used]
        corners = colors[mesh.triangles[hit["primitive_ids"].numpy()[used].astype(np.int64)]].astype(
            np.float64
        )
        weights = np.concatenate([1 - uv.sum(axis=1, keepdims=True), uv], axis=1)
        made = np.einsum("nk,nkc->nc", weights, corners) / 255
        total += float(((made - frame.rgb[rows, columns][used] / 255) ** 2).mean(axis=1).sum())
        count += int(used.sum())
    return total, count


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


def measure(
    number: int, given: list[Frame], others: list[Frame], support: Plane | None, weights: Path | None
) -> dict[str, tuple[float, float]]:
    """PSNR of unseen pixels and seconds by method; empty where too few are compared."""
    config = CompletionConfig(convex_parts=ConvexPartsConfig(max_parts=1))
    up = np.array([0.0, 0.0, 1.0])
    try:
        observation = observe(given, InstanceId(number), support, up, config)
        result = complete_observation(observation, make_prior("learned", config), config, 1, 0)
    except InputError as error:
        logger.info("object %d: %s", number, error)
        return {}
    found = {}
    for method in (RULE, *CHOSEN):
        start, mesh, colors = time.perf_counter(), result.mesh, result.colors
        if method != RULE:
            changed = replace(config, multiview=MultiviewConfig(**METHODS[method]))
            mesh, colors = _colored(observation, result, changed, weights, method)
        seconds = time.perf_counter() - start
        total, count = unseen_error(mesh, colors, number, given, others)
        if count < LEAST_PIXELS:
            return {}
        found[method] = (-10 * float(np.log10(max(total / count, 1e-9))), seconds)
    return found


def _colored(observation, result, config: CompletionConfig, weights: Path | None, method: str):
    from tempfile import TemporaryDirectory

    from benchmarks.generation import UNTRAINED, untrained_weights

    with TemporaryDirectory() as folder:
        used = untrained_weights(Path(folder)) if UNTRAINED in method else weights
        return colored(observation, result, config, used)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="of the recordings d1 and d2")
    parser.add_argument("--output", type=Path, default=RESULTS / "generation.json")
    parser.add_argument("--weights", type=Path, help="of the multi-view model; default: the package's")
    parser.add_argument("--things", type=int, default=12)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    made_by, rows = provenance_of("generation"), []
    for name in RECORDINGS:
        frames = read_frames(chosen.folder / name)
        support = find_support_and_up(frames, "auto")[0]
        center = np.mean([f.world_from_camera[:3, 3] for f in frames], axis=0)
        given, others = of_an_arc(frames, center)
        numbers = sorted({int(i) for f in given for i in np.unique(labels_of(f)) if i > 0})
        for number in numbers:
            if len(rows) == chosen.things:
                break
            row = measure(number, given, others, plane_of(support), chosen.weights)
            if row:
                rows.append(row)
                logger.info("%s %d: %s", name, number, {k: round(v[0], 2) for k, v in row.items()})
    found = [
        {
            "method": method, "things": len(rows),
            "psnr_unseen": round(float(np.mean([row[method][0] for row in rows])), 3),
            "better": round(float(np.mean([row[method][0] > row[RULE][0] for row in rows])), 3),
            "seconds": round(float(np.mean([row[method][1] for row in rows])), 3),
        }
        for method in (RULE, *CHOSEN)
    ]  # fmt: skip
    write_results(chosen.output, "generation", {"scanned": found}, {"scanned": made_by["scanned"]})
    logger.info("written to %s", chosen.output)


if __name__ == "__main__":
    main()

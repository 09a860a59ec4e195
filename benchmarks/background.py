"""What stands behind an object that was taken away: `python -m benchmarks.background`.

Synthetic scenes are reconstructed and decomposed by true masks; the two objects that fill most pixels are
removed.  Truth: the same scene rendered without them.  Compared over the pixels that showed them: unseen,
where no frame shows what stands there, and all of them.  Depth is right within a centimetre.

Writes benchmarks/results/background.json; the methods that are not measured now stay.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.cached_scenes import (
    RECONSTRUCTION,
    cached_reconstruction,
    content_key,
    depth_and_labels,
    rendered_frames,
)
from benchmarks.provenance import cache_key
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import Config, RemovalConfig, SyntheticConfig
from instascene_core.frame import Frame
from instascene_core.instances import InstanceId, InstanceMap
from instascene_core.rendering import rasterize
from instascene_core.scene import Decomposition, decompose
from instascene_core.scene.removal import without_instance
from instascene_core.scene.results import LazySurface
from instascene_core.synthetic import SyntheticScene, generate_scene
from instascene_core.transforms import apply, inverse

# The scenes of the report: nobody tunes on them.
SEEDS = {64003: "spread", 64007: "shelf", 64013: "pile"}
METHODS = {
    "nothing": RemovalConfig(painter="none"),
    "propagation": RemovalConfig(),
    "diffusers": RemovalConfig(painter="diffusers"),
}
VIEWS, WIDTH, HEIGHT, OBJECTS = 24, 320, 240, 6
SAME_DEPTH = 0.01  # metres

logger = logging.getLogger("benchmarks.background")


@dataclass(frozen=True)
class Case:
    """A decomposed scene, what is removed, and what is there then."""

    decomposition: Decomposition
    removed: tuple[InstanceId, ...]
    truth: list[Frame]  # the scene without the objects
    hidden: list[np.ndarray]  # per frame [H, W] bool: pixels that showed a removed object
    unseen: list[np.ndarray]  # per frame [H, W] bool: those whose truth no frame shows


def settings_of(seed: int, layout: str) -> SyntheticConfig:
    """The scene of a seed."""
    return SyntheticConfig(
        seed=seed, layout=layout, num_objects=OBJECTS, num_views=VIEWS, width=WIDTH, height=HEIGHT,
        depth_noise="millimetre",
    )  # fmt: skip


def make_case(seed: int, layout: str, config: Config, cache: Path) -> Case:
    """The same for the same seed and code."""
    settings = settings_of(seed, layout)
    scene, name = generate_scene(settings), f"background-{seed}"
    frames = rendered_frames(name, settings, cache / f"{name}-{cache_key(RECONSTRUCTION, settings)}.npz")
    key = content_key(RECONSTRUCTION, frames, Config(reconstruction=config.reconstruction))
    made, _ = cached_reconstruction(name, frames, config.reconstruction, True, cache, key)
    decomposition = decompose(made, config)
    pixels = {o.id: sum(int((f.labels == o.id).sum()) for f in frames) for o in scene.objects}
    gone = sorted(pixels, key=lambda number: -pixels[number])[:2]
    removed = tuple(instance_of(number, frames, decomposition.instances) for number in gone)
    left = replace(scene, objects=tuple(o for o in scene.objects if o.id not in gone))
    truth = [true_frame(left, index) for index in range(len(frames))]
    hidden = [np.isin(depth_and_labels(frame)[1], gone) for frame in frames]
    unseen = [mask & ~seen(view, mask, frames, gone) for view, mask in zip(truth, hidden)]
    return Case(decomposition, removed, truth, hidden, unseen)


def true_frame(scene: SyntheticScene, index: int) -> Frame:
    view = scene.view(index)
    return Frame(
        f"{index:06d}", float(index), scene.camera, scene.poses[index], view.rgb, view.depth, view.labels
    )


def instance_of(number: int, frames: Sequence[Frame], instances: InstanceMap) -> InstanceId:
    """The instance that shares most pixels with a true object."""
    counts: dict[int, int] = {}
    for frame in frames:
        found, shared = np.unique(
            instances.label_images[frame.name][frame.labels == number], return_counts=True
        )
        for label, count in zip(found.tolist(), shared.tolist()):
            counts[label] = counts.get(label, 0) + count
    things = {instance.id for instance in instances.objects}
    return InstanceId(max((label for label in counts if label in things), key=lambda label: counts[label]))


def seen(view: Frame, mask: np.ndarray, frames: Sequence[Frame], gone: Sequence[int]) -> np.ndarray:
    """[H, W] bool: pixels of `mask` whose true place some frame shows."""
    assert view.depth is not None
    result = np.zeros(mask.shape, dtype=bool)
    rows, columns = np.nonzero(mask & (view.depth > 0))
    local = view.camera.rays[rows, columns] * view.depth[rows, columns, None]
    points, found = apply(view.world_from_camera, local), np.zeros(len(rows), dtype=bool)
    for frame in frames:
        pixels, z = frame.camera.project(apply(inverse(frame.world_from_camera), points))
        inside = (z > 0) & (pixels >= 0).all(axis=1)
        inside &= (pixels < (frame.camera.width, frame.camera.height)).all(axis=1)
        column, row = np.where(inside[:, None], pixels, 0).astype(int).T
        depth, labels = depth_and_labels(frame)
        near = np.abs(depth[row, column] - z) < SAME_DEPTH
        found |= inside & near & ~np.isin(labels[row, column], gone)
    result[rows, columns] = found
    return result


def measure(case: Case, config: Config) -> dict[str, float | None]:
    """PSNR (dB), share of right depth and mean depth error (mm) over hidden and unseen pixels."""
    start, known = time.perf_counter(), case.decomposition
    for number in case.removed:
        made = without_instance(number, known, config)
        surface = LazySurface(made.gaussians, known.views, config.click)
        known = replace(known, gaussians=made.gaussians, instances=made.instances, surface_of=surface)
    seconds = time.perf_counter() - start
    row: dict[str, float | None] = {"seconds": seconds}
    shown = [rasterize(known.gaussians, view.camera, view.world_from_camera) for view in case.truth]
    for name, masks in (("unseen", case.unseen), ("hidden", case.hidden)):
        squares, right, off, labels = [], [], [], []
        for view, mask, image in zip(case.truth, masks, shown):
            color, alpha = image.color.numpy()[mask], image.alpha.numpy()[mask]
            assert view.depth is not None and view.labels is not None
            squares.append(((np.clip(color, 0, 1) - view.rgb[mask] / 255) ** 2).mean(axis=1))
            error = np.where(alpha > 0.5, np.abs(image.depth.numpy()[mask] - view.depth[mask]), np.inf)
            right.append(error < SAME_DEPTH)
            off.append(error[np.isfinite(error)])
            structure = [i.id for i in known.instances.instances if i.kind in ("support", "background")]
            mine = np.isin(known.instances.label_images[view.name][mask], structure)
            labels.append(mine == (view.labels[mask] < 0))
        row[f"pixels_{name}"] = int(sum(len(part) for part in squares))
        row[f"psnr_{name}"] = float(-10 * np.log10(np.concatenate(squares).mean()))
        row[f"right_depth_{name}"] = float(np.concatenate(right).mean())
        covered = np.concatenate(off)
        row[f"depth_mm_{name}"] = float(1000 * covered.mean()) if len(covered) else None
        row[f"right_label_{name}"] = float(np.concatenate(labels).mean())
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "background.json")
    parser.add_argument("--cache", type=Path, default=Path(".cache/background"))
    parser.add_argument("--methods", nargs="*", default=["nothing", "propagation"], choices=list(METHODS))
    parser.add_argument("--checkpoint", default="", help="folder of an inpainting pipeline, for diffusers")
    parser.add_argument(
        "--seeds", nargs="*", default=[f"{k}:{v}" for k, v in SEEDS.items()], help="SEED:LAYOUT"
    )
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    made_by, rows = provenance_of("background"), []
    chosen.cache.mkdir(parents=True, exist_ok=True)
    for seed, layout in (text.split(":") for text in chosen.seeds):
        case = make_case(int(seed), layout, Config(), chosen.cache)
        for method in chosen.methods:
            removal = replace(METHODS[method], checkpoint=chosen.checkpoint)
            row = {
                "seed": int(seed),
                "layout": layout,
                "method": method,
                **measure(case, Config(removal=removal)),
            }
            logger.info("%s", {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
            rows.append(row)
    write_results(chosen.output, "background", {"runs": rows}, made_by)
    logger.info("written to %s", chosen.output)


if __name__ == "__main__":
    main()

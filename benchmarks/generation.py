"""Colours of what no camera saw: `python -m benchmarks.generation`.

Painted bodies on a table, seen by a few cameras from one side, are completed by the learned prior; the
same mesh is then coloured by each method.  Everyday: shapes of the synthetic scenes' generators, of kinds
that the training's generator does not make.  Held-out prints: shapes and prints that the training leaves
out.  PSNR and SSIM of the coloured mesh against the truth in 16 views around it, over the pixels that no
camera saw and those that one did; mean over the objects.  With joint optimisation the colours of the
whole surface are the Gaussians'; beside it, for the known pixels, Gaussians without any generated pixel.

Writes benchmarks/results/generation.json; what is there for other groups and methods stays.
`benchmarks.generation_views` measures more and fewer cameras and the time of every stage,
`benchmarks.generation_scanned` scanned objects in clutter.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.completion_scores import score as shape_score
from benchmarks.generation_scores import FIGURES, ImageScores, Stopwatch, forget_peak, peak_mb
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.camera import PinholeCamera
from instascene_core.completion import complete_observation, make_prior, observe
from instascene_core.completion.meshing import appearance, painting
from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.learned import LearnedPrior
from instascene_core.completion.priors.multiview.prior import MultiviewPrior
from instascene_core.completion.priors.multiview.ring import (
    ObjectFrame,
    Ring,
    fitting_focal,
    object_frame,
    ring,
)
from instascene_core.completion.priors.multiview.views import ray_scene, render_geometry
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ConvexPartsConfig
from instascene_core.config.multiview import JointConfig, MultiviewConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.instances import InstanceId
from instascene_core.objects import CompletedObject
from instascene_core.synthetic import household
from instascene_core.training.multiview.bodies import make_body
from instascene_core.training.multiview.examples import render_paint
from instascene_core.training.multiview.paints import Light, Paint, make_paint
from instascene_core.transforms import apply, inverse, look_at

EVERYDAY = ("box", "can", "mug", "bottle", "jar", "book", "bowl", "cup")
RULE = "nearest colour along the surface"
PLAIN = {"second_stage": "none", "steps": 8, "warp_steps": 0.0, "color_samples": 1}
WARPED = {**PLAIN, "conditions": "averaged", "warp_steps": 1.0}
ONE_STEP = {**PLAIN, "warp_steps": 1.0, "steps": 1}
JOINT = {"joint": JointConfig(steps=2000, recolor_observed=True)}
METHODS: dict[str, dict] = {
    "single view": {**PLAIN, "conditions": "single"},
    "alternated": {**PLAIN, "conditions": "alternated"},
    "averaged": {**PLAIN, "conditions": "averaged"},
    "averaged + warping": WARPED,
    "averaged + warping + joint optimisation": {**WARPED, **JOINT},
    "all in one pass + warping": {**PLAIN, "warp_steps": 1.0},
    "the same in one step": ONE_STEP,
    "one step + joint optimisation": {**ONE_STEP, **JOINT},
    "2DGS of the observed pixels alone": {
        **ONE_STEP, "joint": JointConfig(steps=2000, recolor_observed=True, generated=0.0)
    },
    "one step + second stage": {**ONE_STEP, "second_stage": "own"},
    "one step, depth has half a vote": {**ONE_STEP, "depth_vote": 0.5},
    "one step, untrained": ONE_STEP,
}  # fmt: skip
UNTRAINED = "untrained"  # in a method's name: fresh weights, so that what training gives is told apart
TABLE, TARGET = 1, InstanceId(2)
SIDE = 96  # pixels of the views that are compared
UP = np.array([0.0, 0.0, 1.0])

logger = logging.getLogger("benchmarks.generation")


@dataclass(frozen=True)
class Case:
    """A painted body and what cameras saw of it."""

    name: str
    body: TriangleMesh  # world
    paint: Paint
    light: Light
    frames: list[Frame]


def make_case(group: str, index: int, views: int, apart: float | None = None) -> Case:
    """The same for the same group and index; apart: see `frames_of`."""
    rng = np.random.default_rng([14, group == "everyday", index])
    if group == "everyday":
        name = EVERYDAY[index % len(EVERYDAY)]
        solid = household.make(name, rng)
        vertices = solid.mesh.vertices - [0, 0, solid.mesh.vertices[:, 2].min()]
        body = TriangleMesh(vertices, solid.mesh.triangles)
    else:
        name, body = make_body(rng, held_out=True)
    extent = np.ptp(body.vertices, axis=0)
    size = float(np.linalg.norm(extent))
    paint = make_paint(rng, extent, size / 60, held_out=group != "everyday")
    light = Light.draw(rng)
    frames = frames_of(rng, body, paint, light, views, apart)
    return Case(f"{name}/{paint.kind} {index}", body, paint, light, frames)


def frames_of(
    rng: np.random.Generator,
    body: TriangleMesh,
    paint: Paint,
    light: Light,
    views: int,
    apart: float | None = None,
) -> list[Frame]:
    """RGB, noisy depth and labels from `views` cameras, `apart` degrees one from the next; without it on an
    arc of 100°."""
    from instascene_core.geometry.open3d_loader import open3d

    low, high = body.vertices.min(axis=0), body.vertices.max(axis=0)
    center, size = (low + high) / 2, float(np.linalg.norm(high - low))
    scene = ray_scene(body)
    table = meshes.convex_hull(
        4 * size * (np.array(list(np.ndindex(2, 2, 2))) - [0.5, 0.5, 1]) * [1, 1, 0.02]
    )
    scene.add_triangles(
        open3d.core.Tensor(table.vertices.astype(np.float32)),
        open3d.core.Tensor(table.triangles.astype(np.uint32)),
    )
    camera = PinholeCamera(240, 180, 260.0, 260.0, 120.0, 90.0)
    start, frames = rng.uniform(0, 2 * np.pi), []
    apart = 100 / max(1, views - 1) if apart is None else apart
    for k in range(views):
        azimuth, rise = start + np.deg2rad(apart * k), np.deg2rad(rng.uniform(20, 50))
        flat = np.cos(rise) * np.array([np.cos(azimuth), np.sin(azimuth)])
        pose = look_at(center + 2.2 * size * np.array([*flat, np.sin(rise)]), center)
        directions = (camera.rays @ pose[:3, :3].T).reshape(-1, 3)
        rays = np.concatenate([np.broadcast_to(pose[:3, 3], directions.shape), directions], axis=-1)
        hit = scene.cast_rays(open3d.core.Tensor(rays.astype(np.float32)), nthreads=1)
        depth, part = hit["t_hit"].numpy(), hit["geometry_ids"].numpy()
        shown = np.isfinite(depth)
        mine = np.logical_and(shown, part == 0)
        rgb = np.full((len(rays), 3), 0.45)
        points = rays[mine, :3] + depth[mine, None] * directions[mine]
        normals = hit["primitive_normals"].numpy()[mine].astype(np.float64)
        toward = -directions[mine] / np.linalg.norm(directions[mine], axis=1, keepdims=True)
        normals *= np.where((normals * toward).sum(axis=1, keepdims=True) < 0, -1, 1)
        rgb[mine] = light.lit(paint.colors(points, normals), points, normals, toward, paint.gloss, size)
        noisy = np.where(shown, depth + 0.001 * size * rng.standard_normal(len(rays)), 0)
        labels = np.where(mine, TARGET, np.where(shown, TABLE, -1)).astype(np.int32)
        image = np.clip(255 * (rgb + 0.01 * rng.standard_normal(rgb.shape)), 0, 255).astype(np.uint8)
        shape = (camera.height, camera.width)
        frames.append(
            Frame(f"{k}", float(k), camera, pose, image.reshape(*shape, 3),
                  noisy.astype(np.float32).reshape(shape), labels.reshape(shape))
        )  # fmt: skip
    return frames


@dataclass(frozen=True)
class Truth:
    """What the views that are compared show."""

    views: Ring
    frame: ObjectFrame
    rgb: np.ndarray  # [N, H, W, 3]
    shown: np.ndarray  # [N, H, W] bool
    seen: np.ndarray  # [N, H, W] bool: some camera saw the place


def truth_of(case: Case) -> Truth:
    frame = object_frame(case.body.vertices, UP)
    turn = np.pi / 16  # between the views that are generated
    half = np.eye(4)
    half[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    frame = ObjectFrame(frame.world_from_frame @ half, frame.radius)
    views = ring(fitting_focal(frame.from_world(case.body.vertices)), SIDE)
    rgb, coverage, depth = render_paint(case.body, case.paint, case.light, views, frame)
    shown = (depth > 0) & (coverage > 0.9)
    points = frame.to_world(views.points(depth)[shown].astype(np.float64))
    seen = np.zeros(shown.shape, dtype=bool)
    seen[shown] = np.any([_sees(f, points, 0.02 * frame.radius) for f in case.frames], axis=0)
    return Truth(views, frame, rgb, shown, seen)


def _sees(frame: Frame, points: np.ndarray, tolerance: float) -> np.ndarray:
    """[N] bool: which points [N, 3] on the body's surface a camera saw."""
    assert frame.depth is not None and frame.labels is not None
    pixels, z = frame.camera.project(apply(inverse(frame.world_from_camera), points))
    size = (frame.camera.width, frame.camera.height)
    inside = np.logical_and(np.all(pixels >= 0, axis=1), np.all(pixels < size, axis=1))
    column, row = np.where(inside[:, None], pixels, 0).astype(int).T
    near = np.abs(frame.depth[row, column] - z) < tolerance
    return inside & near & (frame.labels[row, column] == TARGET)


def scores(truth: Truth, mesh: TriangleMesh, colors: np.ndarray) -> dict[str, float]:
    """PSNR (dB) and SSIM of a coloured mesh (world, colours 0 … 255) over unseen and seen pixels."""
    local = TriangleMesh(truth.frame.from_world(mesh.vertices), mesh.triangles)
    geometry = render_geometry(local, truth.views)
    made = geometry.values(local, colors.astype(np.float32)) / 255
    found = ImageScores()
    for images in zip(truth.rgb, made, truth.shown & geometry.shown, truth.seen):
        found.add(*images)
    return found.figures()


def colored(
    observation: Observation,
    result: CompletedObject,
    config: CompletionConfig,
    weights: Path | None,
    seed: int = 0,
    watch: Stopwatch | None = None,
) -> tuple[TriangleMesh, np.ndarray]:
    """The mesh of the learned prior, finer where needed, and its generated colours.  watch: takes the seconds
    of generating, optimising and colouring."""
    watch = watch or Stopwatch()
    watch.enter("preparing views")
    prior = prior_of(config, weights)
    painted, _ = prior.paint(observation, result.mesh, result.vertex_uncertainty, seed, watch.tell)
    watch.enter("colouring the mesh")
    mesh = painting.refine_for_paint(result.mesh, painted, observation, config.meshing)
    expected = np.zeros(len(mesh.vertices))
    facts = appearance.judge_vertices(observation, mesh, expected, config.meshing.appearance)
    facts = painting.paint_unseen(mesh, facts, painted)
    watch.enter("")
    return mesh, facts.colors


def prior_of(config: CompletionConfig, weights: Path | None) -> MultiviewPrior:
    return MultiviewPrior(LearnedPrior.from_config(config), config.multiview, config.next_view, weights)


def untrained_weights(folder: Path) -> Path:
    """A file of weights that were never trained: they give back the nearest known colours in space."""
    import torch

    from instascene_core.completion.priors.multiview.network import MultiviewNetwork, save_network

    torch.manual_seed(0)
    path = folder / "untrained.safetensors"
    save_network(MultiviewNetwork(), path, {"side": "64"})
    return path


def measure(case: Case, methods: Sequence[str], weights: Path | None) -> list[dict]:
    """A row for each method; empty where the object cannot be completed or all of it was seen."""
    truth = truth_of(case)
    return measure_object(
        case.name,
        (case.frames, TARGET, Plane(UP, 0.0)),
        case.body,
        methods,
        weights,
        lambda mesh, colors: scores(truth, mesh, colors),
    )


def measure_object(
    name: str,
    seen: tuple[list[Frame], InstanceId, Plane | None],
    body: TriangleMesh,
    methods: Sequence[str],
    weights: Path | None,
    compare: Callable[[TriangleMesh, np.ndarray], dict[str, float]],
) -> list[dict]:
    """A row for RULE and each method; empty where the object cannot be completed.

    seen: frames, the object in them, and its support; body: the true one; compare: figures of a coloured
    mesh.  Methods colour the same shape, but for those in which generated depth has a say.
    """
    config = CompletionConfig(convex_parts=ConvexPartsConfig(max_parts=1))
    frames, target, support = seen
    forget_peak()
    watch = Stopwatch()
    try:
        watch.enter("observing")
        observation = observe(frames, target, support, UP, config)
        result = complete_observation(observation, make_prior("learned", config), config, 1, 0, watch.tell)
        watch.enter("")
    except InputError as error:
        logger.info("%s: %s", name, error)
        return []
    shape, peak = _shape(result.mesh, body), peak_mb()
    rows = [
        {"method": RULE, "seconds": 0.0, "stages": watch.seconds, "peak_mb": peak}
        | shape | compare(result.mesh, result.colors)
    ]  # fmt: skip
    for method in methods:
        changed = replace(config, multiview=MultiviewConfig(**METHODS[method]))
        forget_peak()
        watch = Stopwatch()
        with TemporaryDirectory() as folder:
            used = untrained_weights(Path(folder)) if UNTRAINED in method else weights
            if changed.multiview.depth_vote > 0:
                watch.enter("observing")
                moved = complete_observation(observation, prior_of(changed, used), changed, 1, 0, watch.tell)
                watch.enter("")
                mesh, colors, figures = moved.mesh, moved.colors, _shape(moved.mesh, body)
            else:
                mesh, colors = colored(observation, result, changed, used, 0, watch)
                figures = shape
        spent = {"seconds": sum(watch.seconds.values()), "stages": watch.seconds}
        rows.append({"method": method, **spent, "peak_mb": max(peak, peak_mb())} | figures)
        rows[-1] |= compare(mesh, colors)
    return [{"thing": name, **row} for row in rows]


def _shape(mesh: TriangleMesh, body: TriangleMesh) -> dict[str, float]:
    """Chamfer distance in shares of the true body's diagonal, F at 1 % of it, volume IoU."""
    found = shape_score(mesh, body)
    return {"chamfer": found["chamfer"], "f1": found["f1"], "iou": found["iou"]}


def summary(rows: Sequence[dict], **named: object) -> list[dict]:
    """Means over the things, by method; peak memory: the most of any.  named: what names the rows."""
    found = []
    rule = {row["thing"]: row for row in rows if row["method"] == RULE}
    for method in dict.fromkeys(row["method"] for row in rows):
        of_method = [row for row in rows if row["method"] == method]
        entry = {**named, "method": method, "things": len(of_method)}
        for name in (*FIGURES, "chamfer", "f1", "iou", "seconds"):
            values = [row[name] for row in of_method if np.isfinite(row.get(name, np.nan))]
            entry[name] = round(float(np.mean(values)), 4) if values else None
        entry["peak_mb"] = round(max(row["peak_mb"] for row in of_method))
        stages = dict.fromkeys(stage for row in of_method for stage in row["stages"])
        entry["stages"] = {
            stage: round(float(np.mean([row["stages"].get(stage, 0.0) for row in of_method])), 3)
            for stage in stages
        }
        gains = [
            row["psnr_unseen"] - rule[row["thing"]]["psnr_unseen"]
            for row in of_method
            if "psnr_unseen" in row
        ]
        entry["better"] = round(float(np.mean(np.array(gains) > 0)), 3) if gains else None
        entry["gain"] = round(float(np.mean(gains)), 3) if gains else None
        entry["gain_error"] = (
            round(float(np.std(gains, ddof=1) / len(gains) ** 0.5), 3) if len(gains) > 1 else None
        )
        found.append(entry)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "generation.json")
    parser.add_argument("--weights", type=Path, help="of the multi-view model; default: the package's")
    parser.add_argument("--groups", nargs="*", default=["everyday", "held-out prints"])
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--things", type=int, default=12, help="of a group")
    parser.add_argument("--views", type=int, default=4, help="cameras")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    made_by = provenance_of("generation")
    for group in chosen.groups:
        rows = []
        for index in range(chosen.things):
            rows += measure(make_case(group, index, chosen.views), chosen.methods, chosen.weights)
            for row in rows[-len(chosen.methods) - 1 :]:
                logger.info("%s", {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
        found = summary(rows, group=group, views=chosen.views)
        write_results(chosen.output, "generation", {"runs": found}, {"runs": made_by["runs"]})
    logger.info("written to %s", chosen.output)


if __name__ == "__main__":
    main()

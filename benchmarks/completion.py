"""How good completion is, next to simpler methods.

    python benchmarks/completion.py objects [--meshes FOLDER] [--observations 3] [--limit N]
    python benchmarks/completion.py scenes [--seeds 101 102 103] [--views 60]

`objects`: closed meshes (default: ../shared/data/meshes_contactdb beside the clone), each alone on a
table, about half of its surface seen by six noisy views from one side.  `scenes`: procedural piles
with the true labels and noisy depth, i.e. completion without the errors of the steps before it.
Prints a table; needs no GPU.  Skips with a message where the meshes are absent.
"""

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from instascene_core import mesh as meshes  # noqa: E402
from instascene_core.camera import PinholeCamera  # noqa: E402
from instascene_core.completion import CompletionPrior, complete_observation, make_prior, observe  # noqa: E402
from instascene_core.completion.observation import Observation  # noqa: E402
from instascene_core.config import CompletionConfig, SyntheticConfig  # noqa: E402
from instascene_core.errors import InputError  # noqa: E402
from instascene_core.frame import Frame  # noqa: E402
from instascene_core.geometry import Plane  # noqa: E402
from instascene_core.metrics import compare_surfaces, sample_surface, volume_iou  # noqa: E402
from instascene_core.objects import TriangleMesh  # noqa: E402
from instascene_core.open3d_loader import open3d  # noqa: E402
from instascene_core.transforms import apply, inverse, look_at  # noqa: E402

TABLE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)
OBJECT = 2  # label; 1 is the table


# --- methods: observation → mesh ---


def with_prior(prior: CompletionPrior):
    config = CompletionConfig(max_convex_parts=1)

    def run(observation: Observation) -> TriangleMesh:
        return complete_observation(observation, prior, config, 1, 0).mesh

    return run


def hull(observation: Observation) -> TriangleMesh:
    return meshes.convex_hull(observation.points.positions)


def mirror_hull(observation: Observation) -> TriangleMesh:
    """Hull of the points and of their mirror image behind the upright plane through their outline as
    the cameras see it."""
    points, normals = observation.points.positions, observation.points.normals
    cameras = np.mean([view.world_from_camera[:3, 3] for view in observation.views], axis=0)
    toward = cameras - points.mean(axis=0)
    toward -= (toward @ observation.up) * observation.up
    toward /= np.linalg.norm(toward)
    along = points @ toward
    outline = np.abs(normals @ toward) < 0.2
    plane = np.median(along[outline]) if outline.sum() > 20 else np.quantile(along, 0.02)
    mirrored = points - 2 * (along - plane)[:, None] * toward
    return meshes.convex_hull(np.concatenate([points, mirrored]))


def poisson(observation: Observation) -> TriangleMesh:
    """Screened Poisson (Kazhdan & Hoppe 2013); closed only by luck."""
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(observation.points.positions))
    cloud.normals = open3d.utility.Vector3dVector(observation.points.normals)
    mesh, _ = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=7, n_threads=1)
    return TriangleMesh(np.asarray(mesh.vertices), np.asarray(mesh.triangles, dtype=np.int32))


METHODS = {
    "convex hull": hull,
    "mirror + hull": mirror_hull,
    "screened Poisson": poisson,
    "carving": with_prior(make_prior("carving")),
}


# --- observations ---


def load_objects(folder: Path) -> dict[str, TriangleMesh]:
    """Closed meshes in metres, standing in their likeliest stable pose on z = 0."""
    import trimesh

    result = {}
    for path in sorted(folder.glob("*.stl")):
        mesh = trimesh.load(path)
        if not mesh.is_watertight:
            continue
        if mesh.extents.max() > 10:  # a household thing is not ten metres long: millimetres
            mesh.apply_scale(1e-3)
        mesh.apply_transform(mesh.compute_stable_poses(n_samples=1)[0][0])
        mesh.apply_translation([*-mesh.bounds.mean(axis=0)[:2], -mesh.bounds[0, 2]])
        result[path.stem] = meshes.from_trimesh(mesh)
    return result


def one_sided_frames(mesh: TriangleMesh, rng: np.random.Generator, views: int = 6) -> list[Frame]:
    """Noisy depth and labels of an object on a table from cameras on a short arc."""
    size = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    table = meshes.to_trimesh(meshes.convex_hull(_slab(5 * size)))
    scene = open3d.t.geometry.RaycastingScene()
    for part in (meshes.from_trimesh(table), mesh):
        scene.add_triangles(
            open3d.core.Tensor(part.vertices.astype(np.float32)),
            open3d.core.Tensor(part.triangles.astype(np.uint32)),
        )
    camera = PinholeCamera(320, 240, 320.0, 320.0, 160.0, 120.0)
    start = rng.uniform(0, 2 * np.pi)
    center = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    frames = []
    for k in range(views):
        azimuth = start + np.deg2rad(90) * k / (views - 1)
        elevation = np.deg2rad(rng.uniform(20, 50))
        offset = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
        pose = look_at(center + 2.2 * size * np.array(offset), center)
        directions = camera.rays @ pose[:3, :3].T
        rays = np.concatenate([np.broadcast_to(pose[:3, 3], directions.shape), directions], axis=-1)
        hit = scene.cast_rays(open3d.core.Tensor(rays.astype(np.float32)))
        depth, body = hit["t_hit"].numpy(), hit["geometry_ids"].numpy()
        seen = np.isfinite(depth)
        noisy = depth + 0.003 * 2.2 * size * rng.standard_normal(depth.shape)
        labels = np.where(seen, body.astype(np.int64) + 1, -1).astype(np.int32)
        rgb = np.full((*depth.shape, 3), 128, np.uint8)
        frames.append(
            Frame(f"{k}", float(k), camera, pose, rgb, np.where(seen, noisy, 0).astype(np.float32), labels)
        )
    return frames


def _slab(size: float) -> np.ndarray:
    x, y, z = np.meshgrid([-size, size], [-size, size], [-0.01 * size, 0.0])
    return np.stack([x, y, z], axis=-1).reshape(-1, 3)


# --- measures ---


def score(predicted: TriangleMesh, truth: TriangleMesh) -> dict[str, float]:
    diagonal = float(np.linalg.norm(np.ptp(truth.vertices, axis=0)))
    comparison = compare_surfaces(predicted, truth, 0.01 * diagonal)
    closed = meshes.is_watertight(predicted)
    return {
        "chamfer %": 100 * comparison.chamfer / diagonal,
        "F@1%": comparison.f_score,
        "F@2%": compare_surfaces(predicted, truth, 0.02 * diagonal).f_score,
        "F@5mm": compare_surfaces(predicted, truth, 0.005).f_score,
        "IoU": volume_iou(predicted, truth) if closed else float("nan"),
        "watertight": float(closed),
    }


def seen_share(truth: TriangleMesh, frames: list[Frame]) -> float:
    """Share of the true surface that some frame sees."""
    points = sample_surface(truth, 3000)
    seen = np.zeros(len(points), dtype=bool)
    limit = 0.01 * float(np.linalg.norm(np.ptp(truth.vertices, axis=0)))
    for frame in frames:
        pixels, z = frame.camera.project(apply(inverse(frame.world_from_camera), points))
        with np.errstate(invalid="ignore"):
            inside = ((pixels >= 0) & (pixels < (frame.camera.width, frame.camera.height))).all(axis=1)
        column, row = pixels[inside].astype(int).T
        seen[inside] |= np.abs(frame.depth[row, column] - z[inside]) < limit
    return float(seen.mean())


def calibration(mesh: TriangleMesh, uncertainty: np.ndarray, truth: TriangleMesh) -> np.ndarray:
    """[4] mean error in metres of the vertices by quartile of their predicted uncertainty."""
    error = meshes.distance(truth, mesh.vertices)
    order = np.array_split(np.argsort(uncertainty, kind="stable"), 4)
    return np.array([error[part].mean() for part in order])


class Table:
    """Scores per method, printed as Markdown."""

    def __init__(self) -> None:
        self.rows = defaultdict(list)

    def add(self, method: str, seconds: float, scores: dict[str, float]) -> None:
        self.rows[method].append({**scores, "s": seconds})

    def print(self) -> None:
        names = list(next(iter(self.rows.values()))[0])
        lines = ["| method | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for method, scores in self.rows.items():
            columns = [np.array([row[n] for row in scores]) for n in names]
            means = [c[np.isfinite(c)].mean() if np.isfinite(c).any() else np.nan for c in columns]
            lines.append(f"| {method} | " + " | ".join(f"{v:.3f}" for v in means) + " |")
        sys.stdout.write("\n".join(lines) + "\n")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# --- the two benchmarks ---


def run_objects(folder: Path, observations: int, limit: int) -> None:
    if not folder.is_dir():
        say(f"Skipped: there are no meshes at {folder}; give a folder of closed STL files with --meshes.")
        return
    config, table, quartiles = CompletionConfig(), Table(), []
    things = list(load_objects(folder).items())[: limit or None]
    for number, (name, truth) in enumerate(things):
        for k in range(observations):
            frames = one_sided_frames(truth, np.random.default_rng([number, k]))
            try:
                observation = observe(frames, OBJECT, TABLE, None, config)
            except InputError as error:
                say(f"{name} {k}: {error}")
                continue
            line = [f"{name:16s} {k} seen {seen_share(truth, frames):.2f}"]
            for method, run in METHODS.items():
                start = time.perf_counter()
                predicted = run(observation)
                scores = score(predicted, truth)
                table.add(method, time.perf_counter() - start, scores)
                line.append(f"{method} {scores['IoU']:.2f}")
            result = complete_observation(observation, make_prior(config.prior), config, 1, 0)
            quartiles.append(calibration(result.mesh, result.vertex_uncertainty, truth))
            say("  ".join(line))
    table.print()
    say("mean error (mm) by quartile of predicted uncertainty: " + _millimetres(quartiles))


def run_scenes(seeds: list[int], views: int) -> None:
    from instascene_core.synthetic import generate_scene

    config, table, quartiles = CompletionConfig(), Table(), []
    kinds = defaultdict(list)
    for seed in seeds:
        scene = generate_scene(SyntheticConfig(seed=seed, num_views=views, depth_noise="millimetre"))
        frames = list(scene.frames())
        for thing in scene.objects:
            start = time.perf_counter()
            try:
                observation = observe(frames, thing.id, scene.support, None, config)
                result = complete_observation(observation, make_prior(config.prior), config, 1, 0)
            except InputError as error:
                say(f"scene {seed} {thing.kind}: {error}")
                continue
            scores = score(result.mesh, thing.mesh)
            seconds = time.perf_counter() - start
            table.add(result.prior, seconds, scores)
            kinds[thing.kind].append(scores["IoU"])
            quartiles.append(calibration(result.mesh, result.vertex_uncertainty, thing.mesh))
            say(f"scene {seed} {thing.kind:7s} IoU {scores['IoU']:.2f} F@5mm {scores['F@5mm']:.2f}")
    table.print()
    say("IoU by kind: " + ", ".join(f"{kind} {np.mean(v):.2f}" for kind, v in sorted(kinds.items())))
    say("mean error (mm) by quartile of predicted uncertainty: " + _millimetres(quartiles))


def _millimetres(quartiles: list[np.ndarray]) -> str:
    return " ".join(f"{1000 * v:.2f}" for v in np.mean(quartiles, axis=0)) if quartiles else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    objects = modes.add_parser("objects")
    objects.add_argument(
        "--meshes", type=Path, default=REPOSITORY.parent / "shared" / "data" / "meshes_contactdb"
    )
    objects.add_argument("--observations", type=int, default=3)
    objects.add_argument("--limit", type=int, default=0, help="only the first N meshes")
    scenes = modes.add_parser("scenes")
    scenes.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    scenes.add_argument("--views", type=int, default=60)
    arguments = parser.parse_args()
    if arguments.mode == "objects":
        run_objects(arguments.meshes, arguments.observations, arguments.limit)
    else:
        run_scenes(arguments.seeds, arguments.views)


if __name__ == "__main__":
    main()

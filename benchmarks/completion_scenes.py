"""Completion inside whole scenes, and the paper's protocol on finished runs."""

import logging
import time
from pathlib import Path
from typing import cast

import numpy as np

from benchmarks.cached_scenes import cached_scene
from benchmarks.completion_scores import mean, score
from benchmarks.provenance import CORE, Sources, cache_key
from benchmarks.records import COMPLETION
from instascene_core import completion
from instascene_core.camera import PinholeCamera
from instascene_core.config import CompletionConfig, Config, ReconstructionConfig, SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.export.object_loading import load_objects
from instascene_core.files import atomic_path
from instascene_core.frame import Frame
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.open3d_loader import open3d
from instascene_core.instances import InstanceId
from instascene_core.metrics import FOUND_IOU, MATCH_CELLS, load_truth, match, volume_iou
from instascene_core.objects import CompletedObject
from instascene_core.scene import Reconstruction, decompose
from instascene_core.segmentation import CONVENTION
from instascene_core.synthetic import generate_scene
from instascene_core.transforms import look_at

DECOMPOSED = Sources(
    ("benchmarks.completion_scenes",), unused=(*COMPLETION, f"{CORE}.export", "benchmarks.completion_scores")
)
PLAIN_KINDS = ("box", "book", "tin", "soap")  # kinds whose dimensions are those of a box

logger = logging.getLogger("benchmarks.completion")


# ── procedural scenes ─────────────────────────────────────────────────────────────────────────────


def measure_scene(
    seed: int, depth: bool, views: int, config: CompletionConfig, cache: Path, kinds: tuple[str, ...] = ()
) -> dict:
    """One pile of things of these kinds (none: of all), reconstructed, decomposed with the built-in segmenter
    and completed; figures against the truth.  Views, label images and support are kept in `cache`.
    """
    settings = SyntheticConfig(seed=seed, num_views=views, depth_noise="millimetre", kinds=kinds)
    truths = [(thing.kind, thing.mesh) for thing in generate_scene(settings).objects]
    frames, ids, support = _decomposed(settings, depth, cache)
    completed: list[CompletedObject] = []
    failures, start = [], time.perf_counter()
    for instance_id in ids:
        try:
            completed.append(completion.complete(frames, instance_id, support, config, up=CONVENTION))
        except InputError as error:
            failures.append(str(error))
    seconds = time.perf_counter() - start
    iou = np.array([[volume_iou(c.mesh, mesh, MATCH_CELLS) for _, mesh in truths] for c in completed])
    pairs = [(p, t) for p, t in match(iou) if iou[p, t] >= FOUND_IOU] if len(completed) else []
    rows = [_object_row(completed[p], *truths[t]) for p, t in pairs]
    plain = [row["dimension_error"] for row in rows if row["kind"] in PLAIN_KINDS]
    return {
        "seed": seed, "depth": depth, "prior": config.prior, "true_objects": len(truths),
        "instances": len(ids), "failures": failures, "found": len(rows),
        "watertight": float(np.mean([meshes.is_watertight(c.mesh) for c in completed])),
        "iou": mean(rows, "iou"), "f5mm": mean(rows, "f5mm"), "observed_2mm": mean(rows, "observed_2mm"),
        "boxes": len(plain), "boxes_within_5": int(np.sum(np.array(plain) <= 0.05)),
        "seconds_per_object": seconds / max(1, len(ids)), "objects": rows,
    }  # fmt: skip


def _object_row(result: CompletedObject, kind: str, truth: TriangleMesh) -> dict:
    """Figures of one completed object."""
    seen = result.observed > 0.5
    off = meshes.distance(truth, result.mesh.vertices[seen])
    return {
        "kind": kind, "made_by": result.prior, **{k: v for k, v in score(result.mesh, truth).items()
                                                  if k in ("iou", "f5mm", "chamfer")},
        "observed_2mm": float((off <= 0.002).mean()) if seen.any() else None,
        "dimension_error": float(np.abs(_dimensions(result.mesh) / _dimensions(truth) - 1).max()),
    }  # fmt: skip


def _dimensions(mesh: TriangleMesh) -> np.ndarray:
    """[3] metres, ascending: sides of the smallest box around the mesh."""
    return np.sort(meshes.to_trimesh(mesh).bounding_box_oriented.primitive.extents)


def _decomposed(
    settings: SyntheticConfig, depth: bool, cache: Path
) -> tuple[list[Frame], list[InstanceId], Plane | None]:
    """Frames as completion takes them (dense depth, instance labels), ids of the objects, the support if one
    was found."""
    key = cache_key(DECOMPOSED, settings, ReconstructionConfig(), Config())
    path = cache / f"{settings.seed}-{settings.num_views}-{'rgbd' if depth else 'rgb'}-{key}-decomposed.npz"
    if not path.exists():
        made = cached_scene(
            f"completion{settings.seed}", settings, ReconstructionConfig(), depth, cache, False
        )
        frames = [f.with_(labels=None, depth=f.depth if depth else None) for f in made.frames]
        found = decompose(Reconstruction(tuple(frames), made.gaussians))
        views, instances = found.views, found.instances
        plane = instances.support
        camera = views[0].camera
        with atomic_path(path) as temporary:
            np.savez_compressed(
                temporary,
                camera=[camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy],
                poses=[view.world_from_camera for view in views],
                rgb=[view.rgb for view in views],
                depth=[view.require_depth() for view in views],
                labels=[instances.label_images[view.name] for view in views],
                ids=[instance.id for instance in instances.objects],
                support=[] if plane is None else [*plane.normal, plane.offset],
            )
    with np.load(path) as kept:
        width, height, *rest = kept["camera"]
        camera = PinholeCamera(int(width), int(height), *map(float, rest))
        images = zip(kept["poses"], kept["rgb"], kept["depth"], kept["labels"], strict=True)
        frames = [Frame(f"{i}", float(i), camera, *image) for i, image in enumerate(images)]
        support = Plane(kept["support"][:3], float(kept["support"][3])) if len(kept["support"]) else None
        return frames, [InstanceId(i) for i in kept["ids"].tolist()], support


# ── the paper's protocol ──────────────────────────────────────────────────────────────────────────


def measure_folder(run: Path, truth: Path, threshold: float = 0.02) -> list[dict]:
    """Every true object of `truth`/meshes/<id>.ply and the completed one of `run` that overlaps it most.

    Chamfer distance and F1 in the frame where the true object's longest side is 1 (F1 at `threshold` of
    it), volume IoU, and PSNR of the vertex colours over 16 views at 30°, apart for what was observed
    (known) and what was generated (unknown).  The last row holds the means.
    """
    completed = list(load_objects(run).values())
    rows = []
    for mesh, row in load_truth(truth):
        overlap = [volume_iou(result.mesh, mesh, MATCH_CELLS) for result in completed]
        if not overlap or max(overlap) == 0:
            rows.append({"name": row.name, "iou": 0.0})
            continue
        result = completed[int(np.argmax(overlap))]
        longest = float(np.ptp(mesh.vertices, axis=0).max())
        unit, scaled = (TriangleMesh(m.vertices / longest, m.triangles) for m in (mesh, result.mesh))
        shares = meshes.distance, threshold
        rows.append({
            "name": row.name, "iou": volume_iou(result.mesh, mesh), **_unit_figures(scaled, unit, shares[1]),
            **_color_psnr(result, mesh, _vertex_colors(truth / "meshes" / f"{row.truth_id}.ply")),
        })  # fmt: skip
    names = ("chamfer", "f1", "iou", "psnr_known", "psnr_unknown")
    return [*rows, {"name": "mean", **{name: mean(rows, name) for name in names}}]


def _unit_figures(predicted: TriangleMesh, truth: TriangleMesh, threshold: float) -> dict[str, float]:
    from instascene_core.metrics import compare_surfaces

    compared = compare_surfaces(predicted, truth, threshold)
    return {"chamfer": compared.chamfer, "f1": compared.f_score}


def _vertex_colors(path: Path) -> np.ndarray | None:
    """[V, 3] of a PLY, or None where it has none."""
    import trimesh
    from trimesh.visual import ColorVisuals

    # force="mesh" makes it one mesh, which the declared type does not say.
    visual = cast(trimesh.Trimesh, trimesh.load(path, process=False, force="mesh")).visual
    if not isinstance(visual, ColorVisuals) or visual.kind != "vertex":
        return None
    return np.asarray(visual.vertex_colors)[:, :3]


def _color_psnr(result: CompletedObject, truth: TriangleMesh, colors: np.ndarray | None) -> dict:
    """PSNR in dB over the pixels that show both meshes, apart for observed and generated surface."""
    if colors is None:
        return {}
    errors, known = [], []
    low, high = truth.vertices.min(axis=0), truth.vertices.max(axis=0)
    camera = PinholeCamera(160, 160, 200.0, 200.0, 80.0, 80.0)
    for azimuth in 2 * np.pi * np.arange(16) / 16:
        away = np.array([np.cos(azimuth) * np.cos(np.pi / 6), np.sin(azimuth) * np.cos(np.pi / 6), 0.5])
        pose = look_at((low + high) / 2 + 1.8 * np.linalg.norm(high - low) * away, (low + high) / 2)
        true_image = _rendered(truth, colors, camera, pose)
        image = _rendered(result.mesh, np.column_stack([result.colors, result.observed]), camera, pose)
        both = np.isfinite(true_image[:, 0]) & np.isfinite(image[:, 0])
        errors.append(((true_image[both] - image[both, :3]) ** 2).mean(axis=1))
        known.append(image[both, 3] > 0.5)
    errors, known = np.concatenate(errors), np.concatenate(known)
    return {
        f"psnr_{name}": float(10 * np.log10(255**2 / max(errors[which].mean(), 1e-9)))
        for name, which in (("known", known), ("unknown", ~known))
        if which.any()
    }


def _rendered(mesh: TriangleMesh, values: np.ndarray, camera: PinholeCamera, pose: np.ndarray) -> np.ndarray:
    """[H·W, C] interpolated vertex values; NaN where the mesh is not hit."""
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        open3d.core.Tensor(mesh.vertices.astype(np.float32)),
        open3d.core.Tensor(mesh.triangles.astype(np.uint32)),
    )
    directions = camera.rays.reshape(-1, 3) @ pose[:3, :3].T
    rays = np.concatenate([np.broadcast_to(pose[:3, 3], directions.shape), directions], axis=1)
    hit = scene.cast_rays(open3d.core.Tensor(rays.astype(np.float32)))
    met = np.isfinite(hit["t_hit"].numpy())
    uv = hit["primitive_uvs"].numpy()[met]
    corners = mesh.triangles[hit["primitive_ids"].numpy()[met]]
    weights = np.stack([1 - uv.sum(axis=1), uv[:, 0], uv[:, 1]], axis=1)
    image = np.full((len(rays), values.shape[1]), np.nan)
    image[met] = np.einsum("pk,pkc->pc", weights, values[corners].astype(float))
    return image

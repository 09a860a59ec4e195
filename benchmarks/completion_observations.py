"""Single objects on a table, seen from one side; what kind of thing each is."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.frame import Frame
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.open3d_loader import open3d
from instascene_core.instances import InstanceId
from instascene_core.metrics import inside, sample_surface
from instascene_core.transforms import apply, inverse, look_at

if TYPE_CHECKING:
    import trimesh

TABLE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)
OBJECT = InstanceId(2)  # label; 1 is the table


def load_objects(folder: Path) -> dict[str, TriangleMesh]:
    """Closed meshes (STL, OBJ, PLY) in metres, standing in their likeliest stable pose on z = 0."""
    result = {}
    for path in _mesh_files(folder):
        mesh = _load_in_metres(path)
        if not mesh.is_watertight:
            continue
        mesh.apply_transform(mesh.compute_stable_poses(n_samples=1)[0][0])
        result[path.stem] = _standing(mesh)
    return result


def _mesh_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix in (".stl", ".obj", ".ply"))


def _load_in_metres(path: Path) -> "trimesh.Trimesh":
    """A household thing is not ten metres long: such a one is in millimetres."""
    import trimesh

    # force="mesh" makes it one mesh, which the declared type does not say.
    mesh = cast(trimesh.Trimesh, trimesh.load(path, force="mesh"))
    return mesh.apply_scale(1e-3) if mesh.extents.max() > 10 else mesh


def vessels_mouth_up(folder: Path) -> dict[str, TriangleMesh]:
    """The vessels among the meshes, as they are used: in that stable pose in which most of their hull is
    empty and open to the sky.  The likeliest pose of a thrown cup is upside down or on its side."""
    result = {}
    for path in _mesh_files(folder):
        mesh = _load_in_metres(path)
        poses, likely = mesh.compute_stable_poses(n_samples=1) if mesh.is_watertight else ([], [])
        standing = [
            _standing(mesh.copy().apply_transform(pose)) for pose, p in zip(poses, likely) if p > 0.01
        ]
        shares = [open_share(body) for body in standing]
        if shares and max(shares) > 0.3:
            result[path.stem] = standing[int(np.argmax(shares))]
    return result


def open_share(mesh: TriangleMesh, seed: int = 0) -> float:
    """Share of the convex hull that is empty and open upward, yet enclosed sideways."""
    rng = np.random.default_rng(seed)
    hull = meshes.convex_hull(mesh.vertices)
    points = rng.uniform(mesh.vertices.min(axis=0), mesh.vertices.max(axis=0), (4000, 3))
    points = points[inside(hull, points)]
    empty = points[~inside(mesh, points)]
    scene = _ray_scene([mesh])
    open_above = ~np.isfinite(_cast(scene, empty, np.broadcast_to([0.0, 0.0, 1.0], empty.shape)))
    angle = 2 * np.pi * np.arange(8) / 8
    sideways = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    met = np.isfinite(_cast(scene, np.repeat(empty, 8, axis=0), np.tile(sideways, (len(empty), 1))))
    return float((open_above & met.reshape(-1, 8).all(axis=1)).sum() / len(points))


def plain_objects(count: int = 10, seed: int = 0) -> dict[str, TriangleMesh]:
    """Boxes and cans of random sizes, upright or lying."""
    import trimesh

    rng, result = np.random.default_rng(seed), {}
    for k in range(count):
        box = trimesh.creation.box(rng.uniform(0.03, 0.25, 3))
        can = trimesh.creation.cylinder(rng.uniform(0.02, 0.06), rng.uniform(0.04, 0.2), sections=64)
        if k % 2:
            can.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
        for name, mesh in ((f"box {k}", box), (f"can {k}", can)):
            mesh.apply_transform(trimesh.transformations.rotation_matrix(rng.uniform(0, 6), (0, 0, 1)))
            result[name] = _standing(mesh)
    return result


def _standing(mesh) -> TriangleMesh:
    mesh.apply_translation([*-mesh.bounds.mean(axis=0)[:2], -mesh.bounds[0, 2]])
    return meshes.from_trimesh(mesh)


def kind_of(mesh: TriangleMesh, seed: int = 0) -> str:
    """ "hollow", "thin" or "solid", from the mesh itself.

    Hollow: of its convex hull at least a tenth is empty yet enclosed (from there 70 % of all directions
    meet the body).  Thin: half of the surface has less than a tenth of the diagonal behind it.
    """
    rng = np.random.default_rng(seed)
    diagonal = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    scene = _ray_scene([mesh])
    hull = meshes.convex_hull(mesh.vertices)
    points = rng.uniform(mesh.vertices.min(axis=0), mesh.vertices.max(axis=0), (6000, 3))
    points = points[inside(hull, points)]
    empty = points[~inside(mesh, points)]
    directions = rng.standard_normal((64, 3))
    met = _cast(scene, np.repeat(empty, 64, axis=0), np.tile(directions, (len(empty), 1)))
    enclosed = np.isfinite(met).reshape(-1, 64).mean(axis=1) > 0.7
    if enclosed.sum() > 0.1 * len(points):
        return "hollow"
    surface = sample_surface(mesh, 1500, seed)
    nearest = scene.compute_closest_points(open3d.core.Tensor(surface.astype(np.float32)))
    inward = -nearest["primitive_normals"].numpy()
    thickness = _cast(scene, surface + 1e-4 * diagonal * inward, inward)
    return "thin" if np.median(thickness) < 0.1 * diagonal else "solid"


def _ray_scene(parts: list[TriangleMesh]):
    scene = open3d.t.geometry.RaycastingScene()
    for part in parts:
        scene.add_triangles(
            open3d.core.Tensor(part.vertices.astype(np.float32)),
            open3d.core.Tensor(part.triangles.astype(np.uint32)),
        )
    return scene


def _cast(scene, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    rays = np.concatenate([origins, directions], axis=-1).astype(np.float32)
    return scene.cast_rays(open3d.core.Tensor(rays))["t_hit"].numpy()


def one_sided_frames(
    mesh: TriangleMesh, rng: np.random.Generator, views: int = 6, arc_degrees: float = 90.0
) -> list[Frame]:
    """Noisy depth and labels of an object on a table from cameras on a short arc."""
    size = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    scene = _ray_scene([meshes.convex_hull(_slab(5 * size)), mesh])
    camera = PinholeCamera(320, 240, 320.0, 320.0, 160.0, 120.0)
    start = rng.uniform(0, 2 * np.pi)
    center = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    frames = []
    for k in range(views):
        azimuth = start + np.deg2rad(arc_degrees) * k / max(1, views - 1)
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


def seen_points(points: np.ndarray, frames: list[Frame], limit: float) -> np.ndarray:
    """[N] bool: which points [N, 3] of a true surface some frame sees, to within `limit` metres."""
    seen = np.zeros(len(points), dtype=bool)
    for frame in frames:
        assert frame.depth is not None, "frames of a thing on a table have depth"
        pixels, z = frame.camera.project(apply(inverse(frame.world_from_camera), points))
        with np.errstate(invalid="ignore"):
            within = ((pixels >= 0) & (pixels < (frame.camera.width, frame.camera.height))).all(axis=1)
        column, row = pixels[within].astype(int).T
        seen[within] |= np.abs(frame.depth[row, column] - z[within]) < limit
    return seen

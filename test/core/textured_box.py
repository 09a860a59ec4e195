"""A painted box that cameras see from above, so that every colour of its texture is known."""

import numpy as np
import trimesh

from instascene_core.camera import PinholeCamera
from instascene_core.frame import Frame
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.open3d_loader import open3d
from instascene_core.objects import CompletedObject
from instascene_core.transforms import apply, inverse, look_at, matrix_from_quaternion

CAMERA = PinholeCamera(200, 150, 260.0, 260.0, 100.0, 75.0)
SIZE = np.array([0.2, 0.1, 0.08])  # metres
BELOW = np.array([40, 90, 160], dtype=np.uint8)  # colour of the vertices, shown where no camera looked


def paint(points: np.ndarray) -> np.ndarray:
    """[N, 3] colours 0 … 255 at points [N, 3] of the box's own frame."""
    x, y, z = (points / SIZE).T
    waves = [np.sin(14 * x + 3 * z), np.sin(11 * y + 5 * x), np.sin(12 * z - 8 * y)]
    return 128 + 70 * np.stack(waves, axis=1)


def painted_box(triangles: int = 3000) -> CompletedObject:
    """The box, turned and away from the origin; its vertices all have the colour BELOW."""
    body = trimesh.creation.box(SIZE)
    while len(body.faces) < triangles:
        body = body.subdivide()
    body.apply_translation([0, 0, SIZE[2] / 2])
    pose = np.eye(4)
    pose[:3, :3] = matrix_from_quaternion(np.array([np.cos(0.4), 0, 0, np.sin(0.4)]))
    pose[:3, 3] = [0.5, -0.2, 0.7]
    body.apply_transform(pose)
    mesh = meshes.from_trimesh(body)
    count = len(mesh.vertices)
    return CompletedObject(
        instance_id=4,
        mesh=mesh,
        colors=np.tile(BELOW, (count, 1)),
        observed=np.ones(count, dtype=np.float32),
        vertex_uncertainty=np.full(count, 1e-3, dtype=np.float32),
        world_from_object=pose,
        dimensions=SIZE,
        watertight=True,
        volume=meshes.volume(mesh),
        observed_fraction=0.8,
        uncertainty=1e-3,
        confidence=0.9,
        prior="carving (Apache-2.0)",
        duration_s=1.0,
        convex_parts=(mesh,),
    )


def frames_of(thing: CompletedObject, count: int = 10, gains=None) -> list[Frame]:
    """Frames with labels from a ring above; gains: [count] exposure of each."""
    center = apply(thing.world_from_object, np.array([[0, 0, SIZE[2] / 2]]))[0]
    made = []
    for k in range(count):
        angle = 2 * np.pi * k / count
        eye = center + np.array([0.45 * np.cos(angle), 0.45 * np.sin(angle), 0.35 + 0.1 * (k % 2)])
        made.append(_frame(thing, f"{k:03d}", look_at(eye, center, np.array([0.0, 0.0, 1.0])), gains, k))
    return made


def _frame(thing: CompletedObject, name: str, pose: np.ndarray, gains, k: int) -> Frame:
    scene = meshes.raycasting_scene(TriangleMesh(thing.mesh.vertices, thing.mesh.triangles))
    rays = CAMERA.rays.reshape(-1, 3) @ pose[:3, :3].T
    eye = np.broadcast_to(pose[:3, 3], rays.shape)
    depth = scene.cast_rays(open3d.core.Tensor(np.concatenate([eye, rays], 1).astype(np.float32)))["t_hit"]
    depth = depth.numpy()
    seen = np.isfinite(depth)
    rgb = np.full((len(rays), 3), 230, dtype=np.uint8)
    points = eye[seen] + depth[seen, None] * rays[seen]
    gain = 1.0 if gains is None else gains[k]
    rgb[seen] = np.clip(gain * paint(apply(inverse(thing.world_from_object), points)), 0, 255)
    labels = np.where(seen, thing.instance_id, -1).astype(np.int32)
    shape = (CAMERA.height, CAMERA.width)
    return Frame(name, float(k), CAMERA, pose, rgb.reshape(*shape, 3), labels=labels.reshape(shape))

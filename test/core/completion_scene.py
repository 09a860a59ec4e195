"""Small scenes of known meshes on a table, ray-traced, for the completion tests and experiments."""

import numpy as np
import trimesh

from instascene_core.camera import PinholeCamera
from instascene_core.frame import Frame
from instascene_core.geometry.open3d_loader import open3d
from instascene_core.transforms import look_at

TABLE = 1  # label of the table; objects are 2, 3, …


def table_mesh(size: float = 1.0) -> trimesh.Trimesh:
    mesh = trimesh.creation.box((size, size, 0.04))
    mesh.apply_translation((0, 0, -0.02))
    return mesh


def mug(radius=0.04, height=0.09, wall=0.004) -> trimesh.Trimesh:
    """A closed mug with a handle, standing on z = 0."""
    outer = trimesh.creation.cylinder(radius, height, sections=64)
    inner = trimesh.creation.cylinder(radius - wall, height, sections=64)
    inner.apply_translation((0, 0, wall))
    ring = trimesh.creation.torus(0.025, 0.005, major_sections=48, minor_sections=16)
    ring.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
    ring.apply_translation((radius + 0.008, 0, 0))
    body = trimesh.boolean.union([outer, ring]).difference(inner)
    body.apply_translation((0, 0, height / 2))
    return body


def bowl(radius=0.07, wall=0.005) -> trimesh.Trimesh:
    """A closed hemispherical bowl with a flat foot, standing on z = 0."""
    t = np.linspace(0.35, np.pi / 2, 24)
    outer = np.stack([radius * np.sin(t), radius * (1 - np.cos(t))], 1)
    inner = np.stack([(radius - wall) * np.sin(t[::-1]), radius - (radius - wall) * np.cos(t[::-1])], 1)
    profile = np.concatenate([[[0, outer[0, 1]]], outer, inner, [[0, inner[-1, 1]]]])
    mesh = trimesh.creation.revolve(profile, sections=64)
    mesh.apply_translation((0, 0, -mesh.bounds[0, 2]))
    return mesh


def orbit(count: int, elevations=(35.0,), azimuths=(0.0, 360.0), distance=0.7, target=(0, 0, 0.04)):
    """`world_from_camera` of cameras on arcs; azimuths is half-open."""
    poses = []
    for k in range(count):
        azimuth = np.deg2rad(azimuths[0] + (azimuths[1] - azimuths[0]) * k / count)
        elevation = np.deg2rad(elevations[k % len(elevations)])
        offset = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
        poses.append(look_at(np.array(target) + distance * np.array(offset), target))
    return poses


def render(meshes, poses, width=320, height=240, focal=300.0, noise=0.0, bleed=0, seed=0) -> list[Frame]:
    """Frames with depth and labels of `meshes` (label = index + TABLE; the first is the table).

    noise: standard deviation of depth in metres at 1 m (grows with depth²).  bleed: pixels by which
    each object's label grows over its surroundings.
    """
    rng = np.random.default_rng(seed)
    scene = open3d.t.geometry.RaycastingScene()
    for mesh in meshes:
        _add(scene, mesh)
    camera = PinholeCamera(width, height, focal, focal, width / 2, height / 2)
    palette = np.array([[90, 90, 90], [200, 60, 50], [50, 160, 70], [60, 80, 200], [220, 200, 60]], np.uint8)
    frames = []
    for index, pose in enumerate(poses):
        directions = camera.rays @ pose[:3, :3].T
        origins = np.broadcast_to(pose[:3, 3], directions.shape)
        rays = np.concatenate([origins, directions], axis=-1).astype(np.float32)
        hit = scene.cast_rays(rays)
        depth = hit["t_hit"].numpy()
        geometry = hit["geometry_ids"].numpy()
        depth = np.where(np.isfinite(depth), depth, 0).astype(np.float32)
        labels = np.where(depth > 0, geometry.astype(np.int64) + TABLE, -1).astype(np.int32)
        rgb = palette[np.clip(labels, 0, None) % len(palette)]
        if noise > 0:
            depth = np.where(depth > 0, depth + noise * depth**2 * rng.standard_normal(depth.shape), 0)
        if bleed > 0:
            import cv2

            for label in range(TABLE + 1, len(meshes) + TABLE):
                grown = cv2.dilate((labels == label).astype(np.uint8), np.ones((2 * bleed + 1,) * 2))
                labels = np.where((grown > 0) & (labels == TABLE), label, labels).astype(np.int32)
        frames.append(Frame(f"{index:04d}", index / 10, camera, pose, rgb, depth.astype(np.float32), labels))
    return frames


def volume_iou(mesh_a, mesh_b, count=40000, seed=0) -> float:
    """Monte Carlo volume IoU of two closed trimeshes."""
    rng = np.random.default_rng(seed)
    low = np.minimum(mesh_a.bounds[0], mesh_b.bounds[0])
    high = np.maximum(mesh_a.bounds[1], mesh_b.bounds[1])
    points = rng.uniform(low, high, (count, 3)).astype(np.float32)
    inside = [_occupancy(m, points) for m in (mesh_a, mesh_b)]
    return float((inside[0] & inside[1]).sum() / max(1, (inside[0] | inside[1]).sum()))


def _occupancy(mesh, points):
    scene = open3d.t.geometry.RaycastingScene()
    _add(scene, mesh)
    return scene.compute_occupancy(points).numpy() > 0.5


def _add(scene, mesh) -> None:
    scene.add_triangles(
        open3d.core.Tensor(np.array(mesh.vertices, dtype=np.float32)),
        open3d.core.Tensor(np.array(mesh.faces, dtype=np.uint32)),
    )

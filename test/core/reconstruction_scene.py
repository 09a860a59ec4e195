"""A small tabletop with exact depth, ray-cast by open3d: frames to try the reconstruction on."""

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.frame import Frame
from instascene_core.transforms import look_at


def tabletop_frames(
    num_frames: int,
    width: int = 160,
    height: int = 120,
    seed: int = 0,
    depth_noise: float = 0.0,  # metres at 1 m, grows with the square of the distance
    scale: float = 1.0,  # of the whole world: 1 = a table of 1 m
    phase: float = 0.0,  # turns the camera ring, for views between the training views
) -> list[Frame]:
    """Frames on two rings around a textured table with boxes, spheres and cylinders."""
    scene, textures = _scene(np.random.default_rng(seed))
    noise = np.random.default_rng(seed + 1)
    focal = 0.9 * width
    camera = PinholeCamera(width, height, focal, focal, width / 2 - 0.3, height / 2 + 0.2)
    frames = []
    for i in range(num_frames):
        azimuth = 2 * np.pi * (i + phase) / num_frames
        elevation = np.deg2rad(30 if i % 2 else 55)
        direction = [
            np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation),
        ]  # fmt: skip
        pose = look_at(0.8 * np.array(direction), np.array([0, 0, 0.04]))
        rgb, depth, _ = _shoot(scene, textures, camera, pose)
        if depth_noise:
            depth = depth + noise.normal(size=depth.shape) * depth_noise * depth**2 * (depth > 0)
        pose = pose.copy()
        pose[:3, 3] *= scale
        frames.append(
            Frame(f"{i:03d}", float(i), camera, pose, rgb, np.maximum(depth * scale, 0).astype(np.float32))
        )
    return frames


def _scene(rng: np.random.Generator):
    from instascene_core.geometry.open3d_loader import open3d as o3d

    table = o3d.t.geometry.TriangleMesh.create_box(1.2, 1.2, 0.05).translate([-0.6, -0.6, -0.05])
    meshes = [table]
    for i in range(6):
        angle, radius = 2 * np.pi * i / 6, 0.2 + 0.05 * rng.random()
        size = 0.05 + 0.03 * rng.random()
        if i % 3 == 0:
            mesh = o3d.t.geometry.TriangleMesh.create_box(1.4 * size, size, 1.6 * size)
        elif i % 3 == 1:
            mesh = o3d.t.geometry.TriangleMesh.create_sphere(size, resolution=40).translate([0, 0, size])
        else:
            mesh = o3d.t.geometry.TriangleMesh.create_cylinder(0.7 * size, 2 * size, resolution=60)
            mesh = mesh.translate([0, 0, size])
        meshes.append(mesh.translate([radius * np.cos(angle), radius * np.sin(angle), 0]))
    scene = o3d.t.geometry.RaycastingScene()
    textures = {}
    for mesh in meshes:
        textures[scene.add_triangles(mesh)] = _texture(rng)
    return scene, textures


def _texture(rng: np.random.Generator):
    """A solid texture: colour as a function of the 3D point, with waves of 1.5 to 20 cm."""
    base = 0.3 + 0.4 * rng.random(3)
    waves = 2 * np.pi / np.geomspace(0.015, 0.2, 12)
    directions = rng.normal(size=(12, 3))
    directions *= (waves / np.linalg.norm(directions, axis=1))[:, None]
    # Mostly grey, and weaker the finer: like the spectrum of photographs.
    amplitudes = 0.08 * rng.normal(size=(12, 1)) + 0.04 * rng.normal(size=(12, 3))
    amplitudes *= np.sqrt(waves[-1] / waves)[:, None]
    phases = 2 * np.pi * rng.random(12)

    def color(points: np.ndarray) -> np.ndarray:
        return base + np.sin(points @ directions.T + phases) @ amplitudes

    return color


def _shoot(scene, textures, camera: PinholeCamera, world_from_camera: np.ndarray):
    """(rgb [H, W, 3] uint8 averaged over 2×2 rays, depth [H, W] at pixel centres, normals, world)."""
    centre = _cast(scene, textures, camera, world_from_camera)
    fine = _cast(scene, textures, camera.scaled(2), world_from_camera)
    rgb = fine[0].reshape(camera.height, 2, camera.width, 2, 3).mean(axis=(1, 3))
    return (rgb * 255 + 0.5).astype(np.uint8), centre[1], centre[2]


def _cast(scene, textures, camera: PinholeCamera, world_from_camera: np.ndarray):
    rays = camera.rays.reshape(-1, 3).astype(np.float64)
    directions = rays @ world_from_camera[:3, :3].T
    origins = np.broadcast_to(world_from_camera[:3, 3], directions.shape)
    hit = scene.cast_rays(np.concatenate([origins, directions], axis=1).astype(np.float32))
    depth = hit["t_hit"].numpy().astype(np.float64)  # rays have z = 1: t is the depth
    depth[~np.isfinite(depth)] = 0
    normals = hit["primitive_normals"].numpy()
    normals = np.where((normals * directions).sum(-1, keepdims=True) > 0, -normals, normals)
    points = origins + directions * depth[:, None]
    shading = 0.75 + 0.25 * normals @ np.array([0.3, 0.2, 0.93])
    rgb = np.full((len(rays), 3), 0.1)
    for geometry, texture in textures.items():
        on = hit["geometry_ids"].numpy() == geometry
        rgb[on] = np.clip(texture(points[on]) * shading[on, None], 0, 1)
    shape = (camera.height, camera.width)
    return rgb.reshape(*shape, 3), depth.reshape(shape), normals.reshape(*shape, 3)

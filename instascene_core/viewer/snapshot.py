"""Shaded pictures of meshes by ray casting: no OpenGL, no display, the same bits everywhere."""

from collections.abc import Sequence

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.colors import instance_color, observed_colors
from instascene_core.objects import CompletedObject
from instascene_core.transforms import dots, lengths, look_at

BACKDROP = 245


def render_objects(
    objects: Sequence[CompletedObject],
    camera: PinholeCamera,
    world_from_camera: np.ndarray,
    style: str = "color",
    backdrop: np.ndarray | None = None,
) -> np.ndarray:
    """[H, W, 3] uint8 picture of completed objects over `backdrop` [H, W, 3] uint8 (None: light grey).

    style: "color" = the objects' own vertex colours, "instance" = one colour an instance,
    "observed" = blue where observed, orange where generated.
    """
    return render_styles(objects, camera, world_from_camera, (style,), backdrop)[0]


def render_styles(
    objects: Sequence[CompletedObject],
    camera: PinholeCamera,
    world_from_camera: np.ndarray,
    styles: Sequence[str],
    backdrop: np.ndarray | None = None,
) -> list[np.ndarray]:
    """A picture a style, as of `render_objects`; the rays are cast once."""
    from instascene_core.geometry.open3d_loader import open3d as o3d

    height, width = camera.height, camera.width
    image = np.full((height, width, 3), BACKDROP, dtype=np.uint8) if backdrop is None else backdrop.copy()
    objects = [o for o in objects if len(o.mesh.triangles)]
    if not objects:
        return [image.copy() for _ in styles]
    scene = o3d.t.geometry.RaycastingScene()
    for o in objects:
        scene.add_triangles(o.mesh.vertices.astype(np.float32), o.mesh.triangles.astype(np.uint32))
    directions = camera.rays.reshape(-1, 3) @ world_from_camera[:3, :3].T.astype(np.float32)
    origins = np.broadcast_to(world_from_camera[:3, 3].astype(np.float32), directions.shape)
    hits = scene.cast_rays(np.concatenate([origins, directions], axis=1).astype(np.float32))
    geometry = hits["geometry_ids"].numpy()
    hit = np.flatnonzero(geometry < len(objects))
    triangles, uvs = (hits[name].numpy()[hit] for name in ("primitive_ids", "primitive_uvs"))
    normals = hits["primitive_normals"].numpy()[hit]
    towards = -directions[hit] / lengths(directions[hit])[:, None]
    # A headlight slightly above the camera keeps every visible face lit and edges readable.
    shade = 0.35 + 0.65 * np.abs(dots(normals, towards))
    pictures = []
    for style in styles:
        colors = _hit_colors(objects, geometry[hit], triangles, uvs, style)
        pictures.append(image.copy())
        pictures[-1].reshape(-1, 3)[hit] = np.clip(colors * shade[:, None], 0, 255).astype(np.uint8)
    return pictures


def _hit_colors(objects, geometry_ids, triangle_ids, uvs, style) -> np.ndarray:
    """[M, 3] float32 colour at each hit, interpolated over the triangle."""
    colors = np.empty((len(geometry_ids), 3), dtype=np.float32)
    for index, o in enumerate(objects):
        mine = np.flatnonzero(geometry_ids == index)
        if style == "instance":
            colors[mine] = instance_color(o.instance_id)
            continue
        corners = o.mesh.triangles[triangle_ids[mine]]  # [M, 3]
        u, v = uvs[mine].T
        weights = np.stack([1 - u - v, u, v], axis=1).astype(np.float32)
        if style == "observed":
            colors[mine] = observed_colors((o.observed[corners] * weights).sum(axis=1))
        else:
            colors[mine] = (o.colors[corners].astype(np.float32) * weights[..., None]).sum(axis=1)
    return colors


def orbit_cameras(
    objects: Sequence[CompletedObject], up: np.ndarray, views: int = 4, size: int = 360
) -> list[tuple[PinholeCamera, np.ndarray]]:
    """Cameras (and `world_from_camera`) evenly around all objects, 30° above the horizon."""
    vertices = np.concatenate([o.mesh.vertices for o in objects])
    center = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    radius = np.linalg.norm(vertices - center, axis=1).max()
    up = np.asarray(up, dtype=np.float64) / np.linalg.norm(up)
    side = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    side /= np.linalg.norm(side)
    camera = PinholeCamera(size, size, 1.3 * size, 1.3 * size, size / 2, size / 2)
    distance = 3.2 * radius  # 2·atan(0.5 / 1.3) = 42° field of view holds a sphere at 2.8 radii
    poses = []
    for azimuth in 2 * np.pi * np.arange(views) / views:
        horizontal = np.cos(azimuth) * side + np.sin(azimuth) * np.cross(up, side)
        eye = center + distance * (np.cos(np.pi / 6) * horizontal + np.sin(np.pi / 6) * up)
        poses.append((camera, look_at(eye, center, up)))
    return poses


def colorize_labels(labels: np.ndarray, rgb: np.ndarray | None = None) -> np.ndarray:
    """[H, W, 3] uint8: instance colours, over a darkened grey version of `rgb` where given."""
    if rgb is None:
        canvas = np.full((*labels.shape, 3), 40, dtype=np.uint8)
    else:
        canvas = np.repeat((rgb.mean(axis=2, keepdims=True) * 0.6).astype(np.uint8), 3, axis=2)
    for instance_id in np.unique(labels[labels > 0]):
        mask = labels == instance_id
        canvas[mask] = (0.35 * canvas[mask] + 0.65 * instance_color(int(instance_id))).astype(np.uint8)
    return canvas


def side_by_side(panels: Sequence[tuple[str, np.ndarray]], height: int = 320, columns: int = 4) -> np.ndarray:
    """One picture of titled panels, each scaled to `height`, in rows of `columns`."""
    import cv2

    title = 26
    cells = []
    for name, image in panels:
        width = max(1, round(image.shape[1] * height / image.shape[0]))
        cell = np.full((height + title, width, 3), 255, dtype=np.uint8)
        cell[title:] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        cv2.putText(cell, name, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
        cells.append(cell)
    rows = [np.concatenate(cells[i : i + columns], axis=1) for i in range(0, len(cells), columns)]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    return np.concatenate(padded, axis=0)

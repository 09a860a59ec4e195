"""A textured object as a camera sees it, by casting rays: what renderers of its files show, without light."""

import numpy as np

from instascene_core.frame import Frame
from instascene_core.geometry.open3d_loader import open3d
from instascene_core.objects import CompletedObject


def shown_colors(thing: CompletedObject, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """(colours [K, 3] float64 0 … 255, pixels [K] of the flattened image) of the object's own pixels in a
    frame with labels; bilinear in the texture, or between vertices where there is none."""
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        open3d.core.Tensor(thing.mesh.vertices.astype(np.float32)),
        open3d.core.Tensor(thing.mesh.triangles.astype(np.uint32)),
    )
    pixels = np.flatnonzero(frame.require_labels() == thing.instance_id)
    rays = frame.camera.rays.reshape(-1, 3)[pixels] @ frame.world_from_camera[:3, :3].T
    eye = np.broadcast_to(frame.world_from_camera[:3, 3], rays.shape)
    hit = scene.cast_rays(open3d.core.Tensor(np.concatenate([eye, rays], axis=1).astype(np.float32)))
    found = np.isfinite(hit["t_hit"].numpy())
    triangle = hit["primitive_ids"].numpy()[found].astype(np.int64)
    uv = hit["primitive_uvs"].numpy()[found].astype(np.float64)
    weight = np.stack([1 - uv.sum(axis=1), *uv.T], axis=1)
    return _colors(thing, triangle, weight), pixels[found]


def _colors(thing: CompletedObject, triangle: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if thing.texture is None:
        corners = thing.colors[thing.mesh.triangles[triangle]].astype(np.float64)
        return np.einsum("kc,kcd->kd", weight, corners)
    return thing.texture.at(triangle, weight)

"""Frames as sources of colour for one object."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.config.texture import TextureConfig
from instascene_core.frame import Frame
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.open3d_loader import open3d
from instascene_core.transforms import apply, inverse, lengths


@dataclass(frozen=True)
class Sighting:
    """What one frame shows of the object; images are cropped around it."""

    camera: PinholeCamera
    world_from_camera: np.ndarray  # [4, 4]
    rgb: np.ndarray  # [H, W, 3] float32, 0 … 255
    depth: np.ndarray  # [H, W] float32 metres along the axis, of the mesh; 0 where it is not to be seen
    inside: np.ndarray  # [H, W] float32 in [0, 1]: 1 inside, less toward the border of the object's mask
    sharpness: float  # relative to the other frames, about 1

    @property
    def footprint(self) -> float:
        """Metres a pixel covers on the object, where that faces the camera; median."""
        seen = self.depth[self.depth > 0]
        return float(np.median(seen)) / self.camera.fx


def sightings(
    frames: Sequence[Frame], instance_id: int, mesh: TriangleMesh, config: TextureConfig
) -> list[Sighting]:
    """The frames that show the object, best ones first, at most `config.views`.

    frames: with labels (instance ids).  mesh: of the object, in the frames' frame.  A pixel counts where it
    has the object's label and the mesh lies behind it.
    """
    scene = meshes.raycasting_scene(mesh)
    found = [_sighting(frame, instance_id, scene, config) for frame in frames]
    found = [one for one in found if one is not None]
    typical = float(np.median([one.sharpness for one in found])) if found else 1.0
    relative = [float(np.clip(one.sharpness / max(typical, 1e-9), 0.25, 2.0)) for one in found]
    found = [replace(one, sharpness=value) for one, value in zip(found, relative)]
    return _most_telling(found, mesh, config)


def _sighting(frame: Frame, instance_id: int, scene, config: TextureConfig) -> Sighting | None:
    """None where the frame does not show the object."""
    mask = frame.require_labels() == instance_id
    if frame.valid is not None:
        mask &= frame.valid
    if mask.sum() < config.min_pixels:
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y0, y1 = max(rows[0] - 2, 0), min(rows[-1] + 3, frame.camera.height)
    x0, x1 = max(columns[0] - 2, 0), min(columns[-1] + 3, frame.camera.width)
    crop, mask = frame.cropped(int(x0), int(y0), int(x1), int(y1)), mask[y0:y1, x0:x1]
    depth = np.zeros(mask.shape, dtype=np.float32)
    rays = crop.camera.rays[mask] @ frame.world_from_camera[:3, :3].T.astype(np.float32)  # z = 1
    eye = np.broadcast_to(frame.world_from_camera[:3, 3].astype(np.float32), rays.shape)
    hit = scene.cast_rays(open3d.core.Tensor(np.concatenate([eye, rays], axis=1)))["t_hit"].numpy()
    depth[mask] = np.where(np.isfinite(hit), hit, 0)
    if (depth > 0).sum() < config.min_pixels:
        return None
    # The image's own border is none of the object's.
    framed = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    away = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    inside = np.clip((away - 0.5) / config.border_pixels, 0, 1).astype(np.float32)
    rgb = crop.rgb.astype(np.float32)
    return Sighting(crop.camera, frame.world_from_camera, rgb, depth, inside, _sharpness(rgb, depth > 0))


def _sharpness(rgb: np.ndarray, mask: np.ndarray) -> float:
    """Fine detail over coarse detail in the mask: high where an image is in focus and not blurred."""
    gray = rgb.mean(axis=-1)
    soft, softer = cv2.GaussianBlur(gray, (0, 0), 1.0), cv2.GaussianBlur(gray, (0, 0), 3.0)
    return float(np.std((gray - soft)[mask]) / max(float(np.std((soft - softer)[mask])), 1.0))


def _most_telling(found: list[Sighting], mesh: TriangleMesh, config: TextureConfig) -> list[Sighting]:
    """At most `config.views`, chosen one by one such that together they show the surface best."""
    if len(found) <= config.views:
        return found
    step = max(1, len(mesh.vertices) // 2000)
    points, normals = mesh.vertices[::step], meshes.vertex_normals(mesh)[::step]
    scale = min(one.footprint for one in found)
    weights = np.zeros((len(found), len(points)))
    for row, one in zip(weights, found):
        index, weight, _ = look(one, points, normals, scale, config)
        row[index] = weight
    best, chosen = np.zeros(len(points)), []
    for _ in range(config.views):
        gain = np.maximum(weights - best, 0).sum(axis=1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        best = np.maximum(best, weights[chosen[-1]])
    return [found[k] for k in chosen]


def look(
    view: Sighting, points: np.ndarray, normals: np.ndarray, scale: float, config: TextureConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of the points [N, 3] (unit normals [N, 3]) the view shows, how well, and in which colour.

    scale: metres, footprint of a pixel that has weight 1 where it is seen head on.
    Returns index [K] int64, weight [K] > 0 (cosine², (scale / footprint)², sharpness, distance from the
    mask's border) and colours [K, 3] float32, bilinear.
    """
    toward = np.empty_like(points)
    for axis in range(3):  # all at once takes numpy several times as long
        np.subtract(view.world_from_camera[axis, 3], points[:, axis], out=toward[:, axis])
    facing = np.einsum("nc,nc->n", toward, normals)
    index = np.flatnonzero(facing > 0)  # cheap, and half of the surface looks away
    distance = lengths(toward[index])
    cosine = facing[index] / np.maximum(distance, 1e-30)
    steep = cosine > config.min_cosine
    index, cosine = index[steep], cosine[steep]
    pixel, z = view.camera.project(apply(inverse(view.world_from_camera), points[index]))
    height, width = view.depth.shape
    u, v = pixel.T
    inside = (z > 0) & (u >= 0.5) & (v >= 0.5) & (u < width - 0.5) & (v < height - 0.5)
    index, pixel, z, cosine = index[inside], pixel[inside], z[inside], cosine[inside]
    column, row = np.floor(pixel).astype(np.int64).T
    footprint = z / view.camera.fx
    surface = view.depth[row, column]
    visible = (surface > 0) & (z < surface + config.depth_footprints * footprint / cosine)
    weight = view.inside[row, column] * cosine**2 * (scale / footprint) ** 2 * view.sharpness
    seen = visible & (weight > 0)
    return index[seen], weight[seen], _bilinear(view.rgb, pixel[seen])


def _bilinear(image: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """[K, 3] colours at pixels [K, 2] whose four neighbours lie in the image."""
    height, width, channels = image.shape
    column, row = pixel.T - 0.5
    x, y = np.minimum(np.floor(column), width - 2), np.minimum(np.floor(row), height - 2)
    u, v = (column - x).astype(np.float32), (row - y).astype(np.float32)
    corner = (y * width + x).astype(np.int64)
    colors = np.empty((len(pixel), channels), dtype=np.float32)
    for channel in range(channels):  # numpy is slow along an axis of three
        plane = np.ascontiguousarray(image[..., channel]).ravel()
        a, b, c, d = (np.take(plane, corner + step) for step in (0, 1, width, width + 1))
        colors[:, channel] = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d)
    return colors

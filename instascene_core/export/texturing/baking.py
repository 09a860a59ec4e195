"""The colours of an object's surface as one image, made of the frames that show it.

Every texel takes the colour of the frames that see it best: straight on, near, in focus and away from the
mask's border.  A high power of these weights lets the best frame decide where it is clearly best and blends
from one to the next where they change, so that there are no seams.  What no frame shows, the sides that were
generated, has the colours that completion gave the mesh's vertices.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instascene_core.config.texture import TextureConfig
from instascene_core.export.asset import in_object_frame
from instascene_core.export.texturing.atlas import Atlas, pack
from instascene_core.export.texturing.charts import cut_into_charts
from instascene_core.export.texturing.exposure import exposure_gains
from instascene_core.export.texturing.texels import Texels, covered_texels, filled
from instascene_core.export.texturing.views import Sighting, look, sightings
from instascene_core.frame import Frame
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import CompletedObject, Texture
from instascene_core.transforms import lengths

EXPOSURE_POINTS = 3000  # vertices by which frames are compared


def textured(obj: CompletedObject, frames: Sequence[Frame], config: TextureConfig) -> CompletedObject:
    """The object with a texture baked from `frames`; itself where none of them shows it.

    frames: posed in the object's frame of reference (the scene's), with instance ids as labels.
    """
    views = sightings(frames, obj.instance_id, obj.mesh, config) if config.enabled else []
    if not views:
        return obj
    footprint = float(np.percentile([view.footprint for view in views], 25))
    charts = cut_into_charts(in_object_frame(obj, obj.mesh))
    atlas = pack(charts, config.texel_footprints * footprint, config.max_size, config.padding)
    texels = covered_texels(atlas)
    colors, weight = _observed_colors(obj, views, texels, footprint, config)
    share = np.clip(weight / config.full_weight, 0, 1)[:, None]
    share = share * share * (3 - 2 * share)
    guessed = texels.interpolated(obj.mesh.triangles, obj.colors.astype(np.float64))
    colors = share * colors + (1 - share) * guessed
    return replace(obj, texture=as_texture(atlas, texels, colors, float(share.mean())))


def _observed_colors(
    obj: CompletedObject, views: Sequence[Sighting], texels: Texels, scale: float, config: TextureConfig
) -> tuple[np.ndarray, np.ndarray]:
    """(colours [N, 3] 0 … 255, weights [N] of the best frame) of the texels; scale: see `look`."""
    mesh, normals = obj.mesh, meshes.vertex_normals(obj.mesh)
    step = max(1, len(mesh.vertices) // EXPOSURE_POINTS)
    gains = exposure_gains(views, mesh.vertices[::step], normals[::step], scale, config)
    points = texels.interpolated(mesh.triangles, mesh.vertices)
    directions = texels.interpolated(mesh.triangles, normals)
    directions /= np.maximum(lengths(directions), 1e-30)[:, None]
    colors, total = np.zeros((3, len(points))), np.zeros(len(points))
    best = np.zeros(len(points))
    for view, gain in zip(views, gains):
        index, weight, color = look(view, points, directions, scale, config)
        powered = weight**config.sharpening
        for channel in range(3):
            colors[channel, index] += powered * (gain[channel] * color[:, channel])
        total[index] += powered
        best[index] = np.maximum(best[index], weight)
    colors = np.clip(colors / np.maximum(total, 1e-300), 0, 255).T
    return np.ascontiguousarray(colors), np.where(total > 0, best, 0)


def as_texture(atlas: Atlas, texels: Texels, colors: np.ndarray, observed: float) -> Texture:
    """The texture with colours [N, 3] (0 … 255) in the atlas' texels, and the nearest between its charts."""
    image = np.zeros((atlas.size * atlas.size, 3), dtype=np.uint8)
    image[texels.index] = np.clip(np.rint(colors), 0, 255)
    known = np.zeros(len(image), dtype=bool)
    known[texels.index] = True
    shape = (atlas.size, atlas.size)
    image = filled(image.reshape(*shape, 3), known.reshape(shape))
    uv = (atlas.places / atlas.size).astype(np.float32)
    return Texture(image, uv, atlas.triangles, atlas.texel, observed)

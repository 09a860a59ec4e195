"""The same object with fewer triangles, for scenes of many: own texture, colours from the full one."""

from dataclasses import replace

import numpy as np

from instascene_core.export.asset import in_object_frame
from instascene_core.export.texturing.atlas import pack
from instascene_core.export.texturing.baking import as_texture
from instascene_core.export.texturing.charts import cut_into_charts
from instascene_core.export.texturing.texels import covered_texels
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import CompletedObject


def reduced(obj: CompletedObject, triangles: int, padding: int) -> CompletedObject | None:
    """The object with at most about `triangles`, closed; None where it has no more than that already, or
    where no closed mesh of so few stands for it."""
    if len(obj.mesh.triangles) <= triangles:
        return None
    mesh = meshes.collapse_edges(obj.mesh, triangles)
    same = meshes.is_watertight(mesh) and _euler(mesh) == _euler(obj.mesh)
    if not same or abs(meshes.volume(mesh) - obj.volume) > 0.05 * obj.volume:
        return None
    triangle, weight = _nearest(obj.mesh, mesh.vertices)
    corners = obj.mesh.triangles[triangle]

    def at_vertices(values: np.ndarray) -> np.ndarray:
        return np.einsum("vk,vk...->v...", weight, values[corners].astype(np.float64))

    small = replace(
        obj,
        mesh=mesh,
        colors=np.clip(np.rint(at_vertices(obj.colors)), 0, 255).astype(np.uint8),
        observed=at_vertices(obj.observed).astype(np.float32),
        vertex_uncertainty=at_vertices(obj.vertex_uncertainty).astype(np.float32),
        texture=None,
    )
    return small if obj.texture is None else _painted(small, obj, padding)


def _euler(mesh: TriangleMesh) -> int:
    return len(mesh.vertices) - len(meshes.edges(mesh)[0]) + len(mesh.triangles)


def _painted(small: CompletedObject, full: CompletedObject, padding: int) -> CompletedObject:
    """With a texture whose texels have the colour of the place of the full surface that is nearest."""
    texture = full.texture
    assert texture is not None
    coarser = np.sqrt(len(full.mesh.triangles) / len(small.mesh.triangles))
    size = max(128, len(texture.image) >> max(1, round(np.log2(coarser))))
    atlas = pack(cut_into_charts(in_object_frame(small, small.mesh)), texture.texel, size, padding)
    texels = covered_texels(atlas)
    points = texels.interpolated(small.mesh.triangles, small.mesh.vertices)
    triangle, weight = _nearest(full.mesh, points)
    colors = texture.at(triangle, weight)
    return replace(small, texture=as_texture(atlas, texels, colors, texture.observed))


def _nearest(mesh: TriangleMesh, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(triangle [N], barycentric [N, 3]) of the place of the mesh that is nearest to each point [N, 3]."""
    from instascene_core.geometry.open3d_loader import open3d

    scene = meshes.raycasting_scene(mesh)
    found = scene.compute_closest_points(open3d.core.Tensor(points.astype(np.float32)))
    uv = found["primitive_uvs"].numpy().astype(np.float64)
    return found["primitive_ids"].numpy().astype(np.int64), np.stack([1 - uv.sum(axis=1), *uv.T], axis=1)

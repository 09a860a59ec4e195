"""The surface that was seen, moved onto what the views measured there, each side of a wall by itself.

Marching cubes of an averaged volume mixes the two sides of a wall that is not much thicker than a voxel or
the noise, and the wall comes out too thick.  On the mesh the sides are apart: a vertex is measured by the
views that look at its own side, and moves along its normal to the mean of their readings.
"""

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.config.meshing import SheetsConfig
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.depth_maps import depth_slopes
from instascene_core.geometry.tsdf import TARGET, DepthView, visible_box
from instascene_core.transforms import apply, dots, inverse, lengths


def settle(observation: Observation, mesh: TriangleMesh, config: SheetsConfig) -> TriangleMesh:
    """The mesh (world frame, metres) of a thing with thin walls, its seen vertices where the views measured
    them.  Of what is nowhere thin, or where the voxels are finer than the noise, the mesh itself.

    No vertex moves farther than a share of the way to the other side of the body, so that the sides of a
    wall do not change places.
    """
    voxel, normals = observation.grid.voxel, meshes.vertex_normals(mesh)
    through = np.quantile(_through(mesh, normals, config.ray_start), config.thin_share)
    if through > config.thin_voxels * voxel or observation.noise > config.max_noise * voxel:
        return mesh
    average = meshes.neighbours(mesh)
    band = max(config.band_noise * observation.noise, config.band_voxels * voxel)
    share = config.max_share / max(1, config.rounds)
    for _ in range(config.rounds):
        normals = meshes.vertex_normals(mesh)
        offset, weight, count = _readings(observation, mesh.vertices, normals, band, config)
        measured = count >= min(config.min_readings, observation.num_views)
        offset, weight = np.where(measured, offset, 0), np.where(measured, weight, 0)
        for _ in range(config.blurs):
            offset, weight = offset + average @ offset, weight + average @ weight
        move = np.where(measured, offset / np.maximum(weight, 1e-12), 0)
        limit = share * _through(mesh, normals, config.ray_start)
        mesh = TriangleMesh(mesh.vertices + np.maximum(move, -limit)[:, None] * normals, mesh.triangles)
    return mesh


def _readings(
    observation: Observation, vertices: np.ndarray, normals: np.ndarray, band: float, config: SheetsConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per vertex [V]: weighted sum of how far along its normal (metres) the views that look at its side saw
    the surface, the sum of weights, and the number of those views.

    normals: [V, 3] outward; band: metres beyond which a reading shows something else.
    """
    total, weight = np.zeros(len(vertices)), np.zeros(len(vertices))
    count = np.zeros(len(vertices), dtype=int)
    for view in observation.views:
        box = visible_box(observation.grid, view.camera, view.world_from_camera)
        if box is None:
            continue
        seen, offset, cosine = _reading(view.cropped(box), vertices, normals, config.min_cosine)
        near = np.abs(offset) < band
        seen, offset, cosine = seen[near], offset[near], cosine[near]
        total[seen] += cosine * offset
        weight[seen] += cosine
        count[seen] += 1
    return total, weight, count


def _reading(
    view: DepthView, vertices: np.ndarray, normals: np.ndarray, min_cosine: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What one view measured: the indices [M] of the vertices whose side it looks at and where it sees the
    target, how far along the normal the surface lies (metres), and the cosine between ray and normal."""
    local = apply(inverse(view.world_from_camera), vertices)
    facing = normals @ view.world_from_camera[:3, :3]
    cosine = -dots(local, facing) / np.maximum(lengths(local), 1e-12)
    pixels, depth = view.camera.project(local)
    with np.errstate(invalid="ignore"):
        inside = (depth > 1e-6) & view.camera.shows(pixels) & (cosine > min_cosine)
    index = np.flatnonzero(inside)
    column, row = pixels[index].astype(int).T
    mine = view.what[row, column] == TARGET
    index, column, row = index[mine], column[mine], row[mine]
    across, down = depth_slopes(view.depth)
    measured = view.depth[row, column] + across[row, column] * (pixels[index, 0] - column - 0.5)
    measured = measured + down[row, column] * (pixels[index, 1] - row - 0.5)
    # The ray meets the surface at `measured`; its way there, seen along the normal.
    way = local[index] * (measured / depth[index] - 1)[:, None]
    return index, dots(way, facing[index]), cosine[index]


def _through(mesh: TriangleMesh, normals: np.ndarray, start: float) -> np.ndarray:
    """[V] metres straight through the body from every vertex to its other side, infinite where there is none.

    start: under the surface, as a share of the body's size, where the rays begin.
    """
    begin = start * float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    center = mesh.vertices.mean(axis=0)  # single precision is fine enough near it
    local = TriangleMesh(mesh.vertices - center, mesh.triangles)
    return meshes.first_hit(local, local.vertices - begin * normals, -normals)[0] + begin

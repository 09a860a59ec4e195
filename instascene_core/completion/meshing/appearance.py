"""Per-vertex facts of a completed mesh: was it observed, how sure is it, which colour has it."""

from dataclasses import dataclass

import numpy as np

from instascene_core.completion.meshing import texture
from instascene_core.completion.observing.observation import Observation
from instascene_core.config.meshing import AppearanceConfig
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.transforms import cross, lengths


@dataclass(frozen=True)
class VertexFacts:
    """One value per vertex."""

    observed: np.ndarray  # [V] float32 in [0, 1]
    uncertainty: np.ndarray  # [V] float32, metres
    colors: np.ndarray  # [V, 3] uint8
    colored: np.ndarray  # [V] bool: whose colour was observed


def judge_vertices(
    observation: Observation, mesh: TriangleMesh, expected: np.ndarray, config: AppearanceConfig
) -> VertexFacts:
    """Judge every vertex by the confirmed points near it.

    expected: [V] metres, error expected where nothing was observed.  A vertex is observed when confirmed
    points lie within about a pixel's footprint of it, face the same way, and several views agree.
    """
    from scipy.spatial import cKDTree

    points = observation.points
    normals = meshes.vertex_normals(mesh)
    reach = max(
        config.reach_footprints * observation.pixel,
        config.reach_voxels * observation.grid.voxel,
        config.reach_noise * observation.noise,
    )
    support = points.column("support")
    count = min(config.points, len(points.positions))
    distance, index = cKDTree(points.positions).query(mesh.vertices, k=count)
    distance, index = np.atleast_2d(distance.T).T, np.atleast_2d(index.T).T  # [V, k]
    facing = np.einsum("vkc,vc->vk", points.normals[index], normals)
    near = np.exp(-0.5 * (np.maximum(distance - reach, 0) / reach) ** 2)
    near = near * np.clip(config.full_facing * facing, 0, 1)
    full_views = min(config.full_views, max(1, observation.num_views))
    agreeing = np.clip(support[index] / full_views, 0, 1)
    observed = (near * agreeing).max(axis=1)
    trust = observation.grid.sample(observation.trust, mesh.vertices)
    observed *= np.clip(trust * config.full_trust, 0, 1)
    measured = observation.noise / np.sqrt(np.maximum(support[index[:, 0]], 1))
    measured = np.maximum(measured, config.min_error * observation.grid.voxel)
    sigma = np.sqrt((observed * measured) ** 2 + ((1 - observed) * np.maximum(expected, measured)) ** 2)
    colors, seen = texture.fit_colors(observation, mesh, config)
    near_points = near.max(axis=1) > config.near
    softness = config.color_footprints * observation.pixel
    nearest = _nearest_colors(points.column("colors")[index], distance, near, softness)
    colors = np.where(seen[:, None], colors, nearest)
    colors = np.clip(np.rint(colors), 0, 255).astype(np.uint8)
    colored = seen | near_points
    colors = spread_along_surface(mesh, colors, colored)
    return VertexFacts(observed.astype(np.float32), sigma.astype(np.float32), colors, colored)


def _nearest_colors(
    colors: np.ndarray, distance: np.ndarray, near: np.ndarray, softness: float
) -> np.ndarray:
    """[V, 3] float64: mean colour of the k confirmed points nearest to each vertex, those facing the same
    way first.

    colors: [V, k, 3] uint8; distance: [V, k] metres; near: [V, k] in [0, 1]; softness: metres added to the
    distances.
    """
    weight = (near + 1e-6) / (distance + softness)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.einsum("vk,vkc->vc", weight, colors.astype(np.float64))


def spread_along_surface(mesh: TriangleMesh, colors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[V, 3] uint8: unseen vertices take the colour of the seen vertex nearest along the surface."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    if known.all() or not known.any():
        return colors
    t = mesh.triangles
    a, b = np.concatenate([t[:, 0], t[:, 1], t[:, 2]]), np.concatenate([t[:, 1], t[:, 2], t[:, 0]])
    length = lengths(mesh.vertices[a] - mesh.vertices[b]) + 1e-12
    graph = coo_matrix((length, (a, b)), shape=(len(mesh.vertices),) * 2).tocsr()
    _, _, source = dijkstra(
        graph, directed=False, indices=np.flatnonzero(known), return_predecessors=True, min_only=True
    )
    source = np.where(source >= 0, source, np.arange(len(colors)))
    return np.where(known[:, None], colors, colors[source])


def mean_over_surface(mesh: TriangleMesh, values: np.ndarray) -> float:
    """Mean over the surface of a value per vertex [V]."""
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    area = lengths(cross(b - a, c - a))
    return float((area * values[mesh.triangles].mean(axis=1)).sum() / max(area.sum(), 1e-30))

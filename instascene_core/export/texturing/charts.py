"""A closed mesh cut into charts: pieces that an orthogonal projection along one axis unfolds.

Unwrapping by xatlas takes ten seconds for 20,000 triangles and cuts them into hundreds of charts.  Objects
stand upright in their own frame, aligned with their box, so the six directions of the box do: each triangle
belongs to the direction that it and its neighbourhood face, and each connected piece of one direction is a
chart.  Where a chart hides a part of itself in its projection, that part becomes another chart.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes

DIRECTIONS = np.concatenate([np.eye(3), -np.eye(3)])  # [6, 3] unit
LEAST_FACING = 0.2  # cosine between a triangle and its direction, where its neighbours ask for another
SMOOTHINGS = 12  # of the normals along the surface
SMALLEST = 1e-2  # share of the surface: smaller charts join a neighbour where they face its way
MAX_LAYERS = 6  # of charts that hide one another
# Where a triangle is looked at, to see whether another hides it: barycentric coordinates.
PROBES = np.array([[1, 1, 1], [8, 1, 1], [1, 8, 1], [1, 1, 8]]) / np.array([[3], [10], [10], [10]])


@dataclass(frozen=True)
class Charts:
    """A mesh as flat pieces, metres, each at its own place of its own plane."""

    flat: (
        np.ndarray
    )  # [U, 2] float64 metres: vertices of the charts; a vertex on a seam is there once a chart
    vertex: np.ndarray  # [U] of the mesh
    triangles: np.ndarray  # [F, 3] int32 of the flat vertices, in the mesh's order of triangles
    chart: np.ndarray  # [F] int32


def cut_into_charts(mesh: TriangleMesh) -> Charts:
    """Charts of a closed mesh whose axes are those of its box (metres)."""
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    area = np.linalg.norm(normals, axis=1)
    facing = (normals / np.maximum(area, 1e-30)[:, None]) @ DIRECTIONS.T  # [F, 6]
    beside = _adjacent_triangles(mesh)
    label = _joined(_smoothed_labels(facing, area, beside), facing, area, beside)
    layer = np.zeros(len(label), dtype=np.int64)
    for _ in range(MAX_LAYERS):
        chart = _connected(label * MAX_LAYERS + layer, beside)
        hidden = _hidden(mesh, label, chart)
        if not hidden.any():
            break
        layer = np.where(hidden, np.minimum(layer + 1, MAX_LAYERS - 1), layer)
    chart = _connected(label * MAX_LAYERS + layer, beside)
    return _unfolded(mesh, label, chart)


def _adjacent_triangles(mesh: TriangleMesh) -> np.ndarray:
    """[E, 2]: the two triangles of every edge of a closed mesh."""
    _, of_triangle = meshes.edges(mesh)
    order = np.argsort(of_triangle.ravel(), kind="stable")
    edge, triangle = of_triangle.ravel()[order], order // 3
    same = np.flatnonzero(edge[1:] == edge[:-1])
    return np.stack([triangle[same], triangle[same + 1]], axis=1)


def _smoothed_labels(facing: np.ndarray, area: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """[F] index of the direction that a triangle and its neighbourhood face."""
    mean, weight = facing * area[:, None], area + 1e-30
    for _ in range(SMOOTHINGS):
        total, sum_of = mean.copy(), weight.copy()
        for one, other in (beside.T, beside.T[::-1]):
            sum_of += np.bincount(one, weight[other], len(weight))
            for k in range(mean.shape[1]):
                total[:, k] += np.bincount(one, mean[other, k], len(weight))
        mean, weight = total / 4, sum_of / 4
    allowed = facing >= np.minimum(LEAST_FACING, facing.max(axis=1, keepdims=True))
    return np.where(allowed, mean / weight[:, None], -np.inf).argmax(axis=1)


def _joined(label: np.ndarray, facing: np.ndarray, area: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """The labels with small pieces given to the neighbour they share most triangles with, if they face its
    direction as well."""
    for _ in range(3):
        chart = _connected(label, beside)
        small = (np.bincount(chart, area) < SMALLEST * area.sum())[chart]
        votes = np.zeros((chart.max() + 1, len(DIRECTIONS)))
        for one, other in (beside.T, beside.T[::-1]):
            outside = chart[one] != chart[other]
            np.add.at(votes, (chart[one[outside]], label[other[outside]]), 1)
        wanted = votes.argmax(axis=1)[chart]
        moves = (
            small & (facing[np.arange(len(label)), wanted] > LEAST_FACING) & (votes.max(axis=1)[chart] > 0)
        )
        if not moves.any():
            break
        label = np.where(moves, wanted, label)
    return label


def _connected(key: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """[F] int32: connected pieces of triangles with the same key."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    same = beside[key[beside[:, 0]] == key[beside[:, 1]]]
    graph = coo_matrix((np.ones(len(same), np.int8), (same[:, 0], same[:, 1])), shape=(len(key),) * 2)
    return connected_components(graph, directed=False)[1].astype(np.int32)


def _projected(mesh: TriangleMesh, label: np.ndarray) -> np.ndarray:
    """[F, 3 corners, 3]: along the two axes of the triangle's plane, and toward its direction; metres."""
    axis, sign = label % 3, np.where(label < 3, 1.0, -1.0)
    corners = mesh.vertices[mesh.triangles]  # [F, 3, 3]
    u, v, w = (
        np.take_along_axis(corners, ((axis + k) % 3)[:, None, None], axis=2)[..., 0] for k in (1, 2, 0)
    )
    return np.stack([sign[:, None] * u, v, sign[:, None] * w], axis=-1)


def _hidden(mesh: TriangleMesh, label: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """[F] bool: triangles of which another one of their chart hides a part in the projection."""
    from instascene_core.geometry.open3d_loader import open3d

    corners = _projected(mesh, label)
    count = chart.max() + 1
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, chart, corners[..., 0].min(axis=1))
    np.maximum.at(high, chart, corners[..., 0].max(axis=1))
    gap = 1e-3 * float((high - low).max())
    start = np.concatenate([[0], np.cumsum(high - low + gap)[:-1]]) - low  # all charts in one strip
    corners[..., 0] += start[chart][:, None]
    scene = open3d.t.geometry.RaycastingScene()
    faces = np.arange(3 * len(corners), dtype=np.uint32).reshape(-1, 3)
    vertices = np.ascontiguousarray(corners.reshape(-1, 3), dtype=np.float32)
    scene.add_triangles(open3d.core.Tensor(vertices), open3d.core.Tensor(faces))
    places = np.einsum("pk,fkc->fpc", PROBES, corners)
    top = float(vertices[:, 2].max()) + 1
    origins = places.copy()
    origins[..., 2] = top
    down = np.broadcast_to([0.0, 0.0, -1.0], places.shape)
    rays = np.concatenate([origins, down], axis=-1).reshape(-1, 6).astype(np.float32)
    hit = scene.cast_rays(open3d.core.Tensor(rays))
    other = hit["primitive_ids"].numpy().reshape(places.shape[:2]) != np.arange(len(label))[:, None]
    above = top - hit["t_hit"].numpy().reshape(places.shape[:2]) > places[..., 2] + gap
    return (other & above).any(axis=1)


def _unfolded(mesh: TriangleMesh, label: np.ndarray, chart: np.ndarray) -> Charts:
    corners = _projected(mesh, label)
    key = chart[:, None].astype(np.int64) * len(mesh.vertices) + mesh.triangles
    unique, first, triangles = np.unique(key, return_index=True, return_inverse=True)
    flat = corners[..., :2].reshape(-1, 2)[first]
    return Charts(flat, unique % len(mesh.vertices), triangles.reshape(-1, 3).astype(np.int32), chart)

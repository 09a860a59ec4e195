"""Triangle meshes, and operations on closed ones.

trimesh offers some of them too.  Its volume, vertex normals and smoothing differ from these in the last
digits, which would change results; its volume, normals and watertightness take five to ten times as long.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.errors import InputError
from instascene_core.transforms import cross, lengths


@dataclass(frozen=True)
class TriangleMesh:
    """A plain triangle mesh, metres."""

    vertices: np.ndarray  # [V, 3] float64
    triangles: np.ndarray  # [F, 3] int32, counter-clockwise seen from outside

    def moved(self, offset: np.ndarray) -> "TriangleMesh":
        """The mesh moved by `offset` [3] metres, in 64-bit numbers; itself where that is 0."""
        return TriangleMesh(self.vertices + offset, self.triangles) if np.any(offset) else self


def require_mesh(mesh: TriangleMesh, where: object) -> TriangleMesh:
    """`mesh`, which a file holds; InputError, naming `where`, when it has a vertex that is no place, or a
    triangle of vertices that there are not."""
    if mesh.vertices.ndim != 2 or mesh.vertices.shape[1] != 3 or not np.isfinite(mesh.vertices).all():
        raise InputError(f"The mesh {where} has vertices that are not three finite numbers.")
    t = mesh.triangles
    if t.size and (t.ndim != 2 or t.shape[1] != 3 or t.min() < 0 or t.max() >= len(mesh.vertices)):
        raise InputError(
            f"The mesh {where} has a triangle of vertices that are not there; it has {len(mesh.vertices)}."
        )
    return mesh


def to_trimesh(mesh: TriangleMesh, colors: np.ndarray | None = None):
    """`trimesh.Trimesh` with the same vertices in the same order (nothing merged)."""
    import trimesh

    return trimesh.Trimesh(mesh.vertices, mesh.triangles, vertex_colors=colors, process=False)


def from_trimesh(mesh) -> TriangleMesh:
    """TriangleMesh from a `trimesh.Trimesh`."""
    return TriangleMesh(np.array(mesh.vertices, dtype=np.float64), np.array(mesh.faces, dtype=np.int32))


def volume(mesh: TriangleMesh) -> float:
    """Enclosed volume in m³ (negative when the triangles face inward)."""
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->i", a, cross(b, c)).sum() / 6)


def is_watertight(mesh: TriangleMesh) -> bool:
    """Whether every edge is shared by exactly two triangles that run through it in opposite directions."""
    if len(mesh.triangles) < 4:
        return False
    t = mesh.triangles.astype(np.int64)
    directed = np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])
    size = len(mesh.vertices)
    forward = np.sort(directed[:, 0] * size + directed[:, 1])
    backward = np.sort(directed[:, 1] * size + directed[:, 0])
    return bool((np.diff(forward) > 0).all() and np.array_equal(forward, backward))


def triangle_components(mesh: TriangleMesh) -> tuple[int, np.ndarray]:
    """Number of connected pieces, and the piece [F] of every triangle."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    t = mesh.triangles
    rows, columns = np.concatenate([t[:, 0], t[:, 1]]), np.concatenate([t[:, 1], t[:, 2]])
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(mesh.vertices),) * 2)
    _, label = connected_components(graph, directed=False)
    used, piece = np.unique(label[t[:, 0]], return_inverse=True)
    return len(used), piece


def vertex_normals(mesh: TriangleMesh) -> np.ndarray:
    """Unit normals [V, 3], area-weighted over the adjacent triangles."""
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    face = cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(mesh.triangles.ravel(), np.repeat(face[:, k], 3), len(mesh.vertices)) for k in range(3)],
        axis=-1,
    )
    return normals / np.maximum(lengths(normals), 1e-30)[..., None]


def surface_from_field(field: np.ndarray, level: float = 0.0) -> TriangleMesh:
    """Closed surface `field` = level of a grid [nx, ny, nz] (larger outside), in voxel coordinates.

    The border is padded as outside, so the surface is closed whatever the field.  Raises InputError
    when nothing lies inside.
    """
    from skimage.measure import marching_cubes

    if not np.isfinite(field).all():
        raise InputError("The field to be meshed contains NaN or infinity.")
    if not (field < level).any():
        raise InputError("There is nothing inside the field to be meshed.")
    outside = max(float(field.max()), level + 1e-3)
    padded = np.pad(field.astype(np.float64), 1, constant_values=outside)
    # A sample exactly on the level makes triangles of zero area.
    scale = max(1e-9, float(np.abs(padded - level).max()))
    padded[np.abs(padded - level) < 1e-4 * scale] = level + 1e-4 * scale
    vertices, triangles, _, _ = marching_cubes(padded, level)
    mesh = TriangleMesh(vertices.astype(np.float64) - 1.0, triangles.astype(np.int32))
    return mesh if volume(mesh) > 0 else TriangleMesh(mesh.vertices, mesh.triangles[:, ::-1])


def as_manifold(mesh: TriangleMesh):
    """`manifold3d.Manifold` of a closed mesh, or None when it is not a closed oriented 2-manifold."""
    import manifold3d

    solid = manifold3d.Manifold(
        manifold3d.Mesh64(
            np.ascontiguousarray(mesh.vertices, dtype=np.float64),
            np.ascontiguousarray(mesh.triangles, dtype=np.uint64),
        )
    )
    return None if solid.status() != manifold3d.Error.NoError or solid.is_empty() else solid


def from_manifold(solid) -> TriangleMesh:
    """TriangleMesh from a `manifold3d.Manifold`."""
    raw = solid.to_mesh64()
    return TriangleMesh(
        np.array(raw.vert_properties[:, :3], dtype=np.float64), np.array(raw.tri_verts, dtype=np.int32)
    )


def largest_solid(mesh: TriangleMesh) -> TriangleMesh:
    """The piece of a closed mesh with the largest volume; cavities and small pieces are dropped.

    Raises InputError when the mesh is not a closed 2-manifold.
    """
    solid = as_manifold(mesh)
    if solid is None:
        raise InputError("The mesh is not a closed 2-manifold.")
    best = max(solid.decompose(), key=lambda piece: piece.volume())
    mesh = from_manifold(best)
    count, piece = triangle_components(mesh)
    if count == 1:
        return mesh
    # Inner shells of a solid face inward; only the outermost one encloses positive volume.
    shells = [TriangleMesh(mesh.vertices, mesh.triangles[piece == k]) for k in range(count)]
    return compact(max(shells, key=volume))


def compact(mesh: TriangleMesh) -> TriangleMesh:
    """The mesh without vertices that no triangle uses."""
    used, triangles = np.unique(mesh.triangles, return_inverse=True)
    return TriangleMesh(mesh.vertices[used], triangles.reshape(-1, 3).astype(np.int32))


def simplify(mesh: TriangleMesh, tolerance: float, max_triangles: int) -> TriangleMesh:
    """A closed mesh with fewer triangles: flat parts lose most, none moves by more than `tolerance`
    (metres); if that leaves more than `max_triangles`, the cheapest edges go too.  The result is
    a closed 2-manifold, and larger than the bound if it could not be met that way.
    """
    solid = as_manifold(mesh)
    if solid is None:
        raise InputError("Only a closed 2-manifold can be simplified.")
    reduced = solid.simplify(tolerance)
    if not reduced.is_empty():
        mesh = from_manifold(reduced)
    # Collapsing edges may pinch a thin part; then stop earlier.
    for bound in (max_triangles, 2 * max_triangles, 4 * max_triangles):
        if len(mesh.triangles) <= bound:
            break
        candidate = collapse_edges(mesh, bound)
        if as_manifold(candidate) is not None and volume(candidate) > 0.5 * volume(mesh):
            return candidate
    return mesh


def refine(mesh: TriangleMesh, longest_edge: float, max_triangles: int) -> TriangleMesh:
    """The same closed surface with edges of at most about `longest_edge` metres; unchanged if that
    takes more than `max_triangles`."""
    solid = as_manifold(mesh)
    if solid is None:
        raise InputError("Only a closed 2-manifold can be refined.")
    refined = solid.refine_to_length(longest_edge)
    return from_manifold(refined) if refined.num_tri() <= max_triangles else mesh


def edges(mesh: TriangleMesh) -> tuple[np.ndarray, np.ndarray]:
    """Edges [E, 2] (smaller vertex first), and [F, 3]: the edges of every triangle, edge k running from
    its corner k to the next one."""
    ends = np.stack([mesh.triangles, np.roll(mesh.triangles, -1, axis=1)], axis=-1).astype(np.int64)
    size = len(mesh.vertices)
    keys, of_triangle = np.unique(ends.min(axis=-1) * size + ends.max(axis=-1), return_inverse=True)
    return np.stack([keys // size, keys % size], axis=1), of_triangle.reshape(-1, 3)


def separated(mesh: TriangleMesh, share: float = 1e-4) -> TriangleMesh:
    """The same mesh with no two vertices at one place, in single precision, where readers would join them and
    the body would be closed no more: such vertices are drawn in by a share of the body's size.

    Itself where there are none.
    """
    _, place, count = np.unique(
        mesh.vertices.astype(np.float32), axis=0, return_inverse=True, return_counts=True
    )
    shared = count[place.ravel()] > 1
    if not shared.any():
        return mesh
    inward = share * float(np.linalg.norm(np.ptp(mesh.vertices, axis=0))) * vertex_normals(mesh)
    return TriangleMesh(np.where(shared[:, None], mesh.vertices - inward, mesh.vertices), mesh.triangles)


def split_edges(
    mesh: TriangleMesh, pairs: np.ndarray, of_triangle: np.ndarray, marked: np.ndarray
) -> TriangleMesh:
    """The same surface with the edges in `marked` [E] halved; pairs, of_triangle: from `edges`.

    A closed mesh stays closed: both triangles of an edge get the same new vertex.
    """
    middle = np.full(len(pairs), -1, dtype=np.int64)
    middle[marked] = len(mesh.vertices) + np.arange(int(marked.sum()))
    vertices = np.concatenate([mesh.vertices, mesh.vertices[pairs[marked]].mean(axis=1)])
    split = marked[of_triangle]  # [F, 3]
    count = split.sum(axis=1)
    # Turn triangles so that one halved edge is the first, and the only whole one of three the last.
    turn = np.where(
        count == 1, np.argmax(split, axis=1), np.where(count == 2, np.argmin(split, axis=1) + 1, 0)
    )
    order = (np.arange(3) + turn[:, None]) % 3
    a, b, c = np.take_along_axis(mesh.triangles.astype(np.int64), order, axis=1).T
    p, q, r = np.take_along_axis(middle[of_triangle], order, axis=1).T
    one, two, three = (np.flatnonzero(count == k) for k in (1, 2, 3))
    # Two halved edges leave a quadrangle; its shorter diagonal divides it.
    gap = np.linalg.norm(vertices[a[two]] - vertices[q[two]], axis=1)
    other = np.linalg.norm(vertices[p[two]] - vertices[c[two]], axis=1)
    low, high = two[gap <= other], two[gap > other]
    rows = [(a[k], b[k], c[k]) for k in [np.flatnonzero(count == 0)]]
    rows += [(a[one], p[one], c[one]), (p[one], b[one], c[one]), (p[two], b[two], q[two])]
    rows += [(a[low], p[low], q[low]), (a[low], q[low], c[low])]
    rows += [(a[high], p[high], c[high]), (p[high], q[high], c[high])]
    rows += [(a[three], p[three], r[three]), (p[three], b[three], q[three])]
    rows += [(r[three], q[three], c[three]), (p[three], q[three], r[three])]
    triangles = np.concatenate([np.stack(row, axis=1) for row in rows])
    return TriangleMesh(vertices, triangles.astype(np.int32))


def collapse_edges(mesh: TriangleMesh, triangles: int) -> TriangleMesh:
    """Quadric edge collapse (Garland & Heckbert 1997) down to about `triangles`; may leave
    edges with more than two triangles, so check the result."""
    from instascene_core.geometry.open3d_loader import open3d

    raw = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(mesh.vertices), open3d.utility.Vector3iVector(mesh.triangles)
    )
    raw = raw.simplify_quadric_decimation(triangles)
    raw.remove_unreferenced_vertices()
    return TriangleMesh(np.array(raw.vertices), np.array(raw.triangles, dtype=np.int32))


def neighbours(mesh: TriangleMesh):
    """Sparse [V, V]: 1 where an edge joins two vertices."""
    from scipy.sparse import coo_matrix

    t, size = mesh.triangles, len(mesh.vertices)
    rows, columns = np.concatenate([t, t[:, [1, 2, 0]]]).ravel(), np.concatenate([t[:, [1, 2, 0]], t]).ravel()
    adjacency = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(size, size)).tocsr()
    adjacency.data[:] = 1.0
    return adjacency


def smooth(mesh: TriangleMesh, iterations: int, max_move: np.ndarray | float) -> TriangleMesh:
    """Taubin smoothing (λ 0.5, μ −0.53); no vertex ends farther than `max_move` metres ([V] or one
    value) from where it was."""
    from scipy.sparse import diags

    adjacency = neighbours(mesh)
    average = diags(1.0 / np.maximum(np.asarray(adjacency.sum(axis=1)).ravel(), 1)) @ adjacency
    vertices = mesh.vertices.copy()
    for _ in range(iterations):
        for factor in (0.5, -0.53):
            vertices = vertices + factor * (average @ vertices - vertices)
    move = vertices - mesh.vertices
    length = lengths(move)
    scale = np.minimum(1.0, np.asarray(max_move) / np.maximum(length, 1e-30))
    return TriangleMesh(mesh.vertices + move * scale[:, None], mesh.triangles)


def signed_distance(mesh: TriangleMesh, points: np.ndarray) -> np.ndarray:
    """Distances [...] in metres of points [..., 3] from a closed mesh, negative inside."""
    scene = raycasting_scene(mesh)
    return scene.compute_signed_distance(np.ascontiguousarray(points, dtype=np.float32)).numpy()


def distance(mesh: TriangleMesh, points: np.ndarray) -> np.ndarray:
    """Unsigned distances [...] in metres of points [..., 3] from a mesh."""
    scene = raycasting_scene(mesh)
    return scene.compute_distance(np.ascontiguousarray(points, dtype=np.float32)).numpy()


def first_hit(mesh: TriangleMesh, origins: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """[N] how far rays [N, 3] from origins [N, 3] go to the mesh, in their lengths; infinite past it."""
    from instascene_core.geometry.open3d_loader import open3d

    cast = np.concatenate([origins, rays], axis=1).astype(np.float32)
    return raycasting_scene(mesh).cast_rays(open3d.core.Tensor(cast))["t_hit"].numpy()


def raycasting_scene(mesh: TriangleMesh):
    """`open3d.t.geometry.RaycastingScene` of one mesh."""
    from instascene_core.geometry.open3d_loader import open3d

    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        open3d.core.Tensor(np.ascontiguousarray(mesh.vertices, dtype=np.float32)),
        open3d.core.Tensor(np.ascontiguousarray(mesh.triangles, dtype=np.uint32)),
    )
    return scene


def convex_hull(points: np.ndarray) -> TriangleMesh:
    """Convex hull of points [N, 3] as a closed mesh; raises InputError when they are flat."""
    import manifold3d

    hull = manifold3d.Manifold.hull_points(np.ascontiguousarray(points, dtype=np.float64))
    if hull.is_empty() or hull.volume() <= 0:
        raise InputError("The convex hull of these points has no volume.")
    mesh = from_manifold(hull)
    return mesh if is_watertight(mesh) else _joggled_hull(mesh.vertices)


def _joggled_hull(points: np.ndarray) -> TriangleMesh:
    """Convex hull of points [N, 3] that nearly lie on planes and lines in common: moved by as little as makes
    every face a triangle of its own (Qhull's QJ)."""
    from scipy.spatial import ConvexHull

    hull = ConvexHull(points, qhull_options="QJ Pp")
    triangles = _turned_alike(hull.simplices.astype(np.int32), hull.neighbors)
    mesh = TriangleMesh(np.asarray(points, dtype=np.float64), triangles)
    return compact(mesh if volume(mesh) > 0 else TriangleMesh(mesh.vertices, triangles[:, ::-1]))


def _turned_alike(triangles: np.ndarray, neighbors: np.ndarray) -> np.ndarray:
    """[F, 3] the triangles of one closed surface, each wound as those beside it.

    neighbors: [F, 3], the k-th lies across the edge that faces corner k.  Windings follow the shared edges:
    a sliver has no normal to go by.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order

    count = len(triangles)
    graph = coo_matrix((np.ones(3 * count), (np.repeat(np.arange(count), 3), neighbors.ravel())))
    order, before = breadth_first_order(graph.tocsr(), 0, directed=False)
    child, parent = order[1:], before[order[1:]]
    # The corner of the parent that faces the child: the next two are the edge that they share.
    facing = (neighbors[parent] == child[:, None]).argmax(axis=1)
    begin, end = (triangles[parent, (facing + k) % 3] for k in (1, 2))
    at = (triangles[child] == begin[:, None]).argmax(axis=1)
    alike = triangles[child, (at + 1) % 3] != end  # the same edge the same way round is a turn
    turned = np.zeros(count, dtype=bool)
    for one, source, same in zip(child.tolist(), parent.tolist(), alike.tolist()):
        turned[one] = turned[source] if same else not turned[source]
    return np.where(turned[:, None], triangles[:, ::-1], triangles)


def smallest_rectangle(points: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Axes [3, 3] (columns x, y, z; z = up) of the upright box of smallest area around points [N, 3].

    x is the longer horizontal side.  One side of the smallest rectangle lies on an edge of the
    convex hull (Freeman & Shapira 1975), so only those directions are tried.  cv2.minAreaRect does the
    same in float32: its boxes differ from the seventh digit on.
    """
    from scipy.spatial import ConvexHull, QhullError

    up = np.asarray(up, dtype=np.float64) / np.linalg.norm(up)
    helper = np.eye(3)[np.argmin(np.abs(up))]
    x = cross(helper, up)
    x /= np.linalg.norm(x)
    y = cross(up, x)
    flat = points @ np.stack([x, y], axis=1)  # [N, 2]
    try:
        flat = flat[ConvexHull(flat).vertices]
        edges = np.roll(flat, -1, axis=0) - flat
        angles = np.unique(np.round(np.arctan2(edges[:, 1], edges[:, 0]) % (np.pi / 2), 6))
    except QhullError:  # all on a line: along that line
        direction = np.linalg.svd(flat - flat.mean(axis=0))[2][0]
        angles = np.array([np.arctan2(direction[1], direction[0]) % (np.pi / 2)])
    c, s = np.cos(angles), np.sin(angles)
    along, across = (
        np.outer(flat[:, 0], c) + np.outer(flat[:, 1], s),
        np.outer(flat[:, 1], c) - np.outer(flat[:, 0], s),
    )
    best = int(np.argmin(np.ptp(along, axis=0) * np.ptp(across, axis=0)))
    first, second = c[best] * x + s[best] * y, -s[best] * x + c[best] * y
    if np.ptp(along[:, best]) < np.ptp(across[:, best]):
        first, second = second, -first
    return np.stack([first, second, up], axis=1)

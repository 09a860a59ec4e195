"""The core's results as ROS messages: instances, completed objects, clouds of points."""

import array
from collections.abc import Iterable

import numpy as np
from geometry_msgs.msg import Point
from instascene.msg import CompletedObject as CompletedObjectMsg
from instascene.msg import Instance as InstanceMsg
from instascene.msg import InstanceArray, PartLevel
from sensor_msgs.msg import PointCloud2, PointField
from shape_msgs.msg import Mesh, MeshTriangle
from std_msgs.msg import ColorRGBA, Header

from instascene_core.colors import instance_color
from instascene_core.gaussians import GaussianModel
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.mesh import is_watertight, simplify, vertex_normals
from instascene_core.instances import Instance, InstanceId, InstanceMap
from instascene_core.local_frame import moved
from instascene_core.objects import CompletedObject
from instascene_core.parts.segment import PartLevel as PartLabelsLevel
from instascene_ros.conversions import pose_from_matrix

# Object arrays cost about 8 µs per vertex and triangle on each side.
MAX_TRIANGLES = 20_000  # in a CompletedObject message
HYPOTHESIS_TRIANGLES = 4_000  # of each other body in it


def point(values: np.ndarray) -> Point:
    return Point(x=float(values[0]), y=float(values[1]), z=float(values[2]))


def color(values: np.ndarray, alpha: float = 1.0) -> ColorRGBA:
    return ColorRGBA(r=float(values[0]), g=float(values[1]), b=float(values[2]), a=alpha)


def mesh_message(mesh: TriangleMesh) -> Mesh:
    """shape_msgs/Mesh with the same vertices in the same order."""
    message = Mesh()
    message.vertices = [Point(x=x, y=y, z=z) for x, y, z in mesh.vertices.astype(float).tolist()]
    indices = np.ascontiguousarray(mesh.triangles, dtype=np.uint32)
    message.triangles = [MeshTriangle(vertex_indices=row) for row in indices]
    return message


def for_message(result: CompletedObject, max_triangles: int) -> tuple[TriangleMesh, np.ndarray, np.ndarray]:
    """The mesh with at most `max_triangles`, its colours [V, 3] uint8 and observed values [V]."""
    mesh = result.mesh
    small = decimated(mesh, max_triangles)
    if small is mesh:
        return mesh, result.colors, result.observed
    from scipy.spatial import cKDTree

    nearest = cKDTree(mesh.vertices).query(small.vertices)[1]
    return small, result.colors[nearest], result.observed[nearest]


def decimated(mesh: TriangleMesh, max_triangles: int) -> TriangleMesh:
    """At most so many triangles; a closed mesh stays closed where the 2-manifold allows it."""
    if len(mesh.triangles) <= max_triangles:
        return mesh
    if is_watertight(mesh):
        extent = float(np.ptp(mesh.vertices, axis=0).max())
        return simplify(mesh, tolerance=1e-4 * extent, max_triangles=max_triangles)
    from instascene_core.geometry.open3d_loader import open3d

    legacy = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(mesh.vertices), open3d.utility.Vector3iVector(mesh.triangles)
    )
    small = legacy.simplify_quadric_decimation(max_triangles)
    return TriangleMesh(np.asarray(small.vertices), np.asarray(small.triangles, dtype=np.int32))


def instance_message(instance: Instance, completed: bool) -> InstanceMsg:
    return InstanceMsg(
        id=int(instance.id),
        kind=instance.kind,
        confidence=float(instance.confidence),
        box_min=point(instance.box_min),
        box_max=point(instance.box_max),
        color=color(instance_color(instance.id) / 255.0),
        feature=array.array("f", np.asarray(instance.feature, dtype=np.float32).tobytes()),
        num_gaussians=int(instance.num_gaussians),
        num_views=int(instance.num_views),
        completed=completed,
    )


def instances_message(
    instances: InstanceMap | None, completed: set[InstanceId], header: Header
) -> InstanceArray:
    message = InstanceArray(header=header)
    if instances is None:
        return message
    message.instances = [instance_message(i, i.id in completed) for i in instances.instances]
    if instances.support is not None:
        message.has_support = True
        normal, offset = instances.support.normal, instances.support.offset
        message.support.coef = np.array([*normal, -offset], dtype=np.float64)
    return message


def completed_object_message(result: CompletedObject, header: Header, files=()) -> CompletedObjectMsg:
    """In the map frame, whose coordinates are of 64 bits in the message."""
    mesh, colors, observed = for_message(result, MAX_TRIANGLES)
    offset, convex_parts, pose = result.world_offset, result.convex_parts, result.world_from_object
    message = CompletedObjectMsg(
        header=header,
        instance_id=int(result.instance_id),
        pose=pose_from_matrix(moved(pose, offset)),
        mesh=mesh_message(mesh.moved(offset)),
        vertex_colors=[color(c) for c in (colors / 255.0).tolist()],
        vertex_observed=array.array("f", np.asarray(observed, dtype=np.float32).tobytes()),
        convex_parts=[mesh_message(part.moved(offset)) for part in convex_parts],
        hypotheses=[
            mesh_message(decimated(body, HYPOTHESIS_TRIANGLES).moved(offset)) for body in result.hypotheses
        ],
        observed_fraction=float(result.observed_fraction),
        uncertainty=float(result.uncertainty),
        confidence=float(result.confidence),
        watertight=bool(result.watertight),
        volume=float(result.volume),
        files=[str(f) for f in (*result.files, *files)],
        prior=result.prior,
        notes=list(result.notes),
        duration_s=float(result.duration_s),
    )
    if result.next_best_view is not None:
        message.has_next_best_view = True
        message.next_best_view = pose_from_matrix(moved(result.next_best_view, offset))
        message.next_view_reveals = float(result.next_view_reveals)
    dimensions = message.dimensions
    dimensions.x, dimensions.y, dimensions.z = (float(v) for v in result.dimensions)
    return message


def part_level_message(level: PartLabelsLevel) -> PartLevel:
    return PartLevel(
        vertex_part=array.array("i", np.asarray(level.part, dtype=np.int32).tobytes()),
        names=list(level.names),
        scores=array.array("f", np.asarray(level.scores, dtype=np.float32).tobytes()),
    )


# ── clouds ────────────────────────────────────────────────────────────────────────────────────────

CLOUD_TYPE = np.dtype(
    [
        ("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("instance", "<i4"),
        ("normal_x", "<f4"), ("normal_y", "<f4"), ("normal_z", "<f4"),
    ]
)  # fmt: skip
OBJECT_CLOUD_TYPE = np.dtype(
    [
        ("x", "<f4"), ("y", "<f4"), ("z", "<f4"),
        ("normal_x", "<f4"), ("normal_y", "<f4"), ("normal_z", "<f4"),
        ("observed", "<f4"), ("uncertainty", "<f4"), ("instance", "<i4"),
    ]
)  # fmt: skip


def gaussians_message(gaussians: GaussianModel | None, labels: np.ndarray | None, header) -> PointCloud2:
    """One point per Gaussian: mean, base colour, instance id (−1 = none), normal."""
    count = 0 if gaussians is None else len(gaussians)
    points = np.zeros(count, dtype=CLOUD_TYPE)
    if gaussians is not None and count:
        base = gaussians.base_colors.detach().cpu().numpy()
        shade = (np.clip(base, 0, 1) * 255).round().astype(np.uint32)
        _fill(points, gaussians.means.detach().cpu().numpy(), gaussians.normals.detach().cpu().numpy())
        points["rgb"] = shade[:, 0] << 16 | shade[:, 1] << 8 | shade[:, 2]
        points["instance"] = -1 if labels is None else labels
    return _cloud_message(points, header)


def objects_cloud_message(objects: Iterable[CompletedObject], header: Header) -> PointCloud2:
    """The vertices of all completed meshes with outward normals, whether they were observed (0 … 1), and how
    far they may be off (metres): what a grasp planner chooses contacts by."""
    parts = [np.zeros(0, dtype=OBJECT_CLOUD_TYPE)]
    for result in objects:
        points = np.zeros(len(result.mesh.vertices), dtype=OBJECT_CLOUD_TYPE)
        _fill(points, result.mesh.vertices, vertex_normals(result.mesh))
        points["observed"], points["uncertainty"] = result.observed, result.vertex_uncertainty
        points["instance"] = result.instance_id
        parts.append(points)
    return _cloud_message(np.concatenate(parts), header)


def _fill(points: np.ndarray, positions: np.ndarray, normals: np.ndarray) -> None:
    for axis, name in enumerate("xyz"):
        points[name], points[f"normal_{name}"] = positions[:, axis], normals[:, axis]


def _cloud_message(points: np.ndarray, header: Header) -> PointCloud2:
    """points: [N] of a structured type."""
    count, size = len(points), points.dtype.itemsize
    message = PointCloud2(header=header, height=1, width=count, is_dense=True)
    message.fields = [
        PointField(name=name, offset=offset, datatype=_field_type(name), count=1)
        for name, offset in _field_offsets(points.dtype).items()
    ]
    message.point_step, message.row_step = size, count * size
    message.data = array.array("B", points.tobytes())
    return message


def _field_offsets(structured: np.dtype) -> dict[str, int]:
    """Bytes from the start of a value to each of its fields, in their order."""
    names, fields = structured.names, structured.fields
    assert names is not None and fields is not None, "the type has fields"
    return {name: fields[name][1] for name in names}


def _field_type(name: str) -> int:
    """`rgb` is declared FLOAT32, as PCL and RViz expect of the packed colour."""
    return PointField.INT32 if name == "instance" else PointField.FLOAT32

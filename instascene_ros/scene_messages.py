"""The core's results as ROS messages: instances, completed objects, markers, Gaussians."""

import array

import numpy as np
from geometry_msgs.msg import Point
from instascene.msg import CompletedObject as CompletedObjectMsg
from instascene.msg import Instance as InstanceMsg
from instascene.msg import InstanceArray
from sensor_msgs.msg import PointCloud2, PointField
from shape_msgs.msg import Mesh, MeshTriangle
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from instascene_core.colors import instance_color, observed_colors
from instascene_core.gaussians import GaussianModel
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.mesh import is_watertight, simplify
from instascene_core.instances import Instance, InstanceId, InstanceMap
from instascene_core.local_frame import moved
from instascene_core.objects import CompletedObject
from instascene_ros.conversions import pose_from_matrix

# Object arrays cost about 8 µs per vertex and triangle on each side.
MAX_TRIANGLES = 20_000  # in a CompletedObject message
MARKER_TRIANGLES = 2_500  # per object in `markers`, where all objects come in one message, twice coloured
SELECTED_COLOR = np.array([1.0, 0.95, 0.2])  # namespace "selected"
SELECTED_POINTS = 2_000


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
    if len(mesh.triangles) <= max_triangles:
        return mesh, result.colors, result.observed
    from scipy.spatial import cKDTree

    small = _decimate(mesh, max_triangles)
    nearest = cKDTree(mesh.vertices).query(small.vertices)[1]
    return small, result.colors[nearest], result.observed[nearest]


def _decimate(mesh: TriangleMesh, max_triangles: int) -> TriangleMesh:
    """Fewer triangles; a closed mesh stays closed where the 2-manifold allows it."""
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
    dimensions = message.dimensions
    dimensions.x, dimensions.y, dimensions.z = (float(v) for v in result.dimensions)
    return message


# ── markers ───────────────────────────────────────────────────────────────────────────────────────


def _triangle_list(namespace: str, mesh: TriangleMesh, colors: np.ndarray, marker_id: int, header) -> Marker:
    """colors: [V, 3] in [0, 1]."""
    marker = Marker(header=header, ns=namespace, id=marker_id, type=Marker.TRIANGLE_LIST)
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    marker.color.a = 1.0
    points = [Point(x=x, y=y, z=z) for x, y, z in mesh.vertices.astype(float).tolist()]
    shades = [color(c) for c in colors.tolist()]
    order = mesh.triangles.reshape(-1).tolist()
    marker.points = [points[i] for i in order]
    marker.colors = [shades[i] for i in order]
    return marker


def _box(instance: Instance, header) -> Marker:
    """The 12 edges of the instance's box."""
    marker = Marker(header=header, ns="box", id=int(instance.id), type=Marker.LINE_LIST)
    marker.pose.orientation.w = 1.0
    marker.scale.x = 0.002
    marker.color = color(instance_color(instance.id) / 255.0)
    corners = np.array([instance.box_min, instance.box_max], dtype=float)
    points: list[Point] = []
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        for i in (0, 1):
            for j in (0, 1):
                ends = np.empty((2, 3))
                ends[:, axis] = corners[:, axis]
                ends[:, others] = corners[i, others[0]], corners[j, others[1]]
                points += [point(ends[0]), point(ends[1])]
    marker.points = points
    return marker


def _label(instance: Instance, header) -> Marker:
    marker = Marker(header=header, ns="label", id=int(instance.id), type=Marker.TEXT_VIEW_FACING)
    size = np.asarray(instance.box_max, float) - instance.box_min
    marker.pose.position = point((np.asarray(instance.box_min, float) + instance.box_max) / 2)
    marker.pose.position.z = float(instance.box_max[2]) + 0.02 + 0.1 * float(size.max())
    marker.pose.orientation.w = 1.0
    marker.scale.z = max(0.02, 0.15 * float(size.max()))
    marker.color = color(np.ones(3))
    marker.text = str(instance.id)
    return marker


def _selection(points: np.ndarray, header: Header) -> Marker:
    """The highlight of the instance clicked last: its points [K, 3].

    Always the same marker, so that a new selection takes the place of the old one.
    """
    marker = Marker(header=header, ns="selected", id=0, type=Marker.POINTS)
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = float(np.clip(0.02 * np.ptp(points, axis=0).max(), 1e-3, 0.02))
    marker.color = color(SELECTED_COLOR)
    step = -(-len(points) // SELECTED_POINTS)
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in points[::step].astype(float).tolist()]
    return marker


class MarkerBook:
    """Makes complete marker arrays and remembers what was shown, to DELETE what is gone."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, int]] = set()
        self._meshes: dict[InstanceId, tuple[CompletedObject, Marker, Marker]] = {}

    def update(
        self,
        instances: InstanceMap | None,
        objects: dict[InstanceId, CompletedObject],
        header: Header,
        selected: np.ndarray | None = None,
    ) -> MarkerArray:
        """Boxes and labels of the objects, meshes of the completed ones, DELETE for the rest.

        All in the scene's frame, as they are given: RViz computes in 32 bits.
        selected: [K, 3] points of the instance to highlight, if any.
        """
        markers: list[Marker] = []
        for instance in instances.objects if instances else ():
            markers += [_box(instance, header), _label(instance, header)]
        for instance_id, result in objects.items():
            markers += self._mesh_markers(instance_id, result, header)
        if selected is not None and len(selected):
            markers.append(_selection(selected, header))
        now = {(m.ns, m.id) for m in markers}
        for namespace, marker_id in sorted(self._shown - now):
            markers.append(Marker(header=header, ns=namespace, id=marker_id, action=Marker.DELETE))
        self._shown = now
        self._meshes = {k: v for k, v in self._meshes.items() if k in objects}
        return MarkerArray(markers=markers)

    def _mesh_markers(self, instance_id: InstanceId, result: CompletedObject, header: Header) -> list[Marker]:
        """Made once per completed object: filling 60,000 points costs half a second."""
        known = self._meshes.get(instance_id)
        if known is None or known[0] is not result:
            mesh, colors, observed = for_message(result, MARKER_TRIANGLES)
            surface = observed_colors(np.asarray(observed, dtype=float)) / 255.0
            known = (
                result,
                _triangle_list("mesh", mesh, colors / 255.0, instance_id, header),
                _triangle_list("surface", mesh, surface, instance_id, header),
            )
            self._meshes[instance_id] = known
        return list(known[1:])


# ── Gaussians ─────────────────────────────────────────────────────────────────────────────────────

CLOUD_TYPE = np.dtype(
    [
        ("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("instance", "<i4"),
        ("normal_x", "<f4"), ("normal_y", "<f4"), ("normal_z", "<f4"),
    ]
)  # fmt: skip


def gaussians_message(gaussians: GaussianModel | None, labels: np.ndarray | None, header) -> PointCloud2:
    """One point per Gaussian: mean, base colour, instance id (−1 = none), normal."""
    count = 0 if gaussians is None else len(gaussians)
    points = np.zeros(count, dtype=CLOUD_TYPE)
    if gaussians is not None and count:
        means = gaussians.means.detach().cpu().numpy()
        normals = gaussians.normals.detach().cpu().numpy()
        base = gaussians.base_colors.detach().cpu().numpy()
        shade = (np.clip(base, 0, 1) * 255).round().astype(np.uint32)
        for axis, name in enumerate("xyz"):
            points[name], points[f"normal_{name}"] = means[:, axis], normals[:, axis]
        points["rgb"] = shade[:, 0] << 16 | shade[:, 1] << 8 | shade[:, 2]
        points["instance"] = -1 if labels is None else labels
    message = PointCloud2(header=header, height=1, width=count, is_dense=True)
    message.fields = [
        PointField(name=name, offset=offset, datatype=_field_type(name), count=1)
        for name, offset in _field_offsets(CLOUD_TYPE).items()
    ]
    message.point_step = CLOUD_TYPE.itemsize
    message.row_step = count * CLOUD_TYPE.itemsize
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

"""What RViz shows: boxes, labels and meshes of the objects as markers."""

from collections.abc import Hashable, Mapping

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from instascene_core.colors import instance_color, observed_colors
from instascene_core.geometry import TriangleMesh
from instascene_core.instances import Instance, InstanceId, InstanceMap
from instascene_core.objects import CompletedObject
from instascene_ros.scene_messages import color, for_message, point

# Per object, twice coloured: 0.3 MB.  Enough to see its shape; the mesh itself is on `completed_objects`.
MARKER_TRIANGLES = 1_200
SELECTED_COLOR = np.array([1.0, 0.95, 0.2])  # namespace "selected"
SELECTED_POINTS = 2_000

_Name = tuple[str, int]  # namespace and id of a marker


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
    """Remembers what is shown, so that only what changed is sent, and DELETE for what is gone.

    All in the scene's frame, as it is given: RViz computes in 32 bits.
    """

    def __init__(self) -> None:
        self._shown: dict[_Name, tuple[Hashable, Marker]] = {}  # with what it was made from

    def update(
        self,
        instances: InstanceMap | None,
        objects: Mapping[InstanceId, CompletedObject],
        header: Header,
        selected: np.ndarray | None = None,
    ) -> MarkerArray:
        """What differs from before: boxes and labels of the objects, meshes of the completed ones, DELETE.

        selected: [K, 3] points of the instance to highlight, if any.
        """
        before, frame = self._shown, header.frame_id
        self._shown, changed = {}, []

        def keep(made_from: Hashable, names: tuple[_Name, ...], make) -> None:
            """Markers of before where they were made from the same; made and sent where not."""
            known = [before[n][1] for n in names if n in before and before[n][0] == made_from]
            markers = known if len(known) == len(names) else make()
            self._shown.update({name: (made_from, marker) for name, marker in zip(names, markers)})
            changed.extend([] if markers is known else markers)

        for thing in instances.objects if instances else ():
            extent = (frame, tuple(thing.box_min), tuple(thing.box_max))
            box, label = ("box", int(thing.id)), ("label", int(thing.id))
            keep(extent, (box, label), lambda i=thing: (_box(i, header), _label(i, header)))
        for number, result in objects.items():
            mesh, surface = ("mesh", int(number)), ("surface", int(number))
            keep((frame, _Same(result)), (mesh, surface), lambda n=number, r=result: _meshes(n, r, header))
        if selected is not None and len(selected):
            made_from = (frame, len(selected), selected.tobytes())
            keep(made_from, (("selected", 0),), lambda: (_selection(selected, header),))
        gone = [
            Marker(header=header, ns=namespace, id=number, action=Marker.DELETE)
            for namespace, number in sorted(before.keys() - self._shown.keys())
        ]
        return MarkerArray(markers=[*changed, *gone])

    @property
    def everything(self) -> list[Marker]:
        """All that is shown."""
        return [marker for _, marker in self._shown.values()]


class _Same:
    """Equal to itself alone where it holds the very same object: meshes are not compared."""

    def __init__(self, held: object) -> None:
        self._held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._held is self._held

    def __hash__(self) -> int:
        return id(self._held)


def _meshes(instance_id: InstanceId, result: CompletedObject, header: Header) -> tuple[Marker, Marker]:
    """The object in its own colours, and coloured by what was observed."""
    mesh, colors, observed = for_message(result, MARKER_TRIANGLES)
    surface = observed_colors(np.asarray(observed, dtype=float)) / 255.0
    return (
        _triangle_list("mesh", mesh, colors / 255.0, instance_id, header),
        _triangle_list("surface", mesh, surface, instance_id, header),
    )

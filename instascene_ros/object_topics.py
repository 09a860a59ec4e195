"""Topics about completed objects: each mesh, a cloud for grasp planners, and where to look next."""

from collections.abc import Iterable, Mapping

from geometry_msgs.msg import PoseStamped
from instascene.msg import CompletedObject as CompletedObjectMsg
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from instascene_core.instances import InstanceId
from instascene_core.local_frame import moved
from instascene_core.objects import CompletedObject
from instascene_ros import scene_messages
from instascene_ros.conversions import pose_from_matrix

MAX_OBJECTS = 200  # that a late subscriber of `completed_objects` is sent


def latched(depth: int = 1) -> QoSProfile:
    """Reliable, and sent to those as well who subscribe later: the newest `depth` messages."""
    return QoSProfile(
        depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )


class ObjectTopics:
    """`completed_objects`, `object_cloud` and `next_best_view`, all latched.

    A late subscriber gets every object that is there, and none that is gone: what DDS has once kept for it
    cannot be taken back, so where objects leave, the publisher is made anew.  The same holds for a view.
    """

    def __init__(self, node) -> None:
        self._node = node
        self._completed = self._make_completed()
        self._next_view = self._make_next_view()
        self._cloud = node.create_publisher(PointCloud2, "object_cloud", latched())
        self._told: dict[InstanceId, tuple[CompletedObject, tuple[str, ...]]] = {}  # with its files
        self._view_told = False
        self._files: dict[InstanceId, tuple[str, ...]] = {}  # that are still to be told of

    def _make_completed(self):
        return self._node.create_publisher(CompletedObjectMsg, "completed_objects", latched(MAX_OBJECTS))

    def _make_next_view(self):
        return self._node.create_publisher(PoseStamped, "next_best_view", latched())

    def note_files(self, instance_id: InstanceId, files: Iterable[str]) -> None:
        """What was written of an object, which will be told of with it; also where it is known already."""
        self._files[instance_id] = tuple(files)

    @property
    def has_news(self) -> bool:
        """Whether files were written of objects that were told of without them."""
        return not self._told.keys().isdisjoint(self._files)

    def update(self, objects: Mapping[InstanceId, CompletedObject], header: Header, cloud: Header) -> None:
        """Tell of objects that are new or changed, or of which files were written.

        header: of the map; cloud: of the scene's own frame.
        """
        before, self._told = self._told, {}
        for number, result in objects.items():
            known = before.get(number)
            if known is None or known[0] is not result or number in self._files:
                known = (result, self._files.pop(number, ()))
            self._told[number] = known
        if before.keys() - objects.keys():
            self._node.destroy_publisher(self._completed)
            self._completed, before = self._make_completed(), {}
        for number, told in self._told.items():
            if before.get(number) is not told:
                self._completed.publish(scene_messages.completed_object_message(told[0], header, told[1]))
        self._cloud.publish(scene_messages.objects_cloud_message(objects.values(), cloud))
        self._tell_next_view(objects, header)

    def _tell_next_view(self, objects: Mapping[InstanceId, CompletedObject], header: Header) -> None:
        """The view that shows most of what is only guessed, of any object; none where no object has one."""
        with_view = [result for result in objects.values() if result.next_best_view is not None]
        best = max(with_view, key=lambda result: result.next_view_reveals, default=None)
        if best is not None and best.next_best_view is not None:
            pose = pose_from_matrix(moved(best.next_best_view, best.world_offset))
            self._next_view.publish(PoseStamped(header=header, pose=pose))
        elif self._view_told:
            self._node.destroy_publisher(self._next_view)
            self._next_view = self._make_next_view()
        self._view_told = best is not None

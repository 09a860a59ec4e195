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
    cannot be taken back, so where objects leave, the publisher is made anew.
    """

    def __init__(self, node) -> None:
        self._node = node
        self._completed = self._make_publisher()
        self._cloud = node.create_publisher(PointCloud2, "object_cloud", latched())
        self._next_view = node.create_publisher(PoseStamped, "next_best_view", latched())
        self._told: dict[InstanceId, CompletedObject] = {}
        self._files: dict[InstanceId, tuple[str, ...]] = {}

    def _make_publisher(self):
        return self._node.create_publisher(CompletedObjectMsg, "completed_objects", latched(MAX_OBJECTS))

    def note_files(self, instance_id: InstanceId, files: Iterable[str]) -> None:
        """What was written of an object that will be told of next."""
        self._files[instance_id] = tuple(files)

    def update(self, objects: Mapping[InstanceId, CompletedObject], header: Header, cloud: Header) -> None:
        """Tell of objects that are new or changed.  header: of the map; cloud: of the scene's own frame."""
        if self._told.keys() - objects.keys():
            self._node.destroy_publisher(self._completed)
            self._completed, self._told = self._make_publisher(), {}
            self._files = {number: files for number, files in self._files.items() if number in objects}
        new = [(n, result) for n, result in objects.items() if self._told.get(n) is not result]
        for number, result in new:
            self._completed.publish(
                scene_messages.completed_object_message(result, header, self._files.get(number, ()))
            )
        self._told = dict(objects)
        self._cloud.publish(scene_messages.objects_cloud_message(objects.values(), cloud))
        best = max(objects.values(), key=lambda result: result.next_view_reveals, default=None)
        if best is not None and best.next_best_view is not None:
            pose = pose_from_matrix(moved(best.next_best_view, best.world_offset))
            self._next_view.publish(PoseStamped(header=header, pose=pose))

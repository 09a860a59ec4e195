"""Topics about all things found, completed or not: what came and went, and detections for other packages."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np
from geometry_msgs.msg import Vector3
from instascene.msg import ObjectEvent
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from instascene_core.instances import THINGS, Instance, InstanceId
from instascene_core.local_frame import moved
from instascene_core.objects import CompletedObject
from instascene_core.scene.following import MOVED, Change
from instascene_ros.conversions import pose_from_matrix
from instascene_ros.object_topics import latched
from instascene_ros.snapshot import Snapshot

EVENTS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


def vision_messages() -> ModuleType | None:
    """vision_msgs.msg, or None where it is not installed."""
    try:
        from vision_msgs import msg
    except ImportError:
        return None
    return msg


def things_of(snapshot: Snapshot) -> Iterator[tuple[Instance, CompletedObject | None]]:
    """Every single thing in the map frame, and its completion, in the scene's, where there is one."""
    instances = snapshot.instances_in_map
    for instance in instances.instances if instances is not None else ():
        if instance.kind in THINGS:
            yield instance, snapshot.objects.get(instance.id)


def map_from_object(instance: Instance, result: CompletedObject | None) -> np.ndarray:
    """[4, 4]: the frame of a completed object; else at the bottom centre of the instance's box, upright."""
    if result is not None:
        return moved(result.world_from_object, result.world_offset)
    pose = np.eye(4)
    pose[:3, 3] = (np.asarray(instance.box_min, dtype=float) + instance.box_max) / 2
    pose[2, 3] = instance.box_min[2]
    return pose


class EventTopic:
    """`object_events`: what appeared, moved and left since the last time."""

    def __init__(self, node) -> None:
        self._publisher = node.create_publisher(ObjectEvent, "object_events", EVENTS)
        self._known: dict[InstanceId, np.ndarray] = {}
        self._changes: tuple[Change, ...] = ()

    def update(self, snapshot: Snapshot, header: Header) -> None:
        """header: of the map."""
        now = {instance.id: map_from_object(instance, result) for instance, result in things_of(snapshot)}
        before, self._known = self._known, now
        for number in before.keys() - now.keys():
            self._tell(ObjectEvent.LEFT, number, before[number], header)
        for number in now.keys() - before.keys():
            self._tell(ObjectEvent.APPEARED, number, now[number], header)
        # Completed, a thing gets another frame without having moved: only the scene knows.
        told, self._changes = set(map(id, self._changes)), snapshot.changes
        for change in snapshot.changes:
            number = change.instance_id
            if id(change) not in told and change.kind == MOVED and number in before and number in now:
                self._tell(ObjectEvent.MOVED, number, now[number], header, before[number])

    def _tell(
        self, event: int, number: InstanceId, place: np.ndarray, header: Header,
        before: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        pose = pose_from_matrix(place)
        old = pose if before is None else pose_from_matrix(before)
        self._publisher.publish(
            ObjectEvent(header=header, event=event, instance_id=int(number), old_pose=old, new_pose=pose)
        )


class DetectionTopic:
    """`detections`, latched: vision_msgs/Detection3DArray of all things.

    The score is the confidence of the completed mesh, else that of the instance; the class is its kind.
    """

    def __init__(self, node, messages: ModuleType) -> None:
        self._messages = messages
        self._publisher = node.create_publisher(messages.Detection3DArray, "detections", latched())

    def update(self, snapshot: Snapshot, header: Header) -> None:
        """header: of the map."""
        found = [self._detection(instance, result, header) for instance, result in things_of(snapshot)]
        self._publisher.publish(self._messages.Detection3DArray(header=header, detections=found))

    def _detection(self, instance: Instance, result: CompletedObject | None, header: Header):
        place = map_from_object(instance, result)
        size = np.asarray(instance.box_max, dtype=float) - instance.box_min
        if result is not None:
            size = np.asarray(result.dimensions, dtype=float)
        middle = np.array(place)
        middle[:3, 3] += place[:3, 2] * size[2] / 2
        x, y, z = size.tolist()
        hypothesis = self._messages.ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = instance.kind
        hypothesis.hypothesis.score = float((result or instance).confidence)
        hypothesis.pose.pose = pose_from_matrix(place)
        detection = self._messages.Detection3D(header=header, results=[hypothesis], id=str(instance.id))
        detection.bbox.center, detection.bbox.size = pose_from_matrix(middle), Vector3(x=x, y=y, z=z)
        return detection

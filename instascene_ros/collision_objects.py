"""Completed objects for MoveIt's planning scene: one moveit_msgs/CollisionObject each.

moveit_msgs is optional: without it the topics do not exist.
"""

from collections.abc import Mapping

import numpy as np
from std_msgs.msg import Header

from instascene_core.geometry import TriangleMesh
from instascene_core.instances import InstanceId
from instascene_core.local_frame import moved
from instascene_core.objects import CompletedObject
from instascene_core.transforms import apply, inverse
from instascene_ros.conversions import pose_from_matrix
from instascene_ros.object_topics import MAX_OBJECTS, latched
from instascene_ros.scene_messages import for_message, mesh_message

MAX_TRIANGLES = 500  # of an object that has no convex parts
# Where MoveIt listens by default, in the root namespace: DEFAULT_COLLISION_OBJECT_TOPIC and
# DEFAULT_PLANNING_SCENE_TOPIC of its PlanningSceneMonitor
MOVEIT_TOPIC, PLANNING_SCENE_TOPIC = "/collision_object", "/planning_scene"


def collision_object_type() -> type | None:
    """moveit_msgs/CollisionObject, or None where moveit_msgs is not installed."""
    try:
        from moveit_msgs.msg import CollisionObject
    except ImportError:
        return None
    return CollisionObject


def planning_scene_type() -> type | None:
    """moveit_msgs/PlanningScene, or None where moveit_msgs is not installed."""
    try:
        from moveit_msgs.msg import PlanningScene
    except ImportError:
        return None
    return PlanningScene


def collision_object(message_type: type, result: CompletedObject, header: Header, prefix: str = ""):
    """ADD the object: its convex parts (or its mesh, simplified) in the object frame, at its pose."""
    parts = result.convex_parts or (for_message(result, MAX_TRIANGLES)[0],)
    object_from_world = inverse(result.world_from_object)
    name = f"{prefix}object_{result.instance_id}"
    message = message_type(header=header, id=name, operation=message_type.ADD)
    message.pose = pose_from_matrix(moved(result.world_from_object, result.world_offset))
    message.meshes = [
        mesh_message(TriangleMesh(apply(object_from_world, part.vertices), part.triangles)) for part in parts
    ]
    message.mesh_poses = [pose_from_matrix(np.eye(4)) for _ in parts]
    return message


class CollisionBook:
    """Remembers what the planning scene was told, to REMOVE what is gone.

    Ids in the planning scene are the objects' tf frames; prefix: what both begin with.
    """

    def __init__(self, message_type: type, prefix: str = "") -> None:
        self._type, self._prefix = message_type, prefix
        self._told: dict[InstanceId, CompletedObject] = {}

    def update(self, objects: Mapping[InstanceId, CompletedObject], header: Header) -> list:
        """One message for every object that is new, changed or gone since the last time."""
        kind, before = self._type, self._told
        self._told = dict(objects)
        gone = [
            kind(header=header, id=f"{self._prefix}object_{number}", operation=kind.REMOVE)
            for number in before
            if number not in objects
        ]
        changed = [
            collision_object(kind, result, header, self._prefix)
            for number, result in objects.items()
            if before.get(number) is not result
        ]
        return [*gone, *changed]


class CollisionTopics:
    """`collision_objects`, latched, and the topics where MoveIt's planning scene monitor listens.

    planning_scene_type: moveit_msgs/PlanningScene where diffs of it are to be published as well.
    """

    def __init__(
        self, node, message_type: type, prefix: str = "", planning_scene_type: type | None = None
    ) -> None:
        self._book, self._scene_type = CollisionBook(message_type, prefix), planning_scene_type
        qos = latched(2 * MAX_OBJECTS)  # each may be told of and taken back
        topics = ("collision_objects", MOVEIT_TOPIC)
        self._publishers = [node.create_publisher(message_type, topic, qos) for topic in topics]
        self._diffs = None
        if planning_scene_type is not None:
            self._diffs = node.create_publisher(planning_scene_type, PLANNING_SCENE_TOPIC, qos)

    def update(self, objects: Mapping[InstanceId, CompletedObject], header: Header) -> None:
        """Tell of what is new, changed or gone."""
        messages = self._book.update(objects, header)
        for message in messages:
            for publisher in self._publishers:
                publisher.publish(message)
        if self._diffs is not None and self._scene_type is not None and messages:
            diff = self._scene_type(is_diff=True)
            diff.robot_state.is_diff = True  # else MoveIt takes the empty state for the robot's
            diff.world.collision_objects = messages
            self._diffs.publish(diff)

"""Completed objects for MoveIt's planning scene: one moveit_msgs/CollisionObject each.

moveit_msgs is optional: without it the topic does not exist.
"""

import numpy as np
from std_msgs.msg import Header

from instascene_core.geometry import TriangleMesh
from instascene_core.instances import InstanceId
from instascene_core.local_frame import moved
from instascene_core.objects import CompletedObject
from instascene_core.transforms import apply, inverse
from instascene_ros.conversions import pose_from_matrix
from instascene_ros.scene_messages import for_message, mesh_message

MAX_TRIANGLES = 500  # of an object that has no convex parts


def collision_object_type() -> type | None:
    """moveit_msgs/CollisionObject, or None where moveit_msgs is not installed."""
    try:
        from moveit_msgs.msg import CollisionObject
    except ImportError:
        return None
    return CollisionObject


def object_name(instance_id: InstanceId) -> str:
    """The id in the planning scene, the same as the object's tf frame."""
    return f"object_{instance_id}"


def collision_object(message_type: type, result: CompletedObject, header: Header):
    """ADD the object: its convex parts (or its mesh, simplified) in the object frame, at its pose."""
    parts = result.convex_parts or (for_message(result, MAX_TRIANGLES)[0],)
    object_from_world = inverse(result.world_from_object)
    message = message_type(header=header, id=object_name(result.instance_id), operation=message_type.ADD)
    message.pose = pose_from_matrix(moved(result.world_from_object, result.world_offset))
    message.meshes = [
        mesh_message(TriangleMesh(apply(object_from_world, part.vertices), part.triangles)) for part in parts
    ]
    message.mesh_poses = [pose_from_matrix(np.eye(4)) for _ in parts]
    return message


class CollisionBook:
    """Remembers what the planning scene was told, to REMOVE what is gone."""

    def __init__(self, message_type: type | None = None) -> None:
        self._type = message_type or collision_object_type()
        self._told: dict[InstanceId, CompletedObject] = {}

    def update(self, objects: dict[InstanceId, CompletedObject], header: Header) -> list:
        """One message for every object that is new, changed or gone since the last time."""
        kind = self._type
        assert kind is not None, "without moveit_msgs there is no topic to make messages for"
        messages = [
            kind(header=header, id=object_name(number), operation=kind.REMOVE)
            for number in self._told
            if number not in objects
        ]
        messages += [
            collision_object(kind, result, header)
            for number, result in objects.items()
            if self._told.get(number) is not result
        ]
        self._told = dict(objects)
        return messages

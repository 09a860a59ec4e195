"""Static transforms that can be taken back, as far as tf allows it.

tf2_ros' static broadcaster keeps what it was once given for every late subscriber.  Here the list on
/tf_static is that of what is there now.  (Who has heard of a frame keeps it: tf has no message for its end.)
"""

from collections.abc import Mapping

import numpy as np
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header

from instascene_ros.conversions import pose_from_matrix
from instascene_ros.object_topics import latched


def transform_type() -> type | None:
    """tf2_msgs/TFMessage, or None where tf2 is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return None
    return TFMessage


class TransformTopic:
    """The node's static transforms by child frame; each change sends them all."""

    def __init__(self, node, message_type: type) -> None:
        self._type = message_type
        self._publisher = node.create_publisher(message_type, "/tf_static", latched())
        self._told: dict[str, tuple[str, bytes]] = {}

    def update(self, frames: Mapping[str, np.ndarray], header: Header) -> None:
        """frames: child frame → [4, 4] in the header's frame; those that are missing are gone."""
        told = {child: (header.frame_id, pose.tobytes()) for child, pose in frames.items()}
        if told == self._told:
            return
        self._told = told
        transforms = [transform(child, pose, header) for child, pose in frames.items()]
        self._publisher.publish(self._type(transforms=transforms))


def transform(child: str, parent_from_child: np.ndarray, header: Header) -> TransformStamped:
    """parent_from_child: [4, 4] float64; the parent is the header's frame."""
    message = TransformStamped(header=header, child_frame_id=child)
    pose = pose_from_matrix(parent_from_child)
    translation = message.transform.translation
    translation.x, translation.y, translation.z = pose.position.x, pose.position.y, pose.position.z
    message.transform.rotation = pose.orientation
    return message

"""Frames without the robot itself: its description and its joints' positions come on topics."""

import threading

import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry import TriangleMesh
from instascene_core.transforms import apply
from instascene_ros.conversions import stamp_seconds
from instascene_ros.frame_assembly import FrameDropped, StampBuffer
from instascene_ros.robot_body import RobotBody, pixels_of

LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
JOINTS_GAP_S = 0.2  # joint positions this far from an image do not tell where the robot was in it
NO_BODY = "where the robot is in it is not known"  # why a frame is dropped


class SelfFilter:
    """Takes the robot's own pixels out of frames.  Thread-safe.

    base: [4, 4] map_from_base, of the base link of the description.
    """

    def __init__(self, node, base: np.ndarray, group: CallbackGroup) -> None:
        self._base, self._lock = base, threading.Lock()
        self._body: RobotBody | str | None = None  # or why there is none
        self._joints = StampBuffer(2000)  # of positions by name
        node.create_subscription(String, "robot_description", self._describe, LATCHED, callback_group=group)
        node.create_subscription(JointState, "joint_states", self._joint_states, 200, callback_group=group)

    def _describe(self, message: String) -> None:
        try:
            body: RobotBody | str = RobotBody(message.data)
        except InputError as error:
            body = str(error)
        with self._lock:
            self._body = body

    def _joint_states(self, message: JointState) -> None:
        positions = dict(zip(message.name, message.position))
        with self._lock:
            stamp = stamp_seconds(message.header.stamp)
            # Grippers and arms tell of their joints in messages of their own.
            known = self._joints.nearest(stamp, JOINTS_GAP_S) or {}
            self._joints.add(stamp, {**known, **positions})

    def without_robot(self, frame: Frame) -> Frame:
        """The frame, its pixels that show the robot not valid.  FrameDropped where they are not known."""
        pixels = pixels_of(self._surface(frame.stamp), frame)
        return frame.without(pixels) if pixels.any() else frame

    def _surface(self, stamp: float) -> TriangleMesh:
        """In the map, at an instant."""
        with self._lock:
            if not isinstance(self._body, RobotBody):
                raise FrameDropped(
                    NO_BODY, self._body or "self_filter is on, but nothing came on robot_description."
                )
            positions = self._joints.nearest(stamp, JOINTS_GAP_S)
            if positions is None:
                raise FrameDropped(
                    NO_BODY, f"self_filter found no joint_states within {JOINTS_GAP_S:g} s of an image."
                )
            try:
                surface = self._body.surface(positions)
            except InputError as error:
                raise FrameDropped(NO_BODY, str(error)) from error
        return TriangleMesh(apply(self._base, surface.vertices), surface.triangles)

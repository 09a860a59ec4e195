#!/usr/bin/env python3
"""grasp_node: antipodal grasps on the objects of a scene_node, as PoseArray in the map frame.

    ros2 run instascene grasp_node.py --ros-args -p opening:=0.085 -p friction:=0.4

Subscribes `completed_objects` and `instances`, publishes `grasps` (latched; best first within an object,
gripper frame as in grasps.py) whenever an object is new, changed or gone.  Parameters: the gripper's sizes,
`instance_id` (0 = all objects), `count` (grasps an object), `attempts`, `seed`.
"""

import sys
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import rclpy
import rclpy.utilities
from geometry_msgs.msg import Pose, PoseArray
from instascene.msg import CompletedObject, InstanceArray
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from grasps import Body, Grasp, Gripper, sample_grasps

from instascene_ros.conversions import pose_from_matrix

MEANINGS = {
    "opening": "metres between the open fingers",
    "depth": "metres from the palm to the fingertips",
    "finger_width": "metres across the closing direction",
    "finger_thickness": "metres along the closing direction",
    "palm_height": "metres of the palm behind the fingers",
    "friction": "coefficient between finger and object",
    "clearance": "metres kept to everything",
}
SETTLED_S = 0.3  # objects come in series: work begins when none has come for this long


def latched(depth: int) -> QoSProfile:
    return QoSProfile(
        depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )


def body_of(message: CompletedObject) -> Body:
    """ValueError for a mesh that is none."""
    vertices = np.array([(p.x, p.y, p.z) for p in message.mesh.vertices], dtype=float).reshape(-1, 3)
    faces = np.array([t.vertex_indices for t in message.mesh.triangles], dtype=int).reshape(-1, 3)
    return Body(vertices, faces, np.array(message.vertex_observed, dtype=float))


def is_same(a: Body, b: Body) -> bool:
    pairs = ((a.vertices, b.vertices), (a.faces, b.faces), (a.observed, b.observed))
    return all(np.array_equal(one, other) for one, other in pairs)


class GraspNode(Node):
    """Keeps the newest bodies, and samples anew when they have changed."""

    def __init__(self, **node_options) -> None:
        super().__init__("grasp_node", **node_options)
        self.gripper = self._declare_gripper()
        self._count = self._declare_count("count", 20, 1, "grasps an object at most")
        self._attempts = self._declare_count("attempts", 300, 1, "closing lines tried an object")
        self._only = self._declare_count("instance_id", 0, 0, "object to grasp; 0 = all")
        self._seed = self._declare_count("seed", 0, 0, "same seed, same grasps")
        self.bodies: dict[int, Body] = {}
        self._there: set[int] | None = None  # completed, as `instances` lists them; None before it came
        self._support: tuple[float, ...] | None = None  # a b c d of the plane
        self._frame, self._changed = "map", False
        self._publisher = self.create_publisher(PoseArray, "grasps", latched(1))
        self.create_subscription(CompletedObject, "completed_objects", self._on_object, latched(200))
        self.create_subscription(InstanceArray, "instances", self._on_instances, latched(1))
        self._timer = self.create_timer(SETTLED_S, self._work_if_changed)

    def _declare_gripper(self) -> Gripper:
        values = {}
        for name, default in asdict(Gripper()).items():
            limits = [FloatingPointRange(from_value=0.0, to_value=10.0)]
            descriptor = ParameterDescriptor(
                description=MEANINGS[name], read_only=True, floating_point_range=limits
            )
            values[name] = self.declare_parameter(name, default, descriptor).value
        assert set(values) == {field.name for field in fields(Gripper)}
        return Gripper(**values)

    def _declare_count(self, name: str, default: int, least: int, meaning: str) -> int:
        limits = [IntegerRange(from_value=least, to_value=2**31 - 1)]
        descriptor = ParameterDescriptor(description=meaning, read_only=True, integer_range=limits)
        return int(self.declare_parameter(name, default, descriptor).value or 0)

    def _on_object(self, message: CompletedObject) -> None:
        self._frame = message.header.frame_id
        try:
            body = body_of(message)
        except ValueError as error:
            self.get_logger().warning(f"object {message.instance_id} is left out: {error}")
            if self.bodies.pop(message.instance_id, None) is not None:
                self._touch()
            return
        known = self.bodies.get(message.instance_id)
        if known is None or not is_same(known, body):  # all come anew when one has left
            self.bodies[message.instance_id] = body
            self._touch()

    def _on_instances(self, message: InstanceArray) -> None:
        """Which bodies are there, and the plane that things stand on.

        A mesh that is not listed is kept, and not used: the two topics may overtake each other.
        """
        there = {instance.id for instance in message.instances if instance.completed}
        before, self._there = self._there, there
        support = tuple(message.support.coef) if message.has_support else None
        if there != before or support != self._support:
            self._support = support
            self._touch()

    def _touch(self) -> None:
        self._changed = True
        self._timer.reset()

    def _work_if_changed(self) -> None:
        if not self._changed:
            return
        self._changed = False
        found: list[Grasp] = []
        support = None if self._support is None else np.array(self._support)
        present = {n: b for n, b in sorted(self.bodies.items()) if self._there is None or n in self._there}
        for number, body in present.items():
            if self._only not in (0, number):
                continue
            others = [other for n, other in present.items() if n != number]
            grasps = sample_grasps(
                body, others, self.gripper, count=self._count, attempts=self._attempts,
                support=support, seed=self._seed,
            )  # fmt: skip
            self.get_logger().info(f"object {number}: {len(grasps)} grasps")
            found += grasps
        message = PoseArray(poses=[self._pose(grasp) for grasp in found])
        message.header.frame_id, message.header.stamp = self._frame, self.get_clock().now().to_msg()
        self._publisher.publish(message)

    @staticmethod
    def _pose(grasp: Grasp) -> Pose:
        return pose_from_matrix(grasp.pose)


def main() -> int:
    rclpy.init()
    node = None
    try:
        node = GraspNode()
        rclpy.spin(node)
    except ValueError as error:
        sys.stderr.write(f"grasp_node: {error}\n")
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.utilities.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())

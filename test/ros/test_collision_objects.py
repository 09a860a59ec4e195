"""Completed objects for MoveIt: against the real message where there is one, else one of the same fields."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import Pose
from rclpy.qos import DurabilityPolicy
from std_msgs.msg import Header
from test_scene_messages import completed

from instascene_core.doctor import examine
from instascene_ros import collision_objects
from instascene_ros.collision_objects import CollisionBook, CollisionTopics, collision_object
from instascene_ros.conversions import matrix_from_pose

HEADER = Header(frame_id="map")


@dataclass
class StandIn:
    """The fields of moveit_msgs/CollisionObject that are filled."""

    ADD, REMOVE = b"\x00", b"\x01"

    header: Header
    id: str
    operation: bytes
    pose: Pose = field(default_factory=Pose)
    meshes: list = field(default_factory=list)
    mesh_poses: list = field(default_factory=list)


@pytest.fixture(params=["moveit_msgs", "stand-in"])
def message_type(request):
    if request.param == "stand-in":
        return StandIn
    real = collision_objects.collision_object_type()
    if real is None:
        pytest.skip("moveit_msgs is not installed")
    return real


def in_the_world(message) -> np.ndarray:
    """[K, 3] vertices of all parts in the frame of the message."""
    found = []
    for mesh, pose in zip(message.meshes, message.mesh_poses, strict=True):
        matrix = matrix_from_pose(message.pose) @ matrix_from_pose(pose)
        vertices = np.array([[p.x, p.y, p.z] for p in mesh.vertices])
        found.append(vertices @ matrix[:3, :3].T + matrix[:3, 3])
    return np.concatenate(found)


def test_the_convex_parts_stand_where_the_object_stands(message_type):
    result = completed(7)
    turned = np.array([[0, -1, 0, 0.4], [1, 0, 0, -0.2], [0, 0, 1, 0.1], [0, 0, 0, 1.0]])
    message = collision_object(message_type, replace(result, world_from_object=turned), HEADER)
    assert (message.id, message.operation, message.header.frame_id) == ("object_7", message_type.ADD, "map")
    np.testing.assert_allclose(matrix_from_pose(message.pose), turned, atol=1e-12)
    np.testing.assert_allclose(in_the_world(message), result.convex_parts[0].vertices, atol=1e-12)


def test_an_object_without_parts_is_its_mesh_with_fewer_triangles(message_type):
    result = replace(completed(7, subdivisions=4), convex_parts=())
    message = collision_object(message_type, result, HEADER)
    assert len(message.meshes) == 1
    assert 4 <= len(message.meshes[0].triangles) <= collision_objects.MAX_TRIANGLES
    assert np.abs(np.linalg.norm(in_the_world(message), axis=1) - 0.05).max() < 0.005


def test_only_what_changed_is_told(message_type):
    book = CollisionBook(message_type)
    first, second = completed(1), completed(2)
    assert [m.id for m in book.update({1: first, 2: second}, HEADER)] == ["object_1", "object_2"]
    assert book.update({1: first, 2: second}, HEADER) == []
    again, removed = replace(first, volume=1.0), message_type.REMOVE
    told = book.update({1: again}, HEADER)
    assert {(m.id, m.operation) for m in told} == {("object_1", message_type.ADD), ("object_2", removed)}
    assert [(m.id, m.operation) for m in book.update({}, HEADER)] == [("object_1", removed)]


def test_doctor_tells_how_to_get_the_topic():
    (finding,) = [f for f in examine() if f.part == "ROS: moveit_msgs"]
    assert not finding.required and "collision_objects" in finding.advice
    assert finding.found == (collision_objects.collision_object_type() is not None)


class Recorder:
    """A node whose publishers keep what they are given, by topic."""

    def __init__(self) -> None:
        self.sent, self.qos = {}, {}

    def create_publisher(self, kind, topic, qos):
        self.sent[topic], self.qos[topic] = [], qos
        return SimpleNamespace(publish=self.sent[topic].append)


def planning_scene(is_diff: bool) -> SimpleNamespace:
    """A stand-in for moveit_msgs/PlanningScene."""
    return SimpleNamespace(is_diff=is_diff, robot_state=SimpleNamespace(), world=SimpleNamespace())


@pytest.mark.parametrize("diffs", [False, True])
def test_moveit_is_told_where_it_listens(diffs):
    node = Recorder()
    topics = CollisionTopics(node, StandIn, "arm/", planning_scene if diffs else None)
    topics.update({1: completed(1), 2: completed(2)}, HEADER)
    for topic in ("collision_objects", "/collision_object"):
        assert [m.id for m in node.sent[topic]] == ["arm/object_1", "arm/object_2"]
        assert node.qos[topic].durability == DurabilityPolicy.TRANSIENT_LOCAL and node.qos[topic].depth >= 100
    topics.update({}, HEADER)
    assert [m.operation for m in node.sent["collision_objects"]] == [StandIn.ADD] * 2 + [StandIn.REMOVE] * 2
    topics.update({}, HEADER)  # nothing to tell
    assert ("/planning_scene" in node.sent) == diffs
    if diffs:
        first, second = node.sent["/planning_scene"]
        assert first.is_diff and first.robot_state.is_diff and len(first.world.collision_objects) == 2
        assert {m.operation for m in second.world.collision_objects} == {StandIn.REMOVE}

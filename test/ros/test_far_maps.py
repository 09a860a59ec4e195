"""A scene far from the map's origin at the real node: which messages are in which frame."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from click_scene import BLUE, PLACES, RED, decomposed_scene
from geometry_msgs.msg import Point, PointStamped
from instascene.msg import CompletedObject, InstanceArray
from instascene.srv import CompleteInstance, GetInstance, RemoveInstance, SegmentAt
from nodes import LATCHED, Client, scene_node_here, show_scene, wait_for
from rclpy.qos import DurabilityPolicy
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from instascene_ros.scene_messages import CLOUD_TYPE
from instascene_ros.transform_topic import TransformTopic

MOVE = np.array([4.5e6, 5.2e6, 300.0])  # metres, as UTM coordinates are


class Listener:
    """Takes the place of tf2_msgs and of a publisher of it; `sent` is what the newest message says."""

    def __init__(self) -> None:
        self.sent = {}

    def create_publisher(self, kind, topic, qos):
        assert topic == "/tf_static" and qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        return self

    def publish(self, message) -> None:
        places = [(t, t.transform.translation) for t in message.transforms]
        self.sent = {(t.header.frame_id, t.child_frame_id): np.array([p.x, p.y, p.z]) for t, p in places}


@pytest.fixture
def world(ros_domain, tmp_path):
    """(node, client, what tf was told): the scene of clicks, moved far away."""
    rclpy.init()
    scene, _ = decomposed_scene()
    scene.state = replace(scene.state, world_offset=MOVE)
    with scene_node_here(data_dir=str(tmp_path)) as node:
        tf = Listener()
        node.scene_publishers._transforms = TransformTopic(tf, SimpleNamespace)
        show_scene(node, scene)
        client = Client("far_client")
        yield node, client, tf
        client.close()
    rclpy.try_shutdown()


def moved(*values: float) -> np.ndarray:
    return MOVE + np.array(values)


def xyz(points) -> np.ndarray:
    return np.array([[p.x, p.y, p.z] for p in points])


def test_frames_of_a_far_scene(world):
    """64-bit messages stay in the map; 32-bit ones and what RViz shows are in the local frame."""
    _, client, tf = world
    instances = client.listen(InstanceArray, "instances", LATCHED)
    clouds = client.listen(PointCloud2, "gaussians", LATCHED)
    markers = client.listen(MarkerArray, "markers", LATCHED)
    objects = client.listen(CompletedObject, "completed_objects")
    wait_for(lambda: instances and clouds and markers, 10, "the scene")
    assert tf.sent["map", "map_local"].tolist() == MOVE.tolist()

    assert instances[-1].header.frame_id == "map"
    box = next(i for i in instances[-1].instances if i.id == RED)
    np.testing.assert_allclose(xyz([box.box_min])[0], moved(-0.15, -0.05, 0), atol=0.02)
    assert instances[-1].support.coef[3] == pytest.approx(-MOVE[2], abs=1e-6)
    assert clouds[-1].header.frame_id == "map_local"
    cloud = np.frombuffer(bytes(clouds[-1].data), CLOUD_TYPE)
    assert np.abs(cloud["x"]).max() < 1
    shown = [m for m in markers[-1].markers if m.action == Marker.ADD]
    assert {m.header.frame_id for m in shown} == {"map_local"}
    assert max(np.abs(xyz(m.points)).max() for m in shown if m.points) < 1

    known = client.call(GetInstance, "get_instance", instance_id=RED)
    np.testing.assert_allclose(xyz([known.instance.box_min])[0], moved(-0.15, -0.05, 0), atol=0.02)
    answer = client.call(CompleteInstance, "complete_instance", instance_id=RED, num_samples=1)
    assert answer.success, answer.message
    made = answer.completed_object
    assert made.header.frame_id == "map"
    middle = moved(*PLACES[RED], 0.05)
    for mesh in (made.mesh, *made.convex_parts):
        assert np.abs(xyz(mesh.vertices) - middle).max() < 0.1
    assert len(np.unique(xyz(made.mesh.vertices)[:, 0])) > 20  # in 32 bits there would be one
    np.testing.assert_allclose(xyz([made.pose.position])[0], moved(*PLACES[RED], 0), atol=0.02)
    wait_for(lambda: ("map", f"object_{RED}") in tf.sent, 10, "the object's frame")
    np.testing.assert_allclose(tf.sent["map", f"object_{RED}"], moved(*PLACES[RED], 0), atol=0.02)
    wait_for(lambda: objects, 10, "the object as a message")
    # Who asks tf later does not hear of what is gone.
    assert client.call(RemoveInstance, "remove_instance", instance_id=RED).success
    wait_for(lambda: set(tf.sent) == {("map", "map_local")}, 10, "the object's frame is taken back")


def test_clicks_are_of_the_map(world):
    _, client, _ = world
    x, y, z = moved(*PLACES[BLUE], 0.1)
    point = PointStamped(header=Header(frame_id="map"), point=Point(x=x, y=y, z=z))
    answer = client.call(SegmentAt, "segment_at", use_point=True, point=point)
    assert answer.success, answer.message
    assert answer.instance_id == BLUE and answer.header.frame_id == "map"
    np.testing.assert_allclose(xyz([answer.point])[0], [x, y, z], atol=0.02)
    np.testing.assert_allclose(xyz([answer.instance.box_max])[0], [x + 0.05, y + 0.05, z], atol=0.02)

"""What came and went, at the real node; detections against stand-ins of vision_msgs."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from click_scene import BLUE, PLACES, RED, UNSEEN, decomposed_scene
from geometry_msgs.msg import Point, PointStamped, Pose, Vector3
from instascene.msg import ObjectEvent
from instascene.srv import RemoveInstance, ResetScene, SegmentAt
from nodes import Client, scene_node_here, show_scene, wait_for
from rclpy.qos import DurabilityPolicy
from std_msgs.msg import Header
from test_following import motion_of, parts, shown
from test_scene_messages import completed, instance_map

from instascene_core.scene.following import MOVED
from instascene_core.scene.following.changing import moved_gaussians
from instascene_ros.instance_topics import EVENTS, DetectionTopic
from instascene_ros.snapshot import Snapshot

HEADER = Header(frame_id="map")


def test_events_tell_what_was_found_and_what_left(ros_domain, tmp_path):
    rclpy.init()
    scene, _ = decomposed_scene()
    with scene_node_here(data_dir=str(tmp_path)) as node:
        client = Client("events_client")
        events = client.listen(ObjectEvent, "object_events", EVENTS)
        wait_for(lambda: client.node.count_publishers("/object_events"), 10, "the topic")
        show_scene(node, scene)
        wait_for(lambda: len(events) == 2, 10, "what was found")
        assert {(e.event, e.instance_id) for e in events} == {
            (ObjectEvent.APPEARED, RED),
            (ObjectEvent.APPEARED, BLUE),
        }
        red = next(e for e in events if e.instance_id == RED)
        place = red.new_pose.position
        np.testing.assert_allclose([place.x, place.y, place.z], [*PLACES[RED], 0.0], atol=0.02)
        assert red.header.frame_id == "map" and red.new_pose == red.old_pose
        x, y = PLACES[UNSEEN]
        point = PointStamped(header=HEADER, point=Point(x=float(x), y=float(y), z=0.1))
        assert client.call(SegmentAt, "segment_at", use_point=True, point=point).created
        assert client.call(RemoveInstance, "remove_instance", instance_id=RED).success
        wait_for(lambda: len(events) == 4, 10, "what came and went")
        assert [(e.event, e.instance_id) for e in events[2:]] == [
            (ObjectEvent.APPEARED, 5),
            (ObjectEvent.LEFT, RED),
        ]
        assert client.call(ResetScene, "reset_scene").success
        wait_for(lambda: len(events) == 6, 10, "all that left")
        assert {(e.event, e.instance_id) for e in events[4:]} == {
            (ObjectEvent.LEFT, BLUE),
            (ObjectEvent.LEFT, 5),
        }
        client.close()
    rclpy.shutdown()


def test_what_was_moved_is_noticed_in_new_frames_and_told(ros_domain, tmp_path):
    """Its id stays; of the other one nothing is told."""
    rclpy.init()
    scene, _ = decomposed_scene()
    motion = motion_of((-0.06, -0.16, 0), 40, about=np.array([*PLACES[RED], 0]))
    things = parts()
    things[RED] = moved_gaussians(things[RED], motion)
    with scene_node_here(data_dir=str(tmp_path), status_period_s=0.2, work_ahead=False) as node:
        client = Client("events_client")
        events = client.listen(ObjectEvent, "object_events", EVENTS)
        wait_for(lambda: client.node.count_publishers("/object_events"), 10, "the topic")
        show_scene(node, scene)
        wait_for(lambda: len(events) == 2, 10, "what was found")
        before = next(e for e in events if e.instance_id == RED).new_pose
        views = shown(things.values(), node.worker.scene.config.following.batch)
        node.worker.submit("frames", lambda progress: [scene.add_frame(view) for view in views]).result(20)
        event = wait_for(lambda: len(events) > 2 and events[2], 60, "the change")
        assert (event.event, event.instance_id) == (ObjectEvent.MOVED, RED)
        assert event.old_pose == before
        place, (x, y) = event.new_pose.position, (motion @ [*PLACES[RED], 0, 1])[:2]
        np.testing.assert_allclose([place.x, place.y], [x, y], atol=0.01)
        assert node.worker.snapshot.changes[-1].kind == MOVED and len(events) == 3
        client.close()
    rclpy.shutdown()


@dataclass
class Hypothesis:
    """vision_msgs/ObjectHypothesisWithPose."""

    hypothesis: SimpleNamespace = field(default_factory=SimpleNamespace)
    pose: SimpleNamespace = field(default_factory=SimpleNamespace)


@dataclass
class Detection:
    """vision_msgs/Detection3D."""

    header: Header
    results: list
    id: str
    bbox: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(center=Pose(), size=Vector3()))


def test_detections_hold_every_thing_with_its_box_and_confidence():
    sent, asked = [], {}

    def create_publisher(kind, topic, qos):
        asked.update(topic=topic, qos=qos)
        return SimpleNamespace(publish=sent.append)

    messages = SimpleNamespace(
        Detection3DArray=SimpleNamespace, Detection3D=Detection, ObjectHypothesisWithPose=Hypothesis
    )
    topic = DetectionTopic(SimpleNamespace(create_publisher=create_publisher), messages)
    turned = np.array([[0, -1, 0, 0.4], [1, 0, 0, -0.2], [0, 0, 1, 0.1], [0, 0, 0, 1.0]])
    result = replace(completed(2), world_from_object=turned, dimensions=np.array([0.1, 0.2, 0.3]))
    topic.update(Snapshot(instances=instance_map(1, 2), objects={2: result}), HEADER)
    assert asked["topic"] == "detections" and asked["qos"].durability == DurabilityPolicy.TRANSIENT_LOCAL
    (array,) = sent
    first, second = array.detections  # without support and background
    assert (first.id, second.id) == ("1", "2") and array.header.frame_id == "map"
    assert first.results[0].hypothesis.class_id == "object"
    assert first.results[0].hypothesis.score == 0.75  # of the instance
    assert second.results[0].hypothesis.score == pytest.approx(0.9)  # of the completed mesh
    size, center = first.bbox.size, first.bbox.center.position
    np.testing.assert_allclose([size.x, size.y, size.z], [0.1, 0.2, 0.3])
    np.testing.assert_allclose([center.x, center.y, center.z], [1.05, 0.1, 0.15])
    center = second.bbox.center.position
    np.testing.assert_allclose([center.x, center.y, center.z], [0.4, -0.2, 0.25])
    assert second.bbox.center.orientation.z == pytest.approx(np.sqrt(0.5))

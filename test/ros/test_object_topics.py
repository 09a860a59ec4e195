"""Topics about completed objects at the real node: what subscribers get, early and late."""

import numpy as np
import pytest
import rclpy
import trimesh
from action_msgs.msg import GoalStatus
from click_scene import BLUE, RED, decomposed_scene
from geometry_msgs.msg import PoseStamped
from instascene.action import CompleteInstances
from instascene.msg import CompletedObject
from instascene.srv import CompleteInstance, LoadScene, RemoveInstance, ResetScene, SaveScene
from nodes import LATCHED, Client, result_of, scene_node_here, show_scene, wait_for
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from instascene_ros.scene_messages import OBJECT_CLOUD_TYPE

ALL = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


@pytest.fixture
def client(ros_domain, tmp_path):
    """A client of a node with two boxes to complete."""
    rclpy.init()
    scene, _ = decomposed_scene()
    with scene_node_here(data_dir=str(tmp_path)) as node:
        show_scene(node, scene)
        client = Client("objects_client")
        yield client
        client.close()
    rclpy.shutdown()


def complete(client, number: int, **fields) -> CompletedObject:
    answer = client.call(CompleteInstance, "complete_instance", instance_id=number, num_samples=1, **fields)
    assert answer.success, answer.message
    return answer.completed_object


def ids_in(clouds: list) -> set:
    points = np.frombuffer(bytes(clouds[-1].data), OBJECT_CLOUD_TYPE) if clouds else np.empty(0)
    return set(np.asarray(points["instance"]).tolist()) if len(points) else set()


def heard_later(kind, topic: str, enough) -> list:
    """What somebody hears who subscribes only now."""
    late = Client("late_client")
    try:
        heard = late.listen(kind, topic, ALL)
        wait_for(lambda: enough(heard), 10, f"{topic} for a late subscriber")
        return list(heard)
    finally:
        late.close()


def test_late_subscribers_get_what_is_there_and_nothing_that_is_gone(client):
    clouds = client.listen(PointCloud2, "object_cloud", LATCHED)
    complete(client, RED)
    made = complete(client, BLUE, formats=["stl"])
    wait_for(lambda: ids_in(clouds) == {RED, BLUE}, 10, "both objects in the cloud")
    both = heard_later(CompletedObject, "completed_objects", lambda heard: len(heard) == 2)
    assert [m.instance_id for m in both] == [RED, BLUE]
    assert both[1].files == made.files and made.files[0].endswith(".stl") and both[1].mesh == made.mesh

    assert client.call(RemoveInstance, "remove_instance", instance_id=RED).success
    wait_for(lambda: ids_in(clouds) == {BLUE}, 10, "the cloud without the removed object")
    (left,) = heard_later(CompletedObject, "completed_objects", bool)
    assert left.instance_id == BLUE and left.files == made.files


def test_a_loaded_scene_tells_of_its_objects(client):
    complete(client, RED)
    complete(client, BLUE)
    assert client.call(SaveScene, "save_scene", name="kept").success
    assert client.call(ResetScene, "reset_scene").success
    heard = client.listen(CompletedObject, "completed_objects", ALL)
    answer = client.call(LoadScene, "load_scene", name="kept")
    assert answer.success and list(answer.completed_ids) == [RED, BLUE]
    wait_for(lambda: {m.instance_id for m in heard} == {RED, BLUE}, 10, "both objects after loading")


def test_where_to_look_next(client):
    views = client.listen(PoseStamped, "next_best_view", LATCHED)
    complete(client, RED)
    wait_for(lambda: views, 10, "a view")
    view = views[-1]
    assert view.header.frame_id == "map" and view.pose.position.z > 0
    q = view.pose.orientation
    ahead = np.array([2 * (q.x * q.z + q.w * q.y), 2 * (q.y * q.z - q.w * q.x), 1 - 2 * (q.x**2 + q.y**2)])
    p = view.pose.position
    towards = np.array([-0.1, 0.0, 0.05]) - [p.x, p.y, p.z]  # the red box, from the camera
    assert ahead @ towards / np.linalg.norm(towards) > 0.9
    # With the object its view is gone, also for who asks later.
    assert client.call(RemoveInstance, "remove_instance", instance_id=RED).success
    late = Client("late_client")
    heard = late.listen(PoseStamped, "next_best_view", ALL)
    wait_for(lambda: late.node.count_publishers("/next_best_view") == 1, 10, "the topic")
    complete(client, BLUE)
    wait_for(lambda: heard, 10, "the view of another object")
    late.close()
    assert len(heard) == 1 and heard[0].pose != view.pose


def test_files_belong_to_the_object_that_they_were_written_of(client):
    """An object of the same id that is loaded has none of them."""
    complete(client, RED)
    assert client.call(SaveScene, "save_scene", name="kept").success
    heard = client.listen(CompletedObject, "completed_objects", ALL)
    complete(client, RED, formats=["stl"])
    wait_for(lambda: heard and heard[-1].files, 10, "the object with its file")
    seen, files = len(heard), set(heard[-1].files)
    assert client.call(LoadScene, "load_scene", name="kept").success
    wait_for(lambda: len(heard) > seen, 10, "the loaded object")
    assert not files & set(heard[-1].files)


def added(array: MarkerArray) -> set:
    return {(m.ns, m.id) for m in array.markers if m.action == Marker.ADD}


ALL_MARKERS = {(namespace, i) for namespace in ("box", "label", "mesh", "surface") for i in (RED, BLUE)}


def test_a_late_subscriber_gets_all_markers_in_one_message(client):
    complete(client, RED)
    complete(client, BLUE)
    (latest,) = heard_later(MarkerArray, "markers", bool)
    assert added(latest) == ALL_MARKERS


def test_in_a_series_of_completions_each_object_sends_its_own_markers(client):
    """And all follow in the end, so that late subscribers get them."""
    arrays = client.listen(MarkerArray, "markers", ALL)
    wait_for(lambda: arrays, 10, "the markers of before")
    outcome = result_of(client.send_goal(CompleteInstances, "complete_instances", num_samples=1))
    assert outcome.result.success, outcome.result.message
    wait_for(lambda: added(arrays[-1]) == ALL_MARKERS, 10, "all markers")
    alone = [{("mesh", i), ("surface", i)} for i in (RED, BLUE)]
    assert [added(a) for a in arrays[-4:-1]] == [*alone, alone[0] | alone[1]]  # then both, laid to rest
    (latest,) = heard_later(MarkerArray, "markers", bool)
    assert added(latest) == ALL_MARKERS


def test_a_series_tells_each_object_by_itself_then_at_rest_and_then_with_its_files(client):
    heard, feedback = client.listen(CompletedObject, "completed_objects", ALL), []
    goal = client.send_goal(CompleteInstances, "complete_instances", feedback, num_samples=1, formats=["stl"])
    outcome = result_of(goal)
    assert outcome.result.success and list(outcome.result.completed_ids) == [RED, BLUE]
    wait_for(lambda: len(heard) == 6, 10, "each object three times")
    assert [m.instance_id for m in heard] == [RED, BLUE] * 3
    assert not any(m.files for m in heard[:4])
    for message in heard[4:]:
        (name,) = (f for f in message.files if f.endswith(f"/objects/{message.instance_id}/mesh.stl"))
        mesh = trimesh.load_mesh(name)
        size = message.dimensions
        assert np.allclose(np.ptp(mesh.vertices, axis=0), (size.x, size.y, size.z), atol=1e-5)
    assert {f.instance_id for f in feedback} == {RED, BLUE, 0}


def test_a_series_without_any_success_is_aborted_and_says_which_failed(client):
    goal = client.send_goal(CompleteInstances, "complete_instances", instance_ids=[77, 78])
    outcome = result_of(goal)
    assert outcome.status == GoalStatus.STATUS_ABORTED and not outcome.result.success
    assert list(outcome.result.failed_ids) == [77, 78] and len(outcome.result.failures) == 2
    message = outcome.result.message
    assert message.startswith("2 of 2 objects failed: object 77: ") and "object 78: " in message


def test_an_unknown_format_is_refused_before_the_work(client):
    outcome = result_of(client.send_goal(CompleteInstances, "complete_instances", formats=["fbx"]))
    assert outcome.status == GoalStatus.STATUS_ABORTED and not outcome.result.failed_ids
    assert outcome.result.message.startswith("Unknown export format 'fbx'; known are")

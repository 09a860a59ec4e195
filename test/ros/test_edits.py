"""Clicks and removals at the real node, in this process, on a scene made by hand."""

import time

import numpy as np
import pytest
import rclpy
from click_scene import BLUE, PLACES, RED, SUPPORT, UNSEEN, decomposed_scene
from geometry_msgs.msg import Point, PointStamped
from instascene.msg import InstanceArray
from instascene.srv import (
    CompleteInstance,
    GetInstance,
    LoadScene,
    RemoveInstance,
    ResetScene,
    SaveScene,
    SegmentAt,
)
from nodes import LATCHED, Client, scene_node_here, show_scene, wait_for
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray


@pytest.fixture(scope="module")
def ros(ros_domain):
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def world(ros, tmp_path):
    """(node, client, owner of each Gaussian); the node spins and holds the scene."""
    scene, owner = decomposed_scene()
    with scene_node_here(data_dir=str(tmp_path)) as node:
        show_scene(node, scene)
        client = Client("edits_client")
        yield node, client, owner
        client.close()


def at(x, y, z, frame: str = "map") -> PointStamped:
    return PointStamped(header=Header(frame_id=frame), point=Point(x=float(x), y=float(y), z=float(z)))


def top_of(owner: int, frame: str = "map") -> PointStamped:
    return at(*PLACES[owner], 0.1, frame)


def segment_at(client, point: PointStamped, **fields):
    return client.call(SegmentAt, "segment_at", use_point=True, point=point, **fields)


def test_a_pixel_and_a_point_give_the_instance(world):
    node, client, _ = world
    view = node.worker.scene.posed_frames[0]
    pose = view.camera_from_world
    pixel, _ = view.camera.project(np.array([*PLACES[BLUE], 0.1]) @ pose[:3, :3].T + pose[:3, 3])
    answers = [
        client.call(SegmentAt, "segment_at", frame=view.name, x=int(pixel[0]), y=int(pixel[1])),
        segment_at(client, top_of(BLUE)),
        segment_at(client, top_of(BLUE, frame="")),
    ]
    for answer in answers:
        assert answer.success, answer.message
        assert answer.instance_id == BLUE and not answer.created and answer.instance.kind == "object"
        assert answer.header.frame_id == "map"
        assert abs(answer.point.x - 0.1) < 0.02 and abs(answer.point.z - 0.1) < 0.02
        assert answer.sizes[answer.level_index] == answer.instance.num_gaussians
        assert len(answer.sizes) == len(answer.thresholds) and 0 < answer.duration_s < 5


def test_what_no_mask_covered_becomes_an_instance_that_all_see(world):
    _, client, owner = world
    heard = client.listen(InstanceArray, "instances", LATCHED)
    wait_for(lambda: heard, 10, "the instances of before")
    preview = segment_at(client, top_of(UNSEEN), preview=True)
    assert preview.success and preview.created and preview.instance_id == 5
    assert not client.call(GetInstance, "get_instance", instance_id=5).success
    answer = segment_at(client, top_of(UNSEEN))
    assert answer.success and answer.created and answer.instance_id == 5
    assert answer.instance.num_gaussians == (owner == UNSEEN).sum()
    assert "No mask was ever seen here" in answer.notes[0]
    assert answer.message == "New instance 5 (object)."
    known = client.call(GetInstance, "get_instance", instance_id=5)
    assert known.success and known.instance.num_gaussians == answer.instance.num_gaussians
    wait_for(lambda: {i.id for i in heard[-1].instances} >= {RED, BLUE, 5}, 10, "the new instance")
    again = segment_at(client, top_of(UNSEEN))
    assert again.instance_id == 5 and not again.created


def test_a_part_by_its_level(world):
    _, client, _ = world
    answer = segment_at(client, top_of(RED), level=-1, preview=True)
    assert answer.success and answer.created
    assert answer.instance.num_gaussians < 150 and answer.level_index == len(answer.sizes) - 2
    refused = segment_at(client, top_of(RED), level=-9)
    assert not refused.success and "no level -9" in refused.message


def test_a_clicked_point_selects_and_highlights(world):
    node, client, _ = world
    markers = client.listen(MarkerArray, "markers", LATCHED)
    publisher = client.node.create_publisher(PointStamped, "clicked_point", 10)
    wait_for(publisher.get_subscription_count, 10, "the node listens")

    def selected() -> list[Marker]:
        return [m for m in (markers[-1].markers if markers else []) if m.ns == "selected"]

    publisher.publish(top_of(BLUE))
    wait_for(lambda: selected() and selected()[0].action == Marker.ADD, 10, "the highlight")
    xyz = np.array([[p.x, p.y, p.z] for p in selected()[0].points])
    np.testing.assert_allclose(xyz.mean(axis=0)[:2], PLACES[BLUE], atol=0.01)
    # What nobody knew is made by the click.
    publisher.publish(top_of(UNSEEN))
    wait_for(lambda: node.worker.snapshot.selected == 5, 10, "the new instance is selected")
    wait_for(
        lambda: selected() and abs(np.mean([p.y for p in selected()[0].points]) - 0.16) < 0.01,
        10,
        "its highlight",
    )
    assert {i.id for i in node.worker.snapshot.instances.objects} == {RED, BLUE, 5}


def test_clicks_that_cannot_be_used_are_counted_and_told(world):
    node, client, _ = world
    publisher = client.node.create_publisher(PointStamped, "clicked_point", 10)
    wait_for(publisher.get_subscription_count, 10, "the node listens")

    def counted() -> int:
        return node.errors.snapshot()[0].get("clicked_point", 0)

    for number, bad in enumerate((at(0, 0, 9), at(np.nan, 0, 0), top_of(BLUE, "gripper")), 1):
        publisher.publish(bad)
        wait_for(lambda number=number: counted() == number, 10, f"bad click {number} is counted")
    assert "'gripper'" in node.errors.snapshot()[1]
    assert node.worker.snapshot.selected == 0
    answer = segment_at(client, top_of(BLUE, "gripper"))
    assert not answer.success and "'gripper'" in answer.message and "\n" not in answer.message


def test_a_point_of_another_frame_goes_through_tf(world):
    tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros is not installed")
    from geometry_msgs.msg import TransformStamped

    _, client, _ = world
    broadcaster = tf2_ros.StaticTransformBroadcaster(client.node)
    transform = TransformStamped(header=Header(frame_id="map"), child_frame_id="gripper")
    transform.transform.translation.x, transform.transform.rotation.w = 5.0, 1.0
    broadcaster.sendTransform(transform)
    point = top_of(BLUE, "gripper")
    point.point.x -= 5.0
    end = time.monotonic() + 10
    while not (answer := segment_at(client, point)).success:
        assert time.monotonic() < end, answer.message
    assert answer.instance_id == BLUE


def test_remove_instance(world):
    node, client, owner = world
    node.worker.selected = BLUE
    before = len(node.worker.snapshot.gaussians)
    answer = client.call(RemoveInstance, "remove_instance", instance_id=BLUE)
    assert answer.success, answer.message
    assert answer.removed == (owner == BLUE).sum()
    assert "taken away" in answer.message and "support plane" in answer.message
    assert len(node.worker.snapshot.gaussians) == before - answer.removed + answer.filled
    assert node.worker.snapshot.selected == 0
    assert not client.call(GetInstance, "get_instance", instance_id=BLUE).success
    for number, words in ((BLUE, "no instance 2"), (SUPPORT, "is the support")):
        refused = client.call(RemoveInstance, "remove_instance", instance_id=number)
        assert not refused.success and words in refused.message


def test_load_scene_takes_up_what_save_scene_wrote(world):
    node, client, _ = world
    node.worker.submit("complete", lambda progress: node.worker.scene.complete(BLUE)).result(60)
    saved = client.call(SaveScene, "save_scene", name="run/one")
    assert saved.success and "frames/transforms.json" in saved.files
    assert client.call(RemoveInstance, "remove_instance", instance_id=BLUE).success
    assert client.call(ResetScene, "reset_scene").success
    assert not segment_at(client, top_of(RED)).success
    answer = client.call(LoadScene, "load_scene", name="run/one")
    assert answer.success, answer.message
    assert answer.folder == saved.folder and answer.frames == 8 and answer.message == "8 frames loaded."
    assert {i.id for i in answer.instances.instances} == {1, 2, 3, 4} and list(answer.completed_ids) == [BLUE]
    assert node.worker.snapshot.num_frames == 8
    known = client.call(GetInstance, "get_instance", instance_id=BLUE)
    assert known.success and known.completed_object.watertight and known.completed_object.convex_parts
    assert segment_at(client, top_of(UNSEEN)).instance_id == 5
    completed = client.call(CompleteInstance, "complete_instance", instance_id=5)
    assert completed.success and completed.completed_object.watertight


@pytest.mark.parametrize(
    ("name", "words"),
    [("../outside", "'../outside'"), ("/etc", "'/etc'"), ("nothing", "no saved scene"), (".hidden", "dot")],
)
def test_load_scene_stays_in_its_folder(world, name, words):
    node, client, _ = world
    before = node.worker.scene
    answer = client.call(LoadScene, "load_scene", name=name)
    assert not answer.success and words in answer.message and "\n" not in answer.message
    assert node.worker.scene is before

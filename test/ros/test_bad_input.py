"""Requests and messages that cannot be used, at a node in this process: refused in words, counted, survived.

The tests share the node and run in the order of this file.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from action_msgs.msg import GoalStatus
from click_scene import BLUE, decomposed_scene
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Point, PointStamped, PoseStamped
from instascene.action import BuildScene
from instascene.msg import SceneStatus
from instascene.srv import CompleteInstance, GetInstance, SaveScene, SegmentAt
from nodes import (
    Client,
    dropped_count,
    error_count,
    next_status,
    result_of,
    scene_node_here,
    show_scene,
    wait_for,
)
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from instascene_core.camera import PinholeCamera
from instascene_ros import frame_assembly
from instascene_ros.conversions import camera_info_message, image_message, time_message


@pytest.fixture(scope="module")
def world(ros_domain, tmp_path_factory):
    """The node with a decomposed scene, a client, and what the node tells about itself."""
    folder = tmp_path_factory.mktemp("data")
    rclpy.init()
    parameters = {
        "data_dir": str(folder),
        "keyframe_translation_m": 0.0,
        "keyframe_rotation_deg": 0.0,
        "sync_wait_s": 1.0,
        "status_period_s": 0.2,
    }
    with scene_node_here(**parameters) as node:
        show_scene(node, decomposed_scene()[0])
        client = Client("bad_input_client")
        yield SimpleNamespace(
            node=node,
            client=client,
            folder=folder,
            status=client.listen(SceneStatus, "status"),
            diagnostics=client.listen(DiagnosticArray, "/diagnostics"),
        )
        client.close()
    rclpy.try_shutdown()


# ── requests ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "name"), [(CompleteInstance, "complete_instance"), (GetInstance, "get_instance")]
)
def test_unknown_instance_is_refused_and_counted(world, kind, name):
    before = error_count(next_status(world.status), name)
    answer = world.client.call(kind, name, instance_id=4711)
    assert not answer.success and "There is no instance 4711; known ids: 1, 2, 3, 4." in answer.message
    assert error_count(next_status(world.status), name) == before + 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../outside", "'../outside' must be a folder name under the node's data_dir"),
        ("/tmp/outside", "'/tmp/outside' must be a folder name under the node's data_dir"),
        ("a/../../b", "'a/../../b' must be a folder name under the node's data_dir"),
        (".hidden", "'.hidden' must not begin with a dot"),
        ("two\nlines", "must be of letters that can be printed"),
    ],
)
def test_save_scene_stays_in_its_folder(world, name, words):
    answer = world.client.call(SaveScene, "save_scene", name=name)
    assert not answer.success and words in answer.message


@pytest.mark.parametrize("name", ["n" * 300, "ü" * 200, "/".join(["deep"] * 1500)])
def test_a_name_that_no_file_system_takes_is_refused_in_words(world, name):
    answer = world.client.call(SaveScene, "save_scene", name=name)
    assert not answer.success and answer.message.startswith("Cannot save to ")
    assert "Internal error" not in answer.message and len(answer.message) < 10_000


@pytest.mark.parametrize(
    ("kind", "service", "fields", "words"),
    [
        (CompleteInstance, "complete_instance", {"instance_id": BLUE, "timeout_s": math.nan}, "'timeout_s'"),
        (CompleteInstance, "complete_instance", {"instance_id": BLUE, "timeout_s": -1.0}, "not be negative"),
        (CompleteInstance, "complete_instance", {"instance_id": BLUE, "seed": -1}, "must be at least 0"),
        (SegmentAt, "segment_at", {"threshold": math.inf}, "'threshold' of the request must be a finite"),
        (
            SegmentAt, "segment_at",
            {"use_point": True, "point": PointStamped(point=Point(x=math.nan))},
            "'point.point.x' of the request must be a finite number, not nan.",
        ),
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_refused(world, kind, service, fields, words):
    before = error_count(next_status(world.status), service)
    answer = world.client.call(kind, service, **fields)
    assert not answer.success and words in answer.message
    assert error_count(next_status(world.status), service) == before + 1


def test_a_caller_may_wait_as_long_as_he_likes(world):
    """Longer than the clocks of Python can tell."""
    answer = world.client.call(CompleteInstance, "complete_instance", instance_id=77, timeout_s=3e38)
    assert not answer.success and "no instance 77" in answer.message


def test_a_budget_that_is_no_number_is_refused(world):
    outcome = result_of(world.client.send_goal(BuildScene, "build_scene", time_budget_s=math.nan))
    assert outcome.status == GoalStatus.STATUS_ABORTED and not outcome.result.success
    assert outcome.result.message == "'time_budget_s' of the request must be a finite number, not nan."


def test_save_scene_where_nothing_can_be_written(world):
    (world.folder / "blocked").write_text("a file, not a folder")
    before = error_count(next_status(world.status), "save_scene")
    answer = world.client.call(SaveScene, "save_scene", name="blocked/scene")
    assert not answer.success
    assert answer.message.startswith(f"Cannot save to {world.folder / 'blocked' / 'scene'}: ")
    assert error_count(next_status(world.status), "save_scene") == before + 1


def test_files_of_a_user_are_not_replaced(world):
    photo, mesh = world.folder / "photos" / "1.jpg", world.folder / "objects" / str(BLUE) / "mesh.glb"
    for path in (photo, mesh):
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    answer = world.client.call(SaveScene, "save_scene", name="photos")
    assert not answer.success and "'1.jpg' is in the way" in answer.message
    answer = world.client.call(CompleteInstance, "complete_instance", instance_id=BLUE, formats=["glb"])
    assert not answer.success and "'mesh.glb' is in the way" in answer.message
    assert BLUE not in world.node.worker.scene.objects  # refused before the work
    assert photo.read_text() == mesh.read_text() == "mine"
    mesh.unlink()


def test_notes_beside_a_saved_scene_stay(world):
    assert world.client.call(SaveScene, "save_scene", name="noted").success
    (world.folder / "noted" / "notes.txt").write_text("mine")
    answer = world.client.call(SaveScene, "save_scene", name="noted")
    assert answer.success and "scene.json" in answer.files and "notes.txt" not in answer.files
    assert (world.folder / "noted" / "notes.txt").read_text() == "mine"


def test_unknown_file_format(world):
    answer = world.client.call(CompleteInstance, "complete_instance", instance_id=BLUE, formats=["dwg"])
    assert not answer.success and "Unknown export format 'dwg'; known are ply" in answer.message


# ── messages ──────────────────────────────────────────────────────────────────────────────────────


class BadCamera:
    """Publishes single frames, each spoiled in one way."""

    camera = PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0)

    def __init__(self, client: Client) -> None:
        node = client.node
        self._image = node.create_publisher(Image, "rgb/image", 10)
        self._info = node.create_publisher(CameraInfo, "rgb/camera_info", 10)
        self._pose = node.create_publisher(PoseStamped, "pose", 10)
        self._depth = node.create_publisher(Image, "depth/image", 10)
        self._masks = node.create_publisher(Image, "masks/image", 10)
        self._all = [self._image, self._info, self._pose, self._depth, self._masks]
        self._stamp = 50_000.0
        wait_for(lambda: all(p.get_subscription_count() for p in self._all), 20, "the node subscribes")

    def send(self, *, pose=True, w=1.0, width=64, encoding="rgb8", model="plumb_bob", depth=1.0, label=1):
        self._stamp += 1.0
        header = Header(stamp=time_message(self._stamp), frame_id="camera")
        info = camera_info_message(self.camera, header)
        info.distortion_model = model
        info.d = [0.1, 0.0, 0.0, 0.0, 0.0] if model != "plumb_bob" else info.d
        self._info.publish(info)
        if pose:
            message = PoseStamped(header=Header(stamp=header.stamp, frame_id="map"))
            message.pose.orientation.w = w
            self._pose.publish(message)
        self._depth.publish(image_message(np.full((48, 64), depth, np.float32), "32FC1", header))
        self._masks.publish(image_message(np.full((48, 64), label, np.uint16), "mono16", header))
        image = image_message(np.full((48, width, 3), 90, np.uint8), "rgb8", header)
        image.encoding = encoding
        self._image.publish(image)


@pytest.fixture(scope="module")
def bad_camera(world):
    return BadCamera(world.client)


@pytest.mark.parametrize(
    ("spoil", "reason", "words"),
    [
        (
            {"pose": False},
            frame_assembly.NO_POSE,
            "found no pose within 0.02 s after waiting 1 s: ",
        ),
        ({"w": math.nan}, frame_assembly.BAD_POSE, "The pose contains NaN or infinity"),
        ({"w": 0.5}, frame_assembly.BAD_POSE, "The pose has a quaternion of length 0.5, not 1"),
        ({"width": 80}, frame_assembly.SIZE_MISMATCH, "The image is 80×48 but camera_info says 64×48"),
        ({"encoding": "nonsense"}, frame_assembly.BAD_IMAGE, "'nonsense'"),
        (
            {"model": "double_sphere"},
            frame_assembly.BAD_CAMERA_INFO,
            "The camera_info cannot be used: Unknown distortion model 'double_sphere'",
        ),
    ],
)
def test_a_bad_frame_is_dropped_and_counted(world, bad_camera, spoil, reason, words):
    before = next_status(world.status)
    bad_camera.send(**spoil)
    after = next_status(world.status, lambda s: dropped_count(s, reason) == dropped_count(before, reason) + 1)
    assert after.frames_used == before.frames_used
    assert error_count(after, reason) > error_count(before, reason)
    assert words in after.last_error and "\n" not in after.last_error


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        ({"depth": 0.0}, frame_assembly.BAD_DEPTH, "A depth image holds no measurement (all zeros)"),
        ({"label": 0}, frame_assembly.BAD_MASKS, "A label image is empty (all 0 = unlabelled)"),
    ],
)
def test_empty_depth_or_labels_are_counted_and_the_frame_is_used_without(
    world, bad_camera, spoil, kind, words
):
    before = next_status(world.status)
    bad_camera.send(**spoil)
    after = next_status(world.status, lambda s: s.frames_used == before.frames_used + 1)
    assert error_count(after, kind) == error_count(before, kind) + 1
    assert words in after.last_error


def test_the_node_goes_on_after_all_this(world):
    answer = world.client.call(GetInstance, "get_instance", instance_id=BLUE)
    assert answer.success and answer.instance.id == BLUE
    seen = len(world.diagnostics)
    wait_for(lambda: len(world.diagnostics) > seen, 10, "the next diagnostics")
    (entry,) = world.diagnostics[-1].status
    assert entry.name.endswith("scene") and entry.level == DiagnosticStatus.WARN
    assert entry.message == next_status(world.status).last_error

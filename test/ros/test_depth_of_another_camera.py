"""Depth of a camera beside the colour camera, through the real node, against the truth."""

import sys
from types import ModuleType

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped, TransformStamped
from instascene.msg import SceneStatus
from nodes import Client, dropped_count, next_status, scene_node_here, wait_for
from recorded_room import CAMERA, view
from recordings_table import recording
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from instascene_core.camera import PinholeCamera
from instascene_core.transforms import look_at
from instascene_ros import depth_sources, frame_assembly
from instascene_ros.conversions import camera_info_message, image_message, pose_from_matrix, time_message

COLOR, DEPTH = "camera_color_optical_frame", "camera_depth_optical_frame"
DEPTH_CAMERA = PinholeCamera(200, 150, 170.0, 171.0, 98.0, 77.0)
BESIDE = np.array([0.05, 0.004, -0.003])  # metres: the depth camera in the colour camera
TURN = 0.02  # radians, about y
EVERY = {"keyframe_translation_m": 0.0, "keyframe_rotation_deg": 0.0, "plausibility.check": "skip"}


def color_from_depth() -> np.ndarray:
    matrix = np.eye(4)
    c, s = np.cos(TURN), np.sin(TURN)
    matrix[:3, :3], matrix[:3, 3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]], BESIDE
    return matrix


def seven() -> list[float]:
    return [*BESIDE.tolist(), 0.0, float(np.sin(TURN / 2)), 0.0, float(np.cos(TURN / 2))]


class Rig:
    """Publishes what the two cameras see of the room, stamp after stamp."""

    def __init__(self, with_info: bool = True) -> None:
        self.client = Client("rig")
        make = self.client.node.create_publisher
        self.publishers = {
            "rgb/camera_info": make(CameraInfo, "rgb/camera_info", 10),
            "rgb/image": make(Image, "rgb/image", 10),
            "depth/image": make(Image, "depth/image", 10),
            "pose": make(PoseStamped, "pose", 10),
        }
        if with_info:
            self.publishers["depth/camera_info"] = make(CameraInfo, "depth/camera_info", 10)
        self.truth = {}

    def wait(self) -> None:
        for topic, publisher in self.publishers.items():
            wait_for(publisher.get_subscription_count, 20, f"the node listens to {topic}")

    def shoot(self, index: int) -> None:
        angle = 0.5 * index
        pose = look_at(np.array([0.7 * np.cos(angle), 0.7 * np.sin(angle), 0.55]), np.zeros(3))
        color = view(index, pose, CAMERA)
        depth = view(index, pose @ color_from_depth(), DEPTH_CAMERA)
        stamp = time_message(1.0 + index)
        ours, theirs = Header(stamp=stamp, frame_id=COLOR), Header(stamp=stamp, frame_id=DEPTH)
        steps = np.round(depth.depth * 1000).astype(np.uint16)
        messages = {
            "pose": PoseStamped(header=Header(stamp=stamp, frame_id="map"), pose=pose_from_matrix(pose)),
            "rgb/camera_info": camera_info_message(CAMERA, ours),
            "depth/camera_info": camera_info_message(DEPTH_CAMERA, theirs),
            "depth/image": image_message(steps, "16UC1", theirs),
            "rgb/image": image_message(color.rgb, "rgb8", ours),
        }
        for topic, message in messages.items():
            if topic in self.publishers:
                self.publishers[topic].publish(message)
        self.truth[color.stamp] = color.depth


@pytest.fixture
def ros(ros_domain):
    rclpy.init()
    yield
    rclpy.try_shutdown()


def compare(found: np.ndarray, true: np.ndarray) -> None:
    """Nearly all of the surface, on the right side of nearly every edge, holes left open."""
    measured = found > 0
    assert measured[true > 0].mean() > 0.9
    error = np.abs(found - true)[measured & (true > 0)]
    assert np.median(error) < 0.003 and np.percentile(error, 90) < 0.01
    # Nothing between a ball and the floor behind it: what is wrong by more is the other surface's depth.
    assert (error > 0.02).mean() < 0.03
    assert not measured[:, -1].all() or not measured[:, 0].all()  # what the other camera does not see is open


def shot(rig: Rig, node, count: int) -> None:
    """`count` stamps, and each compared once the scene has it."""
    rig.wait()
    for index in range(count):
        rig.shoot(index)
    wait_for(lambda: node.source.counters.used == count, 20, "the frames are used")
    node.worker.submit("settle", lambda progress: None).result(20)
    for frame, true in zip(node.worker.scene.frames, rig.truth.values(), strict=True):
        compare(frame.require_depth(), true)


def test_by_the_parameter(ros, tmp_path):
    with scene_node_here(data_dir=str(tmp_path), depth_in_color=seven(), work_ahead=False, **EVERY) as node:
        rig = Rig()
        shot(rig, node, 3)
        assert node.errors.snapshot() == ({}, "")
        rig.client.close()


def test_by_tf(ros, tmp_path, monkeypatch):
    """With a stand-in for tf2_ros, which these machines do not have: the same calls as the real one takes."""
    known = []

    class TransformException(Exception):
        pass

    class Buffer:
        def lookup_transform(self, target, source, time):
            assert (target, source) == (COLOR, DEPTH) and time.nanoseconds == 0
            if not known:
                raise TransformException("not yet")
            message = TransformStamped()
            pose = pose_from_matrix(known[0])
            xyz = message.transform.translation
            xyz.x, xyz.y, xyz.z = pose.position.x, pose.position.y, pose.position.z
            message.transform.rotation = pose.orientation
            return message

    stand_in = ModuleType("tf2_ros")
    stand_in.Buffer, stand_in.TransformException = Buffer, TransformException
    stand_in.TransformListener = lambda buffer, node: None
    with scene_node_here(data_dir=str(tmp_path), work_ahead=False, **EVERY) as node:
        monkeypatch.setitem(sys.modules, "tf2_ros", stand_in)
        rig = Rig()
        rig.wait()
        rig.shoot(0)
        assert not node.source.counters.used  # waits
        known.append(color_from_depth())
        wait_for(lambda: node.source.counters.used == 1, 20, "the frame once tf is there")
        node.worker.submit("settle", lambda progress: None).result(20)
        compare(node.worker.scene.frames[0].require_depth(), rig.truth[0.0])
        rig.client.close()


@recording("live topics, depth of another camera frame")
def test_what_is_missing_is_said_and_counted(typed, ros, tmp_path):
    """Neither tf nor camera_info; then no camera_info alone."""
    assert "depth_info:=" in typed
    for given, missing in (({}, "tf"), ({"depth_in_color": seven()}, "depth/camera_info")):
        with scene_node_here(data_dir=str(tmp_path), work_ahead=False, sync_wait_s=0.3, **given, **EVERY):
            rig = Rig(with_info=False)
            statuses = rig.client.listen(SceneStatus, "status")
            rig.wait()
            rig.shoot(0)
            rig.shoot(1)
            status = next_status(statuses, lambda s: dropped_count(s, frame_assembly.DEPTH_APART) == 2)
            assert status.frames_dropped == 2 and status.frames_used == 0
            assert depth_sources.USUAL_ALIGNED in status.last_error and missing in status.last_error
            assert f"'{DEPTH}'" in status.last_error and "\n" not in status.last_error
            rig.client.close()


def test_names_the_aligned_topic_that_is_there(ros, tmp_path):
    with scene_node_here(data_dir=str(tmp_path), work_ahead=False, sync_wait_s=0.3, **EVERY) as node:
        rig = Rig()
        aligned = "/cam/aligned_depth_to_color/image_raw"
        rig.client.node.create_publisher(Image, aligned, 10)
        rig.wait()
        rig.shoot(0)
        wait_for(lambda: node.source.counters.dropped[frame_assembly.DEPTH_APART], 20, "the drop")
        assert f"({aligned})" in node.errors.snapshot()[1]
        rig.client.close()


def test_a_camera_info_of_another_size_is_said(ros, tmp_path):
    from instascene_core.camera import LensModel
    from instascene_core.datasets.registration import DepthCamera
    from instascene_core.errors import InputError

    with pytest.raises(InputError, match="20×10, but its camera_info says 200×150"):
        DepthCamera(LensModel(DEPTH_CAMERA)).seen_from(np.ones((10, 20)), LensModel(CAMERA), np.eye(4))

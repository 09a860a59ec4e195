"""Subscriptions in a real node: QoS that follows the publishers, compressed images, odometry."""

import array
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped, TransformStamped
from nav_msgs.msg import Odometry
from nodes import Client, wait_for
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from instascene_core.camera import PinholeCamera
from instascene_core.errors import MissingDependencyError
from instascene_ros import frame_assembly
from instascene_ros.conversions import camera_info_message, image_message, time_message
from instascene_ros.frame_building import build_frame
from instascene_ros.frame_source import FrameSource
from instascene_ros.parameters import InputParameters

CAMERA = PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0)
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
PARAMETERS = InputParameters(
    keyframe_translation_m=0.0, keyframe_rotation_deg=0.0, sync_wait_s=0.5, use_depth=False, use_masks=False
)


@pytest.fixture
def bench(ros_domain):
    """Makes a FrameSource in a spinning node; collects its frames and errors."""
    rclpy.init()
    clients = []

    class Bench:
        def __init__(self):
            self.frames, self.errors = [], []
            self.sender = Client("sender")
            clients.append(self.sender)

        def source(self, **changes) -> FrameSource:
            receiver = Client("receiver")
            clients.append(receiver)
            source = FrameSource(
                receiver.node,
                replace(PARAMETERS, **changes),
                "map",
                lambda kind, sentence: self.errors.append((kind, sentence)),
            )
            source.start(self.frames.append)
            return source

        def publisher(self, kind, topic, qos=RELIABLE):
            return self.sender.node.create_publisher(kind, topic, qos)

    yield Bench()
    for client in clients:
        client.close()
    rclpy.try_shutdown()


def header(stamp: float, frame: str = "camera") -> Header:
    return Header(stamp=time_message(stamp), frame_id=frame)


def image(stamp: float) -> Image:
    return image_message(np.full((48, 64, 3), 120, np.uint8), "rgb8", header(stamp))


def pose(stamp: float) -> PoseStamped:
    message = PoseStamped(header=header(stamp, "map"))
    message.pose.position.x = stamp
    message.pose.orientation.w = 1.0
    return message


def connected(*publishers) -> None:
    wait_for(lambda: all(p.get_subscription_count() for p in publishers), 10, "the source subscribes")


@pytest.mark.parametrize("qos", [RELIABLE, BEST_EFFORT], ids=["reliable", "best_effort"])
def test_auto_qos_follows_the_publishers(bench, qos):
    source = bench.source()
    images = bench.publisher(Image, "rgb/image", qos)
    infos = bench.publisher(CameraInfo, "rgb/camera_info", qos)
    poses = bench.publisher(PoseStamped, "pose", qos)
    connected(images, infos, poses)
    node = source._node
    (offered,) = node.get_subscriptions_info_by_topic("/rgb/image")
    assert offered.qos_profile.reliability == qos.reliability
    for stamp in (1.0, 2.0, 3.0):
        infos.publish(camera_info_message(CAMERA, header(stamp)))
        poses.publish(pose(stamp))
        images.publish(image(stamp))
        wait_for(lambda stamp=stamp: len(bench.frames) == int(stamp), 5, "the frame")
    assert [f.world_from_camera[0, 3] for f in bench.frames] == [1.0, 2.0, 3.0]
    counters = source.counters
    assert (counters.received, counters.pending, dict(counters.dropped)) == (3, 0, {})
    assert bench.errors == []


def test_the_topics_are_there_before_anybody_publishes(bench):
    """So that `ros2 node info` shows what is remapped to what."""
    node = bench.source(use_depth=True, use_masks=True)._node
    for topic in ("rgb/image", "rgb/camera_info", "pose", "depth/image", "masks/image"):
        assert len(node.get_subscriptions_info_by_topic(f"/{topic}")) == 1, topic


def test_no_pose_is_said_with_topic_and_times(bench):
    source = bench.source()
    images, infos = bench.publisher(Image, "rgb/image"), bench.publisher(CameraInfo, "rgb/camera_info")
    connected(images, infos)
    infos.publish(camera_info_message(CAMERA, header(1.0)))
    images.publish(image(1.0))
    wait_for(lambda: source.counters.dropped[frame_assembly.NO_POSE] == 1, 10, "the image is given up")
    assert bench.errors[-1][1].endswith("waiting 0.5 s: nothing has arrived on /pose (PoseStamped).")
    poses = bench.publisher(PoseStamped, "pose")
    connected(poses)
    poses.publish(pose(100.0))
    poses.publish(pose(100.5))
    images.publish(image(2.0))
    wait_for(lambda: source.counters.dropped[frame_assembly.NO_POSE] == 2, 10, "the next one, too")
    assert "An image of the time 2.000 s" in bench.errors[-1][1]
    assert "the poses on /pose are of 100.000 to 100.500 s" in bench.errors[-1][1]


def test_a_publisher_that_cannot_be_heard_is_reported_in_words(bench):
    bench.source(image_qos="reliable")
    bench.publisher(Image, "rgb/image", BEST_EFFORT)
    kind, sentence = wait_for(lambda: bench.errors, 10, "the event")[0]
    assert kind == "incompatible QoS" and "/rgb/image" in sentence and "auto" in sentence


def test_an_image_without_pose_is_dropped_while_the_next_is_used(bench):
    source = bench.source()
    images, infos, poses = (
        bench.publisher(Image, "rgb/image"),
        bench.publisher(CameraInfo, "rgb/camera_info"),
        bench.publisher(PoseStamped, "pose"),
    )
    connected(images, infos, poses)
    infos.publish(camera_info_message(CAMERA, header(1.0)))
    images.publish(image(1.0))
    images.publish(image(2.0))
    poses.publish(pose(2.01))
    wait_for(lambda: source.counters.dropped[frame_assembly.NO_POSE] == 1, 10, "the image is given up")
    assert [f.stamp for f in bench.frames] == [2.0]


def test_compressed_images(bench):
    import cv2

    bench.source(image_transport="compressed")
    images = bench.publisher(CompressedImage, "rgb/image/compressed")
    infos, poses = bench.publisher(CameraInfo, "rgb/camera_info"), bench.publisher(PoseStamped, "pose")
    connected(images, infos, poses)
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[..., 0] = 200  # red
    data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    infos.publish(camera_info_message(CAMERA, header(1.0)))
    poses.publish(pose(1.0))
    images.publish(CompressedImage(header=header(1.0), format="png", data=array.array("B", data)))
    (frame,) = wait_for(lambda: bench.frames, 5, "the frame")
    np.testing.assert_array_equal(build_frame(frame, "one").frame.rgb, pixels)


def test_the_transport_that_is_there_is_taken(bench):
    """Raw is wanted, but only compressed is offered; when raw comes, it is taken."""
    import cv2

    source = bench.source()
    packed = bench.publisher(CompressedImage, "rgb/image/compressed")
    infos, poses = bench.publisher(CameraInfo, "rgb/camera_info"), bench.publisher(PoseStamped, "pose")
    connected(packed, infos, poses)
    data = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    for stamp in (1.0, 2.0):
        infos.publish(camera_info_message(CAMERA, header(stamp)))
        poses.publish(pose(stamp))
    packed.publish(CompressedImage(header=header(1.0), format="png", data=array.array("B", data)))
    wait_for(lambda: [f.stamp for f in bench.frames] == [1.0], 5, "the compressed frame")
    raw = bench.publisher(Image, "rgb/image")
    connected(raw)
    wait_for(lambda: packed.get_subscription_count() == 0, 5, "the compressed topic is left")
    raw.publish(image(2.0))
    wait_for(lambda: [f.stamp for f in bench.frames] == [1.0, 2.0], 5, "the raw frame")
    assert source.counters.received == 2


def test_poses_from_odometry(bench):
    bench.source(pose_source="odometry", camera_in_base=(0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0))
    images, infos = bench.publisher(Image, "rgb/image"), bench.publisher(CameraInfo, "rgb/camera_info")
    odometry = bench.publisher(Odometry, "odometry")
    connected(images, infos, odometry)
    message = Odometry(header=header(1.0, "map"))
    message.pose.pose.orientation.w = 1.0
    infos.publish(camera_info_message(CAMERA, header(1.0)))
    odometry.publish(message)
    images.publish(image(1.0))
    (frame,) = wait_for(lambda: bench.frames, 5, "the frame")
    np.testing.assert_allclose(frame.world_from_camera[:3, 3], [0, 0, 0.5])


def test_tf_without_tf2_says_what_to_install(bench):
    try:
        import tf2_ros  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match="pose_source 'tf' needs tf2_ros; install"):
            bench.source(pose_source="tf")
    else:
        bench.source(pose_source="tf")


def test_tf_gives_the_pose_at_the_image_stamp(bench):
    pytest.importorskip("tf2_ros")
    from tf2_ros import StaticTransformBroadcaster

    bench.source(pose_source="tf")
    images, infos = bench.publisher(Image, "rgb/image"), bench.publisher(CameraInfo, "rgb/camera_info")
    connected(images, infos)
    transform = TransformStamped(header=header(0.0, "map"), child_frame_id="camera")
    transform.transform.translation.x = 2.0
    transform.transform.rotation.w = 1.0
    StaticTransformBroadcaster(bench.sender.node).sendTransform(transform)
    infos.publish(camera_info_message(CAMERA, header(1.0)))
    images.publish(image(1.0))
    (frame,) = wait_for(lambda: bench.frames, 5, "the frame")
    assert frame.world_from_camera[0, 3] == 2.0


def test_tf_says_which_frames_and_times_it_misses(bench, monkeypatch):
    """With a stand-in for tf2_ros, which these machines do not have: the same calls as the real one takes."""
    known: dict[int, TransformStamped] = {}  # by nanoseconds; 0 = the newest

    class TransformException(Exception):
        pass

    class Buffer:
        cleared = 0

        def lookup_transform(self, target, source, time):
            assert (target, source) == ("map", "camera")
            if time.nanoseconds not in known:
                raise TransformException("Lookup would require extrapolation into the future.")
            return known[time.nanoseconds]

        def clear(self):
            self.cleared += 1

    stand_in = ModuleType("tf2_ros")
    stand_in.Buffer, stand_in.TransformException = Buffer, TransformException
    stand_in.TransformListener = lambda buffer, node: None
    monkeypatch.setitem(sys.modules, "tf2_ros", stand_in)
    source = bench.source(pose_source="tf")
    images, infos = bench.publisher(Image, "rgb/image"), bench.publisher(CameraInfo, "rgb/camera_info")
    connected(images, infos)
    infos.publish(camera_info_message(CAMERA, header(9.0)))

    def sentence_of(stamp: float) -> str:
        before = len(bench.errors)
        images.publish(image(stamp))
        return wait_for(lambda: bench.errors[before:], 10, "the image is given up")[-1][1]

    assert "from 'camera' to 'map' at 9.000 s nor at any other time (Lookup would" in sentence_of(9.0)
    known[0] = TransformStamped(header=header(8.5, "map"), child_frame_id="camera")
    assert "at 9.500 s; the newest it has is of 8.500 s (Lookup would" in sentence_of(9.5)
    assert "went back from 9.500 to 1.000 s" in sentence_of(1.0)
    assert source._poses._buffer.cleared == 1
    # rclpy has no time before 1970: its ValueError would leave the callback and end the node.
    before = len(bench.errors)
    images.publish(image(-5.0))
    told = wait_for(
        lambda: [e for e in bench.errors[before:] if "no time that tf knows" in e[1]], 10, "it is said"
    )
    assert told[0][0] == frame_assembly.BAD_POSE
    assert "at 9.700 s; the newest it has" in sentence_of(9.7)


def test_a_fault_in_a_callback_is_an_error_and_not_the_end(bench, monkeypatch):
    bench.source()
    images, infos = bench.publisher(Image, "rgb/image"), bench.publisher(CameraInfo, "rgb/camera_info")
    connected(images, infos)
    with monkeypatch.context() as patch:
        patch.setattr(frame_assembly.FrameAssembler, "add_image", lambda *given: 1 // 0)
        images.publish(image(1.0))
        wait_for(lambda: bench.errors, 10, "the error")
    assert bench.errors[0][0] == "internal" and "division" in bench.errors[0][1]
    images.publish(image(2.0))
    wait_for(lambda: len(bench.errors) > 1, 10, "the next image is heard, and given up without a camera_info")
    assert bench.errors[-1][0] == frame_assembly.NO_CAMERA_INFO


def test_depth_as_compressed_depth_and_pixels_to_ignore(bench, tmp_path):
    import struct

    import cv2

    source = bench.source(use_depth=True, depth_transport="compressedDepth", sync_wait_s=5.0)
    images, infos = bench.publisher(Image, "rgb/image"), bench.publisher(CameraInfo, "rgb/camera_info")
    poses, depths = (
        bench.publisher(PoseStamped, "pose"),
        bench.publisher(CompressedImage, "depth/image/compressedDepth"),
    )
    valid, ignored = bench.publisher(Image, "valid/image"), bench.publisher(Image, "ignore/image")
    connected(images, infos, poses, depths, valid, ignored)
    steps = np.full((24, 32), 1500, np.uint16)  # half the colour's resolution
    data = struct.pack("<iff", 0, 0, 0) + cv2.imencode(".png", steps)[1].tobytes()
    name = "16UC1; compressedDepth png"
    kept = np.full((48, 64), 255, np.uint8)
    kept[40:] = 0
    infos.publish(camera_info_message(CAMERA, header(1.0)))
    poses.publish(pose(1.0))
    depths.publish(CompressedImage(header=header(1.0), format=name, data=array.array("B", data)))
    images.publish(image(1.0))
    valid.publish(image_message(kept, "mono8", header(1.0)))
    arm = np.zeros((48, 64), np.uint8)
    arm[:, :8] = 3  # any number but 0
    assert not bench.frames  # waits for it
    ignored.publish(image_message(arm, "mono8", header(1.0)))
    (assembled,) = wait_for(lambda: bench.frames, 5, "the frame")
    decoded = build_frame(assembled, "one", source.decoding_of(assembled))
    assert decoded.complaints == ()
    np.testing.assert_allclose(decoded.frame.depth[:40, 8:], 1.5, rtol=1e-6)
    np.testing.assert_array_equal(decoded.frame.valid, (kept > 0) & (arm == 0))
    assert not decoded.frame.depth[~decoded.frame.valid].any()


def test_a_rectified_topic_by_its_name(bench):
    from rclpy.node import Node

    node = Node("receiver_of_rectified", cli_args=["--ros-args", "-r", "rgb/image:=/camera/image_rect_color"])
    try:
        source = FrameSource(node, PARAMETERS, "map", lambda kind, sentence: None)
        source.start(lambda frame: None)
        info = camera_info_message(CAMERA, header(1.0))
        info.d, info.p[0] = [0.1, 0.0, 0.0, 0.0, 0.0], 55.0
        lens = source._read_lens(info)
        assert not lens.is_distorted and lens.camera.fx == 55.0
    finally:
        node.destroy_node()


def test_one_image_of_what_is_fixed_to_the_camera(bench, tmp_path):
    from PIL import Image as Picture

    kept = np.full((48, 64), 255, np.uint8)
    kept[:, :20] = 0
    Picture.fromarray(kept).save(tmp_path / "gripper.png")
    source = bench.source(ignore=str(tmp_path / "gripper.png"), depth_unit=0.01)
    decoding = source.decoding
    np.testing.assert_array_equal(decoding.kept, kept > 0)
    assert decoding.depth_unit == 0.01 and not decoding.depth_registered

"""What goes wrong around a robot: cameras that die, late poses, broken images, loops, a full disk.

One node in this process, a camera of another context that can be switched off and on again.
"""

import errno
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import rclpy
from click_scene import BLUE, decomposed_scene
from geometry_msgs.msg import PoseStamped
from instascene.msg import SceneStatus
from instascene.srv import CompleteInstance, SaveScene
from nodes import Client, dropped_count, next_status, scene_node_here, show_scene, wait_for
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from instascene_core import files
from instascene_core.camera import PinholeCamera
from instascene_ros import frame_assembly
from instascene_ros.conversions import camera_info_message, image_message, time_message

CAMERA = PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0)
GRAY = np.full((48, 64, 3), 120, np.uint8)
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def ros(ros_domain):
    rclpy.init()
    yield
    rclpy.try_shutdown()


def textured(camera: PinholeCamera) -> np.ndarray:
    """[H, W, 3] uint8: patches of all sizes, as things have them."""
    noise = np.random.default_rng(0).normal(size=(camera.height, camera.width))
    octaves = sum(2**k * cv2.GaussianBlur(noise, (0, 0), 2.0**k) for k in range(4))
    gray = np.clip(120 + 40 * octaves, 0, 255).astype(np.uint8)
    return np.stack([gray] * 3, axis=-1)


def node_of(folder, **parameters):
    """Every image is a keyframe, and nothing works ahead."""
    given = {"keyframe_translation_m": 0.0, "keyframe_rotation_deg": 0.0, "work_ahead": False}
    return scene_node_here(data_dir=str(folder), status_period_s=0.2, **given, **parameters)


class Camera:
    """A driver; `packed`: sends JPEG."""

    def __init__(self, qos=RELIABLE, packed: bool = False) -> None:
        self.client, self._packed = Client("driver"), packed
        node = self.client.node
        image = (CompressedImage, "rgb/image/compressed") if packed else (Image, "rgb/image")
        self._image = node.create_publisher(*image, qos)
        self._info = node.create_publisher(CameraInfo, "rgb/camera_info", qos)
        self._pose = node.create_publisher(PoseStamped, "pose", qos)
        wait_for(lambda: all(p.get_subscription_count() for p in (self._image, self._info, self._pose)),
                 10, "the node listens")  # fmt: skip

    def shoot(self, stamp: float, with_pose: bool = True, broken: bool = False, rgb=GRAY) -> None:
        header = Header(stamp=time_message(stamp), frame_id="camera")
        self._info.publish(camera_info_message(CAMERA, header))
        if with_pose:
            self.tell_pose(stamp)
        if self._packed:
            data = cv2.imencode(".jpg", rgb)[1].tobytes()
            data = data[: len(data) // 3] if broken else data
            self._image.publish(CompressedImage(header=header, format="jpeg", data=data))
        else:
            self._image.publish(image_message(rgb, "rgb8", header))

    def tell_pose(self, stamp: float) -> None:
        pose = PoseStamped(header=Header(stamp=time_message(stamp), frame_id="map"))
        pose.pose.position.x, pose.pose.orientation.w = stamp, 1.0
        self._pose.publish(pose)

    def die(self) -> None:
        self.client.close()


def test_a_camera_that_dies_and_comes_back_with_another_qos(ros, tmp_path):
    with node_of(tmp_path) as node:
        camera = Camera(RELIABLE)
        for stamp in (1.0, 2.0):
            camera.shoot(stamp)
        wait_for(lambda: node.source.counters.used == 2, 10, "the frames")
        camera.die()
        wait_for(lambda: not node.count_publishers("/rgb/image"), 10, "it is gone")
        camera = Camera(BEST_EFFORT)

        def goes_on() -> bool:
            camera.shoot(3.0 + node.source.counters.received)
            return node.source.counters.used >= 4

        wait_for(goes_on, 20, "frames of the new one")
        assert node.errors.snapshot().counts.get("internal", 0) == 0
        camera.die()


def test_poses_that_come_two_seconds_late_are_waited_for(ros, tmp_path):
    with node_of(tmp_path) as node:
        camera = Camera()
        camera.shoot(1.0, with_pose=False)
        wait_for(lambda: node.source.counters.pending == 1, 10, "the image waits")
        with pytest.raises(AssertionError):
            wait_for(lambda: node.source.counters.used, 2.0, "nothing without a pose")
        camera.tell_pose(1.0)
        wait_for(lambda: node.source.counters.used == 1, 10, "the frame")
        assert not node.source.counters.dropped
        camera.die()


def test_every_tenth_image_is_broken(ros, tmp_path):
    with node_of(tmp_path) as node:
        camera = Camera(packed=True)
        statuses = camera.client.listen(SceneStatus, "status")
        for index in range(30):
            camera.shoot(float(index), broken=index % 10 == 5)
            wait_for(lambda count=index + 1: node.source.counters.received == count, 10, "the image")
        status = next_status(statuses, lambda s: s.frames_used == 27)
        assert dropped_count(status, frame_assembly.BAD_IMAGE) == 3
        camera.die()


def test_blurred_images_are_left_out_and_counted(ros, tmp_path):
    sharp = textured(CAMERA)
    moved = np.ascontiguousarray(np.stack([np.roll(sharp, k, axis=1) for k in range(6)]).mean(0), np.uint8)
    with node_of(tmp_path) as node:
        camera = Camera()
        for index in range(8):
            camera.shoot(float(index), rgb=moved if index in (4, 6) else sharp)
            wait_for(lambda count=index + 1: node.source.counters.received == count, 10, "the image")
        wait_for(lambda: node.source.counters.used == 6, 10, "the sharp ones")
        assert node.source.counters.dropped == {frame_assembly.BLURRED: 2}
        assert not node.errors.snapshot().counts
        node.set_parameters([Parameter("min_sharpness", value=0.0)])
        camera.shoot(9.0, rgb=moved)
        wait_for(lambda: node.source.counters.used == 7, 10, "all are taken")
        camera.die()


def test_a_bag_that_loops_goes_on(ros, tmp_path):
    with node_of(tmp_path, sync_wait_s=0.5) as node:
        camera = Camera()
        for stamp in (10.0, 11.0, 12.0, 10.0, 11.0, 12.0, 12.5):
            camera.shoot(stamp)
        wait_for(lambda: node.source.counters.used == 4, 10, "each place once, and what is new")
        assert node.source.counters.dropped == {frame_assembly.DUPLICATE: 3}
        assert node.errors.snapshot().counts == {"clock went back": 1}
        camera.die()


def test_two_clients_on_one_object(ros, tmp_path):
    """Both are answered, with the same mesh."""
    with node_of(tmp_path) as node:
        show_scene(node, decomposed_scene()[0])
        clients = [Client(f"client{k}") for k in range(2)]
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(
                lambda client: client.call(CompleteInstance, "complete_instance", instance_id=BLUE, seed=1),
                clients,
            ))  # fmt: skip
        assert all(answer.success for answer in answers), [a.message for a in answers]
        first, second = (answer.completed_object for answer in answers)
        assert first.mesh == second.mesh and first.volume == second.volume
        for client in clients:
            client.close()


def test_a_disk_that_is_full(ros, tmp_path, monkeypatch):
    with node_of(tmp_path) as node:
        show_scene(node, decomposed_scene()[0])
        client = Client("saver")
        assert client.call(SaveScene, "save_scene", name="kept").success
        known = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir() if path.is_file()}

        def full(self, data) -> int:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))

        with monkeypatch.context() as patch:
            patch.setattr(files.Path, "write_bytes", full)
            answer = client.call(SaveScene, "save_scene", name="kept")
        assert not answer.success and "No space left on device" in answer.message
        assert "\\n" not in answer.message and len(answer.message) < 400
        now = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir() if path.is_file()}
        assert now == known  # the scene saved before is whole
        assert client.call(SaveScene, "save_scene", name="kept").success
        client.close()

"""scene_node as a managed node: what it offers and does in each state, over DDS in a process of its own."""

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from instascene.msg import SceneStatus
from instascene.srv import GetInstance, SaveScene
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nodes import END_S, Client, next_status, running, wait_for
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from instascene_core.camera import PinholeCamera
from instascene_ros.conversions import camera_info_message, image_message, time_message

CAMERA = PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0)


@pytest.fixture
def client(ros_domain):
    rclpy.init()
    client = Client("manager")
    yield client
    client.close()
    rclpy.try_shutdown()


class Camera:
    """Publishes whole frames."""

    def __init__(self, client: Client) -> None:
        node = client.node
        self._image = node.create_publisher(Image, "rgb/image", 10)
        self._info = node.create_publisher(CameraInfo, "rgb/camera_info", 10)
        self._pose = node.create_publisher(PoseStamped, "pose", 10)

    @property
    def is_heard(self) -> bool:
        return all(p.get_subscription_count() for p in (self._image, self._info, self._pose))

    def shoot(self, stamp: float) -> None:
        header = Header(stamp=time_message(stamp), frame_id="camera")
        self._info.publish(camera_info_message(CAMERA, header))
        pose = PoseStamped(header=Header(stamp=header.stamp, frame_id="map"))
        pose.pose.position.x, pose.pose.orientation.w = stamp, 1.0
        self._pose.publish(pose)
        self._image.publish(image_message(np.full((48, 64, 3), 120, np.uint8), "rgb8", header))


def change(client: Client, transition: int) -> bool:
    return client.call(ChangeState, "scene_node/change_state", transition=Transition(id=transition)).success


def state_of(client: Client) -> int:
    return client.call(GetState, "scene_node/get_state").current_state.id


def test_it_does_in_each_state_what_that_allows(client, tmp_path):
    camera, statuses = Camera(client), client.listen(SceneStatus, "status")
    parameters = {"autostart": False, "data_dir": tmp_path, "work_ahead": False, "status_period_s": 0.2}
    with running("scene_node", parameters, tmp_path / "node.log") as node:
        assert state_of(client) == State.PRIMARY_STATE_UNCONFIGURED
        assert not client.node.count_publishers("status") and not camera.is_heard
        assert change(client, Transition.TRANSITION_CONFIGURE)
        next_status(statuses)
        assert not camera.is_heard  # inactive: it answers, and takes no frames
        answer = client.call(GetInstance, "get_instance", instance_id=1)
        assert not answer.success and "call segment_instances first" in answer.message
        assert change(client, Transition.TRANSITION_ACTIVATE)
        wait_for(lambda: camera.is_heard, 10, "the subscriptions")
        camera.shoot(1.0)
        next_status(statuses, lambda s: s.frames_used == 1)
        assert change(client, Transition.TRANSITION_DEACTIVATE)
        wait_for(lambda: not camera.is_heard, 10, "no subscriptions")
        assert next_status(statuses).frames_used == 1  # the scene stays
        assert change(client, Transition.TRANSITION_ACTIVATE)
        wait_for(lambda: camera.is_heard, 10, "the subscriptions again")
        camera.shoot(2.0)
        next_status(statuses, lambda s: s.frames_used == 2)
        assert change(client, Transition.TRANSITION_DEACTIVATE)
        assert change(client, Transition.TRANSITION_CLEANUP)
        wait_for(lambda: not client.node.count_publishers("status"), 10, "nothing is offered")
        assert change(client, Transition.TRANSITION_CONFIGURE)
        assert next_status(statuses).frames_used == 0  # another scene
        assert not client.call(SaveScene, "save_scene", name="empty").success
        assert change(client, Transition.TRANSITION_INACTIVE_SHUTDOWN)
        assert state_of(client) == State.PRIMARY_STATE_FINALIZED
        code, seconds = node.interrupt()
        assert code == 0 and seconds < END_S, node.log.read_text()
        assert "Traceback" not in node.log.read_text()


def test_by_itself_it_becomes_active(client, tmp_path):
    with running("scene_node", {"data_dir": tmp_path}, tmp_path / "node.log"):
        wait_for(lambda: state_of(client) == State.PRIMARY_STATE_ACTIVE, 60, "the active state")


def test_what_cannot_be_configured_is_said_and_the_node_waits(client, tmp_path):
    pytest.importorskip("lifecycle_msgs")
    try:
        import tf2_ros  # noqa: F401

        pytest.skip("tf2_ros is installed")
    except ImportError:
        pass
    parameters = {"autostart": False, "data_dir": tmp_path, "pose_source": "tf"}
    with running("scene_node", parameters, tmp_path / "node.log") as node:
        assert not change(client, Transition.TRANSITION_CONFIGURE)
        wait_for(lambda: "needs tf2_ros; install" in node.log.read_text(), 30, "the sentence")
        assert state_of(client) == State.PRIMARY_STATE_UNCONFIGURED
        assert node.process.poll() is None and "Traceback" not in node.log.read_text()

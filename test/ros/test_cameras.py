"""Two cameras that look at one scene: topics, lenses and poses of each, frames of both."""

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from instascene.msg import SceneStatus
from nodes import Client, dropped_count, next_status, scene_node_here, wait_for
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_ros import frame_assembly
from instascene_ros.conversions import camera_info_message, image_message, time_message
from instascene_ros.parameters import read_parameters

CAMERAS = {
    "left": PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0),
    "robot/right": PinholeCamera(40, 30, 50.0, 50.0, 20.0, 15.0),
}


class Rig:
    """Publishes what one of the cameras sees."""

    def __init__(self, client: Client, name: str) -> None:
        node, self.name, self.camera = client.node, name, CAMERAS[name]
        self.publishers = [
            node.create_publisher(kind, f"{name}/{topic}", 10)
            for kind, topic in ((Image, "rgb/image"), (CameraInfo, "rgb/camera_info"), (PoseStamped, "pose"))
        ]

    @property
    def is_heard(self) -> bool:
        return all(publisher.get_subscription_count() for publisher in self.publishers)

    def shoot(self, stamp: float, with_pose: bool = True) -> None:
        header = Header(stamp=time_message(stamp), frame_id=self.name)
        image, info, pose = self.publishers
        info.publish(camera_info_message(self.camera, header))
        if with_pose:
            message = PoseStamped(header=Header(stamp=header.stamp, frame_id="map"))
            message.pose.position.x, message.pose.orientation.w = stamp, 1.0
            pose.publish(message)
        shape = (self.camera.height, self.camera.width, 3)
        image.publish(image_message(np.full(shape, 120, np.uint8), "rgb8", header))


def test_frames_of_both_come_into_one_scene(ros_domain, tmp_path):
    rclpy.init()
    parameters = {"cameras": "left /robot/right", "data_dir": str(tmp_path), "work_ahead": False}
    with scene_node_here(**parameters, sync_wait_s=0.5) as node:
        client = Client("cameras_client")
        statuses, rigs = client.listen(SceneStatus, "status"), [Rig(client, name) for name in CAMERAS]
        wait_for(lambda: all(rig.is_heard for rig in rigs), 10, "the subscriptions")
        for stamp in (1.0, 2.0, 3.0):
            for rig in rigs:  # at the very same instants
                rig.shoot(stamp)
        next_status(statuses, lambda s: s.frames_used == 6)
        names = {frame.name: frame.camera.width for frame in node.worker.scene.frames}
        assert names["left_1_000000000"] == 64 and names["robot_right_1_000000000"] == 40
        assert len(names) == 6
        rigs[1].shoot(4.0, with_pose=False)
        status = next_status(statuses, lambda s: dropped_count(s, frame_assembly.NO_POSE) == 1)
        assert "the poses on /robot/right/pose are of" in status.last_error
        assert (status.frames_received, status.frames_used) == (7, 6)
        client.close()
    rclpy.shutdown()


def test_a_camera_named_twice_is_refused():
    with pytest.raises(InputError, match="'cameras' names a camera twice"):
        read_parameters({"cameras": "left, left"})

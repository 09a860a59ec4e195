"""The robot's own pixels: its URDF posed by joint_states, against where they must be."""

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from nodes import Client, scene_node_here, wait_for
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header, String

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.transforms import look_at
from instascene_ros.conversions import (
    camera_info_message,
    image_message,
    pose_from_matrix,
    time_message,
)
from instascene_ros.robot_body import PADDING, RobotBody, pixels_of
from instascene_ros.self_filter import LATCHED, NO_BODY

pytest.importorskip("yourdfpy", reason="yourdfpy is not installed (extra 'robot')")

URDF = """
<robot name="arm">
  <link name="base"><visual><geometry><box size="0.1 0.1 0.1"/></geometry></visual></link>
  <link name="forearm">
    <visual><origin xyz="0.2 0 0"/><geometry><box size="0.2 0.04 0.04"/></geometry></visual>
  </link>
  <joint name="shoulder" type="revolute">
    <parent link="base"/><child link="forearm"/><axis xyz="0 0 1"/>
    <limit lower="-3" upper="3" effort="1" velocity="1"/>
  </joint>
</robot>
"""
CAMERA = PinholeCamera(160, 120, 150.0, 150.0, 80.0, 60.0)
ABOVE = look_at(np.array([0.0, -0.01, 1.0]), np.zeros(3))


def view(pose=ABOVE) -> Frame:
    return Frame("view", 1.0, CAMERA, pose, np.zeros((120, 160, 3), np.uint8))


def expected(angle: float, grow: float) -> np.ndarray:
    """[H, W] bool: the forearm's and the base's tops as seen from above, grown by `grow` metres."""
    rays = CAMERA.rays @ ABOVE[:3, :3].T
    hits = np.zeros((120, 160), dtype=bool)
    for height, half, middle in ((0.05, (0.05, 0.05), (0, 0)), (0.02, (0.1, 0.02), (0.2, 0))):
        points = ABOVE[:3, 3] + rays * ((height - ABOVE[2, 3]) / rays[..., 2:])
        turn = angle if middle[0] else 0.0
        along = points[..., 0] * np.cos(turn) + points[..., 1] * np.sin(turn) - middle[0]
        across = -points[..., 0] * np.sin(turn) + points[..., 1] * np.cos(turn)
        hits |= (np.abs(along) < half[0] + grow) & (np.abs(across) < half[1] + grow)
    return hits


@pytest.mark.parametrize("angle", [np.nan, np.inf])
def test_a_position_that_is_no_number_is_refused(angle):
    with pytest.raises(InputError, match="the joint 'shoulder' what is no finite number"):
        RobotBody(URDF).surface({"shoulder": angle})


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.0])
def test_its_pixels_follow_the_joint(angle):
    body = RobotBody(URDF)
    assert body.joints == ("shoulder",)
    pixels = pixels_of(body.surface({"shoulder": angle}), view())
    assert not (expected(angle, 0.0) & ~pixels).any()  # nothing of it is left
    assert not (pixels & ~expected(angle, 3 * PADDING)).any()  # and little else is taken


def test_out_of_sight_it_hides_nothing():
    away = look_at(np.array([0.0, 0.0, 1.0]), np.array([5.0, 0.0, 1.0]))
    assert not pixels_of(RobotBody(URDF).surface({"shoulder": 0.0}), view(away)).any()


@pytest.mark.parametrize(
    ("urdf", "words"),
    [("no xml", "cannot be read"), ('<robot name="r"><link name="base"/></robot>', "no link with a shape")],
)
def test_a_description_that_cannot_be_used_is_one_sentence(urdf, words):
    with pytest.raises(InputError, match=words):
        RobotBody(urdf)


def test_a_joint_that_nobody_tells_of_is_named():
    with pytest.raises(InputError, match="joint 'shoulder'"):
        RobotBody(URDF).surface({"wrist": 0.0})


def test_the_node_takes_the_robot_out_of_its_frames(ros_domain, tmp_path):
    rclpy.init()
    every = {"keyframe_translation_m": 0.0, "keyframe_rotation_deg": 0.0, "work_ahead": False}
    with scene_node_here(data_dir=str(tmp_path), self_filter=True, sync_wait_s=0.5, **every) as node:
        client = Client("robot")
        make = client.node.create_publisher
        image, info = make(Image, "rgb/image", 10), make(CameraInfo, "rgb/camera_info", 10)
        pose, joints = make(PoseStamped, "pose", 10), make(JointState, "joint_states", 10)
        wait_for(lambda: all(p.get_subscription_count() for p in (image, info, pose, joints)), 10, "all hear")

        def shoot(stamp: float) -> None:
            header = Header(stamp=time_message(stamp), frame_id="camera")
            info.publish(camera_info_message(CAMERA, header))
            pose.publish(
                PoseStamped(header=Header(stamp=header.stamp, frame_id="map"), pose=pose_from_matrix(ABOVE))
            )
            image.publish(image_message(np.full((120, 160, 3), 90, np.uint8), "rgb8", header))

        shoot(1.0)
        wait_for(lambda: node.source.counters.dropped[NO_BODY] == 1, 10, "it is not known yet")
        assert "nothing came on robot_description" in node.errors.snapshot().newest
        make(String, "robot_description", LATCHED).publish(String(data=URDF))
        wait_for(lambda: not isinstance(node._self_filter._body, str | None), 10, "the description")
        joints.publish(JointState(header=Header(stamp=time_message(2.0)), name=["shoulder"], position=[0.7]))
        wait_for(lambda: len(node._self_filter._joints), 10, "the joints")
        shoot(2.05)
        wait_for(lambda: node.source.counters.used == 1, 10, "the frame")
        (frame,) = node.worker.scene.frames
        assert not frame.valid[expected(0.7, 0.0)].any() and frame.valid[~expected(0.7, 3 * PADDING)].all()
        shoot(9.0)
        wait_for(lambda: node.source.counters.dropped[NO_BODY] == 2, 10, "no joints at that time")
        client.close()
    rclpy.shutdown()

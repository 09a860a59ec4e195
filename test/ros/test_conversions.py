"""Messages to arrays and back: every encoding, padding, byte order, and what is refused."""

import array
import sys

import numpy as np
import pytest
from geometry_msgs.msg import Pose, PoseStamped
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from instascene_core.camera import PinholeCamera
from instascene_core.datasets import ros_images
from instascene_core.errors import InputError
from instascene_ros import conversions
from instascene_ros.pose_sources import OdometryPoses, StampedPoses

CODES = {name: code for name, (code, _) in ros_images.ENCODINGS.items()}
CHANNELS = {name: channels for name, (_, channels) in ros_images.ENCODINGS.items()}


def random_pixels(encoding: str, height: int = 3, width: int = 5) -> np.ndarray:
    rng = np.random.default_rng(len(encoding))
    shape = (height, width) if CHANNELS[encoding] == 1 else (height, width, CHANNELS[encoding])
    code = CODES[encoding]
    if code == "f4":
        return rng.uniform(0.5, 5.0, shape).astype(np.float32)
    high = {"u1": 256, "u2": 65536, "i4": 100000}[code]
    return rng.integers(0, high, shape).astype(code)


def message(pixels: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    """An image message made byte by byte, independent of the code under test."""
    order = ">" if big_endian else "<"
    rows = [row.astype(order + CODES[encoding]).tobytes() + b"\xaa" * padding for row in pixels]
    msg = Image()
    msg.height, msg.width = pixels.shape[:2]
    msg.encoding, msg.step, msg.is_bigendian = encoding, len(rows[0]), int(big_endian)
    msg.data = array.array("B", b"".join(rows))
    return msg


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("encoding", list(ros_images.ENCODINGS))
def test_every_encoding_with_padding_and_byte_order(encoding, padding, big_endian):
    pixels = random_pixels(encoding)
    decoded = ros_images.pixels(message(pixels, encoding, padding, big_endian))
    assert decoded.dtype == np.dtype(CODES[encoding]) and decoded.dtype.isnative
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("encoding", list(ros_images.ENCODINGS))
def test_image_message_round_trip(encoding):
    pixels = random_pixels(encoding)
    msg = conversions.image_message(pixels, encoding, Header(frame_id="camera"))
    assert msg.header.frame_id == "camera" and msg.is_bigendian == (sys.byteorder == "big")
    np.testing.assert_array_equal(ros_images.pixels(msg), pixels)


def test_last_row_may_lack_its_padding():
    pixels = random_pixels("rgb8")
    msg = message(pixels, "rgb8", padding=4)
    msg.data = msg.data[:-4]
    np.testing.assert_array_equal(ros_images.pixels(msg), pixels)


def test_colour_order():
    red = np.zeros((1, 2, 3), np.uint8)
    red[..., 0] = 200
    alpha = np.full((1, 2, 1), 9, np.uint8)
    cases = {
        "rgb8": red,
        "bgr8": red[..., ::-1],
        "rgba8": np.concatenate([red, alpha], 2),
        "bgra8": np.concatenate([red[..., ::-1], alpha], 2),
    }
    for encoding, pixels in cases.items():
        np.testing.assert_array_equal(conversions.rgb_from_message(message(pixels, encoding)), red)
    grey = conversions.rgb_from_message(message(np.full((2, 2), 77, np.uint8), "mono8"))
    assert grey.shape == (2, 2, 3) and (grey == 77).all()


def test_own_conversion_agrees_with_cv_bridge():
    cv_bridge = pytest.importorskip("cv_bridge")
    for encoding in ros_images.PLAIN_COLORS[:5]:  # cv_bridge has no colours for 8UC3
        msg = message(random_pixels(encoding), encoding, padding=3)
        theirs = cv_bridge.CvBridge().imgmsg_to_cv2(msg, "rgb8")
        conversions.cv_bridge.cache_clear()
        np.testing.assert_array_equal(conversions.rgb_from_message(msg), theirs)


def test_compressed_image():
    import cv2

    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 0] = 250
    png = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    msg = CompressedImage(format="png", data=array.array("B", png))
    np.testing.assert_array_equal(conversions.rgb_from_message(msg), pixels)
    msg.data = array.array("B", b"not an image")
    with pytest.raises(InputError, match="cannot be decoded"):
        conversions.rgb_from_message(msg)


def test_depth_in_millimetres_and_metres():
    millimetres = np.array([[0, 1500], [65535, 20]], np.uint16)
    depth = ros_images.depth_from(message(millimetres, "16UC1"))
    np.testing.assert_allclose(depth, [[0, 1.5], [65.535, 0.02]], rtol=1e-6)
    metres = np.array([[np.nan, 1.5], [np.inf, -1.0]], np.float32)
    depth = ros_images.depth_from(message(metres, "32FC1"))
    np.testing.assert_array_equal(depth, np.array([[0, 1.5], [0, 0]], np.float32))


@pytest.mark.parametrize("encoding", ros_images.LABEL_ENCODINGS)
def test_labels_keep_their_ids_and_zero_is_unlabelled(encoding):
    ids = np.array([[0, 1], [200, 7]], CODES[encoding])
    labels = conversions.labels_from_message(message(ids, encoding))
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, [[-1, 1], [200, 7]])


def test_labels_round_trip():
    labels = np.array([[-1, 1], [65535, 7]], np.int32)
    msg = conversions.labels_message(labels, Header())
    assert msg.encoding == "mono16"
    np.testing.assert_array_equal(conversions.labels_from_message(msg), labels)


def with_changes(**changes) -> Image:
    msg = message(random_pixels("rgb8"), "rgb8")
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


@pytest.mark.parametrize(
    "function, msg, words",
    [
        (conversions.rgb_from_message, with_changes(encoding="yuv999"), "'yuv999' is not a colour encoding"),
        (ros_images.pixels, with_changes(encoding=""), "'' is not supported"),
        (ros_images.pixels, with_changes(step=3), "step of 3 bytes is less than a row"),
        (ros_images.pixels, with_changes(height=9), "has 45 bytes"),
        (ros_images.pixels, with_changes(width=0), "is empty"),
        (ros_images.depth_from, with_changes(), "Depth encoding 'rgb8' is not supported"),
        (conversions.labels_from_message, with_changes(), "Label image encoding 'rgb8' is not supported"),
    ],
)
def test_bad_images_are_refused_in_one_sentence(function, msg, words):
    with pytest.raises(InputError, match=words) as caught:
        function(msg)
    assert "\n" not in str(caught.value)


def camera_info(**changes) -> CameraInfo:
    msg = CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=[0.1, -0.2, 0.001, 0.002, 0.0])
    msg.k = [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]
    msg.p = [450.0, 0.0, 300.5, 0.0, 0.0, 460.0, 200.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


def test_camera_info_shifts_the_principal_point_by_half_a_pixel():
    lens = ros_images.lens_from_camera_info(camera_info())
    assert lens.camera == PinholeCamera(640, 480, 500.0, 510.0, 320.0, 240.0)
    assert lens.coefficients == (0.1, -0.2, 0.001, 0.002, 0.0) and lens.is_distorted
    # The ray through the centre pixel of an odd image is the optical axis in both conventions.
    info = camera_info(width=3, height=3, d=[0.0] * 5)
    info.k = [2.0, 0.0, 1.0, 0.0, 2.0, 1.0, 0.0, 0.0, 1.0]
    np.testing.assert_allclose(ros_images.lens_from_camera_info(info).camera.rays[1, 1], [0, 0, 1])


def test_rectified_images_use_p():
    lens = ros_images.lens_from_camera_info(camera_info(), rectified=True)
    assert not lens.is_distorted
    assert (lens.camera.fx, lens.camera.cx) == (450.0, 301.0)
    with pytest.raises(InputError, match="P is zero"):
        ros_images.lens_from_camera_info(camera_info(p=[0.0] * 12), rectified=True)


def test_region_of_interest_and_binning():
    msg = camera_info(d=[], binning_x=2, binning_y=2)
    msg.roi.x_offset, msg.roi.y_offset, msg.roi.width, msg.roi.height = 40, 20, 400, 300
    camera = ros_images.lens_from_camera_info(msg).camera
    assert (camera.width, camera.height) == (200, 150)
    assert (camera.fx, camera.cx, camera.cy) == (250.0, 140.0, 110.0)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"distortion_model": "double_sphere"}, "Unknown distortion model 'double_sphere'"),
        ({"k": [0.0] * 9}, "not calibrated"),
        ({"d": [0.1] * 3}, "takes"),
        ({"k": [float("nan"), 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]}, "not finite"),
    ],
)
def test_bad_camera_info_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        ros_images.lens_from_camera_info(camera_info(**changes))


def test_camera_info_round_trip():
    camera = PinholeCamera(320, 240, 300.0, 301.0, 161.5, 119.25)
    assert (
        ros_images.lens_from_camera_info(conversions.camera_info_message(camera, Header())).camera == camera
    )


def pose(x=0.0, y=0.0, z=0.0, w=1.0, position=(1.0, 2.0, 3.0)) -> Pose:
    msg = Pose()
    msg.position.x, msg.position.y, msg.position.z = position
    msg.orientation.x, msg.orientation.y, msg.orientation.z, msg.orientation.w = x, y, z, w
    return msg


def test_pose_quarter_turn_about_z():
    half = np.sqrt(0.5)
    matrix = conversions.matrix_from_pose(pose(z=half, w=half))
    np.testing.assert_allclose(matrix[:3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_array_equal(matrix[:3, 3], [1, 2, 3])


def test_pose_round_trip():
    rng = np.random.default_rng(0)
    for _ in range(50):
        quaternion = rng.normal(size=4)
        x, y, z, w = quaternion / np.linalg.norm(quaternion)
        matrix = conversions.matrix_from_pose(pose(x, y, z, w))
        again = conversions.matrix_from_pose(conversions.pose_from_matrix(matrix))
        np.testing.assert_allclose(again, matrix, atol=1e-12)


@pytest.mark.parametrize(
    "msg, words",
    [
        (pose(x=float("nan")), "NaN or infinity"),
        (pose(position=(float("inf"), 0.0, 0.0)), "NaN or infinity"),
        (pose(w=0.0), "quaternion of length 0"),
        (pose(w=1.2), "quaternion of length 1.2"),
    ],
)
def test_bad_poses_are_refused(msg, words):
    with pytest.raises(InputError, match=words):
        conversions.matrix_from_pose(msg)


def stamped(msg: Pose, frame: str = "map", seconds: int = 5) -> PoseStamped:
    result = PoseStamped(pose=msg)
    result.header.frame_id, result.header.stamp.sec = frame, seconds
    return result


def test_pose_source_gives_matrices_or_says_why_not():
    poses = StampedPoses("map", tolerance_s=0.02)
    poses.add_pose(stamped(pose()))
    poses.add_pose(stamped(pose(w=3.0), seconds=6))
    poses.add_pose(stamped(pose(), frame="odom", seconds=7))
    np.testing.assert_array_equal(poses.find(5.01, None)[:3, 3], [1, 2, 3])
    assert poses.find(5.1, None) is None
    with pytest.raises(InputError, match="quaternion of length 3, not 1"):
        poses.find(6.0, None)
    with pytest.raises(InputError, match="frame 'odom' but map_frame is 'map'"):
        poses.find(7.0, None)


def test_odometry_is_moved_to_the_camera():
    from nav_msgs.msg import Odometry

    half = float(np.sqrt(0.5))
    # The base looks along the map's y; the camera sits 0.5 m in front of it.
    source = OdometryPoses("odom", 0.02, (0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    msg = Odometry()
    msg.header.frame_id, msg.header.stamp.sec = "odom", 1
    msg.pose.pose = pose(z=half, w=half)
    source.add_odometry(msg)
    np.testing.assert_allclose(source.find(1.0, None)[:3, 3], [1, 2.5, 3], atol=1e-12)


def test_poses_at_another_rate_than_the_images_are_interpolated():
    poses = StampedPoses("map", tolerance_s=0.02)
    half = float(np.sqrt(0.5))
    poses.add_pose(stamped(pose(position=(0.0, 0.0, 0.0)), seconds=5))
    later = stamped(pose(z=half, w=half, position=(1.0, 0.0, 0.0)), seconds=5)
    later.header.stamp.nanosec = 400_000_000
    poses.add_pose(later)
    found = poses.find(5.2, None)
    np.testing.assert_allclose(found[:3, 3], [0.5, 0, 0], atol=1e-9)
    np.testing.assert_allclose(found[:3, 0], [half, half, 0], atol=1e-9)  # half of a quarter turn
    poses.add_pose(stamped(pose(), seconds=7))
    assert poses.find(6.0, None) is None  # 1.6 s without a pose
    assert poses.find(5.405, None)[0, 3] == 1.0

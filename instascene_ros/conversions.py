"""ROS messages ↔ the core's types: images, cameras, poses.

What a bag read without ROS needs as well is in `instascene_core.datasets.ros_images`.
Everything here raises `InputError` with one sentence when a message cannot be used.  Quaternions
are xyzw in messages and wxyz everywhere else; pixel centres lie at integers in ROS and at half
pixels in the core, so principal points shift by half a pixel here.
"""

import array
import functools
import logging
import math
import sys
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose
from rclpy.time import Time as RclpyTime
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from instascene_core.camera import PinholeCamera
from instascene_core.datasets import ros_images
from instascene_core.errors import InputError
from instascene_core.frame import MAX_LABEL, image_from_labels, labels_from_image
from instascene_core.transforms import require_rigid

logger = logging.getLogger(__name__)

QUATERNION_TOLERANCE = 1e-2  # of the norm; drivers round to float32, so small errors are repaired


def stamp_seconds(stamp) -> float:
    """builtin_interfaces/Time as seconds."""
    return stamp.sec + stamp.nanosec * 1e-9


def rclpy_time(stamp) -> RclpyTime:
    """builtin_interfaces/Time as rclpy and tf take it; InputError for one before 1970, which they do not."""
    try:
        return RclpyTime.from_msg(stamp)
    except (ValueError, OverflowError) as error:
        raise InputError(f"The stamp of {stamp_seconds(stamp):.3f} s is no time that tf knows.") from error


def time_message(seconds: float) -> Time:
    """builtin_interfaces/Time from seconds ≥ 0."""
    whole = math.floor(seconds)
    return Time(sec=int(whole), nanosec=min(999_999_999, round((seconds - whole) * 1e9)))


# ── images ────────────────────────────────────────────────────────────────────────────────────────


@functools.cache
def cv_bridge():
    """A CvBridge where one is installed and usable, else None (it adds Bayer and YUV encodings)."""
    try:
        from cv_bridge import CvBridge

        return CvBridge()
    except ModuleNotFoundError:
        return None
    except Exception as error:  # built against another numpy: several exception types
        logger.warning("cv_bridge is installed but cannot be used (%s): no Bayer and YUV images", error)
        return None


def rgb_from_message(msg: Image | CompressedImage) -> np.ndarray:
    """[H, W, 3] uint8 RGB from a colour or grey image message."""
    if not isinstance(msg, CompressedImage) and (bridge := cv_bridge()) is not None:
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(msg, desired_encoding="rgb8"))
        except Exception as error:
            if msg.encoding not in ros_images.COLOR_ENCODINGS:
                raise InputError(f"Image encoding '{msg.encoding}' cannot be shown as colour.") from error
    return ros_images.rgb_from(msg)


def labels_from_message(msg: Image) -> np.ndarray:
    """[H, W] int32 labels (UNLABELLED = −1 inside) from a label image message (0 = unlabelled).

    Ids that a saved scene cannot hold are refused here: one of them would fail all that comes after.
    """
    labels = ros_images.label_image_from(msg)
    if labels.max() > MAX_LABEL:
        raise InputError(f"The label image contains id {labels.max()}; ids must lie in 1 … {MAX_LABEL}.")
    return labels_from_image(labels)


def image_message(pixels: np.ndarray, encoding: str, header) -> Image:
    """An image message from [H, W] or [H, W, C] pixels; their dtype must be the encoding's."""
    code, channels = ros_images.ENCODINGS[encoding]
    shape = pixels.shape[2:] or (1,)
    if pixels.dtype != np.dtype(code) or shape != (channels,):
        raise InputError(f"Pixels {pixels.shape} {pixels.dtype} are not {encoding}.")
    msg = Image()
    msg.header = header
    msg.height, msg.width = pixels.shape[:2]
    msg.encoding = encoding
    msg.is_bigendian = int(sys.byteorder == "big")
    msg.step = pixels.shape[1] * channels * pixels.dtype.itemsize
    msg.data = array.array("B", np.ascontiguousarray(pixels).tobytes())  # the fast way in (1 ms)
    return msg


def labels_message(labels: np.ndarray, header) -> Image:
    """A mono16 label image message (0 = unlabelled) from [H, W] int32 labels."""
    return image_message(image_from_labels(labels), "mono16", header)


# ── cameras ───────────────────────────────────────────────────────────────────────────────────────


def camera_info_message(camera: PinholeCamera, header) -> CameraInfo:
    """The camera_info of an undistorted camera."""
    msg = CameraInfo()
    msg.header = header
    msg.width, msg.height = camera.width, camera.height
    msg.distortion_model, msg.d = "plumb_bob", [0.0] * 5
    cx, cy = camera.cx - 0.5, camera.cy - 0.5
    msg.k = [camera.fx, 0.0, cx, 0.0, camera.fy, cy, 0.0, 0.0, 1.0]
    msg.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    msg.p = [camera.fx, 0.0, cx, 0.0, 0.0, camera.fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return msg


# ── poses ─────────────────────────────────────────────────────────────────────────────────────────


def rotation_from_xyzw(quaternion: np.ndarray) -> np.ndarray:
    """[3, 3] from a unit quaternion xyzw."""
    try:
        from tf_transformations import quaternion_matrix
    except ImportError:
        from transforms3d.quaternions import quat2mat

        return quat2mat(np.roll(quaternion, 1))
    return quaternion_matrix(quaternion)[:3, :3]


def xyzw_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternion xyzw, w ≥ 0, from [3, 3]."""
    try:
        from tf_transformations import quaternion_from_matrix
    except ImportError:
        from transforms3d.quaternions import mat2quat

        return np.roll(mat2quat(rotation), -1)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    quaternion = np.asarray(quaternion_from_matrix(matrix))
    return quaternion if quaternion[3] >= 0 else -quaternion


def matrix_from_parts(position, orientation, what: str = "The pose") -> np.ndarray:
    """[4, 4] float64 from a Point/Vector3 and a Quaternion message; refuses NaN and non-unit quaternions."""
    translation = np.array([position.x, position.y, position.z])
    quaternion = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    if not (np.isfinite(translation).all() and np.isfinite(quaternion).all()):
        raise InputError(f"{what} contains NaN or infinity.")
    norm = float(np.linalg.norm(quaternion))
    if abs(norm - 1.0) > QUATERNION_TOLERANCE:
        raise InputError(f"{what} has a quaternion of length {norm:.3g}, not 1.")
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_xyzw(quaternion / norm)
    matrix[:3, 3] = translation
    return require_rigid(matrix, what)


def matrix_from_pose(pose: Pose, what: str = "The pose") -> np.ndarray:
    """[4, 4] float64 from geometry_msgs/Pose."""
    return matrix_from_parts(pose.position, pose.orientation, what)


def matrix_from_numbers(values: Sequence[float], what: str) -> np.ndarray:
    """[4, 4] float64 from x y z (metres) qx qy qz qw."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = values[:3]
    orientation = pose.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = values[3:]
    return matrix_from_pose(pose, what)


def matrix_from_transform(transform, what: str = "The transform") -> np.ndarray:
    """[4, 4] float64 from geometry_msgs/Transform."""
    return matrix_from_parts(transform.translation, transform.rotation, what)


def pose_from_matrix(matrix: np.ndarray) -> Pose:
    """geometry_msgs/Pose from [4, 4]."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = (float(v) for v in matrix[:3, 3])
    x, y, z, w = (float(v) for v in xyzw_from_rotation(matrix[:3, :3]))
    pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = x, y, z, w
    return pose

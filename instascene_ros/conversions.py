"""ROS messages ↔ the core's types: images, cameras, poses.

Everything here raises `InputError` with one sentence when a message cannot be used.  Quaternions
are xyzw in messages and wxyz everywhere else; pixel centres lie at integers in ROS and at half
pixels in the core, so principal points shift by half a pixel here.
"""

import array
import functools
import math
import sys

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose
from sensor_msgs.msg import CameraInfo, Image

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, image_from_labels, labels_from_image
from instascene_core.transforms import require_rigid

# encoding → (numpy type of one channel, channels)
ENCODINGS = {
    "rgb8": ("u1", 3), "bgr8": ("u1", 3), "rgba8": ("u1", 4), "bgra8": ("u1", 4), "mono8": ("u1", 1),
    "8UC1": ("u1", 1), "8UC3": ("u1", 3), "mono16": ("u2", 1), "16UC1": ("u2", 1),
    "32FC1": ("f4", 1), "32SC1": ("i4", 1),
}  # fmt: skip
COLOR_ENCODINGS = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8")
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
LABEL_ENCODINGS = ("mono16", "16UC1", "32SC1", "mono8", "8UC1")
QUATERNION_TOLERANCE = 1e-2  # of the norm; drivers round to float32, so small errors are repaired


def stamp_seconds(stamp) -> float:
    """builtin_interfaces/Time as seconds."""
    return stamp.sec + stamp.nanosec * 1e-9


def time_message(seconds: float) -> Time:
    """builtin_interfaces/Time from seconds ≥ 0."""
    whole = math.floor(seconds)
    return Time(sec=int(whole), nanosec=min(999_999_999, round((seconds - whole) * 1e9)))


# ── images ────────────────────────────────────────────────────────────────────────────────────────


def array_from_image(msg: Image) -> np.ndarray:
    """The pixels [H, W] or [H, W, C] of an image message in native byte order (a view where possible)."""
    if msg.encoding not in ENCODINGS:
        raise InputError(
            f"Image encoding '{msg.encoding}' is not supported; use one of {', '.join(ENCODINGS)}."
        )
    code, channels = ENCODINGS[msg.encoding]
    item = np.dtype(code).itemsize
    row = msg.width * channels * item
    if msg.width == 0 or msg.height == 0:
        raise InputError(f"The image is empty ({msg.width}×{msg.height}).")
    if msg.step < row:
        raise InputError(f"The image's step of {msg.step} bytes is less than a row of {row} bytes.")
    data = np.frombuffer(msg.data, dtype=np.uint8)
    if len(data) < msg.step * (msg.height - 1) + row:
        raise InputError(
            f"The image has {len(data)} bytes, {msg.width}×{msg.height} {msg.encoding} needs "
            f"{msg.step * msg.height}."
        )
    if len(data) < msg.step * msg.height:  # the last row may come without its padding
        data = np.concatenate([data, np.zeros(msg.step * msg.height - len(data), np.uint8)])
    rows = data[: msg.step * msg.height].reshape(msg.height, msg.step)[:, :row]
    order = ">" if msg.is_bigendian else "<"
    pixels = np.ascontiguousarray(rows).view(np.dtype(order + code) if item > 1 else np.uint8)
    pixels = pixels.reshape(msg.height, msg.width, channels)
    if item > 1 and bool(msg.is_bigendian) != (sys.byteorder == "big"):
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    return pixels[..., 0] if channels == 1 else pixels


@functools.cache
def cv_bridge():
    """A CvBridge where one is installed and usable, else None (it adds Bayer and YUV encodings)."""
    try:
        from cv_bridge import CvBridge

        return CvBridge()
    except Exception:  # absent, or built against another numpy: several exception types
        return None


def rgb_from_image(msg: Image) -> np.ndarray:
    """[H, W, 3] uint8 RGB from a colour or grey image message."""
    bridge = cv_bridge()
    if bridge is not None:
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(msg, desired_encoding="rgb8"))
        except Exception as error:
            if msg.encoding not in COLOR_ENCODINGS:
                raise InputError(f"Image encoding '{msg.encoding}' cannot be shown as colour.") from error
    if msg.encoding not in COLOR_ENCODINGS:
        known = ", ".join(COLOR_ENCODINGS)
        raise InputError(f"Image encoding '{msg.encoding}' is not a colour encoding; use one of {known}.")
    pixels = array_from_image(msg)
    if msg.encoding == "mono8":
        return np.repeat(pixels[..., None], 3, axis=2)
    if msg.encoding in ("bgr8", "bgra8"):
        return np.ascontiguousarray(pixels[..., 2::-1])
    return np.ascontiguousarray(pixels[..., :3])


def rgb_from_compressed(msg) -> np.ndarray:
    """[H, W, 3] uint8 RGB from a sensor_msgs/CompressedImage (JPEG or PNG)."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(msg.data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"The compressed image (format '{msg.format}') cannot be decoded.")
    return np.ascontiguousarray(pixels[..., ::-1])


def depth_from_image(msg: Image) -> np.ndarray:
    """[H, W] float32 metres, 0 = no measurement, from 16UC1 (millimetres) or 32FC1 (metres)."""
    if msg.encoding not in DEPTH_ENCODINGS:
        raise InputError(f"Depth encoding '{msg.encoding}' is not supported; use 16UC1 (mm) or 32FC1 (m).")
    pixels = array_from_image(msg)
    depth = pixels.astype(np.float32)
    if pixels.dtype == np.uint16:
        depth *= 1e-3
    depth[~np.isfinite(depth) | (depth < 0)] = 0.0
    return depth


def labels_from_message(msg: Image) -> np.ndarray:
    """[H, W] int32 labels (UNLABELLED = −1 inside) from a label image message (0 = unlabelled)."""
    if msg.encoding not in LABEL_ENCODINGS:
        raise InputError(
            f"Label image encoding '{msg.encoding}' is not supported; use mono16, 16UC1 or 32SC1."
        )
    labels = labels_from_image(array_from_image(msg))
    return np.where(labels < 0, UNLABELLED, labels).astype(np.int32)


def image_message(pixels: np.ndarray, encoding: str, header) -> Image:
    """An image message from [H, W] or [H, W, C] pixels; their dtype must be the encoding's."""
    code, channels = ENCODINGS[encoding]
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


def lens_from_camera_info(msg: CameraInfo, rectified: bool = False) -> LensModel:
    """The calibrated lens; `rectified`: the images are already undistorted, so P holds and D does not."""
    k = np.asarray(msg.p, dtype=float).reshape(3, 4) if rectified else np.asarray(msg.k, float).reshape(3, 3)
    if msg.k[0] == 0.0:
        raise InputError("The camera_info is not calibrated (K is zero); calibrate the camera.")
    offset_x, offset_y = float(msg.roi.x_offset), float(msg.roi.y_offset)
    step_x, step_y = max(1, msg.binning_x), max(1, msg.binning_y)
    width = (msg.roi.width or msg.width) // step_x
    height = (msg.roi.height or msg.height) // step_y
    camera = PinholeCamera(
        width, height, k[0, 0] / step_x, k[1, 1] / step_y,
        (k[0, 2] + 0.5 - offset_x) / step_x, (k[1, 2] + 0.5 - offset_y) / step_y,
    )  # fmt: skip
    coefficients = tuple(float(v) for v in msg.d)
    if rectified or (not any(coefficients) and msg.distortion_model in ("", "none", "plumb_bob")):
        return LensModel(camera)
    return LensModel(camera, msg.distortion_model, coefficients)


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

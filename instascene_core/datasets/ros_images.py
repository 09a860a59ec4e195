"""Pixels and calibration of ROS messages, without ROS: numpy on what rclpy or `rosbags` deserialises.

Works on anything with the fields of sensor_msgs/Image, CompressedImage and CameraInfo; raises
InputError with one sentence when a message cannot be used.
"""

import numpy as np

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets import bag_topics, ros_colors, ros_depth
from instascene_core.datasets.fitting import NO_MEASUREMENT
from instascene_core.datasets.remarks import Remarks
from instascene_core.errors import DamagedImage, InputError
from instascene_core.lens_formulas import FORMULAS
from instascene_core.untrusted import decoded_image, require_pixels

# encoding → (numpy type of one channel, channels)
ENCODINGS = {
    "rgb8": ("u1", 3),
    "bgr8": ("u1", 3),
    "rgba8": ("u1", 4),
    "bgra8": ("u1", 4),
    "mono8": ("u1", 1),
    "8UC1": ("u1", 1),
    "8UC3": ("u1", 3),
    "mono16": ("u2", 1),
    "16UC1": ("u2", 1),
    "32FC1": ("f4", 1),
    "32SC1": ("i4", 1),
    **ros_colors.INTERLEAVED,
}
PLAIN_COLORS = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "8UC3")  # OpenCV's colours without a name are BGR
COLOR_ENCODINGS = (*PLAIN_COLORS, *ros_colors.ENCODINGS)
KEPT_ENCODINGS = ("mono8", "8UC1", "mono16", "16UC1")
ROS_MODELS = ("plumb_bob", "rational_polynomial", "equidistant")  # of camera_info
LABEL_ENCODINGS = ("mono16", "16UC1", "32SC1", "mono8", "8UC1")


def pixels(message) -> np.ndarray:
    """[H, W] or [H, W, C] in native byte order (a view of the message where possible)."""
    if message.encoding not in ENCODINGS:
        raise InputError(
            f"Image encoding '{message.encoding}' is not supported; use one of {', '.join(ENCODINGS)}."
        )
    code, channels = ENCODINGS[message.encoding]
    return _rows(message, message.height, np.dtype((">" if message.is_bigendian else "<") + code), channels)


def _rows(message, height: int, dtype: np.dtype, channels: int) -> np.ndarray:
    """[height, W] or [height, W, channels] from a message whose rows may be padded."""
    row = message.width * channels * dtype.itemsize
    data = np.asarray(message.data, dtype=np.uint8)
    require_pixels(message.width, height, "The image")
    if message.step < row:
        raise InputError(f"The image's step of {message.step} bytes is less than a row of {row} bytes.")
    missing = message.step * height - len(data)
    if missing > message.step - row:
        raise InputError(
            f"The image has {len(data)} bytes, {message.width}×{message.height} {message.encoding} needs "
            f"{message.step * height}."
        )
    # The last row may come without its padding; a row that ends the data needs none, whatever its step says.
    rows = np.lib.stride_tricks.as_strided(data, (height, row), (message.step, 1), writeable=False)
    values = np.ascontiguousarray(rows).view(dtype).astype(dtype.newbyteorder("="), copy=False)
    return values if channels == 1 else values.reshape(height, message.width, channels)


def rgb_from(message) -> np.ndarray:
    """[H, W, 3] uint8 from an Image or CompressedImage."""
    if hasattr(message, "format"):
        return _decompress(message)
    if message.encoding not in COLOR_ENCODINGS:
        known = ", ".join(COLOR_ENCODINGS)
        raise InputError(f"Image encoding '{message.encoding}' is not a colour encoding; use one of {known}.")
    if message.encoding in ros_colors.PLANAR:
        lines = ros_colors.lines_of(message.encoding, message.width, message.height)
        return ros_colors.to_rgb(_rows(message, lines, np.dtype("u1"), 1), message.encoding)
    values = pixels(message)
    if message.encoding in ros_colors.INTERLEAVED:
        return ros_colors.to_rgb(values, message.encoding)
    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=2)
    is_bgr = message.encoding.startswith("bgr") or message.encoding == "8UC3"
    rgb = values[..., 2::-1] if is_bgr else values[..., :3]
    return np.array(rgb, order="C")  # a copy: the message's memory may be read-only


def depth_from(message, unit: float = 0.0, remarks: Remarks | None = None) -> np.ndarray:
    """[H, W] float32 metres, 0 = no measurement, from an Image or CompressedImage.

    unit: metres a step, 0 for the usual: 16-bit millimetres, float metres.  `remarks` counts values that no
    sensor can have measured.
    """
    if hasattr(message, "format"):
        values = ros_depth.decompress(message)
    elif message.encoding in ros_depth.DEPTH_ENCODINGS:
        values = pixels(message)
    else:
        raise InputError(
            f"Depth encoding '{message.encoding}' is not supported; use 16UC1 (mm) or 32FC1 (m)."
        )
    depth, ignored = ros_depth.metres_of(values, unit)
    if remarks is not None:
        remarks.count(NO_MEASUREMENT, ignored)
    return depth


def kept_from(message) -> np.ndarray:
    """[H, W] bool: False where the image is black, which means: ignore this pixel."""
    if message.encoding not in KEPT_ENCODINGS:
        raise InputError(
            f"The encoding '{message.encoding}' of pixels to keep is not supported; use mono8 (0 = ignore)."
        )
    return pixels(message) > 0


def label_image_from(message) -> np.ndarray:
    """[H, W] int32, 0 = unlabelled (negative values too)."""
    if message.encoding not in LABEL_ENCODINGS:
        raise InputError(
            f"Label image encoding '{message.encoding}' is not supported; use mono16, 16UC1 or 32SC1."
        )
    return np.maximum(pixels(message).astype(np.int32), 0)


def lens_from_camera_info(message, rectified: bool = False) -> LensModel:
    """The calibrated lens; OpenCV's principal point is shifted to our pixel centres.

    rectified: the images are undistorted already, so that P holds instead of K, and D does not.
    """
    k = np.asarray(message.p if rectified else message.k, dtype=np.float64).reshape(3, -1)
    if not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
        raise InputError(
            f"The camera_info is not calibrated ({'P' if rectified else 'K'} is zero or not finite); "
            "calibrate the camera."
        )
    if not (message.roi.width or message.width) or not (message.roi.height or message.height):
        raise InputError(
            f"The camera_info says that images are {message.width}×{message.height}; publish their size."
        )
    step_x, step_y = max(1, message.binning_x), max(1, message.binning_y)
    camera = PinholeCamera(
        (message.roi.width or message.width) // step_x,
        (message.roi.height or message.height) // step_y,
        k[0, 0] / step_x,
        k[1, 1] / step_y,
        (k[0, 2] + 0.5 - message.roi.x_offset) / step_x,
        (k[1, 2] + 0.5 - message.roi.y_offset) / step_y,
    )
    if rectified:
        return LensModel(camera)
    model = message.distortion_model
    if model in FORMULAS:  # COLMAP's names: no driver writes them, nor can OpenCV move depth through them
        raise InputError(f"Unknown distortion model '{model}'; known are {', '.join(ROS_MODELS)}.")
    is_ideal = not is_distorted(message) and model in ("", "none", "plumb_bob", "rational_polynomial")
    return LensModel(camera) if is_ideal else LensModel(camera, model, tuple(float(v) for v in message.d))


def is_distorted(message) -> bool:
    """Whether a camera_info has distortion coefficients."""
    return any(float(v) != 0 for v in message.d)


def rectified_by_name(message, topic: str) -> bool:
    """Whether P of a camera_info holds for the images of `topic`: their name says that they are rectified.

    Drivers without distortion may leave P empty; K is the same then.
    """
    return bag_topics.is_rectified(topic) and (is_distorted(message) or bool(np.any(message.p)))


def _decompress(message) -> np.ndarray:
    import cv2

    data = np.asarray(message.data, dtype=np.uint8)
    what = f"A compressed image (format '{message.format}')"
    with decoded_image(data.tobytes(), what):
        pass  # its header is checked: OpenCV would decode whatever it says
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise DamagedImage(f"A compressed image (format '{message.format}') cannot be decoded.")
    return np.ascontiguousarray(image[..., ::-1])

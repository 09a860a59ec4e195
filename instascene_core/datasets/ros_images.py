"""Pixels and calibration of ROS messages, without ROS: numpy on what rclpy or `rosbags` deserialises.

Works on anything with the fields of sensor_msgs/Image, CompressedImage and CameraInfo; raises
InputError with one sentence when a message cannot be used.
"""

import numpy as np

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.errors import InputError
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
}
COLOR_ENCODINGS = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8")
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
LABEL_ENCODINGS = ("mono16", "16UC1", "32SC1", "mono8", "8UC1")
MILLIMETRE = 0.001  # metres a step of 16-bit depth (REP 118)


def pixels(message) -> np.ndarray:
    """[H, W] or [H, W, C] in native byte order (a view of the message where possible)."""
    if message.encoding not in ENCODINGS:
        raise InputError(
            f"Image encoding '{message.encoding}' is not supported; use one of {', '.join(ENCODINGS)}."
        )
    code, channels = ENCODINGS[message.encoding]
    dtype = np.dtype((">" if message.is_bigendian else "<") + code)
    row = message.width * channels * dtype.itemsize
    data = np.asarray(message.data, dtype=np.uint8)
    require_pixels(message.width, message.height, "The image")
    if message.step < row:
        raise InputError(f"The image's step of {message.step} bytes is less than a row of {row} bytes.")
    missing = message.step * message.height - len(data)
    if missing > message.step - row:
        raise InputError(
            f"The image has {len(data)} bytes, {message.width}×{message.height} {message.encoding} needs "
            f"{message.step * message.height}."
        )
    if missing > 0:  # the last row may come without its padding
        data = np.concatenate([data, np.zeros(missing, np.uint8)])
    rows = data[: message.step * message.height].reshape(message.height, message.step)[:, :row]
    values = np.ascontiguousarray(rows).view(dtype).astype(dtype.newbyteorder("="), copy=False)
    return values if channels == 1 else values.reshape(message.height, message.width, channels)


def rgb_from(message) -> np.ndarray:
    """[H, W, 3] uint8 from an Image or CompressedImage."""
    if hasattr(message, "format"):
        return _decompress(message)
    if message.encoding not in COLOR_ENCODINGS:
        known = ", ".join(COLOR_ENCODINGS)
        raise InputError(f"Image encoding '{message.encoding}' is not a colour encoding; use one of {known}.")
    values = pixels(message)
    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=2)
    rgb = values[..., 2::-1] if message.encoding.startswith("bgr") else values[..., :3]
    return np.array(rgb, order="C")  # a copy: the message's memory may be read-only


def depth_from(message) -> np.ndarray:
    """[H, W] float32 metres, 0 = no measurement, from 16-bit millimetres or float metres."""
    if message.encoding not in DEPTH_ENCODINGS:
        raise InputError(
            f"Depth encoding '{message.encoding}' is not supported; use 16UC1 (mm) or 32FC1 (m)."
        )
    values = pixels(message)
    depth = values * np.float32(MILLIMETRE if values.dtype == np.uint16 else 1.0)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)


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
    step_x, step_y = max(1, message.binning_x), max(1, message.binning_y)
    camera = PinholeCamera(
        (message.roi.width or message.width) // step_x,
        (message.roi.height or message.height) // step_y,
        k[0, 0] / step_x,
        k[1, 1] / step_y,
        (k[0, 2] + 0.5 - message.roi.x_offset) / step_x,
        (k[1, 2] + 0.5 - message.roi.y_offset) / step_y,
    )
    coefficients = tuple(float(v) for v in message.d)
    model = message.distortion_model
    is_ideal = not any(coefficients) and model in ("", "none", "plumb_bob", "rational_polynomial")
    return LensModel(camera) if rectified or is_ideal else LensModel(camera, model, coefficients)


def _decompress(message) -> np.ndarray:
    import cv2

    data = np.asarray(message.data, dtype=np.uint8)
    what = f"A compressed image (format '{message.format}')"
    with decoded_image(data.tobytes(), what):
        pass  # its header is checked: OpenCV would decode whatever it says
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise InputError(f"A compressed image (format '{message.format}') cannot be decoded.")
    return np.ascontiguousarray(image[..., ::-1])

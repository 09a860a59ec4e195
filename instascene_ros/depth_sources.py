"""Depth of a camera of its own: where that sits beside the colour camera, and what its lens is."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo

from instascene_core.datasets import bag_topics, ros_images
from instascene_core.datasets.registration import DepthCamera
from instascene_core.errors import InputError
from instascene_ros.conversions import matrix_from_numbers, matrix_from_transform
from instascene_ros.frame_assembly import DepthView, Unusable
from instascene_ros.parameters import InputParameters

SAME_PLACE = 1e-4  # metres and radians: frames that are one and the same by another name
USUAL_ALIGNED = "/camera/aligned_depth_to_color/image_raw"  # of realsense2_camera, say


class DepthPlacing:
    """Tells of a depth message how its pixels come into the colour image.  Thread-safe.

    topic: of the depth images, resolved; registered: whether they are in the colour camera's pixels whatever
    their frame_id says.
    """

    def __init__(
        self, node, parameters: InputParameters, topic: Callable[[], str], registered: Callable[[], bool]
    ) -> None:
        self._node, self._topic, self._registered = node, topic, registered
        self._lock = threading.Lock()
        self._camera: DepthCamera | Unusable | None = None  # of the newest camera_info
        self._info_key = ""
        given = parameters.depth_in_color
        # All zeros is no pose: tf is asked.
        self._mounted = matrix_from_numbers(given, "The parameter depth_in_color") if any(given) else None
        self._tf: _Transforms | None = None
        self._said: set[tuple[str, str]] = set()

    def add_info(self, message: CameraInfo) -> None:
        """The depth camera's camera_info."""
        numbers = (tuple(message.d), tuple(message.k), tuple(message.p))
        key = repr((message.width, message.height, message.distortion_model, numbers))
        with self._lock:
            if self._camera is None or key != self._info_key:
                self._info_key = key
                try:
                    rectified = ros_images.rectified_by_name(message, self._topic())
                    self._camera = DepthCamera(ros_images.lens_from_camera_info(message, rectified))
                except InputError as error:
                    self._camera = Unusable(f"the depth's camera_info cannot be used ({error})")

    def place(self, depth: Any, image: Any) -> DepthView | Unusable | None:
        """How the depth message is seen from the camera of the image message; None where its pixels are the
        image's own.  Unusable, with the reason, where that is not known, or not yet."""
        own, color = (_frame_of(message) for message in (depth, image))
        if not own or not color or own == color or self._registered():
            return None
        with self._lock:
            mounted = self._mounted if self._mounted is not None else self._from_tf(color, own)
            if isinstance(mounted, str):
                return self._refusal(own, color, mounted)
            if np.allclose(mounted, np.eye(4), atol=SAME_PLACE):
                return None
            if not isinstance(self._camera, DepthCamera):
                missing = self._camera.sentence if self._camera else "nothing arrives on depth/camera_info"
                return self._refusal(own, color, missing)
            if (own, color) not in self._said:
                self._said.add((own, color))
                self._node.get_logger().info(
                    f"the depth is of the camera frame '{own}'; it is moved to '{color}' by "
                    f"{'tf' if self._tf else 'depth_in_color'} and depth/camera_info"
                )
            return DepthView(self._camera, mounted)

    def _from_tf(self, color: str, depth: str) -> np.ndarray | str:
        """color_from_depth [4, 4], the newest, for the two are mounted rigidly; or why there is none."""
        try:
            self._tf = self._tf or _Transforms(self._node)
        except ImportError:
            return "tf2_ros is not installed, which would say where the one is on the other"
        try:
            found = self._tf.lookup(color, depth)
        except InputError as error:
            return f"tf cannot be used ({error})"
        return "tf does not connect them" if found is None else found

    def _refusal(self, depth: str, color: str, missing: str) -> Unusable:
        return Unusable(
            f"The depth is of the camera frame '{depth}', the image of '{color}', and {missing}: use the "
            f"topic of depth aligned to the colour image ({self._aligned()}), publish tf and "
            "depth/camera_info, or set depth_in_color, depth_registered where it is aligned, or use_depth to "
            "false."
        )

    def _aligned(self) -> str:
        """The topic of aligned depth that is there, else its usual name."""
        own = self._topic()
        topics = sorted(name for name, _ in self._node.get_topic_names_and_types())
        words = (*bag_topics.DEPTH_WORDS, "image")
        there = [t for t in topics if bag_topics.is_registered(t) and all(w in t for w in words) and t != own]
        return there[0] if there else USUAL_ALIGNED


class _Transforms:
    """tf, listened to from now on.  ImportError where tf2_ros is not installed."""

    def __init__(self, node) -> None:
        from tf2_ros import Buffer, TransformListener

        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)

    def lookup(self, target: str, source: str) -> np.ndarray | None:
        """target_from_source [4, 4]; None while tf does not know."""
        from rclpy.time import Time
        from tf2_ros import TransformException

        try:
            found = self._buffer.lookup_transform(target, source, Time())
        except TransformException:
            return None
        return matrix_from_transform(found.transform)


def _frame_of(message: Any) -> str:
    header = getattr(message, "header", None)
    return "" if header is None else header.frame_id.lstrip("/")

"""From topics to frames: subscriptions, matching, decoding.

Callbacks only store messages and match stamps; decoding and undistortion are left to
`build_frame`, which the worker calls.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from instascene_core.camera import LensModel
from instascene_core.datasets import ros_images
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_ros import conversions, frame_assembly
from instascene_ros.frame_assembly import AssembledFrame, FrameAssembler, FrameCounters, KeyframeRule
from instascene_ros.parameters import InputParameters
from instascene_ros.pose_sources import OdometryPoses, StampedPoses, TfPoses

POLL_S = 0.1


class AutoSubscription:
    """A subscription made when its first publisher appears, with the reliability that it offers.

    Reliable where every publisher is, best effort otherwise, which all are compatible with; made
    anew when that changes.  `qos` other than "auto" fixes it.
    """

    def __init__(
        self, node, message_type, topic: str, callback, group, depth: int, qos: str, on_error
    ) -> None:
        self._node, self._type, self._topic = node, message_type, topic
        self._callback, self._group, self._depth = callback, group, depth
        self._fixed = None if qos == "auto" else qos
        self._on_error = on_error
        self._subscription = None
        self._chosen = ""
        if self._fixed:
            self._subscribe(self._fixed)

    @property
    def topic(self) -> str:
        """Fully resolved, remappings applied."""
        return self._node.resolve_topic_name(self._topic)

    @property
    def has_publishers(self) -> bool:
        return self._node.count_publishers(self.topic) > 0

    def update(self) -> None:
        """Look at what publishers offer; called now and then."""
        if self._fixed:
            return
        offers = self._node.get_publishers_info_by_topic(self.topic)
        if not offers:
            return
        reliable = all(o.qos_profile.reliability == ReliabilityPolicy.RELIABLE for o in offers)
        wanted = "reliable" if reliable else "best_effort"
        if wanted != self._chosen:
            self._subscribe(wanted)

    def _subscribe(self, reliability: str) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        profile = QoSProfile(
            depth=self._depth,
            reliability=getattr(ReliabilityPolicy, reliability.upper()),
            durability=DurabilityPolicy.VOLATILE,
        )
        events = SubscriptionEventCallbacks(incompatible_qos=self._incompatible, use_default_callbacks=False)
        self._subscription = self._node.create_subscription(
            self._type, self._topic, self._callback, profile,
            callback_group=self._group, event_callbacks=events,
        )  # fmt: skip
        self._chosen = reliability
        self._node.get_logger().debug(f"{self.topic}: subscribed {reliability}")

    def _incompatible(self, event) -> None:
        self._on_error(
            "incompatible QoS",
            f"A publisher on {self.topic} offers another QoS than image_qos '{self._chosen}' asks for, "
            "so nothing arrives from it; set image_qos to auto or best_effort.",
        )


class FrameSource:
    """Subscribes to the sensor topics of a node and hands over matched frames.  Thread-safe.

    on_frame: called with each AssembledFrame, from a callback; must be quick.
    on_error: kind, sentence.
    """

    def __init__(
        self,
        node,
        parameters: InputParameters,
        map_frame: str,
        on_frame: Callable[[AssembledFrame], None],
        on_error: Callable[[str, str], None],
    ) -> None:
        self._node, self._parameters = node, parameters
        self._on_frame, self._on_error = on_frame, on_error
        self._group = MutuallyExclusiveCallbackGroup()
        self._lock = threading.RLock()
        self._info_key = ""
        self._lens: LensModel | str = "No camera_info has arrived yet."
        self._poses = self._make_pose_source(map_frame)
        self._assembler = FrameAssembler(
            self._poses.find,
            KeyframeRule(parameters.keyframe_translation_m, parameters.keyframe_rotation_deg),
            parameters.sync_tolerance_s,
            parameters.sync_wait_s,
            on_error,
        )
        self._subscriptions = self._subscribe()
        # Wall time: images must be given up also while a simulation's clock stands still.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(POLL_S, self._tick, callback_group=self._group, clock=clock)

    def clear(self) -> None:
        """Forget pending messages and start the counters anew (the lens stays)."""
        with self._lock:
            self._assembler.clear()
            self._poses.clear()

    def drop(self, reason: str, sentence: str = "") -> None:
        """Count a frame that was handed over but not used after all."""
        with self._lock:
            self._assembler.drop(reason, sentence)

    def count_used(self) -> None:
        with self._lock:
            self._assembler.counters.used += 1

    @property
    def counters(self) -> FrameCounters:
        """A copy of the counters."""
        with self._lock:
            now = self._assembler.counters
            return FrameCounters(now.received, now.used, now.dropped.copy(), self._assembler.num_pending)

    def _make_pose_source(self, map_frame: str):
        source, tolerance = self._parameters.pose_source, self._parameters.sync_tolerance_s
        if source == "tf":
            return TfPoses(self._node, map_frame)
        if source == "odometry":
            return OdometryPoses(map_frame, tolerance, self._parameters.camera_in_base)
        return StampedPoses(map_frame, tolerance)

    def _subscribe(self) -> list[AutoSubscription]:
        compressed = self._parameters.image_transport == "compressed"
        image = ("rgb/image/compressed", CompressedImage) if compressed else ("rgb/image", Image)
        # (topic, type, callback, queue length)
        wanted = [("rgb/camera_info", CameraInfo, self._guard(self._camera_info), 30)]
        if self._parameters.pose_source == "topic":
            wanted.append(("pose", PoseStamped, self._guard(self._poses.add_pose), 200))
        elif self._parameters.pose_source == "odometry":
            wanted.append(("odometry", Odometry, self._guard(self._poses.add_odometry), 200))
        self._depth = self._masks = None
        if self._parameters.use_depth:
            wanted.append(("depth/image", Image, self._guard(self._depth_image), 30))
        if self._parameters.use_masks:
            wanted.append(("masks/image", Image, self._guard(self._masks_image), 30))
        wanted.append((*image, self._guard(self._image), 30))
        made = {
            topic: AutoSubscription(
                self._node, kind, topic, callback, self._group, depth,
                self._parameters.image_qos, self._on_error,
            )
            for topic, kind, callback, depth in wanted
        }  # fmt: skip
        self._depth, self._masks = made.get("depth/image"), made.get("masks/image")
        return list(made.values())

    def _tick(self) -> None:
        try:
            for subscription in self._subscriptions:
                subscription.update()
            with self._lock:
                self._deliver()
        except Exception as error:  # a timer must survive whatever a message holds
            self._on_error("internal", f"Internal error in the frame source ({error}).")

    def _deliver(self) -> None:
        for frame in self._assembler.poll(time.monotonic()):
            self._on_frame(frame)

    def _guard(self, callback):
        def guarded(msg) -> None:
            with self._lock:
                callback(msg)
                self._deliver()

        return guarded

    def _camera_info(self, msg: CameraInfo) -> None:
        key = repr(
            (msg.width, msg.height, msg.distortion_model, tuple(msg.d), tuple(msg.k), tuple(msg.p), msg.roi,
             msg.binning_x, msg.binning_y)
        )  # fmt: skip
        if key != self._info_key:
            self._info_key, self._lens = key, self._read_lens(msg)
        self._assembler.add_lens(conversions.stamp_seconds(msg.header.stamp), self._lens)

    def _read_lens(self, msg: CameraInfo) -> LensModel | str:
        try:
            return ros_images.lens_from_camera_info(msg, self._parameters.image_is_rectified)
        except InputError as error:
            sentence = f"The camera_info cannot be used: {error}"
            self._on_error(frame_assembly.BAD_CAMERA_INFO, sentence)
            return sentence

    def _image(self, msg) -> None:
        wants_depth = self._depth is not None and self._depth.has_publishers
        wants_masks = self._masks is not None and self._masks.has_publishers
        stamp = conversions.stamp_seconds(msg.header.stamp)
        self._assembler.add_image(stamp, msg, time.monotonic(), wants_depth, wants_masks)

    def _depth_image(self, msg: Image) -> None:
        self._assembler.add_depth(conversions.stamp_seconds(msg.header.stamp), msg)

    def _masks_image(self, msg: Image) -> None:
        self._assembler.add_masks(conversions.stamp_seconds(msg.header.stamp), msg)


# ── decoding, in the worker ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class DecodedFrame:
    """A frame, and what of its companions could not be used."""

    frame: Frame
    complaints: tuple[tuple[str, str], ...] = ()  # (kind, sentence)


def build_frame(assembled: AssembledFrame, name: str) -> DecodedFrame:
    """Decode and undistort.  An unusable image raises InputError; unusable depth or masks are left
    out and complained about."""
    image = assembled.image
    lens = assembled.lens
    rgb = conversions.rgb_from_message(image)
    shape = (lens.camera.height, lens.camera.width)
    if rgb.shape[:2] != shape:
        raise InputError(
            f"The image is {rgb.shape[1]}×{rgb.shape[0]} but camera_info says {shape[1]}×{shape[0]}."
        )
    complaints: list[tuple[str, str]] = []
    depth = labels = None
    if assembled.depth is not None:
        try:
            depth = _depth(assembled.depth, lens, shape)
        except InputError as error:
            complaints.append((frame_assembly.BAD_DEPTH, str(error)))
    if assembled.masks is not None:
        try:
            labels = _labels(assembled.masks, lens, shape)
        except InputError as error:
            complaints.append((frame_assembly.BAD_MASKS, str(error)))
    frame = Frame(
        name=name,
        stamp=assembled.stamp,
        camera=lens.camera,
        world_from_camera=assembled.world_from_camera,
        rgb=lens.undistort(rgb),
        depth=depth,
        labels=labels,
    )
    return DecodedFrame(frame, tuple(complaints))


def _depth(msg: Image, lens: LensModel, shape: tuple[int, int]) -> np.ndarray:
    depth = ros_images.depth_from(msg)
    if depth.shape != shape:
        raise InputError(
            f"The depth image is {depth.shape[1]}×{depth.shape[0]}, the colour image {shape[1]}×{shape[0]}; "
            "register the depth to the colour image."
        )
    if not depth.any():
        raise InputError("A depth image holds no measurement (all zeros); its frame is used without depth.")
    return lens.undistort(depth, interpolate=False)


def _labels(msg: Image, lens: LensModel, shape: tuple[int, int]) -> np.ndarray:
    labels = conversions.labels_from_message(msg)
    if labels.shape != shape:
        raise InputError(
            f"The label image is {labels.shape[1]}×{labels.shape[0]}, "
            f"the colour image {shape[1]}×{shape[0]}; publish labels of the colour image."
        )
    if (labels == UNLABELLED).all():
        raise InputError("A label image is empty (all 0 = unlabelled); its frame is used without masks.")
    if not lens.is_distorted:
        return labels
    return np.where(lens.valid_pixels(), lens.undistort(labels, interpolate=False), UNLABELLED).astype(
        np.int32
    )

"""From topics to frames: subscriptions and matching.

Callbacks only store messages and match stamps; decoding and undistortion are left to the worker
(`frame_building`).
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from instascene_core.camera import LensModel
from instascene_core.datasets import bag_topics, ros_images
from instascene_core.datasets.fitting import FittedLenses
from instascene_core.datasets.images import read_kept
from instascene_core.datasets.remarks import Remarks
from instascene_core.errors import InputError
from instascene_ros import conversions, frame_assembly
from instascene_ros.auto_subscription import AutoSubscription, EitherSubscription
from instascene_ros.clocks import steady_clock
from instascene_ros.depth_sources import DepthPlacing
from instascene_ros.frame_assembly import (
    AssembledFrame,
    FrameAssembler,
    FrameCounters,
    KeyframeRule,
    Unusable,
)
from instascene_ros.frame_building import Decoding
from instascene_ros.parameters import InputParameters
from instascene_ros.pose_sources import POSE_SOURCES

POLL_S = 0.1  # between two looks at what waits and at what publishers offer
MANY_LOST, MUCH_LOST = 10, 0.05  # images lost on the way, their share of those that came: worth a sentence


class FrameSource:
    """Subscribes to the sensor topics of a node and hands over matched frames, from `start` on.  Thread-safe.

    on_error: called with a kind and a sentence.
    """

    def __init__(
        self,
        node,
        parameters: InputParameters,
        map_frame: str,
        on_error: Callable[[str, str], None],
        camera: str = "",
    ) -> None:
        """camera: namespace below the node's own that holds the topics; on_error: see the class."""
        self._node, self._parameters, self._on_error = node, parameters, on_error
        self._camera = camera
        self._on_frame: Callable[[AssembledFrame], None] = lambda frame: None
        self._group = MutuallyExclusiveCallbackGroup()
        self._lock = threading.RLock()
        ignore = parameters.ignore
        self._kept = read_kept(Path(ignore).expanduser()) if ignore else None
        self._info_key, self._losses_told = "", 0
        self._fitted_lenses = FittedLenses(Remarks(node.resolve_topic_name(self._named("rgb/image"))))
        self._lens: LensModel | Unusable | None = None  # of the newest camera_info
        self._poses = POSE_SOURCES[parameters.pose_source](node, parameters, map_frame, self._named)
        self._placing = DepthPlacing(node, parameters, self._depth_topic, self._depth_is_registered)
        self._assembler = FrameAssembler(
            self._find_pose,
            KeyframeRule(parameters.keyframe_translation_m, parameters.keyframe_rotation_deg),
            parameters.sync_tolerance_s,
            parameters.sync_wait_s,
            on_error,
            place_depth=self._placing.place,
            why_no_pose=self._poses.why_not,
            on_restart=self._poses.restart,
        )
        self._depth: EitherSubscription | None = None
        self._masks: AutoSubscription | None = None
        self._valid: AutoSubscription | None = None
        self._ignored: AutoSubscription | None = None
        self._rgb: EitherSubscription | None = None
        self._subscriptions: list[AutoSubscription | EitherSubscription] = []
        self._timer = None  # while it is started

    def start(self, on_frame: Callable[[AssembledFrame], None]) -> None:
        """Subscribe.  `on_frame` is called with each frame, from a callback of the node; it must be quick."""
        self._on_frame = on_frame
        self._subscriptions = self._subscribe()
        # Wall time: images must be given up also while a simulation's clock stands still.
        clock = steady_clock()
        self._timer = self._node.create_timer(POLL_S, self._tick, callback_group=self._group, clock=clock)

    def stop(self) -> None:
        """Hear nothing more, and forget what waits; `start` begins again."""
        if self._timer is None:
            return
        self._node.destroy_timer(self._timer)
        self._timer = None
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions, self._rgb, self._depth = [], None, None
        with self._lock:
            self._assembler.forget_pending()

    def _named(self, topic: str) -> str:
        """A topic of this camera, as the node knows it."""
        return f"{self._camera}/{topic}" if self._camera else topic

    def decoding_of(self, frame: AssembledFrame) -> Decoding:
        """How the messages of a frame of this camera are to be understood."""
        return self.decoding

    @property
    def decoding(self) -> Decoding:
        """How what arrives is to be understood."""
        return Decoding(
            self._parameters.depth_unit, self._depth_is_registered(), self._kept, self._fitted_lenses
        )

    def _depth_topic(self) -> str:
        return "" if self._depth is None else self._depth.topic

    def _depth_is_registered(self) -> bool:
        return self._parameters.depth_registered or bag_topics.is_registered(self._depth_topic())

    def clear(self) -> None:
        """Forget pending messages and start the counters anew (the lens stays)."""
        with self._lock:
            self._assembler.clear()
            self._poses.clear()
            self._losses_told = 0

    def set_keyframes(self, translation_m: float, rotation_deg: float) -> None:
        """From the next frame on: how far the camera must have moved or turned since the last one taken."""
        with self._lock:
            self._assembler.keyframes = KeyframeRule(translation_m, rotation_deg)

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
            return replace(now, dropped=now.dropped.copy(), pending=self._assembler.num_pending)

    def _find_pose(self, stamp: float, image) -> np.ndarray | None:
        """world_from_camera [4, 4] of an image as the corrections make it; None while it is not known."""
        corrections = self._parameters.corrections
        found = self._poses.find(stamp + corrections.pose_time_offset, image)
        return None if found is None else corrections.poses(found)

    def _subscribe(self) -> list[AutoSubscription | EitherSubscription]:
        # (topic, type, callback, queue length)
        wanted: list[tuple[str, type, Callable[[Any], None], int]] = [
            ("rgb/camera_info", CameraInfo, self._camera_info, 30)
        ]
        wanted += [(topic, kind, callback, 200) for topic, kind, callback in self._poses.inputs]
        wanted.append(("valid/image", Image, self._valid_image, 30))
        wanted.append(("ignore/image", Image, self._ignore_image, 30))
        if self._parameters.use_masks:
            wanted.append(("masks/image", Image, self._masks_image, 30))
        if self._parameters.use_depth:
            wanted.append(("depth/camera_info", CameraInfo, self._placing.add_info, 30))
            self._depth = self._either("depth/image", "compressedDepth", "depth_transport", self._depth_image)
        made = {topic: self._auto(topic, kind, callback, size) for topic, kind, callback, size in wanted}
        self._masks = made.get("masks/image")
        self._valid, self._ignored = made["valid/image"], made["ignore/image"]
        self._rgb = self._either("rgb/image", "compressed", "image_transport", self._image)
        return [*made.values(), *([self._depth] if self._depth is not None else []), self._rgb]

    def _auto(self, topic: str, kind: type, callback, depth: int, waits: bool = False) -> AutoSubscription:
        return AutoSubscription(
            self._node, kind, self._named(topic), self._locked(callback), self._group, depth,
            self._parameters.image_qos, self._on_error, waits,
        )  # fmt: skip

    def _either(self, topic: str, packed: str, parameter: str, callback) -> EitherSubscription:
        """Raw images of a topic, or what image_transport puts below it, as the parameter prefers."""
        kinds = {topic: Image, f"{topic}/{packed}": CompressedImage}
        names = sorted(
            kinds, reverse=getattr(self._parameters, parameter) == packed
        )  # the raw one is shorter
        first, second = (
            self._auto(name, kinds[name], callback, 30, waits=index > 0) for index, name in enumerate(names)
        )
        return EitherSubscription(self._node, first, second, parameter)

    def _tick(self) -> None:
        try:
            for subscription in self._subscriptions:
                subscription.update()
            with self._lock:
                self._deliver()
                self._report_losses()
        except Exception as error:  # a timer must survive whatever a message holds
            self._on_error("internal", f"Internal error in the frame source ({error}).")

    def _deliver(self) -> None:
        for frame in self._assembler.poll(time.monotonic()):
            self._on_frame(replace(frame, camera=self._camera))

    def _report_losses(self) -> None:
        """Say it when many images got lost, and again whenever they have doubled."""
        now = self._assembler.counters
        many = max(MANY_LOST, MUCH_LOST * now.received, 2 * self._losses_told)
        if now.lost > many and self._rgb is not None:
            self._losses_told = now.lost
            self._on_error(
                "images lost",
                f"{now.lost} images got lost on their way ({now.received} of {self._rgb.topic} arrived): "
                "give the middleware room for whole images (config/fastdds.xml; the launch file does), "
                "publish them reliably, compressed or less often.",
            )

    def _locked(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """`callback`, one at a time; then the frames that are complete by now are handed over."""

        def locked(msg) -> None:
            try:
                with self._lock:
                    callback(msg)
                    self._deliver()
            except Exception as error:  # it would end the whole node
                self._on_error("internal", f"Internal error in the frame source ({error}).")

        return locked

    def _camera_info(self, msg: CameraInfo) -> None:
        key = repr(
            (msg.width, msg.height, msg.distortion_model, tuple(msg.d), tuple(msg.k), tuple(msg.p), msg.roi,
             msg.binning_x, msg.binning_y)
        )  # fmt: skip
        if self._lens is None or key != self._info_key:
            self._info_key, self._lens = key, self._read_lens(msg)
        self._assembler.add_lens(conversions.stamp_seconds(msg.header.stamp), self._lens)

    def _read_lens(self, msg: CameraInfo) -> LensModel | Unusable:
        rectified = self._parameters.image_is_rectified
        if not rectified and self._rgb is not None:
            rectified = ros_images.rectified_by_name(msg, self._rgb.topic)
            if rectified and ros_images.is_distorted(msg):
                self._node.get_logger().info(
                    f"{self._rgb.topic} is rectified by its name: P of its camera_info is used, and no lens "
                    "distortion is removed"
                )
        try:
            return ros_images.lens_from_camera_info(msg, rectified)
        except InputError as error:
            sentence = f"The camera_info cannot be used: {error}"
            self._on_error(frame_assembly.BAD_CAMERA_INFO, sentence)
            return Unusable(sentence)

    def _image(self, msg) -> None:
        wants_depth = self._depth is not None and self._depth.has_publishers
        wants_masks = self._masks is not None and self._masks.has_publishers
        stamp = conversions.stamp_seconds(msg.header.stamp)
        wants_valid = self._valid is not None and self._valid.has_publishers
        wants_ignored = self._ignored is not None and self._ignored.has_publishers
        self._assembler.add_image(
            stamp, msg, time.monotonic(), wants_depth, wants_masks, wants_valid, wants_ignored
        )

    def _valid_image(self, msg: Image) -> None:
        self._assembler.add_valid(conversions.stamp_seconds(msg.header.stamp), msg)

    def _ignore_image(self, msg: Image) -> None:
        self._assembler.add_ignored(conversions.stamp_seconds(msg.header.stamp), msg)

    def _depth_image(self, msg: Image | CompressedImage) -> None:
        self._assembler.add_depth(conversions.stamp_seconds(msg.header.stamp), msg)

    def _masks_image(self, msg: Image) -> None:
        self._assembler.add_masks(conversions.stamp_seconds(msg.header.stamp), msg)

"""mask_node: posed images in, label images out: a 2D segmenter as a node of its own.

`segmentation.segmenter` names it: the built-in ones, which need depth, or public weights, which do not.
It segments each view by itself, on this or another machine, and stands for anything that publishes label
images.  (Without label images scene_node cuts the surface fused from all its views, which is better than
the built-in masks of single ones.)
"""

import logging
import sys
import threading
from dataclasses import replace

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from instascene_core.camera import LensModel
from instascene_core.errors import InputError
from instascene_core.segmentation import segmenter_named
from instascene_ros import frame_assembly
from instascene_ros.conversions import labels_message
from instascene_ros.frame_assembly import AssembledFrame
from instascene_ros.frame_source import FrameSource, build_frame
from instascene_ros.log_forwarding import forward_logging, stop_forwarding
from instascene_ros.parameters import declare_parameters
from instascene_ros.running import run_node
from instascene_ros.worker import ErrorLog, Worker, describe

logger = logging.getLogger("instascene_ros.mask_node")  # also as __main__
QOS = QoSProfile(depth=30, reliability=ReliabilityPolicy.RELIABLE)
STOP_S = 3.0  # the worker has this long to finish its image at the end
REPORT_S = 10.0  # between two lines of progress
NO_DEPTH = "no usable depth"  # why an image got no label image


class MaskNode(Node):
    """The subscriptions and parameters of scene_node (but for masks), and the publisher `masks/image`.

    Keyframes are chosen by the same parameters, so that scene_node finds masks for the frames it takes.
    """

    def __init__(self, **node_options) -> None:
        super().__init__("mask_node", automatically_declare_parameters_from_overrides=True, **node_options)
        self._log_handler = forward_logging(self.get_logger())
        self.parameters, config = declare_parameters(self)
        self.errors = ErrorLog()
        name = "builtin" if config.segmentation.segmenter == "auto" else config.segmentation.segmenter
        if name == "labels":
            raise InputError("segmentation.segmenter is labels, but mask_node is what makes them.")
        up = np.array(config.up) if config.up else None
        self.segmenter = segmenter_named(name, config.segmentation, up=up)
        self._needs_depth = self.segmenter.needs_depth
        self.worker = Worker(self.errors)
        self._publisher = self.create_publisher(Image, "masks/image", QOS)
        self._queued, self._published, self._reported = 0, 0, (0, 0)
        self._lock = threading.Lock()
        source = replace(self.parameters.input, use_masks=False, use_depth=self._needs_depth)
        self.source = FrameSource(self, source, self.parameters.map_frame, self._on_frame, self.report_error)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(REPORT_S, self._report, clock=steady)
        self.worker.start()
        logger.info("ready: label images of %s by %s go out on %s", self.resolve_topic_name("rgb/image"),
                    name, self._publisher.topic_name)  # fmt: skip

    def _on_frame(self, assembled: AssembledFrame) -> None:
        with self._lock:
            if self._queued >= self.parameters.input.max_queued_frames:
                self.source.drop(frame_assembly.QUEUE_FULL)
                return
            self._queued += 1
        job = self.worker.submit("segment", lambda progress: self._segment(assembled))
        job.future.add_done_callback(self._on_done)

    def _on_done(self, future) -> None:
        with self._lock:
            self._queued -= 1

    def _segment(self, assembled: AssembledFrame) -> None:
        """In the worker: decode, cut, publish with the image's own header.

        Labels belong to the pixels of the image as it came; its distortion bends the surface a
        little, which the cutting bears.
        """
        stamp = assembled.image.header.stamp
        name = f"{stamp.sec}_{stamp.nanosec:09d}"
        try:
            decoded = build_frame(replace(assembled, lens=LensModel(assembled.lens.camera)), name)
        except InputError as error:
            self.source.drop(frame_assembly.BAD_IMAGE, describe(error))
            return
        for kind, sentence in decoded.complaints:
            self.report_error(kind, sentence)
        if self._needs_depth and decoded.frame.depth is None:
            self.source.drop(
                NO_DEPTH, f"An image came without depth, which the segmenter {self.segmenter.name} needs."
            )
            return
        result = self.segmenter.segment(decoded.frame)
        self._publisher.publish(labels_message(result.labels, assembled.image.header))
        self.source.count_used()
        self._published += 1

    def report_error(self, kind: str, sentence: str) -> None:
        """Count an error; log it the first time it comes in these words."""
        if self.errors.add(kind, sentence):
            logger.warning("%s: %s", kind, sentence)

    def _report(self) -> None:
        counters = self.source.counters
        outcome = (self._published, counters.dropped.total())
        if outcome != self._reported:
            self._reported = outcome
            dropped = ", ".join(f"{n} {reason}" for reason, n in counters.dropped.items())
            logger.info("%d label images published; dropped: %s", self._published, dropped or "none")

    def close(self) -> bool:
        """End the worker and the node; False when the worker did not end in time."""
        ended = self.worker.stop(STOP_S)
        self._report()
        stop_forwarding(self._log_handler)
        self.destroy_node()
        return ended


def main(args: list[str] | None = None) -> int:
    return run_node("mask_node", MaskNode, num_threads=3, args=args)


if __name__ == "__main__":
    sys.exit(main())

"""mask_node: posed images in, label images out: a 2D segmenter as a node of its own.

`segmentation.segmenter` names it: the built-in ones, which need depth and poses, or public weights, which
need neither (`pose_source: none`).
It segments each view by itself, on this or another machine, and stands for anything that publishes label
images.  (Without label images scene_node cuts the surface fused from all its views, which is better than
the built-in masks of single ones.)
"""

import logging
import sys
from dataclasses import replace

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.segmentation import CONVENTION, segmenter_named
from instascene_ros.clocks import steady_clock
from instascene_ros.conversions import labels_message
from instascene_ros.error_log import ErrorLog
from instascene_ros.frame_assembly import FrameDropped
from instascene_ros.frame_jobs import FrameJobs
from instascene_ros.frame_source import FrameSource
from instascene_ros.log_forwarding import forward_logging, stop_forwarding
from instascene_ros.parameters import InputParameters, declare_parameters
from instascene_ros.running import run_nodes
from instascene_ros.worker import Worker

logger = logging.getLogger("instascene_ros.mask_node")  # also as __main__
QOS = QoSProfile(depth=30, reliability=ReliabilityPolicy.RELIABLE)
NUM_THREADS = 3
STOP_S = 3.0  # the worker has this long to finish its image at the end
REPORT_S = 10.0  # between two lines of progress
NO_DEPTH = "no usable depth"  # why an image got no label image
IMAGES_ALONE = "of images alone serve segmentation.segmenter mask2former, sam2, cropformer (public weights)"


class MaskNode(Node):
    """The subscriptions and parameters of scene_node (but for masks), and the publisher `masks/image`.

    Keyframes are chosen by the same parameters, so that scene_node finds masks for the frames it takes;
    without poses the newest image is the next one.
    """

    forwards_log = True  # what the core and the nodes log, to the node's own

    def __init__(self, **node_options) -> None:
        super().__init__("mask_node", automatically_declare_parameters_from_overrides=True, **node_options)
        self._log_handler = forward_logging(self.get_logger()) if self.forwards_log else None
        self.parameters, config = declare_parameters(self)
        self.errors = ErrorLog()
        name = "builtin" if config.segmentation.segmenter == "auto" else config.segmentation.segmenter
        if name == "labels":
            raise InputError("segmentation.segmenter is labels, but mask_node is what makes them.")
        # One view at a time tells nothing of how the cameras were held: the convention holds (REP 103).
        given = CONVENTION if config.up == "auto" else config.up
        up = np.array(given) if len(given) else None
        self.segmenter = segmenter_named(name, config.segmentation, up=up)
        self._needs_depth = self.segmenter.needs_depth
        inputs = self._inputs(self.parameters.input)
        self.worker = Worker(self.errors)
        self._publisher = self.create_publisher(Image, "masks/image", QOS)
        self._published, self._reported = 0, (0, 0)
        self.source = FrameSource(self, inputs, self.parameters.map_frame, self.errors.report)
        # Labels belong to the pixels of the image as it came; its distortion bends the surface a little,
        # which the cutting bears.
        self.frame_jobs = FrameJobs(
            self.worker, self.source, self.errors, "segment", inputs.max_queued_frames, self._segment,
            undistort=False,
        )  # fmt: skip
        self.source.start(self.frame_jobs.add)
        steady = steady_clock()
        self._timer = self.create_timer(REPORT_S, self._report, clock=steady)
        self.worker.start()
        logger.info("ready: label images of %s by %s go out on %s", self.resolve_topic_name("rgb/image"),
                    name, self._publisher.topic_name)  # fmt: skip

    def _inputs(self, given: InputParameters) -> InputParameters:
        """What to subscribe to.  InputError where the segmenter needs what shall not be taken."""
        without = [] if given.use_depth else ["use_depth is false"]
        if given.pose_source == "none":
            without.append("pose_source is none")
            given = replace(given, keyframe_translation_m=0.0, keyframe_rotation_deg=0.0, max_queued_frames=1)
        if self._needs_depth and without:
            raise InputError(
                f"The segmenter '{self.segmenter.name}' cuts the surface that depth and pose give, but "
                f"{' and '.join(without)}; {IMAGES_ALONE}."
            )
        return replace(given, use_masks=False, use_depth=self._needs_depth)

    def _segment(self, frame: Frame, header: Header) -> None:
        """In the worker: cut the image, publish with its own header."""
        if self._needs_depth and frame.depth is None:
            raise FrameDropped(
                NO_DEPTH,
                f"An image came without depth, which the segmenter '{self.segmenter.name}' needs; publish it "
                f"on {self.resolve_topic_name('depth/image')}, or {IMAGES_ALONE}.",
            )
        result = self.segmenter.segment(frame)
        self._publisher.publish(labels_message(result.labels, header))
        self._published += 1

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
        if self._log_handler is not None:
            stop_forwarding(self._log_handler)
        self.destroy_node()
        return ended


def main(args: list[str] | None = None) -> int:
    return run_nodes({"mask_node": MaskNode}, num_threads=NUM_THREADS, args=args)


if __name__ == "__main__":
    sys.exit(main())

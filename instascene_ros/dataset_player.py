"""dataset_player: a dataset folder, COLMAP model or rosbag2 as the topics scene_node takes.

Frames are sent reliably at a rate; the player ends, with exit code 0, when all have arrived.
"""

import logging
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import rclpy
import rclpy.utilities
from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from instascene_core.config.ranges import Range
from instascene_core.datasets import BagTopics, open_dataset
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_ros import conversions
from instascene_ros.log_forwarding import forward_logging
from instascene_ros.parameters import Patience, plain_parameters

logger = logging.getLogger("instascene_ros.dataset_player")  # also as __main__
QOS = QoSProfile(depth=30, reliability=ReliabilityPolicy.RELIABLE)
# The last frames have this long to arrive.  (Not waited for after every frame: Fast DDS asks its
# readers for acknowledgements only every 3 s.)
ARRIVAL_S = 10.0
# Nobody new may have come for this long before the first frame goes out: a node that was killed counts as a
# reader for up to 20 s, and one that has just started subscribes to one topic after the other.
SETTLED_S = 1.0
SLOWEST = 1e-3  # frames per second
REPORT_S = 2.0  # between two lines of progress


@dataclass(frozen=True)
class PlayerParameters:
    """Parameters of dataset_player."""

    dataset: str = ""  # folder, COLMAP model or rosbag2
    rate: Annotated[float, Range(0, 1000)] = 10.0  # frames per second
    map_frame: str = "map"
    camera_frame: str = "camera_optical_frame"
    stamps: Literal["dataset", "now"] = "dataset"
    use_depth: bool = True
    depth_encoding: Literal["32FC1", "16UC1"] = "32FC1"
    use_masks: bool = True
    masks: str = ""  # folder of label images beside the frames; empty = the dataset's own, if any
    scale: float = 1.0  # resize the images by this factor
    max_frames: int = 0  # at most so many, evenly spaced; 0 = all
    wait_s: Patience = 60.0  # for somebody to subscribe; 0 = do not wait
    topics: BagTopics = field(default_factory=BagTopics)  # of a rosbag2, e.g. topics.rgb; empty = found


class DatasetPlayer(Node):
    """Publishers for the frames of one dataset."""

    def __init__(self, **node_options) -> None:
        super().__init__(
            "dataset_player", automatically_declare_parameters_from_overrides=True, **node_options
        )
        forward_logging(self.get_logger())
        self.parameters = plain_parameters(self, PlayerParameters())
        if self.parameters.rate < SLOWEST:
            raise InputError(
                f"The parameter 'rate' must be positive, at least {SLOWEST:g} frames per second."
            )
        if not self.parameters.dataset:
            raise InputError("There is nothing to play: give the parameter 'dataset' a folder or a rosbag2.")
        self._image = self.create_publisher(Image, "rgb/image", QOS)
        self._info = self.create_publisher(CameraInfo, "rgb/camera_info", QOS)
        self._pose = self.create_publisher(PoseStamped, "pose", QOS)
        self._depth = self._masks = self._valid = None  # made with the first frame that has some

    def open(self):
        """The dataset; InputError when it cannot be read."""
        p = self.parameters
        return open_dataset(
            Path(p.dataset).expanduser(),
            use_depth=p.use_depth,
            use_masks=p.use_masks,
            masks=p.masks or None,
            scale=p.scale,
            max_frames=p.max_frames,
            topics=p.topics,
        )

    def announce(self, frame: Frame) -> None:
        """Make the optional publishers before anything is sent, so that nobody misses the first."""
        if frame.depth is not None and self._depth is None:
            self._depth = self.create_publisher(Image, "depth/image", QOS)
        if frame.labels is not None and self._masks is None:
            self._masks = self.create_publisher(Image, "masks/image", QOS)
        if frame.valid is not None and self._valid is None:
            self._valid = self.create_publisher(Image, "valid/image", QOS)

    @property
    def publishers_in_use(self) -> list:
        found = (self._depth, self._masks, self._valid, self._info, self._pose, self._image)
        return [p for p in found if p is not None]

    def wait_for_subscribers(self) -> None:
        """Until everything that is published has a reader and no more come; InputError when none comes."""
        begin = changed = time.monotonic()
        known: list[int] = []
        said = False
        while self.parameters.wait_s > 0 and self.context.ok():
            now, counts = time.monotonic(), [p.get_subscription_count() for p in self.publishers_in_use]
            if counts != known:
                known, changed = counts, now
            if all(counts) and now - changed >= SETTLED_S:
                return
            if now - begin > self.parameters.wait_s:
                if all(p.get_subscription_count() for p in (self._image, self._pose, self._info)):
                    return  # nobody wants depth or masks
                raise InputError(
                    f"Nobody subscribed to {self._image.topic_name} within {self.parameters.wait_s:g} s; "
                    "start scene_node, or set wait_s to 0."
                )
            if not said:
                logger.info("waiting for scene_node to subscribe to %s", self._image.topic_name)
                said = True
            time.sleep(0.05)

    def send(self, frame: Frame, stamp: float) -> None:
        """All messages of one frame; the image goes last."""
        header = Header(stamp=conversions.time_message(stamp), frame_id=self.parameters.camera_frame)
        if self._depth is not None and frame.depth is not None:
            self._depth.publish(self._depth_message(frame.depth, header))
        if self._masks is not None and frame.labels is not None:
            self._masks.publish(conversions.labels_message(frame.labels, header))
        if self._valid is not None:
            valid = np.ones(frame.rgb.shape[:2], bool) if frame.valid is None else frame.valid
            self._valid.publish(conversions.image_message(valid.astype(np.uint8) * 255, "mono8", header))
        self._info.publish(conversions.camera_info_message(frame.camera, header))
        pose = PoseStamped(header=Header(stamp=header.stamp, frame_id=self.parameters.map_frame))
        pose.pose = conversions.pose_from_matrix(frame.world_from_camera)
        self._pose.publish(pose)
        self._image.publish(conversions.image_message(frame.rgb, "rgb8", header))

    def wait_for_arrival(self) -> None:
        """Until the other side has everything, ARRIVAL_S have passed or the node is told to end."""
        deadline = time.monotonic() + ARRIVAL_S
        for publisher in self.publishers_in_use:
            while self.context.ok() and time.monotonic() < deadline:
                if publisher.wait_for_all_acked(Duration(seconds=0.2)):
                    break

    def _depth_message(self, depth: np.ndarray, header: Header) -> Image:
        if self.parameters.depth_encoding == "32FC1":
            return conversions.image_message(depth, "32FC1", header)
        millimetres = np.clip(np.round(depth * 1000), 0, 65535).astype(np.uint16)
        return conversions.image_message(millimetres, "16UC1", header)


class StampMaker:
    """Strictly increasing stamps: the dataset's, or the clock's."""

    def __init__(self, parameters: PlayerParameters, clock) -> None:
        self._parameters, self._clock = parameters, clock
        self._last = -np.inf

    def stamp(self, frame: Frame) -> float:
        if self._parameters.stamps == "now":
            value = self._clock.now().nanoseconds * 1e-9
        else:
            value = max(0.0, frame.stamp)
        if value <= self._last:  # a dataset without usable stamps
            value = self._last + 1.0 / self._parameters.rate
        self._last = value
        return value


def play(node: DatasetPlayer) -> int:
    """Send every frame; returns how many were sent."""
    parameters = node.parameters
    dataset = node.open()
    total = len(dataset)
    stamps = StampMaker(parameters, node.get_clock())
    count, last_report, next_time = 0, time.monotonic(), 0.0
    for frame in dataset:
        if not node.context.ok():
            break
        node.announce(frame)
        if count == 0:
            node.wait_for_subscribers()
            next_time = time.monotonic()
        time.sleep(max(0.0, next_time - time.monotonic()))
        if not node.context.ok():
            break
        node.send(frame, stamps.stamp(frame))
        count += 1
        next_time = max(next_time + 1.0 / parameters.rate, time.monotonic())
        if time.monotonic() - last_report >= REPORT_S or count == total:
            last_report = time.monotonic()
            logger.info("%d of %d frames sent", count, total)
    if node.context.ok():
        node.wait_for_arrival()
    return count


def main(args: list[str] | None = None) -> int:
    rclpy.init(args=args)
    code, node = 0, None
    try:
        node = DatasetPlayer()
        if play(node) == 0 and rclpy.utilities.ok():
            raise InputError(f"The dataset {node.parameters.dataset} holds no frames.")
    except InputError as error:
        sys.stderr.write(f"dataset_player: {error}\n")
        code = 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:  # what rclpy raises when the shutdown catches a call in the middle
        if rclpy.utilities.ok():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.utilities.try_shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main())

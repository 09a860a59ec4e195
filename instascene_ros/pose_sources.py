"""Where the camera was at a stamp: from PoseStamped, Odometry or tf.

`PoseSource` is what all of them have.  A new one is a class here, a line in `POSE_SOURCES` and its name among
the parameters.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry

from instascene_core.datasets.pose_track import LONGEST_GAP_S, interpolate
from instascene_core.errors import InputError, needs
from instascene_ros.conversions import (
    matrix_from_numbers,
    matrix_from_pose,
    matrix_from_transform,
    rclpy_time,
    stamp_seconds,
)
from instascene_ros.frame_assembly import StampBuffer, Unusable
from instascene_ros.parameters import InputParameters

BUFFER = 2000  # poses kept


class PoseSource(Protocol):
    """What gives poses."""

    @property
    def inputs(self) -> Sequence[tuple[str, type, Callable[[Any], None]]]:
        """Topic, message type and callback of what it wants to be told."""
        ...

    def find(self, stamp: float, image) -> np.ndarray | None:
        """[4, 4] float64 world_from_camera, or None when it is not known (yet).

        InputError when what is known cannot be used.
        """
        ...

    def why_not(self, stamp: float, image) -> str:
        """What is missing where `find` knows no pose of an image that has waited: a clause with the names and
        times that tell where to look."""
        ...

    def restart(self) -> None:
        """The clock has gone back: poses of before may belong to another world."""
        ...

    def clear(self) -> None:
        """Forget all poses."""
        ...


class StampedPoses:
    """Poses that come as messages at their own rate.

    An image between two poses that lie close together has one in between; else the nearest one within the
    tolerance.
    """

    def __init__(self, map_frame: str, tolerance_s: float, resolved: Callable[[str], str] = str) -> None:
        """resolved: the full name of a topic, as it is remapped."""
        self._map_frame, self._tolerance, self._resolved = map_frame, tolerance_s, resolved
        self._poses = StampBuffer(BUFFER)  # of [4, 4] | Unusable

    @property
    def inputs(self) -> Sequence[tuple[str, type, Callable[[Any], None]]]:
        return (("pose", PoseStamped, self.add_pose),)

    def find(self, stamp: float, image) -> np.ndarray | None:
        pair = self._poses.around(stamp)
        if pair is not None and pair[1][0] - pair[0][0] <= LONGEST_GAP_S:
            (earlier, first), (later, second) = pair
            if not isinstance(first, Unusable) and not isinstance(second, Unusable):
                return interpolate(first, second, (stamp - earlier) / (later - earlier))
        found = self._poses.nearest(stamp, self._tolerance)
        if isinstance(found, Unusable):
            raise InputError(found.sentence)
        return found

    def why_not(self, stamp: float, image) -> str:
        topic, kind, _ = self.inputs[0]
        if (span := self._poses.span) is None:
            return f"nothing has arrived on {self._resolved(topic)} ({kind.__name__})"
        oldest, newest = span
        return (
            f"the poses on {self._resolved(topic)} are of {oldest:.3f} to {newest:.3f} s; both must be "
            "stamped by the same clock"
        )

    def restart(self) -> None:
        """Nothing: the buffer sees it in the stamps of the poses, which may be ahead of the images."""

    def clear(self) -> None:
        self._poses.clear()

    def add_pose(self, msg: PoseStamped) -> None:
        self._add(msg.header, msg.pose, np.eye(4))

    def _add(self, header, pose, camera_in_child: np.ndarray) -> None:
        """Keep one pose; where it cannot be used, only the image that needs it tells so."""
        try:
            value = self._in_map(header, pose) @ camera_in_child
        except InputError as error:
            value = Unusable(str(error))
        self._poses.add(stamp_seconds(header.stamp), value)

    def _in_map(self, header, pose) -> np.ndarray:
        """[4, 4] map_from_child; InputError for another frame or a bad quaternion."""
        frame = header.frame_id.lstrip("/")
        if frame and frame != self._map_frame:
            raise InputError(
                f"The pose is in frame '{frame}' but map_frame is '{self._map_frame}'; "
                "set the parameter map_frame or transform the pose."
            )
        return matrix_from_pose(pose)


class OdometryPoses(StampedPoses):
    """Odometry of a base; the camera sits at a fixed place on it."""

    def __init__(
        self, map_frame: str, tolerance_s: float, camera_in_base, resolved: Callable[[str], str] = str
    ) -> None:
        super().__init__(map_frame, tolerance_s, resolved)
        self._base_from_camera = matrix_from_numbers(camera_in_base, "The parameter camera_in_base")

    @property
    def inputs(self) -> Sequence[tuple[str, type, Callable[[Any], None]]]:
        return (("odometry", Odometry, self.add_odometry),)

    def add_odometry(self, msg: Odometry) -> None:
        self._add(msg.header, msg.pose.pose, self._base_from_camera)


class TfPoses:
    """tf: map_frame ← the image's frame_id at the image's stamp."""

    def __init__(self, node, map_frame: str) -> None:
        with needs(
            "tf2_ros",
            "pose_source 'tf' needs tf2_ros; install ros-<distro>-tf2-ros or use pose_source 'topic'.",
        ):
            from tf2_ros import Buffer, TransformListener
        self._map_frame = map_frame
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)

    @property
    def inputs(self) -> Sequence[tuple[str, type, Callable[[Any], None]]]:
        return ()  # the listener subscribes by itself

    def find(self, stamp: float, image) -> np.ndarray | None:
        from tf2_ros import TransformException

        time = rclpy_time(image.header.stamp)
        try:
            found = self._buffer.lookup_transform(self._map_frame, image.header.frame_id, time)
        except TransformException:
            return None  # not yet, or never: the assembler waits a bounded time
        return matrix_from_transform(found.transform)

    def why_not(self, stamp: float, image) -> str:
        """tf's own words (frames it does not know, a time it does not reach), and the newest it has."""
        from rclpy.time import Time
        from tf2_ros import TransformException

        camera = image.header.frame_id
        wanted = f"tf does not lead from '{camera}' to '{self._map_frame}' at {stamp:.3f} s"
        try:
            self._buffer.lookup_transform(self._map_frame, camera, rclpy_time(image.header.stamp))
        except TransformException as error:
            reason = " ".join(str(error).split())
        else:
            return f"{wanted}; it does by now, so it comes late: raise sync_wait_s"
        try:
            newest = self._buffer.lookup_transform(self._map_frame, camera, Time())
        except TransformException:
            return f"{wanted} nor at any other time ({reason})"
        return f"{wanted}; the newest it has is of {stamp_seconds(newest.header.stamp):.3f} s ({reason})"

    def restart(self) -> None:
        self._buffer.clear()  # static transforms stay

    def clear(self) -> None:
        self._buffer.clear()


class NoPoses:
    """For what looks at single images only: every camera stands at the origin."""

    inputs: Sequence[tuple[str, type, Callable[[Any], None]]] = ()

    def find(self, stamp: float, image) -> np.ndarray | None:
        return np.eye(4)

    def why_not(self, stamp: float, image) -> str:
        return ""  # never asked

    def restart(self) -> None:
        pass

    def clear(self) -> None:
        pass


def _resolved(node, named: Callable[[str], str]) -> Callable[[str], str]:
    """The full name of a topic of a camera."""
    return lambda topic: node.resolve_topic_name(named(topic))


# Parameter `pose_source` → what makes it from (node, parameters, map frame, name of a topic of the camera).
POSE_SOURCES: dict[str, Callable[[Any, InputParameters, str, Callable[[str], str]], PoseSource]] = {
    "topic": lambda node, given, map_frame, named: StampedPoses(
        map_frame, given.sync_tolerance_s, _resolved(node, named)
    ),
    "odometry": lambda node, given, map_frame, named: OdometryPoses(
        map_frame, given.sync_tolerance_s, given.camera_in_base, _resolved(node, named)
    ),
    "tf": lambda node, given, map_frame, named: TfPoses(node, map_frame),
    "none": lambda node, given, map_frame, named: NoPoses(),
}

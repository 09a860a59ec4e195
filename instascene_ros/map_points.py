"""Points that come in any frame, in the map frame."""

import numpy as np
from geometry_msgs.msg import PointStamped

from instascene_core.errors import InputError, MissingDependencyError
from instascene_ros.conversions import matrix_from_transform, rclpy_time

LOOKUP_S = 0.2  # a transform may be a little later than the point


class MapPoints:
    """Transforms points through tf where tf2_ros is installed; without it only the map frame will do."""

    def __init__(self, node, map_frame: str) -> None:
        self._map_frame = map_frame
        self._buffer = None
        try:
            from tf2_ros import Buffer, TransformListener
        except ImportError:
            return
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)

    def in_map(self, message: PointStamped) -> np.ndarray:
        """[3] metres in the map frame; an empty frame_id is the map frame.  InputError where unknown."""
        point = np.array([message.point.x, message.point.y, message.point.z])
        frame = message.header.frame_id.lstrip("/")
        if frame in ("", self._map_frame):
            return point
        matrix = self._lookup(frame, message.header.stamp)
        return matrix[:3, :3] @ point + matrix[:3, 3]

    def _lookup(self, frame: str, stamp) -> np.ndarray:
        """[4, 4] map_frame ← frame at the stamp (0 = the newest)."""
        if self._buffer is None:
            raise MissingDependencyError(
                f"The point is in frame '{frame}', not '{self._map_frame}'; install "
                "ros-<distro>-tf2-ros to have it transformed, or send it in the map frame."
            )
        from rclpy.duration import Duration
        from tf2_ros import TransformException

        time = rclpy_time(stamp)
        try:
            found = self._buffer.lookup_transform(self._map_frame, frame, time, Duration(seconds=LOOKUP_S))
        except TransformException as error:
            raise InputError(
                f"tf does not know where the frame '{frame}' of the point is in '{self._map_frame}' "
                f"({' '.join(str(error).split())})."
            ) from error
        return matrix_from_transform(found.transform)

"""Write frames as a rosbag2 with the topics that scene_node takes, without ROS."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from instascene_core.errors import InputError, needs
from instascene_core.frame import Frame, image_from_labels
from instascene_core.transforms import quaternion_from_matrix

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

OPTICAL_FRAME = "camera_optical_frame"
DEPTH_ENCODINGS = ("32FC1", "16UC1")


def write_bag(
    frames: Iterable[Frame],
    path: Path,
    storage: str = "mcap",
    depth_encoding: str = "32FC1",
    map_frame: str = "map",
) -> None:
    """Write `rgb/image`, `rgb/camera_info`, `pose`, and what frames have of `depth/image`, `masks/image` and
    `valid/image` (0 = ignore the pixel) into the new bag `path`.

    storage: "mcap" or "sqlite3".  depth_encoding: "32FC1" (metres) or "16UC1" (whole millimetres).
    Raises InputError when `path` exists, cannot be written, or there are no frames.
    """
    path = Path(path)
    if path.exists():
        raise InputError(f"The bag {path} exists already; remove it or choose another name.")
    if depth_encoding not in DEPTH_ENCODINGS:
        raise InputError(f"Depth encoding '{depth_encoding}' is not one of {', '.join(DEPTH_ENCODINGS)}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise InputError(f"Cannot write to the folder {path.parent}: {error.strerror}.") from error
    try:
        with _BagWriter(folder / path.name, storage, depth_encoding, map_frame) as writer:
            for frame in frames:
                writer.write(frame)
        (folder / path.name).rename(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _BagWriter:
    def __init__(self, path: Path, storage: str, depth_encoding: str, map_frame: str) -> None:
        with needs("rosbags", "Writing a rosbag2 needs rosbags; install it with `pip install rosbags`."):
            from rosbags.rosbag2 import StoragePlugin, Writer
            from rosbags.typesys import Stores, get_typestore
        plugins = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
        if storage not in plugins:
            raise InputError(f"Storage '{storage}' is not one of {', '.join(plugins)}.")
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(path, version=9, storage_plugin=plugins[storage])
        self._depth_encoding, self._map_frame = depth_encoding, map_frame
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> "_BagWriter":
        self._writer.open()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._writer.close()
        if kind is None and not self._connections:
            raise InputError("There are no frames to write into a bag.")

    def write(self, frame: Frame) -> None:
        self._send("rgb/camera_info", frame, self._camera_info(frame))
        self._send("pose", frame, self._pose(frame))
        self._send("rgb/image", frame, self._image(frame, frame.rgb, "rgb8"))
        if frame.depth is not None:
            depth = frame.depth.astype("<f4")
            if self._depth_encoding == "16UC1":
                millimetres = np.round(depth.astype(np.float64) * 1000)
                depth = np.where(millimetres > 65535, 0, millimetres).astype("<u2")
            self._send("depth/image", frame, self._image(frame, depth, self._depth_encoding))
        if frame.labels is not None:
            labels = image_from_labels(frame.labels).astype("<u2")
            self._send("masks/image", frame, self._image(frame, labels, "mono16"))
        if frame.valid is not None or "valid/image" in self._connections:
            valid = np.ones(frame.rgb.shape[:2], bool) if frame.valid is None else frame.valid
            self._send("valid/image", frame, self._image(frame, valid.astype(np.uint8) * 255, "mono8"))

    def _send(self, topic: str, frame: Frame, message) -> None:
        name = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(f"/{topic}", name, typestore=self._store)
        raw = self._store.serialize_cdr(message, name)
        self._writer.write(self._connections[topic], round(frame.stamp * 1e9), raw)

    def _new(self, kind: str, **fields):
        return self._store.types[kind](**fields)

    def _header(self, frame: Frame, frame_id: str):
        seconds, nanoseconds = divmod(round(frame.stamp * 1e9), 10**9)
        stamp = self._new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self._new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _image(self, frame: Frame, array: np.ndarray, encoding: str):
        return self._new(
            "sensor_msgs/msg/Image",
            header=self._header(frame, OPTICAL_FRAME),
            height=array.shape[0],
            width=array.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=array.shape[1] * array.dtype.itemsize * (array.shape[2] if array.ndim == 3 else 1),
            data=np.frombuffer(np.ascontiguousarray(array).tobytes(), dtype=np.uint8),
        )

    def _camera_info(self, frame: Frame):
        c = frame.camera
        cx, cy = c.cx - 0.5, c.cy - 0.5  # ROS counts pixel centres from 0
        roi = self._new(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._new(
            "sensor_msgs/msg/CameraInfo",
            header=self._header(frame, OPTICAL_FRAME),
            height=c.height,
            width=c.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=np.array([c.fx, 0, cx, 0, c.fy, cy, 0, 0, 1], dtype=np.float64),
            r=np.eye(3).ravel(),
            p=np.array([c.fx, 0, cx, 0, 0, c.fy, cy, 0, 0, 0, 1, 0], dtype=np.float64),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )

    def _pose(self, frame: Frame):
        w, x, y, z = (float(v) for v in quaternion_from_matrix(frame.world_from_camera[:3, :3]))
        px, py, pz = (float(v) for v in frame.world_from_camera[:3, 3])
        pose = self._new(
            "geometry_msgs/msg/Pose",
            position=self._new("geometry_msgs/msg/Point", x=px, y=py, z=pz),
            orientation=self._new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        )
        header = self._header(frame, self._map_frame)
        return self._new("geometry_msgs/msg/PoseStamped", header=header, pose=pose)

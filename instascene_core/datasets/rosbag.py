"""rosbag2 recordings (sqlite3 and mcap), read without ROS through the library `rosbags`."""

import logging
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.camera import LensModel
from instascene_core.datasets import bag_topics, ros_images
from instascene_core.datasets.bag_topics import BagTopics
from instascene_core.datasets.dataset import RawFrame
from instascene_core.datasets.pose_track import PoseTrack, TransformTree, matrix_from_parts
from instascene_core.errors import InputError, MissingDependencyError

logger = logging.getLogger(__name__)

STORAGE_SUFFIXES = (".db3", ".mcap")


@dataclass(frozen=True)
class _Entry:
    """Where a message lies in the bag."""

    topic: str
    recorded: int  # nanoseconds: when the recorder took it
    stamp: float  # seconds: its header's


@dataclass(frozen=True)
class _Match:
    """The messages of one frame."""

    rgb: _Entry
    world_from_camera: np.ndarray
    depth: _Entry | None
    masks: _Entry | None


def find_bag(path: Path) -> Path | None:
    """The folder of the bag that `path` is or lies in; InputError when its metadata is missing."""
    folder = path.parent if path.is_file() and path.suffix in STORAGE_SUFFIXES else path
    if (folder / "metadata.yaml").is_file():
        return folder
    if any(any(folder.glob(f"*{suffix}")) for suffix in STORAGE_SUFFIXES):
        raise InputError(f"The bag {folder} has no metadata.yaml; make it with `ros2 bag reindex {folder}`.")
    return None


class BagReader:
    """Frames of one bag: colour images with a pose at their stamp, and what matches them."""

    kind = "rosbag2"

    def __init__(
        self, folder: Path, use_depth: bool = True, use_masks: bool = True, topics: BagTopics | None = None
    ) -> None:
        self._folder = folder
        self._bag = _Bag(folder)
        found = bag_topics.detect_topics(self._bag.topics, topics or BagTopics())
        depth, masks = found.depth if use_depth else "", found.masks if use_masks else ""
        self._topics = replace(found, depth=depth, masks=masks)
        index = _Index(self._topics, self._bag.topics)
        index.scan(self._bag)
        self._lens = index.require_lens()
        self._matches, self.dropped = index.match()
        for reason, count in self.dropped.items():
            logger.warning("%s: %d %s dropped", folder, count, reason)
        if not self._matches:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())
            raise InputError(f"No image in the bag {folder} can be used ({reasons or 'there are none'}).")
        self.names = tuple(f"{i:06d}" for i in range(len(self._matches)))
        self.poses = np.stack([m.world_from_camera for m in self._matches])
        self.stamps = [m.rgb.stamp for m in self._matches]
        self.has_depth = any(m.depth for m in self._matches)
        self.has_labels = any(m.masks for m in self._matches)

    @property
    def topics(self) -> BagTopics:
        """The topics in use."""
        return self._topics

    def read(self, index: int) -> RawFrame:
        match = self._matches[index]
        depth = None if match.depth is None else ros_images.depth_from(self._message(match.depth))
        labels = None if match.masks is None else ros_images.label_image_from(self._message(match.masks))
        return RawFrame(
            name=self.names[index],
            stamp=match.rgb.stamp,
            lens=self._lens,
            world_from_camera=match.world_from_camera,
            rgb=ros_images.rgb_from(self._message(match.rgb)),
            depth=depth,
            label_image=labels,
        )

    def _message(self, entry: _Entry):
        for _, _, message in self._bag.messages({entry.topic}, entry.recorded, entry.recorded + 1):
            if stamp_of(message.header) == entry.stamp:
                return message
        raise InputError(f"The bag {self._folder} changed while it was being read.")


class _Bag:
    """An open bag whose errors are sentences; closed when it is no longer used."""

    def __init__(self, folder: Path) -> None:
        try:
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise MissingDependencyError(
                "Reading a rosbag2 needs rosbags; install it with `pip install rosbags`."
            ) from error
        self._folder = folder
        try:
            self._reader = AnyReader([folder], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            self._reader.open()
        except Exception as error:  # rosbags, yaml, sqlite3 and mcap raise many kinds for broken files
            raise InputError(f"The bag {folder} cannot be opened: {_first_line(error)}.") from error
        weakref.finalize(self, self._reader.close)
        self.topics = {c.topic: c.msgtype for c in self._reader.connections}

    def messages(
        self, topics: set[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[str, int, Any]]:
        """(topic, nanoseconds recorded, message) of some topics, start ≤ recorded < stop."""
        connections = [c for c in self._reader.connections if c.topic in topics]
        stream = iter(self._reader.messages(connections, start, stop) if connections else ())
        while True:
            try:
                connection, recorded, raw = next(stream)
                message = self._reader.deserialize(raw, connection.msgtype)
            except StopIteration:
                return
            except Exception as error:
                raise InputError(f"The bag {self._folder} is damaged: {_first_line(error)}.") from error
            yield connection.topic, recorded, message


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def stamp_of(header) -> float:
    """Seconds."""
    return header.stamp.sec + header.stamp.nanosec * 1e-9


class BadPose(InputError):
    """A recorded pose that cannot be used; the others may."""


def _pose_matrix(position, orientation) -> np.ndarray:
    try:
        return matrix_from_parts(position, orientation, "A recorded pose")
    except InputError as error:
        raise BadPose("poses not finite or without a unit quaternion") from error


class _Index:
    """What one pass over a bag collects."""

    def __init__(self, topics: BagTopics, available: dict[str, str]) -> None:
        self._topics = topics
        self._pose_type = available.get(topics.pose, bag_topics.TF)
        self._tf_topics = {t for t, kind in available.items() if kind == bag_topics.TF}
        self._track = PoseTrack(topics.sync_tolerance_s)
        self._tree = TransformTree(topics.sync_tolerance_s)
        self._odometry_child = ""
        self._side: dict[str, list[_Entry]] = {topics.depth: [], topics.masks: []}
        self.images: list[tuple[_Entry, str]] = []  # with the frame_id
        self._lens: LensModel | None = None
        self._dropped: dict[str, int] = {}

    def scan(self, bag) -> None:
        """Read stamps, poses and the calibration; pixels stay in the bag."""
        wanted = {
            self._topics.rgb,
            self._topics.camera_info,
            self._topics.pose,
            *self._side,
            *self._tf_topics,
        }
        for topic, recorded, message in bag.messages(wanted - {""}):
            try:
                self._take(topic, recorded, message)
            except BadPose as error:
                self._dropped[str(error)] = self._dropped.get(str(error), 0) + 1

    def _take(self, topic: str, recorded: int, message) -> None:
        if topic in self._tf_topics:
            for t in message.transforms:
                matrix = _pose_matrix(t.transform.translation, t.transform.rotation)
                static = topic.endswith("tf_static")
                self._tree.add(t.header.frame_id, t.child_frame_id, stamp_of(t.header), matrix, static)
            return
        stamp = stamp_of(message.header)
        if topic == self._topics.rgb:
            self.images.append((_Entry(topic, recorded, stamp), message.header.frame_id))
        elif topic in self._side:
            self._side[topic].append(_Entry(topic, recorded, stamp))
        elif topic == self._topics.camera_info:
            self._lens = self._lens or ros_images.lens_from_camera_info(message)
        elif topic == self._topics.pose:
            pose = message.pose
            if self._pose_type == bag_topics.ODOMETRY:
                pose, self._odometry_child = message.pose.pose, message.child_frame_id
            self._track.add(stamp, _pose_matrix(pose.position, pose.orientation))

    def require_lens(self) -> LensModel:
        if self._lens is None:
            raise InputError(
                f"The bag has no message on {self._topics.camera_info}, so the camera is unknown."
            )
        return self._lens

    def match(self) -> tuple[list[_Match], dict[str, int]]:
        """(frames in order of their stamps, reason → number dropped)."""
        matches, dropped = [], dict(self._dropped)
        seen = set()
        for entry, frame_id in sorted(self.images, key=lambda image: image[0].stamp):
            pose = self._pose(entry.stamp, frame_id)
            if entry.stamp in seen or pose is None:
                twice = entry.stamp in seen
                reason = (
                    "images with the stamp of another" if twice else "images without a pose at their stamp"
                )
                dropped[reason] = dropped.get(reason, 0) + 1
                continue
            seen.add(entry.stamp)
            depth = self._nearest(self._topics.depth, entry.stamp)
            masks = self._nearest(self._topics.masks, entry.stamp)
            matches.append(_Match(entry, pose, depth, masks))
        return matches, dropped

    def _pose(self, stamp: float, frame_id: str) -> np.ndarray | None:
        """world_from_camera at `stamp`."""
        if self._topics.pose == "tf" or self._topics.pose in self._tf_topics:
            if self._topics.map_frame not in self._tree.frames:
                known = ", ".join(sorted(self._tree.frames)) or "none"
                raise InputError(f"tf has no frame '{self._topics.map_frame}'; it has {known}.")
            return self._tree.lookup(self._topics.map_frame, frame_id, stamp)
        pose = self._track.at(stamp)
        if pose is None or self._pose_type != bag_topics.ODOMETRY or frame_id == self._odometry_child:
            return pose
        base_from_camera = self._tree.lookup(self._odometry_child, frame_id, stamp)
        if base_from_camera is None:
            raise InputError(
                f"Odometry gives the pose of '{self._odometry_child}', but tf does not say where "
                f"'{frame_id}' is on it."
            )
        return pose @ base_from_camera

    def _nearest(self, topic: str, stamp: float) -> _Entry | None:
        entries = self._side[topic] if topic else []
        best = min(entries, key=lambda e: abs(e.stamp - stamp), default=None)
        return best if best and abs(best.stamp - stamp) <= self._topics.sync_tolerance_s else None

"""rosbag2 recordings (sqlite3 and mcap), read without ROS through the library `rosbags`."""

import logging
import os
import re
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.datasets import bag_topics, ros_images
from instascene_core.datasets.bag_index import Entry, Index, Match, stamp_of
from instascene_core.datasets.bag_limits import bound_rosbags, require_sound
from instascene_core.datasets.bag_topics import BagTopics
from instascene_core.datasets.cut_mcap import is_cut
from instascene_core.datasets.dataset import RawFrame
from instascene_core.datasets.fitting import FittedLenses
from instascene_core.datasets.remarks import Remarks
from instascene_core.errors import DamagedImage, InputError, needs
from instascene_core.untrusted import MAX_YAML_BYTES, one_line, read_bytes

logger = logging.getLogger(__name__)

STORAGE_SUFFIXES = (".db3", ".mcap")
METADATA = "metadata.yaml"
PART = re.compile(r"_\d+$")  # how rosbag2 ends the names of the files that it splits a recording into


def find_bag(path: Path) -> list[Path] | None:
    """What `path` is or lies in: the folder of a bag, or storage files whose metadata.yaml is missing."""
    is_file = path.is_file() and (_is_storage(path) or path.name == METADATA)
    folder = path.parent if is_file else path
    if (folder / METADATA).is_file():
        return [folder]
    if is_file:
        return [path] if _is_storage(path) else None
    return sorted(file for file in folder.glob("*") if _is_storage(file)) or None


def _is_storage(path: Path) -> bool:
    return path.suffix in STORAGE_SUFFIXES


def _require_one_recording(files: list[Path]) -> None:
    """InputError where storage files without a metadata.yaml are not NAME_0, NAME_1 … of one kind."""
    kinds = {(PART.sub("", file.stem), file.suffix) for file in files}
    if len(kinds) > 1:
        names = ", ".join(file.name for file in files)
        raise InputError(
            f"{files[0].parent} holds storage files of several bags ({names}) and no {METADATA}; name one of "
            "them, or reindex those that belong together (`ros2 bag reindex`)."
        )


class BagReader:
    """Frames of one bag: colour images with a pose at their stamp, and what matches them."""

    kind = "rosbag2"

    def __init__(
        self,
        paths: list[Path],
        use_depth: bool = True,
        use_masks: bool = True,
        topics: BagTopics | None = None,
        remarks: Remarks | None = None,
    ) -> None:
        self._path = paths[0]
        self._remarks = remarks or Remarks(self._path)
        self._bag = _Bag(paths)
        self._bag.say_where_cut(self._remarks)
        found = bag_topics.detect_topics(self._bag.topics, topics or BagTopics())
        depth, masks = found.depth if use_depth else "", found.masks if use_masks else ""
        self._topics = replace(found, depth=depth, masks=masks)
        index = Index(self._topics, self._bag.topics, self._remarks)
        index.scan(self._bag)
        index.require_lens()
        self._matches, self.dropped = index.match()
        self._depth_camera, self._fitted = index.depth_camera, FittedLenses(self._remarks)
        for reason, count in self.dropped.items():
            logger.warning("%s: %d %s dropped", self._path, count, reason)
        if not self._matches:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())
            why = f": {index.why_no_pose()}" if index.why_no_pose() else ""
            raise InputError(
                f"No image in the bag {self._path} can be used ({reasons or 'there are none'}){why}."
            )
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
        rgb = self._decoded(match.rgb, ros_images.rgb_from)
        match = replace(match, lens=self._fitted.at(match.lens, rgb))
        masks, valid = match.masks, match.valid
        return RawFrame(
            name=self.names[index],
            stamp=match.rgb.stamp,
            lens=match.lens,
            world_from_camera=match.world_from_camera,
            rgb=rgb,
            depth=self._depth(match),
            label_image=None if masks is None else self._decoded(masks, ros_images.label_image_from),
            kept=None if valid is None else self._decoded(valid, ros_images.kept_from),
        )

    def _depth(self, match: Match) -> np.ndarray | None:
        if match.depth is None:
            return None
        unit = self._topics.depth_unit
        depth = self._decoded(match.depth, lambda m: ros_images.depth_from(m, unit, self._remarks))
        if self._depth_camera is None or match.color_from_depth is None:
            return depth
        return self._depth_camera.seen_from(depth, match.lens, match.color_from_depth)

    def _decoded(self, entry: Entry, decode: Callable[[Any], np.ndarray]) -> np.ndarray:
        """What `decode` makes of a message; its InputError then says which message it is."""
        message = self._message(entry)
        try:
            return decode(message)
        except InputError as error:
            kind = DamagedImage if isinstance(error, DamagedImage) else InputError
            raise kind(
                f"The message on {entry.topic} of {entry.written:.3f} s in {self._path} is of no use: {error}"
            ) from error

    def _message(self, entry: Entry):
        for _, _, message in self._bag.messages({entry.topic}, entry.recorded, entry.recorded + 1):
            if stamp_of(message.header) == entry.written:
                return message
        raise InputError(f"The bag {self._path} changed while it was being read.")


class _Bag:
    """An open bag whose errors are sentences; closed when it is no longer used."""

    def __init__(self, paths: list[Path]) -> None:
        with needs("rosbags", "Reading a rosbag2 needs rosbags; install it with `pip install rosbags`."):
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore

            from instascene_core.datasets.cut_mcap_reader import read_cut_files
        self._path = paths[0]
        paths = _without_early_metadata(paths)
        self._cut = [path for path in paths if path.suffix == ".mcap" and path.is_file() and is_cut(path)]
        _require_one_recording(paths)
        for path in paths:
            require_sound(path)
        bound_rosbags()
        read_cut_files()
        try:
            self._reader = AnyReader(paths, default_typestore=get_typestore(Stores.ROS2_JAZZY))
            self._reader.open()
        except Exception as error:  # rosbags, yaml, sqlite3 and mcap raise many kinds for broken files
            raise InputError(f"The bag {self._path} cannot be opened: {_first_line(error)}.") from error
        weakref.finalize(self, self._reader.close)
        # What was subscribed to but never published is not a topic to choose.
        self.topics = {c.topic: c.msgtype for c in self._reader.connections if c.msgcount != 0}
        if self._cut and not self.topics:
            raise InputError(
                f"The bag {self._path} was cut off, as when its recorder is killed, before its first "
                "messages were whole."
            )
        if self._reader.connections and not self.topics:
            raise InputError(
                f"The bag {self._path} has no messages: all {len(self._reader.connections)} topics count 0."
            )

    def say_where_cut(self, remarks: Remarks) -> None:
        """What is read of files that their recorder did not end."""
        counts = {reader.path: reader.message_count for reader in self._reader.readers}
        for path in self._cut:
            number = counts.get(path, 0)
            remarks.say(
                f"{path.name} was cut off, as when its recorder is killed; the {number:,} messages before "
                "the cut are read"
            )

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
                raise InputError(f"The bag {self._path} is damaged: {_first_line(error)}.") from error
            yield connection.topic, recorded, message


def _without_early_metadata(paths: list[Path]) -> list[Path]:
    """The storage files that a bag's metadata.yaml names, where one of them was cut off: written as the
    recording began, it says that there are no topics."""
    if len(paths) > 1 or not paths[0].is_dir():
        return paths
    named = read_bytes(paths[0] / METADATA, "The file", MAX_YAML_BYTES)
    files = sorted(f for f in paths[0].glob("*") if _is_storage(f) and os.fsencode(f.name) in named)
    return files if any(file.suffix == ".mcap" and is_cut(file) for file in files) else paths


def _first_line(error: Exception) -> str:
    return one_line((str(error).strip().splitlines() or [type(error).__name__])[0]).rstrip(".")

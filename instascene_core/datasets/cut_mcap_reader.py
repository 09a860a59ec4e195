"""`rosbags`' reader of mcap files, taught to read one whose recorder was killed (`cut_mcap`).

Its records are walked once by their lengths, chunks are noted with the times they say, and from then on
`rosbags` reads it as any other: one pass over the file, and a chunk for each message that is asked for.
Loaded when a bag is opened, as that package loads slowly.
"""

import bisect
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import ReaderError, reader, storage_mcap

from instascene_core.datasets.cut_mcap import (
    CHUNK,
    CHUNK_HEAD,
    HEADER,
    LENGTH,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    is_cut,
    whole_records,
)


class _EveryChannel(dict):
    """Which channels a chunk holds: its index may be cut off, so that it may be any."""

    def get(self, key: object, default: object = None) -> int:
        return 1


class CutMcapReader(storage_mcap.McapReader):
    """Reads whole files as its base does."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self._file = Path(path)
        self._places: list[tuple[int, int, int]] = []  # time, offset, length of messages in no chunk

    def _open(self) -> None:
        if not is_cut(self._file):
            super()._open()
            return
        assert self.bio
        if self.bio.read(len(MAGIC)) != MAGIC or self.bio.read(1)[0:1] != bytes([HEADER]):
            raise ReaderError("it is cut off before its first record")
        header = BytesIO(storage_mcap.read_sized(self.bio))
        if storage_mcap.read_string(header) != "ros2":
            raise ReaderError("Profile is not ros2.")
        self.data_start = self.data_end = self.bio.tell()
        for kind, offset, length in whole_records(self.bio, self.data_start):
            if kind == CHUNK and not self._note_chunk(offset, length):
                break
            if kind == MESSAGE and length >= 9 + MESSAGE_HEAD.size:
                self.bio.seek(offset + 9)
                time = MESSAGE_HEAD.unpack(self.bio.read(MESSAGE_HEAD.size))[2]
                self._places.append((time, offset, length))
            self.data_end = offset + length
        self._places.sort()
        self._drop_damaged_end()
        self.meta_scan()
        self._count()

    def _note_chunk(self, offset: int, length: int) -> bool:
        """Whether its head is one."""
        assert self.bio
        self.bio.seek(offset + 9)
        head = self.bio.read(CHUNK_HEAD.size)
        if len(head) < CHUNK_HEAD.size:
            return False
        first, last, size, _, letters = CHUNK_HEAD.unpack(head)
        name, packed = self.bio.read(min(letters, 64)), self.bio.read(8)
        if len(packed) < 8 or CHUNK_HEAD.size + letters + 8 + LENGTH.unpack(packed)[0] > length:
            return False
        self.chunks.append(
            storage_mcap.ChunkInfo(
                first, last, offset, length, {}, 0, name.decode("ascii", "replace"),
                LENGTH.unpack(packed)[0], size, _EveryChannel(),
            )
        )  # fmt: skip
        return True

    def _drop_damaged_end(self) -> None:
        """The last chunk may have its length and not its bytes, after a power cut."""
        if not self.chunks:
            return
        assert self.bio
        chunk = self.chunks[-1]
        try:
            for _ in storage_mcap.msgsrc(chunk, {}, 0, storage_mcap.MAXSIZE, self.bio):
                pass
        except Exception:  # what the decompressors raise
            self.data_end = self.chunks.pop().chunk_start_offset

    def _count(self) -> None:
        """As the base does at the end of its `_open`."""
        found = self.statistics
        assert found
        counts = found.channel_message_counts
        self.connections = [c._replace(msgcount=counts.get(c.id, 0)) for c in self.connections]
        if found.message_count:
            self.metadata = self.metadata._replace(
                duration=found.end_time - found.start_time + 1, start_time=found.start_time,
                end_time=found.end_time + 1, message_count=found.message_count,
            )  # fmt: skip

    def messages(
        self, connections: Collection[Any], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Any, int, bytes]]:
        """Without chunks by the places that were noted, not by another walk for every message."""
        if self.chunks or not self._places:
            yield from super().messages(connections, start, stop)
            return
        assert self.bio
        wanted = {connection.id: connection for connection in connections}
        begin = 0 if start is None else bisect.bisect_left(self._places, (start,))
        end = len(self._places) if stop is None else bisect.bisect_left(self._places, (stop,))
        for time, offset, length in self._places[begin:end]:
            self.bio.seek(offset + 9)
            content = self.bio.read(length - 9)
            channel = MESSAGE_HEAD.unpack_from(content)[0]
            if channel in wanted:
                yield wanted[channel], time, content[MESSAGE_HEAD.size :]


def read_cut_files() -> None:
    """Let `rosbags` open such files, too; it knows its storages by two tables."""
    for owner, name in ((reader.Reader, ".mcap"), (reader.DirectoryReader, "mcap")):
        owner.STORAGE_PLUGINS = {**owner.STORAGE_PLUGINS, name: CutMcapReader}  # type: ignore[misc]

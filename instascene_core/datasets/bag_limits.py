"""Bags that anyone may have written: what `rosbags` does not check before it reads or after.

It inflates compressed chunks, messages and files whatever becomes of them: here they end at a limit.  Of the
sums of an mcap it checks those of the chunks: here the others are.
"""

import struct
from binascii import crc32
from pathlib import Path
from typing import Any

from instascene_core.errors import InputError
from instascene_core.untrusted import read_yaml

MAX_MESSAGE_BYTES = 2**30  # of a message or chunk once inflated; a 100 megapixel image has 0.3 GB
MAX_GROWTH = 64  # times its size on disk that a whole file may inflate to: zstd packs images 2 to 5 times
MAX_TOPICS = 10_000
MCAP_MAGIC = b"\x89MCAP0\r\n"
DATA_END, FOOTER_BYTES = 0x0F, 37
READ_BYTES = 2**20


def require_sound(path: Path) -> None:
    """InputError where the metadata of a bag would not end, or a file's sums are not what they should be.

    path: a bag's folder with its metadata.yaml, or one of its storage files.
    """
    if path.is_dir():
        _require_metadata(path)
    for file in sorted(path.glob("*.mcap")) if path.is_dir() else [path]:
        if file.suffix.lower() == ".mcap":
            require_mcap_sums(file)


def _require_metadata(folder: Path) -> None:
    try:
        metadata = read_yaml(folder / "metadata.yaml", "The file")
    except InputError as error:
        raise InputError(f"The bag {folder} cannot be opened: {error}") from error
    facts = metadata.get("rosbag2_bagfile_information") if isinstance(metadata, dict) else None
    if not isinstance(facts, dict):
        raise InputError(f"The bag {folder} cannot be opened: its metadata.yaml describes no bag.")
    topics = facts.get("topics_with_message_count")
    if isinstance(topics, list) and len(topics) > MAX_TOPICS:
        raise InputError(f"The bag {folder} has {len(topics)} topics; at most {MAX_TOPICS} are read.")
    if not facts.get("relative_file_paths"):
        raise InputError(f"The bag {folder} cannot be opened: its metadata.yaml names no storage file.")
    said = [t.get("topic_metadata") for t in topics or () if isinstance(t, dict)]
    names = [m.get(key) for m in said if isinstance(m, dict) for key in ("name", "type")]
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"The bag {folder} cannot be opened: its metadata.yaml names a topic by no text.")


def require_mcap_sums(path: Path) -> None:
    """InputError where the summary or the data of an mcap has another CRC-32 than it says; 0 says nothing.

    The chunks' own sums are checked where they are inflated.
    """
    with path.open("rb") as file:
        end = file.seek(0, 2)
        if end < len(MCAP_MAGIC) + FOOTER_BYTES:
            return  # `rosbags` says what is wrong with it, or it was cut off (`cut_mcap`)
        file.seek(end - FOOTER_BYTES)
        footer = file.read(FOOTER_BYTES)
        summary, _, said = struct.unpack("<QQI", footer[9:29])
        if footer[-8:] != MCAP_MAGIC or not 0 <= summary <= end - FOOTER_BYTES:
            return
        if summary and said and _crc(file, summary, end - 12) != said:
            raise InputError(f"The bag's file {path} is damaged: the checksum of its summary is wrong.")
        data_end = (summary or end - FOOTER_BYTES) - 13  # the record DataEnd: opcode, length, sum
        if data_end < len(MCAP_MAGIC):
            return
        file.seek(data_end)
        record = file.read(13)
        said = struct.unpack("<I", record[9:])[0] if record[0] == DATA_END else 0
        if said and _crc(file, 0, data_end) != said:
            raise InputError(f"The bag's file {path} is damaged: the checksum of its data is wrong.")


def _crc(file: Any, start: int, stop: int) -> int:
    file.seek(start)
    total, left = 0, stop - start
    while left > 0 and (part := file.read(min(left, READ_BYTES))):
        total, left = crc32(part, total), left - len(part)
    return total


class BoundedZstd:
    """In place of the module `zstd` in `rosbags`: the same results, but never more than the limits."""

    def __init__(self, zstd: Any) -> None:
        self._zstd = zstd

    def __getattr__(self, name: str) -> Any:
        return getattr(self._zstd, name)

    def decompress(self, data: bytes, *_: object) -> bytes:
        """A chunk or message; more than MAX_MESSAGE_BYTES, or an unfinished one, is an error."""
        parts, total = [], 0
        while data:
            inflater = self._zstd.ZstdDecompressor()
            part = inflater.decompress(data, max_length=MAX_MESSAGE_BYTES - total + 1)
            total += len(part)
            if total > MAX_MESSAGE_BYTES:
                raise ValueError(f"a compressed part inflates to more than {MAX_MESSAGE_BYTES:,} bytes")
            if not inflater.eof:
                raise ValueError("a compressed part is cut short")
            parts.append(part)
            data = inflater.unused_data
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def open(self, file: Any, mode: str = "rb") -> "_BoundedFile":
        """A whole file; more than MAX_GROWTH times what it has on disk is an error."""
        at = file.tell()
        size = file.seek(0, 2)
        file.seek(at)
        return _BoundedFile(self._zstd.open(file, mode), MAX_GROWTH * size + READ_BYTES)


class _BoundedFile:
    def __init__(self, file: Any, limit: int) -> None:
        self._file, self._left, self._limit = file, limit, limit

    def __enter__(self) -> "_BoundedFile":
        self._file.__enter__()
        return self

    def __exit__(self, *error: object) -> object:
        return self._file.__exit__(*error)

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(READ_BYTES if size < 0 else min(size, READ_BYTES))
        self._left -= len(part)
        if self._left < 0:
            raise ValueError(f"a compressed file inflates to more than {self._limit:,} bytes")
        return part


def bound_rosbags() -> None:
    """Let `rosbags` inflate through BoundedZstd, and lz4 to a limit; its reader has no other hook for it."""
    from rosbags.rosbag2 import reader, storage_mcap

    for module in (reader, storage_mcap):
        zstd = getattr(module, "zstd", None)
        if zstd is not None and not isinstance(zstd, BoundedZstd):
            module.zstd = BoundedZstd(zstd)  # type: ignore[attr-defined]
    known = getattr(storage_mcap, "DECOMPRESSORS", {})
    if "lz4" in known:
        known["lz4"] = _bounded_lz4


def _bounded_lz4(data: bytes, _size: int = 0) -> bytes:
    from lz4.frame import LZ4FrameDecompressor  # pyright: ignore[reportMissingImports] (comes with rosbags)

    inflater = LZ4FrameDecompressor()
    part = inflater.decompress(data, max_length=MAX_MESSAGE_BYTES + 1)
    if len(part) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a compressed part inflates to more than {MAX_MESSAGE_BYTES:,} bytes")
    if not inflater.eof:
        raise ValueError("a compressed part is cut short")
    return part

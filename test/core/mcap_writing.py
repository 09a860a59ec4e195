"""Rewrites an mcap as another recorder would have: in chunks of so many messages, or in none; no index."""

import struct
from binascii import crc32
from pathlib import Path


def record(kind: int, content: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(content)) + content


def text(letters: str | bytes) -> bytes:
    content = letters.encode() if isinstance(letters, str) else letters
    return struct.pack("<I", len(content)) + content


def chunk(messages: list[bytes], times: list[int], compression: str = "") -> bytes:
    """The record of a chunk; message indexes are left out, as where they came after the cut."""
    content = b"".join(messages)
    packed = content
    if compression == "zstd":
        from rosbags.rosbag2.storage_mcap import zstd

        packed = zstd.compress(content)
    head = struct.pack("<QQQI", min(times), max(times), len(content), crc32(content))
    return record(6, head + text(compression) + struct.pack("<Q", len(packed)) + packed)


def rewritten(whole: Path, in_a_chunk: int, compression: str = "") -> tuple[bytes, list[int]]:
    """(the records of a file without its end, where each part of them ends): parts are chunks of
    `in_a_chunk` messages, or with 0 single messages."""
    from rosbags.rosbag2.storage_mcap import McapReader

    reader = McapReader(whole)
    reader.open()
    content = b"\x89MCAP0\r\n" + record(1, text("ros2") + text("a test"))
    for schema in reader.schemas.values():
        named = text(schema.name) + text(schema.encoding) + text(schema.data)
        content += record(3, struct.pack("<H", schema.id) + named)
    numbers = {schema.name: schema.id for schema in reader.schemas.values()}
    for channel in reader.channels.values():
        named = text(channel.topic) + text(channel.message_encoding) + text(channel.metadata)
        content += record(4, struct.pack("<HH", channel.id, numbers[channel.schema]) + named)
    messages = [
        (time, record(5, struct.pack("<HIQQ", connection.id, 0, time, time) + bytes(data)))
        for connection, time, data in reader.messages(reader.connections)
    ]
    reader.close()
    ends = []
    step = in_a_chunk or 1
    for first in range(0, len(messages), step):
        times, parts = zip(*messages[first : first + step], strict=True)
        content += chunk(list(parts), list(times), compression) if in_a_chunk else parts[0]
        ends.append(len(content))
    return content, ends

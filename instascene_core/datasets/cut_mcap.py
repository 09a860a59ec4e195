"""An mcap whose recorder was killed: no index, no end.  What was written before is read.

How such a file is told from a whole one, and how its records lie in it; `cut_mcap_reader` reads it.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MAGIC = b"\x89MCAP0\r\n"
FOOTER_BYTES = 37  # with the magic at the end
HEADER, MESSAGE, CHUNK, DATA_END = 0x01, 0x05, 0x06, 0x0F
FOOTER, PADDING = 0x02, 0x00  # no record begins with a zero: such bytes were never written
LENGTH = struct.Struct("<Q")
MESSAGE_HEAD = struct.Struct("<HIQQ")  # channel, sequence, times of the log and of the publisher
CHUNK_HEAD = struct.Struct("<QQQII")  # first and last time, size, CRC-32, letters of the compression's name


def is_cut(path: Path) -> bool:
    """Whether a file begins as an mcap and has not the end of one."""
    with path.open("rb") as file:
        begins = file.read(len(MAGIC)) == MAGIC
        end = file.seek(0, 2)
        file.seek(max(0, end - len(MAGIC)))
        return begins and (end < len(MAGIC) + FOOTER_BYTES or file.read(len(MAGIC)) != MAGIC)


def whole_records(file: BinaryIO, start: int) -> Iterator[tuple[int, int, int]]:
    """(kind, offset, length with its head) of the records of a file from `start` on, up to the cut."""
    size = file.seek(0, 2)
    while start + 9 <= size:
        file.seek(start)
        kind, length = file.read(1)[0], LENGTH.unpack(file.read(8))[0] + 9
        if kind in (PADDING, DATA_END, FOOTER) or start + length > size:
            return
        yield kind, start, length
        start += length

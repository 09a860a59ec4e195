"""Bags that are broken or hostile; each case is put into `bad_inputs.CASES`."""

import struct
from collections.abc import Callable

from bad_inputs import BOMB, CASES, Ground, Maker, case, run


def zstd():
    """The module that `rosbags` inflates with."""
    import sys

    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def zeros(size: int) -> bytes:
    """zstd of so many zeros, without having them in memory."""
    compressor, part = zstd().ZstdCompressor(), bytes(2**22)
    return b"".join(compressor.compress(part) for _ in range(size // len(part))) + compressor.flush()


@case("bag: a file of 200 kB that inflates to gigabytes", "inflates to more than")
def _(ground: Ground) -> list[str]:
    folder = ground.bag("sqlite3")
    file = next(folder.glob("*.db3"))
    (folder / f"{file.name}.zstd").write_bytes(zeros(2**31))
    file.unlink()
    text = (folder / "metadata.yaml").read_text().replace(file.name, f"{file.name}.zstd")
    text = text.replace("compression_format: ''", "compression_format: zstd")
    text = text.replace("compression_mode: ''", "compression_mode: file")
    assert "compression_mode: file" in text
    (folder / "metadata.yaml").write_text(text)
    return run(folder)


@case("bag: a message that inflates to gigabytes", "inflates to more than")
def _(ground: Ground) -> list[str]:
    import sqlite3

    folder = ground.bag("sqlite3")
    with sqlite3.connect(next(folder.glob("*.db3"))) as database:
        database.execute("UPDATE messages SET data = ?", (zeros(2**31),))
    text = (folder / "metadata.yaml").read_text()
    text = text.replace("compression_format: ''", "compression_format: zstd")
    text = text.replace("compression_mode: ''", "compression_mode: message")
    (folder / "metadata.yaml").write_text(text)
    return run(folder)


def metadata(text: str) -> Maker:
    def make(ground: Ground) -> list[str]:
        folder = ground.bag()
        (folder / "metadata.yaml").write_text(text)
        return run(folder)

    return make


for _name, _make, _words in (
    ("metadata of aliases", metadata(BOMB), "stands for more than"),
    ("metadata nested deep", metadata("[" * 100_000), "cannot be opened"),
    ("metadata a list", metadata("[1, 2]"), "cannot be opened"),
    ("metadata of texts", metadata("rosbag2_bagfile_information: {version: nine}"), "cannot be opened"),
):
    CASES[f"bag: {_name}"] = (_make, _words)


def with_sums(content: bytes) -> bytearray:
    """An mcap with the checksums that `rosbags` leaves out when it writes."""
    import zlib

    result, at, data_end = bytearray(content), 8, 0
    summary = struct.unpack("<Q", content[-28:-20])[0]
    while at < len(content) - 8:
        kind, size = content[at], struct.unpack("<Q", content[at + 1 : at + 9])[0]
        if kind == 0x06:  # a chunk: its sum is that of what was compressed
            length = struct.unpack("<I", content[at + 37 : at + 41])[0]
            assert length == 0  # not compressed
            result[at + 33 : at + 37] = struct.pack("<I", zlib.crc32(content[at + 49 : at + 9 + size]))
        if kind == 0x0F:
            data_end = at
        at += 9 + size
    result[data_end + 9 : data_end + 13] = struct.pack("<I", zlib.crc32(result[:data_end]))
    result[-12:-8] = struct.pack("<I", zlib.crc32(result[summary:-12]))
    return result


def flipped(at: Callable[[bytes], int]) -> Maker:
    """One bit of an mcap turned over."""

    def make(ground: Ground) -> list[str]:
        folder = ground.bag()
        file = next(folder.glob("*.mcap"))
        content = with_sums(file.read_bytes())
        content[at(bytes(content))] ^= 1
        file.write_bytes(content)
        return run(folder)

    return make


CASES["bag: a bit of the data turned over"] = (flipped(lambda c: len(c) // 3), "checksum of its data")
CASES["bag: a bit of the summary turned over"] = (flipped(lambda c: len(c) - 60), "checksum of its summary")

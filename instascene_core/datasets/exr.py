"""OpenEXR images of one channel, as renderers write depth: scanlines, uncompressed, RLE or ZIP.

The layout is that of https://openexr.com/en/latest/OpenEXRFileLayout.html.
"""

import struct
import zlib
from pathlib import Path

import numpy as np

from instascene_core.errors import DamagedImage, InputError
from instascene_core.untrusted import require_pixels

MAGIC = b"\x76\x2f\x31\x01"
LINES_IN_A_BLOCK = {0: 1, 1: 1, 2: 1, 3: 16}  # by compression: none, RLE, ZIPS, ZIP
COMPRESSIONS = ("none", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "B44A", "DWAA", "DWAB")
PIXEL_TYPES = (np.dtype("<u4"), np.dtype("<f2"), np.dtype("<f4"))
DEPTH_CHANNELS = ("Z", "V", "Y", "R", "G", "B")  # the first that is there, by the last part of its name


def read_exr(path: Path) -> np.ndarray:
    """[H, W] float32: the channel of depth, as in the file.

    Several colour channels hold the same depth where a renderer wrote it as an image.  Raises InputError.
    """
    try:
        data = Path(path).read_bytes()
        return _decode(data, path)
    except InputError:  # a ValueError as well
        raise
    except OSError as error:
        raise InputError(f"The depth file {path} cannot be read: {error.strerror}.") from error
    except (struct.error, ValueError, IndexError, KeyError, zlib.error) as error:
        raise DamagedImage(f"The depth file {path} is no EXR image, truncated or corrupt.") from error


def _decode(data: bytes, path: Path) -> np.ndarray:
    if data[:4] != MAGIC:
        raise DamagedImage(f"The depth file {path} is no EXR image, truncated or corrupt.")
    (version,) = struct.unpack_from("<I", data, 4)
    if version & 0x1A00:
        raise InputError(f"The depth file {path} is a tiled, deep or multi-part EXR; write scanlines.")
    header, position = _header(data, 8)
    compression = header["compression"][0]
    if compression not in LINES_IN_A_BLOCK:
        name = COMPRESSIONS[compression] if compression < len(COMPRESSIONS) else compression
        raise InputError(f"The EXR compression {name} of {path} is not known; write it as ZIP or none.")
    x0, y0, x1, y1 = struct.unpack("<4i", header["dataWindow"])
    width, height = x1 - x0 + 1, y1 - y0 + 1
    require_pixels(width, height, f"The EXR image {path}")
    channels = _channels(header["channels"])
    start, kind = _chosen(channels, width, path)
    row = sum(kind.itemsize for _, kind in channels) * width
    lines = LINES_IN_A_BLOCK[compression]
    image = np.zeros((height, width), np.float32)
    offsets = struct.unpack_from(f"<{-(-height // lines)}Q", data, position)
    for offset in offsets:
        y, size = struct.unpack_from("<ii", data, offset)
        first = y - y0
        rows = min(lines, height - first)
        packed = data[offset + 8 : offset + 8 + max(size, 0)]
        if rows < 1 or first < 0 or len(packed) != size:
            raise ValueError("bad block")
        block = _unpacked(packed, row * rows, compression)
        pixels = np.frombuffer(block, np.uint8).reshape(rows, row)[:, start : start + width * kind.itemsize]
        image[first : first + rows] = np.ascontiguousarray(pixels).view(kind)
    return image


def _header(data: bytes, position: int) -> tuple[dict[str, bytes], int]:
    """(attributes by name, where they end)."""
    attributes = {}
    while data[position] != 0:
        name, position = _text(data, position)
        _, position = _text(data, position)  # the type
        (size,) = struct.unpack_from("<i", data, position)
        if size < 0:
            raise ValueError("negative size")
        attributes[name] = data[position + 4 : position + 4 + size]
        position += 4 + size
    return attributes, position + 1


def _text(data: bytes, position: int) -> tuple[str, int]:
    """(the text that ends with a zero byte, where the next thing begins)."""
    end = data.index(0, position)
    return data[position:end].decode("latin-1"), end + 1


def _channels(data: bytes) -> list[tuple[str, np.dtype]]:
    """(name, type) in the order in which a row holds them; subsampled ones are refused."""
    found, position = [], 0
    while data[position] != 0:
        name, position = _text(data, position)
        kind, _, step_x, step_y = struct.unpack_from("<iIii", data, position)
        if (step_x, step_y) != (1, 1):
            raise ValueError("subsampled channel")
        found.append((name, PIXEL_TYPES[kind]))
        position += 16
    return found


def _chosen(channels: list[tuple[str, np.dtype]], width: int, path: Path) -> tuple[int, np.dtype]:
    """(first byte within a row, type) of the channel of depth."""
    names = [name.rsplit(".", 1)[-1] for name, _ in channels]
    wanted = next((name for name in DEPTH_CHANNELS if name in names), None)
    if wanted is None and len(channels) != 1:
        raise InputError(f"The EXR image {path} has the channels {', '.join(names)}, none of them depth (Z).")
    index = names.index(wanted) if wanted else 0
    return sum(kind.itemsize for _, kind in channels[:index]) * width, channels[index][1]


def _unpacked(block: bytes, size: int, compression: int) -> bytes:
    """The `size` bytes of a block."""
    if len(block) == size or compression == 0:  # what does not get smaller is stored as it is
        return block[:size]
    packed = zlib.decompressobj().decompress(block, size) if compression != 1 else _run_lengths(block, size)
    if len(packed) != size:
        raise ValueError("short block")
    values = np.frombuffer(packed, np.uint8).astype(np.int64)
    values[1:] -= 128  # each byte but the first is the difference from the one before it, plus 128
    values = np.cumsum(values).astype(np.uint8)
    result = np.empty(size, np.uint8)  # the bytes of even places come first
    result[0::2], result[1::2] = values[: (size + 1) // 2], values[(size + 1) // 2 :]
    return result.tobytes()


def _run_lengths(block: bytes, size: int) -> bytes:
    result, position = bytearray(), 0
    while position < len(block) and len(result) < size:
        (count,) = struct.unpack_from("<b", block, position)
        if count < 0:
            result += block[position + 1 : position + 1 - count]
            position += 1 - count
        else:
            result += block[position + 1 : position + 2] * (count + 1)
            position += 2
    return bytes(result)

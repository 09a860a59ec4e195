"""Depth of ROS messages: Image, and CompressedImage as compressed_depth_image_transport packs it."""

import struct

import numpy as np

from instascene_core.datasets.fitting import measured
from instascene_core.errors import DamagedImage, InputError
from instascene_core.untrusted import decoded_image

MILLIMETRE = 0.001  # metres a step of 16-bit depth (REP 118)
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
HEADER = struct.Struct("<iff")  # compression, depthParam A and B of compressed_depth_image_transport
PNG = b"\x89PNG\r\n\x1a\n"


def metres_of(values: np.ndarray, unit: float) -> tuple[np.ndarray, int]:
    """([H, W] float32 metres, number of impossible values) of decoded depth.

    unit: metres a step of integers, 0 for millimetres; floats are metres unless it is given.
    """
    if values.dtype == np.uint16:
        return values * np.float32(unit or MILLIMETRE), 0
    return measured(values if unit in (0, 1) else values * np.float32(unit))


def decompress(message) -> np.ndarray:
    """[H, W] uint16 steps or float32 metres, 0 = no measurement, of a CompressedImage.

    compressedDepth is a header of 12 bytes and a PNG of 16 bits: the steps themselves, or for float depth
    its inverse, z = A / (v − B).  The plain plugin's PNG holds the steps.  Raises InputError for others.
    """
    encoding, _, rest = message.format.partition(";")
    encoding, data = encoding.strip(), np.asarray(message.data, dtype=np.uint8).tobytes()
    if "compressedDepth" not in rest:
        if not data.startswith(PNG):
            raise InputError(
                f"Compressed depth of format '{message.format}' loses what was measured; record the depth "
                "raw or as compressedDepth."
            )
        return _decode_png(data, message.format)
    method = rest.replace("compressedDepth", " ").split()
    if method not in ([], ["png"]) or encoding not in DEPTH_ENCODINGS:
        raise InputError(
            f"Compressed depth of format '{message.format}' is not known; use compressedDepth with PNG of "
            "16UC1 or 32FC1."
        )
    if len(data) <= HEADER.size:
        raise DamagedImage(f"A compressed depth image (format '{message.format}') is truncated.")
    _, a, b = HEADER.unpack_from(data)
    if data[HEADER.size :][: len(PNG)] != PNG:
        raise InputError(
            f"A compressed depth image (format '{message.format}') holds no PNG (RVL is not known); set the "
            "publisher's compressedDepth format to png."
        )
    steps = _decode_png(data[HEADER.size :], message.format)
    if encoding != "32FC1":
        return steps
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.float32(a) / (steps.astype(np.float32) - np.float32(b))
    return np.where((steps > 0) & np.isfinite(depth), depth, np.float32(0))


def _decode_png(data: bytes, name: str) -> np.ndarray:
    import cv2

    with decoded_image(data, f"A compressed depth image (format '{name}')"):
        pass  # its header is read first: it may ask for any amount of memory
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise DamagedImage(f"A compressed depth image (format '{name}') cannot be decoded.")
    if values.ndim != 2 or values.dtype != np.uint16:
        raise InputError(
            f"A compressed depth image (format '{name}') holds {values.dtype} in "
            f"{values.ndim} dimensions; one channel of 16 bits is needed."
        )
    return values

"""Bayer patterns, YUV and 16-bit colours of ROS image messages as RGB."""

import numpy as np

from instascene_core.errors import InputError

# encoding → (numpy type of one channel, channels): pixel-interleaved, so that rows are width × channels
INTERLEAVED = {
    "rgb16": ("u2", 3),
    "bgr16": ("u2", 3),
    "rgba16": ("u2", 4),
    "bgra16": ("u2", 4),
    **{f"bayer_{pattern}8": ("u1", 1) for pattern in ("rggb", "bggr", "gbrg", "grbg")},
    **{f"bayer_{pattern}16": ("u2", 1) for pattern in ("rggb", "bggr", "gbrg", "grbg")},
    "yuv422": ("u1", 2),  # UYVY, as ROS defines it
    "uyvy": ("u1", 2),
    "yuv422_yuy2": ("u1", 2),  # YUYV
    "yuyv": ("u1", 2),
}
# Planes below one another, so that a "row" is a line of bytes: encoding → lines for an image of two lines
PLANAR = {"nv12": 3, "nv21": 3, "nv24": 6, "i420": 3}
ENCODINGS = (*INTERLEAVED, *PLANAR)


def to_rgb(values: np.ndarray, encoding: str) -> np.ndarray:
    """[H, W, 3] uint8 from the values of an encoding of this module.

    values: [H, W] or [H, W, C] of an interleaved one; [lines, W] uint8 of a planar one.
    """
    import cv2

    if encoding in ("rgb16", "rgba16"):
        return _eight_bits(values[..., :3])
    if encoding in ("bgr16", "bgra16"):
        return _eight_bits(values[..., 2::-1])
    if encoding.startswith("bayer_"):
        pattern = encoding.removeprefix("bayer_").rstrip("0123456789").upper()
        return cv2.cvtColor(_eight_bits(values), getattr(cv2, f"COLOR_Bayer{pattern}2RGB"))
    if encoding == "nv24":
        return _from_nv24(values)
    if encoding in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv") and values.shape[1] % 2:
        raise InputError(f"A {encoding} image has an even width; this one is {values.shape[1]} wide.")
    codes = {
        "yuv422": cv2.COLOR_YUV2RGB_UYVY,
        "uyvy": cv2.COLOR_YUV2RGB_UYVY,
        "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
        "yuyv": cv2.COLOR_YUV2RGB_YUY2,
        "nv12": cv2.COLOR_YUV2RGB_NV12,
        "nv21": cv2.COLOR_YUV2RGB_NV21,
        "i420": cv2.COLOR_YUV2RGB_I420,
    }
    return cv2.cvtColor(np.ascontiguousarray(values), codes[encoding])


def lines_of(encoding: str, width: int, height: int) -> int:
    """Lines of bytes of a planar image; InputError where its size cannot be halved."""
    if encoding != "nv24" and (width % 2 or height % 2):
        raise InputError(f"A {encoding} image has an even width and height; this one is {width}×{height}.")
    return height * PLANAR[encoding] // 2


def _eight_bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values >> 8 if values.dtype == np.uint16 else values).astype(np.uint8)


def _from_nv24(values: np.ndarray) -> np.ndarray:
    """Full-size luma, then full-size interleaved U and V."""

    height = len(values) // 3
    chroma = np.ascontiguousarray(values[height:]).reshape(height, values.shape[1], 2)
    yvu = np.dstack([values[:height], chroma[..., 1], chroma[..., 0]])  # OpenCV's order is Y Cr Cb
    full = yvu.astype(np.float32)
    # The video range of luma, 16 … 235, and of chroma, as OpenCV takes it for the other YUV encodings.
    y, v, u = 1.164 * (full[..., 0] - 16), full[..., 1] - 128, full[..., 2] - 128
    rgb = np.dstack([y + 1.596 * v, y - 0.813 * v - 0.391 * u, y + 2.018 * u])
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)

"""Reading image files, with one sentence for every way in which they can be bad."""

from pathlib import Path

import numpy as np

from instascene_core.errors import InputError
from instascene_core.untrusted import opened_image, read_npy


def read_rgb(path: Path) -> np.ndarray:
    """[H, W, 3] uint8; grey is repeated, alpha dropped."""
    with opened_image(path) as image:
        if image.mode.startswith(("I", "F")):
            raise InputError(f"The image {path} has {image.mode} pixels; 8-bit colour or grey is needed.")
        return np.array(image.convert("RGB"))


def read_depth(path: Path, unit: float) -> np.ndarray:
    """[H, W] float32 metres from a one-channel image or .npy in steps of `unit` metres.

    0, negative, NaN and infinity mean no measurement and become 0.
    """
    values = read_npy(path, "The depth file") if path.suffix == ".npy" else _read_raw(path)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2:
        raise InputError(f"The depth image {path} has shape {values.shape}; one channel is needed.")
    with np.errstate(invalid="ignore"):
        depth = values.astype(np.float64) * unit
        return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)


def read_labels(path: Path) -> np.ndarray:
    """[H, W] int32 as in the file: 0 = unlabelled."""
    values = _read_raw(path)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.integer):
        raise InputError(
            f"The label image {path} is {values.shape} {values.dtype}; one integer channel is needed."
        )
    return values.astype(np.int32)


def read_normals(path: Path) -> np.ndarray:
    """[H, W, 3] float32 unit vectors from an image of (n + 1) / 2, 8 or 16 bits; black = unknown, 0."""
    import cv2

    with opened_image(path):
        pass  # its header is checked: OpenCV would decode whatever it says
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)  # PIL would cut 16 bits a channel to 8
    if values is None:
        raise InputError(f"The file {path} is not an image that can be read.")
    if values.ndim != 3 or values.shape[2] != 3 or values.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"The normal image {path} is {values.shape} {values.dtype}; RGB of 8 or 16 bits is needed."
        )
    known = values.any(axis=2, keepdims=True)
    normals = values[..., ::-1].astype(np.float32) * np.float32(2 / np.iinfo(values.dtype).max) - 1
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    return np.where(known & (length > 0.5), normals / np.maximum(length, 1e-6), 0).astype(np.float32)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) without decoding the pixels."""
    with opened_image(path) as image:
        return image.size


def _read_raw(path: Path) -> np.ndarray:
    with opened_image(path) as image:
        return np.array(image)

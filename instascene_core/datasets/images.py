"""Reading image files, with one sentence for every way in which they can be bad."""

import zipfile
from pathlib import Path

import numpy as np

from instascene_core.datasets.exr import read_exr
from instascene_core.datasets.fitting import NO_MEASUREMENT, measured
from instascene_core.datasets.remarks import Remarks
from instascene_core.errors import InputError
from instascene_core.untrusted import opened_image, parse_npy, read_npy

EXIF_ORIENTATION = 0x0112
OPAQUE = 128  # of 255: alpha from which a pixel shows the scene
TURNED = (5, 6, 7, 8)  # orientations with which width and height change places
LOSSY = ("JPEG", "WEBP")  # keep the look of an image, not its values


def read_rgb(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """[H, W, 3] uint8; grey is repeated, alpha dropped.

    size: (width, height) of the calibrated camera.  COLMAP and nerfstudio calibrate images as they are
    stored; some other tools turn them upright first, as their EXIF data say.  Where only the turned image
    has the camera's shape, it is the one that was calibrated.
    """
    return read_rgb_and_alpha(path, size)[0]


def read_rgb_and_alpha(
    path: Path, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(`read_rgb`, [H, W] bool where the image is opaque); None where it has no alpha or none is transparent.

    Renderers (Blender) and cut-outs mark by alpha what is not part of the scene.
    """
    with opened_image(path) as image:
        if image.mode.startswith(("I", "F")):
            raise InputError(f"The image {path} has {image.mode} pixels; 8-bit colour or grey is needed.")
        if size is not None and _must_turn(image, size):
            from PIL import ImageOps

            image = ImageOps.exif_transpose(image)
        opaque = None
        if image.mode in ("RGBA", "LA"):
            opaque = np.array(image.getchannel("A")) >= OPAQUE
        colors = np.array(image.convert("RGB"))
    return colors, None if opaque is None or opaque.all() else opaque


def _must_turn(image, size: tuple[int, int]) -> bool:
    """Whether the image has the shape of the camera only after its EXIF orientation is applied."""
    width, height = size
    if (image.width > image.height) == (width > height) or image.width == image.height or width == height:
        return False
    return image.getexif().get(EXIF_ORIENTATION) in TURNED


def read_depth(
    path: Path, unit: float, remarks: Remarks | None = None, none: float | None = None
) -> np.ndarray:
    """[H, W] float32 metres from a one-channel image, .exr, .npy or .npz in steps of `unit` metres.

    0, negative, NaN, infinity and beyond 10 km mean no measurement and become 0; `remarks` counts them, and
    says what is as coarse as 8 bits are.
    none: another value, as it stands in the file, that the format writes where nothing was measured.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"The depth file {path} is missing.")
    if suffix == ".npy":
        values = read_npy(path, "The depth file")
    elif suffix == ".npz":
        values = _read_npz(path)
    else:
        values = read_exr(path) if suffix == ".exr" else _read_values(path, "depth image")
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[..., 0] if values.shape[2] == 1 else values[0]
    if values.ndim != 2 or values.dtype.kind not in "uif":
        raise InputError(
            f"The depth image {path} has shape {values.shape}, {values.dtype}; one channel is needed."
        )
    if values.dtype == np.uint8 and remarks is not None:
        remarks.say(
            f"the depth images have 8 bits, 255 steps of {unit:g} m: what is made from them is as coarse; "
            "record depth with 16 bits, or give --no-depth if they are pictures of depth only"
        )
    if none is not None:
        values = np.where(values == none, values.dtype.type(0), values)
    with np.errstate(invalid="ignore", over="ignore"):
        depth, ignored = measured(values.astype(np.float64) * unit)
    if remarks is not None:
        remarks.count(NO_MEASUREMENT, ignored)
    return depth


def read_kept(path: Path) -> np.ndarray:
    """[H, W] bool from a mask image of any kind: False where it is black, which means: ignore this pixel."""
    with opened_image(path) as image:
        values = np.array(image.convert("RGB") if image.mode == "P" else image)
    if values.ndim == 3 and values.shape[2] in (2, 4):
        values = values[..., :-1]  # without alpha
    return np.any(values, axis=2) if values.ndim == 3 else np.asarray(values > 0)


def read_labels(path: Path) -> np.ndarray:
    """[H, W] int32 as in the file: 0 = unlabelled."""
    values = _read_values(path, "label image", palette=True)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.integer):
        raise InputError(
            f"The label image {path} is {values.shape} {values.dtype}; one integer channel is needed."
        )
    return values.astype(np.int32)


def read_confidence(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """[H, W] integers of an image of the given shape: how sure a sensor was of each measurement."""
    values = _read_values(path, "confidence image")
    if values.shape != shape or not np.issubdtype(values.dtype, np.integer):
        raise InputError(
            f"The confidence image {path} is {values.shape} {values.dtype}; integers of the depth's shape "
            f"{shape} are needed."
        )
    return values


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


def _read_values(path: Path, what: str, palette: bool = False) -> np.ndarray:
    """The numbers in an image; InputError where its file keeps what they look like and not the numbers.

    palette: whether places in a palette are such numbers, as they are of labels.
    """
    with opened_image(path) as image:
        if image.format in LOSSY:
            raise InputError(
                f"The {what} {path} is a {image.format} file, which changes values; save it as PNG."
            )
        if image.mode == "P" and not palette:
            raise InputError(f"The {what} {path} is coloured by a palette; save the numbers themselves.")
        return np.array(image)


def _read_npz(path: Path) -> np.ndarray:
    """The one array in an .npz file; its header must agree with its size, as that of an .npy file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) != 1:
                raise InputError(f"The depth file {path} holds {len(members)} arrays; one is needed.")
            with archive.open(members[0]) as file:
                return parse_npy(file, members[0].file_size, f"The depth file {path}")
    except InputError:
        raise
    except Exception as error:  # zlib, zipfile and lzma raise many kinds for broken archives
        raise InputError(f"The depth file {path} is not a readable .npz archive.") from error

"""The cameras and poses in COLMAP's files, binary or text.

Read here and not by pycolmap, which trusts every byte: it never returns from an empty points3D.bin, takes
numbers beyond the end of a cut file for a camera's, and a quaternion of zeros for no turn.  Points, tracks,
rigs and frames are not read; COLMAP writes the pose of each image beside it whatever rig it is on.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.datasets.pose_track import matrix_of
from instascene_core.errors import InputError
from instascene_core.untrusted import one_line

# The names of COLMAP's camera models, by their number in binary files, and how many parameters each has
# (colmap/src/colmap/sensor/models.h).
MODELS = (
    ("SIMPLE_PINHOLE", 3), ("PINHOLE", 4), ("SIMPLE_RADIAL", 4), ("RADIAL", 5), ("OPENCV", 8),
    ("OPENCV_FISHEYE", 8), ("FULL_OPENCV", 12), ("FOV", 5), ("SIMPLE_RADIAL_FISHEYE", 4),
    ("RADIAL_FISHEYE", 5), ("THIN_PRISM_FISHEYE", 12), ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    ("SIMPLE_DIVISION", 4), ("DIVISION", 5), ("SIMPLE_FISHEYE", 3), ("FISHEYE", 4), ("EUCM", 6),
    ("EQUIRECTANGULAR", 2),
)  # fmt: skip
MAX_LINE = 2**24  # letters of a line of text; one of images.txt lists all features of an image
MAX_NAME_BYTES = 4096
FEATURE_BYTES = 24  # of images.bin: x, y, id of the point
SMALLEST_IMAGE = 73  # bytes of an image without name and features


@dataclass(frozen=True)
class ColmapCamera:
    """A calibrated camera, its parameters in COLMAP's order."""

    model_name: str
    width: int
    height: int
    params: tuple[float, ...]


@dataclass(frozen=True)
class ColmapImage:
    """An image with its pose."""

    name: str
    camera_id: int
    camera_from_world: np.ndarray  # [4, 4]


def read_model(folder: Path) -> tuple[dict[int, ColmapCamera], list[ColmapImage]]:
    """(cameras by their number, images) of the model in `folder`.

    Raises InputError where a file is cut off, says other numbers than it holds, or a pose is none.
    """
    if (folder / "cameras.bin").is_file() and (folder / "images.bin").is_file():
        cameras, images = _binary_cameras(folder / "cameras.bin"), _binary_images(folder / "images.bin")
    else:
        cameras, images = _text_cameras(folder / "cameras.txt"), _text_images(folder / "images.txt")
    for image in images:
        if image.camera_id not in cameras:
            raise InputError(
                f"The COLMAP model {folder} cannot be read: '{image.name}' is of camera {image.camera_id}, "
                "which it does not have."
            )
    return cameras, images


def number_of_images(folder: Path) -> int:
    """How many images a model has, without reading it; 0 where its file is damaged."""
    try:
        if (folder / "images.bin").is_file():
            size = (folder / "images.bin").stat().st_size
            with (folder / "images.bin").open("rb") as file:
                count = struct.unpack("<Q", file.read(8))[0]
            return count if count * SMALLEST_IMAGE <= size else 0
        with (folder / "images.txt").open(encoding="utf-8", errors="replace") as file:
            return (sum(not line.startswith("#") for line in file) + 1) // 2  # two lines an image
    except (OSError, struct.error):
        return 0


class _Binary:
    """Reads numbers from a file and never beyond its end."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path = file, path
        self._size = file.seek(0, 2)
        file.seek(0)

    def numbers(self, layout: str) -> tuple[Any, ...]:
        size = struct.calcsize(f"<{layout}")
        content = self._file.read(size)
        if len(content) < size:
            raise self.fault("it is cut off")
        return struct.unpack(f"<{layout}", content)

    def name(self) -> str:
        """Letters up to a zero."""
        start = self._file.tell()
        content = self._file.read(MAX_NAME_BYTES)
        end = content.find(b"\0")
        if end < 0:
            raise self.fault("the name of an image has no end")
        self._file.seek(start + end + 1)
        try:
            return content[:end].decode()
        except UnicodeDecodeError as error:
            raise self.fault("the name of an image is no text") from error

    def skip(self, size: int) -> None:
        if size > self._size - self._file.tell():
            raise self.fault("it is cut off")
        self._file.seek(size, 1)

    def require_end(self) -> None:
        if self._file.tell() != self._size:
            raise self.fault("it holds more than it says")

    def fault(self, what: str) -> InputError:
        return _fault(self._path, what)


def _fault(path: Path, what: str) -> InputError:
    return InputError(f"COLMAP's file {path} cannot be read: {what}.")


def _binary_cameras(path: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    with path.open("rb") as file:
        binary = _Binary(file, path)
        for _ in range(binary.numbers("Q")[0]):
            number, model, width, height = binary.numbers("IiQQ")
            if not 0 <= model < len(MODELS):
                raise binary.fault(f"its camera model {model} is not known")
            name, count = MODELS[model]
            cameras[number] = ColmapCamera(name, width, height, binary.numbers(f"{count}d"))
        binary.require_end()
    return cameras


def _binary_images(path: Path) -> list[ColmapImage]:
    images = []
    with path.open("rb") as file:
        binary = _Binary(file, path)
        for _ in range(binary.numbers("Q")[0]):
            _, *pose, camera = binary.numbers("I7dI")
            name = binary.name()
            images.append(_image(name, camera, pose))
            binary.skip(binary.numbers("Q")[0] * FEATURE_BYTES)
        binary.require_end()
    return images


def _image(name: str, camera: int, pose: list[float]) -> ColmapImage:
    """pose: quaternion wxyz and translation of camera_from_world."""
    matrix = matrix_of(np.array(pose[4:]), np.array(pose[:4]), f"The pose of '{one_line(name, 80)}'")
    return ColmapImage(name, camera, matrix)


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file that are no comments, empty ones included, one by one."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            while line := file.readline(MAX_LINE):
                if len(line) == MAX_LINE:
                    raise _fault(path, f"a line has more than {MAX_LINE:,} letters")
                if not line.startswith("#"):
                    yield line.strip()
    except UnicodeDecodeError as error:
        raise _fault(path, "it is no text") from error


def _text_cameras(path: Path) -> dict[int, ColmapCamera]:
    counts, cameras = dict(MODELS), {}
    for line in filter(None, _lines(path)):
        words = line.split()
        try:
            number, model, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
            params = tuple(float(word) for word in words[4:])
        except (ValueError, IndexError) as error:
            raise _fault(path, f"'{one_line(line, 80)}' is no camera") from error
        if model not in counts:
            raise _fault(path, f"its camera model '{one_line(model, 40)}' is not known")
        if len(params) != counts[model]:
            raise _fault(path, f"a {model} camera has {counts[model]} parameters, not {len(params)}")
        cameras[number] = ColmapCamera(model, width, height, params)
    return cameras


def _text_images(path: Path) -> list[ColmapImage]:
    """Two lines an image, its pose and its features; lists made by hand may leave out the second."""
    images, features_may_follow = [], False
    for line in _lines(path):
        words = line.split()
        if not words or (features_may_follow and _are_features(words)):
            features_may_follow = False
            continue
        try:
            pose, camera, name = (
                [float(word) for word in words[1:8]],
                int(words[8]),
                line.split(maxsplit=9)[9],
            )
        except (ValueError, IndexError) as error:
            raise _fault(path, f"'{one_line(line, 80)}' is no image") from error
        images.append(_image(name, camera, pose))
        features_may_follow = True
    return images


def _are_features(words: list[str]) -> bool:
    """Whether they are x, y, id of a point (−1 = none) again and again."""
    return (
        len(words) % 3 == 0 and words[2].removeprefix("-").isdigit() and words[-1].removeprefix("-").isdigit()
    )

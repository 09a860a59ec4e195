"""Polycam's raw data: keyframes/ with images, cameras, depth, confidence, named by the time in microseconds.

corrected_images and corrected_cameras (without distortion, poses optimised) are taken where they are there.
A camera's JSON holds fx fy cx cy width height and t_00 … t_23, camera-to-world by rows with OpenGL's axes in
a world with y up, which is turned so that z is up.  Depth is 16-bit PNG in millimetres at a lower resolution;
confidence is 0, 127 or 255, and depth of 0 is not used, as Polycam advises.
Source: https://github.com/PolyCam/polyform#polycams-data-format
"""

from pathlib import Path

import numpy as np

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets.file_reader import (
    NO_IMAGE,
    NO_POSE,
    Z_UP_FROM_Y_UP,
    DepthFile,
    FileReader,
    View,
    existing,
    numbered,
)
from instascene_core.datasets.listed_files import IMAGE_SUFFIXES
from instascene_core.errors import InputError
from instascene_core.transforms import OPENGL_FROM_OPENCV, require_rigid
from instascene_core.untrusted import read_json_object

LEAST_CONFIDENCE = 1  # of 0, 127, 255
MATRIX = [f"t_{row}{column}" for row in range(3) for column in range(4)]
CAMERA = ("width", "height", "fx", "fy", "cx", "cy")


class PolycamReader(FileReader):
    """Keyframes of one capture, by time."""

    kind = "Polycam raw data"
    pose_convention = "opengl-c2w"

    @classmethod
    def find(cls, path: Path) -> Path | None:
        for folder in (path, path / "keyframes"):
            if any((folder / name).is_dir() for name in ("cameras", "corrected_cameras")):
                return folder if any((folder / n).is_dir() for n in ("images", "corrected_images")) else None
        return None

    def _list(self) -> list[View]:
        corrected = all((self._folder / f"corrected_{name}").is_dir() for name in ("images", "cameras"))
        start = "corrected_" if corrected else ""
        if not corrected:
            self._remarks.say(
                "there are no corrected images and cameras, so the images keep their distortion and the "
                "poses are those of the phone"
            )
        views, images = [], numbered(self._folder / f"{start}images", IMAGE_SUFFIXES)
        named = {path.stem for path in numbered(self._folder / f"{start}cameras", (".json",))}
        self._drop(NO_IMAGE, len(named - {image.stem for image in images}))
        for image in images:
            camera = existing(self._folder / f"{start}cameras" / f"{image.stem}.json")
            if camera is None:
                self._drop(NO_POSE)
                continue
            values = _values(camera)
            matrix = np.array([values[name] for name in MATRIX]).reshape(3, 4)
            pose = Z_UP_FROM_Y_UP @ require_rigid(matrix, f"The pose in {camera}") @ OPENGL_FROM_OPENCV
            size = (round(values["width"]), round(values["height"]))
            lens = LensModel(PinholeCamera(*size, *(values[name] for name in CAMERA[2:])))
            stamp = int(image.stem) / 1e6 if image.stem.isdigit() else None
            views.append(View(image, lens, pose, self._depth(image.stem), stamp))
        return views

    def _depth(self, name: str) -> DepthFile | None:
        path = existing(self._folder / "depth" / f"{name}.png")
        confidence = existing(self._folder / "confidence" / f"{name}.png")
        return path and DepthFile(path, confidence=confidence, least_confidence=LEAST_CONFIDENCE)


def _values(path: Path) -> dict[str, float]:
    """The numbers of one camera."""
    given = read_json_object(path, "The camera")
    for name in (*CAMERA, *MATRIX):
        value = given.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            raise InputError(f"The camera {path} has no finite number '{name}'.")
    return {name: float(given[name]) for name in (*CAMERA, *MATRIX)}

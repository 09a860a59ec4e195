"""7-Scenes: frame-000000.color.png, .depth.png, .pose.txt in a sequence, or in seq-01, seq-02 … of a scene.

Poses are camera-to-world with OpenCV's axes; depth is 16-bit PNG in millimetres, 65535 where nothing was
measured.  The data set's page gives f = 585, c = (320, 240) for the depth camera and says that the colour
camera was not calibrated and the images not registered: colours are read with the camera that a Kinect
usually has (f = 525, 25 mm to the right of the depth camera, whose the poses are), and depth is brought to
its pixels.  That may be off by some pixels, as every use of these recordings is; a calibration.txt (fx fy cx
cy of the colour images, to which depth and poses then belong) says better.
Source: https://www.microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes/
"""

from pathlib import Path

import numpy as np

from instascene_core.camera import LensModel
from instascene_core.datasets.file_reader import (
    NO_IMAGE,
    NO_POSE,
    DepthFile,
    FileReader,
    View,
    calibrated_lens,
    existing,
    numbered,
    opencv_lens,
    size_of_first,
)
from instascene_core.datasets.registration import DepthCamera
from instascene_core.datasets.text_files import read_matrix
from instascene_core.transforms import require_rigid

SIZE, CENTER = (640, 480), (320.0, 240.0)
DEPTH_FOCAL, COLOR_FOCAL = 585.0, 525.0  # pixels
BASELINE = 0.025  # metres, from a Kinect's depth camera to its colour camera, to the right
NO_DEPTH = 65535
COLOR, POSE = ".color.png", ".pose.txt"


class SevenScenesReader(FileReader):
    """Frames of one sequence, or of all sequences of a scene, which share their world."""

    kind = "7-Scenes"

    @classmethod
    def find(cls, path: Path) -> Path | None:
        return path if _sequences(path) else None

    def _list(self) -> list[View]:
        sequences = _sequences(self._folder)
        images = [f for s in sequences for f in numbered(s, (".png",)) if f.name.endswith(COLOR)]
        lens, depth_camera = self._cameras(images)
        shown = {f.with_name(f.name.replace(COLOR, POSE)) for f in images}
        self._drop(NO_IMAGE, len({f for s in sequences for f in s.glob(f"frame-*{POSE}")} - shown))
        beside = 0.0 if depth_camera is None else BASELINE
        depth_from_color = np.eye(4)
        depth_from_color[0, 3] = beside
        views = []
        for image in images:
            start = image.name.removesuffix(COLOR)
            pose = existing(image.with_name(f"{start}{POSE}"))
            if pose is None:
                self._drop(NO_POSE)
                continue
            matrix = require_rigid(read_matrix(pose, "The pose"), f"The pose {pose}")
            depth = existing(image.with_name(f"{start}.depth.png"))
            file = depth and DepthFile(depth, none=NO_DEPTH, camera=depth_camera, beside=beside)
            views.append(View(image, lens, matrix @ depth_from_color, file))
        return views

    def _cameras(self, images: list[Path]) -> tuple[LensModel, DepthCamera | None]:
        """(camera of the colours, that of the depth where it is another one)."""
        if path := existing(self._folder / "calibration.txt"):
            return calibrated_lens(path, size_of_first(images)), None
        self._remarks.say(
            "7-Scenes has no calibration of its colour camera: that of a usual Kinect is taken (f = 525 "
            "pixels, 25 mm beside the depth camera of f = 585)"
        )
        depth = opencv_lens(SIZE, DEPTH_FOCAL, DEPTH_FOCAL, *CENTER)
        return opencv_lens(SIZE, COLOR_FOCAL, COLOR_FOCAL, *CENTER), DepthCamera(depth)


def _sequences(path: Path) -> list[Path]:
    """The folders with frames: `path` itself, or its seq-…."""
    if not path.is_dir():
        return []
    folders = [path, *sorted(f for f in path.glob("seq-*") if f.is_dir())]
    return [f for f in folders if any(f.glob(f"frame-*{COLOR}")) and any(f.glob(f"frame-*{POSE}"))]

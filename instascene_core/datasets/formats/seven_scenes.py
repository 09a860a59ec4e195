"""7-Scenes: frame-000000.color.png, .depth.png, .pose.txt in a sequence, or in seq-01, seq-02 … of a scene.

Poses are camera-to-world with OpenCV's axes; depth is 16-bit PNG in millimetres, 65535 where nothing was
measured.  The data set's page gives f = 585, c = (320, 240) for the depth camera and says that the colour
camera was not calibrated and the images not registered: colours are read with the colour camera that a Kinect
usually has, f = 525, at the place of the depth camera, and depth is brought to its pixels.  That is off by
some pixels, as every use of these recordings is; a calibration.txt (fx fy cx cy of the colour images, to
which the depth then is registered) says better.
Source: https://www.microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes/
"""

from pathlib import Path

from instascene_core.camera import LensModel
from instascene_core.datasets.file_reader import (
    NO_POSE,
    DepthFile,
    FileReader,
    View,
    existing,
    numbered,
    opencv_lens,
    size_of_first,
)
from instascene_core.datasets.registration import DepthCamera
from instascene_core.datasets.text_files import numbers, read_matrix, read_rows
from instascene_core.errors import InputError
from instascene_core.transforms import require_rigid

SIZE, CENTER = (640, 480), (320.0, 240.0)
DEPTH_FOCAL, COLOR_FOCAL = 585.0, 525.0  # pixels
NO_DEPTH = 65535
COLOR = ".color.png"


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
        views = []
        for image in images:
            start = image.name.removesuffix(COLOR)
            pose = existing(image.with_name(f"{start}.pose.txt"))
            if pose is None:
                self._drop(NO_POSE)
                continue
            matrix = require_rigid(read_matrix(pose, "The pose"), f"The pose {pose}")
            depth = existing(image.with_name(f"{start}.depth.png"))
            file = depth and DepthFile(depth, none=NO_DEPTH, camera=depth_camera)
            views.append(View(image, lens, matrix, file))
        return views

    def _cameras(self, images: list[Path]) -> tuple[LensModel, DepthCamera | None]:
        """(camera of the colours, that of the depth where it is another one)."""
        path, what = self._folder / "calibration.txt", "The calibration"
        if path.is_file():
            given = numbers([word for row in read_rows(path, what) for word in row], path, what)
            if len(given) != 4:
                raise InputError(f"{what} {path} has {len(given)} numbers; fx fy cx cy are needed.")
            return opencv_lens(size_of_first(images), *given), None
        self._remarks.say(
            "7-Scenes has no calibration of its colour camera: f = 525 pixels is taken, and the place of the "
            "depth camera (f = 585)"
        )
        depth = opencv_lens(SIZE, DEPTH_FOCAL, DEPTH_FOCAL, *CENTER)
        return opencv_lens(SIZE, COLOR_FOCAL, COLOR_FOCAL, *CENTER), DepthCamera(depth)


def _sequences(path: Path) -> list[Path]:
    """The folders with frames: `path` itself, or its seq-…."""
    if not path.is_dir():
        return []
    folders = [path, *sorted(f for f in path.glob("seq-*") if f.is_dir())]
    return [f for f in folders if any(f.glob(f"frame-*{COLOR}")) and any(f.glob("frame-*.pose.txt"))]

"""ScanNet, as its SensReader extracts a .sens: color/0.jpg, depth/0.png, pose/0.txt, intrinsic/*.txt.

Poses are camera-to-world with OpenCV's axes, −inf where tracking was lost; depth is 16-bit PNG in millimetres
of a camera of its own (intrinsic_depth.txt) at the place of the colour camera.
Label images of the data set (`instance-filt/0.png`) are named like the images: `--masks instance-filt`.
Source: https://github.com/ScanNet/ScanNet/tree/master/SensReader
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
    existing,
    numbered,
    opencv_lens,
    size_of_first,
)
from instascene_core.datasets.registration import DepthCamera
from instascene_core.datasets.text_files import read_matrix
from instascene_core.errors import InputError
from instascene_core.transforms import require_rigid

COLOR_SIZE = (1296, 968)  # of the images that ScanNet's cameras were calibrated with
NEAR_THE_MIDDLE = 0.2  # of the width: farther off, the principal point is that of images of another size


class ScanNetReader(FileReader):
    """Images of one scan, by number."""

    kind = "ScanNet"

    @classmethod
    def find(cls, path: Path) -> Path | None:
        intrinsics = path / "intrinsic" / "intrinsic_color.txt"
        return (
            path if intrinsics.is_file() and (path / "color").is_dir() and (path / "pose").is_dir() else None
        )

    def _list(self) -> list[View]:
        images = numbered(self._folder / "color", (".jpg", ".jpeg", ".png"))
        lens, depth_camera = self._lens("color", images, COLOR_SIZE), None
        depths = [existing(self._folder / "depth" / f"{image.stem}.png") for image in images]
        measured = [path for path in depths if path is not None]
        if measured and (self._folder / "intrinsic" / "intrinsic_depth.txt").is_file():
            depth_camera = DepthCamera(self._lens("depth", measured, None))
        if self._use_depth:
            self._require_one_place()
        named = {path.stem for path in numbered(self._folder / "pose", (".txt",))}
        self._drop(NO_IMAGE, len(named - {image.stem for image in images}))
        views = []
        for image, depth in zip(images, depths):
            pose = self._pose(image)
            if pose is None:
                continue
            file = depth and DepthFile(depth, camera=depth_camera)
            views.append(View(image, lens, pose, file))
        return views

    def _pose(self, image: Path) -> np.ndarray | None:
        """[4, 4] world_from_camera; None, counted, where tracking was lost or there is no file."""
        path = existing(self._folder / "pose" / f"{image.stem}.txt")
        matrix = np.full((4, 4), -np.inf) if path is None else read_matrix(path, "The pose")
        if not np.isfinite(matrix).all():
            self._drop(NO_POSE)
            return None
        return require_rigid(matrix, f"The pose {path}")

    def _lens(self, name: str, images: list[Path], calibrated: tuple[int, int] | None) -> LensModel:
        """The camera `name` (color, depth); calibrated: the size it is given for where the images are
        scaled."""
        path = self._folder / "intrinsic" / f"intrinsic_{name}.txt"
        size, k = size_of_first(images), read_matrix(path, "The calibration")
        if calibrated is None or abs(k[0, 2] / size[0] - 0.5) < NEAR_THE_MIDDLE:
            return opencv_lens(size, k[0, 0], k[1, 1], k[0, 2], k[1, 2])
        self._remarks.say(
            f"the {name} images are {size[0]}×{size[1]}, their intrinsics those of {calibrated[0]}×"
            f"{calibrated[1]}; they are scaled"
        )
        return opencv_lens(calibrated, k[0, 0], k[1, 1], k[0, 2], k[1, 2]).resized(*size)

    def _require_one_place(self) -> None:
        """InputError where a calibration says that depth and colour were taken from two places.

        SensReader writes the identity for both; what another matrix would map to what is not documented.
        """
        for name in ("color", "depth"):
            path = existing(self._folder / "intrinsic" / f"extrinsic_{name}.txt")
            if path is not None and not np.allclose(
                read_matrix(path, "The extrinsics"), np.eye(4), atol=1e-6
            ):
                raise InputError(
                    f"{path} is not the identity, so depth and colour are not registered; use --no-depth, or "
                    "register the depth to the colour images."
                )

"""LLFF: poses_bounds.npy beside images/ (or images_4, images_8 …, the same downscaled).

A row an image, in the order of their names: a 3×5 matrix by rows and the nearest and farthest depth.  The
first four columns are camera-to-world with camera axes down, right, backward; the fifth is height, width and
focal length of the full images.
Source: https://github.com/Fyusion/LLFF#using-your-own-poses-without-running-colmap
"""

from pathlib import Path

import numpy as np

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets.file_reader import FileReader, View
from instascene_core.datasets.listed_files import IMAGE_SUFFIXES
from instascene_core.errors import InputError
from instascene_core.transforms import require_rigid
from instascene_core.untrusted import read_npy

FILE = "poses_bounds.npy"
IMAGE_FOLDERS = ("images", "images_2", "images_4", "images_8")
# Columns of the matrix that are OpenCV's right, down, forward, with their signs.
RIGHT_DOWN_FORWARD, SIGNS = [1, 0, 2], np.array([1.0, 1.0, -1.0])


class LlffReader(FileReader):
    """Images in the order of their names."""

    kind = "LLFF"

    @classmethod
    def find(cls, path: Path) -> Path | None:
        return path if (path / FILE).is_file() else None

    def _list(self) -> list[View]:
        rows = read_npy(self._folder / FILE, "The poses").astype(np.float64)
        if rows.ndim != 2 or rows.shape[1] != 17:
            raise InputError(f"{self._folder / FILE} is {rows.shape}; rows of 17 numbers are needed.")
        images = self._images()
        if len(images) != len(rows):
            raise InputError(
                f"{self._folder / FILE} has {len(rows)} poses, but {images[0].parent} holds {len(images)} "
                "images."
            )
        return [View(image, _lens(row, image), self._pose(row, image)) for image, row in zip(images, rows)]

    def _images(self) -> list[Path]:
        for name in IMAGE_FOLDERS:
            folder = self._folder / name
            files = sorted(
                f for f in (folder.iterdir() if folder.is_dir() else ()) if f.suffix.lower() in IMAGE_SUFFIXES
            )
            if files:
                return files
        raise InputError(f"There are no images in {self._folder / IMAGE_FOLDERS[0]}.")

    def _pose(self, row: np.ndarray, image: Path) -> np.ndarray:
        matrix = row[:15].reshape(3, 5)
        pose = np.column_stack([matrix[:, RIGHT_DOWN_FORWARD] * SIGNS, matrix[:, 3]])
        return require_rigid(pose, f"The pose of {image.name} in {FILE}")


def _lens(row: np.ndarray, image: Path) -> LensModel:
    height, width, focal = row[[4, 9, 14]]
    if not (np.isfinite([height, width, focal]).all() and min(height, width, focal) > 0):
        raise InputError(f"Height, width and focal length of {image.name} in {FILE} are not positive.")
    size = (round(width), round(height))
    return LensModel(PinholeCamera(*size, float(focal), float(focal), size[0] / 2, size[1] / 2))

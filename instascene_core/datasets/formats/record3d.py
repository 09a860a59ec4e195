"""Record3D, exported as "EXR + JPG sequence": rgb/0.jpg, depth/0.exr, metadata.json.

metadata.json holds w, h, K (3×3 by columns), poses (qx qy qz qw x y z a frame: camera-to-world, OpenGL's axes
in a world with y up, which is turned so that z is up) and in later versions perFrameIntrinsicCoeffs (fx fy cx
cy a frame) and frameTimestamps.  Depth is in metres, at a lower resolution.
Source: https://record3d.app/features, https://docs.nerf.studio/quickstart/custom_dataset.html#record3d-capture
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
from instascene_core.datasets.pose_track import matrix_of
from instascene_core.errors import InputError
from instascene_core.transforms import OPENGL_FROM_OPENCV
from instascene_core.untrusted import read_json_object

METADATA = "metadata.json"
FAR_FROM_THE_MIDDLE = 0.1  # of the image's longer side: a phone's principal point lies nearer
EXPORT = "export it in the app as 'EXR + JPG sequence'"


class Record3dReader(FileReader):
    """Frames of one export, by number."""

    kind = "Record3D"
    pose_convention = "opengl-c2w"

    @classmethod
    def find(cls, path: Path) -> Path | None:
        if path.suffix.lower() == ".r3d" and path.is_file():
            raise InputError(f"{path} is Record3D's own archive, whose depth is not read; {EXPORT}.")
        if (path / "metadata").is_file() and (path / "rgbd").is_dir():
            raise InputError(f"{path} is Record3D's own archive, whose depth is not read; {EXPORT}.")
        return path if (path / METADATA).is_file() and (path / "rgb").is_dir() else None

    def _list(self) -> list[View]:
        meta = read_json_object(self._folder / METADATA, "The metadata")
        poses = self._array(meta, "poses", 7)
        if poses is None:
            raise InputError(f"{self._folder / METADATA} has no poses.")
        cameras, stamps = self._cameras(meta, len(poses)), self._array(meta, "frameTimestamps", 1)
        views, images = [], numbered(self._folder / "rgb", IMAGE_SUFFIXES)
        self._drop(NO_IMAGE, len({*range(len(poses))} - {int(i.stem) for i in images if i.stem.isdigit()}))
        for image in images:
            number = int(image.stem) if image.stem.isdigit() else len(poses)
            if number >= len(poses):
                self._drop(NO_POSE)
                continue
            pose = matrix_of(poses[number, 4:], poses[number, [3, 0, 1, 2]], f"The pose of {image.name}")
            depth = existing(self._folder / "depth" / f"{image.stem}.exr")
            stamp = float(stamps[number, 0]) if stamps is not None and len(stamps) == len(poses) else None
            views.append(
                View(
                    image,
                    cameras[number],
                    Z_UP_FROM_Y_UP @ pose @ OPENGL_FROM_OPENCV,
                    depth and DepthFile(depth, unit=1.0),
                    stamp,
                )
            )
        return views

    def _cameras(self, meta: dict, count: int) -> list[LensModel]:
        """The camera of each of `count` frames."""
        size = self._array({"size": [meta.get("w"), meta.get("h")]}, "size", 1)
        k = self._array(meta, "K", 1)
        own = self._array(meta, "perFrameIntrinsicCoeffs", 4)
        if own is not None and len(own) != count:
            self._remarks.say(f"there are {len(own)} perFrameIntrinsicCoeffs for {count} poses; K is taken")
            own = None
        if size is None or (own is None and (k is None or len(k) != 9)):
            raise InputError(f"{self._folder / METADATA} needs w, h and the nine numbers of K.")
        width, height = round(size[0, 0]), round(size[1, 0])
        if own is not None:
            return [self._camera(width, height, row) for row in own]
        assert k is not None
        return [self._camera(width, height, k[[0, 4, 6, 7], 0])] * count

    def _camera(self, width: int, height: int, values: np.ndarray) -> LensModel:
        """The camera of fx fy cx cy.  Some versions of the app gave cx and cy of the sensor that lies on its
        side for upright images: there only their exchange lies near the middle."""
        fx, fy, cx, cy = (float(value) for value in values)
        middle = np.array([width, height]) / 2
        off, exchanged = (np.abs(c - middle).max() / max(width, height) for c in ([cx, cy], [cy, cx]))
        if off > FAR_FROM_THE_MIDDLE > exchanged:
            self._remarks.say("cx and cy are those of the image on its side; they are exchanged")
            cx, cy = cy, cx
        return LensModel(PinholeCamera(width, height, fx, fy, cx, cy))

    def _array(self, meta: dict, name: str, columns: int) -> np.ndarray | None:
        """[N, columns] float64 of a list in the metadata, None where it is missing or empty."""
        if not meta.get(name):
            return None
        try:
            values = np.array(meta[name], dtype=np.float64)
            values = values.reshape(len(values), -1)
        except (ValueError, TypeError) as error:
            raise InputError(f"{self._folder / METADATA}: '{name}' holds no rows of numbers.") from error
        if values.shape[1] != columns or not np.isfinite(values).all():
            raise InputError(f"{self._folder / METADATA}: '{name}' needs rows of {columns} finite numbers.")
        return values

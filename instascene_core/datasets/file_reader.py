"""What the readers of formats with an image a file share: a list of views, read one by one.

A format is a subclass that says how its folder is recognised (`find`) and lists its views (`_list`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets.dataset import RawFrame
from instascene_core.datasets.fitting import FittedLenses
from instascene_core.datasets.images import (
    image_size,
    read_confidence,
    read_depth,
    read_labels,
    read_rgb_and_alpha,
)
from instascene_core.datasets.listed_files import label_file, unique_names, without_missing
from instascene_core.datasets.registration import DepthCamera
from instascene_core.datasets.remarks import Remarks
from instascene_core.datasets.text_files import numbers, read_rows
from instascene_core.errors import InputError
from instascene_core.pose_conventions import OURS

MILLIMETRE = 0.001
NO_POSE = "images without a pose"
NO_IMAGE = "poses without an image"
MISSING = "missing images"  # of which the warning names the first
UNSURE = "depth values that the sensor was not sure of"

# World axes of phones (ARKit: x right, y up, z towards the user) turned so that z is up, as everywhere here.
Z_UP_FROM_Y_UP = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


@dataclass(frozen=True)
class DepthFile:
    """A depth image and what its values mean."""

    path: Path
    unit: float = MILLIMETRE  # metres a step
    none: float | None = None  # value, besides 0, where nothing was measured
    confidence: Path | None = None  # image of how sure the sensor was, of the size of the depth
    least_confidence: int = 0  # depth below it is not used
    camera: DepthCamera | None = None  # that measured it, where it is another one than the colour's
    beside: float = 0.0  # metres: how far to the left of the colour camera that camera is

    def read(self, lens: LensModel, remarks: Remarks) -> np.ndarray:
        """[h, w] float32 metres, 0 = not measured; in the pixels of the colour image of `lens`, or of the
        same view at another resolution."""
        depth = read_depth(self.path, self.unit, remarks, self.none)
        if self.confidence is not None:
            confidence = read_confidence(self.confidence, depth.shape)
            unsure = (confidence < self.least_confidence) & (depth > 0)
            remarks.count(UNSURE, int(unsure.sum()))
            depth = np.where(unsure, np.float32(0), depth)
        if self.camera is None:
            return depth
        size = (self.camera.lens.camera.height, self.camera.lens.camera.width)
        if depth.shape != size:
            raise InputError(
                f"The depth image {self.path} is {depth.shape[1]}×{depth.shape[0]}, its camera {size[1]}×"
                f"{size[0]}."
            )
        color_from_depth = np.eye(4)
        color_from_depth[0, 3] = -self.beside
        return self.camera.seen_from(depth, lens, color_from_depth)


@dataclass(frozen=True)
class View:
    """One image of a recording."""

    rgb: Path
    lens: LensModel  # as calibrated; it is scaled where the image has another size
    world_from_camera: np.ndarray  # [4, 4], OpenCV camera axes, metres
    depth: DepthFile | None = None
    stamp: float | None = None  # seconds


class FileReader(ABC):
    """Frames of a folder of one format."""

    kind = ""
    pose_convention = OURS

    def __init__(
        self,
        folder: Path,
        use_depth: bool = True,
        use_masks: bool = True,
        masks: str | None = None,
        remarks: Remarks | None = None,
    ) -> None:
        """folder: what `find` gave; masks: a folder of label images in it, named like the images."""
        self._folder, self._remarks = folder, remarks or Remarks(folder)
        self._use_depth = use_depth
        self.dropped: dict[str, int] = {}
        views = self._list()
        if not views:
            reasons = ", ".join(f"{number} {reason}" for reason, number in self.dropped.items())
            raise InputError(
                f"No image of the {self.kind} folder {folder} can be used ({reasons or 'empty'})."
            )
        self._views = self._with_images(views)
        for reason, number in self.dropped.items():
            if reason != MISSING:
                self._remarks.say(f"{number} {reason}, left out")
        without = sum(view.depth is None for view in self._views)
        if use_depth and 0 < without < len(self._views):
            self._remarks.say(f"{without} of {len(self._views)} images have no depth image")
        self.names = unique_names([self._below(view.rgb) for view in self._views])
        self.poses = np.stack([view.world_from_camera for view in self._views])
        given = [view.stamp for view in self._views]
        self.stamps = None if None in given else given
        self.has_depth = use_depth and any(view.depth for view in self._views)
        self._labels = self._label_sources(masks) if use_masks else [None] * len(self._views)
        self.has_labels = any(source is not None for source in self._labels)
        self._fitted = FittedLenses(self._remarks)

    @classmethod
    @abstractmethod
    def find(cls, path: Path) -> Path | None:
        """The folder of this format that `path` is, None for any other path."""

    @abstractmethod
    def _list(self) -> list[View]:
        """All views that have a pose, in order; the others are counted in `dropped`."""

    def read(self, index: int) -> RawFrame:
        view = self._views[index]
        rgb, opaque = self._image(index, view)
        lens = self._fitted.at(view.lens, rgb)
        depth = view.depth if self._use_depth else None
        return RawFrame(
            name=self.names[index],
            stamp=float(index) if view.stamp is None else view.stamp,
            lens=lens,
            world_from_camera=view.world_from_camera,
            rgb=rgb,
            depth=None if depth is None else depth.read(lens, self._remarks),
            label_image=self._label_image(index),
            kept=opaque,
        )

    def _image(self, index: int, view: View) -> tuple[np.ndarray, np.ndarray | None]:
        """([H, W, 3] uint8 of view `index`, [H, W] bool where it is opaque; None = everywhere)."""
        camera = view.lens.camera
        return read_rgb_and_alpha(view.rgb, (camera.width, camera.height))

    def _label_sources(self, masks: str | None) -> list:
        """A view each: where its label image comes from, None where it has none."""
        if masks is None:
            return [None] * len(self._views)
        return [label_file(self._folder, masks, view.rgb) for view in self._views]

    def _label_image(self, index: int) -> np.ndarray | None:
        """[H, W] int32, 0 = unlabelled, of view `index`."""
        source = self._labels[index]
        return None if source is None else read_labels(source)

    def _with_images(self, views: list[View]) -> list[View]:
        """The views whose image is there; a few missing ones are counted."""
        found = [view.rgb if view.rgb.is_file() else None for view in views]
        there = without_missing(found, [str(view.rgb) for view in views], "image", self._folder)
        self._drop(MISSING, len(views) - len(there))
        return [views[i] for i in there]

    def _drop(self, reason: str, number: int = 1) -> None:
        if number:
            self.dropped[reason] = self.dropped.get(reason, 0) + number

    def _below(self, path: Path) -> Path:
        return path.relative_to(self._folder) if path.is_relative_to(self._folder) else path


def existing(path: Path) -> Path | None:
    """`path` where there is such a file."""
    return path if path.is_file() else None


def numbered(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files in `folder` with one of these suffixes, in the order of the number their name ends with."""
    files = [f for f in folder.iterdir() if f.suffix.lower() in suffixes] if folder.is_dir() else []
    return sorted(files, key=lambda f: (int("0" + "".join(filter(str.isdigit, f.stem))[-18:]), f.name))


def opencv_lens(
    size: tuple[int, int], fx: float, fy: float, cx: float, cy: float, distortion: Sequence[float] = ()
) -> LensModel:
    """The lens of a calibration by OpenCV's conventions, whose pixel centres lie at whole numbers; ours lie
    at half pixels.  size: (width, height)."""
    camera = PinholeCamera(*size, float(fx), float(fy), float(cx) + 0.5, float(cy) + 0.5)
    coefficients = tuple(float(k) for k in distortion)
    return LensModel(camera, "plumb_bob", coefficients) if any(coefficients) else LensModel(camera)


def calibrated_lens(file: Path, size: tuple[int, int]) -> LensModel:
    """The lens that a text file gives as fx fy cx cy [k1 k2 p1 p2 [k3]], by OpenCV's conventions."""
    what = "The calibration"
    given = numbers([word for row in read_rows(file, what) for word in row], file, what)
    if len(given) not in (4, 8, 9):
        raise InputError(
            f"{what} {file} has {len(given)} numbers; fx fy cx cy [k1 k2 p1 p2 [k3]] are needed."
        )
    return opencv_lens(size, *given[:4], distortion=given[4:].tolist())


def size_of_first(files: Sequence[Path]) -> tuple[int, int]:
    """(width, height) of the first image that is there; InputError where there is none."""
    for path in files:
        if path.is_file():
            return image_size(path)
    raise InputError(f"The image {files[0]} is missing." if files else "There are no images.")

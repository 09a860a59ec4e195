"""The scale of a mapped world: from markers of known size, a measured distance, or depth images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from instascene_core.datasets.images import read_depth
from instascene_core.errors import InputError
from instascene_core.posing.markers import marker_sides
from instascene_core.posing.model import MappedImages

FEWEST_DEPTHS = 50  # points with depth from which a scale is taken
FEWEST_SIDES = 4  # of markers: one whole marker
LARGEST_SPREAD = 0.25  # of the scale, median deviation: beyond, the values do not mean one scale
DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".exr", ".npy", ".npz")


@dataclass(frozen=True)
class Scale:
    """What makes metres of a mapped world."""

    factor: float  # metres per unit of the mapped world
    source: str  # for a sentence: "17 sides of markers"
    spread: float  # median deviation of the single values, as a share of the factor; 0 = there is one value


class KnownScale(Protocol):
    """Something of known length in the images."""

    def find(self, mapped: MappedImages, folder: Path) -> Scale:
        """The scale; `folder` holds the images.  InputError where what is known is not in them."""
        ...


@dataclass(frozen=True)
class MarkerScale:
    """Sides of ArUco or AprilTag markers, single ones or those of a ChArUco board."""

    side: float  # metres of the black square
    dictionary: str  # OpenCV's name without DICT_: 4X4_50

    def __post_init__(self) -> None:
        _require_length(self.side, "The side of a marker")

    def find(self, mapped: MappedImages, folder: Path) -> Scale:
        sides = marker_sides(mapped, folder, self.dictionary)
        if len(sides) < FEWEST_SIDES:
            raise InputError(
                f"No marker of the dictionary {self.dictionary} is seen whole from two places far enough "
                "apart, so the scale is not known; is --marker-dictionary right, and the board flat and "
                "sharp in several images?"
            )
        return _scale(self.side / sides, f"{len(sides)} sides of markers")


@dataclass(frozen=True)
class DistanceScale:
    """A distance measured between the places of the camera in two images."""

    first: str  # names of the images, with or without suffix
    second: str
    metres: float

    def __post_init__(self) -> None:
        _require_length(self.metres, "The distance")

    def find(self, mapped: MappedImages, folder: Path) -> Scale:
        places = [mapped.poses[self._index(mapped, name), :3, 3] for name in (self.first, self.second)]
        distance = float(np.linalg.norm(places[0] - places[1]))
        extent = float(np.linalg.norm(np.ptp(mapped.poses[:, :3, 3], axis=0)))
        if distance < 1e-3 * extent:
            raise InputError(
                f"'{self.first}' and '{self.second}' were taken from one place; name two others."
            )
        return Scale(self.metres / distance, f"{self.metres:g} m from {self.first} to {self.second}", 0.0)

    @staticmethod
    def _index(mapped: MappedImages, name: str) -> int:
        for index, known in enumerate(mapped.names):
            if name in (known, Path(known).stem):
                return index
        raise InputError(
            f"No registered image is called '{name}'; there are {', '.join(mapped.names[:3])} … "
            f"{mapped.names[-1]}."
        )


@dataclass(frozen=True)
class DepthScale:
    """Depth images of the same views, named like the images."""

    depth: Path  # folder
    unit: float  # metres a step

    def __post_init__(self) -> None:
        _require_length(self.unit, "A step of the depth images")
        if not self.depth.is_dir():
            raise InputError(f"There is no folder of depth images {self.depth}.")

    def file_of(self, name: str) -> Path | None:
        """The depth image of the image `name`."""
        files = (self.depth / f"{Path(name).stem}{suffix}" for suffix in DEPTH_SUFFIXES)
        return next((file for file in files if file.is_file()), None)

    def find(self, mapped: MappedImages, folder: Path) -> Scale:
        ratios = []
        for index, name in enumerate(mapped.names):
            file = self.file_of(name)
            if file is None:
                continue
            depth, camera = read_depth(file, self.unit), mapped.lenses[index].camera
            size = np.array([depth.shape[1] / camera.width, depth.shape[0] / camera.height])
            columns, rows = np.floor(mapped.pixels[index] * size).astype(int).T
            inside = (columns >= 0) & (rows >= 0) & (columns < depth.shape[1]) & (rows < depth.shape[0])
            measured, z = depth[rows[inside], columns[inside]], mapped.depths(index)[inside]
            ratios.append((measured / np.where(z > 0, z, np.nan))[(measured > 0) & (z > 0)])
        together = np.concatenate(ratios) if ratios else np.empty(0)
        if len(together) < FEWEST_DEPTHS:
            raise InputError(
                f"Only {len(together)} points have a depth in {self.depth} (images named like the "
                "colour images), so the scale is not known."
            )
        return _scale(together, f"{len(together)} depths")


def _scale(values: np.ndarray, source: str) -> Scale:
    """The median of many values of one scale; InputError where they do not agree."""
    factor = float(np.median(values))
    spread = float(np.median(np.abs(values - factor)) / factor)
    if spread > LARGEST_SPREAD:
        raise InputError(
            f"The scale from {source} is not one number (half of them are off by more than {spread:.0%}): "
            "does what is measured belong to these images?"
        )
    return Scale(factor, source, spread)


def _require_length(value: float, what: str) -> None:
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{what} must be a positive number of metres, not {value}.")

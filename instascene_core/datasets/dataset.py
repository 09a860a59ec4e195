"""A recorded scene that hands out frames one by one."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from instascene_core.camera import LensModel
from instascene_core.corrections import Corrections
from instascene_core.errors import InputError
from instascene_core.frame import Frame, labels_from_image
from instascene_core.images import resize


@dataclass(frozen=True)
class RawFrame:
    """One image as recorded: distorted, at its own size."""

    name: str
    stamp: float  # seconds
    lens: LensModel
    world_from_camera: np.ndarray  # [4, 4], OpenCV camera axes
    rgb: np.ndarray  # [H, W, 3] uint8
    depth: np.ndarray | None = None  # [H, W] float32 metres, 0 = no measurement
    label_image: np.ndarray | None = None  # [H, W] int32, 0 = unlabelled
    normals: np.ndarray | None = None  # [H, W, 3] float32 unit, camera axes, 0 = unknown


class Reader(Protocol):
    """What a format has to offer."""

    kind: str  # "transforms.json", "COLMAP model", "rosbag2"
    names: tuple[str, ...]  # one per frame, unique
    poses: np.ndarray  # [N, 4, 4] world_from_camera
    has_depth: bool
    has_labels: bool
    dropped: dict[str, int]  # what → how many of them cannot be used

    def read(self, index: int) -> RawFrame:
        """Frame `index`; InputError when its files are bad."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Frames of a recorded scene, read and undistorted when asked for."""

    path: Path
    reader: Reader = field(repr=False)
    selection: tuple[int, ...]  # indices into the reader's frames
    scale: float = 1.0  # images are resized by this
    max_width: int = 0  # pixels; wider images are shrunk to it; 0 = no limit
    ground_truth: Path | None = None  # folder with scene.json and meshes, for synthetic scenes
    corrections: Corrections = field(
        default_factory=Corrections
    )  # their pose convention is the one in effect
    corrected: np.ndarray | None = field(default=None, repr=False)  # [N, 4, 4] poses; None = the reader's

    def __len__(self) -> int:
        return len(self.selection)

    def __getitem__(self, index: int) -> Frame:
        place = self.selection[index]
        raw = self.reader.read(place)
        if self.corrected is not None:
            raw = replace(raw, world_from_camera=self.corrected[place])
        factor = self.scale
        if self.max_width:
            factor = min(factor, self.max_width / raw.lens.camera.width)
        return self.corrections.depth_of(make_frame(raw, factor), factor)

    def __iter__(self) -> Iterator[Frame]:
        for index in range(len(self)):
            yield self[index]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.reader.names[i] for i in self.selection)

    @property
    def poses(self) -> np.ndarray:
        """[N, 4, 4] world_from_camera of all frames, without reading images."""
        poses = self.reader.poses if self.corrected is None else self.corrected
        return poses[list(self.selection)]

    @property
    def kind(self) -> str:
        return self.reader.kind

    @property
    def has_depth(self) -> bool:
        return self.reader.has_depth

    @property
    def has_labels(self) -> bool:
        return self.reader.has_labels

    @property
    def dropped(self) -> dict[str, int]:
        """What (images, poses with a certain fault) → how many of them cannot be used."""
        return self.reader.dropped


def make_frame(raw: RawFrame, scale: float = 1.0) -> Frame:
    """The undistorted Frame of a recorded image, resized by `scale`.

    Colour is interpolated, all else takes the nearest pixel.  Raises InputError when the image, depth,
    labels or normals do not have the size of the camera.
    """
    camera = raw.lens.camera
    parts = {"image": raw.rgb, "depth": raw.depth, "label image": raw.label_image, "normals": raw.normals}
    for what, array in parts.items():
        if array is not None and array.shape[:2] != (camera.height, camera.width):
            raise InputError(
                f"The {what} of '{raw.name}' is {array.shape[1]}×{array.shape[0]}, "
                f"the camera says {camera.width}×{camera.height}."
            )
    rgb = raw.lens.undistort(raw.rgb)
    depth, labels, normals = (
        None if a is None else raw.lens.undistort(a, interpolate=False)
        for a in (raw.depth, raw.label_image, raw.normals)
    )
    valid = raw.lens.valid_pixels() if raw.lens.is_distorted else None
    if scale != 1.0:
        camera = camera.scaled(scale)
        rgb = resize(rgb, camera.width, camera.height, smooth=True)
        depth, labels, valid, normals = (
            None if a is None else resize(a, camera.width, camera.height, smooth=False)
            for a in (depth, labels, valid, normals)
        )
    return Frame(
        name=raw.name,
        stamp=raw.stamp,
        camera=camera,
        world_from_camera=raw.world_from_camera,
        rgb=rgb,
        depth=depth,
        labels=None if labels is None else labels_from_image(labels),
        valid=None if valid is None or valid.all() else valid,
        normals=normals,
    )


def evenly(count: int, limit: int) -> tuple[int, ...]:
    """At most `limit` (0 = all) of the indices 0 … count − 1, evenly spaced, ends included."""
    if limit <= 0 or limit >= count:
        return tuple(range(count))
    if limit == 1:
        return (count // 2,)
    return tuple(int(i) for i in np.round(np.linspace(0, count - 1, limit)))

"""A recorded scene that hands out frames one by one."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from instascene_core.camera import LensModel
from instascene_core.corrections import Corrections
from instascene_core.datasets.fitting import fit_depth
from instascene_core.datasets.hiding import both_kept, visible
from instascene_core.datasets.listed_files import MISSING_SHARE
from instascene_core.datasets.remarks import Remarks
from instascene_core.datasets.sampling import LowDepth, sampling_shift
from instascene_core.errors import DamagedImage, InputError
from instascene_core.frame import Frame, labels_from_image
from instascene_core.images import resize

VIEWS_ASKED = 6  # where within its pixel depth of a lower resolution was measured


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
    kept: np.ndarray | None = None  # [H, W] bool, False = ignore the pixel (a gripper, say); None = keep all


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
    # where poses or depth mean something else than the format says; the pose convention is the one in effect
    corrections: Corrections = field(default_factory=Corrections)
    corrected: np.ndarray | None = field(default=None, repr=False)  # [N, 4, 4] poses; None = the reader's
    # [H, W] bool: False = ignore this pixel of every image; None = keep all
    kept: np.ndarray | None = field(default=None, repr=False, compare=False)
    # what was noticed and made good, so far
    remarks: Remarks = field(default_factory=Remarks, repr=False, compare=False)
    _shifts: dict = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.selection)

    def __getitem__(self, index: int) -> Frame:
        raw = self._read(self.selection[index])
        if self.kept is not None:
            raw = replace(raw, kept=both_kept(raw.kept, self.kept))
        factor = self.scale
        if self.max_width:
            factor = min(factor, self.max_width / raw.lens.camera.width)
        frame = make_frame(raw, factor, self.remarks, self._depth_shift(raw))
        return self.corrections.depth_of(frame, factor)

    def _read(self, place: int) -> RawFrame:
        """What the reader has, with its corrected pose."""
        raw = self.reader.read(place)
        return raw if self.corrected is None else replace(raw, world_from_camera=self.corrected[place])

    def _depth_shift(self, raw: RawFrame) -> float:
        """Where depth of a lower resolution was measured, as some views say; 0 for other depth."""
        if raw.depth is None or raw.depth.shape[1] >= raw.rgb.shape[1]:
            return 0.0
        if "depth" not in self._shifts:
            with self.remarks.uncounted():
                asked = [self._read(self.selection[i]) for i in evenly(len(self), VIEWS_ASKED)]
            views = [LowDepth(r.depth, r.lens, r.world_from_camera) for r in asked if r.depth is not None]
            self._shifts["depth"] = sampling_shift(views)
            if shift := self._shifts["depth"]:
                self.remarks.say(
                    f"the views agree when depth was measured {shift:+g} colour pixels off the middle of its "
                    "own pixels"
                )
        return self._shifts["depth"]

    def __iter__(self) -> Iterator[Frame]:
        """Every frame; those with a damaged image are left out and counted, as missing ones are.

        Raises DamagedImage where they are more than a fifth.
        """
        damaged = 0
        for index in range(len(self)):
            try:
                frame = self[index]
            except DamagedImage as error:
                damaged += 1
                if damaged > MISSING_SHARE * len(self):
                    raise
                self.remarks.leave_out(self.names[index], str(error), "frames with a damaged image")
                continue
            yield frame
        self.remarks.report()

    @property
    def reading_metrics(self) -> dict[str, object]:
        """What metrics.json tells of the frames that were read so far: those left out as damaged, and why."""
        damaged = [{"name": name, "reason": reason} for name, reason in self.remarks.left_out.items()]
        return {"damaged_frames": {"count": len(damaged), "frames": damaged}} if damaged else {}

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


def make_frame(
    raw: RawFrame, scale: float = 1.0, remarks: Remarks | None = None, depth_shift: float = 0.0
) -> Frame:
    """The undistorted Frame of a recorded image, resized by `scale`.

    Colour is interpolated, all else takes the nearest pixel.  Depth of another resolution is lifted to the
    colour's, which `remarks` says; depth_shift: see `lift_depth`.  Pixels to ignore are not valid, hold
    neither depth nor labels, and take the colour of the nearest other pixel.  Raises InputError when the
    image, labels, normals or pixels to keep do not have the size of the camera.
    """
    camera = raw.lens.camera
    parts = {
        "image": raw.rgb,
        "label image": raw.label_image,
        "normals": raw.normals,
        "mask of pixels to keep": raw.kept,
    }
    for what, array in parts.items():
        if array is not None and array.shape[:2] != (camera.height, camera.width):
            raise InputError(
                f"The {what} of '{raw.name}' is {array.shape[1]}×{array.shape[0]}, "
                f"the camera says {camera.width}×{camera.height}."
            )
    depth = raw.depth
    if depth is not None:
        depth = fit_depth(depth, raw.rgb, f"depth of '{raw.name}'", remarks, depth_shift)
    shown = visible(raw.lens, raw.kept)
    rgb = shown.colors(raw.lens.undistort(raw.rgb))
    depth, labels, normals = (
        None if a is None else shown.depth(raw.lens.undistort(a, interpolate=False))
        for a in (depth, raw.label_image, raw.normals)
    )
    valid = shown.valid
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

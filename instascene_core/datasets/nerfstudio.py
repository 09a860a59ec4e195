"""Folders with a nerfstudio (or instant-ngp) transforms.json.

Poses are OpenGL camera-to-world; pixel centres lie at half pixels; intrinsics are global or per
frame.  Optional keys of a frame: `depth_file_path` (one-channel, steps of
`depth_unit_scale_factor` metres, default 0.001), `label_file_path` (ours: a label image, 0 =
unlabelled), `mask_path` (nerfstudio's: black = ignore the pixel, for a gripper that is in every view),
`normal_file_path` (8- or 16-bit RGB, (n + 1) / 2 of the normal towards the camera in OpenCV's camera
axes, black = unknown), `timestamp` in seconds.  Paths, depth unit and intrinsics that a frame does not
give are the global ones.  A few missing images are left out, a missing mask is an error: the frame would show
what the mask hides.
"""

from pathlib import Path

import numpy as np

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets.dataset import RawFrame
from instascene_core.datasets.fitting import FittedLenses
from instascene_core.datasets.hiding import both_kept
from instascene_core.datasets.images import (
    image_size,
    read_depth,
    read_kept,
    read_labels,
    read_normals,
    read_rgb_and_alpha,
)
from instascene_core.datasets.listed_files import find_listed, label_file, unique_names, without_missing
from instascene_core.datasets.remarks import Remarks
from instascene_core.errors import InputError
from instascene_core.transforms import OPENGL_FROM_OPENCV, require_rigid
from instascene_core.untrusted import read_json_object, require_pixels

FILE_NAMES = ("transforms.json", "transforms_train.json")
# camera_model → our distortion model
CAMERA_MODELS = {
    "SIMPLE_PINHOLE": "none",
    "PINHOLE": "none",
    "SIMPLE_RADIAL": "plumb_bob",
    "RADIAL": "plumb_bob",
    "OPENCV": "plumb_bob",
    "FULL_OPENCV": "rational_polynomial",
    "OPENCV_FISHEYE": "fisheye",
}
DEFAULT_DEPTH_UNIT = 0.001  # metres, as in nerfstudio


def find_transforms(path: Path) -> Path | None:
    """The transforms.json that `path` is or holds."""
    if path.is_file() and path.suffix.lower() == ".json":
        return path
    return next((path / name for name in FILE_NAMES if (path / name).is_file()), None)


class NerfstudioReader:
    """Frames of one transforms.json."""

    kind = "transforms.json"
    pose_convention = "opengl-c2w"

    def __init__(
        self,
        file: Path,
        use_depth: bool = True,
        use_masks: bool = True,
        masks: str | None = None,
        remarks: Remarks | None = None,
        folder: Path | None = None,
    ):
        """folder: to which the paths in `file` are relative, where it is not the file's own."""
        self._file, self._folder = file, folder or file.parent
        self._remarks = remarks or Remarks(file)
        self._meta = _load(file)
        entries = self._meta.get("frames")
        if not isinstance(entries, list) or not entries:
            raise InputError(f"{file} has no frames, so there are no poses to use.")
        self._frames, self._paths, self.dropped = self._with_images(self._entries(entries))
        self.names = unique_names([p.relative_to(self._folder) if p.is_relative_to(self._folder) else p
                                   for p in self._paths])  # fmt: skip
        self._scaled_poses = 0  # given as homogeneous matrices that are scaled as a whole
        self.poses = np.stack([self._pose(entry, name) for entry, name in zip(self._frames, self.names)])
        if self._scaled_poses:
            self._remarks.say(
                f"{self._scaled_poses} of {len(self.poses)} poses are scaled as a whole (last element not 1) "
                "and are divided by that"
            )
        self.stamps = [self._number_or(e, "timestamp", float(i)) for i, e in enumerate(self._frames)]
        self._depths = self._depth_paths() if use_depth else [None] * len(self._frames)
        self._normals = [self._side_path(e, "normal_file_path") for e in self._frames]
        self._kept = [self._side_path(e, "mask_path") for e in self._frames]
        self._labels = [self._label_path(e, p, use_masks, masks) for e, p in zip(self._frames, self._paths)]
        self.has_depth = any(p is not None for p in self._depths)
        self.has_labels = any(p is not None for p in self._labels)
        self._sizes: dict[int, tuple[int, int]] = {}
        self._fitted = FittedLenses(self._remarks)
        self._lenses: dict[tuple, LensModel] = {}  # frames that share intrinsics share undistortion maps

    def read(self, index: int) -> RawFrame:
        entry, depth, labels = self._frames[index], self._depths[index], self._labels[index]
        normals, kept = self._normals[index], self._kept[index]
        lens = self.lens(index)
        rgb, opaque = read_rgb_and_alpha(self._paths[index], (lens.camera.width, lens.camera.height))
        shown = None if kept is None else read_kept(kept)
        if opaque is not None:
            shown = both_kept(shown, opaque)
        unit = self._number_or(entry, "depth_unit_scale_factor", DEFAULT_DEPTH_UNIT)
        if unit <= 0:
            raise InputError(
                f"transforms.json: 'depth_unit_scale_factor' is {unit:g}; metres a step are more than 0."
            )
        return RawFrame(
            name=self.names[index],
            stamp=self.stamps[index],
            lens=self._fitted.at(lens, rgb),
            world_from_camera=self.poses[index],
            rgb=rgb,
            depth=None if depth is None else read_depth(depth, unit, self._remarks),
            label_image=None if labels is None else read_labels(labels),
            normals=None if normals is None else read_normals(normals),
            kept=shown,
        )

    def lens(self, index: int) -> LensModel:
        """The calibrated camera of frame `index`."""
        entry = self._frames[index]
        width, height = self._number(entry, "w"), self._number(entry, "h")
        if width is None or height is None:
            width, height = self._size(index)
        width, height = round(width), round(height)
        require_pixels(width, height, f"The frame '{self.names[index]}'")
        own_fx = self._focal(entry, "fl_x", "camera_angle_x", width)
        own_fy = self._focal(entry, "fl_y", "camera_angle_y", height)
        fx = own_fx if own_fx is not None else own_fy  # one given focal length holds for both axes
        fy = own_fy if own_fy is not None else own_fx
        if fx is None or fy is None:
            raise InputError(f"The frame '{self.names[index]}' has neither fl_x nor camera_angle_x.")
        cx, cy = self._number_or(entry, "cx", width / 2), self._number_or(entry, "cy", height / 2)
        model, coefficients = self._distortion(entry)
        key = (width, height, fx, fy, cx, cy, model, coefficients)
        if key not in self._lenses:
            camera = PinholeCamera(width, height, fx, fy, cx, cy)
            self._lenses[key] = LensModel(camera, model, coefficients)
        return self._lenses[key]

    def _size(self, index: int) -> tuple[int, int]:
        """(width, height) of the image of a frame without w and h."""
        if index not in self._sizes:
            self._sizes[index] = image_size(self._paths[index])
        return self._sizes[index]

    def _distortion(self, entry: dict) -> tuple[str, tuple[float, ...]]:
        """(model, coefficients in OpenCV's order)."""
        default = "OPENCV_FISHEYE" if self._value(entry, "is_fisheye") else "OPENCV"
        name = self._value(entry, "camera_model") or default
        if not isinstance(name, str) or name not in CAMERA_MODELS:
            known = ", ".join(CAMERA_MODELS)
            raise InputError(f"The camera model '{name}' is not known; known are {known}.")
        k = [self._number_or(entry, f"k{i}", 0.0) for i in range(1, 7)]
        p = [self._number_or(entry, f"p{i}", 0.0) for i in range(1, 3)]
        model = CAMERA_MODELS[name]
        if model == "none":
            return "none", ()
        if model == "fisheye":
            return "fisheye", tuple(k[:4])
        if model == "rational_polynomial":
            return model, (k[0], k[1], *p, *k[2:])
        if any(k[3:]):
            raise InputError(f"The camera model '{name}' does not take k4 … k6; is it FULL_OPENCV?")
        return model, (k[0], k[1], *p, k[2])

    def _focal(self, entry: dict, name: str, angle_name: str, size: int) -> float | None:
        focal, angle = self._number(entry, name), self._number(entry, angle_name)
        if focal is None and angle is not None and 0 < angle < np.pi:
            return float(size / 2 / np.tan(angle / 2))
        return focal

    def _entries(self, entries: list) -> list:
        """The frames of the file that are used, as they are read."""
        return entries

    def _value(self, entry: dict, key: str):
        """A frame's own value, else the global one, else None."""
        return entry[key] if key in entry else self._meta.get(key)

    def _number_or(self, entry: dict, key: str, default: float) -> float:
        value = self._number(entry, key)
        return default if value is None else value

    def _number(self, entry: dict, key: str) -> float | None:
        value = self._value(entry, key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            raise InputError(f"transforms.json: '{key}' is {value!r}, not a finite number.")
        return float(value)

    def _pose(self, entry: dict, name: str) -> np.ndarray:
        if "transform_matrix" not in entry:
            raise InputError(f"The frame '{name}' has no transform_matrix, so its pose is unknown.")
        try:
            matrix = np.array(entry["transform_matrix"], dtype=np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"The transform_matrix of '{name}' is not a matrix of numbers.") from error
        # A homogeneous matrix means the same whatever it is multiplied by.
        if matrix.shape == (4, 4) and np.isfinite(matrix).all() and matrix[3, 3] not in (0, 1):
            self._scaled_poses += 1
            matrix = matrix / matrix[3, 3]
        return require_rigid(matrix, f"The pose of '{name}'") @ OPENGL_FROM_OPENCV

    def _with_images(self, entries: list) -> tuple[list[dict], list[Path], dict[str, int]]:
        """(entries whose image is there, these images, reason → number of entries left out)."""
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
                raise InputError("A frame in transforms.json has no file_path.")
        found = [find_listed(self._folder, entry["file_path"]) for entry in entries]
        named = [str(self._folder / entry["file_path"]) for entry in entries]
        there = without_missing(found, named, "image", self._file)
        dropped = {"missing images": len(entries) - len(there)} if len(there) < len(entries) else {}
        return [entries[i] for i in there], [path for path in found if path is not None], dropped

    def _depth_paths(self) -> list[Path | None]:
        """The depth of each frame that names one; where a few are missing, their frames go without."""
        named = [(i, p) for i, e in enumerate(self._frames) if (p := self._named(e, "depth_file_path"))]
        found = [find_listed(self._folder, text) for _, text in named]
        without_missing(found, [str(self._folder / t) for _, t in named], "depth image", self._file)
        paths: list[Path | None] = [None] * len(self._frames)
        for (index, _), path in zip(named, found):
            paths[index] = path
        return paths

    def _side_path(self, entry: dict, key: str) -> Path | None:
        named = self._named(entry, key)
        if not named:
            return None
        path = find_listed(self._folder, named)
        if path is None:
            raise InputError(f"The file {self._folder / named} named in transforms.json is missing.")
        return path

    def _named(self, entry: dict, key: str) -> str:
        """The path that a frame, or the file for all frames, gives as `key`; empty where there is none."""
        value = self._value(entry, key) or ""
        if not isinstance(value, str):
            raise InputError(f"transforms.json: '{key}' is {value!r}, not the name of a file.")
        return value

    def _label_path(self, entry: dict, image: Path, use_masks: bool, masks: str | None) -> Path | None:
        if not use_masks:
            return None
        if masks is None:
            return self._side_path(entry, "label_file_path")
        return label_file(self._folder, masks, image)


def _load(file: Path) -> dict:
    return read_json_object(file, "The dataset")

"""TUM RGB-D: rgb.txt, depth.txt (stamp, file), groundtruth.txt (stamp tx ty tz qx qy qz qw).

Poses are camera-to-world with OpenCV's axes; depth is 16-bit PNG in steps of 1 / 5000 m, registered to the
colours.  Neither list is synchronised: depth belongs to the colour image of the nearest stamp, a pose is made
between its neighbours.  ETH3D's SLAM benchmark has the same layout with a calibration.txt.
Source: https://cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats, …/intrinsic_calibration
"""

import re
from pathlib import Path

import numpy as np

from instascene_core.camera import LensModel
from instascene_core.datasets.file_reader import (
    NO_POSE,
    DepthFile,
    FileReader,
    View,
    calibrated_lens,
    existing,
    opencv_lens,
    size_of_first,
)
from instascene_core.datasets.pose_track import PoseTrack, matrix_of
from instascene_core.datasets.text_files import numbers, read_rows
from instascene_core.errors import InputError

DEPTH_UNIT = 1 / 5000  # metres
TOLERANCE_S = 0.02  # between a colour image and its depth or pose
# freiburg1 … 3 → fx fy cx cy, k1 k2 p1 p2 k3 of the colour camera; images are 640×480
CALIBRATIONS = {
    "1": (517.3, 516.5, 318.6, 255.3, 0.2624, -0.9531, -0.0054, 0.0026, 1.1633),
    "2": (520.9, 521.0, 325.1, 249.7, 0.2312, -0.7849, -0.0033, -0.0001, 0.9172),
    "3": (535.4, 539.2, 320.1, 247.6),
}
DEFAULT_CALIBRATION = (525.0, 525.0, 319.5, 239.5)  # that of ROS, as the data set's page recommends
LISTS = ("rgb.txt", "groundtruth.txt")


class TumReader(FileReader):
    """Colour images of one sequence, in the order of their stamps."""

    kind = "TUM RGB-D"

    @classmethod
    def find(cls, path: Path) -> Path | None:
        return path if all((path / name).is_file() for name in LISTS) else None

    def _list(self) -> list[View]:
        images = self._stamped("rgb.txt")
        lens = self._lens([file for _, file in images])
        depths = self._stamped("depth.txt") if (self._folder / "depth.txt").is_file() else []
        stamps = np.array([stamp for stamp, _ in depths])
        track = self._track()
        views = []
        for stamp, file in images:
            pose = track.at(stamp)
            if pose is None:
                self._drop(NO_POSE)
                continue
            near = int(np.abs(stamps - stamp).argmin()) if len(stamps) else -1
            has_depth = near >= 0 and abs(stamps[near] - stamp) <= TOLERANCE_S and depths[near][1].is_file()
            depth = DepthFile(depths[near][1], DEPTH_UNIT) if has_depth else None
            views.append(View(file, lens, pose, depth, stamp))
        if depths and views and not any(view.depth for view in views):
            self._remarks.say(
                f"none of the {len(depths)} depth images in depth.txt is there within {TOLERANCE_S:g} s of "
                "an image, so all are without depth"
            )
        return views

    def _stamped(self, name: str) -> list[tuple[float, Path]]:
        """(stamp in seconds, file) of each line of a list, by stamp."""
        path, what = self._folder / name, "The list"
        found = []
        for words in read_rows(path, what):
            if len(words) < 2:
                raise InputError(f"{what} {path} has the line '{words[0][:80]}'; each is a stamp and a file.")
            stamp = float(numbers(words[:1], path, what)[0])
            if not np.isfinite(stamp):
                raise InputError(f"{what} {path} has the stamp '{words[0][:80]}', which is no time.")
            found.append((stamp, self._folder / words[1]))
        return sorted(found, key=lambda line: line[0])

    def _track(self) -> PoseTrack:
        path, what = self._folder / "groundtruth.txt", "The trajectory"
        track = PoseTrack(TOLERANCE_S)
        for words in read_rows(path, what):
            values = numbers(words, path, what)
            if len(values) != 8 or not np.isfinite(values).all():
                raise InputError(
                    f"{what} {path} has the line '{' '.join(words)[:80]}'; each is a stamp, a position and a "
                    "quaternion."
                )
            pose = matrix_of(values[1:4], values[[7, 4, 5, 6]], f"The pose of {values[0]:.6f} in {path}")
            track.add(values[0], pose)
        return track

    def _lens(self, files: list[Path]) -> LensModel:
        size = size_of_first(files)
        if file := existing(self._folder / "calibration.txt"):
            return calibrated_lens(file, size)
        camera = self._freiburg()
        if camera is None:
            self._remarks.say(
                "nothing names the camera (freiburg1 … 3, or fx fy cx cy in calibration.txt), so fx = fy = "
                "525, cx = 319.5, cy = 239.5 are taken for 640×480 pixels"
            )
        fx, fy, cx, cy, *distortion = CALIBRATIONS[camera] if camera else DEFAULT_CALIBRATION
        return opencv_lens((640, 480), fx, fy, cx, cy, distortion)

    def _freiburg(self) -> str | None:
        """1, 2 or 3 as the folder's name or the comments of rgb.txt (`# file: '…freiburg1_xyz.bag'`) say."""
        with (self._folder / "rgb.txt").open(encoding="utf-8", errors="replace") as file:
            comments = [line for line in file.read(2000).splitlines() if line.startswith("#")]
        for text in (self._folder.resolve().name, *comments):
            if found := re.search(r"(?:freiburg|fr)([123])", text):
                return found[1]
        return None

"""Stray Scanner: rgb.mp4, odometry.csv, camera_matrix.csv, depth/000000.png (or .npy), confidence/000000.png.

A row of odometry.csv is a frame of the video: timestamp, frame, x, y, z, qx, qy, qz, qw and, in later
versions, its own fx, fy, cx, cy.  Poses are camera-to-world with OpenCV's axes in a world with y up, which is
turned so that z is up.  Depth is in millimetres; confidence is 0, 1 or 2, and depth of 0 is not used.
Source: https://github.com/strayrobots/scanner/blob/main/docs/format.md
"""

from pathlib import Path

import numpy as np

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets.file_reader import Z_UP_FROM_Y_UP, DepthFile, FileReader, View, existing
from instascene_core.datasets.pose_track import matrix_of
from instascene_core.datasets.text_files import numbers, read_matrix, read_rows
from instascene_core.datasets.video import Video
from instascene_core.errors import InputError

FILES = ("rgb.mp4", "odometry.csv", "camera_matrix.csv")
LEAST_CONFIDENCE = 1
MAX_FRAMES = 10**9  # of a video
POSE = ("timestamp", "frame", "x", "y", "z", "qx", "qy", "qz", "qw")
CAMERA = ("fx", "fy", "cx", "cy")


class StrayReader(FileReader):
    """Frames of one recording, in the order of the video."""

    kind = "Stray Scanner"

    @classmethod
    def find(cls, path: Path) -> Path | None:
        return path if all((path / name).is_file() for name in FILES) else None

    def _list(self) -> list[View]:
        self._video = Video(self._folder / "rgb.mp4", upright=False)
        k = read_matrix(self._folder / "camera_matrix.csv", "The camera", (3, 3))
        size = self._video.size
        common = LensModel(PinholeCamera(*size, k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
        views = []
        for row in self._rows():
            number = int(row["frame"])
            own = [float(row[name]) for name in CAMERA if name in row]
            lens = LensModel(PinholeCamera(*size, *own)) if len(own) == len(CAMERA) else common
            name = f"{number:06d}"
            views.append(View(Path(name), lens, _pose(row, name), self._depth(name), float(row["timestamp"])))
        return views

    def _rows(self) -> list[dict[str, float]]:
        """A row a frame: column → number."""
        path, what = self._folder / "odometry.csv", "The odometry"
        lines = read_rows(path, what)
        header = [name.lower() for name in lines[0]] if lines else []
        missing = [name for name in POSE if name not in header]
        if missing:
            raise InputError(f"{what} {path} has no column '{missing[0]}'; its first line names the columns.")
        if any(len(line) != len(header) for line in lines):
            raise InputError(f"{what} {path} has a line with more or fewer values than columns.")
        rows = [dict(zip(header, numbers(words, path, what))) for words in lines[1:]]
        if not all(np.isfinite(list(row.values())).all() and 0 <= row["frame"] < MAX_FRAMES for row in rows):
            raise InputError(f"{what} {path} holds values that are not finite, or no numbers of frames.")
        return rows

    def _depth(self, name: str) -> DepthFile | None:
        for suffix in (".png", ".npy"):
            if path := existing(self._folder / "depth" / f"{name}{suffix}"):
                confidence = existing(self._folder / "confidence" / f"{name}.png")
                return DepthFile(path, confidence=confidence, least_confidence=LEAST_CONFIDENCE)
        return None

    def _with_images(self, views: list[View]) -> list[View]:
        """Those that the video reaches."""
        count = self._video.count
        kept = [view for view in views if not count or int(view.rgb.name) < count]
        self._drop("poses after the video's end", len(views) - len(kept))
        if not kept:
            raise InputError(f"The video {self._folder / 'rgb.mp4'} has none of the frames of odometry.csv.")
        return kept

    def _image(self, index: int, view: View) -> tuple[np.ndarray, None]:
        rgb = self._video.frame(int(view.rgb.name))
        if rgb is None:
            raise InputError(f"The video {self._folder / 'rgb.mp4'} ends before frame {view.rgb.name}.")
        return rgb, None


def _pose(row: dict[str, float], name: str) -> np.ndarray:
    """[4, 4] world_from_camera, z up."""
    xyz, wxyz = (np.array([row[key] for key in keys]) for keys in ("xyz", ("qw", "qx", "qy", "qz")))
    return Z_UP_FROM_Y_UP @ matrix_of(xyz, wxyz, f"The pose of frame {name} in odometry.csv")

"""Replica as rendered for iMAP and NICE-SLAM: results/frame000000.jpg, depth000000.png, traj.txt, and
cam_params.json in the folder or the one above.

traj.txt holds a camera-to-world matrix a line (16 numbers, OpenCV's axes), in the order of the frames.  Depth
is 16-bit PNG in steps of 1 / scale m, scale (6553.5) in cam_params.json.
Source: https://github.com/cvg/nice-slam (scripts/download_replica.sh and its configuration)
"""

from pathlib import Path

from instascene_core.datasets.file_reader import (
    NO_IMAGE,
    NO_POSE,
    DepthFile,
    FileReader,
    View,
    existing,
    numbered,
    opencv_lens,
)
from instascene_core.datasets.text_files import numbers, read_rows
from instascene_core.errors import InputError
from instascene_core.transforms import require_rigid
from instascene_core.untrusted import read_json_object

KEYS = ("w", "h", "fx", "fy", "cx", "cy", "scale")
# What every rendered scene of the data set has, for folders that came without cam_params.json.
DEFAULT_CAMERA = {"w": 1200, "h": 680, "fx": 600.0, "fy": 600.0, "cx": 599.5, "cy": 339.5, "scale": 6553.5}


class ReplicaReader(FileReader):
    """Frames of one rendered sequence."""

    kind = "Replica"

    @classmethod
    def find(cls, path: Path) -> Path | None:
        if not (path / "traj.txt").is_file() or not (path / "results").is_dir():
            return None
        return path if any((path / "results").glob("frame*")) else None

    def _list(self) -> list[View]:
        camera = self._camera()
        size = (int(camera["w"]), int(camera["h"]))
        lens = opencv_lens(size, camera["fx"], camera["fy"], camera["cx"], camera["cy"])
        path, what = self._folder / "traj.txt", "The trajectory"
        poses = [numbers(words, path, what) for words in read_rows(path, what)]
        files = numbered(self._folder / "results", (".jpg", ".jpeg", ".png"))
        images = [file for file in files if file.stem.startswith("frame")]
        lines = self._lines_of(images, len(poses))
        self._drop(NO_IMAGE, len({*range(len(poses))} - {*lines}))
        views = []
        for image, number in zip(images, lines):
            if number >= len(poses):
                self._drop(NO_POSE)
                continue
            pose = poses[number]
            if pose.size != 16:
                raise InputError(
                    f"{what} {path} has a line of {pose.size} numbers; a matrix of 16 is needed."
                )
            depth = existing(image.parent / f"{image.stem.replace('frame', 'depth')}.png")
            file = depth and DepthFile(depth, 1 / camera["scale"])
            views.append(
                View(image, lens, require_rigid(pose.reshape(4, 4), f"The pose of {image.name}"), file)
            )
        return views

    def _lines_of(self, images: list[Path], count: int) -> list[int]:
        """The line of the trajectory, of `count`, of each image: by its number, as some may be missing; by
        its place where as many images as lines are numbered otherwise."""
        given = [int("0" + "".join(filter(str.isdigit, image.stem))[-9:]) for image in images]
        if len(images) == count and max(given, default=0) >= count:
            return list(range(count))
        return given

    def _camera(self) -> dict[str, float]:
        for path in (self._folder / "cam_params.json", self._folder.resolve().parent / "cam_params.json"):
            if not path.is_file():
                continue
            given = read_json_object(path, "The camera").get("camera")
            if not isinstance(given, dict) or not all(_is_positive(given.get(key)) for key in KEYS):
                raise InputError(f"The camera {path} needs positive numbers {', '.join(KEYS)} in 'camera'.")
            return {key: float(given[key]) for key in KEYS}
        self._remarks.say("there is no cam_params.json, so the camera of the data set is taken (1200×680)")
        return DEFAULT_CAMERA


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")

"""Frames of a video file, decoded in order by OpenCV."""

from pathlib import Path

import numpy as np

from instascene_core.errors import InputError
from instascene_core.untrusted import require_pixels

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")


class Video:
    """A video that is decoded forwards; asking for an earlier frame starts anew.

    Seeking by number is not exact in most formats, so frames are counted.
    """

    def __init__(self, path: Path, upright: bool = True) -> None:
        """upright: turned as the file says; False: as stored.  InputError where it cannot be opened."""
        self._path, self._upright = path, upright
        self._open()

    def _open(self) -> None:
        import cv2

        self._next = 0
        self._capture = cv2.VideoCapture(str(self._path))
        if not self._path.is_file() or not self._capture.isOpened():
            raise InputError(f"The video {self._path} cannot be opened; is it complete, and H.264 or HEVC?")
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1.0 if self._upright else 0.0)
        require_pixels(*self.size, f"The video {self._path}")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, as its header says."""
        import cv2

        width, height = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT
        return int(self._capture.get(width)), int(self._capture.get(height))

    @property
    def count(self) -> int:
        """How many frames its header says it has; a few more or less may be there."""
        import cv2

        return max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def frame(self, index: int) -> np.ndarray | None:
        """[H, W, 3] uint8 RGB of frame `index`, None after the last one."""
        import cv2

        if index < self._next:
            self._open()
        while self._next < index:
            if not self._capture.grab():
                return None
            self._next += 1
        found, image = self._capture.read()
        if not found:
            return None
        self._next += 1
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

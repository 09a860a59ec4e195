"""Frames that have arrived become jobs of the worker: both nodes take them in this way."""

from collections.abc import Callable
from dataclasses import replace

from std_msgs.msg import Header

from instascene_core.camera import LensModel
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_ros.cameras import Cameras
from instascene_ros.error_log import ErrorLog, describe
from instascene_ros.frame_assembly import BAD_IMAGE, QUEUE_FULL, AssembledFrame, FrameDropped
from instascene_ros.frame_building import DecodedFrame, build_frame
from instascene_ros.frame_source import FrameSource
from instascene_ros.worker import QueueFull, Worker


class FrameJobs:
    """One job for each frame: decode it, give it to `use`, count it as used.

    What cannot be used is dropped and counted at the source, under its reason.

    kind: of the jobs; max_queued: frames that may wait, more are dropped.
    use: called in the worker with the frame and its image's header; raises FrameDropped where the frame is
    of no use after all.
    undistort: whether frames are undistorted; otherwise their pixels are those of the image as it came.
    """

    def __init__(
        self,
        worker: Worker,
        source: FrameSource | Cameras,
        errors: ErrorLog,
        kind: str,
        max_queued: int,
        use: Callable[[Frame, Header], None],
        undistort: bool = True,
    ) -> None:
        self._worker, self._source, self._errors = worker, source, errors
        self._kind, self._max_queued = kind, max_queued
        self._use, self._undistort = use, undistort

    def add(self, assembled: AssembledFrame) -> None:
        """Queue a frame; quick enough for a callback."""
        try:
            self._worker.submit(
                self._kind, lambda progress: self._run(assembled), max_unfinished=self._max_queued
            )
        except QueueFull:
            self._source.drop(QUEUE_FULL)

    def _run(self, assembled: AssembledFrame) -> None:
        """In the worker."""
        header = assembled.image.header
        try:
            decoded = self._decode(assembled)
            for complaint in decoded.complaints:
                self._errors.report(complaint.kind, complaint.sentence)
            self._use(decoded.frame, header)
        except FrameDropped as dropped:
            self._source.drop(dropped.reason, describe(dropped))
        else:
            self._source.count_used()

    def _decode(self, assembled: AssembledFrame) -> DecodedFrame:
        stamp, camera = assembled.image.header.stamp, assembled.camera.strip("/").replace("/", "_")
        name = f"{camera}{'_' if camera else ''}{stamp.sec}_{stamp.nanosec:09d}"
        if not self._undistort:
            assembled = replace(assembled, lens=LensModel(assembled.lens.camera))
        try:
            return build_frame(assembled, name, self._source.decoding_of(assembled))
        except InputError as error:
            raise FrameDropped(BAD_IMAGE, str(error)) from error

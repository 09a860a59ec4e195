"""Which messages belong together: images with their pose, depth and label image, by stamp.

No node in here and no decoding: only stamps, matrices and messages, so that it costs nothing in a
subscription callback and can be tested without ROS running.
"""

import bisect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from instascene_core.camera import LensModel
from instascene_core.datasets.fitting import same_shape
from instascene_core.datasets.registration import DepthCamera
from instascene_core.errors import InputError
from instascene_ros.image_stream import RESTART_S, ImageStream, pose_jump

# Why an image was not used; the names appear in SceneStatus.dropped_reasons.
NO_POSE = "no pose at its stamp"
BAD_POSE = "unusable pose"
NO_VALID = "no image of valid pixels at its stamp"
NO_CAMERA_INFO = "no camera_info"
BAD_CAMERA_INFO = "unusable camera_info"
SIZE_MISMATCH = "image and camera_info differ in size"
NOT_A_KEYFRAME = "camera hardly moved"
QUEUE_FULL = "worker busy, queue full"
REDUNDANT = "scene has max_frames, others show the same"
BLURRED = "blurred, those before are sharper"
BAD_IMAGE = "unusable image"
BAD_DEPTH = "unusable depth"
BAD_MASKS = "unusable masks"
DUPLICATE = "stamp seen before"
DEPTH_APART = "depth of another camera frame, not known where"
CLOCK_WENT_BACK = "incomplete when the clock went back"
NOT_HEARD = "incomplete when the node was deactivated"

REMEMBERED_STAMPS = 5000
INFO_WAIT_S = 0.2  # for the camera_info of the image's own stamp; then the newest one holds


class FrameDropped(InputError):
    """An image is not used.  Where its sentence is empty this is no error, the image is only not needed."""

    def __init__(self, reason: str, sentence: str = "") -> None:
        super().__init__(sentence)
        self.reason = reason  # one of the above


@dataclass(frozen=True)
class Unusable:
    """Takes the place of what a message should have given, with the reason in one sentence."""

    sentence: str


@dataclass(frozen=True)
class DepthView:
    """How the colour camera sees what another camera measured."""

    camera: DepthCamera
    color_from_depth: np.ndarray  # [4, 4] float64


@dataclass(frozen=True)
class AssembledFrame:
    """Messages of one instant, not decoded yet."""

    stamp: float  # seconds
    image: Any  # sensor_msgs Image or CompressedImage
    world_from_camera: np.ndarray  # [4, 4]
    lens: LensModel
    depth: Any | None = None
    masks: Any | None = None
    valid: Any | None = None  # mono8, 0 = ignore the pixel
    ignored: Any | None = None  # mono8, the opposite: 0 = keep it
    depth_view: DepthView | None = None  # where the depth is of a camera of its own
    camera: str = ""  # namespace of the topics, where there are several cameras


@dataclass
class PendingImage:
    stamp: float
    image: Any
    arrival: float  # seconds, monotonic clock
    wants_depth: bool
    wants_masks: bool
    wants_valid: bool = False
    wants_ignored: bool = False


class StampBuffer:
    """The newest `capacity` values by stamp.  Where the clock goes back, those of before are forgotten."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._stamps: list[float] = []
        self._values: list[Any] = []

    def __len__(self) -> int:
        return len(self._stamps)

    def add(self, stamp: float, value: Any) -> None:
        index = bisect.bisect_left(self._stamps, stamp)
        if index < len(self._stamps) and self._stamps[index] == stamp:
            self._values[index] = value
            return
        if self._stamps and stamp < self._stamps[-1] - RESTART_S:
            self.clear()
            index = 0
        self._stamps.insert(index, stamp)
        self._values.insert(index, value)
        if len(self._stamps) > self._capacity:
            del self._stamps[0], self._values[0]

    def nearest(self, stamp: float, tolerance: float) -> Any | None:
        """The value whose stamp is nearest, if it is within `tolerance` seconds."""
        index = bisect.bisect_left(self._stamps, stamp)
        candidates = [i for i in (index - 1, index) if 0 <= i < len(self._stamps)]
        if not candidates:
            return None
        best = min(candidates, key=lambda i: abs(self._stamps[i] - stamp))
        return self._values[best] if abs(self._stamps[best] - stamp) <= tolerance + 1e-9 else None

    def around(self, stamp: float) -> tuple[tuple[float, Any], tuple[float, Any]] | None:
        """The last (stamp, value) before `stamp` and the first one after it, where both are there."""
        index = bisect.bisect_left(self._stamps, stamp)
        if not 0 < index < len(self._stamps) or self._stamps[index] == stamp:
            return None
        before, after = ((self._stamps[i], self._values[i]) for i in (index - 1, index))
        return before, after

    @property
    def span(self) -> tuple[float, float] | None:
        """The oldest and the newest stamp."""
        return (self._stamps[0], self._stamps[-1]) if self._stamps else None

    def clear(self) -> None:
        self._stamps.clear()
        self._values.clear()


@dataclass(frozen=True)
class KeyframeRule:
    """Take a frame when the camera moved or turned enough since the last one taken."""

    translation_m: float
    rotation_deg: float

    def accepts(self, pose: np.ndarray, previous: np.ndarray | None) -> bool:
        if previous is None or (self.translation_m == 0 and self.rotation_deg == 0):
            return True
        moved = float(np.linalg.norm(pose[:3, 3] - previous[:3, 3]))
        cosine = (np.trace(previous[:3, :3].T @ pose[:3, :3]) - 1) / 2
        turned = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        return moved >= self.translation_m or turned >= self.rotation_deg


@dataclass
class FrameCounters:
    received: int = 0
    lost: int = 0  # never arrived, by the gaps in the stamps
    used: int = 0
    dropped: Counter = field(default_factory=Counter)
    pending: int = 0

    def __add__(self, other: "FrameCounters") -> "FrameCounters":
        return FrameCounters(
            self.received + other.received,
            self.lost + other.lost,
            self.used + other.used,
            self.dropped + other.dropped,
            self.pending + other.pending,
        )


class FrameAssembler:
    """Pairs messages by stamp; what stays without a pose for `wait_s` is dropped and counted.

    Depth and masks are waited for as long, when something publishes them, and done without after
    that.  An image without its valid pixels, where something publishes those, is dropped, too: it would
    show what they hide.  Not thread-safe: one callback group calls it.

    find_pose: stamp, image → [4, 4] world_from_camera or None (not known yet); raises InputError where
    the pose is known but cannot be used.
    why_no_pose: stamp, image → what is missing, as a clause, of an image that waited in vain.
    on_restart: told when the stamps have gone back (a bag that loops, a simulation begun anew).
    place_depth: depth message, image → how the image's camera sees it, None where it is the image's own;
    Unusable where that is not known, or not yet: as long as for a pose is waited for it.
    """

    def __init__(
        self,
        find_pose: Callable[[float, Any], np.ndarray | None],
        keyframes: KeyframeRule,
        tolerance_s: float,
        wait_s: float,
        on_error: Callable[[str, str], None],
        max_pending: int = 120,
        place_depth: Callable[[Any, Any], DepthView | Unusable | None] = lambda depth, image: None,
        why_no_pose: Callable[[float, Any], str] = lambda stamp, image: "",
        on_restart: Callable[[], None] = lambda: None,
    ) -> None:
        self._find_pose, self._place_depth, self._why_no_pose = find_pose, place_depth, why_no_pose
        self._on_restart = on_restart
        self.keyframes = keyframes
        self._tolerance, self._wait = tolerance_s, wait_s
        self._on_error = on_error
        self._max_pending = max_pending
        self._depths, self._masks = StampBuffer(60), StampBuffer(60)
        self._valid, self._ignored = StampBuffer(60), StampBuffer(60)
        self._lenses = StampBuffer(200)  # of LensModel | Unusable
        self._newest_lens: LensModel | Unusable | None = None
        self.counters = FrameCounters()
        self.clear()

    def forget_pending(self) -> None:
        """What waits will not be used; counters and the last keyframe stay."""
        for _ in self._pending:
            self.drop(NOT_HEARD)
        self._pending = []

    def clear(self) -> None:
        """Forget what is pending; counters start anew."""
        self._pending: list[PendingImage] = []
        self._last_keyframe: np.ndarray | None = None
        self._newest_pose: tuple[float, np.ndarray] | None = None
        self._seen: dict[float, None] = {}  # the newest stamps, oldest first
        self._stream, self._restarts = ImageStream(), 0
        self._depths.clear()
        self._masks.clear()
        self._valid.clear()
        self._ignored.clear()
        self.counters.received = self.counters.lost = self.counters.used = 0
        self.counters.dropped.clear()

    @property
    def num_pending(self) -> int:
        return len(self._pending)

    def drop(self, reason: str, sentence: str = "") -> None:
        """Count an image that is not used; `sentence` makes it an error, too."""
        self.counters.dropped[reason] += 1
        if sentence:
            self._on_error(reason, sentence)

    def add_lens(self, stamp: float, lens: LensModel | Unusable) -> None:
        """A camera_info as a lens, or why it cannot be used."""
        self._lenses.add(stamp, lens)
        self._newest_lens = lens

    def add_depth(self, stamp: float, message: Any) -> None:
        self._depths.add(stamp, message)

    def add_masks(self, stamp: float, message: Any) -> None:
        self._masks.add(stamp, message)

    def add_valid(self, stamp: float, message: Any) -> None:
        self._valid.add(stamp, message)

    def add_ignored(self, stamp: float, message: Any) -> None:
        self._ignored.add(stamp, message)

    def add_image(
        self,
        stamp: float,
        message: Any,
        now: float,
        wants_depth: bool = False,
        wants_masks: bool = False,
        wants_valid: bool = False,
        wants_ignored: bool = False,
    ) -> None:
        self.counters.received += 1
        if (newest := self._stream.restarts_at(stamp)) is not None:
            self._restart(newest, stamp)
        self._stream.add(stamp)
        self.counters.lost = self._stream.lost
        if stamp in self._seen:
            twice = f"Two images have the stamp {stamp:.6f}; the second is not used."
            self.drop(DUPLICATE, "" if self._restarts else twice)  # a bag that loops brings all of them again
            return
        self._seen[stamp] = None
        if len(self._seen) > REMEMBERED_STAMPS:
            del self._seen[next(iter(self._seen))]
        self._pending.append(
            PendingImage(stamp, message, now, wants_depth, wants_masks, wants_valid, wants_ignored)
        )
        if len(self._pending) > self._max_pending:
            self._drop(self._no_pose(self._pending.pop(0)))

    def _restart(self, newest: float, stamp: float) -> None:
        """Time has gone back: what waits finds nothing any more, the next image is a first one."""
        for _ in self._pending:
            self.drop(CLOCK_WENT_BACK)
        self._pending, self._last_keyframe, self._newest_pose = [], None, None
        self._stream.restart()
        self._restarts += 1
        self._on_restart()
        self._on_error(
            "clock went back",
            f"The stamps of the images went back from {newest:.3f} to {stamp:.3f} s (a bag that loops, a "
            "simulation begun anew?): the input starts afresh, the scene stays; call reset_scene where it is "
            "another one.",
        )

    def poll(self, now: float) -> list[AssembledFrame]:
        """The frames that are complete at time `now` (seconds, monotonic)."""
        ready: list[AssembledFrame] = []
        waiting: list[PendingImage] = []
        for pending in self._pending:
            try:
                frame = self._assemble(pending, now)
            except FrameDropped as dropped:
                self._drop(dropped)
                continue
            if frame is None:
                waiting.append(pending)
            else:
                ready.append(frame)
        self._pending = waiting
        return ready

    def _assemble(self, pending: PendingImage, now: float) -> AssembledFrame | None:
        """The frame, or None when it must wait; raises FrameDropped."""
        overdue = now - pending.arrival >= self._wait
        lens = self._lenses.nearest(pending.stamp, self._tolerance)
        if lens is None and now - pending.arrival >= min(INFO_WAIT_S, self._wait):
            lens = self._newest_lens
        if isinstance(lens, Unusable):
            raise FrameDropped(BAD_CAMERA_INFO, lens.sentence)
        if lens is None or (pose := self._pose(pending)) is None:
            if overdue:
                raise self._no_camera_info() if lens is None else self._no_pose(pending)
            return None
        depth = self._depths.nearest(pending.stamp, self._tolerance) if pending.wants_depth else None
        masks = self._masks.nearest(pending.stamp, self._tolerance) if pending.wants_masks else None
        valid = self._valid.nearest(pending.stamp, self._tolerance) if pending.wants_valid else None
        ignored = self._ignored.nearest(pending.stamp, self._tolerance) if pending.wants_ignored else None
        missing = (pending.wants_depth and depth is None) or (pending.wants_masks and masks is None)
        hidden = (pending.wants_valid and valid is None) or (pending.wants_ignored and ignored is None)
        if (missing or hidden) and not overdue:
            return None
        if hidden:
            raise FrameDropped(
                NO_VALID,
                f"An image found no image of valid pixels within {self._tolerance:g} s of its stamp.",
            )
        view = None if depth is None else self._place_depth(depth, pending.image)
        if isinstance(view, Unusable):
            if not overdue:
                return None
            raise FrameDropped(DEPTH_APART, view.sentence)
        self._watch(pending.stamp, pose)
        self._check(pending.image, lens, pose)
        self._last_keyframe = pose
        return AssembledFrame(pending.stamp, pending.image, pose, lens, depth, masks, valid, ignored, view)

    def _pose(self, pending: PendingImage) -> np.ndarray | None:
        try:
            return self._find_pose(pending.stamp, pending.image)
        except InputError as error:
            raise FrameDropped(BAD_POSE, str(error)) from error

    def _watch(self, stamp: float, pose: np.ndarray) -> None:
        """Say it where the camera jumped: its poses before and after are of two maps."""
        before, self._newest_pose = self._newest_pose, (stamp, pose)
        if before is None or stamp <= before[0]:
            return
        if jump := pose_jump(before[1], pose, stamp - before[0]):
            self._on_error(
                "pose jumped",
                f"The camera {jump}: where its tracking found itself anew, frames from before do not fit "
                "those that follow; call reset_scene, or move it there and have all seen again.",
            )

    def _check(self, image: Any, lens: LensModel, pose: np.ndarray) -> None:
        """FrameDropped where the image is none of the camera at any scale, or the camera hardly moved."""
        camera = lens.camera
        # A CompressedImage has no size before it is decoded.
        size = (getattr(image, "width", camera.width), getattr(image, "height", camera.height))
        if not same_shape(camera.width, camera.height, *size):
            raise FrameDropped(
                SIZE_MISMATCH,
                f"The image is {size[0]}×{size[1]} but camera_info says {camera.width}×{camera.height}; "
                "publish the camera_info of this image size.",
            )
        if not self.keyframes.accepts(pose, self._last_keyframe):
            raise FrameDropped(NOT_A_KEYFRAME)

    def _drop(self, dropped: FrameDropped) -> None:
        self.drop(dropped.reason, str(dropped))

    def _no_pose(self, pending: PendingImage) -> FrameDropped:
        why = self._why_no_pose(pending.stamp, pending.image) or "check the pose topic and its stamps"
        return FrameDropped(
            NO_POSE,
            f"An image of the time {pending.stamp:.3f} s found no pose within {self._tolerance:g} s after "
            f"waiting {self._wait:g} s: {why}.",
        )

    @staticmethod
    def _no_camera_info() -> FrameDropped:
        return FrameDropped(
            NO_CAMERA_INFO, "Images arrive but no camera_info; publish it or remap rgb/camera_info."
        )

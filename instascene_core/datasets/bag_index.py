"""What one pass over a bag collects: stamps, poses, calibrations; and which messages make a frame."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from instascene_core.camera import LensModel
from instascene_core.datasets import bag_topics, ros_images
from instascene_core.datasets.bag_topics import BagTopics
from instascene_core.datasets.pose_track import PoseTrack, TransformTree, matrix_from_parts
from instascene_core.datasets.registration import DepthCamera
from instascene_core.datasets.remarks import Remarks
from instascene_core.errors import InputError


@dataclass(frozen=True)
class Entry:
    """Where a message lies in the bag."""

    topic: str
    recorded: int  # nanoseconds: when the recorder took it
    written: float  # seconds: its header's stamp
    stamp: float  # seconds: when it was taken, as far as is known
    frame_id: str


@dataclass(frozen=True)
class Match:
    """The messages of one frame."""

    rgb: Entry
    lens: LensModel
    world_from_camera: np.ndarray  # [4, 4]
    depth: Entry | None
    masks: Entry | None
    valid: Entry | None
    color_from_depth: np.ndarray | None = None  # [4, 4] where the depth is of another camera


@dataclass(frozen=True)
class _Pose:
    """A recorded transform."""

    parent: str  # empty for a pose topic
    child: str
    recorded: int
    written: float
    matrix: np.ndarray
    static: bool = False


@dataclass(frozen=True)
class _Calibration:
    """What the colour camera's lens is from a time on."""

    recorded: int
    written: float
    stamp: float
    lens: LensModel
    frame_id: str


_Stamped = TypeVar("_Stamped", Entry, _Calibration)


def stamp_of(header) -> float:
    """Seconds."""
    return header.stamp.sec + header.stamp.nanosec * 1e-9


class BadPose(InputError):
    """A recorded pose that cannot be used; the others may."""


def _pose_matrix(position, orientation) -> np.ndarray:
    try:
        return matrix_from_parts(position, orientation, "A recorded pose")
    except InputError as error:
        raise BadPose("poses not finite or without a unit quaternion") from error


class Index:
    """Collects a bag's stamps and poses; its pixels stay there."""

    def __init__(self, topics: BagTopics, available: dict[str, str], remarks: Remarks) -> None:
        self._topics, self._remarks = topics, remarks
        self._available = available
        self._pose_type = available.get(topics.pose, bag_topics.TF)
        self._tf_topics = {t for t, kind in available.items() if kind == bag_topics.TF}
        self._odometry_child = ""
        self._side: dict[str, list[Entry]] = {t: [] for t in (topics.depth, topics.masks, topics.valid) if t}
        self._images: list[Entry] = []
        self._poses: list[_Pose] = []  # of the pose topic
        self._transforms: list[_Pose] = []  # of tf
        self._calibrations: list[_Calibration] = []  # where it changes
        self._calibrated_by: tuple | None = None  # the facts of the last camera_info that was taken
        self._uncalibrated: InputError | None = None  # what is wrong with a camera_info that cannot be used
        self._depth_lens: LensModel | None = None
        self._dropped: dict[str, int] = defaultdict(int)
        self._by_recorder = False  # whether the recorder's times stand in for stamps that tell nothing
        self._track = PoseTrack(topics.sync_tolerance_s)
        self._tree = TransformTree(topics.sync_tolerance_s)
        self.depth_camera: DepthCamera | None = None  # where the depth must be seen from the colour camera

    def scan(self, bag) -> None:
        """Read stamps, poses and calibrations."""
        topics = self._topics
        wanted = {topics.rgb, topics.camera_info, topics.pose, topics.depth_info}
        for topic, recorded, message in bag.messages((wanted | {*self._side, *self._tf_topics}) - {""}):
            try:
                self._take(topic, recorded, message)
            except BadPose as error:
                self._dropped[str(error)] += 1
        self._settle_stamps()

    def _take(self, topic: str, recorded: int, message) -> None:
        if topic in self._tf_topics:
            for t in message.transforms:
                matrix = _pose_matrix(t.transform.translation, t.transform.rotation)
                self._transforms.append(
                    _Pose(t.header.frame_id, t.child_frame_id, recorded, stamp_of(t.header), matrix,
                          topic.endswith("tf_static"))
                )  # fmt: skip
            return
        stamp, frame_id = stamp_of(message.header), message.header.frame_id.lstrip("/")
        if topic == self._topics.rgb:
            self._images.append(Entry(topic, recorded, stamp, stamp, frame_id))
        elif topic in self._side:
            self._side[topic].append(Entry(topic, recorded, stamp, stamp, frame_id))
        elif topic == self._topics.camera_info:
            self._calibrate(message, recorded, stamp)
        elif topic == self._topics.depth_info:
            self._depth_lens = self._depth_lens or _lens_of(message, self._topics.depth)
        elif topic == self._topics.pose:
            pose = message.pose
            if self._pose_type == bag_topics.ODOMETRY:
                pose, self._odometry_child = message.pose.pose, message.child_frame_id.lstrip("/")
            matrix = _pose_matrix(pose.position, pose.orientation)
            self._poses.append(_Pose("", "", recorded, stamp, matrix))

    def _calibrate(self, message, recorded: int, stamp: float) -> None:
        """Take a camera_info where it says something new: focus and zoom may move during a recording."""
        facts = _facts(message)
        if facts == self._calibrated_by:
            return
        try:
            lens = self._color_lens(message)
        except InputError as error:  # drivers may send zeros until they know better
            self._uncalibrated = self._uncalibrated or error
            self._dropped["camera_infos without a calibration"] += 1
            return
        self._calibrated_by = facts
        self._calibrations.append(
            _Calibration(recorded, stamp, stamp, lens, message.header.frame_id.lstrip("/"))
        )
        if len(self._calibrations) == 2:
            self._remarks.say(
                f"the calibration on {self._topics.camera_info} changes in the recording: each image takes "
                "the one of its time"
            )

    def _color_lens(self, message) -> LensModel:
        rgb = self._topics.rgb
        if ros_images.rectified_by_name(message, rgb) and ros_images.is_distorted(message):
            self._remarks.say(
                f"{rgb} is rectified by its name: P of {self._topics.camera_info} is used, and no lens "
                "distortion is removed"
            )
        return _lens_of(message, rgb)

    def _settle_stamps(self) -> None:
        """Take the recorder's times for all topics where the stamps of one tell nothing."""
        timed = {self._topics.rgb: self._images, self._topics.pose: self._poses, **self._side}
        for pose in self._transforms:
            if not pose.static:
                timed.setdefault(f"tf of {pose.child}", []).append(pose)
        useless = [t for t, found in timed.items() if len(found) > 1 and len({e.written for e in found}) == 1]
        self._by_recorder = bool(useless)
        if useless:
            self._remarks.say(
                f"all stamps of {', '.join(useless)} are the same: the times at which the bag was recorded "
                "are used for all topics"
            )
            self._images = [_recorded(entry) for entry in self._images]
            self._side = {t: [_recorded(entry) for entry in found] for t, found in self._side.items()}
            self._calibrations = [_recorded(entry) for entry in self._calibrations]
        for entries in (self._images, self._calibrations, *self._side.values()):
            entries.sort(key=lambda entry: entry.stamp)
        for pose in self._poses:
            self._track.add(self._stamp(pose), pose.matrix)
        for pose in self._transforms:
            self._tree.add(pose.parent, pose.child, self._stamp(pose), pose.matrix, pose.static)

    def _stamp(self, pose: _Pose) -> float:
        return pose.recorded * 1e-9 if self._by_recorder else pose.written

    def require_lens(self) -> None:
        """InputError where the colour camera is not known."""
        if self._calibrations:
            self._question_lens()
            return
        if self._uncalibrated is not None:
            raise self._uncalibrated
        raise InputError(f"The bag has no message on {self._topics.camera_info}, so the camera is unknown.")

    def _question_lens(self) -> None:
        """Say where the camera_info may be of another camera than the images."""
        topics, said = self._topics, self._calibrations[0].frame_id
        shown = self._images[0].frame_id if self._images else ""
        if shown and said and shown != said and topics.camera_info != bag_topics.beside(topics.rgb):
            self._remarks.say(
                f"{topics.camera_info} is of the frame '{said}', but the images on {topics.rgb} are of "
                f"'{shown}': name another one as topics.camera_info where it is of another camera"
            )

    def match(self) -> tuple[list[Match], dict[str, int]]:
        """(frames in order of their stamps, reason → number dropped)."""
        matches, dropped = [], defaultdict(int, self._dropped)
        seen = set()
        apart = self._depth_is_apart()
        for entry in self._images:
            pose = self._pose(entry.stamp, entry.frame_id)
            if entry.stamp in seen or pose is None:
                twice = entry.stamp in seen
                dropped[
                    "images with the stamp of another" if twice else "images without a pose at their stamp"
                ] += 1
                continue
            seen.add(entry.stamp)
            depth = self._nearest(self._topics.depth, entry.stamp)
            mounted = None
            if apart and depth:
                mounted = self._tree.lookup(entry.frame_id, depth.frame_id, entry.stamp)
                depth = depth if mounted is not None else None
            masks, valid = (
                self._nearest(topic, entry.stamp) for topic in (self._topics.masks, self._topics.valid)
            )
            matches.append(Match(entry, self._lens_at(entry.stamp), pose, depth, masks, valid, mounted))
        self._require_company(matches)
        return matches, dict(dropped)

    def _lens_at(self, stamp: float) -> LensModel:
        """Of the last calibration until then; the first one holds for what was before it."""
        place = bisect_right(self._calibrations, stamp, key=lambda found: found.stamp)
        return self._calibrations[max(place - 1, 0)].lens

    def _require_company(self, matches: list[Match]) -> None:
        """Say how many images have no depth, masks or pixels to ignore; InputError where none has them."""
        tolerance = self._topics.sync_tolerance_s
        for kind in ("depth", "masks", "valid"):
            topic = getattr(self._topics, kind)
            alone = [match for match in matches if self._nearest(topic, match.rgb.stamp) is None]
            if not self._side.get(topic) or not alone:
                continue
            if len(alone) < len(matches):
                self._remarks.say(
                    f"{len(alone)} of {len(matches)} images have nothing on {topic} within {tolerance:g} s"
                )
                continue
            gaps = (abs(e.stamp - m.rgb.stamp) for m in alone for e in self._around(topic, m.rgb.stamp))
            instead = ", or leave depth out (--no-depth)" if kind == "depth" else ""
            raise InputError(
                f"No message on {topic} lies within {tolerance:g} s of an image, the nearest {min(gaps):.3g} "
                f"s away: their clocks differ, or topics.sync_tolerance_s must be larger{instead}."
            )

    def why_no_pose(self) -> str:
        """What keeps the images from having poses; empty where nothing simple does."""
        if not self._images:
            return ""
        frame, poses = self._images[0].frame_id, self._poses
        if self._pose_is_tf:
            poses = [pose for pose in self._transforms if not pose.static]
            if frame not in self._tree.frames:
                return (
                    f"the images name the frame '{frame}', which tf does not have; it has "
                    f"{self._known_frames()}"
                )
            if not self._tree.relates(frame, self._topics.map_frame):
                return f"tf does not connect '{frame}', their frame, with '{self._topics.map_frame}'"
        return self._apart([self._stamp(pose) for pose in poses])

    def _apart(self, stamps: list[float]) -> str:
        """That the images are of another time than all poses, where they are."""
        first, last = self._images[0].stamp, self._images[-1].stamp
        if stamps and first <= max(stamps) and min(stamps) <= last:
            return ""
        poses = f"the poses of {min(stamps):.3f} … {max(stamps):.3f} s" if stamps else "there are no poses"
        return f"the images are of {first:.3f} … {last:.3f} s, {poses}"

    @property
    def _pose_is_tf(self) -> bool:
        return self._topics.pose == "tf" or self._topics.pose in self._tf_topics

    def _known_frames(self) -> str:
        return ", ".join(sorted(self._tree.frames)) or "none"

    def _depth_is_apart(self) -> bool:
        """Whether the depth is of another camera than the colour; InputError where it cannot be moved."""
        entries = self._side.get(self._topics.depth, [])
        if not entries or not self._images or self._topics.depth_registered:
            return False
        color, depth = self._images[0].frame_id, entries[0].frame_id
        if color == depth or not color or not depth or bag_topics.is_registered(self._topics.depth):
            return False
        mounted = next(
            (m for e in self._images if (m := self._tree.lookup(color, depth, e.stamp)) is not None), None
        )
        if mounted is not None and np.allclose(mounted, np.eye(4), atol=1e-4):
            return False
        if mounted is None or self._depth_lens is None:
            missing = "tf does not connect them" if mounted is None else "the depth has no camera_info"
            raise InputError(
                f"The depth on {self._topics.depth} is of the camera frame '{depth}', the images are of "
                f"'{color}', and {missing}: {self._aligned_advice()}"
            )
        self.depth_camera = DepthCamera(self._depth_lens)
        self._remarks.say(
            f"the depth is of the camera frame '{depth}'; it is moved to '{color}' by tf and "
            f"{self._topics.depth_info}"
        )
        return True

    def _aligned_advice(self) -> str:
        aligned = [t for t in self._available if bag_topics.is_registered(t) and t != self._topics.depth]
        if aligned:
            return f"name the aligned topic: topics.depth={aligned[0]}."
        return (
            "record the topic of depth aligned to the colour image (aligned_depth_to_color, "
            "depth_registered), or set topics.depth_registered=true where it is aligned."
        )

    def _pose(self, stamp: float, frame_id: str) -> np.ndarray | None:
        """world_from_camera at `stamp`."""
        if self._pose_is_tf:
            if self._topics.map_frame not in self._tree.frames:
                bad = "".join(f"; {number} {reason}" for reason, number in self._dropped.items())
                raise InputError(
                    f"tf has no frame '{self._topics.map_frame}'; it has {self._known_frames()}{bad}."
                )
            return self._tree.lookup(self._topics.map_frame, frame_id, stamp)
        pose = self._track.at(stamp)
        if pose is None or self._pose_type != bag_topics.ODOMETRY or frame_id == self._odometry_child:
            return pose
        base_from_camera = self._tree.lookup(self._odometry_child, frame_id, stamp)
        if base_from_camera is None:
            raise InputError(
                f"Odometry gives the pose of '{self._odometry_child}', but tf does not say where "
                f"'{frame_id}' is on it."
            )
        return pose @ base_from_camera

    def _nearest(self, topic: str, stamp: float) -> Entry | None:
        near = self._around(topic, stamp)
        best = min(near, key=lambda e: abs(e.stamp - stamp), default=None)
        return best if best and abs(best.stamp - stamp) <= self._topics.sync_tolerance_s else None

    def _around(self, topic: str, stamp: float) -> list[Entry]:
        """The messages of `topic` just before and after `stamp`."""
        entries = self._side.get(topic, [])
        right = bisect_left(entries, stamp, key=lambda entry: entry.stamp)
        return entries[max(0, right - 1) : right + 1]


def _lens_of(message, topic: str) -> LensModel:
    return ros_images.lens_from_camera_info(message, ros_images.rectified_by_name(message, topic))


def _facts(message) -> tuple:
    """All that a camera_info says of the lens, to be compared."""
    roi = message.roi
    region = (roi.x_offset, roi.y_offset, roi.width, roi.height)
    numbers = tuple(np.asarray(values, float).tobytes() for values in (message.k, message.d, message.p))
    size = (message.width, message.height, message.binning_x, message.binning_y)
    return (*numbers, message.distortion_model, *size, *region)


def _recorded(entry: _Stamped) -> _Stamped:
    return replace(entry, stamp=entry.recorded * 1e-9)

"""Which way is up: the convention (z), how the cameras were held, and the plane that things stand on.

Cameras are mostly held level: their x axes (image rows) are horizontal, so up is the direction that is
perpendicular to all of them.  That is sharp once the cameras look from different sides.  Turned by 90°, as
phones are, their y axes are horizontal instead.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instascene_core.config.segmentation import SupportConfig
from instascene_core.frame import Frame
from instascene_core.geometry import Plane
from instascene_core.segmentation.scene_sample import sample_surface
from instascene_core.segmentation.support import Support, extract_planes, support_of_points

logger = logging.getLogger(__name__)

CONVENTION = np.array([0.0, 0.0, 1.0])  # REP 103
AUTO = "auto"


@dataclass(frozen=True)
class Upward:
    """The direction against gravity, and where it was taken from."""

    direction: np.ndarray | None  # [3] float64 unit, world frame; None = not to be known
    source: str  # in words
    apart: float = 0.0  # degrees between it and what the cameras alone say
    warning: str = ""  # one sentence, where what there is to go by disagrees

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the metrics."""
        direction = None if self.direction is None else [round(float(v), 4) + 0.0 for v in self.direction]
        told = {"direction": direction, "from": self.source, "cameras_apart_degrees": round(self.apart, 1)}
        return {**told, "warning": self.warning} if self.warning else told


@dataclass(frozen=True)
class HeldUp:
    """What the cameras say."""

    direction: np.ndarray  # [3] unit
    sharp: bool  # whether views from several sides agree on it; else it is good to 45°


def find_support_and_up(
    frames: Sequence[Frame], given: str | Sequence[float], config: SupportConfig | None = None
) -> tuple[Support | None, Upward]:
    """The plane that things stand on (see `find_support`) and the direction against gravity.

    given: the setting `up`: "auto", a direction [3] in the world frame, or empty = not known, the support
    plane decides.  Warns where support plane and cameras disagree by much.
    """
    config = config or SupportConfig()
    sample = sample_surface(frames, config)
    poses = np.stack([frame.world_from_camera for frame in frames])
    found = None if sample is None else extract_planes(sample, config)
    planes, shares = ([], np.zeros(0)) if found is None else found[:2]
    if given == AUTO:
        up = upward_of(poses, planes, shares, config)
    elif len(given):
        up = _given_up(np.asarray(given, dtype=np.float64), poses, planes, shares, config)
    else:
        up = Upward(None, "not known: the support plane decides")
    if up.warning:
        logger.warning("%s", up.warning)
    support = None if sample is None else support_of_points(sample, up.direction, config, found)
    return support, up


def upward_of(
    poses: np.ndarray, planes: Sequence[Plane], shares: np.ndarray, config: SupportConfig
) -> Upward:
    """Up as poses [F, 4, 4] world_from_camera and planes (normals to the free side; shares [P] of all points)
    tell; the convention, exactly, wherever the cameras do not contradict it."""
    held, turned = held_up(poses)
    for cameras, how in ((held, "the cameras"), (turned, "the cameras, held on their side")):
        if cameras is None:
            continue
        plane = _carrying(cameras, planes, shares, config)
        normal = None if plane is None else plane.normal
        possible = _angle(cameras.direction, CONVENTION) <= _reach(cameras, config)
        if possible and (cameras is held or plane is not None):
            source = f"the convention (z), which {how} do not contradict"
            return _checked(CONVENTION, source, cameras, normal, config)
        if normal is not None:
            source = f"the support plane, near what {how} say"
            return _checked(_on_axis(normal, config), source, cameras, normal, config)
    if held is not None and held.sharp:
        sentence = (
            f"Up is taken from how the cameras were held: {_words(held.direction)}, for no plane says so; "
            "set `up` where that is wrong."
        )
        return Upward(held.direction, "the cameras", 0.0, sentence)
    cameras = held or turned
    apart = 0.0 if cameras is None else _angle(cameras.direction, CONVENTION)
    sentence = (
        "Neither the cameras nor a plane tell which way is up, so z is taken; set `up` where that is wrong."
    )
    return Upward(CONVENTION, "the convention (z)", apart, sentence)


def held_up(poses: np.ndarray) -> tuple[HeldUp | None, HeldUp | None]:
    """Up as level cameras, and as cameras turned by 90°, would have it, from poses [F, 4, 4]; None where the
    latter tells nothing.  Only one of them is sharp: the one whose axes are more nearly in one plane."""
    axes = poses[:, :3, :3]
    # Averaged "image up" plus "backward" points up for any elevation from level to straight down.
    rough = -(axes[:, :, 1] + axes[:, :, 2]).mean(axis=0)
    backward = -axes[:, :, 2].mean(axis=0)
    (level, one), (side, other) = _perpendicular(axes[:, :, 0]), _perpendicular(axes[:, :, 1])
    turned = HeldUp(side * np.sign(side @ backward), True) if other > max(one, MIN_GAP) else None
    if turned is not None and not turned.direction.any():
        turned = None
    if one >= max(other, MIN_GAP) and abs(level @ rough) > 1e-6:
        return HeldUp(level * np.sign(level @ rough), True), None
    length = np.linalg.norm(rough)
    return (HeldUp(rough / length, False) if length > MIN_COMMON else None), turned


MIN_COMMON = 0.1  # length of a mean of unit vectors, below which they have no direction in common
MIN_GAP = 4.0  # by what factor axes spread more within a plane than across it, for the plane to be known
LEVEL_NOISE = 0.03  # radians by which cameras held level are not


def _perpendicular(axes: np.ndarray) -> tuple[np.ndarray, float]:
    """([3] unit vector perpendicular to the axes [F, 3], how much surer it is of that than of any other)."""
    values, vectors = np.linalg.eigh(axes.T @ axes / len(axes))
    return vectors[:, 0], float(np.sqrt(max(values[1], 0.0)) / (np.sqrt(max(values[0], 0.0)) + LEVEL_NOISE))


def _carrying(
    cameras: HeldUp, planes: Sequence[Plane], shares: np.ndarray, config: SupportConfig
) -> Plane | None:
    """The largest plane whose normal is near what the cameras say; tilted ones count less, and against sharp
    cameras by much only large ones do."""
    alignment = np.array([plane.normal @ cameras.direction for plane in planes])
    near = alignment >= np.cos(np.radians(_reach(cameras, config)))
    if cameras.sharp:
        near &= (alignment >= np.cos(np.radians(config.up_warn_degrees))) | (shares >= config.up_tilted_share)
    score = np.where(near, shares * np.maximum(alignment, 0) ** 2, 0)
    return planes[int(score.argmax())] if len(score) and score.max() > 0 else None


def _reach(cameras: HeldUp, config: SupportConfig) -> float:
    """Degrees within which up may lie from what the cameras say."""
    return config.up_known_degrees if cameras.sharp else config.up_guess_degrees


def _on_axis(normal: np.ndarray, config: SupportConfig) -> np.ndarray:
    """The world's axis that the normal all but is (y of graphics' worlds, say), else the normal."""
    axis = np.zeros(3)
    axis[np.abs(normal).argmax()] = np.sign(normal[np.abs(normal).argmax()])
    return axis if _angle(axis, normal) <= config.up_axis_degrees else normal / np.linalg.norm(normal)


def _checked(
    up: np.ndarray, source: str, cameras: HeldUp, normal: np.ndarray | None, config: SupportConfig
) -> Upward:
    """Up with a warning where the support plane or sharp cameras are far from it."""
    apart, warning = _angle(up, cameras.direction), ""
    tilt = 0.0 if normal is None else _angle(up, normal)
    if cameras.sharp and apart > config.up_warn_degrees:
        warning = (
            f"Up is taken to be {_words(up)} ({source}), but the cameras were held {apart:.0f}° off; set "
            "`up` where that is wrong."
        )
    elif tilt > config.up_warn_degrees:
        warning = (
            f"Up is taken to be {_words(up)} ({source}), but the plane that things stand on is tilted by "
            f"{tilt:.0f}° against it; set `up` where that is wrong."
        )
    return Upward(up, source, apart, warning)


def _given_up(
    given: np.ndarray, poses: np.ndarray, planes: Sequence[Plane], shares: np.ndarray, config: SupportConfig
) -> Upward:
    """The direction that the setting gives, with a warning where everything else says another."""
    up = given / np.linalg.norm(given)
    told = upward_of(poses, planes, shares, config)
    cameras = next((held for held in held_up(poses) if held is not None), None)
    apart = 0.0 if cameras is None else _angle(up, cameras.direction)
    warning = ""
    if (
        told.direction is not None
        and not told.warning
        and _angle(up, told.direction) > config.up_known_degrees
    ):
        warning = (
            f"The setting `up` is {_words(up)}, but {told.source} says {_words(told.direction)}, "
            f"{_angle(up, told.direction):.0f}° off; set `up` to auto where that is right."
        )
    return Upward(up, "the setting `up`", apart, warning)


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    """Degrees between two unit vectors."""
    return float(np.degrees(np.arccos(np.clip(one @ other, -1, 1))))


def _words(direction: np.ndarray) -> str:
    return "(" + ", ".join(f"{value + 0.0:.3g}" for value in np.round(direction, 3)) + ")"

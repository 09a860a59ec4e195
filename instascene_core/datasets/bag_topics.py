"""Which topics of a rosbag2 carry what."""

from dataclasses import dataclass, replace

from instascene_core.errors import InputError

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POSE = "geometry_msgs/msg/PoseStamped"
ODOMETRY = "nav_msgs/msg/Odometry"
TF = "tf2_msgs/msg/TFMessage"
DEPTH_WORDS = ("depth",)
LABEL_WORDS = ("mask", "label", "segment", "instance")
OTHER_WORDS = ("infra", "rendered", "confidence", "debug", "preview")  # images that are not the colour camera


@dataclass(frozen=True)
class BagTopics:
    """Topic names; an empty one is found by name and type."""

    rgb: str = ""
    camera_info: str = ""
    pose: str = ""  # PoseStamped (camera's optical frame in the map) or Odometry; "tf" = from the tf tree
    depth: str = ""
    masks: str = ""
    map_frame: str = "map"  # for tf
    sync_tolerance_s: float = 0.02


def detect_topics(available: dict[str, str], given: BagTopics) -> BagTopics:
    """`given` with its empty names filled in from `available` (topic → message type).

    Raises InputError where a needed topic is absent or several would do.  Depth and masks stay
    empty when there are none.
    """
    for name in (given.rgb, given.camera_info, given.depth, given.masks, given.pose):
        if name and name != "tf" and name not in available:
            raise InputError(f"The bag has no topic '{name}'; it has {_list(available)}.")
    images = [t for t, kind in available.items() if kind == IMAGE]
    compressed = [t for t, kind in available.items() if kind == COMPRESSED]
    color = [t for t in images if not _has(t, DEPTH_WORDS + LABEL_WORDS + OTHER_WORDS)]
    color = color or [t for t in compressed if not _has(t, DEPTH_WORDS + LABEL_WORDS + OTHER_WORDS)]
    rgb = given.rgb or _choose(color, "rgb/image", "a colour image", available, "rgb")
    infos = [t for t, kind in available.items() if kind == CAMERA_INFO]
    return replace(
        given,
        rgb=rgb,
        camera_info=given.camera_info or _camera_info(infos, rgb, available),
        depth=given.depth or _optional([t for t in images if _has(t, DEPTH_WORDS)], "depth/image", rgb),
        masks=given.masks or _optional([t for t in images if _has(t, LABEL_WORDS)], "masks/image", rgb),
        pose=given.pose or _pose(available),
    )


def _camera_info(infos: list[str], rgb: str, available: dict[str, str]) -> str:
    """The camera_info beside the colour image."""
    space = rgb.removesuffix("/compressed").rsplit("/", 1)[0]
    beside = f"{space}/camera_info"
    if beside in infos:
        return beside
    others = [t for t in infos if not _has(t, DEPTH_WORDS)] or infos
    return _choose(others, "rgb/camera_info", "a camera_info", available, "camera_info")


def _pose(available: dict[str, str]) -> str:
    poses = [t for t, kind in available.items() if kind == POSE]
    if poses:
        return _choose(poses, "pose", "a pose", available, "pose")
    odometry = [t for t, kind in available.items() if kind == ODOMETRY]
    if odometry:
        return _choose(odometry, "odom", "an odometry", available, "pose")
    if TF in available.values():
        return "tf"
    raise InputError("The bag has no poses: no PoseStamped, Odometry or tf topic; record one.")


def _choose(candidates: list[str], usual: str, what: str, available: dict[str, str], parameter: str) -> str:
    """The only candidate, or the one that ends in its usual name."""
    named = [
        t for t in candidates if t.strip("/") == usual or t.endswith(("/" + usual, f"/{usual}/compressed"))
    ]
    best = named if len(named) == 1 else candidates
    if len(best) == 1:
        return best[0]
    if not best:
        raise InputError(f"The bag has no topic with {what}; it has {_list(available)}.")
    raise InputError(
        f"The bag has several topics with {what} ({', '.join(best)}); name one as topics.{parameter}."
    )


def _optional(candidates: list[str], usual: str, rgb: str) -> str:
    """The usual one, else the one most like the colour topic, else none."""
    candidates = [t for t in candidates if t != rgb]
    named = [t for t in candidates if t.strip("/") == usual or t.endswith("/" + usual)]
    if named or not candidates:
        return named[0] if named else ""
    aligned = [t for t in candidates if _has(t, ("aligned", "registered"))]
    return sorted(aligned or candidates)[0]


def _has(topic: str, words: tuple[str, ...]) -> bool:
    return any(word in topic.lower() for word in words)


def _list(available: dict[str, str]) -> str:
    return ", ".join(f"{t} ({kind.rsplit('/', 1)[-1]})" for t, kind in sorted(available.items())) or "none"

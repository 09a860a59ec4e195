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
REGISTERED_WORDS = ("aligned", "registered", "to_color", "to_rgb")  # depth in the colour camera's pixels
VALID = "valid/image"  # the usual name of images whose black pixels are to be ignored
TRANSPORTS = ("compressedDepth", "compressed")  # last parts of topics with packed images
OTHER_WORDS = ("infra", "rendered", "confidence", "debug", "preview")  # images that are not the colour camera


@dataclass(frozen=True)
class BagTopics:
    """Topic names; an empty one is found by name and type."""

    rgb: str = ""
    camera_info: str = ""
    pose: str = ""  # PoseStamped (camera's optical frame in the map) or Odometry; "tf" = from the tf tree
    depth: str = ""
    masks: str = ""
    valid: str = ""  # mono8 images, 0 = ignore the pixel
    depth_info: str = ""  # camera_info of depth that is not registered to the colour images
    depth_registered: bool = False  # it is registered, whatever its frame_id says
    depth_unit: float = 0.0  # metres a step of the depth; 0 = millimetres for 16 bits, metres for floats
    map_frame: str = "map"  # for tf
    sync_tolerance_s: float = 0.02


def detect_topics(available: dict[str, str], given: BagTopics) -> BagTopics:
    """`given` with its empty names filled in from `available` (topic → message type).

    Raises InputError where a needed topic is absent or several would do.  Depth and masks stay
    empty when there are none.
    """
    named = (
        given.rgb,
        given.camera_info,
        given.depth,
        given.depth_info,
        given.masks,
        given.valid,
        given.pose,
    )
    for name in named:
        if name and name != "tf" and name not in available:
            raise InputError(f"The bag has no topic '{name}'; it has {_list(available)}.")
    images = [t for t, kind in available.items() if kind == IMAGE]
    compressed = [t for t, kind in available.items() if kind == COMPRESSED]
    valid = [t for t in images if _is(t, VALID)]
    others = DEPTH_WORDS + LABEL_WORDS + OTHER_WORDS
    color = [t for t in images if not _has(t, others) and t not in valid]
    color = color or [t for t in compressed if not _has(t, others)]
    rgb = given.rgb or _choose(color, "rgb/image", "a colour image", available, "rgb")
    infos = [t for t, kind in available.items() if kind == CAMERA_INFO]
    depth = given.depth or _depth(images + compressed, rgb, color)
    labels = [t for t in images if _has(t, LABEL_WORDS)]
    return replace(
        given,
        rgb=rgb,
        camera_info=given.camera_info or _camera_info(infos, rgb, available),
        depth=depth,
        depth_info=given.depth_info or next((t for t in infos if depth and t == beside(depth)), ""),
        valid=given.valid or _optional(valid, VALID, rgb, color),
        masks=given.masks or _optional(labels, "masks/image", rgb, color),
        pose=given.pose or _pose(available),
    )


def image_name(topic: str) -> str:
    """The topic without the last part that names a transport."""
    return next((topic.removesuffix(f"/{t}") for t in TRANSPORTS if topic.endswith(f"/{t}")), topic)


def beside(topic: str) -> str:
    """The camera_info that ROS' convention puts beside an image topic."""
    return f"{image_name(topic).rsplit('/', 1)[0]}/camera_info"


def is_rectified(topic: str) -> bool:
    """Whether the name says that lens distortion was removed: image_rect, image_rect_color …"""
    return any(part.startswith("rect") for part in image_name(topic).rsplit("/", 1)[-1].lower().split("_"))


def is_registered(topic: str) -> bool:
    """Whether the name of a depth topic says that its pixels are those of the colour image."""
    return _has(topic, REGISTERED_WORDS)


def _camera_info(infos: list[str], rgb: str, available: dict[str, str]) -> str:
    """The camera_info beside the colour image."""
    if beside(rgb) in infos:
        return beside(rgb)
    others = [t for t in infos if not _has(t, DEPTH_WORDS)] or infos
    return _choose(others, "rgb/camera_info", "a camera_info", available, "camera_info")


def _depth(topics: list[str], rgb: str, colors: list[str]) -> str:
    """The depth topic to use, or none: of this camera, then by name, registered, raw."""
    candidates = [t for t in topics if t != rgb and _has(image_name(t), DEPTH_WORDS)]

    def rank(topic: str):
        transport = topic.removeprefix(image_name(topic)).strip("/")
        packed = ("", *TRANSPORTS).index(transport)
        usual = _is(image_name(topic), "depth/image")
        return _is_foreign(topic, rgb, colors), not usual, not is_registered(topic), packed, topic

    return min(candidates, key=rank, default="")


def _is_foreign(topic: str, rgb: str, colors: list[str]) -> bool:
    """Whether a topic lies nearer to the colour images of another camera than to those of `rgb`."""
    return any(_kinship(topic, color) > _kinship(topic, rgb) for color in colors)


def _kinship(topic: str, rgb: str) -> int:
    """How many parts of the namespace of `rgb` a topic shares: of /left in /left/color/image, say."""
    count = 0
    for part, other in zip(topic.strip("/").split("/"), image_name(rgb).strip("/").split("/")[:-2]):
        if part != other:
            break
        count += 1
    return count


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


def _optional(candidates: list[str], usual: str, rgb: str, colors: list[str]) -> str:
    """The one of this camera and of the usual name, else the first, else none."""
    candidates = [t for t in candidates if t != rgb]
    return min(candidates, key=lambda t: (_is_foreign(t, rgb, colors), not _is(t, usual), t), default="")


def _is(topic: str, usual: str) -> bool:
    return topic.strip("/") == usual or topic.endswith("/" + usual)


def _has(topic: str, words: tuple[str, ...]) -> bool:
    return any(word in topic.lower() for word in words)


def _list(available: dict[str, str]) -> str:
    return ", ".join(f"{t} ({kind.rsplit('/', 1)[-1]})" for t, kind in sorted(available.items())) or "none"

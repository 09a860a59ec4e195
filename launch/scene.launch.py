"""Everything for one scene: scene_node, on demand a dataset or bag to play, and RViz.

ros2 launch instascene scene.launch.py rgb:=/camera/color/image_raw \
    camera_info:=/camera/color/camera_info depth:=/camera/aligned_depth/image_raw pose:=/camera/pose
ros2 launch instascene scene.launch.py dataset:=/path/to/folder rviz:=true
ros2 launch instascene scene.launch.py config:=realsense.yaml use_sim_time:=true bag:=/path/to/bag

A `config` is a path, or the name of a file in the package's config folder.
"""

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from instascene_ros.rviz import write_view

# name, default, what it is; an empty default means: as the configuration says
ARGUMENTS = (
    ("config", "", "overlay on config/base.yaml: a path, or a file name in the package's config folder"),
    ("rgb", "rgb/image", "topic of the colour images (sensor_msgs/Image)"),
    ("camera_info", "rgb/camera_info", "topic of their calibration (sensor_msgs/CameraInfo)"),
    ("depth", "depth/image", "topic of depth images, best registered to the colour images"),
    ("depth_info", "", "calibration of depth that is not; empty: camera_info beside the depth"),
    ("pose", "pose", "topic of the camera's poses (PoseStamped, or Odometry with pose_source:=odometry)"),
    ("masks", "masks/image", "topic of label images"),
    ("valid", "valid/image", "topic of mono8 images whose black pixels are ignored (a gripper in view, say)"),
    (
        "ignore_image",
        "ignore/image",
        "topic of mono8 images, non-zero where the robot's own arm is seen",
    ),
    ("depth_transport", "", "raw, or compressedDepth for the topic that image_transport puts below depth"),
    ("ignore", "", "image file, black where every image shows something fixed to the camera"),
    ("pose_source", "", "topic, odometry or tf"),
    ("map_frame", "", "frame in which the poses are and the results will be"),
    ("data_dir", "", "folder below which save_scene writes"),
    ("namespace", "", "namespace of the nodes"),
    ("use_sim_time", "", "take time from /clock (default: true with bag:=, else false)"),
    ("dataset", "", "folder, COLMAP model or rosbag2 to play with dataset_player"),
    ("rate", "10.0", "frames per second of dataset_player"),
    ("bag", "", "rosbag2 to play with `ros2 bag play`, its topics as recorded"),
    ("rviz", "false", "start RViz with the package's view"),
    ("log_level", "info", "of the nodes: debug, info, warn or error"),
)

# What Fast DDS reads its profile from: until Jazzy, and from Kilted on.
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")

TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
TOPICS = ("rgb", "camera_info", "depth", "depth_info", "pose", "masks", "valid", "ignore_image")
NAME = re.compile(r"(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)

# Arguments that are parameters of scene_node of the same name.
PARAMETERS = ("depth_transport", "ignore", "pose_source", "map_frame", "data_dir")


def config_file(name: str, share: Path) -> Path:
    """The overlay a person named; RuntimeError with one sentence when there is no such file."""
    candidates = [Path(name).expanduser(), share / "config" / name, share / "config" / f"{name}.yaml"]
    for path in candidates:
        if path.is_file():
            return path.absolute()
    known = ", ".join(sorted(path.name for path in (share / "config").glob("*.yaml")))
    raise RuntimeError(f"There is no configuration '{name}'; the package has {known}.")


def configured(files: list[str], parameter: str) -> Any:
    """What parameter files of nodes say, the last one first; RuntimeError for a file that is none."""
    found = [named for file in files for named in parameters_in(file) if parameter in named]
    if not found:
        raise RuntimeError(f"No configuration names '{parameter}'.")
    return found[-1][parameter]


def parameters_in(file: str) -> list[dict]:
    """What a parameter file of nodes gives each node that it names."""
    try:
        content = yaml.safe_load(Path(file).read_text()) or {}
    except (yaml.YAMLError, OSError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise RuntimeError(f"The configuration {file} is not valid YAML{where}.") from None
    found = list(blocks_of(content))
    if content and not found:
        raise RuntimeError(
            f"The configuration {file} is none of a ROS node; settings go below `/**:`, `ros__parameters:`."
        )
    return found


def blocks_of(content: Any) -> Iterator[dict]:
    """The mappings below every `ros__parameters`, however deep namespaces are nested."""
    for name, inner in content.items() if isinstance(content, dict) else ():
        if name == "ros__parameters":
            yield inner if isinstance(inner, dict) else {}
        else:
            yield from blocks_of(inner)


def is_true(value: dict[str, str], name: str) -> bool:
    """Of an argument that is true or false; RuntimeError for any other word."""
    word = value[name].strip().lower()
    if word not in (*TRUE, *FALSE):
        raise RuntimeError(f"{name}:={value[name]} is neither true nor false.")
    return word in TRUE


def rate_of(text: str) -> float:
    """Frames per second; RuntimeError for what is no such number."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise RuntimeError(f"rate:={text} is no number of frames per second.")
    return rate


def require_names(value: dict[str, str]) -> None:
    """RuntimeError for a topic or namespace that no node can have."""
    for name in (*TOPICS, "namespace"):
        optional = not value[name] and name in ("depth_info", "namespace")
        if not optional and not NAME.fullmatch(value[name]):
            raise RuntimeError(
                f"{name}:={value[name]} is no name that ROS takes: letters, digits and _ between slashes."
            )


def recording(value: dict[str, str], name: str) -> str:
    """The path that an argument gives; RuntimeError where there is nothing."""
    path = os.path.abspath(os.path.expanduser(value[name]))
    if not os.path.exists(path):
        raise RuntimeError(f"{name}:={value[name]}: there is nothing at {path}.")
    return path


def mistyped(given: Iterable[str]) -> list[str]:
    """A sentence for each argument that is nearly one of ours; others may be of a launch file around."""
    known = [name for name, _, _ in ARGUMENTS]
    close = {name: difflib.get_close_matches(name, known, 1, 0.6) for name in given if name not in known}
    return [
        f"there is no argument '{name}'; did you mean '{best[0]}'?" for name, best in close.items() if best
    ]


def remappings(value: dict[str, str]) -> list[tuple[str, str]]:
    """(name in scene_node, topic given) of those that differ."""
    topics = [
        ("rgb/image", value["rgb"]),
        ("rgb/image/compressed", f"{value['rgb']}/compressed"),
        ("rgb/camera_info", value["camera_info"]),
        ("depth/image", value["depth"]),
        ("depth/image/compressedDepth", f"{value['depth']}/compressedDepth"),
        ("depth/camera_info", value["depth_info"] or f"{value['depth'].rsplit('/', 1)[0]}/camera_info"),
        ("pose", value["pose"]),
        ("odometry", value["pose"] if value["pose"] != "pose" else "odometry"),
        ("masks/image", value["masks"]),
        ("valid/image", value["valid"]),
        ("ignore/image", value["ignore_image"]),
    ]
    return [(name, topic) for name, topic in topics if name != topic]


def players(value: dict[str, str], map_frame: str, common: dict[str, Any]) -> list[Any]:
    """What plays the recording that is given, if any."""
    started: list[Any] = []
    if value["dataset"]:
        player: dict[str, Any] = {"dataset": recording(value, "dataset"), "rate": rate_of(value["rate"])}
        player["map_frame"] = map_frame
        started.append(
            Node(executable="dataset_player", name="dataset_player", parameters=[player], **common)
        )
    if value["bag"]:
        bag = recording(value, "bag")
        # Paused until scene_node has subscribed: it does when it sees the bag's topics.
        play = ["ros2", "bag", "play", bag, "--clock", "--start-paused"]
        started.append(ExecuteProcess(cmd=play, output="screen"))
        started.append(Node(executable="bag_starter", name="bag_starter", **common))
    return started


def actions(context: LaunchContext) -> list:
    """What to start, with the arguments as plain strings."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    share = Path(get_package_share_directory("instascene"))
    require_names(value)
    sim_time = is_true(value, "use_sim_time") if value["use_sim_time"] else bool(value["bag"])
    given = {name: value[name] for name in PARAMETERS if value[name]}
    files = [str(share / "config" / "base.yaml")]
    if value["config"]:
        files.append(str(config_file(value["config"], share)))
    map_frame = value["map_frame"] or configured(files, "map_frame")
    common = {
        "package": "instascene",
        "namespace": value["namespace"],
        "remappings": remappings(value),
        "output": "screen",
        "ros_arguments": ["--log-level", value["log_level"]],
    }
    started: list[Any] = [  # launch actions of several kinds
        Node(
            executable="scene_node",
            name="scene_node",
            parameters=[*files, {**given, "use_sim_time": sim_time}],
            on_exit=[Shutdown(reason="scene_node ended")],
            **common,
        )
    ]
    started += players(value, map_frame, common)
    if is_true(value, "rviz"):
        view = write_view(share / "config" / "scene.rviz", map_frame, {"rgb/image": value["rgb"]})
        started.append(
            Node(
                package="rviz2",
                executable="rviz2",
                namespace=value["namespace"],
                arguments=["-d", str(view)],
                parameters=[{"use_sim_time": sim_time}],
                output="log",
            )
        )
    if not any(name in os.environ for name in PROFILES):
        # Shared memory for whole images (config/fastdds.xml); other middlewares ignore it.
        profile = str(share / "config" / "fastdds.xml")
        started[:0] = [SetEnvironmentVariable(name, profile) for name in PROFILES]
    typed = context.launch_configurations  # pyright: ignore[reportAttributeAccessIssue] (launch's types lack it)
    started += [LogInfo(msg=f"WARNING: {sentence}") for sentence in mistyped(typed)]
    started.append(LogInfo(msg="call the service segment_instances when enough frames are in (see `status`)"))
    return started


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=actions)])

"""Everything for one scene: scene_node, on demand a dataset or bag to play, and RViz.

ros2 launch instascene scene.launch.py rgb:=/camera/color/image_raw \
    camera_info:=/camera/color/camera_info depth:=/camera/aligned_depth/image_raw pose:=/camera/pose
ros2 launch instascene scene.launch.py dataset:=/path/to/folder rviz:=true
ros2 launch instascene scene.launch.py config:=realsense.yaml use_sim_time:=true bag:=/path/to/bag

A `config` is a path, or the name of a file in the package's config folder.
"""

import os
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
    """What parameter files of nodes say, the last one first."""
    for file in reversed(files):
        for node in (yaml.safe_load(Path(file).read_text()) or {}).values():
            if parameter in node.get("ros__parameters", {}):
                return node["ros__parameters"][parameter]
    raise RuntimeError(f"No configuration names '{parameter}'.")


def is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "yes", "on")


def actions(context: LaunchContext) -> list:
    """What to start, with the arguments as plain strings."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    share = Path(get_package_share_directory("instascene"))
    sim_time = is_true(value["use_sim_time"]) if value["use_sim_time"] else bool(value["bag"])
    given = {name: value[name] for name in PARAMETERS if value[name]}
    files = [str(share / "config" / "base.yaml")]
    if value["config"]:
        files.append(str(config_file(value["config"], share)))
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
    map_frame = value["map_frame"] or configured(files, "map_frame")
    common = {
        "package": "instascene",
        "namespace": value["namespace"],
        "remappings": [(name, topic) for name, topic in topics if name != topic],
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
    if value["dataset"]:
        player: dict[str, Any] = {"dataset": os.path.abspath(os.path.expanduser(value["dataset"]))}
        player["rate"] = float(value["rate"])
        player["map_frame"] = map_frame
        started.append(
            Node(executable="dataset_player", name="dataset_player", parameters=[player], **common)
        )
    if value["bag"]:
        bag = os.path.abspath(os.path.expanduser(value["bag"]))
        # Paused until scene_node has subscribed: it does when it sees the bag's topics.
        play = ["ros2", "bag", "play", bag, "--clock", "--start-paused"]
        started.append(ExecuteProcess(cmd=play, output="screen"))
        started.append(Node(executable="bag_starter", name="bag_starter", **common))
    if is_true(value["rviz"]):
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
    started.append(LogInfo(msg="call the service segment_instances when enough frames are in (see `status`)"))
    return started


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=actions)])

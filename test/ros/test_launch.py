"""What scene.launch.py starts for which arguments.

The launch system is not among the ROS wheels; without it stand-ins record what the file asks of it.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml
from recordings_table import recording

ROOT = Path(__file__).resolve().parents[2]
ACTIONS = (
    "DeclareLaunchArgument", "ExecuteProcess", "LogInfo", "OpaqueFunction", "SetEnvironmentVariable",
    "Shutdown",
)  # fmt: skip


def recorder(kind: str):
    """A stand-in for an action: keeps what it was made with."""
    return lambda *args, **kwargs: SimpleNamespace(kind=kind, args=args, **kwargs)


@pytest.fixture
def launch_file(monkeypatch):
    """The launch file as a module, `actions(values)` calling it with these arguments."""

    def module(name: str, **members) -> None:
        stand_in = ModuleType(name)
        vars(stand_in).update(members)
        monkeypatch.setitem(sys.modules, name, stand_in)

    def configuration(name: str):
        return SimpleNamespace(perform=lambda context: context[name])

    class Context(dict):
        launch_configurations = property(lambda self: self)

    module("launch", LaunchContext=Context, LaunchDescription=list)
    module("launch.actions", **{name: recorder(name) for name in ACTIONS})
    module("launch.substitutions", LaunchConfiguration=configuration)
    module("launch_ros")
    module("launch_ros.actions", Node=recorder("Node"))
    module("ament_index_python")
    module("ament_index_python.packages", get_package_share_directory=lambda name: str(ROOT))
    spec = importlib.util.spec_from_file_location("scene_launch", ROOT / "launch" / "scene.launch.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def started(launch_file):
    def start(**given) -> list:
        values = {name: default for name, default, _ in launch_file.ARGUMENTS}
        return launch_file.actions(launch_file.LaunchContext({**values, **given}))

    return start


def nodes(actions: list) -> dict:
    return {action.executable: action for action in actions if action.kind == "Node"}


def test_every_promised_argument_is_declared(launch_file):
    declared = launch_file.generate_launch_description()
    names = {action.args[0] for action in declared if action.kind == "DeclareLaunchArgument"}
    promised = "config rgb camera_info depth pose masks map_frame use_sim_time rviz bag dataset"
    assert names >= set(promised.split())
    assert all(a.description for a in declared if a.kind == "DeclareLaunchArgument")


def test_without_arguments_only_the_node_with_its_defaults(started):
    found = nodes(started())
    assert list(found) == ["scene_node"]
    base, values = found["scene_node"].parameters
    assert base == str(ROOT / "config" / "base.yaml") and values == {"use_sim_time": False}
    assert found["scene_node"].remappings == []


def test_a_robot(started):
    actions = started(
        rgb="/camera/color/image_raw", pose="/odom", pose_source="odometry", map_frame="odom",
        config="realsense", rviz="true",
    )  # fmt: skip
    found = nodes(actions)
    node = found["scene_node"]
    assert set(found) == {"scene_node", "rviz2"}
    remapped = dict(node.remappings)
    assert remapped["rgb/image"] == "/camera/color/image_raw"
    assert remapped["rgb/image/compressed"] == "/camera/color/image_raw/compressed"
    assert remapped["odometry"] == "/odom" and "depth/image" not in remapped
    assert node.parameters[1] == str(ROOT / "config" / "realsense.yaml")
    assert node.parameters[2] == {"pose_source": "odometry", "map_frame": "odom", "use_sim_time": False}
    view = yaml.safe_load(Path(found["rviz2"].arguments[1]).read_text())["Visualization Manager"]
    assert view["Global Options"]["Fixed Frame"] == "odom"
    shown = {display["Name"]: display["Topic"] for display in view["Displays"] if "Topic" in display}
    assert shown["Camera"]["Value"] == "/camera/color/image_raw"
    for name in ("Objects", "Gaussians"):  # relative to the namespace, and latched
        assert not shown[name]["Value"].startswith("/")
        assert shown[name]["Durability Policy"] == "Transient Local"
    (tool,) = [t for t in view["Tools"] if t["Class"].endswith("PublishPoint")]
    assert tool["Topic"]["Value"] == "clicked_point"


def test_recordings_are_played(started, tmp_path, monkeypatch):
    player = nodes(started(dataset=str(tmp_path), rate="5"))["dataset_player"]
    assert player.parameters == [{"dataset": str(tmp_path), "rate": 5.0, "map_frame": "map"}]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some/bag").mkdir(parents=True)
    actions = started(bag="some/bag")
    played = next(action for action in actions if action.kind == "ExecuteProcess")
    assert played.cmd == ["ros2", "bag", "play", os.path.abspath("some/bag"), "--clock", "--start-paused"]
    assert nodes(actions)["scene_node"].parameters[-1] == {"use_sim_time": True}
    assert "bag_starter" in nodes(actions)


def test_the_map_frame_of_a_configuration_reaches_player_and_rviz(started, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("/**:\n  ros__parameters:\n    map_frame: world\n")
    found = nodes(started(config=str(config), dataset=str(tmp_path), rviz="true"))
    assert found["dataset_player"].parameters[0]["map_frame"] == "world"
    assert "Fixed Frame: world" in Path(found["rviz2"].arguments[1]).read_text()


def test_an_unknown_configuration_names_the_known_ones(started):
    with pytest.raises(RuntimeError, match=r"no configuration 'zed'; the package has base\.yaml"):
        started(config="zed")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rate", "fast", "rate:=fast is no number of frames"),
        ("rate", "-1", "rate:=-1 is no number of frames"),
        ("rviz", "maybe", "rviz:=maybe is neither true nor false"),
        ("use_sim_time", "ture", "neither true nor false"),
        ("rgb", "/camera/image/", "rgb:=/camera/image/ is no name that ROS takes"),
        ("pose", "", "pose:= is no name"),
        ("depth", "/my depth", "no name that ROS takes"),
        ("namespace", "9x", "namespace:=9x is no name"),
        ("dataset", "/nowhere", "dataset:=/nowhere: there is nothing at /nowhere"),
        ("bag", "/nowhere", "bag:=/nowhere: there is nothing"),
    ],
)
def test_arguments_that_cannot_be_are_refused_in_one_sentence(started, tmp_path, name, value, words):
    with pytest.raises(RuntimeError, match=words) as caught:
        started(**{"dataset": str(tmp_path), name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/**: [", r"not valid YAML \(line 1\)"),
        ("max_frames: 7\n", "is none of a ROS node; settings go below"),
        ("3", "is none of a ROS node"),
    ],
)
def test_a_configuration_that_is_none_is_refused_in_one_sentence(started, tmp_path, text, words):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(RuntimeError, match=words) as caught:
        started(config=str(tmp_path / "mine.yaml"))
    assert "\n" not in str(caught.value)


def test_a_configuration_may_name_nodes_in_namespaces(started, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("robot:\n  scene_node:\n    ros__parameters: {map_frame: world}\n")
    found = nodes(started(config=str(config), dataset=str(tmp_path)))
    assert found["dataset_player"].parameters[0]["map_frame"] == "world"


def test_a_mistyped_argument_is_told(started):
    """Launch takes any; the topic would be waited for in vain."""
    said = [action.msg for action in started(camera_inof="/a", other="1") if action.kind == "LogInfo"]
    assert said[0] == "WARNING: there is no argument 'camera_inof'; did you mean 'camera_info'?"
    assert len(said) == 2  # `other` may be of a launch file around this one


def test_what_is_started_is_installed():
    """Executables of the launch file are programs that CMake installs and that can be run."""
    cmake = (ROOT / "CMakeLists.txt").read_text()
    for program in sorted((ROOT / "tools" / "nodes").iterdir()):
        assert f"tools/nodes/{program.name}\n" in cmake and os.access(program, os.X_OK)
        assert importlib.util.find_spec(f"instascene_ros.{program.name}") is not None


# ── rows of docs/recordings.md about live topics ──────────────────────────────────────────────────


@pytest.fixture
def started_as_typed(started):
    """The scene_node that the command of a row starts."""

    def start(typed: str):
        words = typed.split()
        assert words[:4] == ["ros2", "launch", "instascene", "scene.launch.py"]
        return nodes(started(**dict(word.split(":=") for word in words[4:])))["scene_node"]

    return start


@recording("live topics, depth as `compressedDepth`")
def test_packed_depth(typed, started_as_typed):
    node = started_as_typed(typed)
    remapped = dict(node.remappings)
    assert remapped["depth/image/compressedDepth"] == "/camera/depth/image/compressedDepth"
    assert node.parameters[-1]["depth_transport"] == "compressedDepth"


@recording("live topics, something fixed to the camera")
def test_an_image_of_what_is_fixed_to_the_camera(typed, started_as_typed):
    assert started_as_typed(typed).parameters[-1]["ignore"] == "/path/to/mask.png"


@recording("live topics, poses at another rate")
def test_a_pose_topic(typed, started_as_typed):
    assert dict(started_as_typed(typed).remappings)["pose"] == "/slam/pose"

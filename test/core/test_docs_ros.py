"""docs/ros: what people are told to type and to look at is there."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tools import ros_interfaces  # noqa: E402

DOCS = ROOT / "docs" / "ros"
WRITTEN = [DOCS / f"{name}.md" for name in
           ("README", "quick_start", "tuning", "troubleshooting", "moveit", "mujoco", "sros2")]  # fmt: skip


def parameters() -> set[str]:
    """Of scene_node; from the page, which a test of test/ros holds against the code."""
    return set(re.findall(r"^\| `([\w.]+)` \|", (DOCS / "parameters.md").read_text(), re.MULTILINE))


def known_words() -> set[str]:
    """Names with an underscore that ROS, launch or a message of ours gives."""
    words = parameters() | {name for name, _, _ in ros_interfaces.launch_arguments()}
    for rows in ros_interfaces.topics().values():
        words |= {row["topic"].strip("/") for row in rows}
    for kind in ("msg", "srv", "action"):
        for one in ros_interfaces.interfaces(kind):
            words |= {field.name for part in one.parts for field in part}
            words.add(ros_interfaces.request_name(one))
    nodes = (ROOT / "tools" / "nodes").iterdir()
    return words | {path.name for path in nodes}


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert all((path.parent / link).resolve().exists() for link in links), links
    for name in re.findall(r"`((?:config|examples|tools|docs)/[\w./]+)`", path.read_text()):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_launch_commands_fit_the_launch_file(path):
    arguments = {name for name, _, _ in ros_interfaces.launch_arguments()}
    for command in re.findall(r"ros2 launch instascene scene\.launch\.py([^`\n]*)", path.read_text()):
        given = dict(word.split(":=") for word in command.split())
        assert set(given) <= arguments
        if "config" in given:
            assert (ROOT / "config" / given["config"]).exists()
    for name in re.findall(r"`(\w+):=", path.read_text()):
        assert name in arguments | {"planning_scene_diff"}, name


def test_cameras_of_the_quick_start_are_those_of_the_overlays():
    """Each overlay's comment tells the same topics as the page."""
    page = (DOCS / "quick_start.md").read_text()
    for name in ("realsense", "orbbec", "stereolabs_zed", "gazebo"):
        text = (ROOT / "config" / f"{name}.yaml").read_text()
        (row,) = [line for line in page.splitlines() if f"config:={name}.yaml" in line]
        told = dict(re.findall(r"\b(rgb|camera_info|depth):=(\S+)", text))
        assert set(told) == {"rgb", "camera_info", "depth"}
        assert all(f"{key}:={topic} " in row for key, topic in told.items())


def test_parameters_of_the_tuning_page_exist():
    rows = re.findall(r"^\| (`[^|]*`) \|", (DOCS / "tuning.md").read_text(), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert len(named) > 20 and set(named) <= parameters()
    (overlay,) = re.findall(r"^    /\*\*:\n(?:    .*\n)+", (DOCS / "tuning.md").read_text(), re.MULTILINE)
    given = yaml.safe_load(re.sub(r"(?m)^    ", "", overlay))["/**"]["ros__parameters"]
    assert {"keyframe_translation_m", "reconstruction"} == set(given)


def test_what_the_decision_list_reads_is_in_status():
    text = (DOCS / "troubleshooting.md").read_text()
    (status,) = [one for one in ros_interfaces.interfaces("msg") if one.name == "SceneStatus"]
    fields = {field.name for field in status.parts[0]}
    read = {word for word in re.findall(r"`(\w+)`", text) if word in fields}
    assert read >= {
        "state", "frames_received", "frames_used", "frames_pending", "frames_dropped", "gaussians", "stage",
        "instances", "completed_objects", "dropped_reasons", "last_error",
    }  # fmt: skip
    states = {field.value for field in status.parts[0] if field.value}
    assert set(re.findall(r"`state` is `(\w+)`", text)) == states == {"waiting", "ready", "busy"}


def test_every_reason_for_dropping_a_frame_is_explained():
    source = ast.parse((ROOT / "instascene_ros" / "frame_assembly.py").read_text())
    reasons = {
        node.value.value
        for node in source.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }  # fmt: skip
    rows = re.findall(r"^   \| (`[^|]+) \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    told = {reason for row in rows for reason in re.findall(r"`([^`]+)`", row)}
    assert told == reasons


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_names_of_the_interface_exist(path):
    """Every `name_with_underscores` is a parameter, field, topic, service or node."""
    others = {
        "foxglove_bridge", "pose_source", "camera_info", "map_local", "move_action", "collision_object",
        "grasp_node", "rgbd_camera", "bag_starter", "planning_scene",
    }  # fmt: skip
    named = set(re.findall(r"`/?([a-z]+(?:_[a-z]+)+)`", path.read_text()))
    assert named <= known_words() | others, named - known_words() - others

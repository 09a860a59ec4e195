"""docs/ros/transcript.md: every command and what it showed, against the interfaces as they are now."""

import re
import shlex

import pytest
import yaml
from instascene import action, msg, srv

from tools import ros_interfaces, ros_transcript

PACKAGES = {"msg": msg, "srv": srv, "action": action}
NODES = ("/scene_node", "/dataset_player")
BLOCKS = re.findall(r"```console\n\$ (.*?)\n(.*?)```", ros_transcript.PAGE.read_text(), re.DOTALL)
EVERYWHERE = {"/rosout": "rcl_interfaces/msg/Log", "/parameter_events": "rcl_interfaces/msg/ParameterEvent"}


def topics() -> dict[str, str]:
    """Absolute name → type of every topic of scene_node."""
    rows = ros_interfaces.topics()["scene_node"]
    return {f"/{row['topic'].lstrip('/')}": row["type"] for row in rows} | EVERYWHERE


def offered(kind: str) -> dict[str, str]:
    return {f"/{ros_interfaces.request_name(one)}": one.type for one in ros_interfaces.interfaces(kind)}


def fill(message, values: dict) -> None:
    """Set fields from parsed YAML; AttributeError or AssertionError for what does not fit."""
    try:
        from rosidl_runtime_py import set_message_fields
    except ImportError:  # not among the wheels: the same for what a person types
        kinds = message.get_fields_and_field_types()
        for name, value in values.items():
            assert name in kinds, f"{type(message).__name__} has no {name}"
            before = getattr(message, name)
            if isinstance(value, dict):
                fill(before, value)
            elif isinstance(value, list):
                setattr(message, name, value)
            else:
                assert isinstance(value, type(before)) or (type(before), type(value)) == (float, int)
                setattr(message, name, type(before)(value))
    else:
        set_message_fields(message, values)


def generated(type_name: str):
    package, kind, name = type_name.split("/")
    assert package == "instascene"
    return getattr(PACKAGES[kind], name)


# ── commands ──────────────────────────────────────────────────────────────────────────────────────


def check_topic(words: list[str]) -> None:
    verb, *rest = words
    if verb == "list":
        return
    assert rest[0] in topics() and verb in ("echo", "info")
    if "--field" in rest:
        field = rest[rest.index("--field") + 1]
        assert field in generated(topics()[rest[0]]).get_fields_and_field_types()


def check_node(words: list[str]) -> None:
    assert words == ["list"] or (words[0] == "info" and words[1] in NODES)


def check_interface(words: list[str]) -> None:
    assert words[0] == "show" and generated(words[1])


def check_param(words: list[str]) -> None:
    assert words[0] in ("describe", "get", "set") and words[1] == "/scene_node"
    assert words[2] in {p.name for p in ros_interfaces.parameters("scene_node")}


def check_service(words: list[str]) -> None:
    verb, name, kind, *values = words
    assert verb == "call" and offered("srv")[name] == kind
    fill(generated(kind).Request(), yaml.safe_load(values[0]) if values else {})


def check_action(words: list[str]) -> None:
    verb, name, *rest = words
    assert name in offered("action")
    if verb == "send_goal":
        kind, values, *options = rest
        assert offered("action")[name] == kind and options in ([], ["--feedback"])
        fill(generated(kind).Goal(), yaml.safe_load(values))
    else:
        assert verb == "info"


def check_lifecycle(words: list[str]) -> None:
    assert words[0] in ("get", "set", "list") and words[1] == "/scene_node"


def check_launch(words: list[str]) -> None:
    assert words[:2] == ["instascene", "scene.launch.py"]
    names = {name for name, _, _ in ros_interfaces.launch_arguments()}
    assert {word.partition(":=")[0] for word in words[2:]} <= names


CHECKS = {
    "topic": check_topic, "node": check_node, "interface": check_interface, "param": check_param,
    "service": check_service, "action": check_action, "launch": check_launch,
    "lifecycle": check_lifecycle,
}  # fmt: skip


@pytest.mark.parametrize("command", [command for command, _ in BLOCKS if command.startswith("ros2 ")])
def test_a_command_fits_the_interface(command):
    _, what, *words = shlex.split(command)
    CHECKS[what](words)


@pytest.mark.parametrize(
    "command",
    [
        "ros2 topic echo /statuses", "ros2 topic echo /status --field states", "ros2 node info /scene",
        "ros2 interface show instascene/msg/Status", "ros2 param get /scene_node map_fraem",
        "ros2 service call /segment_at instascene/srv/SegmentInstances",
        'ros2 service call /segment_at instascene/srv/SegmentAt "{pixel: 3}"',
        'ros2 service call /segment_at instascene/srv/SegmentAt "{x: three}"',
        'ros2 service call /segment_at instascene/srv/SegmentAt "{point: {header: {frame: map}}}"',
        'ros2 action send_goal /build_scene instascene/action/BuildScene "{iteration: 3}"',
        "ros2 launch instascene scene.launch.py data:=x",
    ],
)  # fmt: skip
def test_the_checks_see_what_does_not_fit(command):
    _, what, *words = shlex.split(command)
    with pytest.raises((AssertionError, AttributeError, KeyError, ValueError)):
        CHECKS[what](words)


def test_every_kind_of_command_is_shown():
    shown = {tuple(shlex.split(command)[1:3]) for command, _ in BLOCKS if command.startswith("ros2 ")}
    wanted = "node info, topic list, interface show, param describe, service call, action send_goal"
    assert shown >= {tuple(pair.split()) for pair in wanted.split(", ")}
    recorded = [step.command for step in ros_transcript.STEPS]
    assert [c for c, _ in BLOCKS if c.startswith("ros2 ") and "launch" not in c] == recorded


# ── what they showed ──────────────────────────────────────────────────────────────────────────────


def shown_by(start: str) -> list[str]:
    return [output for command, output in BLOCKS if command.startswith(start)]


def test_topics_services_and_actions_that_were_shown_are_there_still():
    (info,) = shown_by("ros2 node info /scene_node")
    known = topics() | offered("srv") | offered("action")
    for name, kind in re.findall(r"^    (/\S+): (\S+)$", info, re.MULTILINE):
        assert name.startswith("/scene_node/") or known[name] == kind, name
    (listed,) = shown_by("ros2 topic list -t")
    for name, kind in re.findall(r"^(/\S+) \[(\S+)\]$", listed, re.MULTILINE):
        assert name.startswith("/scene_node/") or known[name] == kind, name


def test_fields_that_were_shown_are_there_still():
    for command, output in BLOCKS:
        if not command.startswith("ros2 topic echo") or "--field" in command:
            continue
        kind = topics()[shlex.split(command)[3]]
        if kind.startswith("instascene/"):
            fields = generated(kind).get_fields_and_field_types()
            shown = re.findall(r"^(\w+):", output, re.MULTILINE)
            assert shown and set(shown) <= set(fields)


def test_answers_were_good_where_they_should_be():
    for command, output in BLOCKS:
        assert "Traceback" not in output and "Invalid field" not in output, command
        if command.startswith("ros2 service call"):
            early = "/get_instance" in command  # asked for before there is anything
            assert f"success={not early}" in output, command
            for name in re.findall(r"instascene\.srv\.(\w+)_(?:Request|Response)\(", output):
                assert hasattr(srv, name)
        if command.startswith("ros2 action send_goal"):
            assert "Goal finished with status: SUCCEEDED" in output


def test_nothing_of_the_machine_is_in_it():
    text = ros_transcript.PAGE.read_text()
    assert not re.search(r"/(tmp|work|home|root|opt)/", text)

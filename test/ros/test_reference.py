"""docs/ros/reference.md and parameters.md against the code, docs/ros/topics.yaml against running nodes."""

import importlib
import importlib.util
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import rclpy
from instascene import action, msg, srv
from nodes import scene_node_here, wait_for
from rclpy.action import get_action_server_names_and_types_by_node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_ros.dataset_player import DatasetPlayer
from instascene_ros.mask_node import MaskNode
from instascene_ros.parameters import read_parameters
from instascene_ros.scene_node import SceneNode
from tools import ros_interfaces, ros_reference

OFFERED = {"msg": msg, "srv": srv, "action": action}
ALL = [one for kind in OFFERED for one in ros_interfaces.interfaces(kind)]
NODES_OWN = ("/rosout", "/parameter_events")  # topics of every node


def test_the_files_are_what_the_code_says():
    stale = ros_reference.outdated()
    assert not stale, f"{', '.join(stale)} differ from the code; run: {ros_reference.COMMAND}"


# ── interfaces ────────────────────────────────────────────────────────────────────────────────────


def test_an_interface_file_is_read(tmp_path):
    path = tmp_path / "TwoWords.srv"
    path.write_text(
        "# What it does,\n# on two lines.\nuint8 ONE=1  # first\nstring name   # a name;\n"
        "              # with more\nfloat32[3] box\n---\n# skipped\nbool success # whether\n"
    )
    found = ros_interfaces.read_interface(path)
    assert found.comment == "What it does, on two lines." and found.type == "instascene/srv/TwoWords"
    request, response = found.parts
    assert [(f.type, f.name, f.comment, f.value) for f in request] == [
        ("uint8", "ONE", "first", "1"), ("string", "name", "a name; with more", ""),
        ("float32[3]", "box", "", ""),
    ]  # fmt: skip
    assert [f.name for f in response] == ["success"]
    assert ros_interfaces.request_name(found) == "two_words"


def test_what_is_no_field_is_told(tmp_path):
    path = tmp_path / "Bad.msg"
    path.write_text("int32 fine\nint32\n")
    with pytest.raises(ValueError, match=r"Bad\.msg:2: 'int32' is no field"):
        ros_interfaces.read_interface(path)


def generated_parts(one) -> list:
    """The Python classes of an interface's parts."""
    kind = getattr(OFFERED[one.kind], one.name)
    names = {"msg": (), "srv": ("Request", "Response"), "action": ("Goal", "Result", "Feedback")}[one.kind]
    return [getattr(kind, name) for name in names] or [kind]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_field_of_the_built_interfaces_is_told(one):
    for part, kind in zip(one.parts, generated_parts(one), strict=True):
        built = kind.get_fields_and_field_types()
        assert [f.name for f in part if not f.value] == list(built), "the built interfaces are of other files"
        for constant in (f for f in part if f.value):
            assert str(getattr(kind, constant.name)) == constant.value


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_field_has_a_comment(one):
    """Of those whose name and type do not say all (message types of common packages)."""
    silent = [f.name for part in one.parts for f in part if not f.comment and not f.value]
    assert one.comment and set(silent) <= {
        "header", "instance_id", "instances", "instance", "completed_object", "success", "failed_ids",
        "total",
    }  # fmt: skip


# ── parameters and launch arguments ───────────────────────────────────────────────────────────────


def test_launch_arguments_are_told():
    names = [name for name, _, _ in ros_interfaces.launch_arguments()]
    assert names[0] == "config" and {"rgb", "pose", "bag", "rviz"} <= set(names)


def test_parameters_are_told_as_the_node_has_them(scene):
    told = {p.name: p for p in ros_interfaces.parameters("scene_node")}
    for name, parameter in told.items():
        if parameter.type == "array":  # an empty list has no ROS type
            continue
        has = scene.get_parameter(name).type_.name.lower().replace("_", " ")
        assert has == parameter.type.replace("boolean", "bool"), name
        descriptor = scene.describe_parameter(name)
        assert descriptor.read_only == (not parameter.changes), name
        assert parameter.changes in descriptor.additional_constraints
    own = set(scene.get_parameters_by_prefix("")) - set(told)
    assert all(name.startswith(("use_sim_time", "start_type", "qos_overrides")) for name in own), own


def test_conditions_of_topics_are_parameters():
    for row in (row for rows in ros_interfaces.topics().values() for row in rows if "with" in row):
        name, _, value = row["with"].partition(":=")
        read_parameters({name: True if value == "true" else value})
        with pytest.raises(InputError):
            read_parameters({name: 3})


# ── topics, services and actions of running nodes ─────────────────────────────────────────────────


def is_installed(package: str) -> bool:
    return not package or importlib.util.find_spec(package) is not None


def message_type(name: str) -> type:
    package, _, kind = name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), kind)


def rows_of(node: str, way: str, condition: str = "") -> list[dict]:
    """Rows that hold here: of installed packages, always or with this condition."""
    rows = [row for row in ros_interfaces.topics()[node] if row["way"] == way]
    here = [row for row in rows if is_installed(row.get("needs", ""))]
    return [row for row in here if row.get("with", condition) == condition]


@pytest.fixture(scope="module")
def ros(ros_domain):
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope="module")
def camera(ros):
    """A node that publishes everything that scene_node takes, so that it subscribes."""
    node = rclpy.create_node("camera")
    for row in ros_interfaces.topics()["scene_node"]:
        if row["way"] == "in" and "with" not in row:
            node.create_publisher(message_type(row["type"]), row["topic"], 1)
    yield node
    node.destroy_node()


@pytest.fixture(scope="module")
def scene(ros, camera, tmp_path_factory):
    with scene_node_here(data_dir=str(tmp_path_factory.mktemp("data"))) as node:
        yield node


def named(pairs, own: str) -> dict[str, str]:
    """Topic (absolute) → type, but for those of every node and what belongs to the node's own name."""
    return {
        name: types[0]
        for name, types in pairs
        if name not in NODES_OWN and not name.startswith(f"/{own}/") and "/_action/" not in name
    }


def told(rows: list[dict]) -> dict[str, str]:
    return {f"/{row['topic'].lstrip('/')}": row["type"] for row in rows}


def test_published_topics(scene):
    found = named(scene.get_publisher_names_and_types_by_node("scene_node", "/"), "scene_node")
    assert found == told(rows_of("scene_node", "out"))


@pytest.mark.parametrize(
    "row", rows_of("scene_node", "out"), ids=lambda row: row["topic"].replace("/", "_").strip("_")
)
def test_qos_of_published_topics(scene, row):
    (publisher,) = [
        publisher for publisher in scene.publishers
        if publisher.topic_name.lstrip("/") == row["topic"].lstrip("/")
    ]  # fmt: skip
    profile: QoSProfile = publisher.qos_profile
    kind, _, depth = row["qos"].partition(" ")
    latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert profile.reliability == ReliabilityPolicy.RELIABLE and latched == (kind == "latched")
    assert not depth or profile.depth == int(depth)


def subscribed(node, name: str) -> dict[str, str]:
    return named(node.get_subscriber_names_and_types_by_node(name, "/"), name)


def test_subscribed_topics(scene):
    wanted = told(rows_of("scene_node", "in"))
    wait_for(lambda: set(wanted) <= set(subscribed(scene, "scene_node")), 15, "every topic is subscribed")
    optional = told([row for row in ros_interfaces.topics()["scene_node"] if row["way"] == "in"])
    found = subscribed(scene, "scene_node")
    assert wanted.items() <= found.items() and found.items() <= optional.items()


def test_topics_of_other_transports_and_pose_sources(scene, tmp_path):
    """Beside the node of the other tests, under another name."""
    rows = [row for row in ros_interfaces.topics()["scene_node"] if row["way"] == "in" and "with" in row]
    given = {"data_dir": str(tmp_path), **dict(row["with"].split(":=") for row in rows)}
    source = rclpy.create_node("other_camera")
    for row in rows:
        source.create_publisher(message_type(row["type"]), f"other/{row['topic']}", 1)
    words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    node = SceneNode(namespace="other", cli_args=["--ros-args", *words])
    try:
        wanted = {f"/other/{row['topic']}": row["type"] for row in rows}

        def found() -> dict[str, str]:
            rclpy.spin_once(node, timeout_sec=0.1)
            pairs = node.get_subscriber_names_and_types_by_node("scene_node", "/other")
            return {name: types[0] for name, types in pairs}

        wait_for(lambda: wanted.items() <= found().items(), 15, f"{sorted(wanted)} are subscribed")
    finally:
        node.close()
        source.destroy_node()


def test_services_and_actions(scene):
    found = named(scene.get_service_names_and_types_by_node("scene_node", "/"), "scene_node")
    assert found == {
        f"/{ros_interfaces.request_name(one)}": one.type for one in ros_interfaces.interfaces("srv")
    }
    pairs = get_action_server_names_and_types_by_node(scene, "scene_node", "/")
    actions = {name: types[0] for name, types in pairs}
    wanted = {f"/{ros_interfaces.request_name(one)}": one.type for one in ros_interfaces.interfaces("action")}
    assert actions == wanted


def test_the_player_publishes_what_is_told(ros, tmp_path):
    given = rclpy.parameter.Parameter("dataset", value=str(tmp_path))
    player = DatasetPlayer(parameter_overrides=[given])
    size = (6, 8)
    frame = Frame(
        name="0", stamp=0.0, rgb=np.zeros((*size, 3), np.uint8),
        camera=PinholeCamera(8, 6, 5.0, 5.0, 4.0, 3.0), world_from_camera=np.eye(4),
        depth=np.ones(size, np.float32), labels=np.ones(size, np.int32),
        valid=np.arange(48).reshape(size) > 3,
    )  # fmt: skip
    player.announce(frame)
    try:
        found = named(player.get_publisher_names_and_types_by_node("dataset_player", "/"), "dataset_player")
        assert found == told(rows_of("dataset_player", "out"))
    finally:
        player.destroy_node()


def test_mask_node_publishes_what_is_told(ros):
    node = MaskNode()
    try:
        found = named(node.get_publisher_names_and_types_by_node("mask_node", "/"), "mask_node")
        assert found == told(rows_of("mask_node", "out"))
    finally:
        node.close()


# ── config/sros2.policy.xml ───────────────────────────────────────────────────────────────────────


def allowed(enclave: str, kind: str, how: str) -> set[str]:
    """Absolute names that the policy allows a node in the root namespace."""
    root = ElementTree.parse(ros_interfaces.ROOT / "config" / "sros2.policy.xml").getroot()
    profile = root.find(f"enclaves/enclave[@path='/instascene/{enclave}']/profiles/profile")
    assert profile is not None and profile.attrib == {"ns": "/", "node": enclave}
    names = {rule.text or "" for rules in profile.findall(f"{kind}s[@{how}='ALLOW']") for rule in rules}
    return {f"/{name.replace('~', enclave).lstrip('/')}" for name in names}


def test_the_policy_allows_what_a_node_does(scene):
    def all_of(pairs) -> set[str]:
        return {name for name, _ in pairs if "/_action/" not in name}

    name, ns = "scene_node", "/"
    assert all_of(scene.get_publisher_names_and_types_by_node(name, ns)) <= allowed(name, "topic", "publish")
    heard = all_of(scene.get_subscriber_names_and_types_by_node(name, ns))
    assert heard <= allowed(name, "topic", "subscribe")
    services = all_of(scene.get_service_names_and_types_by_node(name, ns))
    assert services <= allowed(name, "service", "reply")
    actions = all_of(get_action_server_names_and_types_by_node(scene, name, ns))
    assert actions == allowed(name, "action", "execute") == allowed("operator", "action", "call")
    own = {service for service in services if not service.startswith("/scene_node/")}
    assert services == allowed("operator", "service", "request") and own < services


def test_the_policy_allows_no_more_than_is_needed():
    assert allowed("dataset_player", "topic", "subscribe") == {"/clock", "/parameter_events"}
    assert "/status" not in allowed("mask_node", "topic", "publish")
    assert "/rgb/image" not in allowed("operator", "topic", "publish")
    for node, rows in ros_interfaces.topics().items():
        told_of = {f"/{row['topic'].lstrip('/')}" for row in rows if row["way"] == "out"}
        own = {"/scene_node/transition_event"} if node == "scene_node" else set()
        assert allowed(node, "topic", "publish") == told_of | own | {"/rosout", "/parameter_events"}

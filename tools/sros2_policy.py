"""The SROS2 policy of the nodes: who may publish, subscribe, call and answer what.

`ros_reference` writes it to config/sros2.policy.xml.  Enclaves: one a node, and one for who uses them.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tools.ros_interfaces import interfaces, request_name, topics  # noqa: E402

OPERATOR = "operator"
# What every node of rclpy has.
PARAMETER_SERVICES = (
    "~/describe_parameters", "~/get_parameter_types", "~/get_parameters", "~/get_type_description",
    "~/list_parameters", "~/set_parameters", "~/set_parameters_atomically",
)  # fmt: skip
# What a managed node has besides (scene_node).
LIFECYCLE_SERVICES = (
    "~/change_state", "~/get_available_states", "~/get_available_transitions", "~/get_state",
    "~/get_transition_graph",
)  # fmt: skip
TRANSFORMS = ("/tf", "/tf_static")


def _rules(kind: str, how: str, names: Iterable[str]) -> Iterator[str]:
    """One element of rules; nothing where there is no name."""
    chosen = sorted(set(names))
    if chosen:
        yield f'          <{kind}s {how}="ALLOW">'
        yield from (f"            <{kind}>{escape(name)}</{kind}>" for name in chosen)
        yield f"          </{kind}s>"


def _enclave(node: str, rules: Iterable[str]) -> Iterator[str]:
    yield f'    <enclave path="/instascene/{node}">'
    yield "      <profiles>"
    yield f'        <profile ns="/" node="{node}">'
    yield from _rules("topic", "publish", ("rosout", "/parameter_events"))
    yield from _rules("topic", "subscribe", ("/clock", "/parameter_events"))
    yield from _rules("service", "reply", PARAMETER_SERVICES)
    yield from rules
    yield "        </profile>"
    yield "      </profiles>"
    yield "    </enclave>"


def _node(name: str) -> Iterator[str]:
    """What one of our nodes does beyond what every node does."""
    rows = topics()
    inputs = [row["topic"] for row in rows["scene_node"] if row["way"] == "in"]
    if name != "scene_node":  # mask_node takes the same, but for what it makes and clicks
        inputs = [t for t in inputs if t not in ("masks/image", "clicked_point")]
    if name != "dataset_player":
        yield from _rules("topic", "subscribe", (*inputs, *TRANSFORMS))
    published = [row["topic"] for row in rows[name] if row["way"] == "out"]
    managed = name == "scene_node"
    yield from _rules("topic", "publish", [*published, *(["~/transition_event"] if managed else [])])
    if managed:
        yield from _rules("service", "reply", [*map(request_name, interfaces("srv")), *LIFECYCLE_SERVICES])
        yield from _rules("action", "execute", map(request_name, interfaces("action")))


def _operator() -> Iterator[str]:
    """Who sees the results, asks for work and reads parameters: RViz, a grasp planner, a person's ros2."""
    rows = topics()["scene_node"]
    shown = [row["topic"] for row in rows if row["way"] == "out"]
    yield from _rules("topic", "subscribe", [*shown, "/scene_node/transition_event", *TRANSFORMS])
    yield from _rules("topic", "publish", ["clicked_point"])
    own = [name.replace("~", "/scene_node") for name in (*PARAMETER_SERVICES, *LIFECYCLE_SERVICES)]
    yield from _rules("service", "request", [*map(request_name, interfaces("srv")), *own])
    yield from _rules("action", "call", map(request_name, interfaces("action")))


def policy() -> str:
    """The text of the policy file, version 0.2.0 of sros2."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    lines.append("<!-- written by `tools/run python tools/ros_reference.py`; see docs/ros/sros2.md -->")
    lines += ['<policy version="0.2.0">', "  <enclaves>"]
    for name in topics():
        lines += _enclave(name, _node(name))
    lines += _enclave(OPERATOR, _operator())
    return "\n".join([*lines, "  </enclaves>", "</policy>"]) + "\n"

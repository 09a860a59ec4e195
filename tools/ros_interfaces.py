"""What the ROS side offers, read from the files that say so: interfaces, topics, arguments, parameters.

`ros_reference` writes pages of it, `sros2_policy` a policy.
"""

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
FIELD = re.compile(r"(?P<type>[A-Za-z][\w/<>=]*(?:\[[^\]]*\])?)\s+(?P<name>\w+)\s*(?P<value>=\s*\S+)?\s*$")


# ── interfaces ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Field:
    """One line of a message: a field, or a constant where `value` is not empty."""

    type: str
    name: str
    comment: str
    value: str = ""


@dataclass(frozen=True)
class Interface:
    """A .msg, .srv or .action file."""

    kind: str  # msg, srv or action
    name: str
    comment: str
    parts: tuple[tuple[Field, ...], ...]  # fields; request, response; goal, result, feedback

    @property
    def type(self) -> str:
        return f"instascene/{self.kind}/{self.name}"


def read_interface(path: Path) -> Interface:
    """ValueError for a line that is none."""
    head, parts = [], [[]]
    for number, line in enumerate(path.read_text().splitlines(), 1):
        code, _, comment = (word.strip() for word in line.partition("#"))
        if code == "---":
            parts.append([])
        elif not code and comment:
            last = parts[-1][-1] if parts[-1] else None
            if last is not None and line[:1].isspace():  # goes on with the comment of the line before
                parts[-1][-1] = Field(last.type, last.name, f"{last.comment} {comment}", last.value)
            elif last is None and len(parts) == 1:
                head.append(comment)
        elif code:
            found = FIELD.match(code)
            if found is None:
                raise ValueError(f"{path.name}:{number}: '{line}' is no field.")
            value = (found["value"] or "").lstrip("= ")
            parts[-1].append(Field(found["type"], found["name"], comment, value))
    return Interface(path.suffix[1:], path.stem, " ".join(head), tuple(map(tuple, parts)))


def interfaces(kind: str) -> list[Interface]:
    return [read_interface(path) for path in sorted((ROOT / kind).glob(f"*.{kind}"))]


def request_name(interface: Interface) -> str:
    """The name under which scene_node offers a service or action: SegmentAt → segment_at."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", interface.name).lower()


# ── topics, launch arguments, parameters ──────────────────────────────────────────────────────────


def topics() -> dict[str, list[dict[str, str]]]:
    """Node → its rows of docs/ros/topics.yaml."""
    return yaml.safe_load((ROOT / "docs" / "ros" / "topics.yaml").read_text())


def launch_arguments() -> list[tuple[str, str, str]]:
    """Name, default and meaning; read without running the file, which needs launch."""
    for node in ast.parse((ROOT / "launch" / "scene.launch.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ARGUMENTS":
            return list(ast.literal_eval(node.value))
    raise ValueError("launch/scene.launch.py has no ARGUMENTS.")


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    default: str
    meaning: str  # with its range
    changes: str  # from when on a new value holds while the node runs; "" = after a restart


def parameters(node: str) -> list[Parameter]:
    """Of scene_node and mask_node (the same), dataset_player or bag_starter."""
    from instascene_core.config import Config
    from instascene_core.config.descriptions import described_settings
    from instascene_core.config_listing import meaning
    from instascene_ros.bag_starter import StarterParameters
    from instascene_ros.changeable import takes_effect
    from instascene_ros.dataset_player import PlayerParameters
    from instascene_ros.parameters import NodeParameters, plain

    tables = {
        "scene_node": (NodeParameters(), Config()),
        "dataset_player": (PlayerParameters(),),
        "bag_starter": (StarterParameters(),),
    }
    found = []
    for table in tables[node]:
        for setting in described_settings(table):
            value = plain(setting.value)
            name = setting.name.removeprefix("input.")
            changes = takes_effect(name) if node == "scene_node" else ""
            found.append(Parameter(name, type_name(value), as_yaml(value), meaning(setting), changes))
    return found


def type_name(value: Any) -> str:
    """As `ros2 param describe` calls it."""
    if isinstance(value, list):
        return f"{type_name(value[0])} array" if value else "array"
    return {bool: "boolean", int: "integer", float: "double", str: "string"}[type(value)]


def as_yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()

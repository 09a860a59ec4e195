"""Writes docs/ros/reference.md and parameters.md from the code:  tools/run python tools/ros_reference.py

Messages, services and actions come from their files with their comments, parameters from the
dataclasses that the nodes declare them from, launch arguments from the launch file, topics from
docs/ros/topics.yaml, which a test holds against running nodes.  `--check` writes nothing and fails
where a file differs.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
DOCS = ROOT / "docs" / "ros"
COMMAND = "tools/run python tools/ros_reference.py"
MADE = f"<!-- written by `{COMMAND}`; do not edit -->\n"
SECTIONS = {"msg": ("fields",), "srv": ("request", "response"), "action": ("goal", "result", "feedback")}
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
    return yaml.safe_load((DOCS / "topics.yaml").read_text())


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


def parameters(node: str) -> list[Parameter]:
    """Of scene_node and mask_node (the same), dataset_player or bag_starter."""
    from instascene_core.config import Config
    from instascene_core.config.descriptions import described_settings
    from instascene_core.config_listing import meaning
    from instascene_ros.bag_starter import StarterParameters
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
            found.append(Parameter(name, _type(value), _yaml(value), meaning(setting)))
    return found


def _type(value: Any) -> str:
    """As `ros2 param describe` calls it."""
    if isinstance(value, list):
        return f"{_type(value[0])} array" if value else "array"
    return {bool: "boolean", int: "integer", float: "double", str: "string"}[type(value)]


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()


# ── Markdown ──────────────────────────────────────────────────────────────────────────────────────


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def _topic_row(row: dict[str, str]) -> tuple[str, ...]:
    conditions = [
        row[key] if key == "with" else f"needs {row[key]}" for key in ("with", "needs") if key in row
    ]
    return (
        code(row["topic"]), code(row["type"]), row.get("qos", "as offered"), row["what"],
        ", ".join(code(c) if ":=" in c else c for c in conditions),
    )  # fmt: skip


def _topics() -> Iterator[str]:
    yield "## Topics\n"
    yield (
        "Names are relative to the node's namespace but for those that begin with `/`. QoS of what is "
        "published: `latched N` is reliable and transient_local with depth N (subscribe in the same way "
        "to get what was sent before), else volatile. What is subscribed adopts the reliability that the "
        "publishers offer (`image_qos: auto`).\n"
    )
    for node, rows in topics().items():
        for way, title in (("in", "subscribes"), ("out", "publishes")):
            chosen = [_topic_row(row) for row in rows if row["way"] == way]
            if chosen:
                yield f"### `{node}` {title}\n"
                yield from table(("topic", "type", "QoS", "what", "when"), chosen)


def _fields(interface: Interface) -> Iterator[str]:
    yield f"{interface.comment}\n"
    for title, part in zip(SECTIONS[interface.kind], interface.parts):
        constants = [f for f in part if f.value]
        if interface.kind != "msg":
            yield f"**{title}**{'' if part else ': empty'}\n"
        if constants:
            rows = [(code(f"{f.name} = {f.value}"), code(f.type), f.comment) for f in constants]
            yield from table(("constant", "type", "what"), rows)
        if rows := [(code(f.name), code(f.type), f.comment) for f in part if not f.value]:
            yield from table(("field", "type", "what"), rows)


def reference() -> str:
    """The text of docs/ros/reference.md."""
    lines = [f"# Reference: topics, services, actions, messages, launch arguments\n\n{MADE}"]
    lines.append(
        "Parameters have [a page of their own](parameters.md). Lengths are metres, times seconds, angles "
        "radians unless a field says otherwise; poses and points are in `map_frame`.\n"
    )
    lines += _topics()
    for kind, title in (("srv", "Services"), ("action", "Actions")):
        lines.append(f"## {title}\n")
        for one in interfaces(kind):
            lines.append(f"### `{request_name(one)}` ({one.type})\n")
            lines += _fields(one)
    lines.append("## Messages\n")
    for one in interfaces("msg"):
        lines.append(f"### {one.type}\n")
        lines += _fields(one)
    lines.append("## Launch arguments\n")
    lines.append("`ros2 launch instascene scene.launch.py NAME:=VALUE …`\n")
    rows = [(code(name), code(default) or "empty", text) for name, default, text in launch_arguments()]
    lines += table(("argument", "default", "what"), rows)
    return "\n".join(lines).rstrip() + "\n"


def parameter_pages() -> str:
    """The text of docs/ros/parameters.md."""
    lines = [f"# Parameters\n\n{MADE}"]
    lines.append(
        "`ros2 param describe /scene_node NAME` tells the same of a running node. In an overlay "
        "(`config:=`) a name with dots may be written nested. An unknown name, a wrong type or a value "
        "out of range stops the node with one sentence.\n"
    )
    head = ("parameter", "type", "default", "what")
    for title, node, chosen in (
        ("`scene_node` and `mask_node`: the node", "scene_node", lambda name: "." not in name),
        ("`scene_node` and `mask_node`: the pipeline", "scene_node", lambda name: "." in name),
        ("`dataset_player`", "dataset_player", lambda name: True),
        ("`bag_starter`", "bag_starter", lambda name: True),
    ):
        lines.append(f"## {title}\n")
        rows = [
            (code(p.name), p.type, code(p.default), p.meaning) for p in parameters(node) if chosen(p.name)
        ]
        lines += table(head, rows)
    return "\n".join(lines).rstrip() + "\n"


PAGES = {"reference.md": reference, "parameters.md": parameter_pages}


def outdated() -> list[str]:
    """Pages that differ from what would be written now."""
    old = {name: (DOCS / name).read_text() if (DOCS / name).exists() else "" for name in PAGES}
    return [name for name, make in PAGES.items() if make() != old[name]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is outdated")
    arguments = parser.parse_args()
    stale = outdated()
    for name in stale:
        if not arguments.check:
            (DOCS / name).write_text(PAGES[name]())
        sys.stdout.write(f"docs/ros/{name}: {'outdated' if arguments.check else 'written'}\n")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

"""Writes docs/ros/reference.md, parameters.md and config/sros2.policy.xml from the code:

    tools/run python tools/ros_reference.py

Messages, services and actions come from their files with their comments, parameters from the
dataclasses that the nodes declare them from, launch arguments from the launch file, topics from
docs/ros/topics.yaml, which a test holds against running nodes.  `--check` writes nothing and fails
where a file differs.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tools.ros_interfaces import (  # noqa: E402
    Interface,
    interfaces,
    launch_arguments,
    parameters,
    request_name,
    topics,
)
from tools.sros2_policy import policy  # noqa: E402

COMMAND = "tools/run python tools/ros_reference.py"
MADE = f"<!-- written by `{COMMAND}`; do not edit -->\n"
SECTIONS = {"msg": ("fields",), "srv": ("request", "response"), "action": ("goal", "result", "feedback")}


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
    lines.append("## Lifecycle\n")
    lines.append(
        "`scene_node` is a managed node: `ros2 lifecycle get`, `set` and `list /scene_node`. Configured it "
        "answers requests, active it takes frames, deactivated it keeps the scene, cleaned up it forgets it. "
        "With the parameter `autostart` (the default) it becomes active by itself.\n"
    )
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
        "out of range stops the node with one sentence. `ros2 param set` takes effect as the last column "
        "says (`mask_node` reads everything when it starts); `last_change` of `status` repeats it.\n"
    )
    head = ("parameter", "type", "default", "what", "a new value of scene_node holds")
    for title, node, chosen in (
        ("`scene_node` and `mask_node`: the node", "scene_node", lambda name: "." not in name),
        ("`scene_node` and `mask_node`: the pipeline", "scene_node", lambda name: "." in name),
        ("`dataset_player`", "dataset_player", lambda name: True),
        ("`bag_starter`", "bag_starter", lambda name: True),
    ):
        lines.append(f"## {title}\n")
        rows = [
            (code(p.name), p.type, code(p.default), p.meaning, p.changes or "after a restart")
            for p in parameters(node)
            if chosen(p.name)
        ]
        lines += table(head, rows)
    return "\n".join(lines).rstrip() + "\n"


# File → what makes its text.
PAGES: dict[str, Callable[[], str]] = {
    "docs/ros/reference.md": reference,
    "docs/ros/parameters.md": parameter_pages,
    "config/sros2.policy.xml": policy,
}


def outdated() -> list[str]:
    """Files that differ from what would be written now."""
    old = {name: (ROOT / name).read_text() if (ROOT / name).exists() else "" for name in PAGES}
    return [name for name, make in PAGES.items() if make() != old[name]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is outdated")
    arguments = parser.parse_args()
    stale = outdated()
    for name in stale:
        if not arguments.check:
            (ROOT / name).write_text(PAGES[name]())
        sys.stdout.write(f"{name}: {'outdated' if arguments.check else 'written'}\n")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

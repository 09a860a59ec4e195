"""Records docs/ros/transcript.md: real `ros2` commands against a scene that is played to a running node.

    tools/run python tools/ros_transcript.py

Needs ROS' command line tools (ros2cli and its verbs, ros2launch), which the wheels of `make setup` lack:
source a ROS 2 installation.  A minute or two.  test/ros/test_transcript.py checks what was recorded against
the interfaces.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "ros" / "transcript.md"
SYNTH = "instascene synth {folder}/recording --objects 3 --views 24 --width 240 --height 180 --seed 3"
LAUNCH = "ros2 launch instascene scene.launch.py dataset:={folder}/recording data_dir:={folder}/data"
LATCHED = "--qos-durability transient_local --qos-reliability reliable"
LONGEST = 220  # characters of a line that are kept


@dataclass(frozen=True)
class Step:
    said: str  # before the command
    command: str
    lines: int = 60  # of its output that are kept
    until: str = ""  # a pattern: the command is repeated until its output has it


STEPS = (
    Step("What is there:", "ros2 node list"),
    Step("", "ros2 lifecycle get /scene_node"),
    Step("The node's topics, services and actions:", "ros2 node info /scene_node"),
    Step("", "ros2 topic list -t"),
    Step(
        "Frames are in when `frames_used` no longer grows; nothing pending, nothing dropped:",
        "ros2 topic echo /status --once --no-arr", until=r"frames_used: 2[0-4]\n",
    ),
    Step("What a field means stands beside it:", "ros2 interface show instascene/srv/SegmentInstances", 14),
    Step("", "ros2 interface show instascene/action/BuildScene", 12),
    Step(
        "A parameter, what it means and what it may be:",
        "ros2 param describe /scene_node sync_tolerance_s",
    ),
    Step("", "ros2 param get /scene_node completion.num_samples"),
    Step("", "ros2 param set /scene_node map_frame odom"),
    Step("", "ros2 param set /scene_node export.density 600.0"),
    Step(
        "A request before its time is answered in words:",
        'ros2 service call /get_instance instascene/srv/GetInstance "{instance_id: 1}"', 12,
    ),
    Step(
        "Reconstruct and find the instances, with feedback (`segment_instances` does the same as a service):",
        'ros2 action send_goal /build_scene instascene/action/BuildScene "{segment: true}" --feedback', 40,
    ),
    Step("", f"ros2 topic echo /instances --once --field support {LATCHED}"),
    Step(
        "One object as a closed mesh, with files for simulators:",
        "ros2 service call /complete_instance instascene/srv/CompleteInstance "
        '"{instance_id: 1, formats: [urdf, mjcf]}"', 10,
    ),
    Step("All objects, as an action:", "ros2 action info /complete_instances"),
    Step(
        "",
        "ros2 action send_goal /complete_instances instascene/action/CompleteInstances "
        '"{seed: 7}" --feedback', 30,
    ),
    Step(
        "Who subscribes later gets what is there:",
        f"ros2 topic echo /completed_objects --once --no-arr {LATCHED}", 40,
    ),
    Step("", "ros2 topic info /completed_objects --verbose"),
    Step("", f"ros2 topic echo /next_best_view --once {LATCHED}", 20),
    Step(
        "What is at a pixel of the newest image:",
        'ros2 service call /segment_at instascene/srv/SegmentAt "{x: 120, y: 90, preview: true}"', 8,
    ),
    Step(
        "The robot takes object 1 away:",
        'ros2 service call /remove_instance instascene/srv/RemoveInstance "{instance_id: 1}"', 8,
    ),
    Step("Save, forget, load:", 'ros2 service call /save_scene instascene/srv/SaveScene "{name: table}"', 8),
    Step("", "ros2 service call /reset_scene instascene/srv/ResetScene", 8),
    Step("", 'ros2 service call /load_scene instascene/srv/LoadScene "{name: table}"', 8),
)  # fmt: skip


def run(command: str, folder: Path) -> str:
    """What a person sees of it, with the folder's name short."""
    done = subprocess.run(
        ["bash", "-c", command.format(folder=folder) if "{folder}" in command else command],
        capture_output=True, text=True, timeout=600, cwd=folder,
    )  # fmt: skip
    text = done.stdout + "".join(f"{line}\n" for line in done.stderr.splitlines() if "Warning" not in line)
    return text.replace(str(folder), "~")


def shortened(text: str, count: int) -> list[str]:
    """At most `count` lines of at most LONGEST characters; what was left out is told."""
    lines = [
        line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
        for line in text.rstrip().splitlines()
    ]
    if len(lines) > count:
        half = count // 2
        lines = [*lines[:half], f"… ({len(lines) - count} more lines)", *lines[len(lines) - count + half :]]
    return lines


@contextlib.contextmanager
def launched(folder: Path) -> Iterator[Path]:
    """The launch file's processes; the path of their log."""
    log = folder / "launch.log"
    with log.open("w") as sink:
        process = subprocess.Popen(LAUNCH.format(folder=folder).split(), stdout=sink, stderr=sink, cwd=folder)
    try:
        yield log
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def record(folder: Path) -> Iterator[str]:
    """The lines of the page."""
    yield "# Transcript"
    yield ""
    yield f"<!-- recorded by `tools/run python {Path(__file__).relative_to(ROOT)}`; do not edit -->"
    yield ""
    yield (
        "`ros2` at a small synthetic scene: three objects on a table, 24 views. Long lines and long outputs "
        "are cut (`…`). Every command is checked against the interfaces by `test/ros/test_transcript.py`."
    )
    yield ""
    yield from block(SYNTH.replace("{folder}", "~"), run(SYNTH, folder), 6)
    yield "In one shell:"
    yield ""
    with launched(folder) as log:
        wait_for(log, "24 of 24 frames sent")
        text = re.sub(r"\[\d+\.\d+\] ", "", log.read_text().replace(str(folder), "~"))
        text = re.sub(r"(?<=below ).*", "~/.ros/log", text)
        yield from block(LAUNCH.replace("{folder}", "~"), text, 30)
        yield "In another:"
        yield ""
        for step in STEPS:
            if step.said:
                yield from (step.said, "")
            text = run(step.command, folder)
            end = time.monotonic() + 60
            while step.until and not re.search(step.until, text) and time.monotonic() < end:
                text = run(step.command, folder)
            sys.stdout.write(f"{step.command}\n")
            yield from block(step.command, text, step.lines)


def block(command: str, text: str, count: int) -> Iterator[str]:
    yield from ("```console", f"$ {command}", *shortened(text, count), "```", "")


def wait_for(log: Path, words: str) -> None:
    end = time.monotonic() + 120
    while words not in log.read_text():
        if time.monotonic() > end:
            sys.exit(f"'{words}' did not come:\n{log.read_text()}")
        time.sleep(0.5)


def main() -> int:
    from domain_coordinator import domain_id

    if shutil.which("ros2") is None:
        sys.exit("There is no `ros2` command here; source a ROS 2 installation.")
    os.environ["PYTHONWARNINGS"] = "ignore"
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with (
        domain_id() as number,
        tempfile.TemporaryDirectory() as name,
    ):  # apart from other nodes of the machine
        os.environ["ROS_DOMAIN_ID"] = str(number)
        subprocess.run(["ros2", "daemon", "start"], check=False, capture_output=True)
        try:
            text = "\n".join(record(Path(name)))
        finally:
            subprocess.run(["ros2", "daemon", "stop"], check=False, capture_output=True)
    PAGE.write_text(text.rstrip() + "\n")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: {len(text.splitlines())} lines\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

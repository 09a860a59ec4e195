"""kill −9 of a worker, of the driver, and Ctrl-C, with a real Ray: nothing is lost, nothing is done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from batch_cases import QUICK, write_tiny

PATIENCE_S = 240
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
pytest.importorskip("ray")
pytest.importorskip("pyarrow")


@pytest.fixture
def archive(tmp_path):
    for name, seed in (("one", 1), ("two", 4), ("three", 5)):
        write_tiny(tmp_path / "archive" / name, seed)
    return tmp_path / "archive"


def started(archive: Path, output: Path) -> subprocess.Popen:
    """The command, in a process group of its own as a shell would start it."""
    settings = [word for setting in QUICK for word in ("--set", setting)]
    words = ["batch", str(archive), "--output", str(output), "--workers", "2", *settings, "--json"]
    code = "from instascene_core.start import main; import sys; sys.argv[0] = 'instascene'; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def ended(process: subprocess.Popen) -> tuple[int, dict, str]:
    out, error = process.communicate(timeout=PATIENCE_S)
    return process.returncode, json.loads(out), error


def waited_for(condition: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never came"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


def stage_files(output: Path, kind: str) -> list[Path]:
    return sorted((output / ".batch").glob(f"*/stages-*/{kind}*.safetensors"))


def workers_at(stage: str, output: Path) -> list[int]:
    """Processes of Ray that do a task of this stage; Ray writes what they do over their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if line.startswith("ray::instascene") and f": {stage}" in line:
            found.append(int(folder.name))
    return found


def scenes(output: Path) -> set[str]:
    return {path.parent.name for path in output.glob("*/scene.json")}


def test_a_worker_that_is_killed_is_replaced(archive, tmp_path):
    output = tmp_path / "out"
    process = started(archive, output)
    killed: list[int] = []

    def kill_one() -> bool:
        for pid in workers_at("segment", output) or workers_at("complete", output):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        return bool(killed)

    waited_for(kill_one, process)
    status, facts, error = ended(process)
    assert killed and status == 0, error
    assert facts["recordings"] == {"done": 3} and scenes(output) == {"one", "two", "three"}


def test_a_driver_that_is_killed_has_lost_nothing(archive, tmp_path):
    output = tmp_path / "out"
    process = started(archive, output)
    waited_for(lambda: stage_files(output, "decomposition"), process)
    process.kill()
    process.wait()
    waited_for(
        lambda: not any(workers_at(s, output) for s in ("reconstruct", "segment", "complete", "finish"))
    )
    kept = {path: path.stat().st_mtime_ns for path in stage_files(output, "")}
    assert kept
    process = started(archive, output)
    written: dict[Path, int] = {}

    def look() -> bool:
        for path in kept:
            if path.exists():
                written[path] = path.stat().st_mtime_ns
        return process.poll() is not None

    waited_for(look)
    status, facts, error = ended(process)
    assert status == 0, error
    assert facts["recordings"] == {"done": 3} and scenes(output) == {"one", "two", "three"}
    assert written == kept  # none was made anew
    before = {path: path.stat().st_mtime_ns for path in output.glob("*/scene.json")}
    status, facts, _ = ended(started(archive, output))
    assert status == 0 and facts["done_earlier"] == 3
    assert {path: path.stat().st_mtime_ns for path in output.glob("*/scene.json")} == before


def interrupt(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them


def interrupt_twice(process: subprocess.Popen) -> None:
    interrupt(process)
    time.sleep(0.3)
    interrupt(process)


def left_of(process: subprocess.Popen) -> list[int]:
    """Processes of its session that live: Ray gives its workers no session of their own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == process.pid and fields[0] != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize(
    ("stop", "name", "status"),
    [
        (interrupt, "Ctrl-C", 130),
        (interrupt_twice, "Ctrl-C", 130),
        (subprocess.Popen.terminate, "SIGTERM", 143),
    ],
)
def test_a_signal_is_a_sentence_and_the_next_call_goes_on(archive, tmp_path, stop, name, status):
    output = tmp_path / "out"
    process = started(archive, output)
    waited_for(lambda: stage_files(output, "reconstruction"), process)
    stop(process)
    said, facts, error = ended(process)
    assert said == status, error
    sentence = error.rstrip().splitlines()[-1]
    assert sentence.startswith(f"instascene: Stopped by {name}; 0 of 3 recordings are through")
    assert facts["error"] in sentence and "Traceback" not in error
    waited_for(lambda: not left_of(process))
    kept = {path: path.stat().st_mtime_ns for path in stage_files(output, "")}
    assert kept
    process, written = started(archive, output), {}

    def look() -> bool:
        written.update({path: path.stat().st_mtime_ns for path in kept if path.exists()})
        return process.poll() is not None

    waited_for(look)
    said, facts, error = ended(process)
    assert said == 0 and facts["recordings"] == {"done": 3}, error
    assert written == kept  # none was made anew

"""`--rerun`: a log for the viewer of Rerun, by the real SDK where it is installed, else one sentence."""

import struct
import sys

import numpy as np
import pytest

from instascene_core import cli
from instascene_core.errors import InputError, MissingDependencyError
from instascene_core.rerun_log import SPAWN, NoLog, RerunLog, both, is_own_recording, shades
from instascene_core.scene import Scene
from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rerun") / "recording"
    config = SyntheticConfig(
        seed=5, num_objects=2, num_views=8, width=96, height=72, supersampling=1,
        layout="spread", kinds=("box", "can"),
    )  # fmt: skip
    write_dataset(generate_scene(config), folder)
    return folder


def test_a_run_is_logged(recording, tmp_path):
    pytest.importorskip("rerun")
    reader = pytest.importorskip("rerun.chunk", reason="an older SDK, which reads otherwise")
    out, log = tmp_path / "out", tmp_path / "logs" / "run.rrd"
    words = ["run", str(recording), "--output", str(out), "--rerun", str(log)]
    quick = ["reconstruction.iterations=60", "reconstruction.max_gaussians=3000", "completion.prior=carving"]
    cli.main([*words, *(word for setting in quick for word in ("--set", setting))])
    held: dict[str, set[str]] = {}  # what was logged, and on which timelines
    for chunk in reader.RrdReader(log).stream():
        names = held.setdefault(str(chunk.entity_path).strip("/"), set())
        names.update(map(str, chunk.timeline_names))
    expected = {
        "world",
        "world/camera",
        "stages",
        "world/gaussians",
        "world/instances",
        "progress/reconstruct",
    }
    expected |= {f"world/camera/{name}" for name in ("image", "depth", "labels")}
    expected |= {f"world/{what}/{path.name}" for path in (out / "objects").iterdir() if path.is_dir()
                 for what in ("objects", "evidence")}  # fmt: skip
    assert expected <= held.keys()
    assert held["world/camera/image"] >= {"frame", "stage"} and "stage" in held["world/gaussians"]
    assert "frame" not in held["world/gaussians"] | held["world/instances"]  # they are of all frames
    assert len(list((out / "objects").glob("*/mesh.ply"))) >= 1


def test_what_is_not_made_is_not_logged(tmp_path):
    pytest.importorskip("rerun")
    log = RerunLog(str(tmp_path / "empty.rrd"))
    log.results(Scene().state)
    log.close()
    assert (tmp_path / "empty.rrd").stat().st_size > 0


def test_without_the_sdk_it_is_one_sentence(monkeypatch, recording, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "rerun", None)  # importing it fails
    with pytest.raises(MissingDependencyError, match="pip install rerun-sdk"):
        RerunLog("x.rrd")
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", str(recording), "--output", str(tmp_path / "out"), "--rerun", SPAWN])
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "pip install rerun-sdk" in said and len(said.splitlines()) == 1


def test_the_target_is_a_recording_or_a_viewer():
    with pytest.raises(InputError, match=r"\.rrd or the word 'spawn', not 'x\.txt'"):
        RerunLog("x.txt")


def test_a_file_that_is_there_stays(tmp_path):
    """Whether or not the SDK is there: nothing is begun."""
    file = tmp_path / "robot.rrd"
    file.write_text("of a user")
    with pytest.raises(InputError, match=r"a file '.*robot\.rrd' already"):
        RerunLog(str(file))
    assert file.read_text() == "of a user"


def message(kind: int, content: bytes) -> bytes:
    return struct.pack("<QQ", kind, len(content)) + content


OURS = message(1, b"\x12 instascene-run-00ff\x1a\x0c\n\ninstascene")
THEIRS = message(1, b"\x12 ad58b289\x1a\x0c\n\ninstascene")  # another program that is called so
HEADER, DATA = b"RRF2\x00)\x00\x00\x01\x02\x00\x00", message(2, b"x" * 500)


@pytest.mark.parametrize(
    ("content", "own"),
    [
        (HEADER + OURS + DATA + OURS + DATA + message(0, b""), True),
        (HEADER + OURS + DATA[:99], True),  # of a run that was killed
        (b"", True),
        (HEADER + THEIRS + DATA, False),
        (HEADER + OURS + DATA + THEIRS + DATA, False),  # two merged by a user
        (HEADER + DATA, False),
        (HEADER + OURS + struct.pack("<QQ", 2, 2**64 - 1), False),
        (HEADER + struct.pack("<QQ", 1, 2**40) + b"instascene-run-", False),
        (b"RRF2", False),
        (b"instascene-run- of a user", False),
    ],
)
def test_whose_recording_a_file_is(tmp_path, content, own):
    file = tmp_path / "a.rrd"
    file.write_bytes(content)
    assert is_own_recording(file) is own
    if not own:
        with pytest.raises(InputError, match="no run wrote it"):
            RerunLog(str(file))
        assert file.read_bytes() == content


def test_the_file_of_an_earlier_run_is_replaced(tmp_path):
    rerun = pytest.importorskip("rerun")
    file = tmp_path / "run.rrd"
    sizes = []
    for lines in (50, 1):
        log = RerunLog(str(file))
        for number in range(lines):
            log.progress(f"stage {number}", 0.5, "x" * 1000)
        log.close()
        sizes.append(file.stat().st_size)
    assert is_own_recording(file) and sizes[1] < sizes[0] / 4
    other = rerun.RecordingStream("instascene")
    other.save(str(file))
    other.flush()
    other.disconnect()
    with pytest.raises(InputError, match="no run wrote it"):
        RerunLog(str(file))


def test_both_are_told_and_no_log_is_none():
    told = []
    callback = both(lambda *words: told.append(("a", *words)), lambda *words: told.append(("b", *words)))
    callback("read", 0.5, "x")
    assert told == [("a", "read", 0.5, "x"), ("b", "read", 0.5, "x")]
    log = NoLog()
    log.progress("read", 1.0, "")
    log.close()


def test_shades_are_those_of_the_instances():
    colors = shades(np.array([-1, 2, 2, 5]))
    assert colors.shape == (4, 3) and colors.dtype == np.uint8
    assert (colors[1] == colors[2]).all() and (colors[1] != colors[3]).any() and len(set(colors[0])) == 1

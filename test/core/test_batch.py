"""Batches from recordings to table: what `instascene run` would make, resumed, failing one by one; on Ray."""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from batch_cases import QUICK, Here, write_empty, write_tiny
from dataset_folders import halve

from instascene_core import cli
from instascene_core.batch import Plan, Reading, list_recordings, run_batch
from instascene_core.batch.plan import Places
from instascene_core.batch.stages import perform
from instascene_core.batch.tasks import Outcome, Task
from instascene_core.config.batch import BatchConfig
from instascene_core.config_file import load_config
from instascene_core.errors import InputError, Terminated
from instascene_core.export.saved_scene import load_scene

SETTINGS = [word for setting in QUICK for word in ("--set", setting)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two good recordings, one of them deeper, and one that holds no frame."""
    root = tmp_path_factory.mktemp("batch") / "archive"
    write_tiny(root / "one", seed=1)
    write_tiny(root / "deep" / "two", seed=4)
    write_empty(root / "bad")
    return root


def plan_for(output: Path) -> Plan:
    return Plan.of(output, load_config(None, QUICK), Reading(), BatchConfig())


def here(plan: Plan, stop_at: str = "") -> Here:
    """Workers in this process; Ctrl-C comes when `stop_at` would begin."""

    def do(task: Task) -> Outcome:
        if task.stage == stop_at:
            raise KeyboardInterrupt
        try:
            return Outcome(perform(plan, task))
        except InputError as error:
            return Outcome(refused=str(error))

    return Here(do)


def digests(folder: Path) -> dict[str, str]:
    """Of all files but those that tell durations."""
    timed = ("metrics.json", "object.json", "scene.json", "report.html")
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in timed)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def run_cli(*words: str, capsys) -> tuple[int, dict, str]:
    """(exit status, what --json said, stderr) of a batch."""
    status = 0
    try:
        cli.main(["batch", *words, *SETTINGS, "--json"])
    except SystemExit as ended:
        status = int(ended.code or 0)
    shown = capsys.readouterr()
    return status, json.loads(shown.out), shown.err


def test_an_interrupted_batch_goes_on_and_makes_what_run_makes(archive, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    plan, recordings = plan_for(tmp_path / "out"), list_recordings(archive / "one", tmp_path).recordings
    with pytest.raises(KeyboardInterrupt, match=r"0 of 1 recordings are through.*the same command goes on"):
        run_batch(recordings, plan, lambda: here(plan, stop_at="complete"))
    places = Places.of(plan, recordings[0])
    (stages,) = places.state.glob("stages-*")
    kept = {path.name: path.stat().st_mtime_ns for path in stages.iterdir()}
    assert kept.keys() == {"reconstruction.safetensors", "decomposition.safetensors"}
    assert (tmp_path / "out" / "results.parquet").is_file()
    workers = here(plan)
    result = run_batch(recordings, plan, lambda: workers)
    assert result.count == {"done": 1} and not result.failed and result.earlier == 0
    assert {task.stage for task in workers.begun} == {"look", "complete", "finish"}
    assert not stages.exists()  # nothing is left behind but the memo and the record
    cli.main(["run", str(archive / "one"), "--output", str(tmp_path / "ran"), *SETTINGS, "--quiet"])
    expected = digests(tmp_path / "ran")
    assert any(name.endswith("mesh.ply") for name in expected)
    assert digests(places.scene) == expected
    accuracy = [json.loads((folder / "metrics.json").read_text())["accuracy"]
                for folder in (places.scene, tmp_path / "ran")]  # fmt: skip
    assert accuracy[0] == accuracy[1]


@pytest.mark.parametrize(("kind", "name"), [(KeyboardInterrupt, "Ctrl-C"), (Terminated, "SIGTERM")])
def test_a_second_signal_leaves_no_workers_behind(archive, tmp_path, kind, name):
    """While they are ended and the table is written; after that signals are heard again."""
    pytest.importorskip("pyarrow")
    plan, closed = plan_for(tmp_path / "out"), []

    class Impatient(Here):
        def close(self) -> None:
            for sign in heard if not closed else ():  # as often closed as one likes
                os.kill(os.getpid(), sign)
                closed.append("no more")

    def stop(task):
        raise kind

    heard = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    recordings = list_recordings(archive / "one", tmp_path).recordings
    before = {sign: signal.signal(sign, lambda number, frame: closed.append(number)) for sign in heard}
    try:
        with pytest.raises(kind, match=rf"Stopped by {name}; 0 of 1 recordings are through") as raised:
            run_batch(recordings, plan, lambda: Impatient(stop))
        assert type(raised.value) is kind and closed == ["no more"] * 2
        assert (tmp_path / "out" / "results.parquet").is_file()
        os.kill(os.getpid(), signal.SIGINT)
        assert closed[-1] == signal.SIGINT
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def test_damaged_frames_are_told_in_metrics_and_report(tmp_path, capsys):
    """By `run` and by `batch`: which, and why."""
    pytest.importorskip("pyarrow")
    recording = write_tiny(tmp_path / "recording", seed=1)
    image = sorted((recording / "rgb").glob("*.png"))[2]
    halve(image)
    cli.main(["run", str(recording), "--output", str(tmp_path / "ran"), *SETTINGS, "--quiet",
              "--stop-after", "reconstruct"])  # fmt: skip
    plan = plan_for(tmp_path / "out")
    run_batch(list_recordings(recording, tmp_path).recordings, plan, lambda: here(plan))
    (scene,) = (path.parent for path in (tmp_path / "out").rglob("scene.json"))
    for folder in (tmp_path / "ran", scene):
        told = json.loads((folder / "metrics.json").read_text())["damaged_frames"]
        assert told["count"] == 1 and told["frames"][0]["name"] == image.stem
        assert f"{image} is truncated" in told["frames"][0]["reason"]
        assert load_scene(folder).scene.metrics["damaged_frames"] == told
        page = (folder / "report.html").read_text()
        assert f"Left out, as their images are damaged: {image.stem}; metrics.json says why." in page


def test_a_batch_on_ray(archive, tmp_path, capsys):
    pytest.importorskip("ray")
    parquet = pytest.importorskip("pyarrow.parquet")
    output = tmp_path / "out"
    words = (str(archive), "--output", str(output), "--workers", "2", "--retries", "0")
    status, facts, error = run_cli(*words, capsys=capsys)
    assert status == 1 and facts["recordings"] == {"done": 2, "failed": 1} and facts["done_earlier"] == 0
    assert (
        error.rstrip().splitlines()[-1].startswith("instascene: 1 of 3 recordings failed; the first, bad: ")
    )
    assert "recordings 100 % 3 of 3" in error
    rows = parquet.read_table(facts["table"]).to_pylist()
    status_of = {row["recording"]: row["status"] for row in rows if row["kind"] == "recording"}
    assert status_of == {"bad": "failed", "deep/two": "done", "one": "done"}
    (bad,) = [row for row in rows if row["status"] == "failed"]
    assert bad["sentence"] == facts["failed"]["bad"] and "no frames" in bad["sentence"]
    assert sum(row["kind"] == "object" for row in rows) == facts["objects"] >= 2
    for name in ("one", "deep/two"):  # ordinary saved scenes
        loaded = load_scene(output / name)
        assert loaded.scene.objects and loaded.frames_found == 6
        assert f"{name}/report.html" in Path(facts["report"]).read_text()

    plan = plan_for(output)
    workers = here(plan)
    result = run_batch(list_recordings(archive, output).recordings, plan, lambda: workers, retries=0)
    assert result.earlier == 2 and result.count == {"done": 2, "failed": 1}
    assert [str(task) for task in workers.begun if task.stage != "look"] == ["bad: reconstruct"]


def test_without_ray_it_says_what_to_install(archive, tmp_path, capsys, monkeypatch):
    for module in ("ray", "pyarrow"):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, module, None)
            status, facts, error = run_cli(str(archive), "--output", str(tmp_path / "out"), capsys=capsys)
        assert status == 1 and "pip install 'instascene[batch]'" in facts["error"]
        assert error.count("\n") == 1 or "recordings" in error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--resources", "complete.gpus"), "not of the form STAGE.KIND=VALUE"),
        (("--resources", "finish.gpu=1"), "There is no setting 'finish.gpu'; did you mean 'finish.gpus'"),
        (("--workers", "-1"), "--workers takes 0 or more"),
        (("--retries", "-1"), "--retries 0 to 100"),
        (("--region", "kitchen"), "kitchen"),
    ],
)
def test_bad_words_are_refused_before_anything_is_made(archive, tmp_path, capsys, words, sentence):
    status, facts, _ = run_cli(str(archive), "--output", str(tmp_path / "out"), *words, capsys=capsys)
    assert status == 1 and sentence in facts["error"]
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_files_and_one_in_use_are_refused(archive, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.html").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'report.html' and no earlier batch"):
        run_batch([], plan_for(tmp_path / "mine"), lambda: Here(lambda task: Outcome()))
    plan = plan_for(tmp_path / "out")

    def again():
        run_batch([], plan, lambda: Here(lambda task: Outcome()))

    with pytest.raises(InputError, match="Another `instascene batch` works on"):
        run_batch([], plan, lambda: again() or Here(lambda task: Outcome()))


def test_a_worker_with_other_code_is_refused(archive, tmp_path, monkeypatch):
    plan = plan_for(tmp_path / "out")
    monkeypatch.setattr("instascene_core.batch.stages.code_version", lambda: "0.0.9+old")
    (recording,) = list_recordings(archive / "one", tmp_path).recordings
    with pytest.raises(InputError, match=r"The worker has version 0\.0\.9\+old"):
        perform(plan, Task("look", recording))

"""Figures on record: the page shows them, and none outlives the code and weights that made it unnoticed."""

import argparse
import json
import subprocess
from dataclasses import replace

import pytest

from benchmarks import (
    completion_objects,
    completion_scenes,
    gpu,
    kernel,
    provenance,
    reconstruction,
    records,
    streaming,
    tables,
)
from benchmarks.provenance import Provenance, Sources, cache_key, source_files, source_hash, weights_hashes
from instascene_core.config import ReconstructionConfig, SyntheticConfig

UPPER = Sources(("instascene_core.upper",))
MACHINE = {"cpu": "a processor", "threads": 2, "torch": "2"}
RUN = {"seed": 701, "hz": 2.0, "frames": 60, "ready_s": 8.0, "offline_s": 21.0,
       "streamed": {"psnr": 35.0}, "offline": {"psnr": 36.0}}  # fmt: skip


class MeasuredAnewError(Exception):
    """Raised in place of a measurement that would take minutes."""


@pytest.fixture
def checkout(tmp_path):
    """A tiny repository: upper imports lower and spare, lower imports the kernel's loader."""
    files = {
        "__init__.py": "",
        "upper/__init__.py": "from instascene_core.upper.part import work",
        "upper/part.py": "def work():\n    from instascene_core import spare\n    from ..lower import tool",
        "upper/weights/net.safetensors": "1",
        "lower.py": "import numpy\nimport instascene_core.rendering.library",
        "rendering/__init__.py": "",
        "rendering/library.py": "",
        "csrc/blend.hpp": "1",
        "spare/__init__.py": "",
        "spare/weights/other.safetensors": "1",
        "stranger.py": "",
    }
    for name, content in files.items():
        path = tmp_path / "instascene_core" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


# ── the page ──────────────────────────────────────────────────────────────────────────────────────


def test_docs_show_the_results_on_record():
    """Marks aside: any change of the sources may set them, and the page says of which commit they are."""
    text = tables.PAGE.read_text()
    assert tables.without_marks(text) == tables.page(marked=False)
    assert text != tables.without_marks(text)  # the commit of the marks is named


def test_marks_can_be_taken_off_the_page():
    assert tables.without_marks(tables.page()) == tables.page(marked=False)


def test_tables_are_markdown_and_skip_what_is_not_known():
    assert tables.table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert tables.millimetres(float("nan")) == tables.millimetres(None) == "–"
    assert tables.millimetres(0.00123) == "1.23 mm"


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({}, ""),
        ({"code": "of earlier"}, " †"),
        ({"weights": {"net": "of earlier"}}, " †"),
        ({"code": provenance.UNKNOWN}, " ‡"),
    ],
)
def test_rows_by_other_code_or_weights_are_marked(tmp_path, monkeypatch, changes, mark):
    sources = records.RECORDS["streaming"]["runs"].sources
    made_by = Provenance("c0ffee", source_hash(sources), weights_hashes(sources), MACHINE)
    made_by = {"runs": replace(made_by, **changes)}
    records.write_results(tmp_path / "streaming.json", "streaming", {"runs": [RUN]}, made_by)
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    page = tables.page()
    assert f"| 701{mark} | 60 at 2 Hz |" in page
    legends = [line for line in page.splitlines() if line.startswith(("†", "‡"))]
    assert [line[0] for line in legends] == ([mark.strip()] if mark else [])
    assert all("c0ffee" in line for line in legends)


def test_streams_that_went_on_to_objects_have_a_table_of_their_own(tmp_path, monkeypatch):
    stages = dict.fromkeys(("reconstruct", "masks", "decompose", "complete", "rest"), 5.0)
    run = {
        "recording": "d9", "hz": 2.0, "frames": 48, "width": 640, "height": 480, "complete_s": 61.2,
        "late_s": 0.1, "seconds": stages, "true_objects": 8, "objects": 7, "volume_iou": 0.9,
    }  # fmt: skip
    path, lists = tmp_path / "streaming.json", records.RECORDS["streaming"]
    made_by = dict.fromkeys(lists, Provenance("c0ffee", "code", {}, MACHINE))
    records.write_results(path, "streaming", {"runs": [RUN]}, made_by)
    records.write_results(path, "streaming", {"objects": [run]}, made_by)  # the others stay
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    page = tables.page()
    assert "| d9 † | 48 of 640×480 at 2 Hz | 61 | 5 | 5 | 5 | 5 | 5 | 7 of 8 | 0.900 |" in page
    assert "| 701 † | 60 at 2 Hz |" in page


def test_rows_that_are_older_than_provenance_are_read_and_marked(tmp_path, monkeypatch):
    (tmp_path / "streaming.json").write_text(json.dumps({"machine": MACHINE, "runs": [RUN]}))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    page = tables.page()
    assert "| 701 ‡ | 60 at 2 Hz |" in page
    assert "a processor, 2 threads" in page


def test_a_mark_of_a_whole_column_stands_in_its_header():
    def run(scene, masks, mark):
        return {"scene": scene, "group": "hard", "masks": masks, "miou": 0.5, "ap50": 0.25, "mark": mark}

    runs = [run("pile", "a", " †"), run("bin", "a", " †"), run("pile", "b", ""), run("bin", "b", " †")]
    lines = tables._scenes_by(runs, "masks").splitlines()
    assert lines[0] == "| scene | a † | b |"
    assert lines[2] == "| pile | 0.500 / 0.250 | 0.500 / 0.250 |"
    assert lines[3] == "| bin | 0.500 / 0.250 | 0.500 / 0.250 † |"
    assert lines[5] == "| **all** | 0.500 / 0.250 | 0.500 / 0.250 † |"


# ── writing ───────────────────────────────────────────────────────────────────────────────────────


def test_every_row_carries_its_provenance_and_others_keep_theirs(tmp_path):
    path = tmp_path / "completion.json"
    rows = [{"seed": seed, "depth": True, "prior": "learned", "iou": 0.5} for seed in (1, 2)]
    old, new = (Provenance(commit, "code", {"net": "1"}, MACHINE) for commit in ("old", "new"))
    lists = records.RECORDS["completion"]
    records.write_results(path, "completion", {"pipeline": rows}, dict.fromkeys(lists, old))
    anew = [{**rows[1], "iou": 0.75}]
    records.write_results(path, "completion", {"pipeline": anew}, dict.fromkeys(lists, new))
    found = json.loads(path.read_text())["pipeline"]
    assert [(row["seed"], row["iou"], row["commit"]) for row in found] == [(1, 0.5, "old"), (2, 0.75, "new")]
    assert all(row["machine"] == MACHINE and row["weights"] == {"net": "1"} for row in found)


def test_a_file_that_is_one_row_carries_its_provenance(tmp_path):
    made_by = {records.WHOLE: Provenance("c0ffee", "code", {}, MACHINE)}
    records.write_results(tmp_path / "memory.json", "memory", {"views": 60}, made_by)
    found = json.loads((tmp_path / "memory.json").read_text())
    assert found == {"views": 60, "commit": "c0ffee", "code": "code", "weights": {}, "machine": MACHINE}


def test_benchmarks_write_through_the_one_writer(tmp_path, monkeypatch):
    """Each `main`, its measurement replaced by a figure."""

    def written(module, *options, name):
        monkeypatch.setattr("sys.argv", [name, *options])
        module.main()
        results = json.loads((tmp_path / f"{name}.json").read_text())
        rows = list(records.rows_of(name, results))
        assert rows and all(not records.mark_of(row, of.sources) for of, row in rows)
        assert all(row["machine"]["cpu"] and row["commit"] for _, row in rows)
        return results

    for module in (kernel, gpu):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    found = {"least_of": 1, "kernel": [{}], "iteration": [{}], "utilisation": {}, "twin": {}}
    monkeypatch.setattr(kernel, "run", lambda *_, **__: found)
    assert written(kernel, name="kernel")["least_of"] == 1

    monkeypatch.setattr(gpu, "cuda_problem", lambda: "")
    monkeypatch.setattr(gpu, "device_name", lambda _device: "a GPU")
    monkeypatch.setattr(gpu, "parity", lambda *_: {"color": [0.0] * len(gpu.QUANTILES)})
    speeds = ("gaussians", "width", "height", "render_ms", "frames_per_second", "forward_backward_ms",
              "peak_gpu_mb")  # fmt: skip
    monkeypatch.setattr(gpu, "speed", lambda *_: dict.fromkeys(speeds, 1))
    trained = ("cpu_seconds", "cpu_psnr", "gpu_seconds_to_cpu_psnr", "gpu_psnr", "gpu_seconds")
    monkeypatch.setattr(gpu, "training", lambda *_: dict.fromkeys(trained, 1.0))
    job = {"seconds": 1.0, "stages": {"masks": 1.0}, "psnr": 30.0, "mean_volume_iou": None}
    monkeypatch.setattr(gpu, "whole_job", lambda of, on: {"recording": of.name, "device": on, **job})
    found = written(gpu, "--recording", "table", name="gpu")
    assert [row["scene"] for row in found["parity"]] == ["surface", "fog"]
    assert [(row["recording"], row["device"]) for row in found["jobs"]] == [
        ("table", "cpu"),
        ("table", "cuda"),
    ]

    monkeypatch.setattr(streaming, "stream", lambda *_: RUN)
    monkeypatch.setattr(streaming, "endless", lambda *_: {"frames": 2000})
    output = ("--output", str(tmp_path / "streaming.json"))
    written(streaming, *output, name="streaming")
    written(streaming, "--long", *output, name="streaming_memory")

    monkeypatch.setattr(reconstruction, "synthetic", lambda *_: [{"name": "synthetic"}])
    monkeypatch.setattr(reconstruction, "speed", lambda _seed: {"name": "speed"})
    output = ("--output", str(tmp_path / "reconstruction.json"))
    assert written(reconstruction, *output, name="reconstruction")["config"]
    written(reconstruction, "--speed", *output, name="reconstruction_speed")


def test_results_on_record_are_those_of_the_records():
    for path in records.RESULTS.glob("*.json"):
        rows = list(records.rows_of(path.stem, json.loads(path.read_text())))
        assert rows and all("commit" in row and "machine" in row for _, row in rows), path.name


# ── what figures depend on ────────────────────────────────────────────────────────────────────────


def test_sources_are_followed_through_imports(checkout):
    names = [str(path.relative_to(checkout / "instascene_core")) for path in source_files(UPPER, checkout)]
    assert names == ["__init__.py", "csrc/blend.hpp", "lower.py", "rendering/__init__.py",
                     "rendering/library.py", "spare/__init__.py", "upper/__init__.py",
                     "upper/part.py"]  # fmt: skip
    assert set(weights_hashes(UPPER, checkout)) == {"net", "other"}
    without = replace(UPPER, unused=("instascene_core.spare", "instascene_core.lower"))
    names = [path.name for path in source_files(without, checkout)]
    assert names == ["__init__.py", "__init__.py", "part.py"]
    assert set(weights_hashes(without, checkout)) == {"net"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from instascene_core import Tool", True),
        ("import instascene_core\ninstascene_core.Tool()", True),
        ("import instascene_core as isc\nisc.Tool()", True),
        ("import instascene_core", False),
        ("from instascene_core import __version__", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import instascene_core.lower", False),
    ],
)
def test_names_that_a_package_loads_later_are_followed(checkout, source, found):
    core = checkout / "instascene_core"
    (core / "__init__.py").write_text(
        "import typing\nif typing.TYPE_CHECKING:\n    from instascene_core.lower import tool as Tool"
    )
    (core / "stranger.py").write_text(source)
    files = source_files(Sources(("instascene_core.stranger",)), checkout)
    assert (core / "lower.py" in files) == found


@pytest.mark.parametrize(
    "name", ["upper/part.py", "lower.py", "csrc/blend.hpp", "upper/weights/net.safetensors"]
)
def test_a_change_of_sources_or_weights_changes_the_key(checkout, name):
    before = cache_key(UPPER, root=checkout)
    assert cache_key(UPPER, root=checkout) == before
    path = checkout / "instascene_core" / name
    path.write_text(path.read_text() + "\n")
    assert cache_key(UPPER, root=checkout) != before


def test_a_change_of_what_is_not_used_leaves_the_key(checkout):
    sources = replace(UPPER, unused=("instascene_core.spare",))
    before = cache_key(sources, root=checkout)
    for name in ("stranger.py", "spare/__init__.py", "spare/weights/other.safetensors"):
        (checkout / "instascene_core" / name).write_text("changed = True")
    assert cache_key(sources, root=checkout) == before


def test_a_change_of_any_configuration_changes_the_key(checkout):
    configs = (SyntheticConfig(), ReconstructionConfig())
    keys = {
        cache_key(UPPER, *configs, root=checkout),
        cache_key(UPPER, replace(configs[0], kinds=("box",)), configs[1], root=checkout),
        cache_key(UPPER, configs[0], replace(configs[1], iterations=1), root=checkout),
        cache_key(UPPER, configs[0], root=checkout),
    }
    assert len(keys) == 4


@pytest.mark.parametrize("field", ["packages", "unused"])
def test_a_package_that_is_not_there_is_refused(checkout, field):
    with pytest.raises(ValueError, match="There is no package or module 'instascene_core"):
        source_hash(replace(UPPER, **{field: ("instascene_core.uper",)}), checkout)


def test_sources_of_the_records():
    """A few of the real ones: the kernel's sources and the right weights count."""
    used = {name: weights_hashes(rows.sources) for name, rows in records.RECORDS["completion"].items()}
    assert {name: set(weights) for name, weights in used.items()} == {
        "objects": {"completion", "confidence", "multiview"},
        "views": {"completion", "confidence", "multiview"},
        "pipeline": {
            "borders",
            "completion",
            "confidence",
            "contacts",
            "multiview",
            "objectness",
            "points",
            "segmenter",
        },
    }
    assert set(weights_hashes(completion_scenes.DECOMPOSED)) == {
        "borders",
        "contacts",
        "objectness",
        "points",
        "segmenter",
    }
    for record, lists in records.RECORDS.items():
        for name, rows in lists.items():
            files = source_files(rows.sources)
            names = {path.name for path in files}
            assert not any(path.samefile(records.__file__) for path in files)
            # The kernel has no part where the 2D segmenter, the check of recordings or written files are
            # measured alone.
            unrendered = record in (
                "wholes",
                "plausibility",
                "registration",
                "parsers",
                "parts",
            )
            assert ("blend.hpp" in names) != unrendered, (record, name)


def test_commit_tells_of_changes_in_the_sources(checkout):
    assert provenance.commit(checkout) == provenance.UNKNOWN

    def git(*arguments):
        author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *author, *arguments], cwd=checkout, check=True, capture_output=True)

    (checkout / "benchmarks" / "results").mkdir(parents=True)
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    head = provenance.commit(checkout)
    assert len(head) == provenance.DIGITS and int(head, 16)
    (checkout / "benchmarks" / "results" / "kernel.json").write_text("{}")
    assert provenance.commit(checkout) == head
    (checkout / "instascene_core" / "lower.py").write_text("")
    assert provenance.commit(checkout) == f"{head}+changes"


def test_machine_names_no_host():
    assert set(provenance.machine()) == {
        "cpu", "cores", "flags", "threads", "load_before", "system", "python", "torch"
    }  # fmt: skip


# ── caches ────────────────────────────────────────────────────────────────────────────────────────


def test_a_decomposition_by_unknown_code_is_not_taken(tmp_path, monkeypatch):
    def measure(*_args, **_kwargs):
        raise MeasuredAnewError

    monkeypatch.setattr(completion_scenes, "cached_scene", measure)
    settings = SyntheticConfig(seed=7, num_views=3)
    (tmp_path / "7-3-rgbd-decomposed.npz").touch()  # the name that earlier versions gave it
    with pytest.raises(MeasuredAnewError):
        completion_scenes._decomposed(settings, True, tmp_path)


def test_completed_objects_by_unknown_code_are_not_taken(tmp_path):
    kept = {"case": "box 0/0", "group": "box", "method": "carving", "iou": 0.5, "sound": True, "seconds": 1.0}
    (tmp_path / "objects.json").write_text(json.dumps([kept]))
    arguments = argparse.Namespace(
        cache=tmp_path, methods=[], meshes=tmp_path, only=["nothing"], observations=1, plain_observations=1
    )
    assert completion_objects.run_objects(arguments) == {"objects": []}

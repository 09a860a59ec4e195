"""How the command speaks: JSON, quiet, versions, mistyped words, bars that end, shells that complete."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import instascene_core
from instascene_core import cli, terminal
from instascene_core.config import Config
from instascene_core.config_file import load_config, settings_of
from instascene_core.errors import InputError, NothingFound
from instascene_core.progress import told
from instascene_core.verbs.manner import Answer, as_json

NAMED = [type("Named", (), {"name": name})() for name in ("a", "b", "c")]


def heard(stage: str = "trace") -> tuple[list, list]:
    said = []
    items = [item.name for _, item in told(NAMED, lambda *words: said.append(words), stage)]
    return items, said


def test_a_stage_that_is_done_says_so():
    items, said = heard()
    assert items == ["a", "b", "c"]
    assert said == [("trace", 0.0, "a"), ("trace", 1 / 3, "b"), ("trace", 2 / 3, "c"),
                    ("trace", 1.0, "3 frames")]  # fmt: skip


def test_the_last_line_of_each_stage_is_printed(capsys):
    with terminal.progress_bars() as progress:
        for stage in ("depth", "masks"):
            for _ in told(NAMED, progress, stage):
                pass
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(words[0], words[1]) for words in lines] == [
        ("depth", "0"), ("depth", "100"), ("masks", "0"), ("masks", "100")]  # fmt: skip


def test_bars_end_at_100(monkeypatch):
    console = Console(force_terminal=True, width=100, record=True, file=io.StringIO())
    monkeypatch.setattr(terminal, "console", console)
    with terminal.progress_bars() as progress:
        for stage in ("depth", "labels"):
            for _ in told(NAMED, progress, stage):
                pass
    shown = console.export_text()
    for stage in ("depth", "labels"):
        assert re.findall(rf"{stage}.*?(\d+) %", shown)[-1] == "100"


def test_json_is_all_there_is_on_stdout(capsys):
    cli.main(["doctor", "--json"])
    shown = capsys.readouterr()
    parts = {part["part"]: part for part in json.loads(shown.out)["parts"]}
    assert parts["torch"]["found"] and "torch" in shown.err  # the table
    cli.main(["doctor", "--json", "--quiet"])
    shown = capsys.readouterr()
    assert json.loads(shown.out)["parts"] and shown.err == ""
    cli.main(["doctor", "--quiet"])
    terminal.warn("a warning")
    assert capsys.readouterr() == ("", "a warning\n")
    cli.main(["doctor"])  # the manner of a call is forgotten with it
    shown = capsys.readouterr()
    assert "torch" in shown.out and shown.err == ""


def test_an_error_is_in_the_json_and_a_sentence(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", str(tmp_path / "none"), "--json"])
    shown = capsys.readouterr()
    assert ended.value.code == 1 and "no completed objects" in json.loads(shown.out)["error"]
    assert shown.err.startswith("instascene: There are no completed objects")


def test_what_was_done_is_told_where_nothing_was_found(capsys, monkeypatch):
    answer = Answer({"folder": "x"}, NothingFound("No object was found."))
    monkeypatch.setattr(cli.Doctor, "__call__", lambda self: answer)
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "--json"])
    assert json.loads(capsys.readouterr().out) == {"folder": "x", "error": "No object was found."}
    assert ended.value.code == 3


def test_numbers_that_are_none_are_null():
    facts = {"a": np.float32(1.5), "b": [float("nan"), np.inf], 3: np.arange(2), "c": Config().up}
    assert json.loads(as_json(facts)) == {"a": 1.5, "b": [None, None], "3": [0, 1], "c": Config().up}


def test_version(capsys):
    cli.main(["--version"])
    assert capsys.readouterr().out == f"instascene {instascene_core.__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["rum", "x"], "did you mean `instascene run`?"),
        (["Export", "x"], "did you mean `instascene export`?"),
        (["frobnicate"], "there are run, batch, poses"),
    ],
)
def test_a_mistyped_verb_is_a_suggestion(words, hint, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and hint in said and len(said.splitlines()) == 1


def test_a_mistyped_option_is_a_suggestion(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "x", "--output", "y", "--no-dpeth"])
    shown = "".join(capsys.readouterr())
    assert ended.value.code == 2 and "Perhaps you meant" in shown and "--no-depth" in shown


def test_every_verb_takes_json_and_quiet(capsys):
    for name in cli.VERBS:
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        shown = capsys.readouterr().out
        assert "--json" in shown and "--quiet" in shown, name


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_shell_completes(shell):
    """`instascene --tyro-print-completion SHELL`, as docs/command.md says."""
    code = "from instascene_core.start import main; main()"
    words = [sys.executable, "-c", code, "--tyro-print-completion", shell]
    script = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "instascene" in script and all(name in script for name in ("export", "settle"))
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_choices_may_be_written_in_any_case():
    config = load_config(None, ["export.formats=[GLB, Usd]", "completion.prior=Carving"])
    assert config.export.formats == ("glb", "usd") and config.completion.prior == "carving"
    assert Config().export.of_formats(["STL"]).formats == ("stl",)
    with pytest.raises(InputError, match=r"'export\.formats' takes one of"):
        load_config(None, ["export.formats=[GLB, png]"])
    assert settings_of(load_config(None, ["export.mesh_uri=package://Objects"]))["export.mesh_uri"].endswith(
        "Objects"  # what is no choice keeps its case
    )


def test_a_tilde_that_the_shell_left_is_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    verb = cli._at_home(cli.Run(Path("~/in"), Path("~/out"), masks="~"))
    assert (verb.input, verb.output, verb.masks) == (tmp_path / "in", tmp_path / "out", "~")
    verb = cli.Run(Path("in"), Path("~nobody_of_that_name/out"))
    assert cli._at_home(verb) == verb


@pytest.mark.parametrize("words", [["--output="], ["--output", ""], ["--output"], ["--to", "", "--json"]])
def test_an_empty_folder_is_not_the_current_one(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "in", *words])
    assert ended.value.code == 2
    if words != ["--output"]:  # that is no value at all, which tyro tells
        assert f"{words[0].rstrip('=')} is empty" in capsys.readouterr().err


def test_help_is_what_people_ask_for_in_words(capsys):
    for words in (["help"], ["help", "run"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert ended.value.code == 0
    assert "Last stage to run" in capsys.readouterr().out
    cli.main(["version"])
    assert capsys.readouterr().out == f"instascene {instascene_core.__version__}\n"

"""The command's first second and its last line: Ctrl-C, no memory, a full disk, brackets in tables."""

import errno
import importlib
import subprocess
import sys

import pytest
import torch

from instascene_core import cli
from instascene_core.doctor import Finding
from instascene_core.errors import InputError, MissingDependencyError, needs, outside_cause
from instascene_core.terminal import warn

INTERRUPTED_AT = """
import builtins, os, signal
real = builtins.__import__
def importing(name, *rest, **named):
    if name == {module!r}:
        {action}
    return real(name, *rest, **named)
builtins.__import__ = importing
from instascene_core.start import main
import sys
sys.argv = ["instascene", "doctor"]
main()
"""
SEND = "os.kill(os.getpid(), signal.{})"
SWALLOWED = """
        try:
            os.kill(os.getpid(), signal.{})
        except KeyboardInterrupt:
            raise ImportError("the compiled module could not be initialised")
"""


@pytest.mark.parametrize(
    ("module", "action", "words"),
    [
        ("tyro", SEND, "before the work began"),  # while the command itself is loaded
        ("instascene_core.doctor", SEND, "no file is half written"),  # while a verb loads what it needs
        (
            "instascene_core.doctor",
            SWALLOWED,
            "no file is half written",
        ),  # which may make another error of it
    ],
)
@pytest.mark.parametrize(
    ("sign", "name", "status"), [("SIGINT", "Ctrl-C", 130), ("SIGTERM", "SIGTERM", 143)], ids=str
)
def test_a_signal_while_loading_is_a_sentence(module, action, words, sign, name, status):
    code = INTERRUPTED_AT.format(module=module, action=action.format(sign))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == status and words in ended.stderr
    assert ended.stderr.startswith(f"instascene: Stopped by {name}") and ended.stderr.count("\n") == 1


def allocation_of_torch() -> Exception:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    return caught.value


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (MemoryError, "not enough memory"),
        (allocation_of_torch, "not enough memory"),
        (lambda: RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "not enough memory"),
        (lambda: OSError(errno.ENOSPC, "No space left on device", "/x/scene.ply"), r"No space left"),
        (lambda: PermissionError(errno.EACCES, "Permission denied", "/x"), "Permission denied"),
    ],
)
def test_what_the_machine_cannot_do_is_one_sentence(make, words, monkeypatch, capsys):
    error = make()

    def fail(self):
        raise error

    monkeypatch.setattr(cli.Doctor, "__call__", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor"])
    said = capsys.readouterr().err
    assert ended.value.code == 1 and words in said
    assert len(said.splitlines()) == 1 and "Internal error" not in said


def test_a_fault_of_the_program_stays_one():
    assert outside_cause(RuntimeError("shapes do not match")) is None
    assert outside_cause(InputError("Bad.")) is None


def test_tables_and_notes_keep_their_brackets(monkeypatch, capsys):
    advice = "pip install 'instascene[cuda]' [/] :smile:"
    finding = Finding("gsplat [gpu]", False, False, "", advice)
    monkeypatch.setattr("instascene_core.doctor.examine", lambda: [finding])
    cli.main(["doctor"])
    warn("object 1 was not completed: see [/tmp/a] [red]")
    said = capsys.readouterr().out
    for text in ("gsplat [gpu]", advice, "see [/tmp/a] [red]"):
        assert text in said


def test_a_missing_package_is_one_sentence_and_another_fault_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)  # as if it were not installed
    sentence = "Settling needs MuJoCo."
    with pytest.raises(MissingDependencyError, match=sentence), needs("mujoco", sentence):
        import mujoco  # noqa: F401
    with pytest.raises(ImportError, match="nowhere"), needs("mujoco", sentence):
        importlib.import_module("nowhere")
    with needs("json", "There is no JSON."):
        import json
    assert json.loads("1") == 1

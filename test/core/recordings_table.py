"""The table of docs/recordings.md, what one has → what to type, and what ties a test to a row of it.

A new row needs a line in the table and, in any test file, a test with `@recording("what you have")`: it gets
the words to type as `typed`.  `test_recordings.py` fails for a row without one.
"""

import ast
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "recordings.md"


def rows() -> dict[str, str]:
    """What one has → what to type, of every row."""
    found = {}
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if len(cells) == 3 and cells[1].startswith("`"):
            assert cells[0] not in found, f"'{cells[0]}' is in the table twice"
            found[cells[0]] = cells[1].strip("`")
    return found


def recording(have: str):
    """Marks the test of the row of `have`."""
    return pytest.mark.parametrize("typed", [rows()[have]], ids=[have])


def rows_with_tests() -> set[str]:
    """The rows that some test is marked with."""
    found = set()
    for file in (ROOT / "test").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                found |= {
                    mark.args[0].value
                    for mark in node.decorator_list
                    if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "recording"
                }
    return found


class _Opened(BaseException):
    """Ends the command once it has opened its input; no `except Exception` of the command catches it."""

    def __init__(self, dataset) -> None:
        self.dataset = dataset


def opened(typed: str, recorded: Path, monkeypatch):
    """The Dataset that the command of a row opens; INPUT is `recorded`, FOLDER where it lies."""
    from instascene_core import cli, datasets

    open_dataset = datasets.open_dataset

    def open_and_end(*arguments, **options):
        raise _Opened(open_dataset(*arguments, **options))

    monkeypatch.setattr(datasets, "open_dataset", open_and_end)
    words = shlex.split(typed)
    assert words[0] == "instascene"
    places = {"INPUT": str(recorded), "FOLDER": str(recorded.parent), "OUT": str(recorded.parent / "out")}
    words = [re.sub(r"\b(INPUT|FOLDER|OUT)\b", lambda m: places[m[0]], word) for word in words[1:]]
    try:
        cli.main(words)
    except _Opened as end:
        return end.dataset
    finally:
        monkeypatch.setattr(datasets, "open_dataset", open_dataset)
    raise AssertionError("the command opened nothing")

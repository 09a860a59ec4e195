"""What each setting means, read from the comments beside it: written once, shown wherever settings are."""

import ast
import dataclasses
import functools
import inspect
import io
import textwrap
import tokenize
import typing
from dataclasses import dataclass
from typing import Any

from instascene_core.config.ranges import Range, hint_of, range_of

FOR_TOOLS = ("fmt:", "noqa", "pyright:", "type:")  # comments that tell a person nothing


@dataclass(frozen=True)
class Setting:
    """One setting of a configuration."""

    name: str  # its path: reconstruction.iterations
    value: Any
    description: str  # one or more sentences; "" where the name says all
    choices: tuple[str, ...]  # words it may be; () = not from a list
    range: Range | None  # of its numbers; None where it holds none


def described_settings(config: Any, prefix: str = "") -> list[Setting]:
    """All settings of a (nested) dataclass with their values, in its order."""
    found: list[Setting] = []
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            found += described_settings(value, f"{name}.")
            continue
        hint = hint_of(type(config), field.name)
        text = _comments(type(config)).get(field.name, "")
        limits = range_of(type(config), field.name) if _holds_numbers(hint) else None
        found.append(Setting(name, value, text, _choices(hint), limits))
    return found


def _choices(hint: Any) -> tuple[str, ...]:
    """The words of a Literal, also within a union."""
    if typing.get_origin(hint) is typing.Literal:
        return tuple(word for word in typing.get_args(hint) if isinstance(word, str))
    return tuple(word for part in typing.get_args(hint) for word in _choices(part))


def _holds_numbers(hint: Any) -> bool:
    if hint in (int, float):
        return True
    return typing.get_origin(hint) is not typing.Literal and any(map(_holds_numbers, typing.get_args(hint)))


@functools.cache
def _comments(kind: type) -> dict[str, str]:
    """Field → the comment lines right above it and the comment behind it, as one text."""
    source = textwrap.dedent(inspect.getsource(kind))
    lines, comments = source.splitlines(), {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        text = token.string.lstrip("# ").rstrip()
        if token.type == tokenize.COMMENT and not text.startswith(FOR_TOOLS):
            comments[token.start[0]] = text
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field in body.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            first = field.lineno
            while first - 1 in comments and lines[first - 2].lstrip().startswith("#"):
                first -= 1
            texts = [comments[n] for n in range(first, (field.end_lineno or first) + 1) if n in comments]
            found[field.target.id] = _joined(texts)
    return found


def _joined(lines: list[str]) -> str:
    """Comment lines as running text; a heading without a full stop ends in a colon."""
    text = ""
    for line in lines:
        begins_anew = line[:1].isupper() or line[:1] in "\"'"
        text += f": {line}" if text and begins_anew and text[-1] not in ".,;:" else f" {line}"
    return " ".join(text.split())

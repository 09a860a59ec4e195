"""What all verbs have in common: how they speak, and what they answer."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from instascene_core.errors import InputError


@dataclass(frozen=True)
class Manner:
    """How the command speaks."""

    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the result as JSON on stdout and all else on stderr."""
    quiet: tyro.conf.FlagCreatePairsOff[bool] = False
    """No progress and no tables: warnings and errors only, and what --json asks for."""


@dataclass(frozen=True)
class Answer:
    """What a verb has done."""

    facts: Mapping[str, Any] | Sequence[Any]  # for --json; the units are in the names
    problem: InputError | None = None  # what is wrong with it all the same: NothingFound, say


def as_json(facts: object) -> str:
    """Facts as JSON that every parser takes: numbers that are none (NaN, infinite) as null, paths as text."""
    return json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value

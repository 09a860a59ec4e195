"""All settings as a YAML file with their meanings: what `config_file` reads, written for a person."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from instascene_core.config import Config
from instascene_core.config.descriptions import Setting, described_settings
from instascene_core.config.ranges import DEFAULT, MAX_INT
from instascene_core.errors import InputError

_WIDTH = 100  # of a line of comment, indentation included


def listed(config: Config, begins: Sequence[str] = ()) -> list[Setting]:
    """The settings of a configuration in its order; begins: only those below these names.

    Raises InputError for a name under which there is nothing.
    """
    settings = described_settings(config)
    for name in begins:
        if not any(_is_below(setting.name, name) for setting in settings):
            raise InputError(f"There is no setting '{name}' and no section of that name.")
    return [s for s in settings if not begins or any(_is_below(s.name, name) for name in begins)]


def _is_below(name: str, section: str) -> bool:
    return name == section or name.startswith(f"{section.rstrip('.')}.")


def as_yaml(settings: Sequence[Setting]) -> str:
    """The settings as nested YAML, each below its meaning."""
    return "\n".join(_lines(settings)) + "\n"


def _lines(settings: Sequence[Setting]) -> Iterator[str]:
    open_sections: list[str] = []
    for setting in settings:
        *sections, name = setting.name.split(".")
        if sections != open_sections:
            shared = next(
                (i for i, pair in enumerate(zip(sections, open_sections)) if pair[0] != pair[1]),
                min(len(sections), len(open_sections)),
            )
            for depth in range(shared, len(sections)):
                yield f"{'  ' * depth}{sections[depth]}:"
            open_sections = sections
        indent = "  " * len(sections)
        for line in textwrap.wrap(meaning(setting), _WIDTH - len(indent) - 2, break_on_hyphens=False):
            yield f"{indent}# {line}"
        yield f"{indent}{name}: {_value(setting.value)}"


def meaning(setting: Setting) -> str:
    """What it means and what it may be, as one text."""
    return " ".join(part for part in (setting.description, _allowed(setting)) if part)


def _allowed(setting: Setting) -> str:
    """What a setting may be, in brackets; "" for what its value shows already."""
    limits, choices = setting.range, setting.choices
    if choices and limits is None:
        return f"({' | '.join(choices)})"
    if limits in (None, DEFAULT) or limits.low == float("-inf"):
        return ""
    if limits.high < MAX_INT:
        return f"({limits.low:g} … {limits.high:g})"
    return f"({'more than' if limits.open else 'at least'} {limits.low:g})"


def _value(value: Any) -> str:
    """As YAML on one line; None, which YAML has no word for in ROS, as an empty string."""
    value = "" if value is None else list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()

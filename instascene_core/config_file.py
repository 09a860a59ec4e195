"""Settings from YAML files, `KEY=VALUE` words and ROS parameters, checked against `config.Config`.

A setting is named by its path, `reconstruction.iterations`.  An unknown name, a wrong type or a
list of the wrong length is refused with one sentence; what is not mentioned keeps its default.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from instascene_core.config import Config
from instascene_core.errors import InputError


def load_config(path: Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """The defaults, overlaid by the YAML file `path`, overlaid by `KEY=VALUE` words.

    The YAML file holds nested mappings; a ROS parameter file (`node_name: ros__parameters: …`)
    is for the node, not for this.  Raises InputError.
    """
    settings = flatten(read_yaml(path)) if path is not None else {}
    for word in overrides:
        key, separator, text = word.partition("=")
        if not separator:
            raise InputError(f"'{word}' is not of the form KEY=VALUE, e.g. reconstruction.iterations=500.")
        settings[key.strip()] = _parse_yaml(text, word)
    return config_with(Config(), settings)


def read_yaml(path: Path) -> dict:
    """The mapping in a YAML file."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The configuration {path} cannot be read: {error}.") from error
    values = _parse_yaml(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"The configuration {path} must hold KEY: VALUE lines.")
    return values


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def settings_of(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting of a (nested) dataclass by its path."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            flat.update(settings_of(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def config_with(config: Any, settings: Mapping[str, Any]) -> Any:
    """A copy of the (nested) dataclass `config` with `settings` (by path) replaced and checked."""
    known = settings_of(config)
    for key in settings:
        if key not in known:
            raise InputError(_unknown(key, list(known)))
    return _replace(config, settings, "")


def _replace(config: Any, settings: Mapping[str, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            changes[field.name] = _replace(value, settings, f"{name}.")
        elif name in settings:
            changes[field.name] = convert(settings[name], hints[field.name], name)
    return dataclasses.replace(config, **changes)


def convert(value: Any, annotation: Any, name: str) -> Any:
    """`value` as the type a dataclass field asks for; InputError naming the setting otherwise."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        inner = [a for a in arguments if a is not type(None)]
        return convert(value, inner[0], name)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise InputError(f"The setting '{name}' takes a list, got {value!r}.")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(arguments) != len(value):
            raise InputError(f"The setting '{name}' takes {len(arguments)} values, got {len(value)}.")
        return tuple(convert(v, a, name) for v, a in zip(value, arguments))
    if origin is typing.Literal:
        if value not in arguments:
            raise InputError(f"The setting '{name}' takes one of {arguments}, got {value!r}.")
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is float and is_number:
        return float(value)
    if annotation is int and is_number and float(value).is_integer():
        return int(value)
    if annotation in (bool, str) and isinstance(value, annotation):
        return value
    if annotation is Path and isinstance(value, (str, Path)):
        return Path(value)
    kind = getattr(annotation, "__name__", str(annotation))
    raise InputError(f"The setting '{name}' takes a value of type {kind}, got {value!r}.")


def _unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    if not close:  # perhaps the right name in the wrong section
        close = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    return f"There is no setting '{key}'" + (f"; did you mean '{close[0]}'?" if close else ".")


def _parse_yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        raise InputError(f"{where} is not valid YAML (line {line}).") from error

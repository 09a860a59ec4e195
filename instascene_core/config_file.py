"""Settings from YAML files, `KEY=VALUE` words and ROS parameters, checked against `config.Config`.

A setting is named by its path, `reconstruction.iterations`.  An unknown name, a wrong type, a list of the
wrong length or a value out of its range (`config.ranges`) is refused with one sentence; what is not mentioned
keeps its default.
"""

import dataclasses
import difflib
import functools
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from instascene_core.config import Config
from instascene_core.config.ranges import first_fault
from instascene_core.errors import InputError
from instascene_core.untrusted import MAX_INTEGER, parse_yaml, read_yaml

logger = logging.getLogger(__name__)

UP = "The setting 'up' takes auto, a direction (three numbers, up=[0,0,1]) or an empty list, not {}."
SCENE_NODE = "scene_node"  # whose parameters the settings are, in ROS parameter files


def load_config(path: Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """The defaults, overlaid by the YAML file `path`, overlaid by `KEY=VALUE` words.

    The YAML file holds nested mappings, as they are or as a ROS parameter file (`/**: ros__parameters: …`):
    of that, parameters that only nodes have are left out and named.  Raises InputError.
    """
    settings = _without_ros(read_settings(path), path) if path is not None else {}
    for word in overrides:
        key, separator, text = word.partition("=")
        if not separator:
            raise InputError(f"'{word}' is not of the form KEY=VALUE, e.g. reconstruction.iterations=500.")
        settings[key.strip()] = _listed(key.strip(), parse_yaml(text, f"'{word}'"))
    return config_with(Config(), settings)


def _listed(key: str, value: Any) -> Any:
    """The value, a list where a setting takes one and words or numbers are given (`up=0 0 1`, `a, b`)."""
    usual = settings_of(Config()).get(key)
    if not isinstance(value, str) or not (isinstance(usual, tuple) or key == "up"):
        return value
    words = [parse_yaml(word, f"'{word}'") for word in value.replace(",", " ").split()]
    are_numbers = all(isinstance(word, (int, float)) for word in words)
    return words if are_numbers or key != "up" else value


def _without_ros(values: dict, path: Path) -> dict[str, Any]:
    """The settings by path in a configuration, or in a ROS parameter file: those for all nodes and those for
    scene_node, or for the only node that it names."""
    nodes = dict(_nodes(values))
    if not nodes:
        return flatten(values)
    if beside := [key for key in values if not dict(_nodes({key: values[key]}))]:
        raise InputError(f"{path}: '{beside[0]}' stands beside `ros__parameters`; put it below them.")
    named = [name for name in nodes if name.rpartition("/")[2] not in ("*", "**")]
    ours = [name for name in named if name.rpartition("/")[2] == SCENE_NODE] or named[:1]
    others = [name for name in named if name not in ours] if len(named) > 1 else []
    given = {k: v for name, inner in nodes.items() if name not in others for k, v in flatten(inner).items()}
    sections = {name.partition(".")[0] for name in settings_of(Config())}
    settings = {key: value for key, value in given.items() if key.partition(".")[0] in sections}
    if left_out := [*(f"all of {name}" for name in others), *(key for key in given if key not in settings)]:
        logger.warning(
            "%s: left out are parameters that only nodes have: %s; `instascene run --help` tells of options",
            path, ", ".join(left_out),
        )  # fmt: skip
    return settings


def _nodes(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, dict]]:
    """(name with its namespaces, parameters) of every node in a ROS parameter file."""
    for key, value in values.items():
        if isinstance(value, dict):
            name = f"{above}/{str(key).strip('/')}"
            inner = value.get("ros__parameters", {})
            if "ros__parameters" in value and isinstance(inner, dict | None):
                yield name, inner or {}
            yield from _nodes({k: v for k, v in value.items() if k != "ros__parameters"}, name)


def read_settings(path: Path) -> dict:
    """The mapping in a YAML file."""
    values = read_yaml(path, "The configuration")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"The configuration {path} must hold KEY: VALUE lines.")
    return values


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}; InputError where {"a.b": 2} stands beside it."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found = flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
        if twice := sorted(flat.keys() & found.keys()):
            raise InputError(f"The setting '{twice[0]}' is given twice; leave one.")
        flat.update(found)
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
    """A copy of the (nested) dataclass `config` with `settings` (by path) replaced and checked.

    A whole number such as 3.0 is an int as well, an int is a float as well, a list becomes a tuple; words of
    a choice may be written in any case.
    Raises InputError with one sentence that names the setting.
    """
    values = settings_of(config)
    if isinstance(config, Config):  # files and folders: nobody else makes `~` the home
        settings = {k: _at_home(v) for k, v in settings.items()}
    # A section of a YAML file with nothing in it says nothing.
    settings = {k: v for k, v in settings.items() if v is not None or k in values or not _is_group(k, values)}
    for key in settings:
        if key not in values:
            raise InputError(_unknown(key, list(values)))
    for key, value in settings.items():
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise InputError(f"The setting '{key}' is out of range: a whole number has at most 63 bits.")
    # From JSON, strict pydantic takes a list for a tuple and a text for a path, but no text for a number.
    text = json.dumps(_nest({**values, **settings}))
    try:
        checked = _checker(type(config)).validate_json(text, strict=True)
    except ValidationError as error:
        lower = _choices_in_lower_case(settings, error)
        if lower != settings:
            return config_with(config, lower)
        raise InputError(_refusal(error, {**values, **settings})) from error
    if sentence := first_fault(checked, settings.keys()):
        raise InputError(sentence)
    up = checked.up if isinstance(checked, Config) else ()
    if up and up != "auto" and (len(up) != 3 or not any(up)):
        raise InputError(UP.format(list(up)))
    return checked


def _at_home(value: Any) -> Any:
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~/") else value


def _is_group(key: str, known: Iterable[str]) -> bool:
    return any(k.startswith(f"{key}.") for k in known)


@functools.cache
def _checker(kind: type) -> TypeAdapter:
    return TypeAdapter(kind)


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} → {"a": {"b": 1}}, in types of JSON."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, name = path.split(".")
        section = functools.reduce(lambda inner, key: inner.setdefault(key, {}), sections, nested)
        section[name] = _json_value(value)
    return nested


def _json_value(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_json_value(v) for v in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # strict pydantic takes 3 for a float, but not 3.0 for an int
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    return {type(value).__name__: str(value)}  # a date of YAML, for example: no setting takes a mapping


def _choices_in_lower_case(settings: Mapping[str, Any], error: ValidationError) -> dict[str, Any]:
    """The settings, those that are refused as no word of a choice in lower case, as all choices are."""
    refused = {".".join(map(str, e["loc"])) for e in error.errors() if e["type"] == "literal_error"}
    lower = dict(settings)
    for name, value in settings.items():
        if any(f"{location}.".startswith(f"{name}.") for location in refused):
            words = value if isinstance(value, (list, tuple)) else [value]
            words = [word.lower() if isinstance(word, str) else word for word in words]
            lower[name] = type(value)(words) if isinstance(value, (list, tuple)) else words[0]
    return lower


_TYPE_NAMES = {"int_type": "int", "float_type": "float", "bool_type": "bool", "string_type": "str"}


def _refusal(error: ValidationError, given: Mapping[str, Any]) -> str:
    """One sentence about the first thing that is wrong; `given`: the values of all settings by path."""
    errors = error.errors(include_url=False)
    kind, value, context = errors[0]["type"], errors[0]["input"], errors[0].get("ctx", {})
    # After the setting's own path come indices into its list and members of a union.
    location = ".".join(map(str, errors[0]["loc"]))
    name = max((path for path in given if f"{location}.".startswith(f"{path}.")), key=len, default=location)
    if name == "up":
        return UP.format(repr(given[name]))
    shown = repr(value)
    if isinstance(value, dict) and name in given:  # what no JSON could hold was wrapped
        shown = str(given[name])
    if kind in _TYPE_NAMES:
        takes = f"a value of type {_TYPE_NAMES[kind]}"
    elif kind == "literal_error":
        takes = f"one of {context['expected']}"
    elif kind == "tuple_type":
        takes = "a list"
    elif kind in ("missing", "too_long"):  # a tuple lacks elements (one error each), or has too many
        count = context.get("max_length", len(value) + sum(e["type"] == "missing" for e in errors))
        takes, shown = f"{count} values", str(len(value))
    else:
        return f"The setting '{name}' cannot be {shown}: {errors[0]['msg']}."
    return f"The setting '{name}' takes {takes}, got {shown}."


# Settings whose last word changed as well when they moved.
_RENAMED = {
    "completion.convex_max_triangles": "completion.convex_parts.max_triangles",
    "completion.max_convex_parts": "completion.convex_parts.max_parts",
    "completion.max_points": "completion.observing.max_points",
    "completion.max_triangles": "completion.meshing.max_triangles",
    "completion.max_views": "completion.observing.max_views",
    "segmentation.cropformer_config": "segmentation.public.cropformer.config",
    "segmentation.cropformer_root": "segmentation.public.cropformer.root",
    "segmentation.sam2_min_predicted_iou": "segmentation.public.sam2.min_predicted_iou",
    "segmentation.sam2_min_stability": "segmentation.public.sam2.min_stability",
    "segmentation.sam2_points_per_batch": "segmentation.public.sam2.points_per_batch",
    "segmentation.sam2_points_per_side": "segmentation.public.sam2.points_per_side",
    "segmentation.sam2_stability_offset": "segmentation.public.sam2.stability_offset",
}


def present_name(key: str, known: Iterable[str]) -> str | None:
    """The path that a setting has in this version: `key`, or where an earlier version's has moved to.

    None where there is none, or where more than one could be meant.
    """
    known = set(known)
    if key in known:
        return key
    if _RENAMED.get(key) in known:
        return _RENAMED[key]
    section, name = key.partition(".")[0], key.rpartition(".")[2]
    moved = [k for k in known if k.partition(".")[0] == section and k.rpartition(".")[2] == name]
    return moved[0] if len(moved) == 1 else None


def _unknown(key: str, known: list[str]) -> str:
    members = [k for k in known if k.startswith(f"{key}.")]
    if members:
        return f"'{key}' is a group of settings; name one of them, such as {members[0]}."
    moved = present_name(key, known)
    if moved is not None:
        return f"There is no setting '{key}'; did you mean '{moved}'?"
    # The right name at another place is meant rather than a similar one, first of all within its section.
    same = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    nearby = [k for k in same if k.partition(".")[0] == key.partition(".")[0]]
    close = difflib.get_close_matches(key, nearby or same or known, n=1, cutoff=0.0 if same else 0.6)
    return f"There is no setting '{key}'" + (f"; did you mean '{close[0]}'?" if close else ".")

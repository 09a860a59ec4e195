"""A file that says what is known of masses and frictions:

default: {friction: 0.7}
materials:
  ceramic: {density_kg_m3: 2400, friction: 0.5}
objects:
  3: {material: ceramic}
  5: {mass_kg: 0.31}
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instascene_core.errors import InputError
from instascene_core.untrusted import read_yaml

# Entry → the number's upper bound; all are more than 0, but friction, which may be 0.
NUMBERS = {"mass_kg": 1e4, "density_kg_m3": 3e4, "friction": 10.0}


@dataclass(frozen=True)
class Known:
    """Of one object; None where the file says nothing."""

    material: str = ""
    mass: float | None = None  # kg
    density: float | None = None  # kg/m³ of the mesh's volume
    friction: float | None = None


def known_of(file: str, instance_id: int) -> Known:
    """What the file says of an object; nothing without a file.  Raises InputError for a file that is no such
    description."""
    if not file:
        return Known()
    saved = _read(str(Path(file).absolute()))
    own = saved["objects"].get(instance_id, {})
    facts = {**saved["default"], **own}
    material = facts.get("material", "")
    if material:
        facts = {**saved["default"], **saved["materials"][material], **own}
    return Known(material, facts.get("mass_kg"), facts.get("density_kg_m3"), facts.get("friction"))


def objects_elsewhere(file: str, ids: Iterable[int]) -> str:
    """One sentence where the file tells of objects that are not among `ids`, those of a scene; else nothing.

    A file may be of several scenes; but ids change when a scene is made anew, and masses go to other things.
    """
    if not file:
        return ""
    known = set(ids)
    others = sorted(set(_read(str(Path(file).absolute()))["objects"]) - known)
    if not others:
        return ""
    named, there = (", ".join(map(str, numbers[:8])) for numbers in (others, sorted(known)))
    return f"{file} tells of objects that this scene does not have: {named}; its ids are {there or 'none'}"


def require_known(file: str) -> None:
    """InputError for a file that is no such description; to be asked before the long work."""
    if file:
        _read(str(Path(file).absolute()))


@functools.lru_cache(maxsize=1)  # the objects of a scene ask one after another
def _read_once(file: str, _changed: int) -> dict[str, dict]:
    saved = read_yaml(Path(file), "The physics file") or {}
    sections = ("default", "materials", "objects")
    if not isinstance(saved, dict) or set(saved) - set(sections):
        raise InputError(f"{file} must have the sections {', '.join(sections)} and nothing else.")
    found = {name: saved.get(name) or {} for name in sections}
    if any(not isinstance(section, dict) for section in found.values()):
        raise InputError(f"{file}: its sections must be of the form NAME: VALUE.")
    _require_facts(found["default"], f"{file}: default", ("friction", "density_kg_m3"))
    for name, facts in found["materials"].items():
        _require_facts(facts, f"{file}: material {name}", ("density_kg_m3", "friction"))
    for name, facts in found["objects"].items():
        if not isinstance(name, int) or isinstance(name, bool):
            raise InputError(f"{file}: objects are named by their ids, not by {name!r}.")
        _require_facts(facts, f"{file}: object {name}", ("material", *NUMBERS))
        if facts.get("material", "") not in ("", *found["materials"]):
            raise InputError(
                f"{file}: object {name} is of '{facts['material']}', which is not in `materials`."
            )
    return found


def _read(file: str) -> dict[str, dict]:
    try:
        changed = Path(file).stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"The physics file {file} cannot be read: {error.strerror}.") from error
    return _read_once(file, changed)


def _require_facts(facts: Any, where: str, allowed: tuple[str, ...]) -> None:
    """InputError where `facts` has other entries than those allowed, or values that cannot be."""
    if not isinstance(facts, dict):
        raise InputError(f"{where} must be of the form {{{allowed[0]}: VALUE}}.")
    for name, value in facts.items():
        if name not in allowed:
            raise InputError(f"{where}: '{name}' is not known; known are {', '.join(allowed)}.")
        if name == "material":
            if not isinstance(value, str):
                raise InputError(f"{where}: material must be a name.")
            continue
        usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not usable or not 0 <= value <= NUMBERS[name] or (value == 0 and name != "friction"):
            raise InputError(f"{where}: {name} must be a number up to {NUMBERS[name]:g}, not {value!r}.")

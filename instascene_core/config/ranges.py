"""What values a setting may take, said beside it: `Annotated[int, Range(1)]`, or by a name from here.

`config_file` checks every value that a file, a command line or a ROS parameter gives.  A number that says
nothing of its range must be finite and not negative.
"""

import dataclasses
import functools
import typing
from dataclasses import dataclass
from typing import Annotated, Any

MAX_INT = 2**31 - 1


@dataclass(frozen=True)
class Range:
    """From `low` (itself only where not `open`) to `high`."""

    low: float = 0.0
    high: float = float("inf")  # itself included, but never infinity
    open: bool = False

    def fault(self, value: float) -> str:
        """What a value should be, for a sentence; "" where it lies inside."""
        if value != value or value in (float("inf"), float("-inf")):
            return "be a finite number"
        if value < self.low or (self.open and value == self.low):
            return f"be {'more than' if self.open else 'at least'} {self.low:g}"
        if value > (min(self.high, MAX_INT) if isinstance(value, int) else self.high):
            return f"be at most {min(self.high, MAX_INT) if isinstance(value, int) else self.high:g}"
        return ""


Count = Annotated[int, Range(1)]  # of something there must be
Positive = Annotated[float, Range(open=True)]
Share = Annotated[float, Range(0, 1)]  # a part of a whole, a probability, a fraction of the run
Cosine = Annotated[float, Range(-1, 1)]
Angle = Annotated[float, Range(0, 180)]  # degrees
Rate = Annotated[float, Range(0, 1)]  # of learning: beyond 1, Adam only throws parameters about
Signed = Annotated[float, Range(float("-inf"))]
Seed = Annotated[int, Range()]

DEFAULT = Range()


def range_of(kind: type, name: str) -> Range:
    """The range beside the field `name` of a configuration class."""
    return next((r for r in _metadata(_hints(kind)[name]) if isinstance(r, Range)), DEFAULT)


def hint_of(kind: type, name: str) -> Any:
    """The type of the field `name` of a configuration class, without its range."""
    return typing.get_type_hints(kind)[name]


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _metadata(hint: Any) -> list[Any]:
    """What is annotated to a type or to the members of a tuple or union."""
    found = list(getattr(hint, "__metadata__", ()))
    return found + [m for part in typing.get_args(hint) for m in _metadata(part)]


def first_fault(config: Any, given: typing.Collection[str], prefix: str = "") -> str:
    """A sentence about the first setting of `given` (paths) out of its range; "" where there is none."""
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            if sentence := first_fault(value, given, f"{name}."):
                return sentence
        elif name in given:
            allowed = range_of(type(config), field.name)
            for number in value if isinstance(value, tuple) else (value,):
                is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
                if is_number and (fault := allowed.fault(number)):
                    return f"The setting '{name}' must {fault}, not {_shown(number)}."
    return ""


def _shown(number: float) -> str:
    return f"{number:g}" if abs(number) > 1e9 or isinstance(number, float) else str(number)

"""What no request may hold, whichever it is: numbers that are none, and times that run backwards."""

import math
from collections.abc import Iterator
from typing import Any

from instascene_core.errors import InputError


def require_sensible(request: Any) -> None:
    """InputError where a number of a ROS message is NaN or infinite, or a time (`*_s`, seconds) negative."""
    for name, number in _numbers(request, ""):
        if not math.isfinite(number):
            raise InputError(f"'{name}' of the request must be a finite number, not {number}.")
        if name.endswith("_s") and number < 0:
            raise InputError(f"'{name}' of the request is a time in seconds and must not be negative.")


def _numbers(message: Any, prefix: str) -> Iterator[tuple[str, float]]:
    """All floats of a message by their paths, those of nested messages included."""
    for name in message.get_fields_and_field_types():
        value, path = getattr(message, name), f"{prefix}{name}"
        if isinstance(value, float):
            yield path, value
        elif hasattr(value, "get_fields_and_field_types"):
            yield from _numbers(value, f"{path}.")

"""Numbers as a person reads them: rounded, with their unit."""

import math
from collections.abc import Mapping
from typing import Any

UNKNOWN = "unknown"
NARROW = "\u00a0"  # between a number and its unit, where no line may break


def number(value: Any) -> float | None:
    """A finite number of a file; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def group(facts: Mapping, name: str) -> Mapping[str, Any]:
    """A group of a JSON object; empty where there is none."""
    value = facts.get(name)
    return value if isinstance(value, Mapping) else {}


def rounded(value: float, digits: int = 2) -> str:
    """With that many significant digits, thousands apart, and no power of ten."""
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, places):,.{max(places, 0)}f}"


def figure(value: Any) -> str:
    """A number of four digits at most, or whatever stands there."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else UNKNOWN
    return f"{value:,}" if isinstance(value, int) else str(value)


def sizes(metres: Any) -> str:
    """`12.3 × 8.1 × 20.4 cm` of three metres."""
    values = [number(m) for m in metres]
    return " × ".join(UNKNOWN if v is None else f"{100 * v:.1f}" for v in values) + f"{NARROW}cm"


def millimetres(metres: Any) -> str:
    value = number(metres)
    return UNKNOWN if value is None else f"{1000 * value:.1f}{NARROW}mm"


def volume(cubic_metres: Any) -> str:
    value = number(cubic_metres)
    if value is None:
        return UNKNOWN
    return f"{rounded(1e3 * value)}{NARROW}litres" if value >= 1e-3 else f"{rounded(1e6 * value)}{NARROW}cm³"


def mass(kilograms: Any) -> str:
    value = number(kilograms)
    if value is None:
        return UNKNOWN
    return f"{rounded(value)}{NARROW}kg" if value >= 1 else f"{rounded(1000 * value)}{NARROW}g"


def percent(share: Any) -> str:
    value = number(share)
    return UNKNOWN if value is None else f"{100 * value:.0f}{NARROW}%"


def duration(seconds: Any) -> str:
    value = number(seconds)
    if value is None:
        return UNKNOWN
    if value < 10:
        return f"{value:.1f}{NARROW}s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}{NARROW}min {rest}{NARROW}s" if minutes else f"{rest}{NARROW}s"


def memory(megabytes: Any) -> str:
    value = number(megabytes)
    if value is None:
        return UNKNOWN
    return f"{value / 1000:.1f}{NARROW}GB" if value >= 1000 else f"{value:.0f}{NARROW}MB"


def counted(count: int, thing: str) -> str:
    """`1 object`, `3 objects`."""
    return f"{count} {thing}" if count == 1 else f"{count:,} {thing}s"


def listed(names: list[str], most: int = 8) -> str:
    """`1, 2 and 3`."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

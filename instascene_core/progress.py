"""The one way long work reports how far it is."""

import time
from collections.abc import Callable

from instascene_core.errors import InputError

# (stage name, fraction done in [0, 1], short message).  A callback may raise `errors.Cancelled`
# to stop the work; the worker leaves its data consistent.
ProgressCallback = Callable[[str, float, str], None]


def no_progress(stage: str, fraction: float, message: str = "") -> None:
    """Ignore progress (the default callback)."""


def within(progress: ProgressCallback, end: float) -> ProgressCallback:
    """`progress` for what comes before the first result: once perf_counter() has passed `end`, it stops the
    work with InputError."""

    def bounded(stage: str, fraction: float, message: str = "") -> None:
        require_time(end, f"{stage}, {100 * fraction:.0f} % done")
        progress(stage, fraction, message)

    return bounded


def require_time(end: float, where: str) -> None:
    """Raise InputError where perf_counter() has passed `end`, the end of a time budget."""
    if time.perf_counter() > end:
        raise InputError(
            f"The time budget was over before the optimisation began ({where}); allow more seconds, or use "
            "fewer or smaller images."
        )

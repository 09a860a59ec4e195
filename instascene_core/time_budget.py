"""A time budget while there is no result yet that it could cut short."""

import time

from instascene_core.errors import InputError
from instascene_core.progress import ProgressCallback


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

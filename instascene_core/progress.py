"""The one way long work reports how far it is."""

from collections.abc import Callable

# (stage name, fraction done in [0, 1], short message).  A callback may raise `errors.Cancelled`
# to stop the work; the worker leaves its data consistent.
ProgressCallback = Callable[[str, float, str], None]


def no_progress(stage: str, fraction: float, message: str = "") -> None:
    """Ignore progress (the default callback)."""

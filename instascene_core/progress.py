"""The one way long work reports how far it is."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

# (stage name, fraction done in [0, 1], short message).  A callback may raise `errors.Cancelled`
# to stop the work; the worker leaves its data consistent.
ProgressCallback = Callable[[str, float, str], None]


def no_progress(stage: str, fraction: float, message: str = "") -> None:
    """Ignore progress (the default callback)."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)


def told(items: Sequence[T], progress: ProgressCallback, stage: str) -> Iterator[tuple[int, T]]:
    """Number and item (a frame, say), one after another: each is told by its name before the work on it
    begins, and the end after the last, so that a stage that is done says so."""
    for index, item in enumerate(items):
        progress(stage, index / len(items), item.name)
        yield index, item
    progress(stage, 1.0, f"{len(items)} frames")

"""What a reader noticed about a recording and did something about: said once, counted where it recurs."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


class Remarks:
    """Sentences about one recording, each logged once, and counts of what was left out while reading."""

    def __init__(self, source: object = "the recording") -> None:
        """source: what the sentences are about: a path, say."""
        self._source = source
        self._said: dict[str, None] = {}
        self._counts: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._left_out: dict[str, str] = {}

    @property
    def sentences(self) -> tuple[str, ...]:
        """Everything said so far."""
        return tuple(self._said)

    @property
    def counts(self) -> dict[str, int]:
        """What → how many were left out so far."""
        return dict(self._counts)

    @property
    def left_out(self) -> dict[str, str]:
        """Names of the frames left out while reading, and why."""
        return dict(self._left_out)

    def leave_out(self, frame: str, reason: str, what: str) -> None:
        """Log that a frame is left out, and count it as one of `what`."""
        self.say(f"{reason.rstrip('.')}; the frame is left out")
        self.count(what, int(frame not in self._left_out))
        self._left_out[frame] = reason

    def say(self, sentence: str) -> None:
        """Log `sentence`, unless it was said before."""
        if sentence not in self._said:
            self._said[sentence] = None
            logger.warning("%s: %s", self._source, sentence)

    def count(self, what: str, number: int = 1) -> None:
        """Count `number` of `what`; `report` says them."""
        if number:
            self._counts[what] += number

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """While images are read for another purpose than to be used: what is left out counts only once."""
        before = self._counts.copy()
        yield
        self._counts = before

    def report(self) -> None:
        """Log the counts that changed since the last report."""
        if self._counts != self._reported:
            text = ", ".join(f"{number} {what}" for what, number in self._counts.items())
            logger.warning("%s: ignored: %s", self._source, text)
            self._reported = self._counts.copy()

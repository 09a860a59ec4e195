"""Errors of a node: one sentence each, counted by kind.

No ROS in here: it can be tested with plain functions.
"""

import logging
import math
import re
import threading
import time
from collections import Counter
from typing import NamedTuple

from instascene_core.errors import Cancelled, InputError, outside_cause
from instascene_core.untrusted import one_line

logger = logging.getLogger(__name__)

TROUBLED_S = 10.0  # after an error; one wrong request does not colour the node for ever
MAX_REMEMBERED = 1000  # different sentences; further ones are counted but no longer logged
MAX_CHARACTERS = 2000  # of a sentence
NUMBER = re.compile(r"\d+(\.\d+)?")


class ErrorSummary(NamedTuple):
    """What an ErrorLog holds at one moment."""

    counts: dict[str, int]  # by kind
    newest: str  # sentence; empty before there is one


class ErrorLog:
    """Counts errors by kind and keeps the newest; shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._newest, self._newest_at = "", -math.inf
        self._seen: set[str] = set()

    def add(self, kind: str, sentence: str) -> bool:
        """Count one; True when this sentence, numbers aside, was not seen before."""
        sentence = one_line(sentence, MAX_CHARACTERS)  # messages may hold any text, and have it quoted
        shape = NUMBER.sub("#", sentence)
        with self._lock:
            self._counts[kind] += 1
            self._newest, self._newest_at = sentence, time.monotonic()
            is_new = shape not in self._seen and len(self._seen) < MAX_REMEMBERED
            self._seen.add(shape)
            return is_new

    def report(self, kind: str, sentence: str) -> None:
        """Count one; log it the first time it comes in these words."""
        if self.add(kind, sentence):
            logger.warning("%s: %s", kind, one_line(sentence, MAX_CHARACTERS))

    def snapshot(self) -> ErrorSummary:
        with self._lock:
            return ErrorSummary(dict(self._counts), self._newest)

    @property
    def is_troubled(self) -> bool:
        """Whether something went wrong in the last `TROUBLED_S` seconds."""
        with self._lock:
            return time.monotonic() - self._newest_at < TROUBLED_S

    def clear(self) -> None:
        with self._lock:
            self._counts.clear()
            self._seen.clear()
            self._newest, self._newest_at = "", -math.inf


def describe(error: BaseException) -> str:
    """An exception as one sentence for a person."""
    if isinstance(error, InputError):
        return one_line(error, MAX_CHARACTERS)
    if isinstance(error, Cancelled):
        return " ".join(str(error).split()) or "The work was cancelled."
    if known := outside_cause(error):
        return known
    text = " ".join(str(error).split())[:300]
    return f"Internal error ({type(error).__name__}: {text}); the scene is kept, see the log of the node."

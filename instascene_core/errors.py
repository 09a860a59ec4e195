"""Errors whose message is one sentence for a person: what is wrong and what to do next."""

import signal


class InputError(ValueError):
    """The user's data, parameters or request cannot be used; the message says why in one sentence.

    Command-line tools print it and exit non-zero, services answer `success: false` with it.
    """


class MissingDependencyError(InputError):
    """An optional library is absent; the message says what to install."""


class needs:
    """`with needs("mujoco", "Settling needs MuJoCo; …"): import mujoco`: MissingDependencyError with that
    sentence where the package is absent.  Whatever else fails inside is raised as it is."""

    def __init__(self, package: str, sentence: str) -> None:
        self._package, self._sentence = package, sentence

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == self._package:
            raise MissingDependencyError(self._sentence) from error


class DamagedImage(InputError):
    """An image of a recording cannot be decoded; where it is one of many, the others are used."""


class NotReadyError(InputError):
    """The request came before the scene it needs exists; the message says what to call first."""


class NothingFound(InputError):
    """The work was done and found nothing; the message says what was looked at and what to try.

    Command-line tools end with exit status 3 after it.
    """


def outside_cause(error: BaseException) -> str | None:
    """One sentence about an error that the machine or a file caused: no memory, a disk that is full or cannot
    be read.  None for a fault of the program, and for InputError, which says itself what is wrong."""
    if is_out_of_memory(error):
        return "There is not enough memory for this; use fewer frames or smaller images (--scale)."
    if isinstance(error, OSError) and error.strerror:
        where = f" ({str(error.filename)[:200]})" if error.filename else ""
        return f"A file cannot be read or written{where}: {error.strerror}."
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, whoever said so."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in _NO_MEMORY)


# How torch's allocator, its operators and OpenCV say it: as RuntimeError or cv2.error.
_NO_MEMORY = (
    "DefaultCPUAllocator", "not enough memory", "can't allocate memory", "Insufficient memory",
    "out of memory", "Storage size calculation overflowed",
)  # fmt: skip


class Terminated(KeyboardInterrupt):
    """SIGTERM: another program, a container's or a queue's end, wants what Ctrl-C does."""


def stopped_by(signal_number: int) -> str:
    """How sentences call what stopped the program."""
    return "SIGTERM" if signal_number == signal.SIGTERM else "Ctrl-C"


def signal_of(error: KeyboardInterrupt) -> int:
    """The number of the signal that an interruption stands for."""
    return signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT


class Cancelled(Exception):
    """Raised out of long work by a progress callback that wants it to stop."""

"""Where the command `instascene` begins.

Loading the command takes part of a second, in which Ctrl-C would print a traceback of the import that it
hit, and SIGTERM end it without a word.  Nothing is open then, so that the signal may simply end the process.
"""

import os
import signal


def main() -> None:
    """Run the command; Ctrl-C and SIGTERM end it with a sentence, status 130 and 143, at any time."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    from instascene_core.cli import main as run

    run()


def _stop(number: int, _frame: object) -> None:
    cause = b"SIGTERM" if number == signal.SIGTERM else b"Ctrl-C"
    os.write(2, b"instascene: Stopped by %b before the work began.\n" % cause)
    os._exit(128 + number)

"""Where the command `instascene` begins.

Loading the command takes part of a second, in which Ctrl-C would print a traceback of the import that it
hit.  Nothing is open then, so that the signal may simply end the process.
"""

import os
import signal


def main() -> None:
    """Run the command; Ctrl-C ends it with a sentence and exit status 130 at any time."""
    signal.signal(signal.SIGINT, _stop)
    from instascene_core.cli import main as run

    run()


def _stop(_number: int, _frame: object) -> None:
    os.write(2, b"instascene: Stopped by Ctrl-C before the work began.\n")
    os._exit(130)

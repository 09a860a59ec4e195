"""Where the command `instascene` begins.

Loading the command takes part of a second, in which Ctrl-C would print a traceback of the import that it
hit.  Nothing is open then, so that the signal may simply end the process.
"""

import signal


def main() -> None:
    """Run the command; Ctrl-C ends it without a word at any time."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from instascene_core.cli import main as run

    run()

"""The `instascene` command and its verbs; `--help` on each."""

import logging
import os
import signal
import sys
import threading

import tyro

from instascene_core.errors import InputError, NothingFound, outside_cause
from instascene_core.untrusted import one_line
from instascene_core.verbs.complete import Complete
from instascene_core.verbs.config import ShowConfig
from instascene_core.verbs.doctor import Doctor
from instascene_core.verbs.eval import Eval
from instascene_core.verbs.export import Export
from instascene_core.verbs.poses import Poses
from instascene_core.verbs.run import Run
from instascene_core.verbs.settle import Settle
from instascene_core.verbs.synth import Synth
from instascene_core.verbs.view import View


def main(arguments: list[str] | None = None) -> None:
    """Entry point: one sentence and exit status 1 for bad input, 3 where nothing was found, 130 after Ctrl-C,
    never a traceback (INSTASCENE_DEBUG=1 shows that of an internal error)."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    commands = {
        "run": Run, "poses": Poses, "complete": Complete, "export": Export, "view": View, "eval": Eval,
        "synth": Synth, "settle": Settle, "config": ShowConfig, "doctor": Doctor,
    }  # fmt: skip
    status = 1
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands, args=arguments, prog="instascene", description=__doc__
        )()
        return
    except KeyboardInterrupt:
        sys.exit(130)
    except NothingFound as error:
        sentence, status = str(error), 3
    except InputError as error:
        sentence = str(error)
    except BrokenPipeError:  # `instascene … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if _interrupted:  # while a compiled module was imported, which made another error of it
            sys.exit(130)
        known = outside_cause(error)
        if known is None and os.environ.get("INSTASCENE_DEBUG"):
            raise
        text = f"Internal error ({type(error).__name__}: {one_line(error)}); INSTASCENE_DEBUG=1 shows where."
        sentence = known or text
    sys.stderr.write(f"instascene: {one_line(sentence, 2000)}\n")
    sys.exit(status)


_interrupted: list[int] = []


def _interrupt(number: int, _frame: object) -> None:
    _interrupted.append(number)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()

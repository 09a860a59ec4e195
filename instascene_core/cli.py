"""The `instascene` command and its verbs; `--help` on each."""

import difflib
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import tyro

from instascene_core import __version__
from instascene_core.errors import InputError, NothingFound, Terminated, outside_cause, signal_of, stopped_by
from instascene_core.terminal import speak
from instascene_core.untrusted import one_line
from instascene_core.verbs.batch import Batch
from instascene_core.verbs.complete import Complete
from instascene_core.verbs.config import ShowConfig
from instascene_core.verbs.doctor import Doctor
from instascene_core.verbs.eval import Eval
from instascene_core.verbs.export import Export
from instascene_core.verbs.manner import Answer, Manner, as_json
from instascene_core.verbs.parts import Parts
from instascene_core.verbs.poses import Poses
from instascene_core.verbs.run import Run
from instascene_core.verbs.settle import Settle
from instascene_core.verbs.synth import Synth
from instascene_core.verbs.view import View

VERBS = {
    "run": Run, "batch": Batch, "poses": Poses, "complete": Complete, "export": Export, "view": View,
    "eval": Eval, "synth": Synth, "settle": Settle, "parts": Parts, "config": ShowConfig, "doctor": Doctor,
}  # fmt: skip
DESCRIPTION = (
    f"instascene {__version__}: posed images to complete objects. `instascene VERB --help` tells more "
    "of a verb, `instascene config` prints all settings; --version."
)
STOPPED = "Stopped by {}; no file is half written, and what an earlier run wrote is still there."


def main(arguments: list[str] | None = None) -> None:
    """Entry point: one sentence and exit status 1 for bad input, 2 for words that are no command, 3 where
    nothing was found, 130 after Ctrl-C, 143 after SIGTERM, never a traceback (INSTASCENE_DEBUG=1 shows that
    of an internal error)."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] in (["--version"], ["version"]):
        sys.stdout.write(f"instascene {__version__}\n")
        return
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    _require_verb(words)
    _require_named(words)
    manner = Manner()
    try:
        verb = tyro.extras.subcommand_cli_from_dict(
            VERBS, args=words, prog="instascene", description=DESCRIPTION
        )  # ends with status 2 and says what it would have liked
        manner = verb.manner
        speak(manner.json, manner.quiet)
        _finish(_at_home(verb)(), manner)
    except BrokenPipeError:  # `instascene … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (Exception, KeyboardInterrupt) as error:
        sentence, status = _told(error)
        if manner.json:
            sys.stdout.write(as_json({"error": sentence}) + "\n")
        _end(sentence, status)


def _require_verb(words: list[str]) -> None:
    """End with a suggestion where the first word is none of the verbs."""
    word = words[0] if words else "-"
    if word in VERBS or word.startswith("-"):
        return
    close = difflib.get_close_matches(word.lower(), VERBS, n=1, cutoff=0.5)
    hint = f"did you mean `instascene {close[0]}`?" if close else f"there are {', '.join(VERBS)}."
    _end(f"There is no verb '{word}'; {hint}", 2)


def _require_named(words: list[str]) -> None:
    """End where a folder to write to is an empty word, as a shell's variable is that was not set: it would be
    the current folder, and a scene there be replaced."""
    for word, value in zip(words, [*words[1:], "-"], strict=True):
        name, separator, joined = word.partition("=")
        if name in ("--output", "--to") and not (joined if separator else value):
            _end(f"{name} is empty; the current folder is named by a dot.", 2)


def _at_home(verb: Any) -> Any:
    """The verb, the `~` of its paths made the user's home: shells leave it alone in `--output=~/out`."""
    found = {field.name: getattr(verb, field.name) for field in fields(verb)}
    paths = {name: value for name, value in found.items() if isinstance(value, Path)}
    with suppress(RuntimeError):  # there is no such user
        return replace(verb, **{name: path.expanduser() for name, path in paths.items()})
    return verb


def _finish(answer: Answer, manner: Manner) -> None:
    """Print what a verb has done, if that is asked for, and end where something is wrong with it."""
    problem = answer.problem
    if manner.json:
        facts = answer.facts
        if problem is not None and isinstance(facts, dict):
            facts = {**facts, "error": str(problem)}
        sys.stdout.write(as_json(facts) + "\n")
    if problem is not None:
        _end(str(problem), _status(problem))


def _told(error: BaseException) -> tuple[str, int]:
    """What to say of an error, and the exit status.  Raises a fault of the program where it is debugged."""
    if isinstance(error, KeyboardInterrupt) or _interrupted:
        own = str(error) if isinstance(error, KeyboardInterrupt) else ""  # of a verb that knows how far it is
        # While a compiled module is imported, an interruption becomes another error.
        number = signal_of(error) if isinstance(error, KeyboardInterrupt) else _interrupted[0]
        return own or STOPPED.format(stopped_by(number)), 128 + number
    if isinstance(error, InputError):
        return str(error), _status(error)
    known = outside_cause(error)
    if known is None and os.environ.get("INSTASCENE_DEBUG"):
        raise error
    text = f"Internal error ({type(error).__name__}: {one_line(error)}); INSTASCENE_DEBUG=1 shows where."
    return known or text, 1


def _status(error: InputError) -> int:
    return 3 if isinstance(error, NothingFound) else 1


def _end(sentence: str, status: int) -> None:
    sys.stderr.write(f"instascene: {one_line(sentence, 2000)}\n")
    sys.exit(status)


_interrupted: list[int] = []


def _interrupt(number: int, _frame: object) -> None:
    _interrupted.append(number)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


if __name__ == "__main__":
    main()

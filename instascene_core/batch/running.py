"""A batch from its recordings to its table and report."""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from instascene_core.batch.courses import Ended, Workers, drive
from instascene_core.batch.plan import REPORT, STATE, TABLE, Places, Plan
from instascene_core.batch.recordings import Recording
from instascene_core.batch.records import FAILED, Record, all_records, now, write_record
from instascene_core.batch.report import report_page
from instascene_core.batch.summary import Summary
from instascene_core.batch.table import require_arrow, write_table
from instascene_core.errors import InputError, signal_of, stopped_by
from instascene_core.files import write_bytes
from instascene_core.progress import ProgressCallback, no_progress


@dataclass(frozen=True)
class BatchResult:
    """What a call has done."""

    table: Path
    report: Path
    summary: Summary  # of all that the output holds
    seconds: float  # wall time of the call
    count: dict[str, int] = field(default_factory=dict)  # this call's recordings by status
    earlier: int = 0  # of them were done before the call
    failed: tuple[Ended, ...] = ()


def run_batch(
    recordings: Sequence[Recording],
    plan: Plan,
    make_workers: Callable[[], Workers],
    retries: int = 2,
    progress: ProgressCallback = no_progress,
) -> BatchResult:
    """Do what is missing of all recordings; table and report are of everything in the output then.

    A recording that fails is in the table, with why, and stops no other.  Where the call is interrupted
    (Ctrl-C, SIGTERM) table and report are written of what there is by then, and KeyboardInterrupt says how
    far it is.  Raises InputError where the output is another's or is worked on by another batch, and
    MissingDependencyError without ray and pyarrow.
    """
    require_arrow()
    start, ended = time.perf_counter(), []
    with _locked(plan.output):
        progress("recordings", 0.0, f"0 of {len(recordings)}")
        try:
            with closing(make_workers()) as workers:
                try:
                    for one in drive(recordings, workers, retries, _teller(len(recordings), progress)):
                        _note_failure(plan, one)
                        ended.append(one)
                except KeyboardInterrupt:
                    with _undisturbed():
                        workers.close()
                    raise
        except KeyboardInterrupt as error:
            with _undisturbed():
                _write(plan)
            cause = stopped_by(signal_of(error))
            raise type(error)(
                f"Stopped by {cause}; {len(ended)} of {len(recordings)} recordings are through, no file is "
                "half written, and the same command goes on from there."
            ) from None
        progress("recordings", 1.0, f"{len(recordings)} of {len(recordings)}")
        summary = _write(plan)
    return _result(plan, ended, summary, time.perf_counter() - start)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C, of somebody impatient, must not leave workers behind; this takes seconds."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _teller(total: int, progress: ProgressCallback) -> Callable[[int, str], None]:
    def tell(count: int, words: str) -> None:
        progress("recordings", count / max(total, 1), f"{count} of {total}; {words}")

    return tell


def _note_failure(plan: Plan, ended: Ended) -> None:
    """Write the record of a recording whose last task did not come to write it."""
    if ended.status != FAILED or ended.stage == "complete":
        return
    recording = ended.recording
    record = Record(
        recording.name, str(recording.path), FAILED, ended.sentence, ended.stage, ended.key, plan.code, now()
    )
    write_record(Places.of(plan, recording).record, record)


def _write(plan: Plan) -> Summary:
    """Table and report of all records."""
    summary = Summary()
    write_table(plan.output / TABLE, summary.gathering(all_records(plan)))
    write_bytes(plan.output / REPORT, report_page(summary))
    return summary


def _result(plan: Plan, ended: Sequence[Ended], summary: Summary, seconds: float) -> BatchResult:
    count: dict[str, int] = {}
    for one in ended:
        count[one.status] = count.get(one.status, 0) + 1
    failed = tuple(one for one in ended if one.status == FAILED)
    earlier = sum(one.earlier for one in ended)
    return BatchResult(plan.output / TABLE, plan.output / REPORT, summary, seconds, count, earlier, failed)


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """The only batch that works on the output; the lock ends with the process.

    Raises InputError where another does, or where the folder is no batch's and not empty.
    """
    state = output / STATE
    try:
        if output.is_dir() and not state.is_dir() and (other := next(output.iterdir(), None)) is not None:
            raise InputError(
                f"{output} holds '{other.name}' and no earlier batch; choose a new or empty folder with "
                "--output."
            )
        state.mkdir(parents=True, exist_ok=True)
        handle = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InputError(f"Cannot write to {output}: {error.strerror or error}.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another `instascene batch` works on {output}; wait for it, or stop it."
            ) from error
        yield
    finally:
        os.close(handle)

"""One thread does the work of a node; all others hand it jobs, and wait for them or do not.

No ROS in here: it can be tested with plain functions.
"""

import contextlib
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeout  # not the built-in one before 3.11
from dataclasses import dataclass, field
from typing import Any, cast

from instascene_core.errors import Cancelled, InputError, NotReadyError
from instascene_core.progress import ProgressCallback, no_progress
from instascene_ros.error_log import ErrorLog, describe

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 1e6  # beyond, the clocks of Python overflow
SHUTTING_DOWN = "The node is shutting down."


class JobTimeout(InputError):
    """The job did not finish in the time the caller wanted to wait (it goes on)."""


class QueueFull(InputError):
    """As many jobs of this kind as are allowed have not ended yet."""


@dataclass
class Job:
    """One piece of work: `function(progress) -> result`, run by the worker."""

    kind: str
    function: Callable[[ProgressCallback], Any]
    progress: ProgressCallback = no_progress
    future: Future = field(default_factory=Future)
    _cancel: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Ask the job to stop at its next progress report (or never to begin)."""
        self._cancel.set()

    @property
    def cancelled(self) -> bool:
        return self._cancel.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until the job has ended, at most so long; whether it has."""
        return bool(wait([self.future], seconds).done)

    def result(self, timeout_s: float) -> Any:
        """What the function returned; raises what it raised, or JobTimeout."""
        try:
            return self.future.result(min(timeout_s, LONGEST_WAIT_S))
        except FutureTimeout as error:
            if self.future.done():  # the function itself raised TimeoutError
                raise
            raise JobTimeout(
                f"The {self.kind} did not finish within {timeout_s:g} s; it goes on, "
                "see the topic `status`, and ask again later or with a longer timeout_s."
            ) from error


@dataclass(frozen=True)
class Activity:
    """What the worker does at this moment."""

    kind: str = ""  # of the running job; empty when idle
    stage: str = ""
    fraction: float = 0.0
    waiting: int = 0  # jobs behind it


class Worker:
    """Runs jobs one after another in its own thread; an exception ends the job, never the thread.

    `when_idle` is called again and again while no job waits, until it returns False; after the next job it
    is asked anew.  It should return soon: jobs wait for it.
    """

    def __init__(
        self,
        errors: ErrorLog,
        on_change: Callable[[], None] = lambda: None,
        when_idle: Callable[[], bool] | None = None,
    ) -> None:
        self._errors = errors
        self._on_change = on_change
        self._when_idle = when_idle
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._unfinished: Counter[str] = Counter()  # jobs by kind, waiting or running
        self._unfinished_lock = threading.Lock()
        self._current: Job | None = None
        self._stage, self._fraction = "", 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(
        self,
        kind: str,
        function: Callable[[ProgressCallback], Any],
        progress: ProgressCallback = no_progress,
        max_unfinished: int | None = None,
    ) -> Job:
        """Queue `function`; it is called with a progress callback that it should call often.

        Raises QueueFull where `max_unfinished` jobs of this kind wait or run already.
        """
        with self._unfinished_lock:
            if max_unfinished is not None and self._unfinished[kind] >= max_unfinished:
                raise QueueFull(f"{max_unfinished} jobs of the kind '{kind}' are waiting already.")
            self._unfinished[kind] += 1
        job = Job(kind, function, progress)
        # Also called for a job that is cancelled before it begins.
        job.future.add_done_callback(lambda future: self._on_finished(kind))
        if self._stopping.is_set():
            job.future.set_exception(InputError(SHUTTING_DOWN))
        else:
            self._jobs.put(job)
        return job

    def _on_finished(self, kind: str) -> None:
        with self._unfinished_lock:
            self._unfinished[kind] -= 1

    @property
    def activity(self) -> Activity:
        job = self._current
        if job is None:
            return Activity(waiting=self._jobs.qsize())
        return Activity(job.kind, self._stage or job.kind, self._fraction, self._jobs.qsize())

    @property
    def is_idle(self) -> bool:
        return self._current is None and self._jobs.empty()

    def cancel_all(self) -> None:
        """Cancel the running job and those that wait."""
        with self._jobs.mutex:
            waiting = list(self._jobs.queue)
        for job in [self._current, *waiting]:
            if job is not None:
                job.cancel()

    def stop(self, timeout_s: float) -> bool:
        """Cancel everything and end the thread; False when it did not end in time."""
        self._stopping.set()
        self.cancel_all()
        self._jobs.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():  # whoever waits for a job shall not wait for ever
            with self._jobs.mutex:
                waiting = list(self._jobs.queue)
            for job in [self._current, *waiting]:
                if job is not None:
                    self._finish(job, InputError(SHUTTING_DOWN))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            self._execute(job)
            while self._jobs.empty() and self._idle():
                pass

    def _idle(self) -> bool:
        """Do a slice of idle work; whether there is more.  A failure is counted, and ends it for now."""
        if self._when_idle is None:
            return False
        try:
            return self._when_idle()
        except Exception as error:
            self._count("work_ahead", error)
            return False

    def _execute(self, job: Job) -> None:
        self._stage, self._fraction, self._current = "", 0.0, job
        self._on_change()
        result, failure = None, None
        started = time.monotonic()
        try:
            if job.cancelled:
                raise Cancelled
            result = job.function(lambda *report: self._report(job, *report))
        except BaseException as error:
            # Even SystemExit from a library must not end the thread.
            failure = error
            self._count(job.kind, error)
        finally:
            self._current = None
            logger.debug("%s: %.2f s", job.kind, time.monotonic() - started)
            self._finish(job, failure, result)
            self._on_change()

    def _report(self, job: Job, stage: str, fraction: float, message: str = "") -> None:
        if job.cancelled:
            raise Cancelled
        self._stage, self._fraction = stage, float(fraction)
        job.progress(stage, fraction, message)

    def _count(self, job_kind: str, error: BaseException) -> None:
        if isinstance(error, Cancelled):
            return
        kind = "not ready" if isinstance(error, NotReadyError) else job_kind
        message = describe(error)
        is_new = self._errors.add(kind, message)
        with contextlib.suppress(AttributeError):
            cast(Any, error).counted = True  # whoever waits for the job need not count it again
        if not isinstance(error, InputError):
            logger.error("%s failed: %s", job_kind, message, exc_info=error)
        elif is_new:
            logger.warning("%s: %s", job_kind, message)

    @staticmethod
    def _finish(job: Job, failure: BaseException | None, result: Any = None) -> None:
        if job.future.done():
            return
        if failure is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(failure)

"""Several objects completed at a time; told of, and cancelled, in the thread that asked for them."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

from instascene_core.config import CompletionConfig
from instascene_core.errors import Cancelled, InputError
from instascene_core.instances import InstanceId
from instascene_core.objects import CompletedObject
from instascene_core.progress import ProgressCallback
from instascene_core.threads import thread_count, workers

# The others want all memory, or another program, for one object.
SIDE_BY_SIDE = frozenset({"learned", "carving"})

Complete = Callable[[InstanceId, ProgressCallback], CompletedObject]
Take = Callable[[CompletedObject], None]


def complete_each(
    ids: Sequence[InstanceId],
    complete: Complete,
    take: Take,
    config: CompletionConfig,
    progress: ProgressCallback,
) -> dict[InstanceId, str]:
    """Complete the objects `ids`, `config.at_once` at a time where there are as many threads; by id, why
    those that could not be were not.

    complete: makes one, in any thread.  take: gets each in the calling thread, in the order of `ids`.  The
    results do not depend on how many are made at a time.  Where `progress` cancels or one fails, those that
    are complete by then are taken.
    """
    told = _Told(ids, progress)
    at_once = min(config.at_once, thread_count(), len(ids)) if config.prior in SIDE_BY_SIDE else 1
    if at_once > 1:
        return _side_by_side(told, complete, take, at_once)
    failures = {}
    for index, instance_id in enumerate(ids):
        try:
            take(complete(instance_id, told.of(index)))
        except InputError as error:
            failures[instance_id] = str(error)
        told.shares[index] = 1.0
    return failures


class _Told:
    """How far all objects are together."""

    def __init__(self, ids: Sequence[InstanceId], progress: ProgressCallback) -> None:
        self.ids, self.progress = ids, progress
        self.shares = [0.0] * len(ids)  # of each object that is done

    def of(self, index: int) -> ProgressCallback:
        """The callback for one object."""

        def report(stage: str, fraction: float, message: str = "") -> None:
            self.shares[index] = fraction
            done = sum(self.shares) / len(self.ids)
            self.progress(stage, done, f"object {self.ids[index]}: {message}")

        return report


def _side_by_side(told: _Told, complete: Complete, take: Take, at_once: int) -> dict[InstanceId, str]:
    import instascene_core.geometry.open3d_loader  # noqa: F401 (once, before the threads)

    events: SimpleQueue[Callable[[], None]] = SimpleQueue()  # what the calling thread is to do
    stopped = threading.Event()

    def work(index: int) -> CompletedObject:
        def report(stage: str, fraction: float, message: str = "") -> None:
            if stopped.is_set():
                raise Cancelled
            events.put(lambda: told.of(index)(stage, fraction, message))

        return complete(told.ids[index], report)

    failures: dict[InstanceId, str] = {}
    with workers(at_once) as pool:
        made = [pool.submit(work, index) for index in range(len(told.ids))]
        for future in made:
            future.add_done_callback(lambda _: events.put(lambda: None))  # wakes who waits for it
        taken = 0
        try:
            for taken, future in enumerate(made):
                while not (future.done() and events.empty()):
                    events.get()()
                told.shares[taken] = 1.0
                try:
                    take(future.result())
                except InputError as error:
                    failures[told.ids[taken]] = str(error)
            return failures
        except BaseException:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            _take_complete(made[taken:], take)
            raise


def _take_complete(made: Sequence[Future[CompletedObject]], take: Take) -> None:
    for future in made:
        if not future.cancelled() and future.exception() is None:
            take(future.result())

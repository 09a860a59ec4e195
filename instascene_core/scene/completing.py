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
ProgressOf = Callable[[InstanceId], ProgressCallback]  # how the work on one object is told


def objects_at_once(config: CompletionConfig) -> int:
    """How many objects are completed side by side: as configured, where there are as many threads."""
    return min(config.at_once, thread_count()) if config.prior in SIDE_BY_SIDE else 1


def complete_each(
    ids: Sequence[InstanceId],
    complete: Complete,
    take: Take,
    config: CompletionConfig,
    progress_of: ProgressOf,
) -> dict[InstanceId, str]:
    """Complete the objects `ids`, `objects_at_once` at a time; by id, why those that could not be were not.

    complete: makes one, in any thread.  take: gets each in the calling thread, in the order of `ids`.  The
    results do not depend on how many are made at a time.  Where a callback of `progress_of` cancels or one
    object fails, those that are complete by then are taken.
    """
    at_once = min(objects_at_once(config), len(ids))
    if at_once > 1:
        return _side_by_side(ids, complete, take, at_once, progress_of)
    failures = {}
    for instance_id in ids:
        try:
            take(complete(instance_id, progress_of(instance_id)))
        except InputError as error:
            failures[instance_id] = str(error)
    return failures


def joint_progress(ids: Sequence[InstanceId], progress: ProgressCallback) -> ProgressOf:
    """Tells `progress` how far all objects are together."""
    shares = dict.fromkeys(ids, 0.0)

    def of(instance_id: InstanceId) -> ProgressCallback:
        def report(stage: str, fraction: float, message: str = "") -> None:
            shares[instance_id] = fraction
            progress(stage, sum(shares.values()) / len(ids), f"object {instance_id}: {message}")

        return report

    return of


def _side_by_side(
    ids: Sequence[InstanceId], complete: Complete, take: Take, at_once: int, progress_of: ProgressOf
) -> dict[InstanceId, str]:
    import instascene_core.geometry.open3d_loader  # noqa: F401 (once, before the threads)

    events: SimpleQueue[Callable[[], None]] = SimpleQueue()  # what the calling thread is to do
    stopped = threading.Event()

    def work(instance_id: InstanceId) -> CompletedObject:
        told = progress_of(instance_id)

        def report(stage: str, fraction: float, message: str = "") -> None:
            if stopped.is_set():
                raise Cancelled
            events.put(lambda: told(stage, fraction, message))

        return complete(instance_id, report)

    failures: dict[InstanceId, str] = {}
    with workers(at_once) as pool:
        made = [pool.submit(work, instance_id) for instance_id in ids]
        for future in made:
            future.add_done_callback(lambda _: events.put(lambda: None))  # wakes who waits for it
        taken = 0
        try:
            for taken, future in enumerate(made):
                while not (future.done() and events.empty()):
                    events.get()()
                try:
                    take(future.result())
                except InputError as error:
                    failures[ids[taken]] = str(error)
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

"""One thread where more would change the result.

The kernel's results do not depend on the number of threads (`rendering`).  Torch's do in their last bits,
where threads share a sum: in convolutions on coarse grids, in products and means.  Such bits decide something
in the end (a voxel, a triangle), so a network is applied by one thread, and to several frames at a time.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes with one thread inside: the same bits however many cores there are."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def thread_count() -> int:
    """torch's, hence OMP_NUM_THREADS or `torch.set_num_threads`."""
    import torch

    return max(1, torch.get_num_threads())


@contextmanager
def workers(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that work side by side, each with one thread of torch's; all have ended after it."""
    import torch

    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)  # threads that begin from now on take the number set last


def side_by_side(
    work: Callable[[Item], Made], items: Sequence[Item], at_once: int | None = None
) -> Generator[Made, None, None]:
    """What `work` makes of each item, in their order; `at_once` of them (None = `thread_count()`) are worked
    on at a time, and hardly more are made than have been taken.

    work: may run in any thread, with one thread of torch's, and its results must not depend on that.  Close
    the generator (`contextlib.closing`) where it may not be taken to its end.
    """
    at_once = min(thread_count() if at_once is None else at_once, len(items))
    if at_once < 2:
        yield from map(work, items)
        return
    with workers(at_once) as pool:
        ahead: deque = deque()
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > at_once:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

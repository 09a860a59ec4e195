"""One thread where more would change the result.

The kernel's results do not depend on the number of threads (`rendering`).  Torch's do in their last bits,
where threads share a sum: in convolutions on coarse grids, in products and means.  Such bits decide something
in the end (a voxel, a triangle), so a network is applied by one thread, and to several frames at a time.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


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

"""What the steps of a training see, made ahead of them by other processes and handed over in their order.

A GPU takes a step in less time than one core needs to make the next batch.
"""

import multiprocessing
import pickle
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")
AHEAD = 3  # batches that are made or waiting, a process


def made_ahead(make: Callable[[int], T], first: int, workers: int) -> Generator[T, None, None]:
    """make(first), make(first + 1), … without end; workers: processes that make them, 0 = this one.

    What is made must follow from the number alone, whoever makes it.  `make` is pickled for the processes:
    a function of a module, or a `partial` of one.  What it raises is raised here, at its turn.
    """
    if workers <= 0:
        step = first
        while True:
            yield make(step)
            step += 1
    # Not forked: CUDA does not survive that.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start)
    try:
        waiting: deque[Future[bytes]] = deque()
        step = first
        while True:
            while len(waiting) < AHEAD * workers:
                waiting.append(pool.submit(partial(_packed, make), step))
                step += 1
            yield pickle.loads(waiting.popleft().result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start() -> None:
    import torch

    torch.set_num_threads(1)


def _packed(make: Callable[[int], T], step: int) -> bytes:
    # By value: what torch sends between processes by itself are open files, of which there are only so many.
    return pickle.dumps(make(step), protocol=pickle.HIGHEST_PROTOCOL)

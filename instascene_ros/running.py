"""How the nodes with a worker begin and end as a process."""

import os
import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor

from instascene_core.errors import InputError


def run_node(name: str, make_node: Callable, num_threads: int) -> int:
    """Spin `make_node()` until SIGINT or SIGTERM; the exit status (2 for parameters it cannot use).

    The node has `close() -> bool`: False when its worker is still inside a computation.
    """
    try:
        node = make_node()
    except InputError as error:
        sys.stderr.write(f"{name}: {error}\n")
        rclpy.try_shutdown()
        return 2
    executor = MultiThreadedExecutor(num_threads=num_threads)
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        ended = node.close()
        rclpy.try_shutdown()
    if not ended:
        # The worker is inside one long computation.  It only holds memory, so there is nothing to
        # lose; waiting for it would make Ctrl-C look broken.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0

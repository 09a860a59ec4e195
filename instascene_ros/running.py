"""How the nodes with a worker begin and end as a process."""

import os
import signal
import sys
from collections.abc import Callable

import rclpy
import rclpy.utilities
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor

from instascene_core.errors import InputError


def run_node(name: str, make_node: Callable, num_threads: int, args: list[str] | None) -> int:
    """Spin `make_node()` until SIGINT or SIGTERM; the exit status (2 for parameters it cannot use).

    The node has `close() -> bool`: False when its worker is still inside a computation.
    args: of the command line, for rclpy.
    """
    # rclpy ends the executor at SIGINT and then calls the handler it found.  Python's own would raise
    # KeyboardInterrupt as well, anywhere: also in the middle of the start of one of the executor's
    # threads, which the interpreter then waits for at its end, for ever.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    rclpy.init(args=args)
    node, ended = None, True
    try:
        node = make_node()
        executor = MultiThreadedExecutor(num_threads=num_threads)
        executor.add_node(node)
        executor.spin()
    except InputError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    except ExternalShutdownException:
        pass
    except RuntimeError:  # what rclpy raises when the signal comes between two of its steps
        if rclpy.utilities.ok():
            raise
    finally:
        if node is not None:
            ended = node.close()
        rclpy.utilities.try_shutdown()
    if not ended:
        # The worker is inside one long computation.  It only holds memory, so there is nothing to
        # lose; waiting for it would make Ctrl-C look broken.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0

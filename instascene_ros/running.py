"""How the nodes with a worker begin and end as a process."""

import os
import signal
import sys
from collections.abc import Callable, Mapping

import rclpy
import rclpy.utilities
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor

from instascene_core.errors import InputError


def run_nodes(makers: Mapping[str, Callable], num_threads: int, args: list[str] | None) -> int:
    """Make nodes by name and spin them in one process until SIGINT or SIGTERM; the exit status (2 for
    parameters that one cannot use).

    A node has `close() -> bool`: False when its worker is still inside a computation.
    args: of the command line, for rclpy.
    """
    # rclpy ends the executor at SIGINT and then calls the handler it found.  Python's own would raise
    # KeyboardInterrupt as well, anywhere: also in the middle of the start of one of the executor's
    # threads, which the interpreter then waits for at its end, for ever.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    rclpy.init(args=args)
    nodes, ended, name = [], True, ""
    try:
        executor = MultiThreadedExecutor(num_threads=num_threads)
        for node_name, make_node in makers.items():
            name = node_name
            nodes.append(make_node())
            executor.add_node(nodes[-1])
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
        for node in reversed(nodes):
            ended = node.close() and ended
        rclpy.utilities.try_shutdown()
    if not ended:
        # The worker is inside one long computation.  It only holds memory, so there is nothing to
        # lose; waiting for it would make Ctrl-C look broken.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0

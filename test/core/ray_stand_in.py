"""A Ray without processes: tasks are done when they are asked for, and end as the test says."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    pass


class OutOfMemoryError(RayError):
    pass


class WorkerCrashedError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: object) -> None:
        super().__init__("a traceback of many lines\nof them")
        self.cause = cause


class StandIn:
    """As much of the module `ray` as RayWorkers calls.

    has: what the cluster has.  end: what a task returns, or raises.  start: raises what `ray.init` would.
    """

    exceptions = SimpleNamespace(
        RayError=RayError,
        OutOfMemoryError=OutOfMemoryError,
        WorkerCrashedError=WorkerCrashedError,
        RayTaskError=RayTaskError,
    )

    def __init__(self, has: dict[str, float], end: Callable[[Any], Any] = lambda task: task) -> None:
        self.has, self.end = has, end
        self._private = SimpleNamespace(worker=SimpleNamespace())
        self.given: list[tuple[tuple, dict]] = []  # to `init`
        self.asked: list[dict] = []  # of each kind of task
        self.cancelled: list[Any] = []
        self.is_down = False
        self.refusal: Exception | None = None

    def init(self, *address: str, **options: Any) -> None:
        self.given.append((address, options))
        if self.refusal is not None:
            raise self.refusal

    def close(self) -> None:
        """As a connection."""

    def shutdown(self) -> None:
        self.is_down = True

    def cluster_resources(self) -> dict[str, float]:
        return self.has

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **demand: Any) -> Callable[[Any], Any]:
        self.asked.append(demand)
        started = SimpleNamespace(remote=lambda plan, task: (len(self.asked), task.stage, str(task)))
        return lambda function: SimpleNamespace(options=lambda **options: started)

    def wait(self, handles: list, num_returns: int, timeout: float) -> tuple[list, list]:
        assert num_returns <= len(handles) and timeout <= 1
        return handles[:num_returns], handles[num_returns:]

    def get(self, handle: Any) -> Any:
        return self.end(handle)

    def cancel(self, handle: Any, force: bool) -> None:
        assert force
        self.cancelled.append(handle)

"""Workers of Ray (ray.io): processes of this machine, or of all machines of a cluster."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from instascene_core.batch.plan import Plan
from instascene_core.batch.tasks import STAGES, Outcome, Task
from instascene_core.config.batch import BatchConfig, StageResources
from instascene_core.errors import InputError, MissingDependencyError, outside_cause
from instascene_core.untrusted import one_line

logger = logging.getLogger(__name__)

LOCAL = "local"  # address: a Ray of our own, on this machine, that ends with us
STORE_BYTES = 100 * 2**20  # of a Ray of our own: results pass as files, facts take next to nothing
CONNECT_S = 10.0  # until the machine of a cluster must have answered
PATIENCE_S = 1.0  # how long one wait takes at most, so that Ctrl-C is heard
SETTINGS = {"CPU": "cpus", "GPU": "gpus", "memory": "memory_gb"}  # Ray's names of what tasks ask for → ours


class RayWorkers:
    """Does the tasks of a plan; to be closed.

    address: LOCAL, "auto", or that of a cluster (HOST:PORT, ray://HOST:PORT).  workers: processes of a Ray of
    our own, at most so many tasks at a time on a cluster; 0 = as many as there are cores.
    Raises MissingDependencyError without ray, InputError where the cluster cannot be reached or a machine of
    our own can never do a task.
    """

    def __init__(self, plan: Plan, address: str = LOCAL, workers: int = 0) -> None:
        self._ray = _ray()
        # It prints of each worker that dies, on stdout, which may be for JSON; outcomes say it, too.  Its own
        # debugger silences it so.
        self._ray._private.worker._worker_logs_enabled = False
        self._limit, self._is_local = workers, address == LOCAL
        self._connect(address, workers)
        try:
            if self._is_local:
                self._require_possible(plan.batch)
            self._plan = self._ray.put(plan)
            self._work = {stage: self._remote(getattr(plan.batch, stage)) for stage in STAGES}
        except BaseException:
            self.close()
            raise
        self._tasks: dict[Any, Task] = {}

    def close(self) -> None:
        """End what still runs, and a Ray of our own; once more does nothing."""
        tasks, self._tasks = getattr(self, "_tasks", {}), {}
        for handle in tasks:
            self._ray.cancel(handle, force=True)
        self._ray.shutdown()

    # ── Workers ───────────────────────────────────────────────────────────────────────────────────

    def start(self, task: Task) -> Hashable:
        handle = self._work[task.stage].options(name=f"instascene {task}").remote(self._plan, task)
        self._tasks[handle] = task
        return handle

    def wait(self, begun: Collection[Hashable]) -> Mapping[Hashable, Outcome]:
        handles = list(begun)
        ready, _ = self._ray.wait(handles, num_returns=1, timeout=PATIENCE_S)
        if ready:  # and whatever else has ended by now
            ready, _ = self._ray.wait(handles, num_returns=len(handles), timeout=0)
        return {handle: self._outcome(handle, self._tasks.pop(handle)) for handle in ready}

    def room(self) -> int:
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        return max(1, min(cores, self._limit) if self._limit else cores)

    def most(self) -> int:
        return 0 if self._is_local else self._limit  # a Ray of our own has no more places than that

    # ── Ray ───────────────────────────────────────────────────────────────────────────────────────

    def _connect(self, address: str, workers: int) -> None:
        _require_heard(address)
        own = (
            {"num_cpus": workers or os.cpu_count(), "object_store_memory": STORE_BYTES}
            if self._is_local
            else {}
        )
        try:
            with _kept_handler():
                self._ray.init(
                    address, include_dashboard=False if self._is_local else None, log_to_driver=False,
                    logging_level="error", **own,
                )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
            where = (
                "Ray cannot be started here" if self._is_local else f"There is no Ray cluster at '{address}'"
            )
            raise InputError(f"{where}: {one_line(error)}") from error

    def _require_possible(self, batch: BatchConfig) -> None:
        """InputError where a task asks for more than this machine has: it would wait for ever."""
        has = self._ray.cluster_resources()
        for stage in STAGES:
            for name, wanted in _demand(getattr(batch, stage)).items():
                if wanted > has.get(name, 0):
                    setting, unit = SETTINGS[name], 2**30 if name == "memory" else 1
                    raise InputError(
                        f"{stage}.{setting} is {wanted / unit:g}, and this machine gives "
                        f"{has.get(name, 0) / unit:g} to its workers; set another "
                        f"with --resources {stage}.{setting}=…, or --workers."
                    )

    def _remote(self, resources: StageResources) -> Any:
        """The function that a worker calls, with what it asks for.  What is tried again is decided by us."""
        demand = _demand(resources)
        return self._ray.remote(
            num_cpus=demand["CPU"], num_gpus=demand["GPU"], memory=demand["memory"] or None, max_retries=0
        )(_perform)

    def _outcome(self, handle: Any, task: Task) -> Outcome:
        errors = self._ray.exceptions
        try:
            return self._ray.get(handle)
        except errors.OutOfMemoryError:
            return Outcome(broken="The machine ran out of memory; declare more with --resources "
                           f"{task.stage}.memory_gb=…, or use fewer --workers.")  # fmt: skip
        except errors.RayTaskError as error:
            return Outcome(broken=_told(error, error.cause))
        except errors.RayError as error:
            return Outcome(broken=f"The worker process died ({type(error).__name__}).")


@contextmanager
def _kept_handler() -> Iterator[None]:
    """Ray puts its own handler of SIGTERM in the place of ours, which ends without a word."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _perform(plan: Plan, task: Task) -> Outcome:
    """In a worker process."""
    from instascene_core.batch.stages import perform

    try:
        return Outcome(perform(plan, task))
    except InputError as error:
        return Outcome(refused=str(error))


def _told(error: Exception, cause: Exception | None) -> str:
    """One sentence about an error in a task, whose text is the worker's traceback."""
    if cause is not None and (told := outside_cause(cause)):
        return told
    if os.environ.get("INSTASCENE_DEBUG"):
        logger.error("%s", error)
    kind, text = (
        (type(cause).__name__, one_line(cause)) if cause else (type(error).__name__, "no cause given")
    )
    return f"Internal error ({kind}: {text}); INSTASCENE_DEBUG=1 shows where."


def _demand(resources: StageResources) -> dict[str, float]:
    return {"CPU": resources.cpus, "GPU": resources.gpus, "memory": int(resources.memory_gb * 2**30)}


def _require_heard(address: str) -> None:
    """InputError where nobody listens at HOST:PORT; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"There is no Ray cluster at '{address}': {one_line(error)}") from error


# Of Ray, read when it is loaded; what a person has set stays.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anyone
    "RAY_BACKEND_LOG_LEVEL": "error",  # on stderr it warns of what we say
    "RAY_worker_niceness": "0",  # as any other command
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # no GPU for who asks for none
}


def _ray() -> Any:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray  # pyright: ignore[reportMissingImports] (optional: the extra batch)
        import ray.exceptions  # pyright: ignore[reportMissingImports] (optional: the extra batch)
    except ImportError as error:
        raise MissingDependencyError(
            "`instascene batch` needs Ray and pyarrow, which are not both installed: "
            "pip install 'instascene[batch]'."
        ) from error
    return ray

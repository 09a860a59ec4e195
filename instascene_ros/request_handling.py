"""How every request to scene_node is treated: bounded in number, run by the worker, always answered.

Waiting costs a thread of the executor, so that at most MAX_WAITING requests wait at a time; more
are refused with a sentence.  Subscriptions have threads of their own left.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.action.server import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import CallbackGroup

from instascene_core.errors import Cancelled, InputError, NotReadyError
from instascene_core.progress import ProgressCallback
from instascene_ros.error_log import ErrorLog, describe
from instascene_ros.request_checks import require_sensible
from instascene_ros.worker import SHUTTING_DOWN, Job, Worker

MAX_WAITING = 6
FEEDBACK_PERIOD_S = 0.2
CANCEL_POLL_S = 0.05
NOTHING_CHANGED = "Cancelled; the scene is as it was before."  # a job that never began


class AlreadyCounted(InputError):
    """Fails a request for errors that its jobs have reported."""

    counted = True


class RequestHandling:
    """Makes callbacks of services and actions from handlers, and runs the handlers' jobs in the worker.

    A handler fills the response (or result) and raises what goes wrong.
    timeout_s: how long a service waits whose request names no time.  is_up: whether ROS still runs; a signal
    ends it before the node knows.
    """

    def __init__(self, worker: Worker, errors: ErrorLog, timeout_s: float, is_up: Callable[[], bool]) -> None:
        self._worker, self._errors, self._timeout, self._is_up = worker, errors, timeout_s, is_up
        self._slots = threading.BoundedSemaphore(MAX_WAITING)

    # ── callbacks ─────────────────────────────────────────────────────────────────────────────────

    def service(self, name: str, handler: Callable[[Any, Any], None]) -> Callable:
        """A service callback that always answers: success, or false and one sentence."""

        def callback(request, response):
            try:
                require_sensible(request)
                with self._slot():
                    handler(request, response)
                response.success, response.message = True, response.message or "done"
            except Exception as error:
                response.success, response.message = False, self._failed(name, error)
            return response

        return callback

    def action(self, name: str, result_type, handler: Callable[[Any, Any], None]) -> Callable:
        """An action callback that always ends its goal.

        A handler that was partly successful sets `success` to False and a message, without raising.
        """

        def callback(goal):
            result, started = result_type(success=True, message="done"), time.monotonic()
            try:
                require_sensible(goal.request)
                with self._slot():
                    handler(goal, result)
                finish = goal.succeed
            except Cancelled as error:
                result.success, result.message = False, str(error) or NOTHING_CHANGED
                finish = goal.canceled if goal.is_cancel_requested else goal.abort
            except Exception as error:
                result.success, result.message = False, self._failed(name, error)
                finish = goal.abort
            result.duration_s = time.monotonic() - started
            finish()
            return result

        return callback

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise InputError(
                f"{MAX_WAITING} requests are waiting already; ask again when one has been answered."
            )
        try:
            yield
        finally:
            self._slots.release()

    def _failed(self, name: str, error: Exception) -> str:
        """Count what the worker has not counted yet; the sentence for the answer."""
        sentence = describe(error)
        if not getattr(error, "counted", False) and not isinstance(error, Cancelled):
            self._errors.report("not ready" if isinstance(error, NotReadyError) else name, sentence)
        return sentence

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────

    def run(self, name: str, function: Callable[[ProgressCallback], Any], timeout_s: float = 0.0) -> Any:
        """Run `function` in the worker and return its result; 0 s = as long as a service waits."""
        return self._worker.submit(name, function).result(timeout_s if timeout_s > 0 else self._timeout)

    def run_for_goal(
        self, goal, name: str, function: Callable[[ProgressCallback], Any], progress: ProgressCallback
    ) -> Any:
        """Run `function` in the worker and return its result; a cancelled goal cancels it.

        rclpy has nothing to wait for here.  Its cancel callback comes before the goal counts as being
        cancelled, and a job that ended in between could not be answered as cancelled.  So the goal is
        looked at again and again.
        """
        job: Job = self._worker.submit(name, function, progress)
        while not job.wait(CANCEL_POLL_S):
            if goal.is_cancel_requested:
                job.cancel()
        return job.future.result()

    def feedback(
        self, goal, make: Callable[[str, float, str], object], every_message: bool = False
    ) -> ProgressCallback:
        """Progress as feedback of a goal, a few times a second and at every new stage.

        make: stage, fraction, message → the feedback message; every_message: also at every new message, for
        stages whose messages are few.  The progress raises Cancelled where nobody hears it any more.
        """
        last_time, last_stage = -math.inf, ("", "")

        def progress(stage: str, fraction: float, message: str = "") -> None:
            nonlocal last_time, last_stage
            now = time.monotonic()
            new = (stage, message if every_message else "")
            if now - last_time < FEEDBACK_PERIOD_S and new == last_stage:
                return
            last_time, last_stage = now, new
            try:
                goal.publish_feedback(make(stage, float(fraction), message))
            except Exception as error:
                if self._is_up():
                    raise
                raise Cancelled(SHUTTING_DOWN) from error

        return progress


def offer(
    node, handling: RequestHandling, services: Iterable[tuple], actions: Iterable[tuple], group: CallbackGroup
) -> list[ActionServer]:
    """Offer services and actions, each (type, name, handler), at a node; the action servers, to be destroyed.

    group: a reentrant one, as requests wait for each other's jobs and goals are cancelled while they run.
    """
    for kind, name, handler in services:
        node.create_service(kind, name, handling.service(name, handler), callback_group=group)
    return [
        ActionServer(
            node, kind, name, handling.action(name, kind.Result, handler),
            callback_group=group,
            goal_callback=lambda goal: GoalResponse.ACCEPT,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
        )
        for kind, name, handler in actions
    ]  # fmt: skip

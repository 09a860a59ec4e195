"""The worker that owns the scene, and publishes what its jobs change."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from instascene_core.errors import Cancelled
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.scene import Scene
from instascene_ros.error_log import ErrorLog
from instascene_ros.snapshot import Snapshot
from instascene_ros.worker import Job, QueueFull, Worker

IDLE_SLICE_S = 0.1  # a job waits this long at most for the worker's idle work
FOLLOW_JOB = "follow"  # looking for what left, moved or appeared
PAUSE_S = 2.0  # without a new frame, after which also a few are looked at


class SceneWorker(Worker):
    """Runs jobs on a scene one after another; after each of them, also a failed one, `publish` is called.

    `scene` and `selected` are for jobs only.  Everybody else looks at `snapshot`.

    publish_changes: told each new snapshot, in the worker.
    work_ahead: whether idle time goes into reconstructing what has arrived.
    """

    def __init__(
        self,
        scene: Scene,
        errors: ErrorLog,
        publish_changes: Callable[[Snapshot], None],
        on_change: Callable[[], None] = lambda: None,
        work_ahead: bool = True,
    ) -> None:
        super().__init__(errors, on_change, self._work_ahead if work_ahead else None)
        self.scene = scene
        self.selected = 0  # the instance clicked last; 0 = none
        self.snapshot = Snapshot.of(scene)
        self._publish_changes = publish_changes
        self._frames_seen, self._frames_since = 0, 0.0
        self._doubt = ""  # the check's warning that was reported last

    def submit(
        self,
        kind: str,
        function: Callable[[ProgressCallback], Any],
        progress: ProgressCallback = no_progress,
        max_unfinished: int | None = None,
    ) -> Job:
        """As of every worker; the sentence of Cancelled tells what the job has changed by then."""

        def work(report: ProgressCallback) -> Any:
            before = self.snapshot
            try:
                return function(report)
            except Cancelled as error:
                raise Cancelled(cancelled_sentence(before, self.publish())) from error
            finally:
                self.publish()

        return super().submit(kind, work, progress, max_unfinished)

    def follow_if_due(self) -> None:
        """Look for changes once enough new frames have come, or some and then none for a while; asked now and
        then."""
        scene = self.scene
        count = scene.frames_to_follow
        if count != self._frames_seen:
            self._frames_seen, self._frames_since = count, time.monotonic()
        settings = scene.config.following
        paused = time.monotonic() - self._frames_since > PAUSE_S
        if count >= settings.batch or (count >= settings.min_views and paused):
            with contextlib.suppress(QueueFull):
                self.submit(FOLLOW_JOB, lambda progress: self.scene.follow(progress), max_unfinished=1)

    def publish(self) -> Snapshot:
        """In a job: take a snapshot and publish what differs from the one before."""
        self.snapshot = Snapshot.of(self.scene, self.selected)
        self._report_doubt()
        self._publish_changes(self.snapshot)
        return self.snapshot

    def replace_scene(self, scene: Scene) -> None:
        """In a job: another scene takes the place of the present one."""
        self.scene, self.selected = scene, 0

    def _report_doubt(self) -> None:
        """The check's warning about the frames counts as an error once, so that `status` shows it."""
        doubt = self.scene.metrics.get("plausibility", {}).get("warning", "")
        if doubt and doubt != self._doubt:
            self._errors.report("plausibility", doubt)
        self._doubt = doubt

    def _work_ahead(self) -> bool:
        """A slice of reconstruction while no job waits; False until the next job is done."""
        return self.scene.work_ahead(IDLE_SLICE_S)


def cancelled_sentence(before: Snapshot, after: Snapshot) -> str:
    """The answer to whoever cancelled: what became of the scene."""
    changes = after.changes_since(before)
    if not changes:
        return "Cancelled; the scene is as it was before."
    return f"Cancelled; what was finished by then stays, so these have changed: {', '.join(changes)}."

"""The action that completes several objects: a job for each, then one that lays them to rest together."""

from collections.abc import Callable, Sequence
from pathlib import Path

from instascene.action import CompleteInstances

from instascene_core.errors import Cancelled, InputError, NotReadyError
from instascene_core.export.object_files import export_object, require_exportable, require_formats
from instascene_core.instances import InstanceId
from instascene_core.progress import ProgressCallback
from instascene_ros.data_folder import folder_under
from instascene_ros.error_log import describe
from instascene_ros.publishers import ScenePublishers
from instascene_ros.request_handling import AlreadyCounted, RequestHandling
from instascene_ros.scene_worker import SceneWorker


class CompletingSeries:
    """Handles the goals of `complete_instances`.

    Each object is published as it is ready, as it is by itself; laid to rest among the others it is published
    again, and with the names of its files where some are asked for.  Every step is a job of its own, so that
    other requests get their turn in between.
    """

    def __init__(
        self, worker: SceneWorker, publishers: ScenePublishers, handling: RequestHandling, data_folder: Path
    ) -> None:
        self._worker, self._publishers, self._handling = worker, publishers, handling
        self._data_folder = data_folder

    def __call__(self, goal, result) -> None:
        """Fill the goal's result.  Raises InputError where nothing could be completed, and Cancelled."""
        snapshot = self._worker.snapshot
        if snapshot.instances is None:
            raise NotReadyError("There are no instances yet; call segment_instances first.")
        ids = [InstanceId(i) for i in goal.request.instance_ids] or [i.id for i in snapshot.instances.objects]
        if goal.request.formats:  # what cannot be written is refused before the work
            require_formats(self._worker.scene.config.export.of_formats(goal.request.formats))
        with self._publishers.series():
            try:
                self._each(goal, result, ids, "complete", self._complete)
                self._rest(goal, result.completed_ids, len(ids))
                if goal.request.formats:
                    self._each(goal, result, list(result.completed_ids), "files", self._export)
            except Cancelled as error:
                if not result.completed_ids:
                    raise
                raise Cancelled(
                    f"Cancelled; {len(result.completed_ids)} of {len(ids)} objects were completed and stay."
                ) from error
        _tell_failures(result, len(ids))

    def _each(self, goal, result, ids: Sequence[InstanceId], stage: str, step: Callable[..., None]) -> None:
        """A job for each object; note in the result which failed and why."""
        for index, instance_id in enumerate(ids, 1):

            def work(progress: ProgressCallback, instance_id: InstanceId = instance_id) -> None:
                step(goal.request, instance_id, progress)

            try:
                self._job(goal, stage, work, instance_id, index, len(ids))
                if instance_id not in result.completed_ids:
                    result.completed_ids.append(instance_id)
            except Cancelled:
                raise
            except Exception as error:
                result.completed_ids = [i for i in result.completed_ids if i != instance_id]
                result.failed_ids.append(instance_id)
                result.failures.append(describe(error))

    def _job(
        self,
        goal,
        stage: str,
        work: Callable[[ProgressCallback], None],
        instance_id: int,
        index: int,
        total: int,
    ) -> None:
        def make_feedback(stage: str, fraction: float, message: str):
            return CompleteInstances.Feedback(
                instance_id=instance_id, index=index, total=total, stage=message or stage, progress=fraction
            )

        report = self._handling.feedback(goal, make_feedback, every_message=True)
        report(stage, 0.0, "")
        self._handling.run_for_goal(goal, "complete_instances", work, report)

    # ── in the worker ─────────────────────────────────────────────────────────────────────────────

    def _complete(self, request, instance_id: InstanceId, progress: ProgressCallback) -> None:
        scene = self._worker.scene
        if request.formats:
            require_exportable(self._folder(instance_id), scene.config.export.of_formats(request.formats))
        scene.complete(instance_id, request.num_samples or None, request.seed, progress, rest=False)
        self._worker.publish()

    def _rest(self, goal, ids: Sequence[InstanceId], total: int) -> None:
        """A job that lets those of the objects that are still there lie together."""

        def work(progress: ProgressCallback) -> None:
            scene = self._worker.scene
            scene.lay_to_rest([i for i in ids if i in scene.objects], progress)
            self._worker.publish()

        if ids:
            self._job(goal, "rest", work, 0, total, total)

    def _export(self, request, instance_id: InstanceId, progress: ProgressCallback) -> None:
        scene = self._worker.scene
        thing = scene.objects.get(instance_id)
        if thing is None:
            raise InputError(f"Object {instance_id} left the scene before its files were written.")
        progress("files", 0.0, f"files of object {instance_id}")
        config = scene.config.export.of_formats(request.formats)
        written = export_object(thing, self._folder(instance_id), config, scene.state.labelled_views)
        self._publishers.objects.note_files(instance_id, map(str, written))
        self._worker.publish()

    def _folder(self, instance_id: InstanceId) -> Path:
        return folder_under(self._data_folder, f"objects/{instance_id}")


def _tell_failures(result, total: int) -> None:
    """The message that says which failed; raises AlreadyCounted where none was completed."""
    if not result.failed_ids:
        return
    reasons = list(result.failures)
    if len(reasons) > 1:
        reasons = [f"object {i}: {reason}" for i, reason in zip(result.failed_ids, reasons)]
    result.success = False
    result.message = f"{len(result.failed_ids)} of {total} objects failed: {' '.join(reasons)}"
    if not result.completed_ids:
        raise AlreadyCounted(result.message)

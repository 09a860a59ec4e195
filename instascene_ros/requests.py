"""The services and actions of scene_node: each makes a job of the worker and waits for it.

Waiting costs a thread of the executor, so that at most MAX_WAITING requests wait at a time; more
are refused with a sentence.  Subscriptions have threads of their own left.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from instascene.action import BuildScene, CompleteInstances
from instascene.msg import CompletedObject as CompletedObjectMsg
from instascene.srv import CompleteInstance, GetInstance, ResetScene, SaveScene, SegmentInstances
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup

from instascene_core.errors import Cancelled, InputError, NotReadyError
from instascene_core.export.object_files import export_object
from instascene_core.export.saved_scene import save_scene
from instascene_core.progress import ProgressCallback
from instascene_ros import scene_messages
from instascene_ros.data_folder import folder_under
from instascene_ros.edits import Edits
from instascene_ros.worker import Job, describe

MAX_WAITING = 6
FEEDBACK_PERIOD_S = 0.2


class Requests:
    """`owner` is the scene node: it has scene, worker, errors, publishers, snapshot, parameters."""

    def __init__(self, owner) -> None:
        self._owner = owner
        self._slots = threading.BoundedSemaphore(MAX_WAITING)
        group = ReentrantCallbackGroup()
        self._edits = Edits(owner, self._do, group)
        for kind, name, handler in (
            (SegmentInstances, "segment_instances", self._segment_instances),
            (CompleteInstance, "complete_instance", self._complete_instance),
            (GetInstance, "get_instance", self._get_instance),
            (SaveScene, "save_scene", self._save_scene),
            (ResetScene, "reset_scene", self._reset_scene),
            *self._edits.services,
        ):
            owner.create_service(kind, name, self._guarded(name, handler), callback_group=group)
        self._actions = [
            ActionServer(
                owner, kind, name, self._guarded_goal(name, kind.Result, handler),
                callback_group=group,
                goal_callback=lambda goal: GoalResponse.ACCEPT,
                cancel_callback=lambda goal: CancelResponse.ACCEPT,
            )
            for kind, name, handler in (
                (BuildScene, "build_scene", self._build_scene),
                (CompleteInstances, "complete_instances", self._complete_instances),
            )
        ]  # fmt: skip

    def destroy(self) -> None:
        for action in self._actions:
            action.destroy()

    # ── how every request is treated ──────────────────────────────────────────────────────────────

    def _guarded(self, name: str, handler: Callable) -> Callable:
        """A service callback that always answers: success, or false and one sentence."""

        def callback(request, response):
            try:
                with self._slot():
                    handler(request, response)
                response.success, response.message = True, response.message or "done"
            except Exception as error:
                response.success, response.message = False, self._failed(name, error)
            return response

        return callback

    def _guarded_goal(self, name: str, result_type, handler: Callable) -> Callable:
        def callback(goal):
            result, started = result_type(), time.monotonic()
            try:
                with self._slot():
                    handler(goal, result)
                result.success, result.message = not result.message, result.message or "done"
                finish = goal.succeed
            except Cancelled:
                result.success, result.message = False, "Cancelled; the scene is as it was before."
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
            self._owner.report_error("not ready" if isinstance(error, NotReadyError) else name, sentence)
        return sentence

    def _do(self, name: str, function: Callable[[ProgressCallback], object], timeout_s: float):
        """Run `function` in the worker and return its result."""
        timeout_s = timeout_s if timeout_s > 0 else self._owner.parameters.service_timeout_s
        return self._owner.worker.submit(name, function).result(timeout_s)

    # ── services ──────────────────────────────────────────────────────────────────────────────────

    def _segment_instances(self, request, response) -> None:
        def work(progress):
            self._owner.scene.segment(progress)
            self._owner.scene.surface()  # the first click need not wait for it
            return self._owner.publish()

        started = time.monotonic()
        snapshot = self._do("segment_instances", work, request.timeout_s)
        response.instances = self._instances(snapshot)
        response.duration_s = time.monotonic() - started
        count = len(snapshot.instances.objects)
        response.message = f"{count} object{'s' if count != 1 else ''} found."

    def _instances(self, snapshot):
        header = self._owner.publishers_.header(snapshot)
        return scene_messages.instances_message(snapshot.instances, set(snapshot.objects), header)

    def _complete_instance(self, request, response) -> None:
        def work(progress):
            return self._complete(
                request.instance_id, request.num_samples, request.seed, request.formats, progress
            )

        response.completed_object = self._do("complete_instance", work, request.timeout_s)

    def _complete(self, instance_id, num_samples, seed, formats, progress) -> CompletedObjectMsg:
        """In the worker: complete, write files, publish."""
        owner = self._owner
        result = owner.scene.complete(instance_id, num_samples or None, seed, progress)
        files = ()
        if formats:
            config = replace(owner.scene.config.export, formats=tuple(formats))
            folder = folder_under(owner.parameters.data_folder, f"objects/{instance_id}")
            files = export_object(result, folder, config)
        snapshot = owner.publish()
        message = scene_messages.completed_object_message(
            result, owner.publishers_.header(snapshot), [str(f) for f in files]
        )
        owner.publishers_.publish_completed(message)
        return message

    def _get_instance(self, request, response) -> None:
        snapshot = self._owner.snapshot
        if snapshot.instances is None:
            raise NotReadyError("There are no instances yet; call segment_instances first.")
        instance = snapshot.instances[request.instance_id]
        result = snapshot.objects.get(instance.id)
        response.header = self._owner.publishers_.header(snapshot)
        response.instance = scene_messages.instance_message(instance, result is not None)
        if result is not None:
            response.completed_object = scene_messages.completed_object_message(result, response.header)

    def _save_scene(self, request, response) -> None:
        owner = self._owner
        folder = folder_under(owner.parameters.data_folder, request.name)

        def work(progress):
            return save_scene(owner.scene, folder, source="ROS topics", progress=progress, with_frames=True)

        files = self._do("save_scene", work, request.timeout_s)
        response.folder = str(folder)
        response.files = [str(Path(f).relative_to(folder)) for f in files]

    def _reset_scene(self, request, response) -> None:
        owner = self._owner
        owner.worker.cancel_all()

        def work(progress):
            owner.scene.reset()
            owner.selected = 0
            owner.source.clear()
            owner.errors.clear()
            return owner.publish()

        self._do("reset_scene", work, 0.0)

    # ── actions ───────────────────────────────────────────────────────────────────────────────────

    def _follow(self, job: Job, goal):
        """Wait for a job; a cancelled goal cancels it."""
        while not job.future.done():
            if goal.is_cancel_requested:
                job.cancel()
            time.sleep(0.05)
        return job.future.result()

    @staticmethod
    def _feedback(goal, make: Callable[[str, float, str], object]) -> ProgressCallback:
        """Progress as feedback, at most a few times a second."""
        last = [-math.inf, ""]

        def progress(stage: str, fraction: float, message: str = "") -> None:
            now = time.monotonic()
            if now - last[0] >= FEEDBACK_PERIOD_S or stage != last[1]:
                last[:] = [now, stage]
                goal.publish_feedback(make(stage, float(fraction), message))

        return progress

    def _build_scene(self, goal, result) -> None:
        owner, request = self._owner, goal.request

        def make(stage, fraction, message):
            psnr = float(owner.scene.metrics.get("psnr", math.nan))
            return BuildScene.Feedback(stage=stage, progress=fraction, psnr=psnr, message=message)

        def work(progress):
            owner.scene.run(
                "segment" if request.segment else "reconstruct",
                progress,
                iterations=request.iterations or None,
                time_budget_s=request.time_budget_s or None,
            )
            return owner.publish()

        job = owner.worker.submit("build_scene", work, self._feedback(goal, make))
        snapshot = self._follow(job, goal)
        result.frames, result.psnr = snapshot.num_frames, snapshot.psnr
        result.gaussians = len(snapshot.gaussians)
        result.instances = self._instances(snapshot)

    def _complete_instances(self, goal, result) -> None:
        """One job an object, so that other requests get their turn in between."""
        owner, request = self._owner, goal.request
        if owner.snapshot.instances is None:
            raise NotReadyError("There are no instances yet; call segment_instances first.")
        ids = list(request.instance_ids) or [i.id for i in owner.snapshot.instances.objects]
        for index, instance_id in enumerate(ids):

            def make(stage, fraction, message, index=index, instance_id=instance_id):
                return CompleteInstances.Feedback(
                    instance_id=instance_id, index=index + 1, total=len(ids), stage=stage, progress=fraction
                )

            def work(progress, instance_id=instance_id):
                return self._complete(
                    instance_id, request.num_samples, request.seed, request.formats, progress
                )

            report = self._feedback(goal, make)
            report("complete", 0.0)
            try:
                self._follow(owner.worker.submit("complete_instance", work, report), goal)
                result.completed_ids.append(instance_id)
            except Cancelled:
                raise
            except Exception as error:
                result.failed_ids.append(instance_id)
                result.failures.append(describe(error))
        if result.failed_ids:
            result.message = f"{len(result.failed_ids)} of {len(ids)} objects failed: {result.failures[0]}"

"""Services and actions that make the scene's results: decompose, complete, save."""

import time
from collections.abc import Callable
from pathlib import Path

from instascene.action import BuildScene, CompleteInstances
from instascene.msg import CompletedObject as CompletedObjectMsg
from instascene.srv import (
    CompleteInstance,
    GetInstance,
    ResetScene,
    SaveScene,
    SegmentInstances,
    SegmentParts,
)

from instascene_core.errors import NotReadyError
from instascene_core.export.asset import in_object_frame
from instascene_core.export.object_files import export_object, require_exportable
from instascene_core.export.saved_scene import save_scene
from instascene_core.instances import InstanceId
from instascene_core.parts.segment import PartSegmenter
from instascene_core.progress import ProgressCallback
from instascene_core.scene import nothing_found
from instascene_ros import scene_messages
from instascene_ros.data_folder import folder_under
from instascene_ros.publishers import ScenePublishers
from instascene_ros.request_handling import RequestHandling
from instascene_ros.scene_worker import SceneWorker
from instascene_ros.series import CompletingSeries


class Requests:
    """`services` and `actions` hold the type, name and handler of each.

    data_folder: files are written below it.
    forget_inputs: called when the scene is reset; forgets the frames that wait, their counts and errors.
    """

    def __init__(
        self,
        worker: SceneWorker,
        publishers: ScenePublishers,
        handling: RequestHandling,
        data_folder: Path,
        forget_inputs: Callable[[], None],
    ) -> None:
        self._worker, self._publishers, self._handling = worker, publishers, handling
        self._data_folder, self._forget_inputs = data_folder, forget_inputs
        self.services = (
            (SegmentInstances, "segment_instances", self._segment_instances),
            (CompleteInstance, "complete_instance", self._complete_instance),
            (GetInstance, "get_instance", self._get_instance),
            (SegmentParts, "segment_parts", self._segment_parts),
            (SaveScene, "save_scene", self._save_scene),
            (ResetScene, "reset_scene", self._reset_scene),
        )
        series = CompletingSeries(worker, publishers, handling, data_folder)
        self.actions = (
            (BuildScene, "build_scene", self._build_scene),
            (CompleteInstances, "complete_instances", series),
        )

    # ── services ──────────────────────────────────────────────────────────────────────────────────

    def _segment_instances(self, request, response) -> None:
        def work(progress: ProgressCallback):
            scene = self._worker.scene
            scene.segment(progress)
            scene.surface()  # the first click need not wait for it
            return self._worker.publish(), nothing_found(scene)

        started = time.monotonic()
        snapshot, nothing = self._handling.run("segment_instances", work, request.timeout_s)
        response.instances = self._publishers.instances_message(snapshot)
        response.duration_s = time.monotonic() - started
        if nothing is not None:
            raise nothing
        count = len(snapshot.instances.objects)
        response.message = f"{count} object{'s' if count != 1 else ''} found."

    def _complete_instance(self, request, response) -> None:
        def work(progress: ProgressCallback):
            return self._complete(InstanceId(request.instance_id), request, progress)

        response.completed_object = self._handling.run("complete_instance", work, request.timeout_s)

    def _complete(self, instance_id: InstanceId, request, progress: ProgressCallback) -> CompletedObjectMsg:
        """In the worker: complete as the request says, write files, publish."""
        scene = self._worker.scene
        config = scene.config.export.of_formats(request.formats)
        folder = folder_under(self._data_folder, f"objects/{instance_id}")
        if request.formats:
            require_exportable(folder, config)  # what cannot be written is refused before the work
        result = scene.complete(instance_id, request.num_samples or None, request.seed, progress)
        written = export_object(result, folder, config, scene.state.labelled_views) if request.formats else []
        files = [str(f) for f in written]
        self._publishers.objects.note_files(instance_id, files)
        header = self._publishers.header(self._worker.publish())
        return scene_messages.completed_object_message(result, header, files)

    def _get_instance(self, request, response) -> None:
        snapshot = self._worker.snapshot
        instances = snapshot.instances_in_map
        if instances is None:
            raise NotReadyError("There are no instances yet; call segment_instances first.")
        instance = instances[InstanceId(request.instance_id)]
        result = snapshot.objects.get(instance.id)
        response.header = self._publishers.header(snapshot)
        response.instance = scene_messages.instance_message(instance, result is not None)
        if result is not None:
            response.completed_object = scene_messages.completed_object_message(result, response.header)

    def _segment_parts(self, request, response) -> None:
        instances = self._worker.snapshot.instances_in_map
        if instances is None:
            raise NotReadyError("There are no instances yet; call segment_instances first.")
        instance_id = instances[InstanceId(request.instance_id)].id

        def work(progress: ProgressCallback):
            scene = self._worker.scene
            result = scene.objects.get(instance_id)
            if result is None:
                raise NotReadyError(
                    f"Object {instance_id} is not completed; call complete_instance with its id first."
                )
            mesh = scene_messages.decimated(result.mesh, scene_messages.MAX_TRIANGLES)
            segmenter = PartSegmenter.from_config(scene.config.parts)
            return mesh.moved(result.world_offset), segmenter.label_mesh(in_object_frame(result, mesh))

        mesh, labels = self._handling.run("segment_parts", work, request.timeout_s)
        response.header = self._publishers.header(self._worker.snapshot)
        response.mesh = scene_messages.mesh_message(mesh)
        response.levels = [scene_messages.part_level_message(level) for level in labels.levels]
        response.message = f"Parts: {', '.join(labels.levels[-1].names)}."

    def _save_scene(self, request, response) -> None:
        folder = folder_under(self._data_folder, request.name)

        def work(progress: ProgressCallback):
            scene = self._worker.scene
            return save_scene(scene, folder, source="ROS topics", progress=progress, with_frames=True)

        files = self._handling.run("save_scene", work, request.timeout_s)
        response.folder = str(folder)
        response.files = [str(Path(f).relative_to(folder)) for f in files]

    def _reset_scene(self, request, response) -> None:
        def work(progress: ProgressCallback) -> None:
            self._worker.scene.reset()
            self._worker.selected = 0
            self._forget_inputs()

        self._worker.cancel_all()
        self._handling.run("reset_scene", work)

    # ── actions ───────────────────────────────────────────────────────────────────────────────────

    def _build_scene(self, goal, result) -> None:
        request = goal.request

        def make_feedback(stage: str, fraction: float, message: str):
            psnr = self._worker.scene.psnr
            return BuildScene.Feedback(stage=stage, progress=fraction, psnr=psnr, message=message)

        def work(progress: ProgressCallback):
            self._worker.scene.run(
                "segment" if request.segment else "reconstruct",
                progress,
                iterations=request.iterations or None,
                time_budget_s=request.time_budget_s or None,
                again=True,
            )
            return self._worker.publish(), nothing_found(self._worker.scene) if request.segment else None

        snapshot, nothing = self._handling.run_for_goal(
            goal, "build_scene", work, self._handling.feedback(goal, make_feedback)
        )
        result.frames, result.psnr = snapshot.num_frames, snapshot.psnr
        result.gaussians = len(snapshot.gaussians)
        result.instances = self._publishers.instances_message(snapshot)
        if nothing is not None:
            raise nothing

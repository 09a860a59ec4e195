"""Requests that point into the scene: click on an instance, take one away, take up a saved scene."""

import logging
import time
from dataclasses import replace
from pathlib import Path

from geometry_msgs.msg import PointStamped
from instascene.srv import LoadScene, RemoveInstance, SegmentAt

from instascene_core.export.saved_scene import load_scene
from instascene_core.instances import InstanceId
from instascene_core.progress import ProgressCallback
from instascene_ros import scene_messages
from instascene_ros.data_folder import folder_under
from instascene_ros.error_log import ErrorLog, describe
from instascene_ros.map_points import MapPoints
from instascene_ros.publishers import ScenePublishers
from instascene_ros.request_handling import RequestHandling
from instascene_ros.scene_worker import SceneWorker

logger = logging.getLogger(__name__)


class Edits:
    """`services` holds the type, name and handler of each; `on_clicked` takes RViz' clicked points.

    data_folder: saved scenes are found below it.
    """

    def __init__(
        self,
        worker: SceneWorker,
        publishers: ScenePublishers,
        handling: RequestHandling,
        errors: ErrorLog,
        points: MapPoints,
        data_folder: Path,
    ) -> None:
        self._worker, self._publishers, self._handling = worker, publishers, handling
        self._errors, self._points, self._data_folder = errors, points, data_folder
        self.services = (
            (SegmentAt, "segment_at", self._segment_at),
            (RemoveInstance, "remove_instance", self._remove_instance),
            (LoadScene, "load_scene", self._load_scene),
        )

    def on_clicked(self, message: PointStamped) -> None:
        """RViz' "Publish Point": select the instance there, made where no mask was, and highlight it."""
        try:
            point = self._points.in_map(message)
        except Exception as error:
            self._errors.report("clicked_point", describe(error))
            return

        def work(progress: ProgressCallback) -> None:
            instance = self._worker.scene.segment_at(point=point).instance
            self._worker.selected = instance.id
            logger.info("clicked: instance %d (%s)", instance.id, instance.kind)

        self._worker.submit("clicked_point", work)  # the worker counts and tells what goes wrong

    def _segment_at(self, request, response) -> None:
        point = self._points.in_map(request.point) if request.use_point else None
        pixel = None if request.use_point else (request.x, request.y)

        def work(progress: ProgressCallback):
            started = time.monotonic()
            selection = self._worker.scene.segment_at(
                request.frame, pixel, point, request.threshold or None, request.level, request.preview
            )
            response.duration_s = time.monotonic() - started
            if not request.preview:
                self._worker.selected = selection.instance.id
            return selection, self._worker.publish()

        selection, snapshot = self._handling.run("segment_at", work, request.timeout_s)
        instance = selection.instance
        low, high = (edge + snapshot.world_offset for edge in (instance.box_min, instance.box_max))
        response.header = self._publishers.header(snapshot)
        response.instance_id, response.created = instance.id, selection.created
        response.instance = scene_messages.instance_message(
            replace(instance, box_min=low, box_max=high), instance.id in snapshot.objects
        )
        response.point = scene_messages.point(selection.point)
        response.thresholds, response.sizes = list(selection.thresholds), list(selection.sizes)
        response.level_index, response.notes = selection.index, list(selection.notes)
        response.message = (
            f"{'New instance' if selection.created else 'Instance'} {instance.id} ({instance.kind})."
        )

    def _remove_instance(self, request, response) -> None:
        def work(progress: ProgressCallback):
            removal = self._worker.scene.remove(InstanceId(request.instance_id))
            if self._worker.selected == request.instance_id:
                self._worker.selected = 0
            return removal

        removal = self._handling.run("remove_instance", work, request.timeout_s)
        response.removed, response.filled = removal.removed, removal.filled
        response.message = " ".join((f"Instance {request.instance_id} was taken away.", *removal.notes))

    def _load_scene(self, request, response) -> None:
        """The scene takes the place of the present one; frames that come from now on add to it."""
        folder = folder_under(self._data_folder, request.name)

        def work(progress: ProgressCallback):
            loaded = load_scene(folder, self._worker.scene.config, progress)
            loaded.scene.corrections = self._worker.scene.corrections  # of frames that are still to come
            self._worker.replace_scene(loaded.scene)
            return loaded, self._worker.publish()

        loaded, snapshot = self._handling.run("load_scene", work, request.timeout_s)
        response.folder, response.frames = str(folder), loaded.frames_found
        response.instances = self._publishers.instances_message(snapshot)
        response.completed_ids = sorted(snapshot.objects)
        response.message = " ".join((f"{snapshot.num_frames} frames loaded.", *loaded.notes))

"""Requests that point into the scene: click on an instance, take one away, take up a saved scene."""

import logging
import time
from collections.abc import Callable

from geometry_msgs.msg import PointStamped
from instascene.srv import LoadScene, RemoveInstance, SegmentAt

from instascene_core.export.saved_scene import load_scene
from instascene_ros import scene_messages
from instascene_ros.data_folder import folder_under
from instascene_ros.map_points import MapPoints
from instascene_ros.worker import describe

logger = logging.getLogger(__name__)


class Edits:
    """`owner` is the scene node; `do(name, function, timeout_s)` runs a function in its worker and waits."""

    def __init__(self, owner, do: Callable, callback_group) -> None:
        self._owner, self._do = owner, do
        self._points = MapPoints(owner, owner.parameters.map_frame)
        self.services = (
            (SegmentAt, "segment_at", self._segment_at),
            (RemoveInstance, "remove_instance", self._remove_instance),
            (LoadScene, "load_scene", self._load_scene),
        )
        owner.create_subscription(
            PointStamped, "clicked_point", self._on_clicked, 10, callback_group=callback_group
        )

    def _segment_at(self, request, response) -> None:
        owner = self._owner
        point = self._points.in_map(request.point) if request.use_point else None
        pixel = None if request.use_point else (request.x, request.y)

        def work(progress):
            started = time.monotonic()
            selection = owner.scene.segment_at(
                request.frame, pixel, point, request.threshold or None, request.level, request.preview
            )
            response.duration_s = time.monotonic() - started
            if not request.preview:
                owner.selected = selection.instance.id
            return selection, owner.publish()

        selection, snapshot = self._do("segment_at", work, request.timeout_s)
        instance = selection.instance
        response.header = owner.publishers_.header(snapshot)
        response.instance_id, response.created = instance.id, selection.created
        response.instance = scene_messages.instance_message(instance, instance.id in snapshot.objects)
        response.point = scene_messages.point(selection.point)
        response.thresholds, response.sizes = list(selection.thresholds), list(selection.sizes)
        response.level_index, response.notes = selection.index, list(selection.notes)
        response.message = (
            f"{'New instance' if selection.created else 'Instance'} {instance.id} ({instance.kind})."
        )

    def _on_clicked(self, message: PointStamped) -> None:
        """RViz' "Publish Point": select the instance there, made where no mask was, and highlight it."""
        owner = self._owner

        def work(progress):
            selection = owner.scene.segment_at(point=point)
            owner.selected = selection.instance.id
            logger.info("clicked: instance %d (%s)", selection.instance.id, selection.instance.kind)
            return owner.publish()

        try:
            point = self._points.in_map(message)
        except Exception as error:
            owner.report_error("clicked_point", describe(error))
            return
        owner.worker.submit("clicked_point", work)  # the worker counts and tells what goes wrong

    def _remove_instance(self, request, response) -> None:
        owner = self._owner

        def work(progress):
            removal = owner.scene.remove(request.instance_id)
            if owner.selected == request.instance_id:
                owner.selected = 0
            owner.publish()
            return removal

        removal = self._do("remove_instance", work, request.timeout_s)
        response.removed, response.filled = removal.removed, removal.filled
        response.message = " ".join((f"Instance {request.instance_id} was taken away.", *removal.notes))

    def _load_scene(self, request, response) -> None:
        """The scene takes the place of the present one; frames that come from now on add to it."""
        owner = self._owner
        folder = folder_under(owner.parameters.data_folder, request.name)

        def work(progress):
            loaded = load_scene(folder, owner.scene.config, progress)
            owner.scene, owner.selected = loaded.scene, 0
            return loaded, owner.publish()

        loaded, snapshot = self._do("load_scene", work, request.timeout_s)
        response.folder, response.frames = str(folder), loaded.frames_found
        header = owner.publishers_.header(snapshot)
        response.instances = scene_messages.instances_message(
            snapshot.instances, set(snapshot.objects), header
        )
        response.completed_ids = sorted(snapshot.objects)
        response.message = " ".join((f"{snapshot.num_frames} frames loaded.", *loaded.notes))

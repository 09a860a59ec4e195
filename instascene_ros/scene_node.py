"""scene_node: posed images in, instances and complete object meshes out.

Callbacks convert and enqueue, one worker thread owns the scene and publishes its results; services
and actions wait for their job in threads of their own.
"""

import logging
import sys
import threading
import time

from geometry_msgs.msg import PointStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_msgs.msg import Header

from instascene_core.config import Config
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback
from instascene_core.scene import Scene
from instascene_core.scene.means import require_means
from instascene_ros.blur_watch import BlurWatch
from instascene_ros.cameras import Cameras
from instascene_ros.clocks import steady_clock
from instascene_ros.conversions import matrix_from_numbers
from instascene_ros.edits import Edits
from instascene_ros.error_log import ErrorLog, describe
from instascene_ros.frame_assembly import BAD_IMAGE, BLURRED, REDUNDANT, FrameDropped
from instascene_ros.frame_jobs import FrameJobs
from instascene_ros.log_forwarding import forward_logging, stop_forwarding
from instascene_ros.map_points import MapPoints
from instascene_ros.parameters import NodeParameters, declare_parameters, require_settings
from instascene_ros.publishers import ScenePublishers, frame_prefix_of
from instascene_ros.request_handling import MAX_WAITING, RequestHandling, offer
from instascene_ros.requests import Requests
from instascene_ros.running import run_nodes
from instascene_ros.scene_worker import SceneWorker
from instascene_ros.self_filter import SelfFilter
from instascene_ros.status_messages import FRAME_JOB, status_message

logger = logging.getLogger("instascene_ros.scene_node")  # also as __main__
STATUS_GAP_S = 0.1  # between two status messages that a change of the worker's activity brings
NUM_THREADS = MAX_WAITING + 4  # one for each request that waits, some for subscriptions, timers and events
STOP_S = 3.0  # the worker has this long to reach its next progress report at the end


class SceneNode(LifecycleNode):
    """Parameters, publishers, subscriptions, services; no mathematics.

    A managed node: configured it answers requests, active it takes frames as well, cleaned up it has
    forgotten the scene.  With `autostart` it goes to active by itself.
    """

    def __init__(self, **node_options) -> None:
        super().__init__("scene_node", automatically_declare_parameters_from_overrides=True, **node_options)
        self._log_handler = forward_logging(self.get_logger())
        self._last_change = ""  # of a parameter, in words
        self.parameters, self._config = declare_parameters(self, self._on_parameters)
        if self.parameters.input.pose_source == "none":
            raise InputError("pose_source is none, which serves mask_node alone: scene_node needs poses.")
        self.errors = ErrorLog()
        self._last_status = 0.0
        self._rendered_key: tuple | None = None
        self._newest = ("", "")  # frame that came last, and tf's name of its camera
        self._status_lock = threading.Lock()
        self._owned: set = set()  # publishers, services … that come and go with the configuration
        self._action_servers: list = []
        # Wall time: the status comes also while a simulation's clock stands still.  An idle node
        # without a timer can miss SIGTERM for ever, too.
        self._status_timer = self.create_timer(
            self.parameters.status_period_s,
            self._on_status_timer,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=steady_clock(),
        )
        if self.parameters.autostart:
            self._configure()
            self.trigger_configure()
            self.trigger_activate()

    # ── lifecycle ─────────────────────────────────────────────────────────────────────────────────

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publishers and services are there, and the worker."""
        try:
            if not self._owned:
                self._configure()
        except InputError as error:  # the message of the transition cannot say why
            logger.error("cannot be configured: %s", error)
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frames come in."""
        self.source.start(self.frame_jobs.add)
        logger.info(
            "ready: frames come in on %s, poses in frame '%s' (%s)",
            " ".join(
                self.resolve_topic_name(f"{camera}/rgb/image" if camera else "rgb/image")
                for camera in self.parameters.input.camera_names
            ),
            self.parameters.map_frame,
            self.parameters.input.pose_source,
        )
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """No more frames; the scene stays, and requests are answered."""
        self.source.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The scene is forgotten."""
        if not self._dismiss():
            return TransitionCallbackReturn.FAILURE
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleaned up, for good."""
        self._dismiss()
        return super().on_shutdown(state)

    def _configure(self) -> None:
        """InputError where the parameters ask for what is not there."""
        require_settings(self._config)
        self._tell_of_means(self._config)
        before = self._entities()
        self.scene_publishers = ScenePublishers(
            self, self.parameters.map_frame, self.parameters.planning_scene_diff, self.parameters.frame_prefix
        )
        self.worker = SceneWorker(
            Scene(self._config), self.errors, self.scene_publishers.publish_changes, self._on_worker_change,
            self.parameters.work_ahead,
        )  # fmt: skip
        inputs = self.parameters.input
        self.worker.scene.corrections = inputs.corrections
        self.source = Cameras(self, inputs, self.parameters.map_frame, self.errors.report)
        self.frame_jobs = FrameJobs(
            self.worker, self.source, self.errors, FRAME_JOB, inputs.max_queued_frames, self._take
        )
        self._blur_watch, self._self_filter = BlurWatch(inputs.min_sharpness), None
        if inputs.self_filter:
            base = matrix_from_numbers(inputs.base_in_map, "The parameter base_in_map")
            self._self_filter = SelfFilter(self, base, MutuallyExclusiveCallbackGroup())
        self._offer_requests()
        self.worker.start()
        self._owned = self._entities() - before

    @staticmethod
    def _tell_of_means(config: Config) -> None:
        """What segmenting and completing would lack, as a warning: label images may come on a topic, and
        parameters one after the other."""
        try:
            lacking = require_means(config)
        except InputError as error:
            lacking = (f"{error} Until then requests that need it fail.",)
        for sentence in lacking:
            logger.warning("%s", sentence)

    def _entities(self) -> set:
        return {*self.publishers, *self.subscriptions, *self.services, *self.timers, *self.clients}

    def _dismiss(self) -> bool:
        """Undo `_configure`; False when the worker did not end in time."""
        if not self._owned:
            return True
        # First, so that a goal whose job is cancelled now does not answer into what is shut down already.
        for server in self._action_servers:
            server.destroy()
        self._action_servers = []
        ended = self.worker.stop(STOP_S)
        self.source.stop()
        with self._status_lock:
            owned, self._owned = self._owned, set()
        destroyers = (self.destroy_publisher, self.destroy_subscription, self.destroy_service,
                      self.destroy_timer, self.destroy_client)  # fmt: skip
        for entity in owned:
            any(destroy(entity) for destroy in destroyers)  # each knows its own kind
        return ended

    def _offer_requests(self) -> None:
        group, data_folder = ReentrantCallbackGroup(), self.parameters.data_folder
        handling = RequestHandling(
            self.worker, self.errors, self.parameters.service_timeout_s, self.context.ok
        )
        requests = Requests(self.worker, self.scene_publishers, handling, data_folder, self._forget_inputs)
        points = MapPoints(self, self.parameters.map_frame)
        edits = Edits(self.worker, self.scene_publishers, handling, self.errors, points, data_folder)
        self.create_subscription(PointStamped, "clicked_point", edits.on_clicked, 10, callback_group=group)
        services = (*requests.services, *edits.services)
        self._action_servers = offer(self, handling, services, requests.actions, group)

    def _on_parameters(self, parameters: NodeParameters, config: Config, what: str) -> None:
        """Some were changed while the node runs."""
        self.parameters, self._config, self._last_change = parameters, config, what
        logger.info("%s", what)
        self._tell_of_means(config)
        if not self._owned:
            return
        given = parameters.input
        self.source.set_keyframes(given.keyframe_translation_m, given.keyframe_rotation_deg)
        self._blur_watch.min_sharpness = given.min_sharpness

        def take(progress: ProgressCallback) -> None:
            self.worker.scene.config = config

        self.worker.submit("settings", take)

    # ── frames ────────────────────────────────────────────────────────────────────────────────────

    def _take(self, frame: Frame, header: Header) -> None:
        """In the worker: give one frame to the scene."""
        if self._blur_watch.is_blurred(frame.rgb, header.frame_id):
            raise FrameDropped(BLURRED)
        if self._self_filter is not None:
            frame = self._self_filter.without_robot(frame)
        try:
            replaced = self.worker.scene.add_frame(self.parameters.input.corrections.depth_of(frame))
        except InputError as error:
            raise FrameDropped(BAD_IMAGE, str(error)) from error
        self._newest = (frame.name, header.frame_id)
        if replaced is not None:
            self.source.drop(REDUNDANT)

    def _forget_inputs(self) -> None:
        self.source.clear()
        self._blur_watch.clear()
        self.errors.clear()

    # ── results ───────────────────────────────────────────────────────────────────────────────────

    def _on_worker_change(self) -> None:
        if self.worker.activity.kind == FRAME_JOB or time.monotonic() - self._last_status < STATUS_GAP_S:
            return
        self._publish_status()

    def _on_status_timer(self) -> None:
        if not self._owned:
            return
        try:
            self._publish_status()
            self._render_if_wanted()
            self.worker.follow_if_due()
            self.scene_publishers.complete_markers()
        except Exception as error:  # the heartbeat must not end
            if self.context.ok():
                self.errors.report("internal", describe(error))

    def _publish_status(self) -> None:
        with self._status_lock:
            if not self._owned or not self.context.ok():
                return
            self._last_status = time.monotonic()
            header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self.parameters.map_frame)
            message = status_message(
                self.worker.snapshot, self.worker.activity, self.source.counters, self.errors, header,
                self._last_change,
            )  # fmt: skip
            self.scene_publishers.publish_status(message, self.errors.is_troubled)

    def _render_if_wanted(self) -> None:
        """The newest frame as the Gaussians show it, when someone looks and it would be new to them."""
        subscribers = self.scene_publishers.rendered_subscribers
        snapshot = self.worker.snapshot
        if not subscribers or snapshot.gaussians is None or not self.worker.is_idle:
            return
        key = (id(snapshot.gaussians), snapshot.num_frames, subscribers)
        if key != self._rendered_key:
            self._rendered_key = key
            self.worker.submit("render", lambda progress: self._render())

    def _render(self) -> None:
        """In the worker."""
        frame = self.worker.scene.frames[-1]
        result = self.worker.scene.render(frame)
        rgb = (result.color.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()
        name, camera = self._newest
        if name != frame.name or not camera:  # of a loaded scene: its camera is unknown to tf
            camera = f"{frame_prefix_of(self, self.parameters.frame_prefix)}rendered_optical_frame"
        self.scene_publishers.publish_rendered(rgb, frame, camera)

    def close(self) -> bool:
        """End the worker and the node; False when the worker did not end in time."""
        ended = self._dismiss()
        stop_forwarding(self._log_handler)
        self.destroy_node()
        # rclpy leaves the state machine to the garbage collector; until then the node would stay visible.
        del self._state_machine
        return ended


def main(args: list[str] | None = None) -> int:
    return run_nodes({"scene_node": SceneNode}, num_threads=NUM_THREADS, args=args)


if __name__ == "__main__":
    sys.exit(main())

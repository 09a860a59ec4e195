"""scene_node: posed images in, instances and complete object meshes out.

Callbacks convert and enqueue, one worker thread owns the scene and publishes its results; services
and actions wait for their job in threads of their own.
"""

import logging
import sys
import threading
import time

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import Header

from instascene_core.errors import InputError
from instascene_core.scene import Scene
from instascene_ros import frame_assembly
from instascene_ros.frame_assembly import AssembledFrame
from instascene_ros.frame_source import FrameSource, build_frame
from instascene_ros.log_forwarding import forward_logging, stop_forwarding
from instascene_ros.parameters import declare_parameters
from instascene_ros.publishers import FRAME_JOB, ScenePublishers, Snapshot, status_message
from instascene_ros.requests import MAX_WAITING, Requests
from instascene_ros.running import run_node
from instascene_ros.worker import ErrorLog, Worker, describe

logger = logging.getLogger("instascene_ros.scene_node")  # also as __main__
IDLE_SLICE_S = 0.1  # a job waits this long at most for the worker's idle work
STOP_S = 3.0  # the worker has this long to reach its next progress report at the end


class SceneNode(Node):
    """Parameters, publishers, subscriptions, services; no mathematics."""

    def __init__(self, **node_options) -> None:
        super().__init__("scene_node", automatically_declare_parameters_from_overrides=True, **node_options)
        self._log_handler = forward_logging(self.get_logger())
        self.parameters, config = declare_parameters(self)
        self.scene = Scene(config)  # the worker's; others read `snapshot`
        self.snapshot = Snapshot(device=self.scene.device)
        self.selected = 0  # the instance clicked last, the worker's; 0 = none
        self.errors = ErrorLog()
        work_ahead = self._work_ahead if self.parameters.work_ahead else None
        self.worker = Worker(self.errors, on_change=self._on_worker_change, when_idle=work_ahead)
        self.publishers_ = ScenePublishers(self, self.parameters.map_frame)
        self.source = FrameSource(
            self, self.parameters.input, self.parameters.map_frame, self._on_frame, self.report_error
        )
        self._requests = Requests(self)
        self._queued_frames = 0
        self._queued_lock = threading.Lock()
        self._last_status = 0.0
        self._rendered_key: tuple | None = None
        self._status_lock = threading.Lock()
        # Wall time: the status comes also while a simulation's clock stands still.  An idle node
        # without a timer can miss SIGTERM for ever, too.
        self._status_timer = self.create_timer(
            self.parameters.status_period_s,
            self._on_status_timer,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self.worker.start()
        logger.info(
            "ready: frames come in on %s, poses in frame '%s' (%s)",
            self.resolve_topic_name("rgb/image"),
            self.parameters.map_frame,
            self.parameters.input.pose_source,
        )

    # ── frames ────────────────────────────────────────────────────────────────────────────────────

    def _on_frame(self, assembled: AssembledFrame) -> None:
        with self._queued_lock:
            if self._queued_frames >= self.parameters.input.max_queued_frames:
                self.source.drop(frame_assembly.QUEUE_FULL)
                return
            self._queued_frames += 1
        job = self.worker.submit(FRAME_JOB, lambda progress: self._ingest(assembled))
        # Also where the job is cancelled before it begins (reset_scene, the end of the node).
        job.future.add_done_callback(self._on_frame_done)

    def _on_frame_done(self, future) -> None:
        with self._queued_lock:
            self._queued_frames -= 1

    def _ingest(self, assembled: AssembledFrame) -> None:
        """In the worker: decode one frame and give it to the scene."""
        stamp = assembled.image.header.stamp
        try:
            decoded = build_frame(assembled, name=f"{stamp.sec}_{stamp.nanosec:09d}")
            replaced = self.scene.add_frame(decoded.frame)
        except InputError as error:
            self.source.drop(frame_assembly.BAD_IMAGE, describe(error))
            return
        for kind, sentence in decoded.complaints:
            self.report_error(kind, sentence)
        self.source.count_used()
        if replaced is not None:
            self.source.drop(frame_assembly.REDUNDANT)
        self.snapshot = Snapshot.of(self.scene, self.selected)

    def _work_ahead(self) -> bool:
        """In the worker while no job waits: a slice of reconstruction; False until the next job is done."""
        return self.scene.work_ahead(IDLE_SLICE_S)

    # ── results ───────────────────────────────────────────────────────────────────────────────────

    def publish(self) -> Snapshot:
        """In the worker, after a job: take a snapshot and publish what changed."""
        self.snapshot = Snapshot.of(self.scene, self.selected)
        self.publishers_.publish_changes(self.snapshot)
        return self.snapshot

    def report_error(self, kind: str, sentence: str) -> None:
        """Count an error; log it the first time it comes in these words."""
        if self.errors.add(kind, sentence):
            logger.warning("%s: %s", kind, sentence)

    def _on_worker_change(self) -> None:
        if self.worker.activity.kind == FRAME_JOB or time.monotonic() - self._last_status < 0.1:
            return
        self._publish_status()

    def _on_status_timer(self) -> None:
        try:
            self._publish_status()
            self._render_if_wanted()
        except Exception as error:  # the heartbeat must not end
            if rclpy.ok(context=self.context):
                self.report_error("internal", describe(error))

    def _publish_status(self) -> None:
        with self._status_lock:
            if not rclpy.ok(context=self.context):
                return
            self._last_status = time.monotonic()
            header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self.parameters.map_frame)
            self.publishers_.publish_status(
                status_message(self.snapshot, self.worker.activity, self.source.counters, self.errors, header)
            )

    def _render_if_wanted(self) -> None:
        """The newest frame as the Gaussians show it, when someone looks and it would be new to them."""
        subscribers = self.publishers_.rendered_subscribers
        snapshot = self.snapshot
        if not subscribers or snapshot.gaussians is None or not self.worker.is_idle:
            return
        key = (id(snapshot.gaussians), snapshot.num_frames, subscribers)
        if key != self._rendered_key:
            self._rendered_key = key
            self.worker.submit("render", lambda progress: self._render())

    def _render(self) -> None:
        result = self.scene.render(self.scene.frames[-1])
        rgb = (result.color.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()
        self.publishers_.publish_rendered(rgb, self.snapshot)

    def close(self) -> bool:
        """End the worker and the node; False when the worker did not end in time."""
        ended = self.worker.stop(STOP_S)
        self._requests.destroy()
        stop_forwarding(self._log_handler)
        self.destroy_node()
        return ended


def main(args: list[str] | None = None) -> int:
    # One thread for each request that waits, and some for subscriptions, timers and events.
    return run_node("scene_node", SceneNode, num_threads=MAX_WAITING + 4, args=args)


if __name__ == "__main__":
    sys.exit(main())

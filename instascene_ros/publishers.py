"""What scene_node publishes."""

import os
import threading

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import TransformStamped
from instascene.msg import CompletedObject as CompletedObjectMsg
from instascene.msg import InstanceArray, SceneStatus
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from instascene_core.local_frame import moved
from instascene_ros import scene_messages
from instascene_ros.collision_objects import CollisionBook, collision_object_type
from instascene_ros.conversions import image_message, pose_from_matrix, time_message
from instascene_ros.error_log import ErrorLog
from instascene_ros.frame_assembly import FrameCounters
from instascene_ros.snapshot import Snapshot
from instascene_ros.worker import Activity

FRAME_JOB = "frame"  # taking one frame in: not worth calling the node busy
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


def local_frame_of(map_frame: str) -> str:
    """The tf frame of a scene that lies far from the map's origin."""
    return f"{map_frame}_local"


def resident_memory_mb() -> float:
    """Resident memory of this process in MB (0 where the system does not say)."""
    try:
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class ScenePublishers:
    """All publishers of the node; `publish_changes` sends what differs from the last time."""

    def __init__(self, node, map_frame: str) -> None:
        self._node, self._map_frame = node, map_frame
        self._lock = threading.Lock()
        self._markers_book = scene_messages.MarkerBook()
        self._published = Snapshot()
        self._instances = node.create_publisher(InstanceArray, "instances", LATCHED)
        self._markers = node.create_publisher(MarkerArray, "markers", LATCHED)
        self._gaussians = node.create_publisher(PointCloud2, "gaussians", LATCHED)
        self._completed = node.create_publisher(CompletedObjectMsg, "completed_objects", RELIABLE)
        self._rendered = node.create_publisher(Image, "rendered/image", RELIABLE)
        self._status = node.create_publisher(SceneStatus, "status", RELIABLE)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE)
        self._tf = self._make_tf_broadcaster()
        self._collision_book = CollisionBook()
        self._collisions = self._make_collision_publisher()

    def _make_tf_broadcaster(self):
        try:
            from tf2_ros import StaticTransformBroadcaster
        except ImportError:
            self._node.get_logger().debug("tf2_ros is not installed: no transforms object_<id>")
            return None
        return StaticTransformBroadcaster(self._node)

    def _make_collision_publisher(self):
        """`collision_objects`, where moveit_msgs is installed."""
        message_type = collision_object_type()
        if message_type is None:
            self._node.get_logger().debug("moveit_msgs is not installed: no topic collision_objects")
            return None
        return self._node.create_publisher(message_type, "collision_objects", RELIABLE)

    def header(self, snapshot: Snapshot) -> Header:
        return Header(stamp=time_message(snapshot.stamp), frame_id=self._map_frame)

    def scene_header(self, snapshot: Snapshot) -> Header:
        """Of messages of 32-bit numbers, and of what RViz shows, which computes with such: the map frame, or
        far from its origin the scene's local frame, which tf knows."""
        header = self.header(snapshot)
        if snapshot.world_offset.any():
            header.frame_id = local_frame_of(self._map_frame)
        return header

    def instances_message(self, snapshot: Snapshot) -> InstanceArray:
        return scene_messages.instances_message(
            snapshot.instances_in_map, set(snapshot.objects), self.header(snapshot)
        )

    def publish_changes(self, snapshot: Snapshot) -> None:
        """Instances, markers and Gaussians where they changed; called by the worker."""
        if not self._node.context.ok():
            return
        with self._lock:
            last, self._published = self._published, snapshot
            header, scene_header = self.header(snapshot), self.scene_header(snapshot)
            if not np.array_equal(snapshot.world_offset, last.world_offset):
                self._tell_local_frame(snapshot, header)
            new_objects, same_objects = snapshot.objects_since(last), snapshot.has_objects_of(last)
            new_instances = snapshot.instances is not last.instances
            if new_instances or not same_objects:
                self._instances.publish(self.instances_message(snapshot))
            if new_instances or not same_objects or snapshot.selected != last.selected:
                selected = self._selected_points(snapshot)
                self._markers.publish(
                    self._markers_book.update(snapshot.instances, snapshot.objects, scene_header, selected)
                )
            if self._collisions is not None and not same_objects:
                for message in self._collision_book.update(snapshot.objects, header):
                    self._collisions.publish(message)
            if new_instances or snapshot.gaussians is not last.gaussians:
                labels = snapshot.instances.gaussian_labels if snapshot.instances else None
                self._gaussians.publish(
                    scene_messages.gaussians_message(snapshot.gaussians, labels, scene_header)
                )
            if self._tf is not None and new_objects:
                poses = {i: moved(o.world_from_object, o.world_offset) for i, o in new_objects.items()}
                self._tf.sendTransform([self._transform(f"object_{i}", p, header) for i, p in poses.items()])

    def _tell_local_frame(self, snapshot: Snapshot, header: Header) -> None:
        """Where the scene's frame lies in the map frame: on tf, and in the log for who has none."""
        offset, local = snapshot.world_offset, local_frame_of(self._map_frame)
        if not offset.any():
            return
        x, y, z = offset
        where = f"'{local}', whose origin is at ({x:.12g}, {y:.12g}, {z:.12g}) m of '{self._map_frame}'"
        if self._tf is None:
            how = "tf2_ros is not installed here: publish this transform by a static_transform_publisher"
        else:
            how = f"tf tells it; take '{local}' as the fixed frame of RViz"
            pose = np.eye(4)
            pose[:3, 3] = offset
            self._tf.sendTransform([self._transform(local, pose, header)])
        self._node.get_logger().warning(
            f"The scene is far from the map's origin: markers and gaussians are in {where} ({how}); all "
            f" other messages stay in '{self._map_frame}'"
        )

    @staticmethod
    def _selected_points(snapshot: Snapshot) -> np.ndarray | None:
        """[K, 3] of the Gaussians of the instance to highlight."""
        if not snapshot.selected or snapshot.gaussians is None or snapshot.instances is None:
            return None
        own = np.flatnonzero(snapshot.instances.gaussian_labels == snapshot.selected)
        return snapshot.gaussians.means.detach().cpu().numpy()[own]

    @staticmethod
    def _transform(child: str, map_from_child: np.ndarray, header: Header) -> TransformStamped:
        message = TransformStamped(header=header, child_frame_id=child)
        pose = pose_from_matrix(map_from_child)
        translation = message.transform.translation
        translation.x, translation.y, translation.z = pose.position.x, pose.position.y, pose.position.z
        message.transform.rotation = pose.orientation
        return message

    def publish_completed(self, message: CompletedObjectMsg) -> None:
        if self._node.context.ok():
            self._completed.publish(message)

    @property
    def rendered_subscribers(self) -> int:
        return self._rendered.get_subscription_count()

    def publish_rendered(self, rgb: np.ndarray, snapshot: Snapshot) -> None:
        """rgb: [H, W, 3] uint8."""
        if self._node.context.ok():
            self._rendered.publish(image_message(rgb, "rgb8", self.header(snapshot)))

    def publish_status(self, message: SceneStatus) -> None:
        self._status.publish(message)
        self._diagnostics.publish(diagnostics_message(message, self._node.get_fully_qualified_name()))


def status_message(
    snapshot: Snapshot, activity: Activity, counters: FrameCounters, errors: ErrorLog, header: Header
) -> SceneStatus:
    """SceneStatus from what the threads hold."""
    busy = activity.kind not in ("", FRAME_JOB)
    errors_now = errors.snapshot()
    dropped = dict(counters.dropped)
    if busy:
        state = SceneStatus.STATE_BUSY
    else:
        state = SceneStatus.STATE_READY if snapshot.num_frames else SceneStatus.STATE_WAITING
    return SceneStatus(
        header=header,
        state=state,
        stage=activity.stage,
        progress=float(activity.fraction),
        jobs_waiting=activity.waiting,
        frames_received=counters.received,
        frames_used=counters.used,
        frames_pending=counters.pending,
        frames_dropped=sum(dropped.values()),
        dropped_reasons=list(dropped),
        dropped_counts=list(dropped.values()),
        gaussians=len(snapshot.gaussians) if snapshot.gaussians is not None else 0,
        psnr=snapshot.psnr,
        instances=len(snapshot.instances.instances) if snapshot.instances else 0,
        completed_objects=len(snapshot.objects),
        memory_mb=resident_memory_mb(),
        device=snapshot.device,
        errors=sum(errors_now.counts.values()),
        error_kinds=list(errors_now.counts),
        error_counts=list(errors_now.counts.values()),
        last_error=errors_now.newest,
    )


def diagnostics_message(status: SceneStatus, name: str) -> DiagnosticArray:
    """The same for /diagnostics: WARN while nothing arrives or the newest figures hold errors."""
    level, text = DiagnosticStatus.OK, status.stage or status.state
    if status.last_error:
        level, text = DiagnosticStatus.WARN, status.last_error
    elif status.state == SceneStatus.STATE_WAITING:
        level, text = DiagnosticStatus.WARN, "No frame with a pose has arrived yet."
    values = [
        KeyValue(key=key, value=str(getattr(status, key)))
        for key in (
            "state", "frames_received", "frames_used", "frames_dropped", "frames_pending", "gaussians",
            "psnr", "instances", "completed_objects", "memory_mb", "device", "errors", "jobs_waiting",
        )
    ]  # fmt: skip
    values += [
        KeyValue(key=f"dropped: {reason}", value=str(count))
        for reason, count in zip(status.dropped_reasons, status.dropped_counts)
    ]
    entry = DiagnosticStatus(level=level, name=f"{name}: scene", message=text, hardware_id=status.device)
    entry.values = values
    return DiagnosticArray(header=Header(stamp=status.header.stamp), status=[entry])

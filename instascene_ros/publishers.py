"""What scene_node publishes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from instascene.msg import InstanceArray, SceneStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from instascene_core.frame import Frame
from instascene_core.local_frame import moved
from instascene_ros import scene_messages
from instascene_ros.collision_objects import CollisionTopics, collision_object_type, planning_scene_type
from instascene_ros.conversions import camera_info_message, image_message, time_message
from instascene_ros.instance_topics import DetectionTopic, EventTopic, vision_messages
from instascene_ros.marker_messages import MarkerBook
from instascene_ros.object_topics import ObjectTopics, latched
from instascene_ros.snapshot import Snapshot
from instascene_ros.status_messages import diagnostics_message
from instascene_ros.transform_topic import TransformTopic, transform_type

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


def local_frame_of(map_frame: str) -> str:
    """The tf frame of a scene that lies far from the map's origin."""
    return f"{map_frame}_local"


def frame_prefix_of(node, given: str = "") -> str:
    """What the node's own tf frames begin with: as given, else its namespace, so that two nodes do not share
    `object_2`."""
    prefix = (given or node.get_namespace()).strip("/")
    return f"{prefix}/" if prefix else ""


class ScenePublishers:
    """All publishers of the node; `publish_changes` sends what differs from the last time."""

    def __init__(
        self, node, map_frame: str, planning_scene_diff: bool = False, frame_prefix: str = ""
    ) -> None:
        self._node, self._map_frame = node, map_frame
        self._prefix = frame_prefix_of(node, frame_prefix)
        self._lock = threading.Lock()
        self._published = Snapshot()
        self._instances = node.create_publisher(InstanceArray, "instances", latched())
        self._markers = node.create_publisher(MarkerArray, "markers", latched())
        self._markers_book = MarkerBook()
        self._markers_partial = False  # the newest message holds changes only
        self._marker_readers = self._series = 0  # subscribers, and series of completions that are going on
        self._gaussians = node.create_publisher(PointCloud2, "gaussians", latched())
        self.objects, self._events = ObjectTopics(node), EventTopic(node)
        vision = vision_messages()
        self._detections = None if vision is None else DetectionTopic(node, vision)
        self._rendered = node.create_publisher(Image, "rendered/image", RELIABLE)
        self._rendered_info = node.create_publisher(CameraInfo, "rendered/camera_info", RELIABLE)
        self._status = node.create_publisher(SceneStatus, "status", RELIABLE)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE)
        self._transforms = self._make_transform_topic()
        self._collisions = self._make_collision_topics(planning_scene_diff)

    def _make_transform_topic(self) -> TransformTopic | None:
        kind = transform_type()
        if kind is None:
            self._node.get_logger().debug("tf2_ros is not installed: no transforms object_<id>")
            return None
        return TransformTopic(self._node, kind)

    def _make_collision_topics(self, diffs: bool) -> CollisionTopics | None:
        """Where moveit_msgs is installed."""
        kind = collision_object_type()
        if kind is None:
            self._node.get_logger().debug("moveit_msgs is not installed: no topic collision_objects")
            return None
        return CollisionTopics(self._node, kind, self._prefix, planning_scene_type() if diffs else None)

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
        """Results where they changed; called by the worker."""
        if not self._node.context.ok():
            return
        with self._lock:
            last, self._published = self._published, snapshot
            header, scene_header = self.header(snapshot), self.scene_header(snapshot)
            same_objects = snapshot.has_objects_of(last)
            new_instances = snapshot.instances is not last.instances
            if not np.array_equal(snapshot.world_offset, last.world_offset):
                self._tell_local_frame(snapshot)
            if new_instances or not same_objects:
                self._instances.publish(self.instances_message(snapshot))
                self._events.update(snapshot, header)
                if self._detections is not None:
                    self._detections.update(snapshot, header)
            if new_instances or not same_objects or snapshot.selected != last.selected:
                self._publish_markers(snapshot, scene_header)
            if new_instances or snapshot.gaussians is not last.gaussians:
                labels = snapshot.instances.gaussian_labels if snapshot.instances else None
                self._gaussians.publish(
                    scene_messages.gaussians_message(snapshot.gaussians, labels, scene_header)
                )
            if not same_objects or self.objects.has_news:
                self.objects.update(snapshot.objects, header, scene_header)
            if not same_objects and self._collisions is not None:
                self._collisions.update(snapshot.objects, header)
            if self._transforms is not None:
                self._transforms.update(self._frames(snapshot), header)

    def _frames(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """tf frame → [4, 4] in the map: each completed object's, and the scene's own where it is another."""
        frames = {
            f"{self._prefix}object_{number}": moved(result.world_from_object, result.world_offset)
            for number, result in snapshot.objects.items()
        }
        if snapshot.world_offset.any():
            frames[local_frame_of(self._map_frame)] = moved(np.eye(4), snapshot.world_offset)
        return frames

    def _tell_local_frame(self, snapshot: Snapshot) -> None:
        """Where the scene's frame lies in the map frame, in the log."""
        offset, local = snapshot.world_offset, local_frame_of(self._map_frame)
        if not offset.any():
            return
        x, y, z = offset
        where = f"'{local}', whose origin is at ({x:.12g}, {y:.12g}, {z:.12g}) m of '{self._map_frame}'"
        if self._transforms is None:
            how = "tf2_ros is not installed here: publish this transform by a static_transform_publisher"
        else:
            how = f"tf tells it; take '{local}' as the fixed frame of RViz"
        self._node.get_logger().warning(
            f"The scene is far from the map's origin: markers and gaussians are in {where} ({how}); all "
            f" other messages stay in '{self._map_frame}'"
        )

    # ── markers ───────────────────────────────────────────────────────────────────────────────────

    def _publish_markers(self, snapshot: Snapshot, header: Header) -> None:
        """All of them, as the newest message is what late subscribers get; within `series` what changed."""
        selected = self._selected_points(snapshot)
        changes = self._markers_book.update(snapshot.instances, snapshot.objects, header, selected)
        if not changes.markers:
            return
        if self._series:
            self._markers.publish(changes)
            self._markers_partial = True
        else:
            gone = [marker for marker in changes.markers if marker.action == Marker.DELETE]
            self._markers.publish(MarkerArray(markers=[*self._markers_book.everything, *gone]))
            self._markers_partial = False

    @contextmanager
    def series(self) -> Iterator[None]:
        """While many objects are completed one after another, each sends its own markers alone; in the end,
        and to who comes in between (`complete_markers`), all are sent."""
        with self._lock:
            self._series += 1
        try:
            yield
        finally:
            with self._lock:
                self._series -= 1
                if not self._series:
                    self._complete_markers()

    def complete_markers(self) -> None:
        """Send all markers where somebody new has heard of the last changes only; asked now and then."""
        with self._lock:
            before, self._marker_readers = self._marker_readers, self._markers.get_subscription_count()
            if self._marker_readers > before:
                self._complete_markers()

    def _complete_markers(self) -> None:
        if self._markers_partial and self._node.context.ok():
            self._markers.publish(MarkerArray(markers=self._markers_book.everything))
            self._markers_partial = False

    @staticmethod
    def _selected_points(snapshot: Snapshot) -> np.ndarray | None:
        """[K, 3] of the Gaussians of the instance to highlight."""
        if not snapshot.selected or snapshot.gaussians is None or snapshot.instances is None:
            return None
        own = np.flatnonzero(snapshot.instances.gaussian_labels == snapshot.selected)
        return snapshot.gaussians.means.detach().cpu().numpy()[own]

    # ── the rendered image ────────────────────────────────────────────────────────────────────────

    @property
    def rendered_subscribers(self) -> int:
        return self._rendered.get_subscription_count() + self._rendered_info.get_subscription_count()

    def publish_rendered(self, rgb: np.ndarray, frame: Frame, optical_frame: str) -> None:
        """rgb: [H, W, 3] uint8, the view of `frame`; optical_frame: tf's name of the camera."""
        if self._node.context.ok():
            header = Header(stamp=time_message(frame.stamp), frame_id=optical_frame)
            self._rendered.publish(image_message(rgb, "rgb8", header))
            self._rendered_info.publish(camera_info_message(frame.camera, header))

    def publish_status(self, message: SceneStatus, is_troubled: bool) -> None:
        """is_troubled: something went wrong just now."""
        name = self._node.get_fully_qualified_name()
        self._status.publish(message)
        self._diagnostics.publish(diagnostics_message(message, name, is_troubled))

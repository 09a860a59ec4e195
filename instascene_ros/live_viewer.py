"""The viewer in the browser for the scene of a running `scene_node`: `instascene view --live`.

Shows what `completed_objects`, `instances` and `gaussians` tell; its buttons call `complete_instance` and
`remove_instance`.  For maps whose Gaussians are told in the map frame, that is, not far from its origin.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import rclpy.utilities
from instascene.msg import CompletedObject as CompletedObjectMsg
from instascene.msg import InstanceArray
from instascene.srv import CompleteInstance, RemoveInstance
from rclpy.signals import SignalHandlerOptions
from scipy.spatial import cKDTree
from sensor_msgs.msg import PointCloud2

from instascene_core.browser import LOCALHOST, open_viewer
from instascene_core.browser.contents import THICKNESS, Contents, Splats
from instascene_core.browser.work import Jobs
from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.instances import InstanceId
from instascene_core.objects import CompletedObject
from instascene_core.progress import ProgressCallback
from instascene_core.terminal import console
from instascene_ros.conversions import matrix_from_pose
from instascene_ros.error_log import describe
from instascene_ros.object_topics import MAX_OBJECTS, latched
from instascene_ros.scene_messages import CLOUD_TYPE

JOB_TIMEOUT_S = 600.0
PAUSE_S = 0.5  # between two changes that are shown
OPACITY = 0.9  # of a Gaussian, of which the topic tells none


class LiveScene(Jobs):
    """What the topics told last.  `spin` handles what arrives; other threads may call the rest."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.node = node
        self._lock = threading.Lock()
        self._objects: dict[InstanceId, CompletedObject] = {}
        self._listed: set[int] = set()  # ids of the objects among `instances`
        self._splats, self._owners = splats_of(np.zeros(0, CLOUD_TYPE)), np.zeros(0, np.int32)
        self._changed = threading.Event()
        for kind, topic, callback, qos in (
            (CompletedObjectMsg, "completed_objects", self._on_object, latched(MAX_OBJECTS)),
            (InstanceArray, "instances", self._on_instances, latched()),
            (PointCloud2, "gaussians", self._on_gaussians, latched()),
        ):
            node.create_subscription(kind, topic, self._bearing(topic, callback), qos)

    def _bearing(self, topic: str, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """`callback`, a message that it cannot use said and left out: another's would end the viewer."""

        def bearing(message: Any) -> None:
            try:
                callback(message)
            except Exception as error:  # whatever a message holds
                self.node.get_logger().warning(f"a message on {topic} is of no use: {describe(error)}")

        return bearing

    def spin(self, seconds: float) -> bool:
        """Handle what arrives within `seconds`; whether the scene has changed since the last call."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            rclpy.spin_once(self.node, timeout_sec=left)
        changed = self._changed.is_set()
        self._changed.clear()
        return changed

    def _on_object(self, message: CompletedObjectMsg) -> None:
        thing = object_from_message(message)
        with self._lock:
            self._objects[thing.instance_id] = thing
        self._changed.set()

    def _on_instances(self, message: InstanceArray) -> None:
        with self._lock:
            self._listed = {instance.id for instance in message.instances if instance.kind == "object"}
            self._objects = {k: v for k, v in self._objects.items() if k in self._listed}
        self._changed.set()

    def _on_gaussians(self, message: PointCloud2) -> None:
        if message.point_step != CLOUD_TYPE.itemsize:
            raise InputError("it holds no Gaussians of scene_node.")
        points = np.frombuffer(message.data, CLOUD_TYPE)
        splats, owners = splats_of(points), points["instance"].copy()
        with self._lock:
            self._splats, self._owners = splats, owners
        self._changed.set()

    # ── what the viewer asks for ──────────────────────────────────────────────────────────────────────

    def contents(self) -> Contents:
        with self._lock:
            objects = dict(sorted(self._objects.items()))
            listed = len(self._listed)
            splats, owners = self._splats, self._owners
        return Contents(
            splats=splats,
            is_object=np.isin(owners, list(objects)),
            objects=objects,
            facts={number: _facts(thing) for number, thing in objects.items()},
            parts={},  # no topic tells them
            views=(),
            up=np.array([0.0, 0.0, 1.0]),
            background=np.zeros(3),
            metrics={},
            title=f"Live: {listed} objects, {len(objects)} complete",
        )

    def images(self, progress: ProgressCallback) -> dict[str, np.ndarray]:
        return {}

    def complete(self, number: InstanceId, progress: ProgressCallback) -> None:
        request = CompleteInstance.Request(instance_id=int(number), timeout_s=JOB_TIMEOUT_S)
        self._call(CompleteInstance, "complete_instance", request, progress)

    def remove(self, number: InstanceId, progress: ProgressCallback) -> None:
        request = RemoveInstance.Request(instance_id=int(number), timeout_s=JOB_TIMEOUT_S)
        self._call(RemoveInstance, "remove_instance", request, progress)
        with self._lock:
            self._objects.pop(number, None)

    def export(self, numbers: list[InstanceId], format: str, progress: ProgressCallback) -> Path:
        raise InputError("A live scene is written by the service save_scene; then `instascene export`.")

    def _call(self, kind: Any, name: str, request: Any, progress: ProgressCallback) -> None:
        """Call a service and wait while `spin` goes on elsewhere; InputError with its message on failure."""
        client = self.node.create_client(kind, name)
        try:
            if not client.wait_for_service(timeout_sec=5.0):
                raise InputError(f"There is no service '{name}'; is scene_node running?")
            future, end = client.call_async(request), time.monotonic() + JOB_TIMEOUT_S
            while not future.done():
                progress(name, 0.5, "")  # also cancels when the viewer ends
                if time.monotonic() > end:
                    raise InputError(f"The service '{name}' did not answer within {JOB_TIMEOUT_S:.0f} s.")
                time.sleep(0.1)
            if not future.result().success:
                raise InputError(future.result().message)
        finally:
            self.node.destroy_client(client)


def object_from_message(message: CompletedObjectMsg) -> CompletedObject:
    """The object in the map frame; its uncertainty is the same everywhere: the message tells one.

    InputError for a mesh that is none.
    """
    corners = [(v.x, v.y, v.z) for v in message.mesh.vertices]
    vertices = np.array(corners, dtype=np.float64).reshape(-1, 3)
    triangles = np.array([t.vertex_indices for t in message.mesh.triangles], dtype=np.int32)
    colors = np.array([(c.r, c.g, c.b) for c in message.vertex_colors]).reshape(-1, 3)
    size, count = message.dimensions, len(vertices)
    known = (triangles >= 0) & (triangles < count)
    if not (np.isfinite(vertices).all() and known.all()):
        raise InputError(f"The mesh of object {message.instance_id} has corners that are none.")
    if len(colors) != count or len(message.vertex_observed) != count:
        raise InputError(f"The mesh of object {message.instance_id} has not a colour for each vertex.")
    return CompletedObject(
        instance_id=InstanceId(message.instance_id),
        mesh=TriangleMesh(vertices, triangles.reshape(-1, 3)),
        colors=(255 * colors + 0.5).astype(np.uint8),
        observed=np.array(message.vertex_observed, dtype=np.float32),
        vertex_uncertainty=np.full(len(vertices), message.uncertainty, dtype=np.float32),
        world_from_object=matrix_from_pose(message.pose),
        dimensions=np.array([size.x, size.y, size.z]),
        watertight=message.watertight,
        volume=message.volume,
        observed_fraction=message.observed_fraction,
        uncertainty=message.uncertainty,
        confidence=message.confidence,
        prior=message.prior,
        duration_s=message.duration_s,
        next_best_view=matrix_from_pose(message.next_best_view) if message.has_next_best_view else None,
        next_view_reveals=message.next_view_reveals,
        notes=tuple(message.notes),
    )


def splats_of(points: np.ndarray) -> Splats:
    """Points [N] of CLOUD_TYPE as disks across their normals, as wide as they are apart."""
    means = np.stack([points[axis] for axis in "xyz"], axis=1).astype(np.float32)
    normals = np.stack([points[f"normal_{axis}"] for axis in "xyz"], axis=1)
    radius = 0.005
    if len(means) > 3:
        apart, _ = cKDTree(means).query(means[:: max(1, len(means) // 2000)], k=4)
        radius = max(float(np.median(apart[:, 3])), 1e-4)
    across = normals[:, :, None] * normals[:, None, :]
    covariances = radius**2 * (np.eye(3) - (1 - THICKNESS**2) * across)
    rgb = np.stack([points["rgb"] >> shift & 255 for shift in (16, 8, 0)], axis=1) / 255
    opacities = np.full((len(means), 1), OPACITY, dtype=np.float32)
    return Splats(means, covariances.astype(np.float32), rgb.astype(np.float32), opacities)


def _facts(thing: CompletedObject) -> dict[str, Any]:
    """As much of object.json as the message tells."""
    view = None if thing.next_best_view is None else {"reveals": thing.next_view_reveals}
    return {
        "dimensions_m": thing.dimensions.tolist(),
        "observed_fraction": thing.observed_fraction,
        "uncertainty_m": thing.uncertainty,
        "confidence": thing.confidence,
        "next_best_view": view,
        "notes": list(thing.notes),
    }


def show(node: Any, port: int, host: str, say: Callable[[str], None]) -> None:
    """Until Ctrl-C."""
    scene = LiveScene(node)
    scene.spin(2.0)  # what is latched
    server, panel = open_viewer(scene, port, say, host)
    try:
        while rclpy.utilities.ok():
            if scene.spin(PAUSE_S):
                panel.renew()
    finally:
        scene.close()
        server.stop()


def main(words: list[str] | None = None) -> int:
    rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--host", default=LOCALHOST)
    options = parser.parse_args(rclpy.utilities.remove_ros_args(words or sys.argv)[1:])
    node = rclpy.create_node("instascene_viewer")
    try:
        show(node, options.port, options.host, lambda sentence: console.print(sentence))
    except KeyboardInterrupt:
        return 130
    finally:
        node.destroy_node()
        rclpy.utilities.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())

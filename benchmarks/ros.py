"""scene_node under a camera's full rate: `python -m benchmarks.ros`.

A publisher in a process of its own sends RGB-D frames of 640×480 at 30 Hz to a scene_node started as a robot
would, over the middleware that is installed; reliably, then with best effort.  Measured: frames sent, heard
and lost by the node's own count (neither: an unreported loss), the node's memory after the first 500
frames and in the end, the duration of its callbacks, and the processor time of an idle node.  Then, while a
reconstruction runs, how long services and the topic `status` take to answer.

Writes benchmarks/results/ros.json.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import SyntheticConfig

ROOT = Path(__file__).resolve().parents[1]
RATE = 30.0  # frames a second
SCENE = SyntheticConfig(seed=69001, num_views=60, width=640, height=480, supersampling=1)  # round and round
KEPT_EVERY = 400  # callbacks between two notes of their durations
MAX_FRAMES = 80  # in the scene, which is full of them after the first 500
SETTLED = 500  # frames after which memory should stay
CALLS = 60  # services asked while a reconstruction runs

logger = logging.getLogger("benchmarks.ros")


# ── the processes ─────────────────────────────────────────────────────────────────────────────────────


def start(role: str, *arguments: str, log: Path) -> subprocess.Popen:
    """This module in another process, as one of the roles below."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(ROOT / "config" / "fastdds.xml"),  # as the launch file does
    }
    command = [sys.executable, "-m", "benchmarks.ros", "--role", role, *arguments]
    with log.open("w") as sink:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sink, stderr=sink)


def run_node(arguments: Sequence[str]) -> int:
    """scene_node with a clock around its image callbacks; their durations [s] go to the first argument."""
    from instascene_ros import frame_source, scene_node

    durations: list[float] = []
    locked = frame_source.FrameSource._locked

    def timed(self, callback):
        inner = locked(self, callback)

        def outer(message) -> None:
            began = time.perf_counter()
            inner(message)
            durations.append(time.perf_counter() - began)
            if len(durations) % KEPT_EVERY == 0:  # a node that is told to end does not wait for this
                Path(arguments[0]).write_text(json.dumps(durations))

        return outer

    frame_source.FrameSource._locked = timed
    return scene_node.main(list(arguments[1:]))


def run_camera(count: int, qos: str) -> int:
    """Send `count` frames of a scene, poses and camera_info with them, once everything is heard; the exit
    status."""
    import rclpy
    from geometry_msgs.msg import PoseStamped
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import CameraInfo, Image
    from std_msgs.msg import Header

    from instascene_core.synthetic import generate_scene
    from instascene_ros.conversions import (
        camera_info_message,
        image_message,
        pose_from_matrix,
        time_message,
    )  # fmt: skip

    rclpy.init()
    node = rclpy.create_node("camera")
    profile = QoSProfile(depth=10, reliability=getattr(ReliabilityPolicy, qos.upper()))
    topics = {"rgb/image": Image, "depth/image": Image, "rgb/camera_info": CameraInfo, "pose": PoseStamped}
    send = {topic: node.create_publisher(kind, topic, profile) for topic, kind in topics.items()}
    while not all(publisher.get_subscription_count() for publisher in send.values()):
        rclpy.spin_once(node, timeout_sec=0.1)
    time.sleep(3.0)  # the node adopts what is offered
    frames = list(generate_scene(SCENE).frames())
    messages = [(image_message(f.rgb, "rgb8", Header()), image_message(f.require_depth(), "32FC1", Header()))
                for f in frames]  # fmt: skip
    began = time.monotonic()
    for index in range(count):
        frame, (rgb, depth) = frames[index % len(frames)], messages[index % len(frames)]
        header = Header(stamp=time_message(1000.0 + index / RATE), frame_id="camera")
        pose = PoseStamped(header=Header(stamp=header.stamp, frame_id="map"))
        pose.pose = pose_from_matrix(frame.world_from_camera)
        rgb.header = depth.header = header
        send["pose"].publish(pose)
        send["rgb/camera_info"].publish(camera_info_message(frame.camera, header))
        send["depth/image"].publish(depth)
        send["rgb/image"].publish(rgb)
        rclpy.spin_once(node, timeout_sec=0)
        time.sleep(max(0.0, began + (index + 1) / RATE - time.monotonic()))
    print(f"sent {count} in {time.monotonic() - began:.1f} s", flush=True)  # noqa: T201
    time.sleep(5.0)  # reliable ones are sent again meanwhile
    rclpy.shutdown()
    return 0


# ── what is measured ──────────────────────────────────────────────────────────────────────────────────


class Listener:
    """Hears the node's status, and asks its services."""

    def __init__(self) -> None:
        import rclpy
        from instascene.msg import SceneStatus

        rclpy.init()
        self.node, self.statuses = rclpy.create_node("listener"), []
        self.node.create_subscription(
            SceneStatus, "status", lambda m: self.statuses.append((time.monotonic(), m)), 50
        )

    def spin(self, seconds: float) -> None:
        import rclpy

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self.node, timeout_sec=0.02)

    def call(self, kind, name: str, **fields) -> float:
        """Seconds until the answer."""
        client = self.node.create_client(kind, name)
        client.wait_for_service(10.0)
        began = time.monotonic()
        future = client.call_async(kind.Request(**fields))
        while not future.done():
            self.spin(0.005)
        seconds = time.monotonic() - began
        self.node.destroy_client(client)
        return seconds


def processor_seconds(pid: int) -> float:
    """Spent so far by a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(listener: Listener, qos: str, frames: int, folder: Path) -> dict:
    """One stream; the node as a robot starts it, with its defaults but for `max_frames`."""
    durations = folder / f"{qos}.json"
    given = ("-p", f"data_dir:={folder}", "-p", f"max_frames:={MAX_FRAMES}")
    node = start("node", str(durations), "--ros-args", *given, log=folder / f"{qos}.log")
    listener.statuses.clear()
    while not listener.statuses:
        listener.spin(0.2)
    before = processor_seconds(node.pid)
    listener.spin(10.0)
    idle = (processor_seconds(node.pid) - before) / 10.0
    camera = start("camera", str(frames), qos, log=folder / f"{qos}_camera.log")
    while camera.poll() is None:
        listener.spin(0.5)
    listener.spin(3.0)
    heard = [message for _, message in listener.statuses]
    memory = memory_after(heard, frames)
    last = heard[-1]
    row = {
        "qos": qos, "sent": frames, "received": last.frames_received, "lost": last.frames_lost,
        "unreported": frames - last.frames_received - last.frames_lost, "used": last.frames_used,
        "dropped": dict(zip(last.dropped_reasons, last.dropped_counts)),
        "memory_settled_mb": memory[0], "memory_end_mb": memory[-1], "memory_mb": memory,
        "idle_processor_share": float(idle),
        **latencies(listener),
    }  # fmt: skip
    node.terminate()
    node.wait(30)
    taken = np.array(json.loads(durations.read_text()))
    row["callback_ms"] = float(1000 * np.median(taken))
    row["callback_p99_ms"] = float(1000 * np.quantile(taken, 0.99))
    return row


def memory_after(heard: Sequence, frames: int) -> list[float]:
    """Megabytes of the node each SETTLED frames, and in the end."""
    marks = [next((m.memory_mb for m in heard if m.frames_received + m.frames_lost >= count), float("nan"))
             for count in range(SETTLED, frames, SETTLED)]  # fmt: skip
    return [float(value) for value in (*marks, heard[-1].memory_mb)]


def latencies(listener: Listener) -> dict:
    """Of services and of the status while a reconstruction of what came in runs."""
    from instascene.action import BuildScene
    from instascene.srv import GetInstance
    from rclpy.action.client import ActionClient

    client = ActionClient(listener.node, BuildScene, "build_scene")
    client.wait_for_server(10.0)
    client.send_goal_async(BuildScene.Goal(time_budget_s=60.0))
    listener.spin(3.0)
    first, seconds = len(listener.statuses), []
    for _ in range(CALLS):
        seconds.append(listener.call(GetInstance, "get_instance", instance_id=1))
        listener.spin(0.2)
    during = [(at, m) for at, m in listener.statuses[first:] if m.state == m.STATE_BUSY]
    gaps = np.diff([at for at, _ in during]) if len(during) > 1 else np.array([np.nan])
    return {
        "service_ms": float(1000 * np.median(seconds)), "service_worst_ms": float(1000 * max(seconds)),
        "status_gap_worst_s": float(np.max(gaps)),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "ros.json")
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--qos", nargs="*", default=["reliable", "best_effort"])
    parser.add_argument("--role", default="", help=argparse.SUPPRESS)
    chosen, rest = parser.parse_known_args(arguments)
    if chosen.role == "node":
        return run_node(rest)
    if chosen.role == "camera":
        return run_camera(int(rest[0]), rest[1])
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    made_by, rows, listener = provenance_of("ros"), [], Listener()
    with tempfile.TemporaryDirectory() as folder:
        for qos in chosen.qos:
            rows.append(measure(listener, qos, chosen.frames, Path(folder)))
            logger.info("%s", rows[-1])
    write_results(chosen.output, "ros", {"runs": rows}, made_by)
    logger.info("written to %s", chosen.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())

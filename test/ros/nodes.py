"""Nodes as processes of their own or in this one, and a client that talks to them over DDS."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import rclpy
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

END_S = 15.0  # a node that was told to end has: half a second on an idle machine, a hung one never does
ROOT = Path(__file__).resolve().parents[2]
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


def wait_for(condition, timeout: float, what: str):
    """Poll until `condition()` is truthy; its value."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} within {timeout} s"
        time.sleep(0.02)
    return value


class NodeProcess:
    """`python -m instascene_ros.<name>` with parameters."""

    def __init__(self, name: str, parameters: dict, log: Path) -> None:
        words = [word for key, value in parameters.items() for word in ("-p", f"{key}:={value}")]
        command = [sys.executable, "-m", f"instascene_ros.{name}", "--ros-args", *words]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        self.name, self.log = name, log
        with log.open("w") as sink:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sink, stderr=sink)

    def wait(self, timeout: float) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} did not end within {timeout} s:\n{self.log.read_text()}"
            ) from None

    def interrupt(self, sign: signal.Signals = signal.SIGINT) -> tuple[int, float]:
        """Send a signal; the exit code and the seconds it took to end."""
        start = time.monotonic()
        self.process.send_signal(sign)
        return self.wait(20.0), time.monotonic() - start

    def kill(self) -> None:
        for stop, patience in ((signal.SIGINT, 8), (signal.SIGTERM, 4), (signal.SIGKILL, 4)):
            if self.process.poll() is not None:
                return
            self.process.send_signal(stop)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                continue


class Client:
    """A node of the test, spun by a thread of its own."""

    def __init__(self, name: str) -> None:
        self.node = rclpy.create_node(name)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._closing, self._tasks = threading.Event(), queue.SimpleQueue()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while not self._closing.is_set():
                with contextlib.suppress(queue.Empty):
                    self._tasks.get_nowait()()
                self._executor.spin_once(timeout_sec=0.05)

    def call(self, kind, service: str, /, timeout: float = 120.0, **fields):
        client = self.node.create_client(kind, service)
        assert client.wait_for_service(timeout_sec=60.0), f"the service {service} appears"
        future = client.call_async(kind.Request(**fields))
        wait_for(future.done, timeout, f"{service} answers")
        self.node.destroy_client(client)
        return future.result()

    def send_goal(self, kind, action: str, feedback: list | None = None, /, **fields):
        """The handle of an accepted goal; its feedback messages go into the list."""
        client = ActionClient(self.node, kind, action)
        assert client.wait_for_server(timeout_sec=20.0), f"the action {action} appears"
        heard = [] if feedback is None else feedback
        sent = []

        def send() -> None:
            """In the spinning thread: rclpy drops the answer to a request that it has not noted yet."""
            goal = kind.Goal(**fields)
            sent.append(client.send_goal_async(goal, lambda message: heard.append(message.feedback)))

        self._tasks.put(send)
        future = wait_for(lambda: sent and sent[0], 5, "the goal is sent")
        handle = wait_for(lambda: future.done() and future.result(), 20, f"{action} answers the goal")
        assert handle.accepted
        return handle

    def listen(self, kind, topic: str, qos=10) -> list:
        """A list that fills with the messages of a topic."""
        received: list = []
        self.node.create_subscription(kind, topic, received.append, qos)
        return received

    def close(self) -> None:
        self._closing.set()
        self._thread.join(5)
        self._executor.shutdown()
        self.node.destroy_node()


@contextlib.contextmanager
def running(name: str, parameters: dict, log: Path):
    process = NodeProcess(name, parameters, log)
    try:
        yield process
    finally:
        process.kill()


def next_status(statuses: list, condition=lambda status: True, timeout: float = 20.0):
    """The next SceneStatus that arrives in the list from now on and fulfils the condition."""
    seen = len(statuses)
    return wait_for(
        lambda: next((s for s in list(statuses)[seen:] if condition(s)), None), timeout, "such a status"
    )


def error_count(status, kind: str) -> int:
    return dict(zip(status.error_kinds, status.error_counts)).get(kind, 0)


def dropped_count(status, reason: str) -> int:
    return dict(zip(status.dropped_reasons, status.dropped_counts)).get(reason, 0)


def result_of(goal, timeout: float = 120.0):
    """Status and result of a goal."""
    future = goal.get_result_async()
    wait_for(future.done, timeout, "the goal ends")
    return future.result()


@contextlib.contextmanager
def scene_node_here(**parameters):
    """A SceneNode that spins in this process."""
    from instascene_ros.scene_node import SceneNode

    given = [Parameter(name, value=value) for name, value in parameters.items()]
    node = SceneNode(parameter_overrides=given)
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join(5)
        assert node.close()


def show_scene(node, scene) -> None:
    """Let a scene made elsewhere take the place of the node's, with the node's configuration."""
    scene.config = node.worker.scene.config
    node.worker.submit("show", lambda progress: node.worker.replace_scene(scene)).result(20)

"""`make demo`: a recorded or procedural scene through real ROS 2 topics to complete meshes on disk.

Starts `scene_node` and `dataset_player` as processes of their own, talks to them only over DDS, and
ends with the files of the README ("Output on disk"), pictures and a table.
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import rclpy
import rclpy.utilities
from instascene.action import CompleteInstances
from instascene.msg import SceneStatus
from instascene.srv import SaveScene, SegmentInstances
from rclpy.action.client import ActionClient
from rclpy.signals import SignalHandlerOptions

from instascene_core import synthetic
from instascene_core.config import SyntheticConfig
from instascene_core.datasets import open_dataset
from instascene_core.errors import InputError
from instascene_core.export.saved_scene import require_savable
from instascene_core.progress import ProgressCallback
from instascene_core.terminal import console, progress_bars, summarise, warn
from instascene_ros.data_folder import folder_under

CACHE = Path(".cache/demo")
START_TIMEOUT_S = 60.0
STALL_TIMEOUT_S = 60.0  # without a status message
JOB_TIMEOUT_S = 3600.0


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--input", type=Path, help="dataset folder or rosbag2; default: a procedural scene")
    parser.add_argument("--output", type=Path, default=Path("out"), help="folder to write")
    parser.add_argument("--seed", type=int, default=SyntheticConfig.seed, help="of the procedural scene")
    parser.add_argument("--no-depth", action="store_true", help="play RGB and poses only")
    parser.add_argument("--masks", default="", help="folder of label images in the dataset to play as masks")
    parser.add_argument("--rate", type=float, default=10.0, help="frames a second")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME:=VALUE", help="parameter of scene_node"
    )
    return parser.parse_args(words)


class Demo:
    """The client's side: watches `status`, calls the services one after another."""

    def __init__(self, node, processes: dict[str, subprocess.Popen], progress: ProgressCallback) -> None:
        self.node, self.processes, self.progress = node, processes, progress
        self.status: SceneStatus | None = None
        self.status_time = time.monotonic()
        node.create_subscription(SceneStatus, "status", self._on_status, 10)

    def _on_status(self, message: SceneStatus) -> None:
        self.status, self.status_time = message, time.monotonic()

    def spin(self, seconds: float = 0.1) -> None:
        """Handle what arrived; raises InputError when the scene node is gone or silent."""
        rclpy.spin_once(self.node, timeout_sec=seconds)
        code = self.processes["scene_node"].poll()
        if code is not None:
            raise InputError(f"scene_node ended with exit code {code}; see its log under log/demo.")
        if time.monotonic() - self.status_time > STALL_TIMEOUT_S:
            raise InputError(f"scene_node has not sent a status for {STALL_TIMEOUT_S:.0f} s.")

    def play(self, total: int) -> None:
        """Wait until the player has sent everything and the node has taken it in."""
        player = self.processes["dataset_player"]
        settled = 0
        while settled < 3:
            before = self.status
            self.spin()
            if self.status is None or self.status is before:
                continue
            used = self.status.frames_used
            self.progress("play", min(1.0, used / total), f"{used} of {total} frames in the scene")
            done = player.poll() is not None and not self.status.frames_pending
            settled = settled + 1 if done and self.status.state == SceneStatus.STATE_READY else 0
        if player.returncode != 0:
            raise InputError(
                f"dataset_player ended with exit code {player.returncode}; see its log under log/demo."
            )
        self.progress("play", 1.0, self._dropped())

    def _dropped(self) -> str:
        assert self.status is not None, "play() has waited for it"
        dropped = ", ".join(
            f"{n} {reason}" for reason, n in zip(self.status.dropped_reasons, self.status.dropped_counts)
        )
        return f"{self.status.frames_used} frames used" + (f"; dropped: {dropped}" if dropped else "")

    def call(self, service_type, name: str, request, title: str = ""):
        """Call a service, showing the node's progress; raises InputError with its message on failure."""
        client = self.node.create_client(service_type, name)
        self._await_server(client.service_is_ready, f"service '{name}'")
        future = client.call_async(request)
        shown = None
        while not future.done():
            self.spin()
            if self.status is not None and self.status is not shown and self.status.stage:
                shown = self.status
                self.progress(self.status.stage, self.status.progress, title)
        self.node.destroy_client(client)
        response = future.result()
        if not response.success:
            raise InputError(response.message)
        return response

    def _await_server(self, is_ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            self.spin(0.2)
            if time.monotonic() > deadline:
                raise InputError(f"The {what} did not appear within {START_TIMEOUT_S:.0f} s.")

    def complete_all(self) -> None:
        """Complete every object and lay them to rest together; those that cannot be are named."""
        client = ActionClient(self.node, CompleteInstances, "complete_instances")
        self._await_server(client.server_is_ready, "action 'complete_instances'")
        sent = client.send_goal_async(CompleteInstances.Goal(), self._on_completing)
        while not sent.done():
            self.spin()
        goal = sent.result()
        if goal is None or not goal.accepted:
            raise InputError("scene_node refused to complete the objects; see its log under log/demo.")
        answer = goal.get_result_async()
        while not answer.done():
            self.spin()
        client.destroy()
        result = answer.result().result
        self.progress("complete", 1.0, f"{len(result.completed_ids)} objects")
        if not result.success:
            warn(f"Not every object was completed: {result.message}")

    def _on_completing(self, message) -> None:
        """Feedback of the action: one object, or (id 0) all of them laid to rest."""
        told = message.feedback
        if told.instance_id:
            share = (told.index - 1 + told.progress) / told.total
            self.progress("complete", share, f"object {told.instance_id} ({told.index} of {told.total})")
        else:
            self.progress("rest", told.progress, told.stage)


def prepare_input(args: argparse.Namespace, progress: ProgressCallback) -> Path:
    """The dataset to play: the given one, or the procedural scene of this seed (made once)."""
    if args.input is not None:
        return args.input
    config = SyntheticConfig(seed=args.seed)
    folder = CACHE / f"scene_{args.seed}_{synthetic_digest(config)}"
    if not (folder / "transforms.json").exists():  # written last
        progress("synth", 0.0, "a procedural scene")
        synthetic.write_dataset(synthetic.generate_scene(config), folder, progress)
    return folder


def synthetic_digest(config: SyntheticConfig) -> str:
    """What a procedural scene depends on, as a short hash: its settings and the code that makes it."""
    total = hashlib.sha256(repr(config).encode())
    for path in sorted(Path(synthetic.__file__).parent.glob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()[:10]


def node_settings(words: list[str]) -> dict[str, str]:
    """{name: value} of NAME:=VALUE words."""
    for word in words:
        if ":=" not in word:
            raise InputError(f"'{word}' is not of the form NAME:=VALUE, e.g. reconstruction.iterations:=500.")
    return dict(word.split(":=", 1) for word in words)


@contextmanager
def node_process(name: str, parameters: dict[str, object]):
    """One of our nodes in its own process (not in our process group: Ctrl-C reaches it through us)."""
    words = [w for key, value in parameters.items() for w in ("-p", f"{key}:={value}")]
    log = Path("log/demo") / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", f"instascene_ros.{name}", "--ros-args", *words]
    with log.open("w") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield process
    finally:
        for stop, patience in ((signal.SIGINT, 10), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            if process.poll() is not None:
                break
            process.send_signal(stop)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                continue


def isolate() -> None:
    """A discovery domain of our own on this machine, so that no other robot listens or talks."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))


def run(args: argparse.Namespace, progress: ProgressCallback) -> tuple[dict[str, float], Path | None]:
    """The whole demo; returns the wall times of its parts, and the ground truth folder if there is one."""
    # What cannot be read or written is refused before anything is made or started.
    output = args.output.absolute()
    require_savable(folder_under(output.parent, output.name), args.input or "")
    settings = node_settings(args.set)
    dataset_path = prepare_input(args, progress)
    dataset = open_dataset(dataset_path)
    scene_parameters = {
        "data_dir": output.parent,
        "keyframe_translation_m": 0.0,
        "keyframe_rotation_deg": 0.0,
        **settings,
    }
    player_parameters = {
        "dataset": dataset_path.absolute(),
        "rate": args.rate,
        "use_depth": not args.no_depth,
        "use_masks": bool(args.masks),
        **({"masks": args.masks} if args.masks else {}),
    }
    isolate()
    start = time.monotonic()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("instascene_demo")
    try:
        with node_process("scene_node", scene_parameters) as scene_node:
            processes = {"scene_node": scene_node}
            demo = Demo(node, processes, progress)
            while demo.status is None:
                demo.spin()
            with node_process("dataset_player", player_parameters) as player:
                processes["dataset_player"] = player
                demo.play(len(dataset))
            played = time.monotonic()
            request = SegmentInstances.Request(timeout_s=JOB_TIMEOUT_S)
            demo.call(SegmentInstances, "segment_instances", request)
            segmented = time.monotonic()
            demo.complete_all()
            demo.call(SaveScene, "save_scene", SaveScene.Request(name=output.name, timeout_s=JOB_TIMEOUT_S))
            finished = time.monotonic()
    finally:
        node.destroy_node()
        rclpy.utilities.try_shutdown()
    seconds = {
        "play": played - start,
        "reconstruct and segment": segmented - played,
        "complete and save": finished - segmented,
        "whole job": finished - start,
    }
    return seconds, dataset.ground_truth


def main(words: list[str] | None = None) -> int:
    args = arguments(words)
    try:
        with progress_bars() as progress:
            seconds, ground_truth = run(args, progress)
        summarise(args.output, ground_truth, {"wall seconds": seconds})
    except InputError as error:
        console.print(f"demo: {error}", style="red", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("demo: stopped.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

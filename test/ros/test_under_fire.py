"""A node as a process of its own, its scene loaded from disk, under hostile messages and requests.

Whatever arrives: the node lives, says one sentence, holds no memory for what was only claimed, and the next
good frame or request is taken.  The tests share the node and run in the order of this file.
"""

import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from action_msgs.msg import GoalStatus
from click_scene import BLUE, decomposed_scene
from geometry_msgs.msg import Point, PointStamped, PoseStamped
from instascene.action import BuildScene, CompleteInstances
from instascene.msg import SceneStatus
from instascene.srv import (
    CompleteInstance,
    GetInstance,
    LoadScene,
    RemoveInstance,
    SaveScene,
    SegmentAt,
    SegmentParts,
)
from nodes import Client, error_count, next_status, result_of, running, wait_for
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from instascene_core.camera import PinholeCamera
from instascene_core.export.saved_scene import save_scene
from instascene_ros import frame_assembly
from instascene_ros.conversions import camera_info_message, image_message, time_message

CAMERA = PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0)
LONGEST = 2000  # characters of what a node says
LARGEST_GROWTH_MB = 500  # of the node's memory; the messages claim up to 4 GB
INT32 = 2**31 - 1
TOPICS = {
    "rgb/camera_info": CameraInfo,
    "pose": PoseStamped,
    "depth/image": Image,
    "masks/image": Image,
    "valid/image": Image,
    "rgb/image": Image,
}


class Rig:
    """Publishes frames, each spoiled in one way."""

    def __init__(self, client: Client) -> None:
        self._publishers = {
            topic: client.node.create_publisher(kind, topic, 50) for topic, kind in TOPICS.items()
        }
        for topic, publisher in self._publishers.items():
            wait_for(publisher.get_subscription_count, 20, f"the node listens to {topic}")
        self._count, self._colors = 0, np.random.default_rng(0)

    def shoot(self, spoil=None) -> None:
        """spoil: topic → what changes its message."""
        self._count += 1
        header = Header(stamp=time_message(1000.0 + self._count), frame_id="camera")
        pose = PoseStamped(header=Header(stamp=header.stamp, frame_id="map"))
        pose.pose.orientation.w, pose.pose.position.x = 1.0, 0.001 * self._count
        rgb = self._colors.integers(0, 255, (48, 64, 3)).astype(np.uint8)
        messages = {
            "rgb/camera_info": camera_info_message(CAMERA, header),
            "pose": pose,
            "depth/image": image_message(np.ones((48, 64), np.float32), "32FC1", header),
            "masks/image": image_message(np.ones((48, 64), np.uint16), "mono16", header),
            "valid/image": image_message(np.full((48, 64), 255, np.uint8), "mono8", header),
            "rgb/image": image_message(rgb, "rgb8", header),
        }
        for topic, change in (spoil or {}).items():
            change(messages[topic])
        for topic, message in messages.items():
            self._publishers[topic].publish(message)


def put(**values):
    """Changes fields of a message; `a__b` is a field of a field, `k0` an entry of an array."""

    def change(message) -> None:
        for path, value in values.items():
            *outer, name = path.split("__")
            part = message
            for step in outer:
                part = getattr(part, step)
            if name[-1].isdigit():
                getattr(part, name[:-1])[int(name[-1])] = value
            else:
                setattr(part, name, value)

    return change


def floats(value: float):
    return put(data=np.full((48, 64), value, np.float32).tobytes(), encoding="32FC1", step=256)


def one_row(**values):
    """Every image of one row, as the camera_info says; `values` of the colour image."""
    low = put(height=1)
    others = {topic: low for topic in ("depth/image", "masks/image", "valid/image")}
    return {"rgb/camera_info": low, **others, "rgb/image": put(height=1, **values)}


@pytest.fixture(scope="module")
def world(ros_domain, tmp_path_factory):
    """The node, a client, and what the node tells about itself."""
    folder = tmp_path_factory.mktemp("fire")
    save_scene(decomposed_scene()[0], folder / "data" / "scene", source="a test", with_frames=True)
    rclpy.init()
    client = Client("attacker")
    parameters = {
        "data_dir": folder / "data", "keyframe_translation_m": 0.0, "keyframe_rotation_deg": 0.0,
        "sync_wait_s": 0.5, "status_period_s": 0.2, "work_ahead": False, "min_sharpness": 0.0,
    }  # fmt: skip
    with running("scene_node", parameters, folder / "scene_node.log") as node:
        statuses = client.listen(SceneStatus, "status")
        assert client.call(LoadScene, "load_scene", name="scene").success
        yield SimpleNamespace(
            node=node, client=client, data=folder / "data", statuses=statuses, rig=Rig(client),
            first_mb=peak_mb(node),
        )  # fmt: skip
        assert node.process.poll() is None and "Traceback" not in node.log.read_text()
    client.close()
    rclpy.try_shutdown()


def peak_mb(node) -> float:
    """The most memory the process has held."""
    with open(f"/proc/{node.process.pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def judged(status) -> int:
    return status.frames_used + status.frames_dropped


def is_one_sentence(text: str) -> bool:
    return 0 < len(text) <= LONGEST and "\n" not in text and "Internal error" not in text


# ── topics ────────────────────────────────────────────────────────────────────────────────────────

BAD_FRAMES = {
    "no focal length": ({"rgb/camera_info": put(k0=0.0)}, frame_assembly.BAD_CAMERA_INFO),
    "a focal length of NaN": ({"rgb/camera_info": put(k4=math.nan)}, frame_assembly.BAD_CAMERA_INFO),
    "a huge focal length": ({"rgb/camera_info": put(k0=1e300)}, frame_assembly.BAD_CAMERA_INFO),
    "images of no size": ({"rgb/camera_info": put(width=0, height=0)}, frame_assembly.BAD_CAMERA_INFO),
    "a million binned": ({"rgb/camera_info": put(binning_x=10**6)}, frame_assembly.BAD_CAMERA_INFO),
    "infinite distortion": ({"rgb/camera_info": put(d=[math.inf] * 5)}, frame_assembly.BAD_CAMERA_INFO),
    "a model of many lines": (
        {"rgb/camera_info": put(distortion_model="x\n" * 5000, d=[0.1] * 5)}, frame_assembly.BAD_CAMERA_INFO,
    ),
    "step below the width": ({"rgb/image": put(step=5)}, frame_assembly.BAD_IMAGE),
    "too little data": ({"rgb/image": put(data=b"\x01" * 99)}, frame_assembly.BAD_IMAGE),
    "no data": ({"rgb/image": put(data=b"")}, frame_assembly.BAD_IMAGE),
    "an encoding without end": ({"rgb/image": put(encoding="q" * 100_000)}, frame_assembly.BAD_IMAGE),
    "another shape": (
        {"rgb/image": put(width=32, step=96, data=b"\x01" * 96 * 48)}, frame_assembly.SIZE_MISMATCH,
    ),
    "no pixels": ({"rgb/image": put(width=0, height=0, data=b"")}, frame_assembly.SIZE_MISMATCH),
    "a pose of NaN": ({"pose": put(pose__position__x=math.nan)}, frame_assembly.BAD_POSE),
    "a pose far beyond": ({"pose": put(pose__position__x=1e300)}, frame_assembly.BAD_POSE),
    "no rotation": ({"pose": put(pose__orientation__w=0.0)}, frame_assembly.BAD_POSE),
    "a pose of another frame": ({"pose": put(header__frame_id="odom")}, frame_assembly.BAD_POSE),
    "valid pixels of another size": (
        {"valid/image": put(width=2, height=2, step=2, data=b"\x01" * 4)}, frame_assembly.BAD_IMAGE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_FRAMES)
def test_a_bad_frame_is_dropped_in_one_sentence(world, what):
    spoil, reason = BAD_FRAMES[what]
    before = next_status(world.statuses)
    world.rig.shoot(spoil)
    after = next_status(world.statuses, lambda s: judged(s) > judged(before))
    assert after.frames_used == before.frames_used
    assert error_count(after, reason) > error_count(before, reason) and is_one_sentence(after.last_error)
    world.rig.shoot()
    next_status(world.statuses, lambda s: s.frames_used == after.frames_used + 1)


BAD_PARTS = {
    "depth of NaN": ("depth/image", floats(math.nan), frame_assembly.BAD_DEPTH),
    "depth of infinity": ("depth/image", floats(math.inf), frame_assembly.BAD_DEPTH),
    "depth below zero": ("depth/image", floats(-1.0), frame_assembly.BAD_DEPTH),
    "depth in colour": ("depth/image", put(encoding="rgb8"), frame_assembly.BAD_DEPTH),
    "depth larger than the image": (
        "depth/image", put(width=999, height=999, step=3996, data=b"\x01" * 999 * 3996),
        frame_assembly.BAD_DEPTH,
    ),
    "depth with a step of 3": ("depth/image", put(step=3), frame_assembly.BAD_DEPTH),
    "labels in metres": ("masks/image", floats(1.0), frame_assembly.BAD_MASKS),
    "labels of another size": (
        "masks/image", put(width=2, height=2, step=4, data=b"\x01" * 8), frame_assembly.BAD_MASKS,
    ),
    "labels that no scene can hold": (
        "masks/image", put(data=np.full((48, 64), INT32, np.int32).tobytes(), encoding="32SC1", step=256),
        frame_assembly.BAD_MASKS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_PARTS)
def test_bad_depth_and_labels_are_left_out(world, what):
    topic, change, kind = BAD_PARTS[what]
    before = next_status(world.statuses)
    world.rig.shoot({topic: change})
    after = next_status(world.statuses, lambda s: judged(s) > judged(before))
    assert after.frames_used == before.frames_used + 1
    assert error_count(after, kind) == error_count(before, kind) + 1 and is_one_sentence(after.last_error)


def test_images_at_another_scale_than_their_camera_info_are_used(world):
    before = next_status(world.statuses)
    small = put(width=32, height=24, step=96, data=b"\x21\x43\x65" * 32 * 24)
    half = {topic: put(width=32, height=24) for topic in ("masks/image", "valid/image")}
    world.rig.shoot({"rgb/image": small, **half})
    after = next_status(world.statuses, lambda s: judged(s) > judged(before))
    assert after.frames_used == before.frames_used + 1
    assert "the images are 32×24, their camera 64×48" in world.node.log.read_text()


def test_a_step_without_end_costs_no_memory(world):
    """One row needs no step: what it says may be anything."""
    before = next_status(world.statuses)
    world.rig.shoot(one_row(step=3_900_000_000, data=b"\x01" * 192))
    next_status(world.statuses, lambda s: judged(s) > judged(before))
    assert peak_mb(world.node) < world.first_mb + LARGEST_GROWTH_MB


@pytest.mark.parametrize("stamp", [(-5, 0), (-(2**31), 0), (INT32, 2**32 - 1), (0, 0), (500, 0)])
def test_stamps_of_any_time(world, stamp):
    before = next_status(world.statuses)
    seconds, nanoseconds = stamp
    odd = put(header__stamp__sec=seconds, header__stamp__nanosec=nanoseconds)
    world.rig.shoot({topic: odd for topic in TOPICS if topic == "rgb/image"})  # they share their header
    after = next_status(world.statuses, lambda s: judged(s) > judged(before))
    world.rig.shoot()
    next_status(world.statuses, lambda s: s.frames_used > after.frames_used)


# ── requests ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def loaded(world):
    """The scene as it was saved: what was published above hid its objects, and the node followed that."""
    assert world.client.call(LoadScene, "load_scene", name="scene").success


def point(x=0.0, frame="map", seconds=0):
    header = Header(frame_id=frame)
    header.stamp.sec = seconds
    return PointStamped(header=header, point=Point(x=x, y=0.0, z=0.0))


BAD_REQUESTS = [
    *[(kind, name, {"instance_id": number})
      for kind, name in ((CompleteInstance, "complete_instance"), (GetInstance, "get_instance"),
                         (RemoveInstance, "remove_instance"), (SegmentParts, "segment_parts"))
      for number in (0, -1, INT32, -INT32 - 1)],
    *[(CompleteInstance, "complete_instance", {"instance_id": BLUE, **fields})
      for fields in ({"num_samples": 2**32 - 1}, {"seed": 2**63 - 1}, {"seed": -(2**63)}, {"formats": [""]},
                     {"formats": ["../x"]}, {"timeout_s": math.inf})],
    *[(SegmentAt, "segment_at", fields)
      for fields in ({"frame": "nonsense\n" * 999}, {"x": -1, "y": -1}, {"x": INT32, "y": INT32},
                     {"x": 80, "y": 60, "threshold": 2.0}, {"x": 80, "y": 60, "level": INT32},
                     {"x": 80, "y": 60, "level": -INT32}, {"use_point": True, "point": point(1e300)},
                     {"use_point": True, "point": point(math.nan)},
                     {"use_point": True, "point": point(frame="nowhere\n" * 999, seconds=-5)})],
    *[(LoadScene, "load_scene", {"name": name})
      for name in ("../x", "/etc", "..", "x" * 300, "scene/scene.json", "nothing", "two\nlines")],
    *[(SaveScene, "save_scene", {"name": name}) for name in ("../x", "/etc/x", "foreign", "x" * 300)],
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name", "fields"), BAD_REQUESTS, ids=[f"{n}-{i}" for i, (_, n, _) in enumerate(BAD_REQUESTS)]
)
def test_a_bad_request_is_refused_in_one_sentence(world, loaded, kind, name, fields):
    (world.data / "foreign").mkdir(exist_ok=True)
    (world.data / "foreign" / "thesis.txt").write_text("mine")
    answer = world.client.call(kind, name, **fields)
    assert not answer.success and is_one_sentence(answer.message), answer.message
    assert "interrupted" not in answer.message
    assert world.client.call(GetInstance, "get_instance", instance_id=BLUE).success
    assert (world.data / "foreign" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("victim", ["scene.json", "scene.ply", "instances/view0.png", "frames"])
def test_a_broken_scene_leaves_the_present_one(world, loaded, victim):
    broken = world.data / f"broken_{victim.replace('/', '_')}"
    shutil.copytree(world.data / "scene", broken)
    files = [broken / victim] if (broken / victim).is_file() else list((broken / victim).rglob("*"))
    for file in files:
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    answer = world.client.call(LoadScene, "load_scene", name=broken.name)
    assert is_one_sentence(answer.message)
    assert not answer.success or victim == "frames"  # without its frames a scene can be looked at
    assert world.client.call(GetInstance, "get_instance", instance_id=BLUE).success
    assert world.client.call(LoadScene, "load_scene", name="scene").success


def test_goals_that_cannot_be_and_goals_cancelled_at_once(world, loaded):
    for kind, name, fields in (
        (BuildScene, "build_scene", {"time_budget_s": -1.0}),
        (BuildScene, "build_scene", {"iterations": 2**32 - 1, "time_budget_s": 1e-9}),
        (CompleteInstances, "complete_instances", {"instance_ids": list(range(1000, 2000))}),
        (CompleteInstances, "complete_instances", {"instance_ids": [BLUE], "formats": ["dwg"]}),
    ):
        outcome = result_of(world.client.send_goal(kind, name, **fields))
        assert outcome.status == GoalStatus.STATUS_ABORTED and not outcome.result.success
        assert outcome.result.message and "\n" not in outcome.result.message
    goals = [world.client.send_goal(BuildScene, "build_scene", iterations=100_000) for _ in range(3)]
    asked = [goal.cancel_goal_async() for goal in goals]
    wait_for(lambda: all(future.done() for future in asked), 20, "the cancel requests are answered")
    for goal in goals:
        outcome = result_of(goal, 60)
        assert outcome.status == GoalStatus.STATUS_CANCELED and "Cancelled" in outcome.result.message


def test_requests_while_the_node_is_busy(world, loaded):
    """Those that need no work are answered, the others in their time or with a sentence."""
    assert world.client.call(LoadScene, "load_scene", name="scene").success
    feedback: list = []
    goal = world.client.send_goal(BuildScene, "build_scene", feedback, iterations=100_000)
    wait_for(lambda: feedback, 60, "it is at work")
    assert world.client.call(GetInstance, "get_instance", instance_id=BLUE).success
    client = world.client.node.create_client(CompleteInstance, "complete_instance")
    assert client.wait_for_service(20.0)
    request = CompleteInstance.Request(instance_id=BLUE, timeout_s=2.0)
    answers = [client.call_async(request) for _ in range(10)]
    wait_for(lambda: all(answer.done() for answer in answers), 60, "all are answered")
    said = [answer.result().message for answer in answers]
    assert any("requests are waiting already" in message for message in said)
    assert any("did not finish within 2 s; it goes on" in message for message in said)
    assert all(is_one_sentence(message) for message in said)
    wait_for(goal.cancel_goal_async().done, 20, "the cancel request is answered")
    assert result_of(goal, 60).status == GoalStatus.STATUS_CANCELED
    world.client.node.destroy_client(client)
    answer = world.client.call(CompleteInstance, "complete_instance", instance_id=BLUE)
    assert answer.success, answer.message


def test_after_all_this_the_scene_is_saved_loaded_and_completed(world):
    assert world.client.call(LoadScene, "load_scene", name="scene").success
    for name in ("after", "after"):
        answer = world.client.call(SaveScene, "save_scene", name=name)
        assert answer.success, answer.message
    assert world.client.call(LoadScene, "load_scene", name="after").success
    answer = world.client.call(CompleteInstance, "complete_instance", instance_id=BLUE)
    assert answer.success and answer.completed_object.watertight, answer.message
    assert peak_mb(world.node) < world.first_mb + 2 * LARGEST_GROWTH_MB

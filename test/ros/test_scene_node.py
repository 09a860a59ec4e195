"""scene_node in this process: what becomes of frames that wait while the scene is busy or reset."""

import threading

import numpy as np
import pytest
import rclpy
from nodes import wait_for
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.scene import Scene
from instascene_ros import frame_assembly
from instascene_ros.changeable import takes_effect
from instascene_ros.conversions import image_message, time_message
from instascene_ros.frame_assembly import AssembledFrame
from instascene_ros.parameters import FOREIGN_PREFIXES
from instascene_ros.scene_node import SceneNode


@pytest.fixture
def node(ros_domain, tmp_path):
    rclpy.init()
    limits = {"max_queued_frames": 2, "max_frames": 3, "data_dir": str(tmp_path)}
    node = SceneNode(parameter_overrides=[Parameter(name, value=value) for name, value in limits.items()])
    yield node
    assert node.close()
    rclpy.shutdown()


def frame(stamp: float) -> AssembledFrame:
    header = Header(stamp=time_message(stamp), frame_id="camera")
    image = image_message(np.full((8, 10, 3), 90, np.uint8), "rgb8", header)
    return AssembledFrame(stamp, image, np.eye(4), LensModel(PinholeCamera(10, 8, 9.0, 9.0, 5.0, 4.0)))


def busy_worker(node) -> threading.Event:
    """The worker is inside a job until the event is set."""
    inside, release = threading.Event(), threading.Event()

    def work(progress):
        inside.set()
        assert release.wait(20)

    node.worker.submit("busy", work)
    assert inside.wait(20)
    return release


def settle(node) -> None:
    """Until the worker has done everything before this."""
    node.worker.submit("settle", lambda progress: None).result(20)


def dropped(node, reason: str) -> int:
    return node.source.counters.dropped[reason]


def test_parameters_tell_their_meaning_and_range_and_whether_they_can_be_changed(node):
    names = ["sync_tolerance_s", "max_frames", "pose_source", "reconstruction.iterations", "completion.prior"]
    tolerance, frames, source, iterations, prior = node.describe_parameters(names)
    assert tolerance.description.startswith("stamps this close belong together")
    assert tolerance.floating_point_range[0].from_value == 0
    assert frames.integer_range[0].from_value == 1  # one that was given
    assert source.description.endswith("(topic | odometry | tf | none)") and not source.integer_range
    assert iterations.integer_range[0].from_value == 1 and "multiview" in prior.description
    described = node.describe_parameters(list(node.get_parameters_by_prefix("")))
    ours = [d for d in described if not d.name.startswith(FOREIGN_PREFIXES)]
    assert len(ours) > 500 and [d.name for d in ours if not d.description] == []
    assert [d.name for d in ours if d.read_only is bool(takes_effect(d.name))] == []
    (answer,) = node.set_parameters([Parameter("max_frames", value=5)])
    assert not answer.successful and "read-only" in answer.reason


def test_settings_of_what_comes_next_can_be_changed_and_status_tells(node):
    changes = [Parameter("completion.num_samples", value=3), Parameter("keyframe_translation_m", value=0.5)]
    answer = node.set_parameters_atomically(changes)
    assert answer.successful
    settle(node)
    assert node.worker.scene.config.completion.num_samples == 3
    assert node.parameters.input.keyframe_translation_m == 0.5
    assert node._last_change == (
        "completion.num_samples = 3: holds with the next complete_instance; "
        "keyframe_translation_m = 0.5: holds with the next frame"
    )
    assert node.get_parameter("completion.num_samples").value == 3
    answer = node.set_parameters_atomically(
        [Parameter("completion.num_samples", value=4), Parameter("completion.prior", value="magic")]
    )
    assert not answer.successful and "magic" in answer.reason
    settle(node)
    assert node.worker.scene.config.completion.num_samples == 3  # all or none


def test_a_full_queue_drops_and_counts_and_takes_again_afterwards(node):
    release = busy_worker(node)
    for stamp in (1.0, 2.0, 3.0):
        node.frame_jobs.add(frame(stamp))
    assert dropped(node, frame_assembly.QUEUE_FULL) == 1
    release.set()
    settle(node)
    node.frame_jobs.add(frame(4.0))
    settle(node)
    assert node.source.counters.used == 3 and dropped(node, frame_assembly.QUEUE_FULL) == 1


def test_frames_cancelled_by_a_reset_leave_the_queue(node):
    for round_ in range(3):  # with places that stay taken the queue of two would be full
        release = busy_worker(node)
        node.frame_jobs.add(frame(10.0 * round_ + 1))
        node.frame_jobs.add(frame(10.0 * round_ + 2))
        node.worker.cancel_all()  # what reset_scene begins with
        release.set()
        settle(node)
    assert node.source.counters.used == 0
    node.frame_jobs.add(frame(100.0))
    settle(node)
    assert node.source.counters.used == 1 and not node.source.counters.dropped


def test_a_full_scene_lets_the_most_redundant_frame_go(node):
    for stamp in (1.0, 2.0, 3.0, 4.0):
        node.frame_jobs.add(frame(stamp))
        settle(node)
    assert node.source.counters.used == 4 and dropped(node, frame_assembly.REDUNDANT) == 1
    assert len(node.worker.scene.frames) == node.worker.snapshot.num_frames == 3


def test_idle_time_goes_into_the_scene(node, monkeypatch):
    """Frames without depth bring no surface, but they are taken up; then there is nothing left to do."""
    slices, work_ahead = [], Scene.work_ahead

    def recorded(scene, seconds):
        more = work_ahead(scene, seconds)
        slices.append((len(scene.frames), more))
        return more

    monkeypatch.setattr(Scene, "work_ahead", recorded)
    node.frame_jobs.add(frame(1.0))
    node.frame_jobs.add(frame(2.0))
    settle(node)
    wait_for(lambda: (2, False) in slices, 20, "idle work on both frames, and its end")
    assert node.worker.is_idle and not node.errors.snapshot().counts

"""Goals that are cancelled or fail half-way: clients see the scene as it then is, and the answer is true.

A real action client talks to the node in this process.  To be cancelled in the middle, a stage is held at
its first progress report until that raises.
"""

import time
from types import SimpleNamespace

import pytest
import rclpy
from action_msgs.msg import GoalStatus
from click_scene import BLUE, RED, decomposed_scene
from geometry_msgs.msg import PointStamped
from instascene.action import BuildScene, CompleteInstances
from instascene.msg import InstanceArray
from instascene.srv import GetInstance, SegmentAt
from nodes import LATCHED, Client, result_of, scene_node_here, show_scene, wait_for
from std_msgs.msg import Header

from instascene_core.errors import Cancelled, InputError
from instascene_core.scene import Scene, begun, scene
from instascene_ros.error_log import ErrorLog
from instascene_ros.request_handling import RequestHandling
from instascene_ros.worker import Worker

ITERATIONS = 20
HELD = "held"  # the stage in which a held method waits


@pytest.fixture(scope="module")
def ros(ros_domain):
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def world(ros, tmp_path):
    """(node, client); the node holds a decomposed scene, and does nothing while idle."""
    with scene_node_here(data_dir=str(tmp_path), work_ahead=False) as node:
        show_scene(node, decomposed_scene()[0])
        client = Client("cancelling_client")
        yield node, client
        client.close()


def hold_until_cancelled(progress) -> None:
    """Report progress until that raises Cancelled."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        progress(HELD, 0.5)
        time.sleep(0.01)
    raise AssertionError("nobody cancelled")


def cancelled_in_the_middle(client, kind, name: str, **fields):
    """Send a goal, cancel it while a stage is held; status and result."""
    feedback: list = []
    goal = client.send_goal(kind, name, feedback, **fields)
    wait_for(lambda: any(f.stage == HELD for f in feedback), 60, "feedback of the held stage")
    wait_for(goal.cancel_goal_async().done, 20, "the cancel request is answered")
    return result_of(goal, 30)


def point_on_top(instance):
    point = PointStamped(header=Header(frame_id="map"))
    low, high = instance.box_min, instance.box_max
    point.point.x, point.point.y, point.point.z = (low.x + high.x) / 2, (low.y + high.y) / 2, high.z
    return point


def test_cancelled_while_it_segments(world, monkeypatch):
    node, client = world
    instances = client.listen(InstanceArray, "instances", LATCHED)
    wait_for(lambda: instances, 10, "the instances of before")
    known = client.call(GetInstance, "get_instance", instance_id=BLUE)
    before = node.worker.snapshot
    reconstructed, reconstruction_before = [], node.worker.scene.state.reconstruction

    def decompose(reconstruction, config, progress, ids):
        reconstructed.append(reconstruction)
        hold_until_cancelled(progress)

    with monkeypatch.context() as patch:
        patch.setattr(scene, "decompose", decompose)
        outcome = cancelled_in_the_middle(
            client, BuildScene, "build_scene", iterations=ITERATIONS, segment=True
        )
    assert outcome.status == GoalStatus.STATUS_CANCELED and not outcome.result.success
    assert outcome.result.message == "Cancelled; the scene is as it was before."
    assert reconstructed[0] is not reconstruction_before  # the first stage was done, and is undone
    after = node.worker.snapshot
    assert after.changes_since(before) == () and str(after.psnr) == str(before.psnr)  # both NaN
    answer = client.call(GetInstance, "get_instance", instance_id=BLUE)
    assert answer.success and answer.instance == known.instance
    assert len(instances) == 1 and {i.id for i in instances[0].instances} >= {RED, BLUE}
    # The scene is of use afterwards: a click, and the whole build.
    click = client.call(SegmentAt, "segment_at", use_point=True, point=point_on_top(known.instance))
    assert click.success and click.instance_id == BLUE, click.message
    built = result_of(client.send_goal(BuildScene, "build_scene", iterations=ITERATIONS, segment=True))
    assert built.status == GoalStatus.STATUS_SUCCEEDED and built.result.success, built.result.message
    assert built.result.gaussians > 0 and built.result.instances.instances


def test_cancelled_while_it_reconstructs(world, monkeypatch):
    node, client = world
    before = node.worker.snapshot

    def reconstruct(frames, config, progress, **options):
        hold_until_cancelled(progress)

    monkeypatch.setattr(begun, "reconstruct", reconstruct)
    outcome = cancelled_in_the_middle(client, BuildScene, "build_scene", segment=True)
    assert outcome.status == GoalStatus.STATUS_CANCELED
    assert outcome.result.message == "Cancelled; the scene is as it was before."
    assert node.worker.snapshot.changes_since(before) == ()


def test_a_build_that_fails_leaves_the_instances_and_says_why(world, monkeypatch):
    node, client = world
    before = node.worker.snapshot

    def decompose(reconstruction, config, progress, ids):
        raise InputError("The masks are of another scene.")

    monkeypatch.setattr(scene, "decompose", decompose)
    outcome = result_of(client.send_goal(BuildScene, "build_scene", iterations=ITERATIONS, segment=True))
    assert outcome.status == GoalStatus.STATUS_ABORTED
    assert outcome.result.message == "The masks are of another scene."
    assert node.errors.snapshot() == ({"build_scene": 1}, "The masks are of another scene.")
    assert node.worker.snapshot.changes_since(before) == ()
    assert client.call(GetInstance, "get_instance", instance_id=BLUE).success


def test_objects_stay_as_they_are_by_themselves_where_laying_them_to_rest_is_cancelled(world, monkeypatch):
    node, client = world
    alone: dict = {}

    def rest(owner, ids, progress):
        alone.update(owner.objects)
        hold_until_cancelled(progress)

    monkeypatch.setattr(Scene, "lay_to_rest", rest)
    outcome = cancelled_in_the_middle(client, CompleteInstances, "complete_instances", num_samples=1)
    assert outcome.status == GoalStatus.STATUS_CANCELED
    assert outcome.result.message == "Cancelled; 2 of 2 objects were completed and stay."
    assert len(alone) == 2 and dict(node.worker.snapshot.objects) == alone


def test_objects_completed_before_the_cancelled_one_stay(world, monkeypatch):
    node, client = world
    complete = Scene.complete

    def complete_first(owner, instance_id, num_samples, seed, progress, **options):
        if instance_id == RED:
            hold_until_cancelled(progress)
        return complete(owner, instance_id, num_samples, seed, progress, **options)

    monkeypatch.setattr(Scene, "complete", complete_first)
    outcome = cancelled_in_the_middle(
        client, CompleteInstances, "complete_instances", instance_ids=[BLUE, RED], num_samples=1
    )
    assert outcome.status == GoalStatus.STATUS_CANCELED and list(outcome.result.completed_ids) == [BLUE]
    assert outcome.result.message == "Cancelled; 1 of 2 objects were completed and stay."
    assert client.call(GetInstance, "get_instance", instance_id=BLUE).instance.completed
    assert not client.call(GetInstance, "get_instance", instance_id=RED).instance.completed
    assert set(node.worker.snapshot.objects) == {BLUE}


def test_feedback_that_nobody_hears_any_more_cancels_and_no_other_fault_does():
    """A signal ends ROS before the node cancels its jobs: publishing fails in between."""

    def fail(_message: object) -> None:
        raise RuntimeError("feedback publisher is invalid")

    goal, is_up = SimpleNamespace(publish_feedback=fail), [True]
    errors = ErrorLog()
    worker = Worker(errors)
    worker.start()
    handling = RequestHandling(worker, errors, 10.0, lambda: is_up[0])
    try:
        report = handling.feedback(goal, lambda *told: told)
        with pytest.raises(RuntimeError, match="publisher is invalid"):
            handling.run("complete_instances", lambda _: report("complete", 0.0, ""))
        is_up[0] = False
        with pytest.raises(Cancelled, match="shutting down"):
            handling.run("complete_instances", lambda _: report("files", 1.0, ""))
    finally:
        assert worker.stop(10.0)
    assert errors.snapshot().counts == {"complete_instances": 1}  # that one ends is no error

"""In-situ generation through the node: feedback for every pass, and cancelling at any of them."""

import time

import pytest
import rclpy
import torch
from action_msgs.msg import GoalStatus
from click_scene import RED, decomposed_scene
from instascene.action import CompleteInstances
from nodes import Client, result_of, scene_node_here, show_scene, wait_for

from instascene_core.completion.priors.multiview.network import MultiviewNetwork, save_network

PASSES = 5
SLOW = 0.4  # seconds that a pass takes at least


@pytest.fixture(scope="module")
def ros(ros_domain):
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    save_network(MultiviewNetwork((32, 32, 32)), path, {"side": "32"})
    return path


@pytest.fixture
def world(ros, tmp_path, weights):
    """(node, client); the node holds a decomposed scene and generates views."""
    parameters = {
        "data_dir": str(tmp_path), "work_ahead": False, "completion.prior": "multiview",
        "completion.multiview.weights": str(weights), "completion.multiview.steps": PASSES,
        "completion.observing.max_voxels": 12000, "completion.learned.side": 16,
        "completion.convex_parts.max_parts": 1,
    }  # fmt: skip
    with scene_node_here(**parameters) as node:
        show_scene(node, decomposed_scene()[0])
        client = Client("generating_client")
        yield node, client
        client.close()


def test_every_pass_is_told_and_the_object_is_in_the_map_frame(world):
    node, client = world
    feedback: list = []
    outcome = result_of(
        client.send_goal(CompleteInstances, "complete_instances", feedback, instance_ids=[RED])
    )
    assert outcome.status == GoalStatus.STATUS_SUCCEEDED and list(outcome.result.completed_ids) == [RED]
    steps = [f.stage for f in feedback if "pass" in f.stage]
    assert steps == [f"generating views, pass {k + 1} of {PASSES}" for k in range(PASSES)]
    for number in (RED, 0):  # the object, then all that were completed laid to rest together
        shares = [f.progress for f in feedback if f.instance_id == number]
        assert shares == sorted(shares) and shares[-1] == 1
    made = node.worker.snapshot.objects[RED]
    assert made.prior.startswith("multiview (Apache-2.0)") and made.watertight
    assert abs(made.world_from_object[0, 3] + 0.1) < 0.02  # where it stands on the map


@pytest.mark.parametrize("number", [1, 3, PASSES])
def test_cancelling_at_any_pass_takes_two_seconds_at_most(world, monkeypatch, number):
    node, client = world
    forward = MultiviewNetwork.forward

    def slow(*arguments):
        time.sleep(SLOW)
        return forward(*arguments)

    monkeypatch.setattr(MultiviewNetwork, "forward", slow)
    feedback: list = []
    goal = client.send_goal(CompleteInstances, "complete_instances", feedback, instance_ids=[RED])
    wait_for(lambda: any(f"pass {number} of" in f.stage for f in feedback), 60, f"feedback of pass {number}")
    start = time.monotonic()
    goal.cancel_goal_async()
    outcome = result_of(goal, 30)
    assert time.monotonic() - start < 2
    assert outcome.status == GoalStatus.STATUS_CANCELED and not outcome.result.success
    assert RED not in node.worker.snapshot.objects and node.worker.scene.objects == {}

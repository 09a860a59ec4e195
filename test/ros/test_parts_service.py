"""The parts of a completed object at the real node, in this process."""

import numpy as np
import pytest
import rclpy
import torch
from click_scene import RED, decomposed_scene
from instascene.srv import CompleteInstance, SegmentParts
from nodes import Client, scene_node_here, show_scene

from instascene_core.parts.network import PartNetwork, PartShape, TrainedParts, save_network

NAMES = (("body", "handle"), ("body", "grip", "ear"))


@pytest.fixture(scope="module")
def ros(ros_domain):
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def client(ros, tmp_path):
    torch.manual_seed(0)
    network = PartNetwork(PartShape((2, 3), widths=(4, 6), features=5, hidden=6))
    weights = tmp_path / "tiny.safetensors"
    save_network(TrainedParts(network.eval(), NAMES), weights, {})
    scene, _ = decomposed_scene()
    with scene_node_here(data_dir=str(tmp_path), **{"parts.weights": str(weights)}) as node:
        show_scene(node, scene)
        client = Client("parts_client")
        yield client
        client.close()


def test_parts_of_a_completed_object_and_of_none(client):
    early = client.call(SegmentParts, "segment_parts", instance_id=RED)
    assert not early.success and "call complete_instance" in early.message
    unknown = client.call(SegmentParts, "segment_parts", instance_id=4711)
    assert not unknown.success and "There is no instance 4711" in unknown.message
    assert client.call(CompleteInstance, "complete_instance", instance_id=RED).success
    answer = client.call(SegmentParts, "segment_parts", instance_id=RED)
    assert answer.success, answer.message
    assert answer.header.frame_id == "map" and answer.message.startswith("Parts: ")
    assert len(answer.levels) == 2 and len(answer.mesh.triangles) > 100
    for level, known in zip(answer.levels, NAMES):
        part = np.array(level.vertex_part)
        assert len(part) == len(answer.mesh.vertices) and set(level.names) <= set(known)
        assert part.min() >= 0 and part.max() < len(level.names) == len(level.scores)

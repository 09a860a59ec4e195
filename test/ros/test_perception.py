"""scene_node and mask_node in one process: both do their work, and the masks reach the scene."""

import numpy as np
import pytest
import rclpy
from instascene.msg import SceneStatus
from nodes import END_S, Client, next_status, running, wait_for
from sensor_msgs.msg import Image

NUM_VIEWS = 4


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset

    folder = tmp_path_factory.mktemp("scene")
    config = SyntheticConfig(
        seed=3, num_objects=2, num_views=NUM_VIEWS, width=160, height=120, supersampling=1, room=False,
        layout="spread", kinds=("box", "can"),
    )  # fmt: skip
    write_dataset(generate_scene(config), folder)
    return folder


@pytest.fixture
def client(ros_domain):
    rclpy.init()
    client = Client("both_client")
    yield client
    client.close()
    rclpy.try_shutdown()


def test_images_get_masks_and_come_into_the_scene(client, dataset, tmp_path):
    masks, statuses = client.listen(Image, "masks/image", 30), client.listen(SceneStatus, "status")
    parameters = {
        "keyframe_translation_m": 0.0, "keyframe_rotation_deg": 0.0, "data_dir": tmp_path,
        "work_ahead": False, "frame_prefix": "arm",
    }  # fmt: skip
    with running("perception", parameters, tmp_path / "perception.log") as nodes:
        next_status(statuses, timeout=60.0)
        names = set(client.node.get_node_names())
        assert {"scene_node", "mask_node"} <= names
        player = {"dataset": dataset, "rate": 4.0, "use_masks": False}
        with running("dataset_player", player, tmp_path / "player.log") as process:
            assert process.wait(60.0) == 0, process.log.read_text()
        wait_for(lambda: len(masks) == NUM_VIEWS, 30, "a label image for every view")
        next_status(statuses, lambda s: s.frames_used == NUM_VIEWS)
        assert any(np.frombuffer(bytes(m.data), np.uint16).any() for m in masks)
        code, seconds = nodes.interrupt()
        log = nodes.log.read_text()
        assert code == 0 and seconds < END_S and "Traceback" not in log, log
        assert log.count("ready: label images") == 1  # each line once

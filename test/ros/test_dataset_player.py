"""dataset_player in this process: what it opens, in which order it sends, and what it refuses."""

import threading
import time

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

from instascene_core.camera import PinholeCamera
from instascene_core.datasets import write_bag
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_ros.dataset_player import SETTLED_S, DatasetPlayer, PlayerParameters, StampMaker, play


@pytest.fixture
def make_player(ros_domain):
    rclpy.init()
    players = []

    def make(**parameters) -> DatasetPlayer:
        values = [Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()]
        players.append(DatasetPlayer(parameter_overrides=values))
        return players[-1]

    yield make
    for player in players:
        player.destroy_node()
    rclpy.shutdown()


def frames(count: int) -> list[Frame]:
    pose = np.eye(4)
    camera = PinholeCamera(12, 8, 10.0, 10.0, 6.0, 4.0)
    rgb = np.full((8, 12, 3), 50, np.uint8)
    return [Frame(f"{i}", 1.0 + 0.1 * i, camera, pose, rgb + np.uint8(i)) for i in range(count)]


@pytest.fixture
def bag(tmp_path):
    write_bag(frames(3), tmp_path / "bag")
    return tmp_path / "bag"


def test_topics_of_a_bag_can_be_named(make_player, bag):
    assert len(make_player(dataset=str(bag), topics__rgb="/rgb/image").open()) == 3
    with pytest.raises(InputError, match="no topic '/camera/color'"):
        make_player(dataset=str(bag), topics__rgb="/camera/color").open()
    with pytest.raises(InputError, match=r"did you mean 'topics\.rgb'"):
        make_player(dataset=str(bag), topics__rbg="/rgb/image")


def test_bad_parameters_are_refused(make_player):
    with pytest.raises(InputError, match="must be positive"):
        make_player(dataset="x", rate=0.0)
    with pytest.raises(InputError, match="nothing to play"):
        make_player()
    with pytest.raises(InputError, match="There is nothing at"):
        make_player(dataset="/nonexistent").open()


def test_nobody_listens(make_player, bag):
    with pytest.raises(InputError, match="Nobody subscribed to /rgb/image"):
        play(make_player(dataset=str(bag), wait_s=0.2))


def test_nothing_is_sent_while_readers_still_come(make_player, bag):
    """What a killed node leaves counts as a reader of every topic until its lease ends."""
    player = make_player(dataset=str(bag), wait_s=20.0)
    left_over, starting = rclpy.create_node("left_over"), rclpy.create_node("starting")
    kinds = {"rgb/image": Image, "rgb/camera_info": CameraInfo, "pose": PoseStamped}
    for topic, kind in kinds.items():
        left_over.create_subscription(kind, topic, print, 1)
    waiting = threading.Thread(target=player.wait_for_subscribers)
    waiting.start()
    try:
        for topic, kind in kinds.items():
            time.sleep(0.6 * SETTLED_S)
            assert waiting.is_alive(), f"waits for the reader of {topic}"
            starting.create_subscription(kind, topic, print, 1)
        waiting.join(10.0)
        assert not waiting.is_alive()
        assert player.count_subscribers("rgb/image") == 2
    finally:
        waiting.join(30.0)
        left_over.destroy_node()
        starting.destroy_node()


def test_a_truncated_image_ends_the_play_with_one_sentence(make_player, tmp_path):
    import json

    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "0.png")
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    entries = [{"file_path": f"{i}.png", "transform_matrix": np.eye(4).tolist()} for i in range(2)]
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 10.0, "frames": entries}))
    with pytest.raises(InputError, match=r"1\.png is truncated or corrupt"):
        play(make_player(dataset=str(tmp_path), wait_s=0.0, rate=100.0))


def test_stamps_always_increase(make_player):
    clock = make_player(dataset="x").get_clock()
    maker = StampMaker(PlayerParameters(rate=10.0), clock)
    first, second, _ = frames(3)
    assert [maker.stamp(first), maker.stamp(second)] == pytest.approx([1.0, 1.1])
    assert maker.stamp(first) == pytest.approx(1.2)  # a dataset whose stamps go back
    now = StampMaker(PlayerParameters(rate=10.0, stamps="now"), clock).stamp(first)
    assert abs(now - clock.now().nanoseconds * 1e-9) < 5

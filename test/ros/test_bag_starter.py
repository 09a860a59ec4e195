"""bag_starter beside a paused player: it goes on when the node listens, and not before."""

import threading
import time

import pytest
import rclpy
from nodes import Client, wait_for
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from instascene_core.errors import InputError
from instascene_ros import bag_starter
from instascene_ros.bag_starter import SETTLED_S, BagStarter

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def starter(ros_domain):
    """Makes a starter; `run()` of it gives its exit status in a list, when it has one."""
    rclpy.init()
    made = []

    def make(**parameters):
        values = [Parameter(name, value=value) for name, value in parameters.items()]
        node, executor, status = BagStarter(parameter_overrides=values), SingleThreadedExecutor(), []
        executor.add_node(node)

        def run() -> list:
            def start() -> None:
                status.append(node.start(Trigger, lambda: executor.spin_once(timeout_sec=0.05)))

            thread = threading.Thread(target=start)
            thread.start()
            made.append((thread, node))
            return status

        return run

    yield make
    for thread, node in made:
        thread.join(20)
        node.destroy_node()
    rclpy.shutdown()


class PausedPlayer(Client):
    """Offers the topics of a bag; sends them all at once when it is resumed."""

    def __init__(self, qos: QoSProfile | int = 10) -> None:
        super().__init__("rosbag2_player")
        self.resumed = 0
        self._images = self.node.create_publisher(Image, "rgb/image", qos)
        self._infos = self.node.create_publisher(CameraInfo, "rgb/camera_info", qos)
        self.node.create_service(Trigger, "~/resume", self._resume)

    def _resume(self, request, response):
        self.resumed += 1
        for k in range(5):
            self._images.publish(Image(height=k))
            self._infos.publish(CameraInfo(height=k))
        return response


def test_nothing_of_a_bag_is_lost_that_is_shorter_than_the_start(starter):
    player, listener = PausedPlayer(), None
    try:
        status = starter(wait_s=30.0)()
        wait_for(lambda: player.node.count_publishers("/rgb/image"), 10, "the player's topics")
        listener = Client("listener")
        images = listener.listen(Image, "rgb/image")
        wait_for(lambda: player.node.count_subscribers("/rgb/image"), 10, "the first subscription")
        assert player.resumed == 0  # camera_info is not heard yet
        infos = listener.listen(CameraInfo, "rgb/camera_info")
        wait_for(lambda: status, 20, "the starter ends")
        assert status == [0] and player.resumed == 1
        wait_for(lambda: len(images) == len(infos) == 5, 5, "all messages")
    finally:
        player.close()
        if listener is not None:
            listener.close()


def test_who_asks_for_more_than_is_offered_does_not_listen_yet(starter):
    """A node subscribes reliably before it adopts what the publishers offer: best effort here."""
    player, listener = PausedPlayer(BEST_EFFORT), Client("listener")
    try:
        status = starter(wait_s=30.0)()
        wait_for(lambda: player.node.count_publishers("/rgb/image"), 10, "the player's topics")
        eager = listener.node.create_subscription(Image, "rgb/image", lambda message: None, 10)
        infos = listener.listen(CameraInfo, "rgb/camera_info", BEST_EFFORT)
        time.sleep(2 * SETTLED_S)
        assert player.resumed == 0
        images = listener.listen(Image, "rgb/image", BEST_EFFORT)
        listener.node.destroy_subscription(eager)
        wait_for(lambda: status, 20, "the starter ends")
        assert status == [0] and player.resumed == 1
        wait_for(lambda: len(images) == len(infos) == 5, 5, "all messages")
    finally:
        player.close()
        listener.close()


def test_a_bag_that_nobody_hears_is_played_all_the_same(starter, capfd):
    player = PausedPlayer()
    try:
        status = starter(wait_s=SETTLED_S + 1.0)()
        wait_for(lambda: status, 20, "the starter ends")
        assert status == [0] and player.resumed == 1
        assert "nobody listens to /rgb/image, /rgb/camera_info: " in capfd.readouterr().err
    finally:
        player.close()


def test_no_player_is_one_sentence(starter, capfd):
    status = starter(wait_s=0.5, player="/absent")()
    wait_for(lambda: status, 20, "the starter ends")
    assert status == [1] and "no paused player /absent within 0.5 s" in capfd.readouterr().err


def test_without_rosbag2_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rosbag2_interfaces", None)
    with pytest.raises(InputError, match="rosbag2_interfaces is not installed"):
        bag_starter.resume_type()

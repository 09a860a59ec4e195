"""bag_starter: lets `ros2 bag play --start-paused` go on once the scene's node listens.

A player sends what it has at once, but nodes take seconds to start, and a little longer to adopt what the
publishers offer: the beginning of a bag, or all of a short one, would be lost.  A paused player's publishers
are there and send nothing.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import rclpy
import rclpy.utilities
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy

from instascene_core.errors import InputError
from instascene_ros.parameters import plain_parameters

SETTLED_S = 1.0  # nobody new may have subscribed for this long: nodes subscribe to one topic after the other
POLL_S = 0.1


@dataclass(frozen=True)
class StarterParameters:
    """Parameters of bag_starter."""

    # Topics that the node takes if something publishes them; alternatives, of which it takes one, as a|b
    topics: tuple[str, ...] = ("rgb/image|rgb/image/compressed", "rgb/camera_info", "pose|odometry")
    player: str = "/rosbag2_player"  # the node that plays the bag
    wait_s: float = 60.0  # for the player, and for somebody to listen; then the bag is played all the same


def resume_type() -> type:
    """rosbag2_interfaces/Resume.  InputError where it is not installed."""
    try:
        from rosbag2_interfaces.srv import Resume
    except ImportError:
        raise InputError(
            "rosbag2_interfaces is not installed, so a paused bag cannot be resumed; "
            "install rosbag2 of this ROS distribution."
        ) from None
    return Resume


class BagStarter(Node):
    """Waits for listeners, then resumes the player."""

    def __init__(self, **node_options) -> None:
        super().__init__("bag_starter", automatically_declare_parameters_from_overrides=True, **node_options)
        self.parameters = plain_parameters(self, StarterParameters())

    def start(self, service_type: type, spin: Callable[[], None]) -> int:
        """Wait and resume; the exit status.  spin: lets the node work for a moment."""
        log, player = self.get_logger(), self.parameters.player
        client = self.create_client(service_type, f"{player}/resume")
        if not self._wait(client.service_is_ready, spin):
            log.error(f"no paused player {player} within {self.parameters.wait_s:g} s")
            return 1
        if not self._wait(self._settled(), spin):
            missing = ", ".join(self._unheard()) or "the scene's topics"
            log.warning(f"nobody listens to {missing}: the bag is played all the same")
        done = client.call_async(service_type.Request())
        if not self._wait(done.done, spin):
            log.error(f"the player {player} does not answer")
            return 1
        log.info("the bag is being played")
        return 0

    def _wait(self, condition: Callable[[], bool], spin: Callable[[], None]) -> bool:
        end = time.monotonic() + self.parameters.wait_s
        while not condition():
            if time.monotonic() > end:
                return False
            spin()
        return True

    def _settled(self) -> Callable[[], bool]:
        """A condition: all that is offered is heard, and nobody new has come for a while."""
        last, since = -1, 0.0

        def settled() -> bool:
            nonlocal last, since
            count = sum(self.count_subscribers(topic) for group in self._groups() for topic in group)
            if count != last:
                last, since = count, time.monotonic()
            return count > 0 and not self._unheard() and time.monotonic() - since > SETTLED_S

        return settled

    def _groups(self) -> list[list[str]]:
        """Alternative names of each topic, resolved."""
        return [[self.resolve_topic_name(n) for n in group.split("|")] for group in self.parameters.topics]

    def _unheard(self) -> list[str]:
        """Topics that are offered, but nobody listens to, nor to an alternative."""
        offered = [[t for t in group if self.count_publishers(t)] for group in self._groups()]
        return [group[0] for group in offered if group and not any(map(self._is_heard, group))]

    def _is_heard(self, topic: str) -> bool:
        """Whether somebody listens who gets what is sent: not as long as he asks for more than is offered."""
        readers = self.get_subscriptions_info_by_topic(topic)
        if any(map(_is_best_effort, self.get_publishers_info_by_topic(topic))):
            return any(map(_is_best_effort, readers))
        return bool(readers)


def _is_best_effort(endpoint) -> bool:
    return endpoint.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT


def main(args: list[str] | None = None) -> int:
    rclpy.init(args=args)
    try:
        node = BagStarter()
        return node.start(resume_type(), lambda: rclpy.spin_once(node, timeout_sec=POLL_S))
    except InputError as error:
        sys.stderr.write(f"bag_starter: {error}\n")
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        rclpy.utilities.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())

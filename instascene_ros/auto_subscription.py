"""Subscriptions that adopt what publishers offer: their reliability, and the transport that is there."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks  # pyright: ignore[reportMissingImports]


class AutoSubscription:
    """A subscription that is there from the start, with the reliability that the publishers offer.

    Reliable while there are none (`ros2 node info` shows its topic, and a reliable publisher finds it ready)
    and where every publisher is, best effort otherwise, which all are compatible with; made anew when that
    changes.  `qos` other than "auto" fixes it.  With `waits` it begins at the first update that finds a
    publisher.
    """

    def __init__(
        self, node, message_type, topic: str, callback, group, depth: int, qos: str, on_error, waits=False
    ) -> None:
        self._node, self._type, self._topic = node, message_type, topic
        self._callback, self._group, self._depth = callback, group, depth
        self._fixed = None if qos == "auto" else qos
        self._on_error = on_error
        self._subscription = None
        self._chosen = ""
        if not waits:
            self._subscribe(self._fixed or "reliable")

    @property
    def topic(self) -> str:
        """Fully resolved, remappings applied."""
        return self._node.resolve_topic_name(self._topic)

    @property
    def has_publishers(self) -> bool:
        return self._node.count_publishers(self.topic) > 0

    def update(self) -> None:
        """Look at what publishers offer; called now and then."""
        if self._fixed:
            if self._subscription is None:
                self._subscribe(self._fixed)
            return
        offers = self._node.get_publishers_info_by_topic(self.topic)
        if not offers:
            return
        reliable = all(o.qos_profile.reliability == ReliabilityPolicy.RELIABLE for o in offers)
        wanted = "reliable" if reliable else "best_effort"
        if wanted != self._chosen:
            self._subscribe(wanted)

    def close(self) -> None:
        """Hear nothing more, until the next update."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription, self._chosen = None, ""

    def _subscribe(self, reliability: str) -> None:
        self.close()
        profile = QoSProfile(
            depth=self._depth,
            reliability=getattr(ReliabilityPolicy, reliability.upper()),
            durability=DurabilityPolicy.VOLATILE,
        )
        events = SubscriptionEventCallbacks(incompatible_qos=self._incompatible, use_default_callbacks=False)
        self._subscription = self._node.create_subscription(
            self._type, self._topic, self._callback, profile,
            callback_group=self._group, event_callbacks=events,
        )  # fmt: skip
        self._chosen = reliability
        self._node.get_logger().debug(f"{self.topic}: subscribed {reliability}")

    def _incompatible(self, event) -> None:
        if self._fixed is None:
            return  # the next update sees that publisher, and subscribes as it offers
        self._on_error(
            "incompatible QoS",
            f"A publisher on {self.topic} offers another QoS than image_qos '{self._fixed}' asks for, "
            "so nothing arrives from it; set image_qos to auto or best_effort.",
        )


class EitherSubscription:
    """Of two topics with the same content in different transports the wanted one, or the other where only
    that is published.  As an AutoSubscription to who uses it."""

    def __init__(self, node, wanted: AutoSubscription, other: AutoSubscription, parameter: str) -> None:
        self._node, self._wanted, self._other, self._parameter = node, wanted, other, parameter
        self._taken = wanted

    @property
    def topic(self) -> str:
        """That of the two which is taken at present."""
        return self._taken.topic

    @property
    def has_publishers(self) -> bool:
        return self._wanted.has_publishers or self._other.has_publishers

    def close(self) -> None:
        """Hear nothing more, until the next update."""
        self._wanted.close()
        self._other.close()

    def update(self) -> None:
        """Look at what publishers offer; called now and then."""
        taken = self._wanted if self._wanted.has_publishers or not self._other.has_publishers else self._other
        if taken is not self._taken:
            self._taken.close()
            self._taken = taken
            why = (
                "published now and taken"
                if taken is self._wanted
                else f"taken, as nobody publishes {self._wanted.topic}"
            )
            self._node.get_logger().info(f"{taken.topic} is {why} ({self._parameter})")
        taken.update()

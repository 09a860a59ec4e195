"""The core's log records reach the node's logger, at their level and only while they should."""

import logging

import pytest
from rclpy.logging import LoggingSeverity

from instascene_ros.log_forwarding import forward_logging, stop_forwarding


class Recorder:
    """A logger as rclpy's, which keeps what it is given."""

    def __init__(self, level: LoggingSeverity) -> None:
        self.level, self.records = level, []

    def is_enabled_for(self, severity: LoggingSeverity) -> bool:
        return severity >= self.level

    def __getattr__(self, name):
        return lambda text: self.records.append((name, text))


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (LoggingSeverity.INFO, ["info", "warning", "error"]),
        (LoggingSeverity.DEBUG, ["debug", "info", "warning", "error"]),
    ],
)
def test_records_keep_their_level(level, expected):
    ros_logger = Recorder(level)
    handler = forward_logging(ros_logger)
    logger = logging.getLogger("instascene_core.somewhere.below")
    try:
        for name in ("debug", "info", "warning", "error"):
            getattr(logger, name)("%s of %d", name, 3)
    finally:
        stop_forwarding(handler)
    logger.error("afterwards")
    assert ros_logger.records == [(name, f"{name} of 3") for name in expected]

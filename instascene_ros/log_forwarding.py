"""Python's `logging`, which the core uses, into the node's ROS log."""

import logging

# The module that defines it is internal to rclpy.
from rclpy.logging import LoggingSeverity  # pyright: ignore[reportPrivateImportUsage]  # its documented place


class RosLogHandler(logging.Handler):
    """Sends records to an rclpy logger at the matching level."""

    def __init__(self, ros_logger) -> None:
        super().__init__()
        self._logger = ros_logger
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            # One call per line of source: rclpy binds a severity to the place it is called from.
            if record.levelno >= logging.ERROR:
                self._logger.error(text)
            elif record.levelno >= logging.WARNING:
                self._logger.warning(text)
            elif record.levelno >= logging.INFO:
                self._logger.info(text)
            else:
                self._logger.debug(text)
        except Exception:
            self.handleError(record)


def forward_logging(ros_logger) -> RosLogHandler:
    """Forward `instascene_core` and `instascene_ros`; returns the handler for `stop_forwarding`.

    Debug records only where the node's logger wants them (`--log-level debug`): they cost time.
    """
    handler = RosLogHandler(ros_logger)
    level = logging.DEBUG if ros_logger.is_enabled_for(LoggingSeverity.DEBUG) else logging.INFO
    for name in ("instascene_core", "instascene_ros"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    return handler


def stop_forwarding(handler: RosLogHandler) -> None:
    for name in ("instascene_core", "instascene_ros"):
        logger = logging.getLogger(name)
        logger.removeHandler(handler)
        logger.propagate = True

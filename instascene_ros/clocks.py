"""Wall time for timers: what must happen also while a simulation's clock stands still."""

from rclpy.clock import Clock

# Humble has no rclpy.clock_type.
from rclpy.clock import ClockType  # pyright: ignore[reportPrivateImportUsage]  # isort: skip


def steady_clock() -> Clock:
    """A clock that neither a simulation nor the system's time moves."""
    return Clock(clock_type=ClockType.STEADY_TIME)

"""ROS tests need rclpy and the built interfaces; without them they are skipped with a sentence."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # the sources under test, also where an older build is installed
    sys.path.insert(0, str(ROOT))
sys.path.append(str(ROOT / "test" / "core"))  # scenes made for the tests of the core

try:
    import rclpy  # noqa: F401
    from instascene import msg  # noqa: F401
except ImportError as error:
    collect_ignore_glob = ["test_*.py"]
    REASON = f"no ROS 2 with the built instascene interfaces ({error}); run them with `make test`"
else:
    REASON = ""


def pytest_terminal_summary(terminalreporter):
    if REASON:
        terminalreporter.write_line(f"ROS tests left out: {REASON}")


@pytest.fixture(scope="session")
def ros_domain():
    """A ROS_DOMAIN_ID that no other test run on this machine uses, kept to this machine."""
    import os

    from domain_coordinator import domain_id

    with domain_id() as number:
        os.environ["ROS_DOMAIN_ID"] = str(number)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        yield number

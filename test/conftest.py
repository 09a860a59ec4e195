"""How tests share the processes that `make test` runs them in (pytest-xdist)."""

import pytest


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file's tests stay in one process, as they share scenes that take seconds to make; those of ROS
    stay in one together: nodes wait for one another, and too many at a time miss what they wait for."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        group = "ros" if "ros" in item.path.parts else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))

# What launch/scene.launch.py uses of launch_ros, which has no types and comes with ROS only.
from collections.abc import Sequence
from typing import Any

from launch import LaunchDescriptionEntity

class Node(LaunchDescriptionEntity):
    def __init__(
        self,
        *,
        executable: str,
        package: str | None = None,
        name: str | None = None,
        namespace: str | None = None,
        parameters: Sequence[str | dict[str, Any]] | None = None,
        remappings: Sequence[tuple[str, str]] | None = None,
        arguments: Sequence[str] | None = None,
        ros_arguments: Sequence[str] | None = None,
        on_exit: Sequence[LaunchDescriptionEntity] | None = None,
        output: str = ...,
    ) -> None: ...

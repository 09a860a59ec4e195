from collections.abc import Callable, Iterable, Sequence

from launch import LaunchContext, LaunchDescriptionEntity

class DeclareLaunchArgument(LaunchDescriptionEntity):
    def __init__(
        self, name: str, *, default_value: str | None = None, description: str | None = None
    ) -> None: ...

class ExecuteProcess(LaunchDescriptionEntity):
    def __init__(self, *, cmd: Sequence[str], output: str = ...) -> None: ...

class LogInfo(LaunchDescriptionEntity):
    def __init__(self, *, msg: str) -> None: ...

class OpaqueFunction(LaunchDescriptionEntity):
    def __init__(
        self, *, function: Callable[[LaunchContext], Iterable[LaunchDescriptionEntity] | None]
    ) -> None: ...

class SetEnvironmentVariable(LaunchDescriptionEntity):
    def __init__(self, name: str, value: str) -> None: ...

class Shutdown(LaunchDescriptionEntity):
    def __init__(self, *, reason: str = ...) -> None: ...

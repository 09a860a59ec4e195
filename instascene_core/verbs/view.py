"""`instascene view`: a saved scene in the browser."""

import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from instascene_core.errors import InputError
from instascene_core.terminal import console
from instascene_core.verbs.manner import Answer, Manner


@dataclass(frozen=True)
class View:
    """Look at a saved scene in a browser: objects, Gaussians and cameras with viser, else the report."""

    output: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder written by `run` or `save_scene`."""
    live: bool = False
    """The scene of a running `scene_node` instead, as its topics tell it (ROS 2)."""
    port: int = 8080
    """The next free one where it is taken."""
    host: str = "127.0.0.1"
    """Address to listen on. The default serves this machine only; 0.0.0.0 lets anyone in the network look
    and change the scene."""
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.browser import serve, viser_is_installed
        from instascene_core.owned_folder import finish

        if self.live:
            sys.exit(self._show_live())
        if self.output is None:
            raise InputError("`instascene view` takes the folder of a saved scene, or --live.")
        finish(self.output)
        if viser_is_installed():
            serve(self.output, self.port, lambda sentence: console.print(sentence), host=self.host)
            return Answer({"folder": self.output})
        report = self.output / "report.html"
        if not report.is_file():
            raise InputError(f"There is no finished run in {self.output} ({report.name} is missing).")
        console.print("viser is not installed (pip install viser shows the scene in 3D); this is the report:")
        console.print(report.absolute().as_uri(), soft_wrap=True)
        return Answer({"folder": self.output, "report": report.absolute()})

    def _show_live(self) -> int:
        """The viewer that lives with ROS, as a process of its own; its exit status."""
        missing = [name for name in ("rclpy", "instascene_ros", "viser") if find_spec(name) is None]
        if missing:
            raise InputError(
                f"--live needs {', '.join(missing)}: source a ROS 2 with this package, and pip install viser."
            )
        words = ["--port", str(self.port), "--host", self.host]
        return subprocess.run(
            [sys.executable, "-m", "instascene_ros.live_viewer", *words], check=False
        ).returncode

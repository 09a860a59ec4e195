"""A saved scene in the browser, with viser (extra `viewer`).

contents   what is shown, read from the scene's folder
shapes     objects in their shadings, as viser takes them
stage      what is drawn in three dimensions
panel      tables and buttons beside it
work       completing, removing, exporting: one thread that owns the scene
"""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instascene_core.browser.panel import Panel
    from instascene_core.browser.work import Jobs

LOCALHOST = "127.0.0.1"


def viser_is_installed() -> bool:
    return importlib.util.find_spec("viser") is not None


def serve(
    folder: Path, port: int, say: Callable[[str], None], wait: bool = True, host: str = LOCALHOST
) -> object:
    """Show a saved scene until Ctrl-C; the viser server.

    host: the address to listen on; only this machine's programs reach the default.  Raises InputError where
    there is no saved scene.
    """
    from instascene_core.browser.work import Work

    work = Work(Path(folder))
    server, _ = open_viewer(work, port, say, host)
    try:
        while wait:
            time.sleep(1.0)
    finally:
        if wait:
            work.close()
            server.stop()
    return server


def open_viewer(
    work: "Jobs", port: int, say: Callable[[str], None], host: str = LOCALHOST
) -> "tuple[Any, Panel]":
    """A viser server that shows the scene of these jobs, and its panel."""
    import viser  # pyright: ignore[reportMissingImports] (optional: the caller says what to install)

    from instascene_core.browser.panel import Panel
    from instascene_core.browser.stage import Stage

    contents = work.contents()
    server = viser.ViserServer(host=host, port=port, label="instascene", verbose=False)
    panel = Panel(server, Stage(server, contents), work, contents)
    name = "localhost" if host == LOCALHOST else host
    say(f"The scene is shown at http://{name}:{server.get_port()} (Ctrl-C ends).")
    return server, panel

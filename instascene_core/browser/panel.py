"""Tables, switches and buttons beside the scene."""

import threading
from typing import Any

from instascene_core.browser import tables
from instascene_core.browser.contents import Contents
from instascene_core.browser.shapes import SHADINGS, shaded
from instascene_core.browser.stage import LAYERS, Stage
from instascene_core.browser.work import Jobs
from instascene_core.export.object_files import FORMATS
from instascene_core.instances import InstanceId
from instascene_core.viewer.report.figures import counted

NOTHING = "–"
ACCENT = (26, 111, 181)


class Panel:
    """The controls of a viser server."""

    def __init__(self, server: Any, stage: Stage, work: Jobs, contents: Contents) -> None:
        self.server, self.stage, self.work = server, stage, work
        self._lock = threading.RLock()  # viser calls from many threads
        gui = server.gui
        self._theme(dark=False)
        gui.set_panel_label(contents.title)
        tabs = gui.add_tab_group()
        with tabs.add_tab("Objects"):
            self._objects = gui.add_html(tables.objects(contents, None))
            self._choice = gui.add_dropdown("Object", self._names(), initial_value=NOTHING)
            self._details = gui.add_html("")
            self._look = gui.add_button("Look at it")
            with gui.add_folder("Change", expand_by_default=False):
                self._complete = gui.add_button(
                    "Complete again", hint="Into the saved scene; takes some seconds"
                )
                self._remove = gui.add_button(
                    "Remove", color="red", hint="It was taken away: out of the scene and its files"
                )
            with gui.add_folder("Export", expand_by_default=False):
                self._format = gui.add_dropdown("Format", FORMATS, initial_value="glb")
                self._export = gui.add_button(
                    "Write to the scene's folder", hint="Of all objects where none is chosen"
                )
                self._download = gui.add_button("Download its GLB")
        with tabs.add_tab("View"):
            self._shading = gui.add_dropdown(
                "Shading", tuple(SHADINGS.values()), initial_value=SHADINGS["texture"]
            )
            switches = {layer: gui.add_checkbox(title, on) for layer, (title, on) in LAYERS.items()}
            dark = gui.add_checkbox("Dark panel", False)
            dark.on_update(lambda event: self._theme(event.target.value))
        with tabs.add_tab("How it was made"):
            gui.add_html(tables.stages(contents))
        self._state = gui.add_markdown("")
        for layer, switch in switches.items():
            switch.on_update(lambda event, layer=layer: stage.show(layer, event.target.value))
        self._connect()
        stage.on_choice = self.choose
        self._show_choice(None)
        self._begin("images of the cameras", work.images, done=self._images_are_there)

    def _connect(self) -> None:
        self._shading.on_update(lambda _: self._shade())
        self._choice.on_update(lambda _: self._show_choice(self._chosen()))
        self._look.on_click(lambda event: self.stage.look_at(event.client, self._chosen()))
        self._complete.on_click(lambda _: self._change("completing", self.work.complete))
        self._remove.on_click(lambda event: self._ask_to_remove(event.client))
        self._export.on_click(lambda _: self._write())
        self._download.on_click(lambda event: self._send(event.client))

    def _names(self) -> tuple[str, ...]:
        return (NOTHING, *(str(number) for number in self.stage.contents.objects))

    def _chosen(self) -> InstanceId | None:
        return None if self._choice.value == NOTHING else InstanceId(int(self._choice.value))

    def _theme(self, dark: bool) -> None:
        self.server.gui.configure_theme(
            dark_mode=dark,
            show_logo=False,
            show_share_button=False,
            brand_color=ACCENT,
            control_width="large",
        )

    def _shade(self) -> None:
        name = next(name for name, title in SHADINGS.items() if title == self._shading.value)
        with self._lock:
            self.stage.shade(name)

    def choose(self, number: InstanceId) -> None:
        """As if the object had been chosen in the list."""
        self._choice.value = str(number)
        self._show_choice(number)

    def _show_choice(self, number: InstanceId | None) -> None:
        contents = self.stage.contents
        if number not in contents.objects:  # none, or gone a moment ago
            number = None
        with self._lock:
            self.stage.select(number)
        self._objects.content = tables.objects(contents, number)
        self._details.content = "" if number is None else tables.details(contents, number)
        self._look.label = "Look at all" if number is None else f"Look at {number}"
        for button in (self._complete, self._remove, self._download):
            button.disabled = number is None

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, what: str, job: Any, *values: Any, done: Any) -> None:
        """Start a job; what it is shows below the panel until it ends."""

        def progress(stage: str, fraction: float, message: str = "") -> None:
            self._state.content = f"*{what}: {100 * fraction:.0f} %*"

        def ended(result: Any, error: str) -> None:
            self._state.content = ""
            if error:
                self._tell("It did not work", error, "red")
            else:
                done(result)

        self._state.content = f"*{what} …*"
        self.work.start(job, *values, done=ended, progress=progress)

    def _tell(self, title: str, body: str, color: str) -> None:
        for client in self.server.get_clients().values():
            client.add_notification(
                title, body, color=color, auto_close_seconds=8.0 if color != "red" else None
            )

    def _images_are_there(self, images: Any) -> None:
        with self._lock:
            self.stage.draw_cameras(images)

    def _change(self, what: str, job: Any) -> None:
        number = self._chosen()
        if number is not None:
            self._begin(f"{what} object {number}", job, number, done=lambda _: self.renew())

    def renew(self) -> None:
        """The scene has changed: show what it is now."""
        before, contents = self._chosen(), self.work.contents()
        self.server.gui.set_panel_label(contents.title)
        with self._lock:
            self.stage.replace_contents(contents)
        self._choice.options = self._names()
        now = before if before in self.stage.contents.objects else None
        self._choice.value = NOTHING if now is None else str(now)
        self._show_choice(now)

    def _ask_to_remove(self, client: Any) -> None:
        number = self._chosen()
        if number is None:
            return
        with client.gui.add_modal(f"Remove object {number}?") as window:
            client.gui.add_markdown(
                "As if it had been taken away: its Gaussians leave the saved scene, the surface behind it is "
                "filled, its files are deleted."
            )
            yes, no = client.gui.add_button("Remove", color="red"), client.gui.add_button("Keep")

        @yes.on_click
        def _(_: Any) -> None:
            window.close()
            self._change("removing", self.work.remove)

        no.on_click(lambda _: window.close())

    def _write(self) -> None:
        number, name = self._chosen(), self._format.value
        numbers = list(self.stage.contents.objects) if number is None else [number]
        told = f"{name} of {counted(len(numbers), 'object')}"

        def done(folder: Any) -> None:
            self._tell("Written", f"{told} in {folder}", "green")

        self._begin(f"writing {name}", self.work.export, numbers, name, done=done)

    def _send(self, client: Any) -> None:
        number = self._chosen()
        if number is not None:
            thing = self.stage.contents.objects[number]
            client.send_file_download(f"object_{number}.glb", shaded(thing, "texture"))

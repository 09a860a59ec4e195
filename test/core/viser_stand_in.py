"""A viser that writes down what it is asked to show, and lets a test press its buttons."""

from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class Handle:
    """Of a button, a list, a drawn thing: its properties, and what happens when it is used."""

    def __init__(self, kind: str, values: tuple, more: dict) -> None:
        self.kind, self.values, self.removed = kind, values, False
        self.value = more.get("initial_value", values[1] if kind == "add_checkbox" else None)
        self.__dict__.update({k: v for k, v in more.items() if k != "initial_value"})
        self._called: list[Any] = []

    def on_click(self, call):
        self._called.append(call)
        return call

    on_update = on_click

    def use(self, value: Any = None, client: Any = None) -> None:
        """As if a person clicked it, or chose `value`."""
        if value is not None:
            self.value = value
        for call in self._called:
            call(SimpleNamespace(target=self, client=client))

    def remove(self) -> None:
        self.removed = True

    def close(self) -> None:
        self.removed = True

    def add_tab(self, title: str):
        return nullcontext()

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Api:
    """Its `add_…` functions make handles, found by name or label in `made`; the newest counts."""

    def __init__(self) -> None:
        self.made: dict[str, Handle] = {}
        self.html: list[Handle] = []  # in their order

    def __getattr__(self, name: str):
        def call(*values, **more):
            handle = Handle(name, values, more)
            if name == "add_html":
                self.html.append(handle)
            self.made[str(values[0]) if values else name] = handle
            return handle

        return call


class Client:
    """One browser."""

    def __init__(self) -> None:
        self.gui, self.camera = Api(), SimpleNamespace()
        self.told: list[tuple] = []
        self.downloads: dict[str, bytes] = {}

    def atomic(self):
        return nullcontext()

    def add_notification(self, *values, **more) -> None:
        self.told.append(values)

    def send_file_download(self, name: str, content: bytes) -> None:
        self.downloads[name] = content


class Server:
    def __init__(self, host: str, port: int, **_: Any) -> None:
        self.host, self.port = host, port
        self.scene, self.gui, self.client = Api(), Api(), Client()
        self.initial_camera = SimpleNamespace()

    def get_port(self) -> int:
        return self.port

    def get_clients(self) -> dict[int, Client]:
        return {0: self.client}


def looks_at(client: Client, point: np.ndarray) -> float:
    """Degrees between where a browser's camera looks and a point."""
    ahead = np.asarray(client.camera.look_at) - client.camera.position
    there = point - client.camera.position
    cosine = ahead @ there / np.linalg.norm(ahead) / np.linalg.norm(there)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def module() -> ModuleType:
    made = ModuleType("viser")
    made.ViserServer = Server
    return made

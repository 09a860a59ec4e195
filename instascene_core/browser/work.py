"""Work on the scene that is shown: one thread does it, one job after another."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.browser.contents import Contents
from instascene_core.errors import Cancelled, InputError
from instascene_core.export.object_loading import load_objects
from instascene_core.export.saved_scene import (
    LoadedScene,
    export_saved,
    load_scene,
    put_metrics,
    put_object,
    require_savable,
    save_scene,
    saved_export_config,
)
from instascene_core.instances import InstanceId
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.saved_facts import read_metrics

logger = logging.getLogger(__name__)

IMAGE_WIDTH = 240  # pixels, of a camera's picture
Done = Callable[[Any, str], None]  # (the result, "") or (None, what went wrong)


class Jobs(ABC):
    """Jobs on a scene, done by one thread."""

    def __init__(self) -> None:
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="viewer work")

    def close(self) -> None:
        """Cancel what is under way, and wait for it."""
        self._closed = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    def start(
        self, job: Callable[..., Any], *values: Any, done: Done, progress: ProgressCallback = no_progress
    ) -> Future:
        """Do `job(*values, progress)` when its turn comes; `done` is told how it ended, in the worker's
        thread."""

        def report(stage: str, fraction: float, message: str = "") -> None:
            if self._closed:
                raise Cancelled
            progress(stage, fraction, message)

        def work() -> None:
            try:
                result = job(*values, report)
            except Cancelled:
                return
            except InputError as error:
                done(None, str(error))
            except Exception as error:  # the viewer lives on
                logger.exception("The viewer's job failed")
                done(None, f"Internal error ({type(error).__name__}: {error}).")
            else:
                done(result, "")

        return self._thread.submit(work)

    @abstractmethod
    def contents(self) -> Contents:
        """The scene as it is now."""

    @abstractmethod
    def images(self, progress: ProgressCallback) -> dict[str, np.ndarray]:
        """[H, W, 3] uint8 of the cameras' images that are at hand, by name, small."""

    @abstractmethod
    def complete(self, number: InstanceId, progress: ProgressCallback) -> None:
        """Complete an object again."""

    @abstractmethod
    def remove(self, number: InstanceId, progress: ProgressCallback) -> None:
        """The object was taken away."""

    @abstractmethod
    def export(self, numbers: list[InstanceId], format: str, progress: ProgressCallback) -> Path:
        """Write objects in one more format; the folder that holds them."""


class Work(Jobs):
    """Jobs on a saved scene, which is loaded when the first one needs it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._loaded: LoadedScene | None = None

    def contents(self) -> Contents:
        return Contents.of(self.folder)

    def images(self, progress: ProgressCallback) -> dict[str, np.ndarray]:
        import cv2

        loaded = self._scene(progress)
        found = {}
        for frame in loaded.scene.posed_frames:
            if frame.name in loaded.names_found:
                height = max(1, round(IMAGE_WIDTH * frame.camera.height / frame.camera.width))
                found[frame.name] = cv2.resize(frame.rgb, (IMAGE_WIDTH, height), interpolation=cv2.INTER_AREA)
        return found

    def complete(self, number: InstanceId, progress: ProgressCallback) -> None:
        read_metrics(self.folder)
        require_savable(self.folder)
        scene = self._scene(progress).scene
        result = scene.complete(number, progress=progress)
        put_object(self.folder, result, scene.config.export, scene.state.labelled_views)
        self._renew_report()

    def remove(self, number: InstanceId, progress: ProgressCallback) -> None:
        loaded = self._scene(progress)
        if loaded.scene.state.decomposition is None:
            raise InputError("The scene was only reconstructed; there is no object to remove.")
        require_savable(self.folder)
        self._loaded = None  # read again where this fails half-way
        loaded.scene.remove(number)
        save_scene(loaded.scene, self.folder, progress=progress)
        self._loaded = loaded

    def export(self, numbers: list[InstanceId], format: str, progress: ProgressCallback) -> Path:
        read_metrics(self.folder)
        require_savable(self.folder)
        saved = load_objects(self.folder)
        config = replace(saved_export_config(self.folder), formats=(format,))
        views = ()
        if any(saved[number].texture is None for number in numbers):
            loaded = self._scene(progress)
            views = [v for v in loaded.scene.state.labelled_views if v.name in loaded.names_found]
        export_saved(self.folder, [saved[number] for number in numbers], config, views)
        self._renew_report()
        return self.folder / "objects"

    def _scene(self, progress: ProgressCallback) -> LoadedScene:
        if self._loaded is None:
            self._loaded = load_scene(self.folder, progress=progress)
        return self._loaded

    def _renew_report(self) -> None:
        put_metrics(self.folder, read_metrics(self.folder))

"""A whole scene on disk: written and read back."""

from instascene_core.export.saved_scene.layout import MARKER
from instascene_core.export.saved_scene.reading import LoadedScene, load_scene
from instascene_core.export.saved_scene.recording import write_recording
from instascene_core.export.saved_scene.writing import (
    put_object,
    require_savable,
    save_scene,
    saved_export_config,
    update_checksums,
)

__all__ = [
    "MARKER",
    "LoadedScene",
    "load_scene",
    "put_object",
    "require_savable",
    "save_scene",
    "saved_export_config",
    "update_checksums",
    "write_recording",
]

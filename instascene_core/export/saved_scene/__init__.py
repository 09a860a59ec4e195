"""A whole scene on disk: written and read back."""

from instascene_core.export.saved_scene.joining import Part, join_scenes
from instascene_core.export.saved_scene.reading import LoadedScene, load_scene
from instascene_core.export.saved_scene.recording import write_recording
from instascene_core.export.saved_scene.whole import export_elsewhere
from instascene_core.export.saved_scene.writing import (
    export_saved,
    put_metrics,
    put_object,
    put_parts,
    require_savable,
    save_scene,
    saved_export_config,
)

__all__ = [
    "LoadedScene",
    "Part",
    "export_elsewhere",
    "export_saved",
    "join_scenes",
    "load_scene",
    "put_metrics",
    "put_object",
    "put_parts",
    "require_savable",
    "save_scene",
    "saved_export_config",
    "write_recording",
]

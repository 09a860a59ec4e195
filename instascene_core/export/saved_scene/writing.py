"""A whole scene on disk, in the layout of the README ("Output on disk")."""

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from instascene_core import __version__
from instascene_core.config import ExportConfig
from instascene_core.config_file import config_with, settings_of
from instascene_core.errors import InputError
from instascene_core.export.object_files import export_object
from instascene_core.export.saved_scene.layout import FRAMES, MARKER, instances_to_json
from instascene_core.export.saved_scene.recording import write_recording
from instascene_core.files import write_image, write_json
from instascene_core.frame import image_from_labels
from instascene_core.gaussians_ply import write_gaussians
from instascene_core.objects import CompletedObject
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.scene import Scene
from instascene_core.viewer.pictures import objects_picture, overview_picture
from instascene_core.viewer.report import write_report


def save_scene(
    scene: Scene,
    folder: Path,
    source: str = "",
    progress: ProgressCallback = no_progress,
    with_frames: bool = False,
) -> list[Path]:
    """Write the scene under `folder` and return the files written.

    with_frames: also the frames, as frames/transforms.json and images, where they are not known to be on
    disk already.

    The folder appears complete or not at all: everything goes to a hidden sibling first.  An
    existing folder is replaced when it holds an earlier scene, and refused (InputError) when it
    holds anything else.  Raises NotReadyError when there is nothing to save yet.
    """
    gaussians = scene.require_gaussians()
    scene.state.posed_frame()  # NotReadyError where none is left
    folder = Path(folder)
    staging = _staging_folder(folder)
    try:
        labels = scene.instances.gaussian_labels if scene.instances else None
        progress("save", 0.0, "Gaussians")
        write_gaussians(staging / "scene.ply", gaussians, labels)
        if scene.instances:
            for name, image in scene.instances.label_images.items():
                write_image(staging / "instances" / f"{name}.png", image_from_labels(image))
        for frame in scene.posed_frames:
            if frame.valid is not None:  # pixels outside a lens' image, or of what was taken away
                write_image(staging / "valid" / f"{frame.name}.png", 255 * frame.valid.astype(np.uint8))
        for index, (instance_id, result) in enumerate(sorted(scene.objects.items())):
            progress("save", (index + 1) / (len(scene.objects) + 1), f"object {instance_id}")
            export_object(result, staging / "objects" / str(instance_id), readable(scene.config.export))
        origin = scene.origin
        if with_frames and not origin:
            progress("save", 1.0, "frames")
            write_recording(staging / FRAMES, scene.frames)
            origin = {"source": FRAMES, "use_depth": True, "use_masks": True}
        write_json(staging / "metrics.json", scene.metrics)
        progress("save", 1.0, "pictures")
        write_image(staging / "overview.png", overview_picture(scene))
        if scene.objects:
            write_image(staging / "objects.png", objects_picture(scene))
        write_report(staging)
        write_json(staging / MARKER, _description(scene, source, origin, staging))
        _swap(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def require_savable(folder: Path) -> None:
    """InputError when `save_scene` could not write to `folder`; to be asked before the long work."""
    _staging_folder(Path(folder)).rmdir()


def _staging_folder(folder: Path) -> Path:
    """A new hidden sibling of `folder`; InputError where that may not or cannot be replaced."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"Cannot save to {folder}: it is a file, not a folder.")
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise InputError(f"Cannot save to {folder}: it is not empty and holds no earlier scene ({MARKER}).")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise InputError(f"Cannot save to {folder}: {error.strerror}.") from error


def _swap(staging: Path, folder: Path) -> None:
    """Put the finished folder in place; the old one goes only once the new one stands."""
    staging.chmod(0o755)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def put_object(folder: Path, result: CompletedObject, config: ExportConfig) -> list[Path]:
    """Write a completed object into a saved scene, in place of an earlier one; the files written."""
    folder = Path(folder)
    target = folder / "objects" / str(result.instance_id)
    try:
        target.parent.mkdir(exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise InputError(f"Cannot write to {target.parent}: {error.strerror}.") from error
    try:
        export_object(result, staging, readable(config))
        _swap(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    update_checksums(folder)
    return sorted(path for path in target.rglob("*") if path.is_file())


def readable(config: ExportConfig) -> ExportConfig:
    """With the PLY among the formats: `load_objects` reads a saved scene's meshes from it."""
    return replace(config, formats=tuple(dict.fromkeys(("ply", *config.formats))))


def saved_export_config(folder: Path) -> ExportConfig:
    """The export settings a saved scene was made with; the defaults where it does not tell."""
    try:
        settings = json.loads((Path(folder) / MARKER).read_text())["parameters"]["export"]
    except (OSError, ValueError, KeyError, TypeError):
        return ExportConfig()
    known = set(settings_of(ExportConfig()))
    return config_with(ExportConfig(), {k: v for k, v in settings.items() if k in known})


def update_checksums(folder: Path) -> None:
    """Bring scene.json up to date after files of a saved scene were written anew."""
    path = Path(folder) / MARKER
    try:
        description = json.loads(path.read_text())
        description["checksums_sha256"] = _checksums(path.parent)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"There is no saved scene in {folder} ({MARKER}: {error}).") from error
    write_json(path, description)


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the description itself."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MARKER
    }


def _description(scene: Scene, source: str, origin: dict, staging: Path) -> dict:
    """Everything of scene.json: what went in, what came out, with which version and parameters."""
    return {
        "instascene_version": __version__,
        "source": source or origin.get("source", ""),
        "input": origin,
        "frames": [
            {
                "name": frame.name,
                "stamp": frame.stamp,
                "camera": asdict(frame.camera),
                "world_from_camera": frame.world_from_camera,
                "given_world_from_camera": given.world_from_camera,
            }
            for frame, given in zip(scene.posed_frames, scene.frames)
        ],
        "background_color": scene.background_color,
        "instances": instances_to_json(scene.instances),
        "highest_instance_id": scene.state.ids.highest,
        "parameters": asdict(scene.config),
        "checksums_sha256": _checksums(staging),
    }

"""A scene read back from the folder that `save_scene` wrote, so that work on it can go on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.config import Config
from instascene_core.config_file import config_with, flatten, present_name, settings_of
from instascene_core.corrections import Corrections
from instascene_core.datasets import BagTopics, open_dataset
from instascene_core.datasets.images import read_depth, read_labels
from instascene_core.errors import InputError, MissingDependencyError
from instascene_core.export.object_loading import load_objects
from instascene_core.export.saved_scene.layout import ESTIMATED, FRAMES, MARKER, instances_from_json
from instascene_core.files import require_file_name
from instascene_core.frame import Frame, labels_from_image
from instascene_core.gaussians import GaussianModel
from instascene_core.gaussians_ply import read_gaussians
from instascene_core.instances import InstanceMap
from instascene_core.local_frame import moved
from instascene_core.owned_folder import finish, inside
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.rendering import rasterize
from instascene_core.saved_facts import read_scene_facts
from instascene_core.scene import Scene
from instascene_core.untrusted import read_json_object, require_pixels


@dataclass(frozen=True)
class LoadedScene:
    """A scene taken up again."""

    scene: Scene
    # Names of the input frames that could be read again; the others are rendered from the Gaussians
    names_found: frozenset[str]
    notes: tuple[str, ...]  # one sentence each: what cannot be done as before

    @property
    def frames_found(self) -> int:
        return len(self.names_found)


def load_scene(
    folder: Path, config: Config | None = None, progress: ProgressCallback = no_progress
) -> LoadedScene:
    """The scene saved in `folder`: Gaussians, instances, completed objects, and its input frames where
    they are still to be found.

    config: None takes the parameters it was made with.  A frame that cannot be read again is rendered
    from the Gaussians, colour and depth, and a note says so.  Raises InputError for a folder without a
    saved scene, and for files that are damaged or were changed.  A save of the folder that was interrupted
    after its commit is completed first.
    """
    folder = Path(folder)
    finish(folder)
    saved = _description(folder)
    progress("load", 0.0, "Gaussians")
    file = read_gaussians(folder / "scene.ply")
    try:
        if config is None:
            config, notes = _saved_config(saved)
        else:
            notes = []
        color = saved.get("background_color")
        background = None if color is None else torch.tensor(color, dtype=torch.float32)
        offset = np.array(saved.get("world_offset_m", (0.0, 0.0, 0.0)))
        instances = _instances(saved, folder, file.instance_ids)
        instances = instances and instances.moved(-offset)
        given = _input_frames(saved, folder, notes)
        frames, found = _frames(saved, folder, given, offset, file.gaussians, background, progress)
        highest = int(saved.get("highest_instance_id", 0))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / MARKER} does not describe a scene ({error!r}).") from error
    objects = load_objects(folder) if any(folder.glob("objects/*/object.json")) else {}
    scene = _scene_for(config, notes)
    scene.restore(file.gaussians, frames, instances, objects, background, highest, _metrics(folder), offset)
    origin = dict(saved.get("input", {}))
    # What lies within the saved scene is written again with the next one.
    scene.origin = {} if origin.get("source") == FRAMES else origin
    scene.corrections = _corrections(origin.get("corrections"))
    missing = len(frames) - len(found)
    if missing:
        notes.append(
            f"{missing} of {len(frames)} input frames were not found again: rendered views take "
            "their place, so that completion knows no more than the Gaussians and cannot reconstruct anew."
        )
    progress("load", 1.0, f"{len(frames)} frames")
    return LoadedScene(scene, found, tuple(notes))


def _description(folder: Path) -> dict:
    """scene.json, its files unchanged, its frames' names such that files can be named by them."""
    saved = read_scene_facts(folder)
    sums = saved.get("checksums_sha256", {})
    sums = {name: value for name, value in sums.items() if name.startswith(("scene.ply", "instances"))}
    for name, expected in sums.items():
        path = inside(folder, name)
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise InputError(f"{path} is missing or not as it was saved; make the scene again.")
    _require_frame_names(saved, folder)
    return saved


def _require_frame_names(saved: Mapping, folder: Path) -> None:
    """InputError where a frame's name would be a path, or is another frame's, too."""
    try:
        names = [require_file_name(f["name"], f"{folder / MARKER}: the frame name") for f in saved["frames"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / MARKER} does not describe a scene ({error!r}).") from error
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{folder / MARKER} lists the frame '{twice}' more than once.")


def _scene_for(config: Config, notes: list[str]) -> Scene:
    """An empty scene; on the CPU where the scene was made on a GPU that is not there."""
    try:
        return Scene(config)
    except MissingDependencyError as error:
        notes.append(f"The scene was made on a GPU; here the CPU goes on with it: {error}")
        return Scene(replace(config, reconstruction=replace(config.reconstruction, device="auto")))


def _saved_config(saved: Mapping) -> tuple[Config, list[str]]:
    """The parameters of then, at the places they have now; those that this version does not know are left out
    and named."""
    settings, known = flatten(saved.get("parameters", {})), settings_of(Config())
    names = {old: present_name(old, known) for old in settings}
    config = config_with(Config(), {new: settings[old] for old, new in names.items() if new is not None})
    unknown = sorted(old for old, new in names.items() if new is None)
    notes = [f"Settings of another version are not used: {', '.join(unknown)}."] if unknown else []
    return config, notes


def _instances(saved: Mapping, folder: Path, ids: np.ndarray | None) -> InstanceMap | None:
    """The decomposition, or None where the scene was only reconstructed."""
    if not saved["instances"]["list"] or ids is None:
        return None
    paths = {f["name"]: inside(folder, f"instances/{f['name']}.png") for f in saved["frames"]}
    images = {name: labels_from_image(read_labels(path)) for name, path in paths.items() if path.is_file()}
    return instances_from_json(saved["instances"], ids, images)


def _input_frames(saved: Mapping, folder: Path, notes: list[str]) -> dict[str, tuple]:
    """Frame name → (dataset, index) of the input, where it is still there."""
    options = saved.get("input", {})
    source = options.get("source") or saved.get("source", "")
    if not source or not (folder / source).exists():  # absolute, or within the saved scene
        return {}
    topics, corrections = options.get("topics"), options.get("corrections")
    try:
        dataset = open_dataset(
            folder / source,
            use_depth=options.get("use_depth", True),
            use_masks=options.get("use_masks", False),
            masks=options.get("masks"),
            scale=options.get("scale", 1.0),
            ignore=options.get("ignore"),
            topics=BagTopics(**topics) if topics else None,
            corrections=_corrections(corrections),
        )
    except InputError as error:
        notes.append(f"The input of the scene cannot be opened again: {error}")
        return {}
    return {name: (dataset, index) for index, name in enumerate(dataset.names)}


def _corrections(saved: Mapping | None) -> Corrections:
    """As saved; those that change nothing where a scene does not tell."""
    if not saved:
        return Corrections()
    return Corrections(**{**saved, "depth_shift": tuple(saved.get("depth_shift", (0.0, 0.0)))})


def _frames(
    saved: Mapping,
    folder: Path,
    given: Mapping[str, tuple],
    offset: np.ndarray,
    gaussians: GaussianModel,
    background: torch.Tensor | None,
    progress: ProgressCallback,
) -> tuple[list[Frame], frozenset[str]]:
    """(all frames of the scene in their order, the names of those that are real); poses in the scene's frame,
    whose origin is `offset` [3] metres in the world."""
    frames, found = [], set()
    unit = float(saved.get("estimated_depth_unit_m", 1.0))
    for index, entry in enumerate(saved["frames"]):
        progress("load", (index + 1) / (len(saved["frames"]) + 1), entry["name"])
        camera = PinholeCamera(**entry["camera"])
        pose = moved(np.array(entry["world_from_camera"]), -offset)
        require_pixels(camera.width, camera.height, f"The frame '{entry['name']}' of {folder / MARKER}")
        frame = None
        if entry["name"] in given:
            dataset, position = given[entry["name"]]
            frame = dataset[position].with_(world_from_camera=pose)
            frame = frame if frame.camera == camera else None  # another recording in the same place
        if frame is not None:
            found.add(entry["name"])
        frame = frame or _rendered(entry, camera, pose, gaussians, background)
        frame = _with_estimated_depth(frame, inside(folder, f"{ESTIMATED}/{frame.name}.png"), unit)
        frames.append(_only_valid(frame, inside(folder, f"valid/{frame.name}.png")))
    return frames, frozenset(found)


def _rendered(entry: Mapping, camera: PinholeCamera, pose: np.ndarray, gaussians, background) -> Frame:
    """The view as the Gaussians show it."""
    with torch.no_grad():
        shown = rasterize(gaussians, camera, pose, background=background)
    rgb = (shown.color.clamp(0, 1) * 255).round().byte().numpy()
    return Frame(entry["name"], float(entry["stamp"]), camera, pose, rgb)


def _with_estimated_depth(frame: Frame, path: Path, unit: float) -> Frame:
    """With what stereo found when the scene was made; unit: metres a step of the image."""
    return frame.with_(estimated_depth=read_depth(path, unit)) if path.is_file() else frame


def _only_valid(frame: Frame, path: Path) -> Frame:
    """Without the pixels that did not count any more when the scene was saved."""
    if not path.is_file():
        return frame
    return frame.without(read_labels(path) == 0)


# What the pipeline itself measures.  Accuracy against a ground truth is of the scene as it was saved.
_METRICS = ("psnr", "gaussians", "frames", "iterations", "instances", "mask_warnings", "peak_memory_mb")


def _metrics(folder: Path) -> dict:
    """Those of metrics.json that are numbers, the seconds and the memory of the stages, how objects were laid
    to rest, and which frames of the recording were left out."""
    try:
        saved = read_json_object(folder / "metrics.json")
        stages = {name: dict(saved.get(name) or {}) for name in ("seconds", "memory_mb")}
        resting = {str(n): _numbers(dict(moved)) for n, moved in dict(saved.get("resting") or {}).items()}
    except (ValueError, TypeError):
        return {}
    kept = {n: v for n, v in saved.items() if n in _METRICS or n.startswith("held_out_")}
    groups = {name: _numbers(group) for name, group in stages.items()}
    groups |= {"resting": resting, "damaged_frames": _damaged_frames(saved.get("damaged_frames"))}
    return {**_numbers(kept), **{name: group for name, group in groups.items() if group or name == "seconds"}}


def _damaged_frames(saved: object) -> dict:
    """As `Dataset.reading_metrics` makes it; nothing where it is anything else."""
    frames = saved.get("frames") if isinstance(saved, dict) else None
    told = [f for f in frames if isinstance(f, dict)] if isinstance(frames, list) else []
    kept = [{"name": str(f.get("name")), "reason": str(f.get("reason"))} for f in told]
    return {"count": len(kept), "frames": kept} if kept else {}


def _numbers(values: Mapping) -> dict:
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}

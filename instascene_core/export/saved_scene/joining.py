"""Saved scenes that lie side by side, joined to one: from files to files.

Their instance ids have to differ from part to part; then all that is of an object is copied as it is.
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instascene_core.config import ExportConfig
from instascene_core.datasets.images import read_depth, read_labels
from instascene_core.errors import InputError
from instascene_core.export.asset import ObjectAsset
from instascene_core.export.object_loading import load_object
from instascene_core.export.readme import README
from instascene_core.export.room import room_from_json, room_to_json
from instascene_core.export.saved_scene.depth_images import depth_unit, write_depth
from instascene_core.export.saved_scene.layout import ESTIMATED, README_FILE, SCENE
from instascene_core.export.saved_scene.whole import object_folder, write_whole_scene
from instascene_core.export.saved_scene.writing import readable, seal
from instascene_core.files import write_bytes, write_image
from instascene_core.frame import UNLABELLED, image_from_labels, labels_from_image
from instascene_core.gaussians import GaussianModel
from instascene_core.gaussians_ply import read_gaussians, write_gaussians
from instascene_core.instances import THINGS
from instascene_core.owned_folder import finish, inside, owned_files, writing
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.saved_facts import read_scene_facts
from instascene_core.untrusted import read_json_object
from instascene_core.viewer.pictures import picture_of_objects
from instascene_core.viewer.report import PICTURES
from instascene_core.viewer.report.drawing import all_objects_pictures


@dataclass(frozen=True)
class Part:
    """A saved scene that becomes part of a larger one."""

    name: str
    folder: Path
    kept: frozenset[int]  # ids of its things that stay
    stands_for: Mapping[int, int]  # id of a thing that goes → that of another part's thing, which is the same
    # Whether points [N, 3] of the world lie in its own area: there its Gaussians count that are of no thing
    owns: Callable[[np.ndarray], np.ndarray]
    frames: frozenset[str]  # names of the frames whose poses it tells


@dataclass(frozen=True, eq=False)
class _Saved:
    """A part with what its scene.json tells."""

    part: Part
    facts: Mapping[str, Any]

    @property
    def entries(self) -> list[Mapping[str, Any]]:
        """Of its instances."""
        return self.facts["instances"]["list"]

    @property
    def things(self) -> set[int]:
        return {entry["id"] for entry in self.entries if entry["kind"] in THINGS}

    @property
    def names(self) -> list[str]:
        """Of its frames."""
        return [frame["name"] for frame in self.facts["frames"]]

    @property
    def completed(self) -> list[int]:
        """Ids of its completed things that stay."""
        found = self.part.folder.glob("objects/*/object.json")
        return sorted(self.part.kept & {int(path.parent.name) for path in found})

    def map_ids(self, ids: np.ndarray, there: Collection[int]) -> np.ndarray:
        """Ids [...] int32 as the whole has them: of things that go, that of what stands for them; of support
        and background only those that are `there`, in the part's own area."""
        table = np.arange(max(int(ids.max(initial=0)), 0) + 2, dtype=np.int32)
        table[-1] = UNLABELLED
        structure = {entry["id"] for entry in self.entries} - self.things
        for number in (self.things - self.part.kept) | (structure - set(there)):
            if number < len(table) - 1:
                table[number] = self.part.stands_for.get(number, UNLABELLED)
        return table[ids]


def join_scenes(
    parts: Sequence[Part],
    folder: Path,
    config: ExportConfig,
    frame_order: Sequence[str],
    more: Mapping[str, Any],
    metrics: Mapping[str, Any],
    progress: ProgressCallback = no_progress,
) -> list[Path]:
    """Write the parts as one saved scene under `folder`, as `save_scene` does; the files written.

    Objects and their pictures are copied; scene.* and the report are of the whole.  frame_order: names of all
    frames of the recording; more: further entries of scene.json; metrics: of the whole, besides what can be
    counted here.  Raises InputError where parts share an id or are in different local frames.
    """
    folder, config = Path(folder), readable(config)
    saved = [_read(part) for part in parts]
    _require_joinable(saved)
    offset = np.array(saved[0].facts.get("world_offset_m", (0.0, 0.0, 0.0)))
    with writing(folder, SCENE) as change:
        staging = change.staging
        progress("join", 0.0, "Gaussians")
        counts = _join_gaussians(saved, staging / "scene.ply", offset)
        names = [name for name in frame_order if any(name in one.names for one in saved)]
        for index, name in enumerate(names):
            progress("join", index / len(names), name)
            _join_images(saved, name, counts, staging)
        unit = _join_estimated_depth(saved, names, staging)
        room = tuple(_rooms(saved, offset, config.friction))
        objects = list(_copy_objects(saved, staging, progress))
        if objects:
            write_bytes(staging / README_FILE, README.encode())
            assets = (ObjectAsset(thing, config) for thing in objects)
            write_whole_scene(assets, room, staging, folder, config, change.written)
            write_image(staging / "objects.png", picture_of_objects(objects))
            for name, content in all_objects_pictures(objects).items():
                write_bytes(staging / PICTURES / name, content)
        _copy_views(saved, staging)
        description = _description(saved, names, counts, unit, room_to_json(room, offset), more)
        measured = {**metrics, **_counted(saved, names, counts)}
        seal(change, description, measured)
    progress("join", 1.0, f"{len(objects)} objects")
    return owned_files(folder)


def _read(part: Part) -> _Saved:
    finish(part.folder)
    return _Saved(part, read_scene_facts(part.folder))


def _require_joinable(saved: Sequence[_Saved]) -> None:
    if not saved:
        raise InputError("There is no scene to join.")
    ids = [entry["id"] for one in saved for entry in one.entries]
    if len(set(ids)) < len(ids):
        raise InputError("Scenes to be joined have an instance id in common.")
    if len({tuple(one.facts.get("world_offset_m", ())) for one in saved}) > 1:
        raise InputError("Scenes to be joined are in different local frames.")


# ── Gaussians and images ──────────────────────────────────────────────────────────────────────────


def _join_gaussians(saved: Sequence[_Saved], path: Path, offset: np.ndarray) -> dict[int, int]:
    """Write the Gaussians of all things that stay, and of the rest those in each part's own area; how many
    there are by instance id."""
    models, labels = [], []
    for one in saved:
        file = read_gaussians(one.part.folder / "scene.ply")
        count = len(file.gaussians)
        ids = np.full(count, UNLABELLED, np.int32) if file.instance_ids is None else file.instance_ids
        is_thing = np.isin(ids, list(one.things))
        own = one.part.owns(file.gaussians.means.numpy().astype(np.float64) + offset)
        stays = np.where(is_thing, np.isin(ids, list(one.part.kept)), own)
        models.append(file.gaussians.select(torch.from_numpy(stays)))
        labels.append(ids[stays])
    ids = np.concatenate(labels)
    write_gaussians(path, _concatenated(models), ids)
    found, numbers = np.unique(ids, return_counts=True)
    return dict(zip(found.tolist(), numbers.tolist()))


def _concatenated(models: Sequence[GaussianModel]) -> GaussianModel:
    """Features are of no whole where a part has none."""

    def joined(name: str) -> torch.Tensor:
        return torch.cat([getattr(model, name) for model in models])

    featured = all(model.features is not None for model in models)
    names = ("means", "quaternions", "log_scales", "logit_opacities", "sh")
    model = GaussianModel(**{name: joined(name) for name in names})
    return model.with_features(joined("features")) if featured else model


def _join_images(saved: Sequence[_Saved], name: str, there: Collection[int], staging: Path) -> None:
    """The label image of a frame and, where pixels do not count for any part, that which says so."""
    things = np.array(sorted(number for one in saved for number in one.part.kept), dtype=np.int32)
    labels: np.ndarray | None = None
    valid: np.ndarray | None = None
    everywhere = False
    for one in saved:
        if name not in one.names:
            continue
        if (path := inside(one.part.folder, f"instances/{name}.png")).is_file():
            image = one.map_ids(labels_from_image(read_labels(path)), there)
            labels = image if labels is None else _over(labels, image, things)
        path = inside(one.part.folder, f"valid/{name}.png")
        if path.is_file():
            own = read_labels(path) > 0
            valid = own if valid is None else valid | own
        else:
            everywhere = True
    if labels is not None:
        write_image(inside(staging, f"instances/{name}.png"), image_from_labels(labels))
    if valid is not None and not everywhere and not valid.all():
        write_image(inside(staging, f"valid/{name}.png"), 255 * valid.astype(np.uint8))


def _over(labels: np.ndarray, image: np.ndarray, things: np.ndarray) -> np.ndarray:
    """Label images [H, W] of two parts as one.  The second counts where the first has nothing, and where it
    has one of `things` [K], ids, and the first only what they stand on or before."""
    behind = ~np.isin(labels, things) & np.isin(image, things)
    return np.where((labels == UNLABELLED) | behind, image, labels)


def _join_estimated_depth(saved: Sequence[_Saved], names: Sequence[str], staging: Path) -> float:
    """The depth that stereo found, of each frame that of the part that tells its pose; metres a step."""
    units = [float(one.facts.get("estimated_depth_unit_m", 1.0)) for one in saved]
    found = {
        name: (path, unit)
        for one, unit in zip(saved, units)
        for name in names
        if name in one.part.frames and (path := inside(one.part.folder, f"{ESTIMATED}/{name}.png")).is_file()
    }
    if not found:
        return depth_unit([])
    unit = max(unit for _, unit in found.values())
    for name, (path, own) in found.items():
        write_depth(inside(staging, f"{ESTIMATED}/{name}.png"), read_depth(path, own), unit)
    return unit


# ── objects and pictures ──────────────────────────────────────────────────────────────────────────


def _copy_objects(saved: Sequence[_Saved], staging: Path, progress: ProgressCallback) -> Iterator:
    """Copy the folders and pictures of the objects that stay; each object."""
    things = sorted((number, one.part.folder) for one in saved for number in one.completed)
    for index, (number, folder) in enumerate(things):
        progress("join", index / len(things), f"object {number}")
        target = inside(staging, object_folder(number))
        shutil.copytree(inside(folder, object_folder(number)), target)
        for picture in sorted((folder / PICTURES).glob(f"object_{number}_*.webp")):
            write_bytes(staging / PICTURES / picture.name, picture.read_bytes())
        yield load_object(target)


def _copy_views(saved: Sequence[_Saved], staging: Path) -> None:
    """The pictures of two views and the overview: those of the part with the most objects."""
    fullest = max(saved, key=lambda one: len(one.completed)).part.folder
    for picture in sorted((fullest / PICTURES).glob("view_*.webp")):
        write_bytes(staging / PICTURES / picture.name, picture.read_bytes())
    with suppress(FileNotFoundError):
        shutil.copyfile(fullest / "overview.png", staging / "overview.png")


def _rooms(saved: Sequence[_Saved], offset: np.ndarray, friction: float) -> Iterator:
    """Supports and walls of all parts, by names that are no other's."""
    for one in saved:
        for box in room_from_json(one.facts, offset, friction):
            yield replace(box, name=f"{one.part.name}_{box.name}")


# ── descriptions ──────────────────────────────────────────────────────────────────────────────────


def _description(
    saved: Sequence[_Saved],
    names: Sequence[str],
    counts: Mapping[int, int],
    unit: float,
    room: list[dict[str, Any]],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """scene.json of the whole; there is no one support plane: each part has its own, in `tiles`."""
    first = saved[0].facts
    frames = {}
    for one in saved:
        for frame in one.facts["frames"]:
            if frame["name"] in one.part.frames or frame["name"] not in frames:
                frames[frame["name"]] = frame
    colors = [one.facts.get("background_color") for one in saved]
    known = [color for color in colors if color is not None]
    return {
        **first,
        "frames": [frames[name] for name in names],
        "estimated_depth_unit_m": unit,
        "background_color": np.mean(known, axis=0).tolist() if known else None,
        "instances": {"list": _instances(saved, counts), "support_plane": None},
        "room": room,
        "highest_instance_id": max(int(one.facts.get("highest_instance_id", 0)) for one in saved),
        "support_planes": {one.part.name: one.facts["instances"]["support_plane"] for one in saved},
        **more,
    }  # fmt: skip


def _instances(saved: Sequence[_Saved], counts: Mapping[int, int]) -> list[dict[str, Any]]:
    """The things that stay, and each part's support and background as far as it is in its own area."""
    found = []
    for one in saved:
        for entry in one.entries:
            stays = entry["id"] in one.part.kept if entry["kind"] in THINGS else entry["id"] in counts
            if stays:
                found.append({**entry, "gaussians": counts.get(entry["id"], 0)})
    return sorted(found, key=lambda entry: entry["id"])


def _counted(saved: Sequence[_Saved], names: Sequence[str], counts: Mapping[int, int]) -> dict[str, Any]:
    """What metrics.json counts, of the whole; instances only where they were looked for."""
    measured = [read_json_object(one.part.folder / "metrics.json") for one in saved]
    found = {"gaussians": sum(counts.values()), "frames": len(names)}
    if not any("instances" in one for one in measured):
        return found
    objects = [e for one in saved for e in one.entries if e["kind"] == "object" and e["id"] in one.part.kept]
    return {**found, "instances": len(objects)}

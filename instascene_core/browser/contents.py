"""What the viewer shows of a saved scene."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.errors import InputError
from instascene_core.export.object_loading import load_objects
from instascene_core.export.part_files import FACTS, read_parts
from instascene_core.frame import UNLABELLED
from instascene_core.gaussians import GaussianModel
from instascene_core.gaussians_ply import read_gaussians
from instascene_core.instances import InstanceId
from instascene_core.local_frame import moved
from instascene_core.objects import CompletedObject
from instascene_core.parts.segment import PartLabels
from instascene_core.saved_facts import read_scene_facts
from instascene_core.transforms import look_at
from instascene_core.untrusted import read_json_object
from instascene_core.viewer.report.facts import Facts
from instascene_core.viewer.report.summary import headline

THICKNESS = 1e-2  # of a disk, of its smaller deviation: viewers of 3D Gaussians need one
FIELD_OF_VIEW = np.radians(50)  # vertical, of the first view
ROOM = 1.25  # of the distance at which everything just fits


@dataclass(frozen=True)
class Splats:
    """Gaussians as a viewer takes them, N of them, metres, the scene's frame."""

    means: np.ndarray  # [N, 3] float32
    covariances: np.ndarray  # [N, 3, 3] float32
    colors: np.ndarray  # [N, 3] float32 in 0 … 1
    opacities: np.ndarray  # [N, 1] float32

    def of(self, chosen: np.ndarray) -> "Splats":
        """Some of them; chosen: [N] bool."""
        return Splats(*(values[chosen] for values in vars(self).values()))

    @classmethod
    def made_of(cls, model: GaussianModel) -> "Splats":
        colors = np.clip(model.base_colors.numpy(), 0, 1)
        return cls(model.means.numpy(), covariances(model), colors, model.opacities.numpy()[:, None])


@dataclass(frozen=True)
class View:
    """A camera that took part."""

    name: str
    world_from_camera: np.ndarray  # [4, 4] the scene's frame, optical axes
    field_of_view: float  # radians, vertical
    aspect: float  # width by height


@dataclass(frozen=True)
class Contents:
    """A scene as it is shown; everything in the scene's frame."""

    splats: Splats
    is_object: np.ndarray  # [N] bool: the Gaussian belongs to a completed object
    objects: Mapping[InstanceId, CompletedObject]
    facts: Mapping[InstanceId, Mapping[str, Any]]  # object.json of each
    parts: Mapping[InstanceId, PartLabels]  # of those whose parts are named
    views: tuple[View, ...]
    up: np.ndarray  # [3]
    background: np.ndarray  # [3] in 0 … 1, what the Gaussians were fitted before
    metrics: Mapping[str, Any]
    title: str  # what came out, in one line

    @classmethod
    def of(cls, folder: Path) -> "Contents":
        """Read them; InputError where there is no saved scene, or a damaged one."""
        saved = read_scene_facts(folder)
        offset = np.array(saved.get("world_offset_m", (0.0, 0.0, 0.0)))
        file = read_gaussians(folder / "scene.ply")
        objects = load_objects(folder) if any(folder.glob("objects/*/object.json")) else {}
        ids = file.instance_ids
        labels = np.full(len(file.gaussians), UNLABELLED) if ids is None else ids
        plane = saved["instances"].get("support_plane")
        path = folder / "metrics.json"
        metrics = read_json_object(path) if path.is_file() else {}
        return cls(
            splats=Splats.made_of(file.gaussians),
            is_object=np.isin(labels, list(objects)),
            objects=objects,
            facts={number: read_json_object(folder / f"objects/{number}/object.json") for number in objects},
            parts=_parts(folder, objects),
            views=tuple(_view(entry, offset) for entry in saved["frames"]),
            up=np.array([0.0, 0.0, 1.0] if plane is None else plane["normal"]),
            background=np.array(saved.get("background_color") or (0.0, 0.0, 0.0)),
            metrics=metrics,
            title=headline(Facts.of(folder, metrics)),
        )

    def first_view(self) -> np.ndarray:
        """[4, 4] world_from_camera from the side of the cameras, that shows all objects (all Gaussians where
        there are none)."""
        points = [thing.mesh.vertices for thing in self.objects.values()]
        cloud = np.concatenate(points) if points else self.splats.means
        if not len(cloud):
            cloud = np.array([[-0.5, -0.5, 0.0], [0.5, 0.5, 0.5]])
        low, high = np.percentile(cloud, (0.5, 99.5), axis=0)
        return view_of((low + high) / 2, float(np.linalg.norm(high - low)) / 2, self._away(), self.up)

    def view_of_object(self, number: InstanceId) -> np.ndarray:
        """[4, 4] of one object."""
        vertices = self.objects[number].mesh.vertices
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        return view_of((low + high) / 2, float(np.linalg.norm(high - low)) / 2, self._away(), self.up)

    def _away(self) -> np.ndarray:
        """[3] from the scene to where its cameras mostly were: against what they look along on average."""
        if not self.views:
            return np.cross(self.up, np.eye(3)[np.argmin(np.abs(self.up))]) + 0.62 * self.up
        ahead = np.mean([view.world_from_camera[:3, 2] for view in self.views], axis=0)
        level = -(ahead - self.up * (ahead @ self.up))
        if np.linalg.norm(level) < 0.2:  # from all sides: that of the first
            ahead = self.views[0].world_from_camera[:3, 2]
            level = -(ahead - self.up * (ahead @ self.up))
        if np.linalg.norm(level) < 1e-3:
            level = np.cross(self.up, np.eye(3)[np.argmin(np.abs(self.up))])
        return level / np.linalg.norm(level) + 0.62 * self.up


def _parts(folder: Path, objects: Mapping[InstanceId, CompletedObject]) -> dict[InstanceId, PartLabels]:
    """The parts that `instascene parts` named; InputError where they are not of the mesh beside them."""
    found = {}
    for number, thing in objects.items():
        place = folder / f"objects/{number}"
        if (place / FACTS).is_file():
            found[number] = read_parts(place)
            if len(found[number].levels[0].part) != len(thing.mesh.vertices):
                raise InputError(f"The parts in {place} are of another mesh; run `instascene parts` again.")
    return found


def view_of(center: np.ndarray, radius: float, away: np.ndarray, up: np.ndarray) -> np.ndarray:
    """[4, 4] world_from_camera that looks at a sphere from the direction `away` and shows it whole."""
    distance = ROOM * max(radius, 0.02) / np.sin(FIELD_OF_VIEW / 2)
    return look_at(center + distance * away / np.linalg.norm(away), center, up)


def covariances(model: GaussianModel) -> np.ndarray:
    """[N, 3, 3] float32 square metres of flat, slightly thickened disks."""
    scales, rotations = model.scales.numpy(), model.rotations.numpy()
    deviations = np.concatenate([scales, THICKNESS * scales.min(axis=1, keepdims=True)], axis=1)
    spread = rotations * deviations[:, None, :]
    return (spread @ spread.transpose(0, 2, 1)).astype(np.float32)


def _view(entry: Mapping[str, Any], offset: np.ndarray) -> View:
    camera = entry["camera"]
    return View(
        name=entry["name"],
        world_from_camera=moved(np.array(entry["world_from_camera"]), -offset),
        field_of_view=float(2 * np.arctan(camera["height"] / 2 / camera["fy"])),
        aspect=camera["width"] / camera["height"],
    )

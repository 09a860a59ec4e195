"""The support and the walls of a scene as boxes that do not move: what things stand on and lean against."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from instascene_core.config import Config
from instascene_core.export.descriptions.model import StaticBox
from instascene_core.geometry import Plane
from instascene_core.local_frame import moved
from instascene_core.scene.background.filling import StructuralPlane, structural_planes
from instascene_core.scene.background.head_on import plane_axes
from instascene_core.scene.results import Decomposition
from instascene_core.transforms import matrix_from_quaternion, quaternion_from_matrix

THICKNESS = 0.05  # metres, behind the plane
MARGIN = 0.02  # metres of the support around what was seen of it
RIM = 0.5  # percent of a plane's Gaussians beyond its box at each side: strays
GREY = np.array([0.6, 0.6, 0.6])


def room_of(decomposition: Decomposition, config: Config) -> tuple[StaticBox, ...]:
    """The support plane first, then the walls, in the scene's frame; none where none was found."""
    instances, gaussians = decomposition.instances, decomposition.gaussians
    planes = structural_planes(gaussians, instances, decomposition.support, config.removal)
    means = gaussians.means.detach().numpy().astype(np.float64)
    colors = np.clip(gaussians.base_colors.detach().numpy(), 0, 1)
    boxes, walls = [], 0
    for structure in planes:
        is_support = structure.plane is instances.support
        walls += not is_support
        name = "support" if is_support else f"wall_{walls}"
        color = np.median(colors[structure.own], axis=0)
        boxes.append(_box(name, structure.plane, _places(structure, means), color, config))
    return tuple(boxes)


def _places(structure: StructuralPlane, means: np.ndarray) -> np.ndarray:
    """[K, 3] points that the box has to cover."""
    extent = structure.extent
    if extent is None:
        return means[structure.own]
    cells = extent.origin + extent.cell * (np.argwhere(extent.mask) + 0.5)
    return cells @ extent.axes + structure.plane.offset * structure.plane.normal


def _box(name: str, plane: Plane, points: np.ndarray, color: np.ndarray, config: Config) -> StaticBox:
    """Its free side is the plane."""
    pose = np.eye(4)
    pose[:3, :3] = axes = plane_axes(plane)
    low, high = np.percentile(points @ axes[:, :2], [RIM, 100 - RIM], axis=0)
    low, high = low - MARGIN, high + MARGIN
    middle = np.append((low + high) / 2, plane.offset - THICKNESS / 2)
    pose[:3, 3] = axes @ middle
    return StaticBox(name, np.append(high - low, THICKNESS), pose, color, config.export.friction)


def room_to_json(room: tuple[StaticBox, ...], offset: np.ndarray) -> list[dict[str, Any]]:
    """For scene.json; poses in the world, offset: [3] metres of the scene's frame in it."""
    return [
        {
            "name": box.name,
            "size_m": box.size,
            "position_m": moved(box.pose, offset)[:3, 3],
            "orientation_wxyz": quaternion_from_matrix(box.pose[:3, :3]),
            "color": box.color,
        }
        for box in room
    ]


def room_from_json(saved: Mapping[str, Any], offset: np.ndarray, friction: float) -> tuple[StaticBox, ...]:
    """The reverse, of a checked scene.json; without the entry, of an earlier version, the support alone, as
    large as its box."""
    boxes = []
    for entry in saved.get("room", ()):
        pose = np.eye(4)
        pose[:3, :3] = matrix_from_quaternion(np.array(entry["orientation_wxyz"]))
        pose[:3, 3] = np.array(entry["position_m"]) - offset
        size, color = np.array(entry["size_m"]), np.array(entry["color"])
        boxes.append(StaticBox(entry["name"], size, pose, color, friction))
    plane, seen = saved["instances"]["support_plane"], saved["instances"]["list"]
    supports = [e for e in seen if e["kind"] == "support"]
    if "room" in saved or plane is None or not supports:
        return tuple(boxes)
    low, high = np.array(supports[0]["box_min"]) - offset, np.array(supports[0]["box_max"]) - offset
    corners = np.array(np.meshgrid(*np.stack([low, high], axis=1))).reshape(3, -1).T
    normal = np.array(plane["normal"])
    config = Config()
    found = Plane(normal, plane["offset"] - float(normal @ offset))
    return (_box("support", found, corners, GREY, config),)

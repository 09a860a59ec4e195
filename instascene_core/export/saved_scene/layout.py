"""What a saved scene looks like on disk: names, and how instances are written and read."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.export.object_layout import OBJECT_FILES, OBJECT_FOLDERS
from instascene_core.export.scene_files import SCENE_FILES
from instascene_core.geometry import Plane
from instascene_core.instances import Instance, InstanceMap, instance_id_from
from instascene_core.owned_folder import Layout
from instascene_core.untrusted import read_json
from instascene_core.viewer.report import PICTURES

MARKER = "scene.json"  # what a saved scene is described by
FRAMES = "frames"  # folder of the frames of scenes whose input was never on disk
README_FILE = "objects/README"
ESTIMATED = "estimated_depth"  # folder of the depth that stereo found in frames that no sensor measured


# The names of all files of a saved scene, and of its folders: the README's "Output on disk".
FILES = re.compile(
    rf"scene\.(ply|json)|{SCENE_FILES}|metrics\.json|report\.html|overview\.png|objects\.png|{PICTURES}/[a-z0-9_]+\.webp|(instances|valid|{ESTIMATED})/[^/]+\.png"
    rf"|{FRAMES}/transforms\.json|{FRAMES}/(images|depth|masks)/[^/]+\.png|objects/README|objects/\d+/({OBJECT_FILES})"
)
FOLDERS = re.compile(
    rf"instances|valid|{PICTURES}|{ESTIMATED}|{FRAMES}(/(images|depth|masks))?|objects(/\d+(/({OBJECT_FOLDERS}))?)?"
)


def _earlier_scene(folder: Path) -> frozenset[str]:
    """The scene's files in a folder that was saved before there were manifests: those that the layout knows
    and that scene.json lists."""
    try:
        saved = read_json(folder / MARKER)
        saved["instances"]["list"]  # many programs have a scene.json; this is ours
        listed = saved.get("checksums_sha256")
    except (ValueError, KeyError, TypeError, AttributeError):
        return frozenset()
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    names = frozenset(name for name in found if FILES.fullmatch(name))
    return names & {*listed, MARKER} if isinstance(listed, dict) else names


SCENE = Layout("scene", "another folder with --output", FILES, FOLDERS, _earlier_scene)


def instances_to_json(instances: InstanceMap | None) -> dict[str, Any]:
    """The instances without their label images, which are files of their own."""
    if instances is None:
        return {"list": [], "support_plane": None}
    plane = instances.support
    return {
        "list": [
            {
                "id": i.id,
                "kind": i.kind,
                "confidence": i.confidence,
                "box_min": i.box_min,
                "box_max": i.box_max,
                "gaussians": i.num_gaussians,
                "views": i.num_views,
                "mask_score": i.mask_score,
                "feature": np.asarray(i.feature),
            }
            for i in instances.instances
        ],
        "support_plane": None if plane is None else {"normal": plane.normal, "offset": plane.offset},
    }


def instances_from_json(
    saved: Mapping[str, Any], gaussian_labels: np.ndarray, label_images: Mapping[str, np.ndarray]
) -> InstanceMap:
    """The reverse.  gaussian_labels: [N] int32; label_images: frame name → [H, W] int32."""
    plane = saved["support_plane"]
    instances = tuple(
        Instance(
            id=instance_id_from(e["id"]),
            kind=e["kind"],
            confidence=e["confidence"],
            box_min=np.array(e["box_min"]),
            box_max=np.array(e["box_max"]),
            feature=np.array(e["feature"], dtype=np.float32),
            num_gaussians=e["gaussians"],
            num_views=e["views"],
            mask_score=e.get("mask_score", 1.0),
        )
        for e in saved["list"]
    )
    support = None if plane is None else Plane(np.array(plane["normal"]), plane["offset"])
    return InstanceMap(instances, gaussian_labels, label_images, support)

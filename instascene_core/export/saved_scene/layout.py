"""What a saved scene looks like on disk: names, and how instances are written and read."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from instascene_core.geometry import Plane
from instascene_core.instances import Instance, InstanceMap

MARKER = "scene.json"  # a folder with this file is ours to replace
FRAMES = "frames"  # folder of the frames of scenes whose input was never on disk


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
            id=e["id"],
            kind=e["kind"],
            confidence=e["confidence"],
            box_min=np.array(e["box_min"]),
            box_max=np.array(e["box_max"]),
            feature=np.array(e["feature"], dtype=np.float32),
            num_gaussians=e["gaussians"],
            num_views=e["views"],
        )
        for e in saved["list"]
    )
    support = None if plane is None else Plane(np.array(plane["normal"]), plane["offset"])
    return InstanceMap(instances, gaussian_labels, label_images, support)

"""What the descriptions tell of an asset, and the names of the files they refer to."""

import numpy as np

from instascene_core.export.asset import ObjectAsset
from instascene_core.export.descriptions.model import Model

SURFACE, MATERIAL, IMAGE = "mesh.obj", "mesh.mtl", "mesh.png"


def part_names(asset: ObjectAsset) -> tuple[str, ...]:
    """Files of the convex bodies."""
    return tuple(f"collision/part_{index:03d}.obj" for index in range(len(asset.parts)))


def model_of(asset: ObjectAsset, folder: str, pose: np.ndarray | None = None) -> Model:
    """The asset, whose files are in `folder`, at a pose [4, 4] (None: at the origin)."""
    texture = IMAGE if asset.obj.texture is not None else ""
    parts, physics = part_names(asset), asset.physics
    placed = np.eye(4) if pose is None else pose
    return Model(asset.name, folder, SURFACE, texture, parts, physics.body, physics.friction, placed)

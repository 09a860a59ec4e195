"""An asset as glTF shows it."""

import numpy as np

from instascene_core.export.asset import ObjectAsset
from instascene_core.export.glb import Placed, Shape


def placed(asset: ObjectAsset, pose: np.ndarray | None = None) -> Placed:
    """The object with what is known of its vertices, and of itself as extras; pose: [4, 4] in the scene."""
    obj = asset.obj
    known = {"_OBSERVED": obj.observed, "_UNCERTAINTY": obj.vertex_uncertainty}
    shape = Shape(asset.name, asset.mesh, obj.colors, obj.texture, asset.png, known)
    extras = {
        "id": int(obj.instance_id),
        "confidence": float(obj.confidence),
        "mass_kg": asset.body.mass,
        "frame": "object: origin at the centre of the bottom, z up below the root node; metres",
        "attributes": "_OBSERVED: 0 generated to 1 observed; _UNCERTAINTY: metres",
    }
    return Placed(shape, extras, pose)

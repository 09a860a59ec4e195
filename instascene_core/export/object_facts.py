"""What object.json tells of a completed object."""

import numpy as np

from instascene_core.export.asset import ObjectAsset
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.convex import surface_error
from instascene_core.local_frame import moved
from instascene_core.objects import CompletedObject, Texture
from instascene_core.transforms import quaternion_from_matrix

OBJECT_FRAME = "object"  # of the files beside object.json; earlier versions: "world (that of the input)"


def object_facts(asset: ObjectAsset) -> dict:
    """The object's numbers.  The pose is of the object's frame in the world, in 64-bit numbers."""
    obj, physics = asset.obj, asset.physics
    return {
        "instance_id": obj.instance_id,
        "frame": OBJECT_FRAME,
        "world_offset_m": np.asarray(obj.world_offset, dtype=np.float64).tolist(),
        **_pose(moved(obj.world_from_object, obj.world_offset)),
        "dimensions_m": np.asarray(obj.dimensions).tolist(),
        "volume_m3": obj.volume,
        "mass_kg": physics.body.mass,
        "mass_range_kg": list(physics.mass_range),
        "mass_is_given": physics.given,
        "material": physics.material,
        "density_kg_m3": physics.density,
        "friction": physics.friction,
        "center_of_mass_m": physics.body.center.tolist(),
        "inertia_kg_m2": physics.body.inertia.tolist(),
        "watertight": obj.watertight,
        "vertices": len(obj.mesh.vertices),
        "triangles": len(obj.mesh.triangles),
        "texture": _texture(obj.texture),
        "convex_parts": len(obj.convex_parts),
        "collision": _collision(asset),
        "observed_fraction": obj.observed_fraction,
        "uncertainty_m": obj.uncertainty,
        "confidence": obj.confidence,
        "evidence": dict(obj.evidence),
        "prior": obj.prior,
        "next_best_view": _next_view(obj),
        "duration_s": obj.duration_s,
        "notes": list(obj.notes),
    }


def _collision(asset: ObjectAsset) -> dict:
    """How well the convex bodies stand for the mesh: the error is the distance between their surfaces, at the
    99th percentile of the mesh's."""
    parts = asset.parts
    return {
        "hulls": len(parts),
        "most_vertices": max(len(part.vertices) for part in parts),
        "surface_error_m": surface_error(asset.mesh, parts),
        "volume_ratio": sum(meshes.volume(part) for part in parts) / max(meshes.volume(asset.mesh), 1e-30),
    }


def _texture(texture: Texture | None) -> dict | None:
    """None where the vertices' colours are all there is."""
    if texture is None:
        return None
    return {"size": len(texture.image), "texel_m": texture.texel, "observed_share": texture.observed}


def _pose(world_from_frame: np.ndarray) -> dict:
    return {
        "position_m": world_from_frame[:3, 3].tolist(),
        "orientation_wxyz": quaternion_from_matrix(world_from_frame[:3, :3]).tolist(),
    }


def _next_view(obj: CompletedObject) -> dict | None:
    """Camera pose (optical axes, looking at the object) in the world, and what it would reveal."""
    if obj.next_best_view is None:
        return None
    return {**_pose(moved(obj.next_best_view, obj.world_offset)), "reveals": obj.next_view_reveals}

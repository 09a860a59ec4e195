"""A completed object as simulators and planners take it: in its own frame, with mass and colliders."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from instascene_core.config import ExportConfig
from instascene_core.export.inertia import Inertial
from instascene_core.export.physics import Physics, physics_of
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import CompletedObject
from instascene_core.transforms import apply, inverse


@dataclass(frozen=True)
class ObjectAsset:
    """One object in its own frame: origin at the centre of the box's bottom, z up, metres."""

    obj: CompletedObject
    config: ExportConfig

    @property
    def name(self) -> str:
        """What the object, its link and its material are called in every file."""
        return f"object_{self.obj.instance_id}"

    @cached_property
    def mesh(self) -> TriangleMesh:
        return in_object_frame(self.obj, self.obj.mesh)

    @cached_property
    def png(self) -> bytes:
        """The texture's image as a file; empty where there is none."""
        return b"" if self.obj.texture is None else _encoded(self.obj.texture.image)

    @cached_property
    def parts(self) -> tuple[TriangleMesh, ...]:
        """The convex bodies that collide; the hull where there are none."""
        parts = self.obj.convex_parts or (meshes.convex_hull(self.obj.mesh.vertices),)
        return tuple(in_object_frame(self.obj, part) for part in parts)

    @cached_property
    def physics(self) -> Physics:
        """Mass, inertia and friction."""
        return physics_of(self.mesh, self.obj.instance_id, self.config)

    @property
    def body(self) -> Inertial:
        """Mass and inertia."""
        return self.physics.body


def in_object_frame(obj: CompletedObject, mesh: TriangleMesh) -> TriangleMesh:
    """A mesh of the scene's frame in the object's own."""
    return TriangleMesh(apply(inverse(obj.world_from_object), mesh.vertices), mesh.triangles)


def in_scene_frame(world_from_object: np.ndarray, mesh: TriangleMesh) -> TriangleMesh:
    """The reverse: a mesh of the object's frame in that of the scene."""
    return TriangleMesh(apply(world_from_object, mesh.vertices), mesh.triangles)


def _encoded(image: np.ndarray) -> bytes:
    """[H, W, 3] uint8 RGB as PNG."""
    import cv2

    done, data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    if not done:
        raise RuntimeError("OpenCV cannot write the texture as PNG.")
    return data.tobytes()

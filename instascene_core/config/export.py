"""Settings of the files of an object."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from instascene_core.config.physics import Friction, PhysicsConfig
from instascene_core.config.ranges import Positive, Range
from instascene_core.config.texture import TextureConfig


@dataclass(frozen=True)
class ExportConfig:
    """Files of one completed object."""

    # Files of an object; object.json is always written.  Of those that describe it (glb, urdf, sdf, mjcf,
    # usd) there is one of the whole scene, too: scene.glb, scene.urdf, scene.sdf, scene.xml, scene.usda
    formats: tuple[
        Literal["ply", "glb", "stl", "obj", "lods", "collision", "urdf", "sdf", "mjcf", "usd"], ...
    ] = ("ply", "glb", "stl", "obj", "lods", "collision", "urdf", "sdf", "mjcf")
    # How URDF and SDF name meshes: "relative", "file://", "model://" (Gazebo: the objects' folder is in its
    # resource path) or "package://NAME" (a ROS package whose share folder is the output)
    mesh_uri: str = "relative"
    # Triangles of the files mesh_lod1.glb, mesh_lod2.glb … where the mesh has more
    lod_triangles: tuple[Annotated[int, Range(100)], ...] = (5000, 1000)
    density: Positive = 400.0  # kg/m³ of closed bodies: household things between foam and full cans
    friction: Friction = 0.8  # coefficient of closed bodies and of the room
    physics: PhysicsConfig = field(default_factory=PhysicsConfig)
    texture: TextureConfig = field(default_factory=TextureConfig)

    def of_formats(self, names: Iterable[str]) -> "ExportConfig":
        """The same with other formats, in any case; `require_formats` says whether there are such."""
        return replace(self, formats=tuple(name.lower() for name in names))

"""Settings of the files of an object."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from instascene_core.config.ranges import Positive, Range
from instascene_core.config.texture import TextureConfig


@dataclass(frozen=True)
class ExportConfig:
    """Files of one completed object."""

    formats: tuple[Literal["ply", "glb", "stl", "obj", "lods", "collision", "urdf", "sdf", "mjcf"], ...] = (
        "ply",
        "glb",
        "stl",
        "obj",
        "lods",
        "collision",
        "urdf",
        "sdf",
        "mjcf",
    )
    # Triangles of the files mesh_lod1.glb, mesh_lod2.glb … where the mesh has more
    lod_triangles: tuple[Annotated[int, Range(100)], ...] = (5000, 1000)
    density: Positive = 400.0  # kg/m³, household things between foam and full cans; for the inertia
    friction: float = 0.8  # coefficient of all surfaces, for simulators
    texture: TextureConfig = field(default_factory=TextureConfig)

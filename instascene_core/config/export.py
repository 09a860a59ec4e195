"""Settings of the files of an object."""

from dataclasses import dataclass
from typing import Literal

from instascene_core.config.ranges import Positive


@dataclass(frozen=True)
class ExportConfig:
    """Files of one completed object."""

    # What is written of an object: meshes, convex parts, and descriptions for robots and simulators.
    formats: tuple[Literal["ply", "glb", "stl", "collision", "urdf", "sdf", "mjcf"], ...] = (
        "ply", "glb", "stl", "collision", "urdf", "sdf", "mjcf",
    )  # fmt: skip
    density: Positive = 400.0  # kg/m³, household things between foam and full cans; for the inertia
    friction: float = 0.8  # coefficient of all surfaces, for simulators

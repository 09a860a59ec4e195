"""Settings of mass and friction, which no camera sees."""

from dataclasses import dataclass
from typing import Annotated

from instascene_core.config.ranges import Positive, Range, Share

Friction = Annotated[float, Range(0, 10)]


@dataclass(frozen=True)
class PhysicsConfig:
    """What is guessed of an object's material, by its shape alone."""

    # YAML with what is known better: `objects`, `materials`, `default` (docs/files.md); empty = none
    file: str = ""
    # A thin-walled thing, whose mesh is its material: a cup, a bowl, a tray
    thin_wall: Share = 0.1  # of the hull's size: mean thickness of the wall up to which it is one ...
    thin_fullness: Share = 0.5  # ... if it fills at most this share of its hull
    shell_density: Positive = 1300.0  # kg/m³, between plastic and ceramics
    shell_least_density: Positive = 900.0  # kg/m³, plastics
    shell_most_density: Positive = 2700.0  # kg/m³, glass, aluminium
    shell_friction: Friction = 0.6  # coefficient
    # Any other: a closed body that may be full or hollow (`export.density` is what is taken for its mean)
    empty_wall_m: Positive = 0.001  # wall of an empty pack, for the least mass
    empty_density: Positive = 900.0  # kg/m³ of that wall
    full_density: Positive = 1500.0  # kg/m³ of a full or solid one, for the most mass

"""What a depth camera reports of glass and mirrors."""

from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.synthetic.sensors.fields import blobs, facing, inverse_of

OPAQUE, GLASS, MIRROR = 0, 1, 2  # values of material maps
MATERIALS = {"opaque": OPAQUE, "glass": GLASS, "mirror": MIRROR}


@dataclass(frozen=True)
class Seen:
    """What there is to see in one view; only the first three are needed where nothing is glass or mirror."""

    depth: np.ndarray  # [H, W] float32 m along the optical axis, exact, 0 = nothing
    rgb: np.ndarray  # [H, W, 3] uint8
    camera: PinholeCamera
    materials: np.ndarray | None = None  # [H, W] uint8, a value of MATERIALS
    through: np.ndarray | None = None  # [H, W] float32 m: depth without the glass bodies
    mirrored: np.ndarray | None = None  # [H, W] float32 m: how deep the reflection seems on mirrors, 0 = sky


@dataclass(frozen=True)
class MaterialErrors:
    """How often which depth is reported; shares of the area, in blobs.

    Sizes: ClearGrasp (Sajjan et al. 2020) and TransCG (Fang et al. 2022) show mostly background depth or
    holes on clear objects, the surface at rims only.
    """

    glass_hole: float = 0.3
    glass_surface: float = 0.12  # highlights and dirt
    glass_rim_cosine: float = 0.35  # more grazing than this (about 70°), glass reflects enough to be seen
    glass_delay: float = 0.01  # share by which what is seen through glass seems deeper (refraction)
    mirror_hole: float = 0.45
    mirror_surface: float = 0.15
    blob_px: float = 5.0  # at 320 pixels of width


def apparent_depth(seen: Seen, errors: MaterialErrors, rng: np.random.Generator) -> np.ndarray:
    """Depth [H, W] float32 m as light comes back: of the surface, of what is behind it, or mirrored."""
    if seen.materials is None or not seen.materials.any():
        return seen.depth
    shape = seen.depth.shape
    field = blobs(rng, shape, errors.blob_px * shape[1] / 320)
    # The field's rank among all pixels: even shares, still in blobs.
    chance = np.empty(field.size, dtype=np.float32)
    chance[np.argsort(field, axis=None)] = np.linspace(0, 1, field.size, dtype=np.float32)
    chance = chance.reshape(shape)
    depth = seen.depth.copy()
    glass = seen.materials == GLASS
    if seen.through is not None and glass.any():
        rim = facing(inverse_of(seen.depth), seen.camera) < errors.glass_rim_cosine
        surface = rim | (chance > 1 - errors.glass_surface)
        depth = np.where(glass & ~surface, seen.through * (1 + errors.glass_delay), depth)
        depth = np.where(glass & (chance < errors.glass_hole), 0, depth)
    mirror = seen.materials == MIRROR
    if seen.mirrored is not None and mirror.any():
        depth = np.where(mirror & (chance <= 1 - errors.mirror_surface), seen.mirrored, depth)
        depth = np.where(mirror & (chance < errors.mirror_hole), 0, depth)
    return depth.astype(np.float32)

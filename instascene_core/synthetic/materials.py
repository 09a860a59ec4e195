"""What the pieces of a thing look like."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from instascene_core.synthetic.assembly import material_of
from instascene_core.synthetic.solids import Solid
from instascene_core.synthetic.textures import TEXEL, Texture, finish, hsv, noise, object_texture, wood

MATERIALS = ("print", "plain", "rubber", "metal", "wood")


def material_color(material: str, rng: np.random.Generator) -> np.ndarray:
    """[3] base colour of a material."""
    if material == "rubber":  # black to dark grey
        return hsv(rng.uniform(), rng.uniform(0.0, 0.2), rng.uniform(0.05, 0.25))
    if material == "metal":  # grey, at times brass or copper
        warm = rng.uniform() < 0.2
        return hsv(rng.uniform(0.05, 0.14), rng.uniform(0.3, 0.6) if warm else 0.05, rng.uniform(0.45, 0.85))
    if material == "wood":
        return hsv(rng.uniform(0.05, 0.12), rng.uniform(0.25, 0.6), rng.uniform(0.35, 0.8))
    if rng.uniform() < 0.3:  # white, milky, grey, black plastic
        return hsv(rng.uniform(), rng.uniform(0.0, 0.12), rng.uniform(0.05, 0.97))
    return hsv(rng.uniform(), rng.uniform(0.3, 0.95), rng.uniform(0.3, 0.95))


def material_texture(material: str, rng: np.random.Generator) -> Texture:
    """A texture of a material, with a little mottling."""
    if material == "print":
        return object_texture(rng, "box", 0.0)
    base = material_color(material, rng)
    if material == "wood":
        return Texture(finish(wood(rng, base), rng), TEXEL, "box")
    image = np.clip(base * (1 + 0.01 * noise(rng, 6.0))[..., None], 0.02, 0.98)
    return Texture(image.astype(np.float32), TEXEL, "box")


def piece_textures(solid: Solid, body: Texture, of_paint: Callable[[str], Texture]) -> tuple[Texture, ...]:
    """One texture a piece: `body` where its paint is "print", else what `of_paint` gives for its material.

    Pieces with the same paint get the same texture, each wrapped in its own frame.
    """
    known = {"print": body}
    for piece in solid.pieces:
        if piece.paint not in known:
            known[piece.paint] = of_paint(material_of(piece.paint))
    return tuple(replace(known[p.paint], mapping=p.mapping, wrap_radius=p.wrap_radius) for p in solid.pieces)

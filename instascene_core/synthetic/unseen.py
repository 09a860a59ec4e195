"""Shapes the built-in segmenter never sees in training, for benchmarks that must not flatter it.

`HELD_OUT` also names kinds of `household` that training leaves out.
"""

import numpy as np

from instascene_core.synthetic.anatomy import anatomy_of
from instascene_core.synthetic.lathe import full_body, hollow_body, rim_above, smooth_profile, vessel
from instascene_core.synthetic.solids import (
    Solid,
    capsule,
    ring,
    rounded_box,
    solid,
    sphere,
    sphere_points,
    upright_cylinder,
)

STEEL, CLAY, WOOD, FOAM = 2500.0, 1800.0, 700.0, 150.0  # kg/m³; hollow or rounded figures


def pot(rng: np.random.Generator) -> Solid:
    """A cooking pot: straight wall, flat floor, two ear handles."""
    radius, height = rng.uniform(0.06, 0.08), rng.uniform(0.05, 0.075)
    z = np.linspace(0.004, height, 12)
    outline = np.vstack([[radius - 0.004, 0.0], np.stack([np.full(12, radius), z], axis=1)])
    outer, inner = hollow_body(outline, rng.uniform(0.003, 0.0045), rng.uniform(0.005, 0.007))
    body, parts, cavity = vessel(outer, inner)
    named = [("body", body)]
    for side in (-1, 1):
        start = (side * (radius + 0.012), -0.018, height * 0.8)
        end = (side * (radius + 0.012), 0.018, height * 0.8)
        inside = [(side * (radius - 0.002), y, height * 0.8) for y in (-0.024, 0.024)]
        ears = []
        for a, b in ((inside[0], start), (start, end), (end, inside[1])):
            piece, more = capsule(a, b, 0.005)
            body, parts = body + (piece - cavity), parts + more
            ears.append(piece)
        named.append(("ear", ears[0] + ears[1] + ears[2]))
    anatomy = anatomy_of(body, named, rim_above(outer))
    return solid("pot", body, parts, "cylinder", STEEL, anatomy)


def tin(rng: np.random.Generator) -> Solid:
    """A flat tin with round corners and a lid a little wider than its body: made for stacking."""
    import manifold3d

    w, d = rng.uniform([0.08, 0.06], [0.12, 0.085])
    height, lip = rng.uniform(0.03, 0.06), rng.uniform(0.001, 0.002)
    corner = 0.35 * d

    def slice_(grow: float, low: float, high: float):
        x, y, r = w / 2 + grow - corner, d / 2 + grow - corner, corner
        posts = [upright_cylinder(r, low, high, (sx * x, sy * y)) for sx in (-1, 1) for sy in (-1, 1)]
        return manifold3d.Manifold.batch_hull([p[0] for p in posts]), np.concatenate([p[1][0] for p in posts])

    body, part = slice_(0.0, 0.0, 0.75 * height)
    lid, lid_part = slice_(lip, 0.75 * height, height)
    whole = body + lid
    anatomy = anatomy_of(whole, [("body", body), ("lid", lid)])
    return solid("tin", whole, [part, lid_part], "box", STEEL, anatomy)


def wrench(rng: np.random.Generator) -> Solid:
    """An open-ended wrench lying flat, 7 to 11 mm thick."""
    length, width, thick = rng.uniform([0.13, 0.016, 0.007], [0.2, 0.022, 0.011])
    jaw = width * rng.uniform(1.5, 1.9)
    pieces = [rounded_box((length * 0.8, width, thick), 0.0025, (0, 0, thick / 2))]
    base = length * 0.38
    pieces.append(rounded_box((jaw * 0.5, jaw, thick), 0.0025, (base + jaw * 0.2, 0, thick / 2)))
    for side in (-1, 1):
        at = (base + jaw * 0.7, side * jaw * 0.36, thick / 2)
        pieces.append(rounded_box((jaw * 0.8, jaw * 0.28, thick), 0.0025, at))
    body = pieces[0][0]
    for piece, _ in pieces[1:]:
        body = body + piece
    jaws = pieces[1][0] + pieces[2][0] + pieces[3][0]
    anatomy = anatomy_of(body, [("grip", pieces[0][0]), ("jaw", jaws)])
    return solid("wrench", body, [part for _, parts in pieces for part in parts], "box", STEEL, anatomy)


def spoon(rng: np.random.Generator) -> Solid:
    """A wooden spoon: a thin handle and a flat oval head."""
    length, handle = rng.uniform(0.16, 0.24), rng.uniform(0.0045, 0.006)
    head = np.array([rng.uniform(0.024, 0.032), rng.uniform(0.018, 0.023), 0.007])
    reach = length - 2 * head[0]
    body, parts = capsule((handle, 0, 0.007), (reach + 0.4 * head[0], 0, 0.007), handle)
    centre = np.array([reach + head[0], 0.0, 0.007])
    oval = sphere((0, 0, 0), 1.0, 48).scale([float(v) for v in head]).translate([float(v) for v in centre])
    whole = body + oval
    collision = [*parts, centre + head * sphere_points((0, 0, 0), 1.0, 24, 11)]
    anatomy = anatomy_of(whole, [("grip", body), ("head", oval)])
    return solid("spoon", whole, collision, "box", WOOD, anatomy)


def board(rng: np.random.Generator) -> Solid:
    """A cutting board, 8 to 14 mm thick."""
    size = rng.uniform([0.15, 0.1, 0.008], [0.22, 0.15, 0.014])
    body, parts = rounded_box(size, 0.003, (0, 0, size[2] / 2))
    return solid("board", body, parts, "box", WOOD)


def vase(rng: np.random.Generator) -> Solid:
    """A closed vase: narrow foot, belly, narrow neck, flared lip."""
    height, belly = rng.uniform(0.13, 0.22), rng.uniform(0.035, 0.05)
    foot, neck = belly * rng.uniform(0.55, 0.7), belly * rng.uniform(0.35, 0.5)
    outline = smooth_profile(
        [
            [foot, 0.0],
            [belly, rng.uniform(0.3, 0.45) * height],
            [neck, 0.85 * height],
            [neck * 1.4, height],
        ],
        32,
    )
    return full_body("vase", outline, CLAY)


def soap(rng: np.random.Generator) -> Solid:
    """A bar of soap or a sponge: a pillow small enough to lie in a bowl."""
    size = rng.uniform([0.05, 0.034, 0.02], [0.072, 0.048, 0.03])
    body, parts = rounded_box(size, 0.45 * size[2], (0, 0, size[2] / 2))
    return solid("soap", body, parts, "box", FOAM)


def weight(rng: np.random.Generator) -> Solid:
    """A hexagonal weight with a knob."""
    import manifold3d

    radius, height = rng.uniform(0.022, 0.034), rng.uniform(0.035, 0.06)
    body = manifold3d.Manifold.cylinder(height, radius, radius, 6)
    stem, stem_part = upright_cylinder(radius * 0.35, 0.9 * height, height + 0.012)
    knob, knob_part = upright_cylinder(radius * 0.6, height + 0.01, height + 0.022)
    hexagon = np.concatenate([ring(radius, 0.0, 6), ring(radius, height, 6)])
    return solid("weight", body + stem + knob, [hexagon, *stem_part, *knob_part], "box", STEEL)


UNSEEN_KINDS = {
    "pot": pot,
    "tin": tin,
    "wrench": wrench,
    "spoon": spoon,
    "board": board,
    "vase": vase,
    "soap": soap,
    "weight": weight,
}

# Kinds the training of the segmenter must not use; benchmarks of it use nothing else.
HELD_OUT = ("mug", "jar", "pan", *UNSEEN_KINDS)

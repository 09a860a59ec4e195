"""Household shapes with random proportions: bottles, cans, bowls, cups, mugs, jars, boxes, tools, unions.

Every maker takes a numpy Generator and returns a `Solid`; `KINDS` is the registry.  Sizes are
those of real things, 4 to 25 cm in their largest dimension.
"""

import itertools
from collections.abc import Callable

import numpy as np

from instascene_core.errors import InputError
from instascene_core.synthetic.anatomy import anatomy_of
from instascene_core.synthetic.assemblies import ASSEMBLIES
from instascene_core.synthetic.lathe import (
    full_body,
    hollow_body,
    on_axis,
    rim_above,
    round_edge,
    smooth_profile,
    sphere_like,
    vessel,
)
from instascene_core.synthetic.solids import (
    Solid,
    capsule,
    revolve,
    rounded_box,
    solid,
    upright_cylinder,
)
from instascene_core.synthetic.unseen import UNSEEN_KINDS
from instascene_core.synthetic.unseen_assemblies import UNSEEN_ASSEMBLIES

PLASTIC, CERAMIC, CARTON, METAL, FILLED = 950.0, 2000.0, 350.0, 2500.0, 900.0  # kg/m³


def can(rng: np.random.Generator) -> Solid:
    """A drinks or food can with rounded rims."""
    radius, height = rng.uniform(0.028, 0.048), rng.uniform(0.07, 0.16)
    fillet = rng.uniform(0.002, 0.006)
    outline = np.vstack(
        [round_edge(radius, 0.0, fillet, top=False), round_edge(radius, height, fillet, top=True)]
    )
    return full_body("can", outline, FILLED)


def bottle(rng: np.random.Generator) -> Solid:
    """A closed bottle: body, shoulder, neck, cap."""
    height, radius = rng.uniform(0.15, 0.25), rng.uniform(0.026, 0.042)
    neck = rng.uniform(0.32, 0.5) * radius
    shoulder, neck_start = rng.uniform(0.5, 0.65) * height, rng.uniform(0.75, 0.82) * height
    waist = radius * rng.uniform(0.85, 1.0)
    body = smooth_profile(
        [[radius, 0.006], [waist, shoulder * 0.55], [radius, shoulder], [neck, neck_start]], 24
    )
    cap = neck + rng.uniform(0.001, 0.004)
    top = np.array(
        [[neck, 0.88 * height], [cap, 0.885 * height], [cap, height - 0.002], [cap - 0.002, height]]
    )
    outline = np.vstack([round_edge(radius, 0.0, 0.006, top=False)[:-1], body, top])
    return full_body("bottle", outline, FILLED, [("cap", 0.88 * height)])


def jar(rng: np.random.Generator) -> Solid:
    """A closed jar: wide body, short neck, wide lid."""
    height, radius = rng.uniform(0.08, 0.15), rng.uniform(0.032, 0.05)
    neck, lid = radius * rng.uniform(0.75, 0.88), radius * rng.uniform(0.85, 0.98)
    z = np.array([0.72, 0.8, 0.82, 1.0]) * height
    body = smooth_profile(
        [
            [radius, 0.006],
            [radius * rng.uniform(0.97, 1.06), 0.35 * height],
            [radius, 0.6 * height],
            [neck, z[0]],
        ],
        20,
    )
    top = np.array([[neck, z[1]], [lid, z[2]], [lid, z[3] - 0.002], [lid - 0.002, z[3]]])
    outline = np.vstack([round_edge(radius, 0.0, 0.006, top=False)[:-1], body, top])
    return full_body("jar", outline, FILLED, [("lid", float(z[1]))])


def cup_outline(rng: np.random.Generator) -> np.ndarray:
    """[K, 2] outer outline of a cup: nearly straight or slightly belled."""
    height, top = rng.uniform(0.07, 0.12), rng.uniform(0.033, 0.046)
    bottom = top * rng.uniform(0.68, 1.0)
    belly = (top + bottom) / 2 * rng.uniform(0.97, 1.08)
    wall = smooth_profile([[bottom, 0.003], [belly, height / 2], [top, height]], 20)
    return np.vstack([[bottom - 0.003, 0.0], wall])


def cup(rng: np.random.Generator) -> Solid:
    """An open cup without a handle."""
    outer, inner = hollow_body(cup_outline(rng), rng.uniform(0.003, 0.005), rng.uniform(0.004, 0.007))
    body, parts, _ = vessel(outer, inner)
    anatomy = anatomy_of(body, [("body", body)], rim_above(outer))
    return solid("cup", body, parts, "cylinder", CERAMIC, anatomy)


def mug(rng: np.random.Generator) -> Solid:
    """A cup with a ring handle."""
    import manifold3d

    outline = cup_outline(rng)
    outer, inner = hollow_body(outline, rng.uniform(0.0035, 0.005), rng.uniform(0.004, 0.007))
    body, parts, cavity = vessel(outer, inner)
    height = outline[-1, 1]
    thickness = rng.uniform(0.0045, 0.006)
    ring_radius = height * rng.uniform(0.26, 0.34)
    flatten = rng.uniform(0.75, 1.0)  # handles are narrower than high
    centre_z = height * rng.uniform(0.48, 0.55)
    wall_radius = float(np.interp(centre_z, outline[:, 1], outline[:, 0]))
    centre_x = wall_radius + 0.2 * flatten * ring_radius
    section = manifold3d.CrossSection.circle(thickness, 20).translate((ring_radius, 0.0))
    torus = section.revolve(48).rotate((90.0, 0.0, 0.0)).scale((flatten, 1.0, 1.0))
    handle = torus.translate((centre_x, 0.0, centre_z)) - cavity
    angles = np.linspace(-0.58, 0.58, 13) * np.pi
    arc = np.stack([np.cos(angles) * flatten, np.zeros(13), np.sin(angles)], axis=1) * ring_radius
    arc += [centre_x, 0.0, centre_z]
    # The wall's own parts stand for the ends that vanish in it.
    arc = arc[arc[:, 0] > np.interp(arc[:, 2], outline[:, 1], outline[:, 0])]
    for start, end in itertools.pairwise(arc):
        parts = parts + capsule(start, end, thickness)[1]
    whole = body + handle
    anatomy = anatomy_of(whole, [("body", body), ("ear", torus)], rim_above(outer))
    return solid("mug", whole, parts, "cylinder", CERAMIC, anatomy)


def bowl(rng: np.random.Generator) -> Solid:
    """A thick-walled open bowl on a foot."""
    top, height = rng.uniform(0.055, 0.085), rng.uniform(0.04, 0.07)
    foot = top * rng.uniform(0.4, 0.55)
    bulge = rng.uniform(0.72, 0.85)
    wall = smooth_profile(
        [
            [foot, 0.004],
            [foot + (top - foot) * bulge, height * 0.45],
            [top * 0.985, height * 0.85],
            [top, height],
        ],
        24,
    )
    outline = np.vstack([[foot - 0.003, 0.0], wall])
    outer, inner = hollow_body(outline, rng.uniform(0.004, 0.006), rng.uniform(0.007, 0.011))
    body, parts, _ = vessel(outer, inner)
    anatomy = anatomy_of(body, [("body", body)], rim_above(outer))
    return solid("bowl", body, parts, "cylinder", CERAMIC, anatomy)


def box(rng: np.random.Generator) -> Solid:
    """A carton with slightly rounded edges."""
    size = np.sort(rng.uniform([0.03, 0.05, 0.08], [0.07, 0.12, 0.2]))[rng.permutation(3)]
    body, parts = rounded_box(size, rng.uniform(0.0015, 0.006))
    return solid("box", body, parts, "box", CARTON)


def tool(rng: np.random.Generator) -> Solid:
    """A hand tool built of capsules: driver, hammer, or pliers-like fork."""
    length, grip = rng.uniform(0.14, 0.22), rng.uniform(0.011, 0.016)
    split = rng.uniform(0.45, 0.6) * length
    handle, parts = capsule((0, 0, 0), (split, 0, 0), grip, grip * rng.uniform(0.75, 1.0))
    shaft_radius = rng.uniform(0.006, 0.008)
    style = rng.integers(3)
    if style == 0:  # driver
        shaft, more = capsule((split, 0, 0), (length, 0, 0), shaft_radius)
        whole = handle + shaft
        anatomy = anatomy_of(whole, [("grip", handle), ("shaft", shaft)])
        return solid("tool", whole, parts + more, "box", METAL, anatomy)
    if style == 1:  # hammer
        shaft, more = capsule((split, 0, 0), (length, 0, 0), shaft_radius)
        size = (rng.uniform(0.022, 0.03), rng.uniform(0.06, 0.09), rng.uniform(0.02, 0.028))
        head, head_parts = rounded_box(size, 0.003, (length, 0, 0))
        whole = handle + shaft + head
        anatomy = anatomy_of(whole, [("grip", handle), ("grip", shaft), ("head", head)])
        return solid("tool", whole, parts + more + head_parts, "box", METAL, anatomy)
    body, prongs = handle, []
    for side in (-1, 1):  # fork
        elbow = (split + 0.25 * (length - split), side * grip * 1.2, 0)
        for start, end in (((split, 0, 0), elbow), (elbow, (length, side * grip * 1.4, 0))):
            prong, more = capsule(start, end, shaft_radius)
            body, parts = body + prong, parts + more
            prongs.append(prong)
    anatomy = anatomy_of(body, [("grip", handle), *(("head", prong) for prong in prongs)])
    return solid("tool", body, parts, "box", METAL, anatomy)


def union(rng: np.random.Generator) -> Solid:
    """Things made of blocks and cylinders: bracket, tee, camera, dispenser, dumbbell."""
    style = rng.integers(5)
    w, d, h = rng.uniform([0.06, 0.03, 0.06], [0.11, 0.05, 0.1])
    t = rng.uniform(0.016, 0.026)
    edge = 0.003
    if style == 0:  # bracket
        pieces = [
            rounded_box((w, d, t), edge, (0, 0, t / 2)),
            rounded_box((t, d, h), edge, (t / 2 - w / 2, 0, h / 2)),
        ]
    elif style == 1:  # tee
        pieces = [rounded_box((t, d, h), edge, (0, 0, h / 2)), rounded_box((w, d, t), edge, (0, 0, h))]
    elif style == 2:  # camera: a body and a lens
        lens = rng.uniform(0.35, 0.45) * min(w, h)
        pieces = [
            rounded_box((w, h, d), 0.005, (0, 0, d / 2)),
            upright_cylinder(lens, d / 2, d + rng.uniform(0.015, 0.04)),
        ]
    elif style == 3:  # soap dispenser: a bottle, a stem and a spout
        pieces = [
            rounded_box((w * 0.8, d * 1.3, h), 0.008, (0, 0, h / 2)),
            upright_cylinder(0.011, h * 0.9, h + 0.03),
            rounded_box((0.055, 0.02, 0.014), 0.004, (0.015, 0, h + 0.034)),
        ]
    else:  # dumbbell
        radius = rng.uniform(0.022, 0.032)
        pieces = [
            upright_cylinder(radius, 0.0, 0.035),
            upright_cylinder(radius * 0.45, 0.02, 0.11),
            upright_cylinder(radius, 0.095, 0.13),
        ]
    body = pieces[0][0]
    for piece, _ in pieces[1:]:
        body = body + piece
    return solid("union", body, [part for _, parts in pieces for part in parts], "box", PLASTIC)


def plate(rng: np.random.Generator) -> Solid:
    """A thin plate with a raised rim."""
    top, height = rng.uniform(0.075, 0.115), rng.uniform(0.015, 0.024)
    foot = top * rng.uniform(0.55, 0.65)
    rim = [[foot, 0.002], [foot * 1.08, height * 0.45], [top * 0.9, height * 0.75], [top, height]]
    outline = np.vstack([[foot - 0.002, 0.0], smooth_profile(rim, 20)])
    outer, inner = hollow_body(outline, rng.uniform(0.0035, 0.0045), rng.uniform(0.004, 0.006))
    body, parts, _ = vessel(outer, inner)
    anatomy = anatomy_of(body, [("body", body)], rim_above(outer))
    return solid("plate", body, parts, "cylinder", CERAMIC, anatomy)


def pan(rng: np.random.Generator) -> Solid:
    """A small pan with a straight handle."""
    top, height = rng.uniform(0.058, 0.072), rng.uniform(0.03, 0.042)
    bottom = top * rng.uniform(0.82, 0.95)
    outline = np.vstack(
        [
            [bottom - 0.003, 0.0],
            smooth_profile([[bottom, 0.003], [top, height * 0.7], [top * 1.02, height]], 14),
        ]
    )
    outer, inner = hollow_body(outline, rng.uniform(0.003, 0.004), rng.uniform(0.003, 0.005))
    body, parts, cavity = vessel(outer, inner)
    start, end = (
        (top + 0.004, 0, height * 0.72),
        (top + rng.uniform(0.07, 0.1), 0, height * rng.uniform(0.8, 1.3)),
    )
    handle, handle_parts = capsule(start, end, 0.006, 0.009)
    whole = body + (handle - cavity)
    anatomy = anatomy_of(whole, [("body", body), ("grip", handle)], rim_above(outer))
    return solid("pan", whole, parts + handle_parts, "cylinder", METAL, anatomy)


def ball(rng: np.random.Generator) -> Solid:
    """A fruit: a slightly squashed sphere."""
    radius, squash = rng.uniform(0.021, 0.034), rng.uniform(0.85, 1.0)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 26)[1:-1]
    outline = radius * np.stack([np.cos(angle), squash * (np.sin(angle) + 1)], axis=1)
    return solid("ball", revolve(on_axis(outline)), [sphere_like(outline)], "cylinder", FILLED)


def tray(rng: np.random.Generator) -> Solid:
    """An open rectangular box."""
    w, d, h = rng.uniform([0.15, 0.11, 0.03], [0.22, 0.15, 0.06])
    wall = rng.uniform(0.004, 0.006)
    block, _ = rounded_box((w, d, h), 0.003, (0, 0, h / 2))
    cavity, _ = rounded_box((w - 2 * wall, d - 2 * wall, h), 0.003, (0, 0, wall + h / 2))
    parts = [rounded_box((w, d, wall), 0.001, (0, 0, wall / 2))[1][0]]
    for side in (-1, 1):
        parts.append(rounded_box((wall, d, h), 0.001, (side * (w - wall) / 2, 0, h / 2))[1][0])
        parts.append(rounded_box((w, wall, h), 0.001, (0, side * (d - wall) / 2, h / 2))[1][0])
    return solid("tray", block - cavity, parts, "box", PLASTIC)


def book(rng: np.random.Generator) -> Solid:
    """A book or flat game box, standing."""
    size = rng.uniform([0.02, 0.12, 0.17], [0.045, 0.16, 0.235])
    body, parts = rounded_box(size, 0.001)
    return solid("book", body, parts, "box", CARTON)


KINDS: dict[str, Callable[[np.random.Generator], Solid]] = {
    "box": box,
    "can": can,
    "mug": mug,
    "bottle": bottle,
    "bowl": bowl,
    "tool": tool,
    "cup": cup,
    "jar": jar,
    "union": union,
    "plate": plate,
    "pan": pan,
    "ball": ball,
    "tray": tray,
    "book": book,
    **UNSEEN_KINDS,
}
ALL_KINDS = {**KINDS, **ASSEMBLIES, **UNSEEN_ASSEMBLIES}
COMMON = ("box", "can", "mug", "bottle", "bowl", "tool", "cup", "jar", "union")  # what a heap is made of
# What suits a role in a layout.
FLAT_ASSEMBLIES = (
    "rimmed", "driver", "knife", "shears", "clamp", "striker", "rim_plate", "cleaver", "peeler", "paddle",
)  # fmt: skip
STACKABLE = ("box", "can", "book", "tin", "tray", "bowl", "cup", "pot")
VESSELS = ("bowl", "tray", "pan", "pot", "plate", "rimmed", "mortar", "rim_plate")
CONTENTS = ("ball", "tool", "can", "cup", "soap", "spoon", "weight", "wrench", "figure", "padlock", "toy_car")
FLAT = ("plate", "tool", "tray", "book", "board", "wrench", "spoon", "pan", "tin", *FLAT_ASSEMBLIES)
STANDING = ("vase", "tin", "weight", "soap")


def make(kind: str, rng: np.random.Generator) -> Solid:
    """A random solid of a kind; InputError names the known kinds."""
    if kind not in ALL_KINDS:
        raise InputError(f"There is no object kind '{kind}'; known kinds: {', '.join(ALL_KINDS)}.")
    return ALL_KINDS[kind](rng)

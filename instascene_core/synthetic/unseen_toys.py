"""Toys and things to hold, of several parts, that no training sees: `unseen_assemblies`."""

import numpy as np

from instascene_core.synthetic.assembly import Assembly
from instascene_core.synthetic.bodies import arc, frame_at
from instascene_core.synthetic.draws import PLASTIC, TOOL, TOY, pick
from instascene_core.synthetic.solids import Solid


def game_controller(rng: np.random.Generator) -> Solid:
    """Two horns, a bridge, sticks, a cross and four coloured buttons."""
    b = Assembly("game_controller", PLASTIC)
    body, grip = pick(rng, "plain", "rubber"), pick(rng, "rubber", "plain2")
    b.block((0.1, 0.055, 0.03), (0, 0, 0.018), body, 0.012)
    for side in (-1, 1):
        b.part("grip")
        b.pill((side * 0.05, 0.0, 0.02), (side * 0.062, -0.05, 0.014), 0.02, grip, 0.014)
        b.part("button")
        b.rod((side * 0.022, -0.012, 0.028), (side * 0.022, -0.012, 0.042), 0.005, "rubber")
        b.rod((side * 0.022, -0.012, 0.04), (side * 0.022, -0.012, 0.046), 0.009, "rubber")
    for k in range(4):
        b.part("button")
        angle = k * np.pi / 2
        x, y = 0.045 + 0.009 * np.cos(angle), 0.012 + 0.009 * np.sin(angle)
        b.rod((x, y, 0.026), (x, y, 0.042), 0.004, f"plain{k + 3}")
    b.part("button")
    b.block((0.022, 0.007, 0.012), (-0.045, 0.012, 0.036), "rubber", 0.001)
    b.block((0.007, 0.022, 0.012), (-0.045, 0.012, 0.036), "rubber", 0.001)
    return b.solid()


def telephone_handset(rng: np.random.Generator) -> Solid:
    """A curved bar with an ear and a mouth piece, grilles, the stub of a cord."""
    b = Assembly("telephone_handset", PLASTIC)
    span, rise = rng.uniform([0.075, 0.03], [0.09, 0.045])
    body = pick(rng, "plain", "rubber", "print")
    b.part("grip")
    b.tube(
        arc((0, 0, 0.02), (span, rise), 172, 8, 9),
        np.array([[0.011, 0.014]] * 9),
        body,
        parts=4,
        up=(0, 0, 1),
    )
    for side in (-1, 1):
        b.part("head")
        b.rod((side * span, 0, 0.03), (side * span, 0, 0.004), 0.022, pick(rng, body, "plain2"), 0.026, 0.003)
        b.rod((side * span, 0, 0.008), (side * span, 0, 0.0), 0.019, pick(rng, "rubber", "metal"))
    b.part("limb")
    b.tube(
        [(span + 0.018, 0, 0.018), (span + 0.034, 0, 0.014), (span + 0.048, 0, 0.006)],
        0.0035,
        "rubber",
        parts=2,
    )
    return b.solid()


def toy_car(rng: np.random.Generator) -> Solid:
    """A beetle: round body, windows, wings, bumpers, lamps."""
    b = Assembly("toy_car", TOY)
    s = rng.uniform(0.8, 1.25)
    b.ball((0, 0, 0.022 * s), (0.062 * s, 0.028 * s, 0.017 * s), "plain")
    b.ball((-0.004 * s, 0, 0.036 * s), (0.034 * s, 0.023 * s, 0.022 * s), pick(rng, "plain", "plain2"))
    b.block((0.036 * s, 0.047 * s, 0.01 * s), (-0.004 * s, 0, 0.044 * s), "rubber", 0.002)
    for x in (-0.036 * s, 0.036 * s):
        for side in (-1, 1):
            b.part("wheel")
            b.rod(
                (x, side * 0.012 * s, 0.012 * s),
                (x, side * 0.029 * s, 0.012 * s),
                0.012 * s,
                "rubber",
                edge=0.002,
            )
            b.rod(
                (x, side * 0.02 * s, 0.012 * s),
                (x, side * 0.03 * s, 0.012 * s),
                0.006 * s,
                "metal",
                edge=0.0004,
            )
        b.back_to("body")
        b.block((0.005, 0.044 * s, 0.006), (1.68 * x, 0, 0.02 * s), "metal", 0.001)
    for side in (-1, 1):
        b.ball((0.054 * s, side * 0.014 * s, 0.026 * s), 0.005 * s, "plain4")
    return b.solid()


def toy_plane(rng: np.random.Generator) -> Solid:
    """Fuselage, wings with tips, tail, propeller, wheels."""
    b = Assembly("toy_plane", TOY)
    s, body, wing = (
        rng.uniform(0.8, 1.1),
        pick(rng, "plain", "print", "wood"),
        pick(rng, "plain2", "wood", "print2"),
    )
    b.pill((-0.08 * s, 0, 0.04), (0.05 * s, 0, 0.036), 0.009 * s, body, 0.02 * s)
    b.part("limb")
    b.block((0.042 * s, 0.2 * s, 0.006), (0.03 * s, 0, 0.04), wing, 0.002)
    for side in (-1, 1):
        b.back_to("limb")
        b.block((0.043 * s, 0.025 * s, 0.0066), (0.03 * s, side * 0.09 * s, 0.04), "plain3", 0.002)
        b.part("wheel")
        b.rod((0.03 * s, side * 0.02 * s, 0.012), (0.03 * s, side * 0.028 * s, 0.012), 0.012, "rubber")
        b.rod((0.03 * s, side * 0.012 * s, 0.036), (0.03 * s, side * 0.024 * s, 0.012), 0.003, "metal")
    b.part("limb")
    b.block((0.028 * s, 0.075 * s, 0.005), (-0.08 * s, 0, 0.042), wing, 0.0015)
    b.block((0.026 * s, 0.005, 0.04), (-0.08 * s, 0, 0.058), "plain3", 0.0015)
    b.part("head")
    b.rod((0.05 * s, 0, 0.036), (0.076 * s, 0, 0.036), 0.012 * s, "plain4", 0.006 * s)
    b.block(
        (0.004, 0.012, 0.075 * s),
        (0.072 * s, 0, 0.036),
        pick(rng, "rubber", "wood"),
        0.0015,
        frame_at((0, 0, 0)),
    )
    return b.solid()


def rubber_duck(rng: np.random.Generator) -> Solid:
    """Body, head, beak, eyes, wings."""
    b = Assembly("rubber_duck", 300.0)
    s, body = rng.uniform(0.8, 1.3), pick(rng, "plain", "plain", "print")
    b.ball((0, 0, 0.026 * s), (0.044 * s, 0.034 * s, 0.027 * s), body)
    b.ball((0.024 * s, 0, 0.066 * s), 0.024 * s, pick(rng, body, body, "plain2"))
    b.hull(
        np.array(
            [
                [0.03, 0.014, 0.066],
                [0.03, -0.014, 0.066],
                [0.03, 0, 0.072],
                [0.03, 0, 0.056],
                [0.06, 0.007, 0.061],
                [0.06, -0.007, 0.061],
                [0.058, 0, 0.064],
            ]
        )
        * s,
        "plain3",
    )
    b.part("limb")
    b.rod((-0.03 * s, 0, 0.034 * s), (-0.056 * s, 0, 0.052 * s), 0.014 * s, body, 0.004 * s)
    for side in (-1, 1):
        b.back_to("body")
        b.ball((0.04 * s, side * 0.012 * s, 0.074 * s), 0.0055 * s, "rubber")
        b.part("limb")
        b.ball(
            (-0.006 * s, side * 0.028 * s, 0.032 * s),
            (0.024 * s, 0.01 * s, 0.015 * s),
            pick(rng, body, "plain4"),
        )
    return b.solid()


def binoculars(rng: np.random.Generator) -> Solid:
    """Two stepped tubes, eyecups, a bridge with a wheel."""
    b = Assembly("binoculars", TOOL)
    length, gap, r = rng.uniform([0.085, 0.03, 0.019], [0.12, 0.036, 0.024])
    body = pick(rng, "rubber", "plain", "print")
    front, cups = pick(rng, body, "plain2"), pick(rng, "rubber", "plain3")
    for side in (-1, 1):
        y = side * gap
        b.rod((0, y, 0), (0.6 * length, y, 0), 0.75 * r, body, r)
        b.rod((0.58 * length, y, 0), (length, y, 0), r, front, 1.15 * r)
        b.rod((-0.02, y, 0), (0.006, y, 0), 0.62 * r, cups)
        b.rod((length - 0.004, y, 0), (length + 0.001, y, 0), 0.9 * r, "plain4", edge=0.0003)
    b.back_to("body")
    b.block((0.5 * length, 2 * gap, 0.012), (0.3 * length, 0, 0), pick(rng, "metal", "rubber"), 0.004)
    b.part("button")
    b.rod((0.12 * length, 0, 0.008), (0.3 * length, 0, 0.008), 0.009, pick(rng, "metal", "plain5"))
    return b.solid()


def paddle(rng: np.random.Generator) -> Solid:
    """A table-tennis bat: two rubbers on a wooden blade, grip with a band."""
    b = Assembly("paddle", PLASTIC)
    r = rng.uniform(0.06, 0.075)
    b.part("head")
    angle = np.linspace(0, 2 * np.pi, 33)[:-1]
    b.plate_of(np.column_stack([1.05 * r * np.cos(angle), r * np.sin(angle)]), 0.006, "wood")
    angle = np.linspace(-0.78, 0.78, 33) * np.pi
    cover = 0.98 * r * np.column_stack([1.05 * np.cos(angle), np.sin(angle)])
    for z, paint in ((0.004, "plain"), (-0.004, pick(rng, "rubber", "plain2"))):
        b.plate_of(cover, 0.0025, paint, frame_at((0, 0, z)))
    b.part("grip")
    b.block((0.11, 0.028, 0.022), (-r - 0.035, 0, 0), pick(rng, "wood", "plain3", "rubber"), 0.007)
    b.block((0.006, 0.029, 0.023), (-r - 0.06, 0, 0), "plain4", 0.006)
    return b.solid()


TOYS = (
    game_controller, telephone_handset, toy_car, toy_plane, rubber_duck, binoculars, paddle,
)  # fmt: skip

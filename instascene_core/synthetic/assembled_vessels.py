"""Vessels, bottles and tubes of several parts and materials, for training."""

import numpy as np

from instascene_core.synthetic.assembly import Assembly
from instascene_core.synthetic.bodies import arc, disk
from instascene_core.synthetic.draws import (
    LIQUID,
    POTTERY,
    PROUD,
    chance,
    main_paint,
    other_paint,
    pick,
)
from instascene_core.synthetic.lathe import round_edge, smooth_profile
from instascene_core.synthetic.solids import Solid


def handled_vessel(rng: np.random.Generator) -> Solid:
    """A cup, pot or pan: one ear, two ears or a long handle, often of another colour, at times with a lid."""
    b = Assembly("handled_vessel", POTTERY)
    style = pick(rng, "cup", "cup", "pot", "pan", "pan")
    low, high = {
        "cup": ([0.033, 0.06], [0.05, 0.12]),
        "pot": ([0.05, 0.05], [0.085, 0.11]),
        "pan": ([0.06, 0.025], [0.08, 0.05]),
    }[style]
    top, height = rng.uniform(low, high)
    foot = top * rng.uniform(0.7, 1.0)
    belly = (top + foot) / 2 * rng.uniform(0.98, 1.08)
    wall, paint = rng.uniform(0.003, 0.005), main_paint(rng)
    outline = np.vstack(
        [[foot - 0.003, 0.0], smooth_profile([[foot, 0.003], [belly, height / 2], [top, height]], 9)]
    )
    inside = other_paint(rng, 3) if chance(rng, 0.35) else None
    cavity = b.vessel(outline, wall, rng.uniform(0.004, 0.007), paint, inside)
    if chance(rng, 0.3):  # a band painted around
        a, c = np.sort(rng.uniform(0.1, 0.95, 2)) * height
        if c - a > 0.006:
            b.repaint(disk(2 * top, a, c), pick(rng, "plain4", "print2", "metal"), mapping="cylinder")
    handle = pick(rng, paint, other_paint(rng), other_paint(rng), "rubber")
    z, reach = rng.uniform(0.5, 0.8) * height, float(np.interp(0.6 * height, outline[:, 1], outline[:, 0]))
    if style == "pan":
        start = np.array([float(np.interp(z, outline[:, 1], outline[:, 0])) - 0.5 * wall, 0, z])
        rise = rng.uniform(0.0, 0.25)
        end = start + rng.uniform(0.08, 0.13) * np.array([1.0, 0, rise])
        neck = start + 0.25 * (end - start)
        b.part("grip")
        if chance(rng, 0.6):
            b.tube([start, neck, neck + 0.1 * (end - start)], [0.005, 0.005, 0.005], "metal", parts=1)
            b.keep_out(cavity)
            start = neck
        b.tube(
            [start, 0.5 * (start + end), end],
            np.array([[0.9, 0.7], [1.2, 0.8], [1.0, 0.8]]) * rng.uniform(0.008, 0.011),
            handle,
            up=(0, 1, 0),
        )
        b.keep_out(cavity)
    elif style == "cup":
        size = height * np.array([rng.uniform(0.24, 0.36), rng.uniform(0.26, 0.38)])
        b.part("ear")
        path = arc((reach - 0.002, 0, height * rng.uniform(0.46, 0.55)), size, -88, 88, 11)
        b.tube(
            path,
            rng.uniform([0.004, 0.004], [0.006, 0.008]) * np.ones((11, 2)),
            handle,
            parts=4,
            up=(0, 1, 0) if chance(rng, 0.5) else (1, 0, 0),
        )
        b.keep_out(cavity)
    else:
        for side in (-1, 1):
            b.part("ear")
            at = np.array([side * (reach - 0.002), 0, z])
            out = rng.uniform(0.02, 0.024)
            path = at + np.array(
                [[0, -0.028, 0], [side * out, -0.022, 0.002], [side * out, 0.022, 0.002], [0, 0.028, 0]]
            )
            b.tube(path, 0.005, handle, parts=3)
            b.keep_out(cavity)
    if style != "cup" and chance(rng, 0.45):
        _lid(b, rng, top, height, pick(rng, paint, other_paint(rng, 5)), other_paint(rng))
    return b.solid()


def _lid(b: Assembly, rng: np.random.Generator, top: float, height: float, lid: str, knob: str) -> None:
    """A flat or domed lid with a knob on a vessel with rim radius `top`."""
    dome = rng.uniform(0.003, 0.02)
    rim = top + rng.uniform(-0.001, 0.003)
    profile = smooth_profile(
        [
            [rim, height + 0.002],
            [0.6 * rim, height + 0.004 + 0.8 * dome],
            [0.05 * rim, height + 0.006 + dome],
        ],
        7,
    )
    b.part("lid")
    b.lathe(np.vstack([[rim - 0.002, height - 0.003], profile]), lid)
    b.part("knob")
    z, r = height + 0.004 + dome, rng.uniform(0.008, 0.014)
    b.rod((0, 0, z - 0.003), (0, 0, z + 0.012), 0.5 * r, knob)
    if chance(rng, 0.5):
        b.ball((0, 0, z + 0.014), (r, r, 0.8 * r), knob)
    else:
        b.rod((0, 0, z + 0.008), (0, 0, z + 0.018), r, knob, edge=0.002)


def jug(rng: np.random.Generator) -> Solid:
    """A closed or open body with spout and handle: jug, carafe, coffee pot, can with a spout."""
    b = Assembly("jug", 1200.0)
    height, r = rng.uniform([0.1, 0.04], [0.17, 0.06])
    paint, other = main_paint(rng), other_paint(rng)
    control = [
        [r * rng.uniform(0.8, 1.0), 0.002],
        [r, 0.3 * height],
        [r * rng.uniform(0.75, 1.0), 0.7 * height],
        [r * rng.uniform(0.6, 0.85), height],
    ]
    outline = np.vstack([[control[0][0] - 0.003, 0.0], smooth_profile(control, 9)])
    cavity = None
    if chance(rng, 0.5):
        cavity = b.vessel(outline, 0.004, 0.006, paint, other_paint(rng, 3) if chance(rng, 0.3) else None)
    else:
        b.lathe(outline, paint)
        _lid(b, rng, control[-1][0], height, pick(rng, paint, other, other_paint(rng, 5)), other)

    def at(z: float) -> float:
        return float(np.interp(z, outline[:, 1], outline[:, 0]))

    low, high = rng.uniform([0.15, 0.75], [0.3, 0.92]) * height
    out = rng.uniform(0.025, 0.04)
    path = smooth_profile(
        [
            [at(low) - 0.001, low],
            [at(low) + 0.8 * out, low + 0.25 * (high - low)],
            [at(high) + out, 0.9 * high],
            [at(high) - 0.001, high],
        ],
        9,
    )
    b.part("ear")
    b.tube(
        -np.column_stack([path[:, 0], 0 * path[:, 0], -path[:, 1]]),
        np.array([0.005, 0.007]) * np.ones((9, 2)),
        other if chance(rng, 0.75) else paint,
        parts=4,
        up=(0, 1, 0),
    )
    if cavity is not None:
        b.keep_out(cavity)
    if chance(rng, 0.8):
        b.part("spout")
        z = rng.uniform(0.35, 0.7) * height
        end = np.array([at(z) + rng.uniform(0.03, 0.05), 0, rng.uniform(0.8, 1.05) * height])
        b.tube(
            [(at(z) - 0.002, 0, z), (at(z) + 0.02, 0, z + 0.3 * (end[2] - z)), end],
            rng.uniform([0.008, 0.007, 0.004], [0.014, 0.01, 0.007]),
            paint if chance(rng, 0.7) else other,
            round_ends=False,
        )
        if cavity is not None:
            b.keep_out(cavity)
    if chance(rng, 0.3):  # a base
        b.part("base")
        b.rod((0, 0, -0.008), (0, 0, 0.004), 1.05 * control[0][0], pick(rng, other, "rubber"))
    return b.solid()


def dispenser(rng: np.random.Generator) -> Solid:
    """A bottle with something on top to press: pump, trigger or flip cap."""
    b = Assembly("dispenser", LIQUID)
    height, r = rng.uniform([0.08, 0.024], [0.15, 0.036])
    body, top = (
        str(rng.choice(["plain", "print"], p=[0.6, 0.4])),
        pick(rng, "plain2", "plain2", "rubber", "metal"),
    )
    if chance(rng, 0.5):
        neck = 0.45 * r
        control = [
            [r, 0.004],
            [r * rng.uniform(0.85, 1.0), 0.5 * height],
            [r * rng.uniform(0.8, 1.0), 0.8 * height],
            [neck, height],
        ]
        outline = smooth_profile(control, 10)
        b.lathe(np.vstack([[r - 0.004, 0.0], outline]), body)
        if chance(rng, 0.6):
            a, c = np.sort(rng.uniform(0.1, 0.75, 2)) * height
            z = np.linspace(a, max(c, a + 0.02), 4)
            b.lathe(
                np.column_stack([np.interp(z, outline[:, 1], outline[:, 0]) + PROUD, z]),
                pick(rng, "print2", "plain3"),
            )
    else:
        size = (2 * r, 1.3 * r, height)
        b.block(size, (0, 0, height / 2), body, 0.3 * r)
        if chance(rng, 0.6):
            b.block(
                (1.4 * r, 1.3 * r + 2 * PROUD, rng.uniform(0.4, 0.6) * height),
                (0, 0, 0.42 * height),
                pick(rng, "print2", "plain3"),
                0.0003,
            )
    b.part("cap")
    collar = rng.uniform(0.009, 0.014)
    b.rod((0, 0, height - 0.004), (0, 0, height + 0.014), collar, top)
    style = rng.integers(3)
    if style == 0:  # pump
        z = height + rng.uniform(0.025, 0.045)
        b.rod((0, 0, height), (0, 0, z), 0.004, pick(rng, top, "metal", "plain4"))
        b.rod((0, 0, z - 0.004), (0, 0, z + 0.009), rng.uniform(0.009, 0.014), top)
        b.part("spout")
        b.tube(
            [(0, 0, z + 0.002), (0.028, 0, z + 0.003), (0.036, 0, z - 0.006)],
            [0.005, 0.004, 0.0035],
            top,
            parts=2,
        )
    elif style == 1:  # trigger
        z = height + 0.026
        b.block((0.06, 0.018, 0.02), (0.008, 0, z), top, 0.005)
        b.part("nozzle")
        b.rod((0.034, 0, z + 0.002), (0.048, 0, z + 0.002), 0.006, pick(rng, "plain4", top))
        b.part("trigger")
        b.tube(
            [(0.024, 0, z - 0.004), (0.03, 0, z - 0.02), (0.026, 0, z - 0.036)],
            [[0.004, 0.006]] * 3,
            pick(rng, "plain4", "rubber", top),
            parts=1,
        )
    else:
        b.rod(
            (0, 0, height + 0.008),
            (0, 0, height + rng.uniform(0.018, 0.035)),
            collar * rng.uniform(0.7, 1.2),
            pick(rng, top, "plain4"),
            edge=0.003,
        )
    return b.solid()


def labelled_bottle(rng: np.random.Generator) -> Solid:
    """Bottle or jar: body, one or two bands of another print, cap."""
    b = Assembly("labelled_bottle", LIQUID)
    height, r = rng.uniform([0.07, 0.025], [0.23, 0.045])
    shoulder, neck = rng.uniform(0.6, 0.85) * height, r * rng.uniform(0.3, 0.85)
    outline = np.vstack(
        [
            round_edge(r, 0.0, 0.005, top=False)[:-1],
            smooth_profile(
                [
                    [r, 0.005],
                    [r * rng.uniform(0.88, 1.0), 0.5 * shoulder],
                    [r, shoulder],
                    [neck, 0.93 * height],
                ],
                11,
            ),
            [[neck, height]],
        ]
    )
    b.lathe(outline, pick(rng, "plain", "plain", "metal", "print"))
    edges = np.sort(rng.uniform(0.1, 0.98, 4)) * shoulder
    for k, (low, high) in enumerate(edges.reshape(2, 2)[: rng.integers(1, 3)]):
        z = np.linspace(low, max(high, low + 0.008), 4)
        b.lathe(
            np.column_stack([np.interp(z, outline[:, 1], outline[:, 0]) + PROUD, z]),
            pick(rng, f"print{k + 2}", f"plain{k + 4}"),
        )
    b.part("cap")
    cap = neck * rng.uniform(1.05, 1.3)
    low = height - rng.uniform(0.008, 0.025)
    b.rod(
        (0, 0, low),
        (0, 0, height + rng.uniform(0.002, 0.01)),
        cap,
        pick(rng, "plain2", "metal", "rubber", "plain"),
        cap * rng.uniform(0.85, 1.0),
    )
    return b.solid()


def rimmed(rng: np.random.Generator) -> Solid:
    """A plate or bowl whose glaze changes within one smooth surface: rim, stripes, a motif, the inside."""
    import manifold3d

    b = Assembly("rimmed", POTTERY)
    deep = rng.uniform() < 0.45
    top, height = (
        rng.uniform([0.05, 0.035], [0.085, 0.065]) if deep else rng.uniform([0.07, 0.012], [0.12, 0.026])
    )
    foot = top * rng.uniform(0.42, 0.65)
    middle = (
        [[foot + (top - foot) * 0.78, 0.45 * height]]
        if deep
        else [[foot * 1.1, 0.4 * height], [0.9 * top, 0.78 * height]]
    )
    outline = np.vstack([[foot - 0.002, 0.0], smooth_profile([[foot, 0.002], *middle, [top, height]], 10)])
    ground = pick(rng, "plain", "plain", "print", "wood")
    b.vessel(
        outline,
        rng.uniform(0.0035, 0.005),
        rng.uniform(0.004, 0.007),
        ground,
        other_paint(rng, 2) if chance(rng, 0.35) else None,
        rows=1 + int(deep),
    )
    if chance(rng, 0.7):  # a stripe around the rim, in and out
        inner = rng.uniform(0.7, 0.96) * top
        outer = 2 * top if chance(rng, 0.7) else inner + rng.uniform(0.3, 0.8) * (top - inner)
        b.repaint(disk(outer, -1, 1) - disk(inner, -2, 2), pick(rng, "plain3", "print3", "metal"))
    if chance(rng, 0.5):
        shape = disk(rng.uniform(0.2, 0.6) * top, 0.003, 1)
        if chance(rng, 0.4):
            shape = manifold3d.Manifold.cube(
                (rng.uniform(0.3, 1.5) * top, rng.uniform(0.2, 0.6) * top, 1.0), True
            ).translate([0.0, 0.0, 0.503])
        b.repaint(
            shape.translate([float(v) for v in (*rng.uniform(-0.3, 0.3, 2) * top, 0)]),
            pick(rng, "plain4", "print4"),
        )
    return b.solid()


def tube_with_cap(rng: np.random.Generator) -> Solid:
    """Tubes, pens, sticks and cartridges with a cap of another colour."""
    b, style = Assembly("tube_with_cap", LIQUID), rng.integers(3)
    body, cap = (
        pick(rng, "plain", "plain", "print", "metal"),
        pick(rng, "plain2", "plain2", "rubber", "metal"),
    )
    if style == 0:  # squeezed flat at one end
        length, r = rng.uniform([0.07, 0.012], [0.16, 0.024])
        flat = 1.4 * r
        disc = np.column_stack(
            [
                0 * np.arange(24),
                r * np.cos(np.arange(24) * np.pi / 12),
                r * np.sin(np.arange(24) * np.pi / 12),
            ]
        )
        end = np.array([[length, s * flat, t] for s in (-1, 1) for t in (-0.0015, 0.0015)])
        b.hull(np.vstack([disc, end]), body)
        if chance(rng, 0.5):
            b.block((0.012, 2.02 * flat, 0.0042), (length, 0, 0), pick(rng, "plain3", "metal", cap), 0.001)
        b.part("cap")
        b.rod(
            (0.004, 0, 0),
            (-rng.uniform(0.012, 0.03), 0, 0),
            r * rng.uniform(0.5, 1.02),
            cap,
            r * rng.uniform(0.45, 0.9),
        )
    else:
        length, r = (
            rng.uniform([0.09, 0.005], [0.16, 0.014])
            if style == 1
            else rng.uniform([0.06, 0.012], [0.18, 0.03])
        )
        cut = rng.uniform(0.3, 0.75) * length
        b.rod((0, 0, 0), (length, 0, 0), r, body)
        b.part("cap")
        b.rod((cut, 0, 0), (length + 0.006, 0, 0), 1.08 * r, cap, r * rng.uniform(0.8, 1.08), 0.002)
        if chance(rng, 0.5):
            b.back_to("body")
            low = rng.uniform(0.05, 0.6) * cut
            b.rod(
                (low, 0, 0),
                (low + rng.uniform(0.1, 0.35) * cut, 0, 0),
                r + PROUD,
                pick(rng, "print2", "plain3"),
                edge=0.0001,
            )
        if chance(rng, 0.5):
            b.part("cap")
            b.rod(
                (0.003, 0, 0),
                (-rng.uniform(0.005, 0.03), 0, 0),
                r * rng.uniform(0.3, 1.06),
                pick(rng, cap, "plain4", "metal"),
                r * rng.uniform(0.2, 0.9),
            )
        if style == 1 and chance(rng, 0.5):  # pocket clip
            b.part("limb")
            b.block(
                (0.4 * (length - cut) + 0.01, 0.004, 0.003),
                (length - 0.2 * (length - cut), 0, 1.15 * r),
                "metal",
                0.001,
            )
    return b.solid()

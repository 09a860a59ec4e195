"""Appliances, toys, lamps and boxes of several parts and materials, for training."""

import numpy as np

from instascene_core.synthetic.assembly import Assembly
from instascene_core.synthetic.bodies import arc, frame_at, hull
from instascene_core.synthetic.draws import (
    LIQUID,
    PAPER,
    PLASTIC,
    PROUD,
    TOY,
    chance,
    main_paint,
    other_paint,
    pick,
)
from instascene_core.synthetic.solids import Solid


def appliance(rng: np.random.Generator) -> Solid:
    """A box with controls: radio, scale, toaster, timer, router."""
    b = Assembly("appliance", PLASTIC)
    w, d, h = rng.uniform([0.08, 0.05, 0.03], [0.2, 0.13, 0.14])
    body, trim = main_paint(rng), other_paint(rng)
    b.block((w, d, h), (0, 0, h / 2 + 0.004), body, rng.uniform(0.003, 0.25 * min(d, h)))
    for sx in (-1, 1):  # feet
        for sy in (-1, 1):
            b.part("foot")
            b.rod(
                (sx * 0.36 * w, sy * 0.33 * d, 0),
                (sx * 0.36 * w, sy * 0.33 * d, 0.3 * h),
                0.006,
                pick(rng, "rubber", trim),
            )
    front = -d / 2
    if chance(rng, 0.6):  # front panel or display
        b.part("panel")
        size = np.array([rng.uniform(0.3, 0.85) * w, 0.006, rng.uniform(0.25, 0.7) * h])
        b.block(
            size,
            (rng.uniform(-0.5, 0.5) * (0.9 * w - size[0]), front + 0.0015, 0.004 + 0.55 * h),
            pick(rng, "rubber", "print2", "plain3", trim),
            0.001,
        )
    for k in range(rng.integers(0, 4)):  # knobs
        b.part("button")
        x, r = (k - 1) * 0.28 * w, min(rng.uniform(0.006, 0.014), 0.3 * h)
        b.rod(
            (x, front + 0.01, 0.004 + 0.4 * h),
            (x, front - rng.uniform(0.004, 0.014), 0.004 + 0.4 * h),
            r,
            pick(rng, trim, "metal", "plain4"),
            0.85 * r,
        )
    style = rng.integers(5)
    top = h + 0.004
    if style == 0:  # carrying handle
        b.part("bow")
        b.tube(
            [
                (-0.35 * w, 0, top - 0.01),
                (-0.33 * w, 0, top + 0.022),
                (0.33 * w, 0, top + 0.022),
                (0.35 * w, 0, top - 0.01),
            ],
            0.005,
            trim,
        )
    elif style == 1:  # lid or plate on top
        b.part("lid")
        b.block((0.9 * w, 0.9 * d, 0.012), (0, 0, top), pick(rng, trim, "metal", "plain3"), 0.004)
    elif style == 2:  # antenna
        b.part("limb")
        b.rod(
            (0.4 * w, 0.2 * d, top - 0.01),
            (0.4 * w, 0.2 * d, top + 0.05),
            0.004,
            pick(rng, "rubber", "metal"),
        )
    elif style == 3:  # side panels
        b.back_to("body")
        for side in (-1, 1):
            b.block((0.012, 0.92 * d, 0.92 * h), (side * w / 2, 0, top - h / 2), trim, 0.004)
    if chance(rng, 0.4):  # the stub of a cable
        b.part("limb")
        b.tube(
            [
                (0.2 * w, d / 2 - 0.004, 0.02),
                (0.2 * w, d / 2 + 0.012, 0.018),
                (0.15 * w, d / 2 + 0.035, 0.008),
            ],
            0.0035,
            "rubber",
            parts=2,
        )
    return b.solid()


def device(rng: np.random.Generator) -> Solid:
    """Held things with buttons or lenses: camera, remote control, headset."""
    b, style = Assembly("device", PLASTIC), rng.integers(3)
    body, trim = pick(rng, "rubber", "plain", "plain", "print"), other_paint(rng)
    if style == 0:  # camera, on its bottom
        w, d, h = rng.uniform([0.08, 0.03, 0.05], [0.13, 0.05, 0.085])
        b.block((w, d, h), (0, 0, h / 2), body, 0.005)
        if chance(rng, 0.6):
            b.block((w * 1.005, d * 1.02, 0.25 * h), (0, 0, 0.84 * h), trim, 0.005)
        b.part("head")
        x, r = rng.uniform(-0.15, 0.15) * w, rng.uniform(0.3, 0.44) * h
        b.rod(
            (x, 0, h * 0.45),
            (x, -d / 2 - rng.uniform(0.008, 0.04), h * 0.45),
            r,
            pick(rng, "rubber", trim, "metal"),
        )
        b.rod((x, 0, h * 0.45), (x, -d / 2 - 0.012, h * 0.45), 1.1 * r, pick(rng, "rubber", "metal"))
        if chance(rng, 0.5):
            b.part("grip")
            b.block(
                (0.018, d * 1.25, 0.8 * h), (0.42 * w, -0.1 * d, 0.45 * h), pick(rng, "rubber", trim), 0.006
            )
        for side in rng.uniform(-0.4, 0.4, rng.integers(1, 4)):
            b.part("button")
            b.rod((side * w, 0, 0.8 * h), (side * w, 0, h + 0.006), 0.007, pick(rng, "metal", trim, "plain3"))
    elif style == 1:  # remote control or radio set, lying
        w, d, h = rng.uniform([0.1, 0.035, 0.014], [0.18, 0.06, 0.03])
        b.block((w, d, h), (0, 0, h / 2), body, 0.4 * h)
        for x in np.arange(-0.38, 0.3, 0.14) * w:
            for y in (-0.22, 0.22):
                if chance(rng, 0.75):
                    b.part("button")
                    b.block((0.012, 0.01, 0.006), (x, y * d, h), pick(rng, trim, trim, "plain3"), 0.002)
        if chance(rng, 0.5):
            b.part("panel")
            b.block(
                (0.22 * w, 0.75 * d, 0.004),
                (0.36 * w, 0, h - 0.001),
                pick(rng, "rubber", "print2", trim),
                0.0015,
            )
    else:  # headset: a bow and two cups
        r = rng.uniform(0.06, 0.075)
        b.part("bow")
        bow = arc((0, 0, 0.03), (r, r * rng.uniform(1.0, 1.3)), 0, 180, 13)
        b.tube(
            bow, np.array([0.004, rng.uniform(0.006, 0.012)]) * np.ones((13, 2)), body, parts=5, up=(1, 0, 0)
        )
        for side in (-1, 1):
            b.part("head")
            cup = rng.uniform(0.026, 0.032)
            b.rod((side * (r + 0.012), 0, 0.03), (side * (r - 0.006), 0, 0.03), cup, trim, edge=0.004)
            b.rod(
                (side * (r - 0.002), 0, 0.03),
                (side * (r - 0.02), 0, 0.03),
                0.85 * cup,
                pick(rng, "rubber", "plain4"),
                edge=0.005,
            )
    return b.solid()


def vehicle(rng: np.random.Generator) -> Solid:
    """A toy on wheels: car, lorry, trailer, locomotive."""
    b = Assembly("vehicle", TOY)
    length, width, r = rng.uniform([0.08, 0.035, 0.009], [0.17, 0.065, 0.02])
    body, cabin = main_paint(rng), pick(rng, "plain2", "print2", other_paint(rng))
    height = rng.uniform(0.9, 1.6) * r + 0.01
    z = r * rng.uniform(0.8, 1.2)
    b.block((length, width, height), (0, 0, z + height / 2), body, rng.uniform(0.002, 0.4 * height))
    top = z + height
    style = rng.integers(3)
    if style == 0:
        b.wedge(
            (0.6 * length, 0.92 * width, top - 0.004),
            (0.36 * length, 0.75 * width, top + rng.uniform(0.012, 0.028)),
            cabin,
            radius=0.003,
        )
    elif style == 1:
        b.block((0.28 * length, 0.95 * width, 0.045), (0.33 * length, 0, top + 0.015), cabin, 0.004)
        b.block(
            (0.56 * length, width, rng.uniform(0.02, 0.05)),
            (-0.2 * length, 0, top + 0.006),
            pick(rng, "print3", "plain3", body),
            0.003,
        )
    else:
        b.rod((-0.2 * length, 0, top + 0.008), (0.45 * length, 0, top + 0.008), 0.42 * width, cabin)
        b.part("limb")
        b.rod(
            (0.3 * length, 0, top),
            (0.3 * length, 0, top + 0.5 * width + 0.02),
            0.008,
            pick(rng, "rubber", "plain4"),
        )
    wheel = pick(rng, "rubber", "rubber", "plain4", "wood")
    hub = pick(rng, "metal", "plain5", wheel)
    for x in np.linspace(-0.32, 0.32, rng.integers(2, 4)) * length:
        for side in (-1, 1):
            outer = side * (width / 2 + rng.uniform(0.004, 0.006))
            b.part("wheel")
            b.rod((x, side * width * 0.25, r), (x, outer, r), r, wheel, edge=0.002)
            b.rod((x, 0, r), (x, outer + side * 0.001, r), 0.45 * r, hub, edge=0.0004)
    return b.solid()


def figure(rng: np.random.Generator) -> Solid:
    """A figure or stack of fused blocks: one object in many colours."""
    b = Assembly("figure", TOY)
    z, count = 0.0, int(rng.integers(2, 5))
    widths = np.sort(rng.uniform(0.022, 0.06, count))[:: -1 if chance(rng, 0.7) else 1]
    for k, width in enumerate(widths):
        height, paint = (
            rng.uniform(0.5, 1.2) * width,
            str(rng.choice([f"plain{k}", "print", "wood", "rubber"], p=[0.7, 0.15, 0.1, 0.05])),
        )
        b.back_to("body")
        start = z - (0.15 * height if k else 0.0)
        style = rng.integers(4)
        if style == 0:
            b.block((width, width * rng.uniform(0.6, 1.0), height), (0, 0, start + height / 2), paint, 0.004)
        elif style == 1:
            b.rod((0, 0, start), (0, 0, start + height), width / 2, paint, width / 2 * rng.uniform(0.5, 1.0))
        elif style == 2:
            height = width * rng.uniform(0.8, 1.0)
            b.ball((0, 0, start + height / 2), (width / 2, width / 2, height / 2), paint)
        else:
            b.wedge((width, 0.8 * width, start), (0.6 * width, 0.5 * width, start + height), paint)
        if k and chance(rng, 0.5):  # arms, ears, horns
            limb = pick(rng, paint, f"plain{k + 5}")
            for side in (-1, 1):
                b.part("limb")
                b.pill(
                    (side * 0.2 * width, 0, start + 0.5 * height),
                    (side * rng.uniform(0.6, 0.9) * width, 0, start + rng.uniform(0.2, 1.1) * height),
                    0.12 * width + 0.002,
                    limb,
                )
        z = start + height
    if chance(rng, 0.4):
        b.part("cap")
        b.rod(
            (0, 0, z - 0.008),
            (0, 0, z + 0.012),
            0.4 * widths[-1],
            pick(rng, "rubber", "plain8"),
            0.2 * widths[-1],
        )
    return b.solid()


def lamp(rng: np.random.Generator) -> Solid:
    """Foot, stem and shade; a mushroom, a candlestick or a stand."""
    b = Assembly("lamp", PLASTIC)
    r, height = rng.uniform([0.035, 0.12], [0.06, 0.24])
    foot, stem, shade = main_paint(rng), other_paint(rng), pick(rng, "plain3", "print2", "metal")
    b.part("base")
    b.rod((0, 0, 0), (0, 0, rng.uniform(0.008, 0.025)), r, foot, r * rng.uniform(0.6, 1.0), 0.003)
    bend = rng.uniform(-0.04, 0.04) if chance(rng, 0.5) else 0.0
    top = np.array([bend, 0, height])
    b.part("stem")
    b.tube(
        [(0, 0, 0.004), (-0.6 * bend, 0, 0.45 * height), top],
        rng.uniform(0.004, 0.008),
        stem,
        parts=2,
        up=(0, 1, 0),
    )
    wide, tall = rng.uniform([0.028, 0.035], [0.06, 0.07])
    frame = frame_at(top, 1, rng.uniform(-35, 35) if bend else 0.0)
    if chance(rng, 0.6):
        b.part("shade")
        outline = np.array(
            [
                [wide, -0.7 * tall],
                [wide - 0.001, -0.7 * tall + 0.002],
                [rng.uniform(0.3, 0.9) * wide, 0.3 * tall],
            ]
        )
        b.lathe(outline, shade, frame)
    else:
        b.part("shade")
        b.ball((0, 0, 0), (wide, wide, 0.6 * tall), shade, frame)
    if chance(rng, 0.3):
        b.back_to("stem")
        b.rod(top, frame[:3, :3] @ (0, 0, 0.4 * tall + 0.012) + top, 0.007, stem)
    return b.solid()


def lidded_box(rng: np.random.Generator) -> Solid:
    """A box, tub or case whose lid has its own colour."""
    b = Assembly("lidded_box", LIQUID)
    w, d, h = rng.uniform([0.06, 0.05, 0.03], [0.17, 0.12, 0.1])
    body, lid, over = main_paint(rng), other_paint(rng), rng.uniform(-0.002, 0.004)
    tall = rng.uniform(0.006, 0.35 * h)
    if chance(rng, 0.6):
        taper = rng.uniform(0.85, 1.0)
        b.wedge((w * taper, d * taper, 0.0), (w, d, h), body, radius=rng.uniform(0.002, 0.01))
        b.part("lid")
        b.block((w + 2 * over, d + 2 * over, tall), (0, 0, h - 0.2 * tall), lid, rng.uniform(0.001, 0.004))
    else:
        b.rod((0, 0, 0), (0, 0, h), d / 2, body, d / 2 * rng.uniform(1.0, 1.15))
        b.part("lid")
        b.rod((0, 0, h - 0.5 * tall), (0, 0, h + 0.5 * tall), 0.58 * d + over, lid, edge=0.002)
    style = rng.integers(4)
    top = h + 0.3 * tall
    if style == 0:
        b.part("knob")
        b.pill(
            (-0.15 * d, 0, top + 0.006), (0.15 * d, 0, top + 0.006), 0.008, pick(rng, "metal", "plain3", lid)
        )
    elif style == 1:  # clips
        for side in (-1, 1):
            b.part("limb")
            b.block(
                (0.012, 1.1 * d + 2 * max(over, 0), 0.02),
                (side * 0.25 * w * (d < w), 0, h - 0.25 * tall),
                pick(rng, "metal", "plain3"),
                0.002,
            )
    elif style == 2:
        b.back_to("lid")
        b.block((0.6 * w, 0.6 * d, 0.004), (0, 0, top), pick(rng, "print2", "plain4"), 0.001)
    return b.solid()


def taped_carton(rng: np.random.Generator) -> Solid:
    """A carton with strips all round and labels that cross its edges."""
    b = Assembly("taped_carton", PAPER)
    size = rng.uniform([0.06, 0.05, 0.03], [0.19, 0.13, 0.11])
    centre, grown = np.array([0, 0, size[2] / 2]), size + 2 * PROUD
    b.block(size, centre, pick(rng, "print", "plain", "plain", "wood"), 0.001)
    for k in range(rng.integers(1, 4)):
        paint = pick(rng, f"plain{k + 2}", f"plain{k + 2}", f"print{k + 2}", "rubber", "metal")
        cut, at = grown + 1.0, centre.copy()
        axis = int(rng.integers(3))
        cut[axis] = rng.uniform(0.06, 0.45) * size[axis]
        at[axis] += rng.uniform(-0.4, 0.4) * (size[axis] - cut[axis])
        if chance(rng, 0.5):  # not all round: a label around an edge or corner
            other = (axis + int(rng.integers(1, 3))) % 3
            cut[other] = rng.uniform(0.3, 1.2) * size[other]
            at[other] += pick(rng, -1, 1) * size[other] / 2
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
        label = hull(corners * (grown + 2 * PROUD * k) + centre) ^ hull(corners * cut + at)
        if not label.is_empty():
            b.add(label, [], paint)
    return b.solid()

"""Hand tools of several parts and materials, for training."""

import numpy as np

from instascene_core.synthetic.assembly import Assembly
from instascene_core.synthetic.bodies import frame_along, frame_at
from instascene_core.synthetic.draws import (
    PROUD,
    TOOL,
    chance,
    main_paint,
    other_paint,
    pick,
)
from instascene_core.synthetic.lathe import smooth_profile
from instascene_core.synthetic.solids import Solid


def pistol_tool(rng: np.random.Generator) -> Solid:
    """A barrel on a grip: drill, glue gun, blower, sprayer."""
    b, (body, grip, nose) = (
        Assembly("pistol_tool", TOOL),
        (main_paint(rng), other_paint(rng), other_paint(rng, 3)),
    )
    length, r, height = rng.uniform([0.09, 0.018, 0.08], [0.16, 0.032, 0.13])
    back, front = (-0.45 * length, 0.0, height), (0.55 * length, 0.0, height)
    style = rng.integers(3)
    if style == 0:
        b.rod(back, front, r, body, r * rng.uniform(0.7, 1.1), 0.006)
    elif style == 1:
        b.pill(back, front, r, body, r * rng.uniform(0.6, 1.0))
    else:
        b.block((length, 1.7 * r, 2 * r), (0.05 * length, 0, height), body, 0.3 * r)
    if chance(rng, 0.4):  # a ring or cap of another colour at the back
        b.rod(
            (-0.47 * length, 0, height),
            (-0.3 * length, 0, height),
            1.06 * r,
            nose if chance(rng, 0.5) else grip,
        )
    b.part("nozzle")
    tip = rng.uniform(0.015, 0.05)
    nose_radius = r * rng.uniform(0.25, 0.75)
    b.rod(
        (0.4 * length, 0, height),
        (0.55 * length + tip, 0, height),
        nose_radius,
        nose,
        nose_radius * rng.uniform(0.5, 1.1),
    )
    if chance(rng, 0.4):  # the bit
        b.part("shaft")
        b.rod((0.5 * length, 0, height), (0.6 * length + tip + 0.02, 0, height), 0.003, "metal")
    b.part("grip")
    lean = rng.uniform(-0.1, 0.35) * height
    top, foot = np.array([-0.15 * length, 0.0, height]), np.array([-0.15 * length - lean, 0.0, 0.012])
    width = rng.uniform(0.012, 0.017)
    path = [top, 0.5 * (top + foot) + [rng.uniform(-0.004, 0.008), 0, 0], foot]
    b.tube(
        path,
        np.array([[1.2, 1.0], [1.0, 0.85], [1.15, 1.0]]) * width,
        grip if chance(rng, 0.7) else body,
        up=(1, 0, 0),
    )
    if chance(rng, 0.6):  # battery or stand
        b.part("base")
        size = rng.uniform([0.05, 0.036, 0.018], [0.085, 0.06, 0.035])
        b.block(size, (foot[0] + 0.1 * size[0], 0, size[2] / 2), pick(rng, body, grip, nose, "rubber"), 0.004)
    if chance(rng, 0.8):
        b.part("trigger")
        at = 0.78 * top + 0.22 * foot + [width * 1.1, 0, 0]
        b.block((0.012, 0.009, 0.022), at, pick(rng, nose, "rubber", "plain4"), 0.003)
    if chance(rng, 0.4):  # a plate or switch on the side or top
        b.part("panel")
        b.block(
            (0.3 * length, 2.04 * r if style else 1.6 * r, 0.6 * r),
            (0, 0, height + 0.1 * r),
            pick(rng, nose, "print2"),
            0.002,
        )
    return b.solid()


def driver(rng: np.random.Generator) -> Solid:
    """A grip with something long in it: screwdriver, brush, file, pick."""
    b = Assembly("driver", TOOL)
    length, r = rng.uniform([0.08, 0.009], [0.12, 0.017])
    grip, shaft = (
        str(rng.choice(["plain", "wood", "rubber", "print"], p=[0.5, 0.2, 0.2, 0.1])),
        pick(rng, "metal", "metal", "plain2"),
    )
    radii = r * rng.uniform([0.8, 0.75, 0.9, 0.6], [1.0, 1.0, 1.1, 0.85])
    outline = smooth_profile(np.column_stack([radii, [0.0, 0.35 * length, 0.7 * length, length]]), 9)
    frame = frame_along((0, 0, 0), (1, 0, 0))
    b.part("grip")
    b.lathe(np.vstack([[0.5 * radii[0], -0.4 * r], outline]), grip, frame)
    if chance(rng, 0.4):  # a second colour around part of the grip
        low, high = np.sort(rng.uniform(0.0, length, 2))
        cut = outline[(outline[:, 1] > low) & (outline[:, 1] < high)]
        if len(cut) > 1:
            b.lathe(cut + np.array([3 * PROUD, 0.0]), other_paint(rng, 3), frame)
    reach = length + rng.uniform(0.05, 0.11)
    thick = r * rng.uniform(0.2, 0.45)
    if chance(rng, 0.4):
        b.rod((0.95 * length, 0, 0), (length + 0.008, 0, 0), 0.75 * r, pick(rng, "metal", "plain3"))
    style = rng.integers(4)
    if style == 3:  # brush: ferrule and bristles
        b.part("head")
        width = r * rng.uniform(1.2, 2.6)
        b.block((0.03, 2 * width, 1.1 * r), (length + 0.012, 0, 0), "metal", 0.003)
        b.part("bristles")
        b.wedge(
            (2 * width * 0.95, r, 0.0),
            (2 * width * rng.uniform(0.7, 1.1), 0.5 * r, 0.045),
            other_paint(rng, 4),
            frame_along((length + 0.02, 0, 0), (length + 1, 0, 0), (0, 1, 0)),
        )
        return b.solid()
    b.part("shaft")
    b.rod((0.8 * length, 0, 0), (reach, 0, 0), thick, shaft)
    if style == 1:  # flat tip
        b.block((0.02, 3 * thick, 0.8 * thick), (reach, 0, 0), shaft, 0.0005)
    elif style == 2:  # socket or bit
        b.rod((reach - 0.01, 0, 0), (reach + 0.015, 0, 0), 1.7 * thick, pick(rng, shaft, "plain4", "rubber"))
    return b.solid()


def striker(rng: np.random.Generator) -> Solid:
    """A handle across which a head sits: hammer, mallet, hatchet, tenderiser."""
    b = Assembly("striker", TOOL)
    length, r = rng.uniform([0.14, 0.008], [0.24, 0.013])
    handle, head = (
        pick(rng, "wood", "plain", "print", "metal"),
        pick(rng, "metal", "metal", "rubber", "plain2", "wood"),
    )
    b.part("grip")
    x = np.linspace(0, length, 5)
    b.tube(
        np.column_stack([x, 0 * x, 0 * x]),
        np.column_stack([r * rng.uniform(0.8, 1.3, 5), r * rng.uniform(0.7, 1.0, 5)]),
        handle,
        up=(0, 1, 0),
    )
    if chance(rng, 0.5):  # a grip of its own
        end = rng.uniform(0.35, 0.5) * length
        x = np.linspace(-0.002, end, 4)
        b.tube(
            np.column_stack([x, 0 * x, 0 * x]),
            np.column_stack([r * rng.uniform(1.35, 1.6, 4), r * rng.uniform(1.1, 1.3, 4)]),
            other_paint(rng, 3),
            up=(0, 1, 0),
        )
    b.part("head")
    across, thick = rng.uniform([0.025, 0.011], [0.05, 0.02])
    style = rng.integers(3)
    if style == 0:
        b.rod((length, -across, 0), (length, across, 0), thick, head, edge=0.003)
        if chance(rng, 0.5):  # faces of another colour
            for side in (-1, 1):
                b.rod(
                    (length, side * 0.8 * across, 0),
                    (length, side * (across + 0.008), 0),
                    1.08 * thick,
                    pick(rng, head, "plain4", "rubber"),
                )
    elif style == 1:
        b.block((2 * thick, 2 * across, 2 * thick), (length, 0, 0), head, 0.003)
    else:
        b.block((2 * thick, 0.8 * across, 1.6 * thick), (length, 0, 0), head, 0.003)
        b.part("blade")
        b.wedge(
            (1.6 * thick, 1.4 * thick, 0.0),
            (3.2 * thick, 0.004, 1.2 * across),
            head if chance(rng, 0.6) else "metal",
            frame_along((length, 0.2 * across, 0), (length, 1, 0), (1, 0, 0)),
            0.0015,
        )
    return b.solid()


def knife(rng: np.random.Generator) -> Solid:
    """A grip with a blade: table, kitchen and putty knives."""
    b = Assembly("knife", TOOL)
    grip_length, blade_length = rng.uniform([0.08, 0.07], [0.11, 0.14])
    wide, thick = rng.uniform([0.009, 0.006], [0.014, 0.01])
    b.part("grip")
    x = np.linspace(0, grip_length, 4)
    path = np.column_stack([x, rng.normal(0, 0.0015, 4), 0 * x])
    grip = pick(rng, "wood", "plain", "rubber", "print")
    b.tube(path, np.column_stack([wide * rng.uniform(0.85, 1.1, 4), np.full(4, thick)]), grip, up=(0, 1, 0))
    if chance(rng, 0.4):  # rivets
        for at in np.linspace(0.2, 0.8, 3) * grip_length:
            b.rod((at, 0, -thick - 0.0006), (at, 0, thick + 0.0006), 0.003, "metal", edge=0.0003)
    if chance(rng, 0.5):
        b.block((0.012, 1.9 * wide, 1.7 * thick), (grip_length, 0, 0), pick(rng, "metal", "plain2"), 0.002)
    b.part("blade")
    height, start = rng.uniform(1.1, 2.6) * wide, 0.85 * grip_length
    end = grip_length + blade_length
    tip = rng.uniform(-0.9, 0.9)
    outline = [
        (start, -height),
        (end - 0.2 * blade_length, -height),
        (end, tip * height),
        (end - 0.15 * blade_length, height * 0.95),
        (start, height),
    ]
    b.plate_of(outline, rng.uniform(0.002, 0.0035), pick(rng, "metal", "metal", "metal", "plain3"))
    return b.solid()


def clamp(rng: np.random.Generator) -> Solid:
    """A bar with two jaws and a screw, or two levers around a pivot: clamps, pliers."""
    b = Assembly("clamp", TOOL)
    bar, jaw, grip = (
        pick(rng, "metal", "metal", "plain"),
        pick(rng, "plain2", "rubber", "metal"),
        pick(rng, "plain3", "wood", "rubber"),
    )
    if chance(rng, 0.5):
        length, reach = rng.uniform([0.12, 0.04], [0.22, 0.065])
        thick = rng.uniform(0.005, 0.008)
        b.block((length, 0.016, 2 * thick), (0, 0, 0), bar, 0.001)
        b.part("jaw")
        b.block((0.02, reach, 2.6 * thick), (0.48 * length, -reach / 2 + 0.01, 0), jaw, 0.003)
        b.part("jaw")
        x = rng.uniform(-0.3, 0.2) * length
        b.block((0.024, reach, 3 * thick), (x, -reach / 2 + 0.01, 0), jaw, 0.003)
        y = -reach + 0.018
        b.part("shaft")
        b.rod((x - 0.05, y, 0), (x + 0.02, y, 0), 0.004, "metal")
        b.part("grip")
        b.rod((x - 0.1, y, 0), (x - 0.04, y, 0), rng.uniform(0.009, 0.013), grip)
        b.back_to("shaft")
        b.rod((x + 0.012, y, 0), (x + 0.024, y, 0), 0.008, pick(rng, "rubber", "plain4"))
        return b.solid()
    spread, length = rng.uniform([0.012, 0.08], [0.03, 0.12])
    for side in (-1, 1):
        b.part("jaw")
        b.tube(
            [
                (-0.4 * length, side * 0.3 * spread, 0),
                (0.0, -side * 0.002, 0),
                (0.06, side * 0.01, 0),
                (length, side * (spread + 0.004), 0),
            ],
            [0.005, 0.007, 0.006, 0.006],
            bar,
            parts=2,
        )
        b.part("grip")
        x = np.linspace(0.04, length + 0.002, 3)
        b.tube(
            np.column_stack([x, side * np.interp(x, [0, 0.06, length], [0.0, 0.01, spread + 0.004]), 0 * x]),
            [0.008, 0.0085, 0.0075],
            grip,
            parts=1,
        )
    b.back_to("jaw")
    b.rod((0, 0, -0.009), (0, 0, 0.009), 0.009, pick(rng, "metal", "plain4"))
    return b.solid()


def shears(rng: np.random.Generator) -> Solid:
    """Two crossing blades with ring grips."""
    b = Assembly("shears", TOOL)
    blade, ring_radius = rng.uniform([0.06, 0.013], [0.1, 0.02])
    thick, grip = rng.uniform(0.002, 0.003), pick(rng, "plain", "plain", "rubber", "print")
    for side in (-1, 1):
        frame = frame_at((0, 0, side * 0.4 * thick), 2, side * rng.uniform(5, 16))
        w = rng.uniform(0.006, 0.01)
        b.part("blade")
        b.plate_of(
            [(-0.03, -0.6 * w), (0.0, -w), (blade, -0.15 * w), (blade, 0.15 * w), (0.0, w), (-0.03, 0.6 * w)],
            thick,
            "metal",
            frame,
        )
        a, c = ring_radius * rng.uniform(1.1, 1.8), ring_radius
        angle = np.linspace(0, 2 * np.pi, 17)[:-1]
        path = np.column_stack(
            [-0.028 - a + a * np.cos(angle), -side * 0.55 * c + c * np.sin(angle), 0 * angle]
        )
        b.part("ear")
        b.tube(path, [0.0045] * 16, grip, closed=True, parts=5, frame=frame)
    b.back_to("blade")
    b.rod((0, 0, -2 * thick), (0, 0, 2 * thick), 0.0045, pick(rng, "metal", "plain2"), edge=0.0005)
    return b.solid()

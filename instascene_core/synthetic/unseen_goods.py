"""Tools and things of house and desk of several parts that no training sees: `unseen_assemblies`."""

import numpy as np

from instascene_core.synthetic.assembly import Assembly
from instascene_core.synthetic.bodies import arc, frame_along, frame_at
from instascene_core.synthetic.draws import LIQUID, PLASTIC, TOOL, pick
from instascene_core.synthetic.lathe import smooth_profile
from instascene_core.synthetic.solids import Solid


def power_drill(rng: np.random.Generator) -> Solid:
    """Motor housing, collar, chuck with a bit, rubber grip, battery: five colours, one thing."""
    b = Assembly("power_drill", TOOL)
    body, h = pick(rng, "plain", "plain", "rubber"), rng.uniform(0.13, 0.15)
    r = rng.uniform(0.024, 0.029)
    b.rod((-0.07, 0, h), (0.035, 0, h), r, body, 0.92 * r, 0.008)
    for x in (-0.06, -0.05, -0.04):  # vents
        b.block((0.004, 2.03 * r, 0.5 * r), (x, 0, h), "rubber", 0.001)
    b.part("nozzle")
    b.rod((0.03, 0, h), (0.055, 0, h), 0.9 * r, pick(rng, "rubber", "plain2"), 0.7 * r)
    b.rod((0.05, 0, h), (0.085, 0, h), 0.62 * r, "rubber", 0.4 * r)
    b.part("shaft")
    b.rod((0.08, 0, h), (0.115, 0, h), 0.0025, "metal")
    b.part("grip")
    b.tube(
        [(-0.02, 0, h), (-0.026, 0, 0.6 * h), (-0.04, 0, 0.03)],
        np.array([[0.019, 0.015]] * 3),
        pick(rng, "rubber", body),
        up=(1, 0, 0),
    )
    b.block((0.012, 0.03, 0.05), (-0.045, 0, 0.6 * h), body, 0.005)
    b.part("trigger")
    b.block((0.014, 0.012, 0.026), (-0.004, 0, 0.72 * h), pick(rng, "plain3", "rubber"), 0.004)
    b.part("base")
    b.block((0.075, 0.05, 0.014), (-0.025, 0, 0.036), body, 0.004)
    b.block((0.07, 0.046, 0.03), (-0.024, 0, 0.016), pick(rng, "rubber", "plain4"), 0.004)
    b.block((0.03, 0.047, 0.012), (-0.024, 0, 0.018), "print2", 0.001)
    return b.solid()


def hair_dryer(rng: np.random.Generator) -> Solid:
    """A bulbous fan, a barrel, a flat nozzle, a folding grip with a switch, the stub of a cable."""
    b = Assembly("hair_dryer", PLASTIC)
    r, h = rng.uniform([0.032, 0.11], [0.038, 0.13])
    body = pick(rng, "plain", "rubber", "print")
    frame = frame_along((-0.06, 0, h), (1, 0, h))
    b.lathe(smooth_profile([[0.8 * r, 0.0], [r, 0.03], [0.8 * r, 0.08], [0.68 * r, 0.13]], 9), body, frame)
    b.rod((-0.066, 0, h), (-0.052, 0, h), 0.72 * r, pick(rng, "metal", "rubber"))
    b.part("nozzle")
    b.wedge(
        (1.25 * r, 1.25 * r, 0.0),
        (2 * r, 0.35 * r, 0.045),
        "rubber",
        frame_along((0.065, 0, h), (1, 0, h), (0, 0, 1)),
    )
    b.part("grip")
    b.tube(
        [(-0.025, 0, h - 0.5 * r), (-0.018, 0, 0.5 * h), (-0.03, 0, 0.012)],
        np.array([[0.015, 0.012]] * 3),
        pick(rng, "rubber", body, "plain2"),
        up=(1, 0, 0),
    )
    b.part("button")
    b.block((0.006, 0.009, 0.026), (-0.005, 0, 0.55 * h), pick(rng, "plain3", "metal"), 0.002)
    b.part("limb")
    b.rod((-0.03, 0, 0.008), (-0.034, 0, -0.025), 0.004, "rubber")
    return b.solid()


def torch(rng: np.random.Generator) -> Solid:
    """A flashlight: barrel with knurled rings, head with a pale lens, switch, tail cap."""
    b = Assembly("torch", TOOL)
    length, r = rng.uniform([0.1, 0.011], [0.15, 0.015])
    body = pick(rng, "metal", "rubber", "plain")
    b.rod((0, 0, 0), (length, 0, 0), r, body)
    for x in np.linspace(0.25, 0.6, 4) * length:
        b.rod((x, 0, 0), (x + 0.006, 0, 0), r + 0.0008, "rubber", edge=0.0003)
    b.part("head")
    b.rod((length - 0.02, 0, 0), (length + 0.012, 0, 0), r, body, 1.6 * r)
    b.rod((length + 0.01, 0, 0), (length + 0.026, 0, 0), 1.62 * r, pick(rng, body, "plain2"))
    b.rod((length + 0.02, 0, 0), (length + 0.027, 0, 0), 1.35 * r, "plain3", edge=0.0003)
    b.part("button")
    b.pill((0.7 * length, 0, r), (0.78 * length, 0, r), 0.004, pick(rng, "plain4", "rubber"))
    b.part("cap")
    b.rod((-0.012, 0, 0), (0.006, 0, 0), 1.06 * r, pick(rng, "rubber", "plain2"), edge=0.003)
    return b.solid()


def rubber_hammer(rng: np.random.Generator) -> Solid:
    """A claw hammer: steel head, wooden or steel shaft, ribbed rubber grip."""
    b = Assembly("rubber_hammer", TOOL)
    length = rng.uniform(0.2, 0.25)
    b.part("grip")
    b.tube(
        [(0, 0, 0), (length, 0, 0)],
        np.array([[0.009, 0.007]] * 2),
        pick(rng, "wood", "metal", "plain"),
        parts=1,
        up=(0, 1, 0),
    )
    b.tube(
        [(-0.002, 0, 0), (0.05, 0, 0), (0.1, 0, 0)],
        np.array([[0.0135, 0.011], [0.012, 0.0095], [0.0125, 0.01]]),
        pick(rng, "rubber", "plain2"),
        up=(0, 1, 0),
    )
    for x in (0.02, 0.04, 0.06, 0.08):
        b.tube(
            [(x, 0, 0), (x + 0.005, 0, 0)],
            np.array([[0.0138, 0.0115]] * 2),
            "plain3",
            round_ends=False,
            parts=1,
            up=(0, 1, 0),
        )
    b.part("head")
    b.block((0.022, 0.035, 0.02), (length, 0, 0), "metal", 0.003)
    b.rod((length, 0.012, 0), (length, 0.042, 0), 0.011, "metal", edge=0.002)
    for side in (-1, 1):
        b.tube(
            [
                (length, -0.01, side * 0.006),
                (length - 0.006, -0.04, side * 0.008),
                (length - 0.02, -0.06, side * 0.011),
            ],
            np.array([[0.007, 0.005], [0.006, 0.004], [0.004, 0.002]]),
            "metal",
            parts=2,
        )
    return b.solid()


def pump_dispenser(rng: np.random.Generator) -> Solid:
    """A square soap bottle with a label on two sides and a curved pump."""
    b = Assembly("pump_dispenser", LIQUID)
    w, h = rng.uniform([0.05, 0.09], [0.064, 0.13])
    b.block((w, w, h), (0, 0, h / 2), pick(rng, "plain", "print"), 0.008)
    b.block((0.7 * w, w + 0.0006, 0.5 * h), (0, 0, 0.45 * h), "print2", 0.0003)
    b.part("cap")
    b.rod((0, 0, h - 0.003), (0, 0, h + 0.012), 0.014, pick(rng, "rubber", "metal", "plain2"), edge=0.002)
    b.rod((0, 0, h), (0, 0, h + 0.03), 0.0045, "metal")
    b.rod((0, 0, h + 0.026), (0, 0, h + 0.036), 0.011, "plain2")
    b.part("spout")
    b.tube(
        [(0, 0, h + 0.03), (0.025, 0, h + 0.034), (0.042, 0, h + 0.026), (0.045, 0, h + 0.014)],
        0.0042,
        "plain2",
        up=(0, 1, 0),
    )
    return b.solid()


def trigger_sprayer(rng: np.random.Generator) -> Solid:
    """A waisted bottle under a spray head with trigger and nozzle."""
    b = Assembly("trigger_sprayer", LIQUID)
    r, h = rng.uniform([0.034, 0.15], [0.042, 0.19])
    profile = smooth_profile([[r, 0.004], [0.98 * r, 0.45 * h], [0.6 * r, 0.72 * h], [0.36 * r, h]], 11)
    b.lathe(np.vstack([[r - 0.004, 0.0], profile]), pick(rng, "plain", "print"))
    z = np.linspace(0.12, 0.42, 4) * h
    b.lathe(np.column_stack([np.interp(z, profile[:, 1], profile[:, 0]) + 0.0003, z]), "print2")
    head = pick(rng, "plain2", "rubber")
    b.part("cap")
    b.rod((0, 0, h - 0.005), (0, 0, h + 0.016), 0.015, head)
    b.wedge((0.026, 0.024, 0.0), (0.06, 0.02, 0.036, 0.006), head, frame_at((0, 0, h + 0.012)), 0.004)
    b.part("nozzle")
    b.block((0.016, 0.014, 0.014), (0.04, 0, h + 0.038), pick(rng, "plain3", "rubber"), 0.002)
    b.part("trigger")
    b.tube(
        [(0.022, 0, h + 0.03), (0.034, 0, h + 0.008), (0.03, 0, h - 0.026)],
        np.array([[0.004, 0.007]] * 3),
        pick(rng, "plain3", head),
        parts=2,
        up=(1, 0, 0),
    )
    return b.solid()


def watering_can(rng: np.random.Generator) -> Solid:
    """A drum with a long spout, a rose at its end and a hoop handle."""
    b = Assembly("watering_can", PLASTIC)
    r, h = rng.uniform([0.045, 0.08], [0.058, 0.11])
    body = pick(rng, "plain", "metal", "print")
    b.rod((0, 0, 0), (0, 0, h), r, body, 0.92 * r)
    end = np.array([r + 0.095, 0, 1.1 * h])
    b.part("spout")
    b.tube(
        [(0.8 * r, 0, 0.22 * h), (r + 0.05, 0, 0.65 * h), end],
        [0.011, 0.008, 0.006],
        body,
        round_ends=False,
        parts=2,
        up=(0, 1, 0),
    )
    b.part("nozzle")
    b.rod(
        end - [0.006, 0, 0.004], end + np.array([0.018, 0, 0.012]), 0.006, pick(rng, "plain2", "metal"), 0.018
    )
    b.part("bow")
    b.tube(
        arc((-0.2 * r, 0, h - 0.012), (1.05 * r, 0.055), 15, 200, 13),
        0.0055,
        pick(rng, "plain2", "wood", body),
        parts=5,
        up=(0, 1, 0),
    )
    return b.solid()


def dish_brush(rng: np.random.Generator) -> Solid:
    """A round head with pale bristles on a bent stem."""
    b = Assembly("dish_brush", TOOL)
    length = rng.uniform(0.13, 0.17)
    handle = pick(rng, "plain", "wood", "metal")
    b.part("grip")
    b.tube(
        [(0, 0, 0.012), (0.6 * length, 0, 0.02), (length, 0, 0.014)],
        np.array([[0.011, 0.007], [0.007, 0.005], [0.007, 0.005]]),
        handle,
        up=(0, 1, 0),
    )
    at, r = length + 0.018, rng.uniform(0.022, 0.028)
    b.part("head")
    b.rod((at, 0, 0.006), (at, 0, 0.02), r, pick(rng, handle, "plain2"))
    b.part("bristles")
    b.rod((at, 0, 0.008), (at, 0, -0.016), 0.9 * r, pick(rng, "plain3", "rubber"), r)
    return b.solid()


def paint_brush(rng: np.random.Generator) -> Solid:
    """A swelling handle, a tin ferrule with a band, bristles with a painted tip."""
    b = Assembly("paint_brush", TOOL)
    w = rng.uniform(0.02, 0.03)
    b.part("grip")
    b.tube(
        [(0, 0, 0), (0.04, 0, 0), (0.085, 0, 0), (0.11, 0, 0)],
        np.array([[0.008, 0.005], [0.007, 0.005], [0.013, 0.006], [0.85 * w, 0.006]]),
        pick(rng, "wood", "plain"),
        up=(0, 1, 0),
    )
    b.part("head")
    b.block((0.036, 2 * w, 0.015), (0.122, 0, 0), "metal", 0.002)
    b.block((0.004, 2 * w + 0.001, 0.016), (0.116, 0, 0), "plain4", 0.0005)
    frame = frame_along((0.136, 0, 0), (1, 0, 0), (0, 1, 0))
    b.part("bristles")
    b.wedge((1.9 * w, 0.012, 0.0), (1.8 * w, 0.008, 0.042), pick(rng, "rubber", "plain2"), frame)
    b.wedge((1.82 * w, 0.0095, 0.034), (1.7 * w, 0.004, 0.056), "plain3", frame, 0.0015)
    return b.solid()


def plunger(rng: np.random.Generator) -> Solid:
    """A rubber bell at the end of a stick with a knob."""
    b = Assembly("plunger", PLASTIC)
    r, length = rng.uniform([0.045, 0.2], [0.06, 0.25])
    b.part("head")
    b.lathe(
        smooth_profile([[r, 0.0], [0.95 * r, 0.025], [0.45 * r, 0.05], [0.3 * r, 0.06]], 9),
        pick(rng, "rubber", "plain"),
    )
    b.part("grip")
    b.rod((0, 0, 0.05), (0, 0, length), 0.008, pick(rng, "wood", "plain2"))
    b.ball((0, 0, length), 0.012, pick(rng, "wood", "plain3"))
    return b.solid()


def dustpan(rng: np.random.Generator) -> Solid:
    """A flat pan with side walls, a rubber lip and a handle."""
    b = Assembly("dustpan", PLASTIC)
    w, d = rng.uniform([0.14, 0.1], [0.18, 0.13])
    body = pick(rng, "plain", "metal")
    b.block((w, d, 0.004), (0, 0, 0.002), body, 0.001)
    for side in (-1, 1):
        b.plate_of(
            [(-d / 2, 0.0), (d / 2, 0.0), (d / 2, 0.035)], 0.004, body, _upright(side * (w / 2 - 0.002))
        )
    b.block((w, 0.004, 0.035), (0, d / 2 - 0.002, 0.0175), body, 0.001)
    b.block((w - 0.001, 0.008, 0.0055), (0, -d / 2, 0.0025), "rubber", 0.001)
    b.part("grip")
    b.tube(
        [(0, d / 2 - 0.004, 0.02), (0, d / 2 + 0.05, 0.03), (0, d / 2 + 0.1, 0.026)],
        np.array([[0.008, 0.011]] * 3),
        pick(rng, "plain2", "rubber", body),
        parts=2,
    )
    return b.solid()


def _upright(x: float) -> np.ndarray:
    """[4, 4] of a plate whose outline is drawn in y and z, at that x in metres."""
    frame = np.eye(4)
    frame[:3, :3] = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    frame[0, 3] = x
    return frame


def desk_lamp(rng: np.random.Generator) -> Solid:
    """A weighted foot, two arms with joints, a bell shade."""
    b = Assembly("desk_lamp", TOOL)
    foot = rng.uniform(0.04, 0.052)
    elbow, head = np.array([-0.05, 0, rng.uniform(0.1, 0.13)]), np.array([0.04, 0, rng.uniform(0.17, 0.2)])
    arm, shade = pick(rng, "metal", "rubber"), pick(rng, "plain", "rubber", "metal")
    b.part("base")
    b.rod((0, 0, 0), (0, 0, 0.016), foot, pick(rng, shade, "rubber"), 0.92 * foot, 0.003)
    b.part("stem")
    b.rod((0, 0, 0.012), elbow, 0.0045, arm)
    b.rod(elbow, head, 0.0045, arm)
    for joint in (elbow, head):
        b.rod(joint - [0, 0.01, 0], joint + np.array([0, 0.01, 0]), 0.009, pick(rng, "plain2", "rubber"))
    frame = frame_along(head, head + np.array([0.55, 0, -0.8]))
    b.part("shade")
    b.lathe(smooth_profile([[0.014, -0.008], [0.03, 0.03], [0.042, 0.06]], 7), shade, frame)
    b.ball((0, 0, 0.058), 0.02, "plain4", frame)
    return b.solid()


def tape_dispenser(rng: np.random.Generator) -> Solid:
    """A heavy curved base, a roll of tape standing in it, a cutter."""
    b = Assembly("tape_dispenser", TOOL)
    length, w = rng.uniform([0.12, 0.045], [0.15, 0.06])
    b.wedge((length, w, 0.0), (0.9 * length, 0.85 * w, 0.028), pick(rng, "plain", "rubber"), radius=0.004)
    r = rng.uniform(0.026, 0.032)
    for side in (-1, 1):
        b.block(
            (0.04, 0.006, 0.035),
            (-0.15 * length, side * 0.35 * w, 0.036),
            pick(rng, "plain", "rubber"),
            0.002,
        )
    b.part("wheel")
    b.rod(
        (-0.15 * length, -0.3 * w, 0.03 + 0.6 * r),
        (-0.15 * length, 0.3 * w, 0.03 + 0.6 * r),
        r,
        "plain2",
        edge=0.0005,
    )
    b.rod(
        (-0.15 * length, -0.38 * w, 0.03 + 0.6 * r),
        (-0.15 * length, 0.38 * w, 0.03 + 0.6 * r),
        0.45 * r,
        "plain3",
    )
    b.part("blade")
    b.block((0.008, 0.6 * w, 0.02), (0.4 * length, 0, 0.034), "metal", 0.001)
    return b.solid()


def stapler(rng: np.random.Generator) -> Solid:
    """Base, steel rail, arched arm with a label, hinge."""
    b = Assembly("stapler", TOOL)
    length = rng.uniform(0.11, 0.15)
    b.block((length, 0.034, 0.01), (0, 0, 0.005), pick(rng, "rubber", "plain"), 0.003)
    b.block((0.012, 0.016, 0.004), (0.4 * length, 0, 0.0105), "metal", 0.001)
    b.block((0.03, 0.028, 0.035), (-0.38 * length, 0, 0.02), pick(rng, "rubber", "plain"), 0.004)
    b.block((0.85 * length, 0.014, 0.01), (0.05 * length, 0, 0.028), "metal", 0.001)
    b.part("lid")
    path = [(-0.42 * length, 0, 0.036), (0, 0, 0.044), (0.44 * length, 0, 0.036)]
    b.tube(path, np.array([[0.008, 0.013], [0.01, 0.015], [0.007, 0.012]]), "plain2")
    b.block((0.3 * length, 0.014, 0.01), (0, 0, 0.05), pick(rng, "print2", "plain3"), 0.003)
    return b.solid()


def padlock(rng: np.random.Generator) -> Solid:
    """A brass or coated body, a steel shackle, a rubber bumper."""
    b = Assembly("padlock", 4000.0)
    w = rng.uniform(0.04, 0.055)
    b.block((w, 0.022, 0.9 * w), (0, 0, 0.45 * w), pick(rng, "metal", "plain", "print"), 0.004)
    b.block((1.04 * w, 0.0235, 0.2 * w), (0, 0, 0.13 * w), pick(rng, "rubber", "plain2"), 0.004)
    b.part("bow")
    u = np.vstack([[-0.3 * w, 0, 0.8 * w], arc((0, 0, 1.1 * w), 0.3 * w, 180, 0, 9), [0.3 * w, 0, 0.8 * w]])
    b.tube(u, 0.0042, "metal", parts=4, up=(0, 1, 0))
    b.rod((0.1 * w, 0, 0.004), (0.1 * w, 0, -0.001), 0.006, "plain3", edge=0.0003)
    return b.solid()


GOODS = (
    power_drill, hair_dryer, torch, rubber_hammer, pump_dispenser, trigger_sprayer, watering_can,
    dish_brush, paint_brush, plunger, dustpan, desk_lamp, tape_dispenser, stapler, padlock,
)  # fmt: skip

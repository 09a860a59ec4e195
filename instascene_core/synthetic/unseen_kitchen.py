"""Kitchen things of several parts that no training sees; see `unseen_assemblies`."""

import numpy as np

from instascene_core.synthetic.assembly import Assembly
from instascene_core.synthetic.bodies import arc, disk, frame_at
from instascene_core.synthetic.draws import PLASTIC, POTTERY, TOOL, pick
from instascene_core.synthetic.lathe import smooth_profile
from instascene_core.synthetic.solids import Solid


def frying_pan(rng: np.random.Generator) -> Solid:
    """A low pan, dark inside, with a handle in two tones and a hanging ring."""
    b = Assembly("frying_pan", TOOL)
    top, height = rng.uniform([0.07, 0.026], [0.08, 0.036])
    outline = np.array([[0.78 * top, 0.0], [0.8 * top, 0.002], [0.93 * top, 0.5 * height], [top, height]])
    cavity = b.vessel(outline, 0.003, 0.0035, pick(rng, "metal", "plain"), "rubber")
    b.part("grip")
    z = 0.75 * height
    for radius, ends, paint in (
        (0.006, (-0.004, 0.03), "metal"),
        (0.01, (0.025, 0.085), "plain2"),
        (0.009, (0.08, 0.105), pick(rng, "wood", "plain3")),
    ):
        a, c = ((top + e, 0.0, z + 0.2 * max(e, 0)) for e in ends)
        b.tube([a, c], np.array([1.25, 0.8]) * radius * np.ones((2, 2)), paint, parts=1, up=(0, 1, 0))
        b.keep_out(cavity)
    return b.solid()


def kettle(rng: np.random.Generator) -> Solid:
    """A domed kettle on a base plate, a bail handle over the lid, a short conical spout."""
    b = Assembly("kettle", PLASTIC)
    r, height = rng.uniform([0.055, 0.09], [0.07, 0.12])
    body = pick(rng, "metal", "plain", "print")
    b.part("base")
    b.rod((0, 0, 0), (0, 0, 0.012), 1.02 * r, "rubber", edge=0.003)
    b.back_to("body")
    b.lathe(
        smooth_profile(
            [[r, 0.008], [r * 0.99, 0.35 * height], [0.75 * r, 0.85 * height], [0.5 * r, height]], 10
        ),
        body,
    )
    b.part("lid")
    b.rod((0, 0, height - 0.006), (0, 0, height + 0.006), 0.5 * r, pick(rng, "rubber", "plain2"), 0.4 * r)
    b.part("knob")
    b.ball((0, 0, height + 0.012), 0.009, pick(rng, "rubber", "wood"))
    b.part("bow")
    bail = arc((0, 0, 0.72 * height), (0.8 * r, 0.72 * height), 8, 172, 13)
    b.tube(
        bail,
        np.array([0.007, 0.005]) * np.ones((13, 2)),
        pick(rng, "rubber", "plain2", "wood"),
        parts=5,
        up=(0, 1, 0),
    )
    b.part("spout")
    b.rod((0.75 * r, 0, 0.6 * height), (1.35 * r, 0, 0.88 * height), 0.016, body, 0.008)
    return b.solid()


def teapot(rng: np.random.Generator) -> Solid:
    """A round pot with a lid, an ear and a curved spout."""
    b = Assembly("teapot", POTTERY)
    r = rng.uniform(0.045, 0.06)
    h = r * rng.uniform(1.4, 1.8)
    body, lid = pick(rng, "plain", "print"), pick(rng, "plain2", "print", "plain2")
    b.lathe(smooth_profile([[0.55 * r, 0.0], [r, 0.45 * h], [0.85 * r, 0.8 * h], [0.45 * r, h]], 11), body)
    b.part("lid")
    b.lathe(smooth_profile([[0.5 * r, 0.97 * h], [0.42 * r, 1.06 * h], [0.1 * r, 1.13 * h]], 6), lid)
    b.part("knob")
    b.ball((0, 0, 1.18 * h), 0.17 * r, pick(rng, lid, "wood"))
    b.part("ear")
    ear = arc((-0.85 * r, 0, 0.52 * h), (0.55 * r, 0.34 * h), 75, 285, 13)
    b.tube(ear, 0.0055, pick(rng, "plain3", body, "wood"), parts=5, up=(0, 1, 0))
    b.part("spout")
    spout = [(0.8 * r, 0, 0.35 * h), (1.25 * r, 0, 0.5 * h), (1.5 * r, 0, 0.8 * h), (1.75 * r, 0, 0.95 * h)]
    b.tube(spout, [0.014, 0.011, 0.008, 0.006], body, round_ends=False, up=(0, 1, 0))
    return b.solid()


def coffee_maker(rng: np.random.Generator) -> Solid:
    """A column with a hood over a glass jug on a hot plate: all one thing."""
    b = Assembly("coffee_maker", PLASTIC)
    w, h = rng.uniform([0.085, 0.17], [0.11, 0.22])
    body = pick(rng, "rubber", "plain", "metal")
    b.block((w, 0.13, 0.022), (0, 0, 0.011), body, 0.005)
    b.block((w, 0.045, h), (0, 0.043, h / 2), body, 0.006)
    b.block((w, 0.13, 0.05), (0, 0, h - 0.025), pick(rng, body, "plain2"), 0.008)
    b.part("base")
    b.rod((0, -0.02, 0.018), (0, -0.02, 0.028), 0.038, "metal")
    b.part("body")
    b.lathe(
        smooth_profile([[0.036, 0.026], [0.04, 0.05], [0.034, 0.085], [0.03, 0.1]], 7),
        "plain3",
        frame_at((0, -0.02, 0)),
    )
    b.rod((0, -0.02, 0.095), (0, -0.02, h - 0.04), 0.022, "rubber")
    b.part("ear")
    b.tube(
        [(0, -0.055, 0.045), (0, -0.085, 0.055), (0, -0.08, 0.085), (0, -0.05, 0.09)],
        0.005,
        "rubber",
        up=(1, 0, 0),
    )
    b.part("button")
    b.rod((0.3 * w, -0.06, h - 0.025), (0.3 * w, -0.072, h - 0.025), 0.008, "plain4")
    return b.solid()


def thermos(rng: np.random.Generator) -> Solid:
    """A flask: steel body in a coloured sleeve, a ring, a cup as lid with a small ear."""
    b = Assembly("thermos", PLASTIC)
    r, h = rng.uniform([0.03, 0.17], [0.04, 0.25])
    b.rod((0, 0, 0), (0, 0, 0.03), 0.97 * r, "rubber", edge=0.003)
    b.rod((0, 0, 0.02), (0, 0, 0.7 * h), r, pick(rng, "plain", "print"))
    b.rod((0, 0, 0.68 * h), (0, 0, 0.76 * h), 0.95 * r, "metal", 0.8 * r)
    b.part("cap")
    b.rod((0, 0, 0.74 * h), (0, 0, h), 0.92 * r, pick(rng, "metal", "plain2"), 0.85 * r, 0.004)
    b.part("ear")
    ear = arc((0.8 * r, 0, 0.86 * h), (0.022, 0.09 * h), -80, 80, 9)
    b.tube(ear, 0.0035, "plain2", up=(0, 1, 0))
    return b.solid()


def cleaver(rng: np.random.Generator) -> Solid:
    """A broad blade with a hole, a riveted wooden grip."""
    b = Assembly("cleaver", TOOL)
    length, width = rng.uniform([0.11, 0.055], [0.15, 0.08])
    b.part("blade")
    b.plate_of([(0, 0), (length, 0.004), (length, -width), (0.01, -width * 0.9)], 0.003, "metal")
    b.part("grip")
    b.block((0.11, 0.024, 0.018), (-0.045, -0.012, 0), pick(rng, "wood", "rubber", "plain"), 0.007)
    b.block((0.012, 0.026, 0.02), (0.004, -0.012, 0), pick(rng, "metal", "plain2"), 0.003)
    for x in (-0.075, -0.03):
        b.rod((x, -0.012, -0.0096), (x, -0.012, 0.0096), 0.003, "metal", edge=0.0002)
    return b.solid()


def peeler(rng: np.random.Generator) -> Solid:
    """A fork with a blade across it on a round grip."""
    b = Assembly("peeler", TOOL)
    length, half = rng.uniform([0.075, 0.022], [0.1, 0.03])
    b.part("grip")
    b.pill((0, 0, 0), (length, 0, 0), 0.009, pick(rng, "plain", "rubber", "wood"), 0.007)
    b.part("head")
    for side in (-1, 1):
        b.tube(
            [(length - 0.004, 0, 0), (length + 0.016, side * half, 0), (length + 0.045, side * half, 0)],
            0.0035,
            "metal",
            parts=2,
        )
    b.part("blade")
    b.block((0.012, 2 * half, 0.002), (length + 0.04, 0, 0), pick(rng, "metal", "rubber"), 0.0005)
    return b.solid()


def whisk(rng: np.random.Generator) -> Solid:
    """Wire loops out of a grip with a collar."""
    b = Assembly("whisk", TOOL)
    length, loop = rng.uniform([0.09, 0.1], [0.12, 0.13])
    b.part("grip")
    b.pill((0, 0, 0), (length, 0, 0), 0.009, pick(rng, "plain", "wood", "rubber"), 0.011)
    b.rod((length - 0.002, 0, 0), (length + 0.016, 0, 0), 0.0105, "metal", 0.008)
    b.part("head")
    wire = pick(rng, "metal", "metal", "plain2")
    for turn in (0.0, 60.0, 120.0):
        angle = np.radians(np.linspace(-165, 165, 15))
        path = np.column_stack(
            [
                0.5 * loop * (1 + np.cos(angle)) + 0.006,
                0.028 * np.sin(angle) * (0.6 + 0.4 * np.cos(angle)),
                0 * angle,
            ]
        )
        b.tube(path, 0.0016, wire, parts=6, frame=frame_at((length, 0, 0), 0, turn))
    return b.solid()


def spatula(rng: np.random.Generator) -> Solid:
    """A thin bent blade on a stem with a soft grip."""
    b = Assembly("spatula", TOOL)
    length = rng.uniform(0.09, 0.12)
    b.part("grip")
    b.tube(
        [(0, 0, 0), (0.5 * length, 0, 0.003), (length, 0, 0)],
        np.array([[0.01, 0.007]] * 3),
        pick(rng, "plain", "rubber", "wood"),
        up=(0, 1, 0),
    )
    b.part("shaft")
    b.tube(
        [(length - 0.006, 0, 0), (length + 0.055, 0, 0.004), (length + 0.075, 0, -0.012)],
        np.array([[0.006, 0.0035]] * 3),
        "metal",
        up=(0, 1, 0),
    )
    b.part("blade")
    w, reach = rng.uniform([0.026, 0.06], [0.036, 0.08])
    b.plate_of(
        [(0, -0.7 * w), (reach, -w), (reach + 0.006, w), (0, 0.7 * w)],
        0.003,
        pick(rng, "rubber", "metal", "plain2"),
        frame_at((length + 0.068, 0, -0.012), 1, 4.0),
    )
    return b.solid()


def salt_mill(rng: np.random.Generator) -> Solid:
    """A turned mill: body, steel waist, head and knob."""
    b = Assembly("salt_mill", PLASTIC)
    r, h = rng.uniform([0.024, 0.12], [0.03, 0.2])
    wood = pick(rng, "wood", "plain", "rubber")
    b.lathe(
        smooth_profile([[r, 0.0], [0.95 * r, 0.15 * h], [0.62 * r, 0.45 * h], [0.85 * r, 0.68 * h]], 10), wood
    )
    b.rod((0, 0, 0.67 * h), (0, 0, 0.72 * h), 0.78 * r, "metal")
    b.part("lid")
    b.lathe(
        smooth_profile([[0.8 * r, 0.71 * h], [0.95 * r, 0.82 * h], [0.6 * r, 0.93 * h]], 8),
        pick(rng, wood, "plain2"),
    )
    b.part("knob")
    b.rod((0, 0, 0.9 * h), (0, 0, 0.96 * h), 0.004, "metal")
    b.ball((0, 0, 0.97 * h), 0.0075, pick(rng, "metal", "rubber"))
    return b.solid()


def ice_cream_scoop(rng: np.random.Generator) -> Solid:
    """A half bowl on a stem with a fat grip."""
    b = Assembly("ice_cream_scoop", TOOL)
    length, r = rng.uniform([0.09, 0.022], [0.11, 0.029])
    b.part("head")
    angle = np.linspace(-1.45, 0.0, 9)
    outline = r * np.column_stack([np.cos(angle), 1 + np.sin(angle)])
    cavity = b.vessel(outline, 0.002, 0.003, "metal", frame=frame_at((length + 0.06 + r, 0, -r)))
    b.part("shaft")
    b.tube(
        [(length - 0.005, 0, 0), (length + 0.03, 0, -0.006), (length + 0.064, 0, -0.004)],
        0.0048,
        "metal",
        parts=2,
    )
    b.keep_out(cavity)
    b.part("grip")
    b.pill((0, 0, 0), (length, 0, 0), 0.013, pick(rng, "plain", "rubber", "wood"), 0.01)
    b.rod((length - 0.012, 0, 0), (length + 0.01, 0, 0), 0.011, pick(rng, "plain2", "metal"), 0.007)
    return b.solid()


def banded_mug(rng: np.random.Generator) -> Solid:
    """A mug with a printed band, another colour inside, a square handle of its own colour."""
    b = Assembly("banded_mug", POTTERY)
    r, h = rng.uniform([0.036, 0.08], [0.044, 0.105])
    outline = np.vstack([[r - 0.004, 0.0], np.column_stack([np.full(6, r), np.linspace(0.004, h, 6)])])
    cavity = b.vessel(outline, 0.004, 0.006, "plain", pick(rng, "plain2", "plain"))
    b.repaint(
        disk(2 * r, 0.25 * h, 0.75 * h) - disk(r - 0.002, 0.2 * h, 0.8 * h), "print2", mapping="cylinder"
    )
    b.part("ear")
    out = r + rng.uniform(0.024, 0.03)
    path = [
        (r - 0.003, 0, 0.82 * h),
        (out - 0.004, 0, 0.82 * h),
        (out, 0, 0.76 * h),
        (out, 0, 0.28 * h),
        (out - 0.004, 0, 0.22 * h),
        (r - 0.003, 0, 0.22 * h),
    ]
    b.tube(path, 0.0048, pick(rng, "plain2", "rubber", "plain3"), parts=3, up=(0, 1, 0))
    b.keep_out(cavity)
    return b.solid()


def rim_plate(rng: np.random.Generator) -> Solid:
    """A plate whose rim bears a pattern and whose middle a disk of another colour."""
    b = Assembly("rim_plate", POTTERY)
    top, h = rng.uniform([0.08, 0.014], [0.11, 0.022])
    b.vessel(
        np.array(
            [[0.58 * top, 0.0], [0.6 * top, 0.002], [0.68 * top, 0.5 * h], [0.9 * top, 0.8 * h], [top, h]]
        ),
        0.004,
        0.005,
        "plain",
    )
    b.repaint(disk(2 * top, -1, 1) - disk(0.78 * top, -2, 2), pick(rng, "print2", "plain2"))
    b.repaint(disk(rng.uniform(0.2, 0.5) * top, 0.003, 1), pick(rng, "plain3", "print3"))
    return b.solid()


def mortar(rng: np.random.Generator) -> Solid:
    """A thick bowl on a foot, its rim and foot of another stone."""
    b = Assembly("mortar", POTTERY)
    r, h = rng.uniform([0.045, 0.06], [0.06, 0.08])
    outline = smooth_profile([[0.62 * r, 0.0], [0.55 * r, 0.15 * h], [0.9 * r, 0.5 * h], [r, h]], 10)
    b.vessel(outline, 0.009, 0.02, "plain", rows=2)
    b.repaint(disk(2 * r, 0.88 * h, 1), pick(rng, "wood", "plain2"))
    b.repaint(disk(2 * r, -1, 0.15 * h), "plain2")
    return b.solid()


def funnel(rng: np.random.Generator) -> Solid:
    """A cone that narrows to a pipe, standing on its rim, with a tab of another colour."""
    b = Assembly("funnel", PLASTIC)
    r, h = rng.uniform([0.045, 0.05], [0.06, 0.07])
    outline = np.array([[r, 0.0], [r, 0.006], [0.25 * r, h], [0.2 * r, h + 0.002]])
    b.lathe(outline, "plain")
    b.part("spout")
    b.rod((0, 0, h - 0.004), (0, 0, 1.9 * h), 0.2 * r, pick(rng, "plain", "plain2"), 0.12 * r)
    b.repaint(disk(2 * r, 1.6 * h, 1), "plain2")
    b.part("limb")
    b.block((0.03, 0.014, 0.004), (r + 0.009, 0, 0.003), pick(rng, "plain2", "rubber"), 0.0015)
    return b.solid()


def ladle(rng: np.random.Generator) -> Solid:
    """A bowl at the end of a long bent stem with a grip."""
    b = Assembly("ladle", TOOL)
    r, length = rng.uniform([0.03, 0.13], [0.038, 0.16])
    b.part("head")
    angle = np.linspace(-1.35, -0.1, 9)
    cavity = b.vessel(
        r * np.column_stack([np.cos(angle), np.sin(angle) - np.sin(-1.35)]),
        0.002,
        0.003,
        pick(rng, "metal", "plain2"),
    )
    top = 0.85 * r
    b.part("shaft")
    start, middle = np.array([0.985 * r, 0, top]), np.array([r + 0.03, 0, top + 0.3 * length])
    end = np.array([r + 0.05, 0, top + length])
    b.tube([start - [0.001, 0, 0.006], middle, end], np.array([[0.006, 0.003]] * 3), "metal", up=(0, 1, 0))
    b.keep_out(cavity)
    b.part("grip")
    b.tube(
        [middle + 0.3 * (end - middle), end + 0.02 * (end - middle)],
        np.array([[0.01, 0.007]] * 2),
        pick(rng, "rubber", "wood", "plain3"),
        parts=1,
        up=(0, 1, 0),
    )
    return b.solid()


KITCHEN = (
    frying_pan, kettle, teapot, coffee_maker, thermos, cleaver, peeler, whisk, spatula, salt_mill,
    ice_cream_scoop, banded_mug, rim_plate, mortar, funnel, ladle,
)  # fmt: skip

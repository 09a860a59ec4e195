"""Procedural closed bodies of wide variety, to learn from what household things look like.

Everything is a manifold3d boolean of revolved, extruded and swept parts, so every body is closed by
construction.  Sizes are relative: a body is scaled once it is placed.  No shape is modelled on a
particular product or on any test mesh, and nothing is taken from the generators of the synthetic
scenes (`synthetic.household`, `synthetic.unseen`), which stay unseen: cups and pans occur here as
random families, with other outlines, walls and handles than there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from instascene_core.geometry import TriangleMesh
from instascene_core.synthetic.solids import mesh_of
from instascene_core.training.completion.solid_parts import (
    ball,
    box,
    curve,
    largest,
    manifold,
    revolved,
    rod,
    rounded_box,
    swept,
    turned,
    union,
    warped,
)  # fmt: skip

if TYPE_CHECKING:
    from manifold3d import Manifold as Body  # imported late where bodies are made


def make_shape(rng: np.random.Generator) -> tuple[str, TriangleMesh]:
    """A random body, about one unit long, in its upright pose; and its kind."""
    while True:
        kind = str(rng.choice(list(KINDS), p=_SHARES))
        body = KINDS[kind][1](rng)
        if rng.uniform() < 0.3:
            body = warped(rng, body)
        body = largest(body)
        if body is None:
            continue
        mesh = mesh_of(body)
        extent = np.ptp(mesh.vertices, axis=0)
        if extent.min() < 0.015 * extent.max() or len(mesh.triangles) < 4:
            continue
        vertices = (mesh.vertices - mesh.vertices.mean(axis=0)) / np.linalg.norm(extent)
        return kind, TriangleMesh(vertices, mesh.triangles)


def _boxes(rng) -> Body:
    size = np.exp(rng.uniform(np.log(0.12), 0, 3))
    if rng.uniform() < 0.45:
        return box(size)
    return rounded_box(size, rng.uniform(0.05, 0.5) * size.min())


def _rounds(rng) -> Body:
    """Cylinders, cones, balls, ellipsoids, lenses, rings."""
    kind = rng.integers(6)
    if kind <= 1:
        return rod(rng.uniform(0.15, 0.6), rng.uniform(0.1, 1.4))
    if kind == 2:
        return rod(rng.uniform(0.3, 0.6), rng.uniform(0.3, 1.2), rng.uniform(0.02, 0.3))
    if kind == 3:
        return ball(np.exp(rng.uniform(np.log(0.25), 0, 3)))
    if kind == 4:
        ring, tube = rng.uniform(0.4, 0.8), rng.uniform(0.05, 0.25)
        angle = np.arange(20) * 2 * np.pi / 20
        return revolved(np.stack([ring + tube * np.cos(angle), tube * np.sin(angle)], axis=1))
    return ball(rng.uniform(0.3, 0.6, 3)) ^ box(rng.uniform(0.4, 1.0, 3), rng.uniform(-0.1, 0.1, 3))


def _outline(rng) -> np.ndarray:
    """[K, 2] radius and height of a body of revolution's outer side, bottom to top."""
    count, height = 24, rng.uniform(0.5, 2.0)
    u = np.linspace(0, 1, count)
    kind = rng.integers(6)
    if kind == 0:  # bottle: body, shoulder, neck
        body, neck = rng.uniform(0.25, 0.45), rng.uniform(0.08, 0.18)
        start = rng.uniform(0.45, 0.75)
        radius = neck + (body - neck) / (1 + np.exp((u - start) * rng.uniform(12, 45)))
    elif kind == 1:  # bulb or pear
        radius = 0.12 + rng.uniform(0.2, 0.4) * np.sin(np.pi * np.clip(u, 0.05, 0.97)) ** rng.uniform(
            0.5, 1.6
        )
    elif kind == 2:  # straight or tapered
        radius = np.linspace(rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5), count)
    elif kind == 3:  # steps (lids, knobs, jars)
        levels = rng.uniform(0.12, 0.5, rng.integers(2, 5))
        radius = levels[np.minimum((u * len(levels)).astype(int), len(levels) - 1)]
    elif kind == 4:  # bowl-like
        radius = rng.uniform(0.1, 0.25) + rng.uniform(0.3, 0.6) * np.sqrt(np.clip(u, 0, 1))
        height *= rng.uniform(0.3, 0.7)
    else:
        radius = curve(rng, 0.08, 0.5, count, int(rng.integers(3, 7)))
    return np.stack([radius, u * height], axis=1)


def _lathe(rng) -> Body:
    outline = _outline(rng)
    return revolved(np.vstack([[0, 0], outline, [0, outline[-1, 1]]]))


def _wall(rng) -> float:
    """Thickness of a vessel's wall relative to its size: 1 % (sheet metal, glass) to 6 % (clay)."""
    return float(np.exp(rng.uniform(np.log(0.012), np.log(0.06))))


def _cup_body(rng, outline: np.ndarray, wall: float) -> tuple[Body, Body]:
    """The hollow body around an outline, and its cavity."""
    floor = wall * rng.uniform(0.8, 2.0)
    inner = np.stack([np.maximum(outline[:, 0] - wall, 0.005), outline[:, 1]], axis=1)
    inner = inner[inner[:, 1] > floor]
    start = [np.interp(floor, outline[:, 1], outline[:, 0]) - wall, floor]
    inner = np.vstack([[0, floor], np.maximum(start, [0.01, floor]), inner])
    top = outline[-1, 1]
    cavity = revolved(np.vstack([inner, [inner[-1, 0], top + 0.1], [0, top + 0.1]]))
    body = revolved(np.vstack([[0, 0], outline, [0, top]]))
    return body - cavity, cavity


def _handle(rng, outline: np.ndarray) -> Body:
    """A loop at the side of an outline."""
    height = outline[-1, 1]
    low, high = rng.uniform(0.1, 0.35) * height, rng.uniform(0.6, 0.93) * height
    reach = rng.uniform(0.15, 0.4)
    t = np.linspace(0, np.pi, 14)
    power = rng.uniform(0.4, 1.0)
    z = (low + high) / 2 - (high - low) / 2 * np.cos(t)
    r = np.interp(z, outline[:, 1], outline[:, 0]) - 0.01 + reach * np.sin(t) ** power
    r[[0, -1]] -= 0.03
    path = np.stack([r, np.zeros_like(r), z], axis=1)
    return swept(path, np.full(14, rng.uniform(0.025, 0.06)), rng.uniform(0.5, 1.8))


def _vessel(rng) -> Body:
    """Mugs, cups, bowls, jars, glasses, jugs: thin walls, open at the top."""
    outline = _outline(rng)
    size = float(np.hypot(2 * outline[:, 0].max(), outline[-1, 1]))
    wall = _wall(rng) * size
    outline[:, 0] = np.maximum(outline[:, 0], wall + 0.03)
    body, cavity = _cup_body(rng, outline, wall)
    extras = []
    if rng.uniform() < 0.5:
        extras.append(_handle(rng, outline))
        if rng.uniform() < 0.15:
            extras.append(_handle(rng, outline).rotate([0, 0, 180]))
    if rng.uniform() < 0.15:  # spout
        z = outline[-1, 1] * rng.uniform(0.2, 0.6)
        r = float(np.interp(z, outline[:, 1], outline[:, 0]))
        t = np.linspace(0, 1, 10)
        rise = outline[-1, 1] * rng.uniform(0.9, 1.1) - z
        path = np.stack([-(r - 0.05 + 0.4 * t), 0 * t, z + rise * t ** rng.uniform(1, 2)], axis=1)
        extras.append(swept(path, np.linspace(rng.uniform(0.06, 0.12), rng.uniform(0.03, 0.05), 10)))
    if rng.uniform() < 0.12:  # lid with a knob
        r, top = outline[-1, 0], outline[-1, 1]
        knob = ball(rng.uniform(0.05, 0.1), (0, 0, top + 0.1))
        lid = ball((r, r, rng.uniform(0.06, 0.2)), (0, 0, top)).trim_by_plane([0, 0, 1], top - 0.02)
        return union([body, lid, knob, *[e - cavity for e in extras]])
    return union([body, *[e - cavity for e in extras]])


def _stemware(rng) -> Body:
    """A bowl on a stem on a foot."""
    bowl = rng.uniform(0.25, 0.45)
    height, stem = rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.7)
    u = np.linspace(0, 1, 16)
    r = bowl * np.sin(np.pi * (0.06 + rng.uniform(0.4, 0.75) * u))
    outline = np.stack([np.maximum(r, 0.06), u * height], axis=1)
    body, _ = _cup_body(rng, outline, _wall(rng))
    foot = rod(rng.uniform(0.2, 0.36), 0.04, rng.uniform(0.03, 0.2)).translate([0, 0, -stem])
    between = rod(rng.uniform(0.025, 0.05), stem + 0.08).translate([0, 0, -stem / 2 + 0.02])
    return union([body, between, foot])


def _pan(rng) -> Body:
    """A shallow dish with one or two straight handles, or none."""
    radius, depth = rng.uniform(0.3, 0.6), rng.uniform(0.08, 0.35)
    flare = rng.uniform(0.75, 1.0)
    outline = np.stack([np.linspace(radius * flare, radius, 10), np.linspace(0, depth, 10)], axis=1)
    body, cavity = _cup_body(rng, outline, _wall(rng))
    length, parts = rng.uniform(0.4, 1.1), [body]
    for turn in range(int(rng.choice([0, 1, 1, 1, 2]))):
        reach = length if turn == 0 else 0.15
        t = np.linspace(0, 1, 8)
        rise = rng.uniform(-0.05, 0.2)
        path = np.stack([radius - 0.06 + (reach + 0.06) * t, 0 * t, 0.8 * depth + rise * t], axis=1)
        grip = swept(
            path, np.linspace(rng.uniform(0.03, 0.05), rng.uniform(0.03, 0.06), 8), rng.uniform(0.4, 1.5)
        )
        parts.append((grip - cavity).rotate([0, 0, 180.0 * turn]))
    return union(parts)


def _tray(rng) -> Body:
    """Open boxes: trays, drawers, crates, bins."""
    size = np.array([*rng.uniform(0.4, 1.0, 2), rng.uniform(0.12, 0.8)])
    wall = _wall(rng)
    outer = box(size) if rng.uniform() < 0.6 else rounded_box(size, rng.uniform(0.1, 0.4) * size.min())
    inner = box(size - [2 * wall, 2 * wall, 0], (0, 0, wall * rng.uniform(0.8, 1.8)))
    body = outer - inner
    if rng.uniform() < 0.3:  # partition
        body = union(
            [body, box((wall, size[1] - wall, size[2] * 0.8), (rng.uniform(-0.2, 0.2) * size[0], 0, 0))]
        )
    return body


def _csg(rng) -> Body:
    """Unions and differences of primitives: toys, devices, brackets."""
    body = _primitive(rng, 1.0)
    for _ in range(int(rng.integers(1, 6))):
        part = _primitive(rng, rng.uniform(0.3, 0.8)).translate(rng.uniform(-0.45, 0.45, 3).tolist())
        body = body + part if rng.uniform() < 0.65 else body - part
    return body


def _primitive(rng, scale: float) -> Body:
    choice = rng.integers(4)
    if choice == 0:
        body = box(rng.uniform(0.2, 1.0, 3))
    elif choice == 1:
        body = rounded_box(rng.uniform(0.25, 1.0, 3), rng.uniform(0.03, 0.12))
    elif choice == 2:
        body = rod(rng.uniform(0.1, 0.45), rng.uniform(0.2, 1.0), rng.uniform(0.1, 0.45))
    else:
        body = ball(rng.uniform(0.15, 0.5, 3), segments=24)
    body = turned(rng, body, 0.0 if rng.uniform() < 0.25 else 90.0)
    return body.scale([float(scale)] * 3)


def _tool(rng) -> Body:
    """A long handle with a head at one end, perhaps at both."""
    length, thick = rng.uniform(0.8, 1.6), rng.uniform(0.03, 0.09)
    t = np.linspace(-0.5, 0.5, 12)
    bow = rng.normal(0, 0.08) * (1 - 4 * t**2) if rng.uniform() < 0.5 else 0 * t
    radii = thick * curve(rng, 0.6, 1.3, 12, 4)
    parts = [swept(np.stack([length * t, 0 * t, bow], axis=1), radii, rng.uniform(0.35, 1.2))]
    for end in (1, -1)[: int(rng.integers(1, 3))]:
        head = _primitive(rng, rng.uniform(0.15, 0.5))
        if rng.uniform() < 0.4:
            head = head.scale([1.0, 1.0, float(rng.uniform(0.1, 0.4))])
        parts.append(head.translate([float(end * length * 0.5), 0.0, float(rng.normal(0, 0.02))]))
    return union(parts)


def _bent_tube(rng) -> Body:
    """Bananas, hooks, cables, pipes, frames."""
    count, knots = 24, int(rng.integers(3, 6))
    reach = rng.uniform(0.3, 0.9)
    path = np.stack([curve(rng, -reach, reach, count, knots) for _ in range(3)], axis=1)
    path[:, 0] = np.linspace(-1, 1, count)
    path[:, 2] *= rng.uniform(0, 0.5)
    thick = np.exp(rng.uniform(np.log(0.03), np.log(0.3)))
    ends = np.sqrt(np.clip(1 - np.abs(np.linspace(-1, 1, count)) ** rng.uniform(3, 12), 0.02, 1))
    return swept(path, thick * ends, rng.uniform(0.6, 1.3))


def _extrusion(rng) -> Body:
    """A random outline given a thickness: plates, prisms, letters, stars, brackets."""
    library = manifold()
    count = int(rng.integers(3, 12))
    angle = (
        np.sort(rng.uniform(0, 2 * np.pi, count))
        if rng.uniform() < 0.5
        else np.arange(count) * 2 * np.pi / count
    )
    radius = rng.uniform(rng.uniform(0.25, 0.6), 0.6, count)
    outline = np.stack([radius * np.cos(angle) * rng.uniform(0.5, 1.5), radius * np.sin(angle)], axis=1)
    section = library.CrossSection([outline])
    if rng.uniform() < 0.6:
        soft = rng.uniform(0.02, 0.1)
        section = section.offset(-soft, library.JoinType.Round).offset(2 * soft, library.JoinType.Round)
    if rng.uniform() < 0.3:
        for _ in range(int(rng.integers(1, 3))):
            at = rng.uniform(-0.25, 0.25, 2).tolist()
            section = section - library.CrossSection.circle(rng.uniform(0.06, 0.18)).translate(at)
    if section.area() < 0.02:
        return _boxes(rng)
    height = float(np.exp(rng.uniform(np.log(0.05), np.log(1.2))))
    twist = float(rng.normal(0, 30)) if rng.uniform() < 0.25 else 0.0
    top = float(rng.uniform(0.5, 1.1)) if rng.uniform() < 0.3 else 1.0
    return section.extrude(height, 8 if twist else 1, twist, (top, top))


def _blob(rng) -> Body:
    """Soft convex lumps and unions of them: fruit, animals, mice, handsets."""
    if rng.uniform() < 0.4:
        return manifold().Manifold.batch_hull(
            [
                ball(rng.uniform(0.1, 0.35), rng.uniform(-0.4, 0.4, 3), 20)
                for _ in range(int(rng.integers(2, 6)))
            ]
        )
    body = ball(rng.uniform(0.3, 0.5, 3))
    for _ in range(int(rng.integers(1, 7))):
        out = rng.normal(size=3)
        out /= np.linalg.norm(out)
        body = body + ball(rng.uniform(0.07, 0.3, 3), 0.42 * out, 20)
    return body


def _device(rng) -> Body:
    """Boxy bodies with rounded corners, feet, knobs, bays and displays."""
    size = np.array([rng.uniform(0.5, 1), rng.uniform(0.3, 0.8), rng.uniform(0.12, 0.7)])
    body = rounded_box(size, rng.uniform(0.05, 0.35) * size.min())
    for _ in range(int(rng.integers(1, 5))):
        side = np.eye(3)[rng.integers(3)] * rng.choice([-1, 1])
        place = (rng.uniform(-0.3, 0.3, 3) * (1 - np.abs(side)) + 0.5 * side) * size
        part = _primitive(rng, rng.uniform(0.1, 0.35)).translate(place.tolist())
        body = body + part if rng.uniform() < 0.6 else body - part
    return body


KINDS: dict[str, tuple[float, Callable[[np.random.Generator], Body]]] = {
    "vessel": (0.25, _vessel),
    "stemware": (0.04, _stemware),
    "pan": (0.06, _pan),
    "tray": (0.04, _tray),
    "box": (0.12, _boxes),
    "round": (0.09, _rounds),
    "lathe": (0.10, _lathe),
    "csg": (0.08, _csg),
    "device": (0.07, _device),
    "tool": (0.08, _tool),
    "tube": (0.05, _bent_tube),
    "extrusion": (0.06, _extrusion),
    "blob": (0.06, _blob),
}
_SHARES = np.array([share for share, _ in KINDS.values()])
_SHARES = _SHARES / _SHARES.sum()
HOLLOW = ("vessel", "stemware", "pan", "tray")

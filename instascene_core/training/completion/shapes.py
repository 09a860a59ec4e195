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

if TYPE_CHECKING:
    from manifold3d import Manifold as Body  # imported late where bodies are made


def make_shape(rng: np.random.Generator) -> tuple[str, TriangleMesh]:
    """A random body, about one unit long, in its upright pose; and its kind."""
    while True:
        kind = str(rng.choice(list(KINDS), p=_SHARES))
        body = KINDS[kind][1](rng)
        if rng.uniform() < 0.3:
            body = _warped(rng, body)
        body = _largest(body)
        if body is None:
            continue
        mesh = mesh_of(body)
        extent = np.ptp(mesh.vertices, axis=0)
        if extent.min() < 0.015 * extent.max() or len(mesh.triangles) < 4:
            continue
        vertices = (mesh.vertices - mesh.vertices.mean(axis=0)) / np.linalg.norm(extent)
        return kind, TriangleMesh(vertices, mesh.triangles)


# --- parts ---


def _manifold():
    import manifold3d

    return manifold3d


def _box(size, center=(0.0, 0.0, 0.0)) -> Body:
    return _manifold().Manifold.cube([float(s) for s in size], True).translate([float(c) for c in center])


def _ball(radii, center=(0.0, 0.0, 0.0), segments: int = 32) -> Body:
    radii = np.broadcast_to(np.asarray(radii, dtype=float), 3)
    return (
        _manifold().Manifold.sphere(1.0, segments).scale(radii.tolist()).translate([float(c) for c in center])
    )


def _rod(radius: float, height: float, top: float | None = None, segments: int = 40) -> Body:
    """Cylinder or cone around z, centred."""
    return _manifold().Manifold.cylinder(height, radius, radius if top is None else top, segments, True)


def _revolved(profile: np.ndarray, segments: int = 48) -> Body:
    """Body of revolution around z of a closed outline [K, 2] (radius ≥ 0, height)."""
    outline = np.asarray(profile, dtype=float)
    signed = np.sum(outline[:, 0] * np.roll(outline[:, 1], -1) - np.roll(outline[:, 0], -1) * outline[:, 1])
    return _manifold().CrossSection([outline if signed > 0 else outline[::-1]]).revolve(segments)


def _rounded_box(size, radius: float) -> Body:
    inner = np.maximum(np.asarray(size) / 2 - radius, 1e-3)
    corners = [
        _ball(radius, inner * np.array(s), 16) for s in np.ndindex(2, 2, 2) for s in [2 * np.array(s) - 1]
    ]
    return _manifold().Manifold.batch_hull(corners)


def _swept(path: np.ndarray, radii: np.ndarray, flat: float = 1.0, segments: int = 14) -> Body:
    """Tube along a path [N, 3] with radii [N]; `flat` squeezes its section."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    reference = np.eye(3)[np.argmin(np.abs(tangent).max(axis=0))]
    side = np.cross(tangent, reference)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    other = np.cross(tangent, side)
    angle = np.arange(segments) * 2 * np.pi / segments
    ring = np.cos(angle)[None, :, None] * side[:, None] + flat * np.sin(angle)[None, :, None] * other[:, None]
    points = (path[:, None] + radii[:, None, None] * ring).reshape(-1, 3)
    count = len(path)
    i, j = np.meshgrid(np.arange(count - 1), np.arange(segments), indexing="ij")
    a, b = i * segments + j, i * segments + (j + 1) % segments
    faces = [np.stack([a, b, a + segments], -1), np.stack([b, b + segments, a + segments], -1)]
    faces = [f.reshape(-1, 3) for f in faces]
    fan = np.arange(1, segments - 1)
    faces.append(np.stack([np.zeros_like(fan), fan + 1, fan], -1))
    faces.append(np.stack([np.zeros_like(fan), fan, fan + 1], -1) + (count - 1) * segments)
    triangles = np.concatenate(faces).astype(np.uint32)
    manifold = _manifold()
    body = manifold.Manifold(manifold.Mesh(points.astype(np.float32), triangles))
    return body if body.volume() > 0 else manifold.Manifold(
        manifold.Mesh(points.astype(np.float32), triangles[:, ::-1].copy())
    )  # fmt: skip


def _curve(rng, low: float, high: float, count: int, knots: int) -> np.ndarray:
    """[count] smooth random values in [low, high]."""
    from scipy.interpolate import PchipInterpolator

    values = rng.uniform(low, high, knots)
    return PchipInterpolator(np.linspace(0, 1, knots), values)(np.linspace(0, 1, count))


def _turned(rng, body: Body, steps: float = 90.0) -> Body:
    """Turned by random multiples of 90° or, with steps = 0, freely."""
    angles = rng.integers(0, 4, 3) * steps if steps else rng.uniform(0, 360, 3)
    return body.rotate([float(a) for a in angles])


def _union(parts) -> Body:
    manifold = _manifold()
    return manifold.Manifold.batch_boolean(list(parts), manifold.OpType.Add)


def _largest(body: Body) -> Body | None:
    pieces = body.decompose()
    if not pieces:
        return None
    best = max(pieces, key=lambda piece: piece.volume())
    return best if best.volume() > 1e-6 and best.volume() > 0.6 * sum(p.volume() for p in pieces) else None


def _warped(rng, body: Body) -> Body:
    """Scaled unevenly, tapered, twisted or bent."""
    size = np.ptp(mesh_of(body).vertices, axis=0).max() + 1e-9
    scale = np.exp(rng.normal(0, 0.2, 3))
    taper, twist, bend = rng.normal(0, 0.15), rng.normal(0, 0.6), rng.normal(0, 0.5)
    mode = rng.integers(3)

    def move(points: np.ndarray) -> np.ndarray:
        p = np.array(points) / size * scale
        x, y, z = p.T
        if mode == 0:
            grow = 1 + taper * np.clip(z, -1, 1)
            x, y = x * grow, y * grow
        elif mode == 1:
            c, s = np.cos(twist * z), np.sin(twist * z)
            x, y = c * x - s * y, s * x + c * y
        else:
            z = z + 0.3 * bend * x * x
        return np.stack([x, y, z], axis=1) * size

    return body.refine_to_length(float(size / 12)).warp_batch(move)


# --- kinds ---


def _boxes(rng) -> Body:
    size = np.exp(rng.uniform(np.log(0.12), 0, 3))
    if rng.uniform() < 0.45:
        return _box(size)
    return _rounded_box(size, rng.uniform(0.05, 0.5) * size.min())


def _rounds(rng) -> Body:
    """Cylinders, cones, balls, ellipsoids, lenses, rings."""
    kind = rng.integers(6)
    if kind <= 1:
        return _rod(rng.uniform(0.15, 0.6), rng.uniform(0.1, 1.4))
    if kind == 2:
        return _rod(rng.uniform(0.3, 0.6), rng.uniform(0.3, 1.2), rng.uniform(0.02, 0.3))
    if kind == 3:
        return _ball(np.exp(rng.uniform(np.log(0.25), 0, 3)))
    if kind == 4:
        ring, tube = rng.uniform(0.4, 0.8), rng.uniform(0.05, 0.25)
        angle = np.arange(20) * 2 * np.pi / 20
        return _revolved(np.stack([ring + tube * np.cos(angle), tube * np.sin(angle)], axis=1))
    return _ball(rng.uniform(0.3, 0.6, 3)) ^ _box(rng.uniform(0.4, 1.0, 3), rng.uniform(-0.1, 0.1, 3))


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
        radius = _curve(rng, 0.08, 0.5, count, int(rng.integers(3, 7)))
    return np.stack([radius, u * height], axis=1)


def _lathe(rng) -> Body:
    outline = _outline(rng)
    return _revolved(np.vstack([[0, 0], outline, [0, outline[-1, 1]]]))


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
    cavity = _revolved(np.vstack([inner, [inner[-1, 0], top + 0.1], [0, top + 0.1]]))
    body = _revolved(np.vstack([[0, 0], outline, [0, top]]))
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
    return _swept(path, np.full(14, rng.uniform(0.025, 0.06)), rng.uniform(0.5, 1.8))


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
        extras.append(_swept(path, np.linspace(rng.uniform(0.06, 0.12), rng.uniform(0.03, 0.05), 10)))
    if rng.uniform() < 0.12:  # lid with a knob
        r, top = outline[-1, 0], outline[-1, 1]
        knob = _ball(rng.uniform(0.05, 0.1), (0, 0, top + 0.1))
        lid = _ball((r, r, rng.uniform(0.06, 0.2)), (0, 0, top)).trim_by_plane([0, 0, 1], top - 0.02)
        return _union([body, lid, knob, *[e - cavity for e in extras]])
    return _union([body, *[e - cavity for e in extras]])


def _stemware(rng) -> Body:
    """A bowl on a stem on a foot."""
    bowl = rng.uniform(0.25, 0.45)
    height, stem = rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.7)
    u = np.linspace(0, 1, 16)
    r = bowl * np.sin(np.pi * (0.06 + rng.uniform(0.4, 0.75) * u))
    outline = np.stack([np.maximum(r, 0.06), u * height], axis=1)
    body, _ = _cup_body(rng, outline, _wall(rng))
    foot = _rod(rng.uniform(0.2, 0.36), 0.04, rng.uniform(0.03, 0.2)).translate([0, 0, -stem])
    rod = _rod(rng.uniform(0.025, 0.05), stem + 0.08).translate([0, 0, -stem / 2 + 0.02])
    return _union([body, rod, foot])


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
        grip = _swept(
            path, np.linspace(rng.uniform(0.03, 0.05), rng.uniform(0.03, 0.06), 8), rng.uniform(0.4, 1.5)
        )
        parts.append((grip - cavity).rotate([0, 0, 180.0 * turn]))
    return _union(parts)


def _tray(rng) -> Body:
    """Open boxes: trays, drawers, crates, bins."""
    size = np.array([*rng.uniform(0.4, 1.0, 2), rng.uniform(0.12, 0.8)])
    wall = _wall(rng)
    outer = _box(size) if rng.uniform() < 0.6 else _rounded_box(size, rng.uniform(0.1, 0.4) * size.min())
    inner = _box(size - [2 * wall, 2 * wall, 0], (0, 0, wall * rng.uniform(0.8, 1.8)))
    body = outer - inner
    if rng.uniform() < 0.3:  # partition
        body = _union(
            [body, _box((wall, size[1] - wall, size[2] * 0.8), (rng.uniform(-0.2, 0.2) * size[0], 0, 0))]
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
        body = _box(rng.uniform(0.2, 1.0, 3))
    elif choice == 1:
        body = _rounded_box(rng.uniform(0.25, 1.0, 3), rng.uniform(0.03, 0.12))
    elif choice == 2:
        body = _rod(rng.uniform(0.1, 0.45), rng.uniform(0.2, 1.0), rng.uniform(0.1, 0.45))
    else:
        body = _ball(rng.uniform(0.15, 0.5, 3), segments=24)
    body = _turned(rng, body, 0.0 if rng.uniform() < 0.25 else 90.0)
    return body.scale([float(scale)] * 3)


def _tool(rng) -> Body:
    """A long handle with a head at one end, perhaps at both."""
    length, thick = rng.uniform(0.8, 1.6), rng.uniform(0.03, 0.09)
    t = np.linspace(-0.5, 0.5, 12)
    bow = rng.normal(0, 0.08) * (1 - 4 * t**2) if rng.uniform() < 0.5 else 0 * t
    radii = thick * _curve(rng, 0.6, 1.3, 12, 4)
    parts = [_swept(np.stack([length * t, 0 * t, bow], axis=1), radii, rng.uniform(0.35, 1.2))]
    for end in (1, -1)[: int(rng.integers(1, 3))]:
        head = _primitive(rng, rng.uniform(0.15, 0.5))
        if rng.uniform() < 0.4:
            head = head.scale([1.0, 1.0, float(rng.uniform(0.1, 0.4))])
        parts.append(head.translate([float(end * length * 0.5), 0.0, float(rng.normal(0, 0.02))]))
    return _union(parts)


def _bent_tube(rng) -> Body:
    """Bananas, hooks, cables, pipes, frames."""
    count, knots = 24, int(rng.integers(3, 6))
    reach = rng.uniform(0.3, 0.9)
    path = np.stack([_curve(rng, -reach, reach, count, knots) for _ in range(3)], axis=1)
    path[:, 0] = np.linspace(-1, 1, count)
    path[:, 2] *= rng.uniform(0, 0.5)
    thick = np.exp(rng.uniform(np.log(0.03), np.log(0.3)))
    ends = np.sqrt(np.clip(1 - np.abs(np.linspace(-1, 1, count)) ** rng.uniform(3, 12), 0.02, 1))
    return _swept(path, thick * ends, rng.uniform(0.6, 1.3))


def _extrusion(rng) -> Body:
    """A random outline given a thickness: plates, prisms, letters, stars, brackets."""
    manifold = _manifold()
    count = int(rng.integers(3, 12))
    angle = (
        np.sort(rng.uniform(0, 2 * np.pi, count))
        if rng.uniform() < 0.5
        else np.arange(count) * 2 * np.pi / count
    )
    radius = rng.uniform(rng.uniform(0.25, 0.6), 0.6, count)
    outline = np.stack([radius * np.cos(angle) * rng.uniform(0.5, 1.5), radius * np.sin(angle)], axis=1)
    section = manifold.CrossSection([outline])
    if rng.uniform() < 0.6:
        soft = rng.uniform(0.02, 0.1)
        section = section.offset(-soft, manifold.JoinType.Round).offset(2 * soft, manifold.JoinType.Round)
    if rng.uniform() < 0.3:
        for _ in range(int(rng.integers(1, 3))):
            at = rng.uniform(-0.25, 0.25, 2).tolist()
            section = section - manifold.CrossSection.circle(rng.uniform(0.06, 0.18)).translate(at)
    if section.area() < 0.02:
        return _boxes(rng)
    height = float(np.exp(rng.uniform(np.log(0.05), np.log(1.2))))
    twist = float(rng.normal(0, 30)) if rng.uniform() < 0.25 else 0.0
    top = float(rng.uniform(0.5, 1.1)) if rng.uniform() < 0.3 else 1.0
    return section.extrude(height, 8 if twist else 1, twist, (top, top))


def _blob(rng) -> Body:
    """Soft convex lumps and unions of them: fruit, animals, mice, handsets."""
    if rng.uniform() < 0.4:
        return _manifold().Manifold.batch_hull(
            [
                _ball(rng.uniform(0.1, 0.35), rng.uniform(-0.4, 0.4, 3), 20)
                for _ in range(int(rng.integers(2, 6)))
            ]
        )
    body = _ball(rng.uniform(0.3, 0.5, 3))
    for _ in range(int(rng.integers(1, 7))):
        out = rng.normal(size=3)
        out /= np.linalg.norm(out)
        body = body + _ball(rng.uniform(0.07, 0.3, 3), 0.42 * out, 20)
    return body


def _device(rng) -> Body:
    """Boxy bodies with rounded corners, feet, knobs, bays and displays."""
    size = np.array([rng.uniform(0.5, 1), rng.uniform(0.3, 0.8), rng.uniform(0.12, 0.7)])
    body = _rounded_box(size, rng.uniform(0.05, 0.35) * size.min())
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

"""Colours of procedural objects: prints, labels, wood, glaze, fabric, plain colours, two materials, light.

A paint is evaluated at surface points of an object resting on z = 0 and centred there, so that its detail
does not depend on the mesh.  Prints of `HELD_OUT_PRINTS` are left to the validation and the benchmark.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from instascene_core.synthetic import textures
from instascene_core.synthetic.textures import Texture

HELD_OUT_PRINTS = ("marble", "checker")
PRINTS = {style.__name__: style for style in textures.STYLES}
MATERIALS = {"wood": textures.wood, "cloth": textures.cloth, "terrazzo": textures.terrazzo}
KINDS = {"plain": 0.2, "print": 0.27, "material": 0.15, "label": 0.18, "two": 0.2}

Layer = Callable[[np.ndarray, np.ndarray], np.ndarray]  # points, normals [N, 3] → colours [N, 3] in [0, 1]


@dataclass(frozen=True)
class Paint:
    """The colour of every place of one object, before light falls on it."""

    kind: str
    base: Layer
    cover: Layer | None = None  # a label or a second material ...
    covered: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None  # ... and where it is, [N] bool
    gloss: float = 0.0  # share of light reflected as by a mirror

    def colors(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """[N, 3] float32 at surface points with unit normals [N, 3], object frame."""
        colors = self.base(points, normals)
        if self.cover is None or self.covered is None:
            return colors
        return np.where(self.covered(points, normals)[:, None], self.cover(points, normals), colors)


def make_paint(rng: np.random.Generator, extent: np.ndarray, pixel: float, held_out: bool = False) -> Paint:
    """A random paint for an object of `extent` [3] metres that is seen in pixels of `pixel` metres.

    held_out: with a print of those that the training does not see.
    """
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if held_out and kind in ("plain", "material"):
        kind = "print"
    make = _Maker(rng, extent, pixel, held_out)
    gloss = float(rng.uniform(0.05, 0.4)) if rng.uniform() < 0.35 else 0.0
    if kind == "plain":
        return Paint(kind, make.plain(), gloss=gloss)
    if kind == "print":
        return Paint(kind, make.printed(), gloss=gloss)
    if kind == "material":
        return Paint(kind, make.material())
    if kind == "label":
        base = make.plain() if rng.uniform() < 0.75 else make.material()
        return Paint(kind, base, make.printed(), make.label_area(), gloss)
    layers = [make.plain() if rng.uniform() < 0.6 else make.material() for _ in range(2)]
    if held_out:
        layers[1] = make.printed()
    return Paint(kind, layers[0], layers[1], make.part(), gloss)


class _Maker:
    """Draws layers and areas for one object."""

    def __init__(self, rng: np.random.Generator, extent: np.ndarray, pixel: float, held_out: bool) -> None:
        self.rng, self.extent, self.pixel, self.held_out = rng, extent, pixel, held_out
        self.size = float(np.linalg.norm(extent))

    def plain(self) -> Layer:
        rng = self.rng
        color = textures.hsv(rng.uniform(), rng.uniform(0, 0.9) ** 1.5, rng.uniform(0.12, 0.95))
        return lambda points, normals: np.broadcast_to(color, points.shape).astype(np.float32)

    def printed(self) -> Layer:
        """A print around the object or on its sides; of half of them, both halves are mirror images."""
        rng = self.rng
        names = [name for name in PRINTS if (name in HELD_OUT_PRINTS) == self.held_out]
        image = PRINTS[str(rng.choice(names))](rng, textures.random_palette(rng))
        image = np.clip(image + 0.03 * textures.noise(rng, 3.0)[..., None], 0.02, 0.98)
        return self._wrapped(image.astype(np.float32), self.size * float(np.exp(rng.uniform(-0.6, 1.2))))

    def material(self) -> Layer:
        rng = self.rng
        name = str(rng.choice(list(MATERIALS)))
        hue = rng.uniform(0.05, 0.12) if name == "wood" else rng.uniform()
        base = textures.hsv(hue, rng.uniform(0.1, 0.65), rng.uniform(0.3, 0.85))
        image = np.clip(MATERIALS[name](rng, base), 0.02, 0.98).astype(np.float32)
        return self._wrapped(image, self.size * float(np.exp(rng.uniform(-0.6, 0.7))))

    def _wrapped(self, image: np.ndarray, period: float) -> Layer:
        """An image [S, S, 3] that repeats every `period` metres, shrunk to the pixels that see it."""
        import cv2

        rng = self.rng
        around = rng.uniform() < 0.5
        radius = 0.25 * float(self.extent[0] + self.extent[1])
        if around:  # a whole number of repetitions
            period = 2 * np.pi * radius / max(1, round(2 * np.pi * radius / period))
        side = image.shape[0]
        while side > 16 and period / side < 0.4 * self.pixel:
            side //= 2
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        shift = np.array([*rng.uniform(0, period, 2) * (not around), rng.uniform(0, period)])
        texture = Texture(small, period / side, "cylinder" if around else "box", radius)
        mirrored = (rng.uniform(size=2) < 0.3) & (not around)

        def layer(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
            moved = points.copy()
            moved[:, :2] = np.where(mirrored, np.abs(moved[:, :2]), moved[:, :2])
            return texture.sample(moved + shift, normals)

        return layer

    def label_area(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """A band around the object, or a patch of it, or of both opposite sides."""
        rng, height = self.rng, float(self.extent[2])
        low = height * rng.uniform(0.05, 0.5)
        high = low + height * rng.uniform(0.2, 0.6)
        middle, half = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.0)
        whole, both = rng.uniform() < 0.4, rng.uniform() < 0.5

        def area(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
            inside = (points[:, 2] > low) & (points[:, 2] < high) & (np.abs(normals[:, 2]) < 0.8)
            if whole:
                return inside
            angle = np.arctan2(points[:, 1], points[:, 0]) - middle
            period = np.pi if both else 2 * np.pi
            return inside & (np.abs((angle + period / 2) % period - period / 2) < half)

        return area

    def part(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Where the second material is: above a height, outside a radius, on one side, on what faces up, or
        inside a block."""
        rng, extent = self.rng, self.extent
        kind = rng.integers(5)
        height, radius = extent[2] * rng.uniform(0.2, 0.8), 0.5 * extent[:2].max() * rng.uniform(0.4, 0.9)
        angle = rng.integers(4) * np.pi / 2
        direction, offset = np.array([np.cos(angle), np.sin(angle)]), 0.25 * extent[0] * rng.normal()
        corner, size = rng.uniform(-0.4, 0.2, 3) * extent, rng.uniform(0.3, 0.8, 3) * extent
        corner[2] += 0.4 * extent[2]
        tests = (
            lambda p, n: p[:, 2] > height,
            lambda p, n: np.hypot(p[:, 0], p[:, 1]) > radius,
            lambda p, n: p[:, :2] @ direction > offset,
            lambda p, n: n[:, 2] > 0.7,
            lambda p, n: ((p > corner) & (p < corner + size)).all(axis=1),
        )
        return tests[kind]


@dataclass(frozen=True)
class Light:
    """Ambient light, a few lamps, and how a camera renders them."""

    ambient: np.ndarray  # [3]
    directions: np.ndarray  # [L, 3] unit, toward the lamps
    strengths: np.ndarray  # [L, 3]
    shade_below: float  # share of the light lost near the support
    gamma: float

    @staticmethod
    def draw(rng: np.random.Generator) -> "Light":
        count = int(rng.integers(1, 4))
        directions = rng.normal(size=(count, 3))
        directions[:, 2] = np.abs(directions[:, 2]) + 0.2
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        ambient = float(rng.uniform(0.35, 0.85))
        tint = 1 + rng.normal(0, 0.04, (count + 1, 3))
        strengths = (1 - ambient) * rng.dirichlet(np.ones(count))[:, None] * 1.5 * tint[1:]
        shade = float(rng.uniform(0, 0.4)) if rng.uniform() < 0.6 else 0.0
        return Light(ambient * tint[0], directions, strengths, shade, float(np.exp(rng.normal(0, 0.15))))

    def lit(
        self, colors: np.ndarray, points: np.ndarray, normals: np.ndarray, toward: np.ndarray, gloss: float,
        size: float,
    ) -> np.ndarray:  # fmt: skip
        """Colours [N, 3] as seen in this light; toward: [N, 3] unit, to the camera; size: metres."""
        cosine = np.clip(normals @ self.directions.T, 0, 1)
        light = self.ambient + cosine @ self.strengths
        if self.shade_below:
            light = light * (1 - self.shade_below * np.exp(-points[:, 2:] / (0.08 * size)))
        seen = colors * light
        if gloss:
            for direction, strength in zip(self.directions, self.strengths):
                half = toward + direction
                half /= np.linalg.norm(half, axis=1, keepdims=True)
                shine = np.clip((half * normals).sum(axis=1), 0, 1) ** 40
                seen = seen + gloss * shine[:, None] * strength
        return np.clip(seen, 0, 1) ** self.gamma

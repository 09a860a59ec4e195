"""Print-like textures, drawn once as an image and wrapped around a thing analytically.

A texture is evaluated at exact surface points (no per-vertex colours, no UV atlas), so its detail
does not depend on the mesh.  Every style carries fine structure of several millimetres, which
feature matching in RGB-only reconstruction needs.
"""

from dataclasses import dataclass

import numpy as np

TEXEL = 0.0005  # metres
SIZE = 512  # texels: the image repeats every 25.6 cm


@dataclass(frozen=True)
class Texture:
    """A tileable image and how it wraps around an object."""

    image: np.ndarray  # [S, S, 3] float32 in [0, 1]; periodic in both directions
    texel: float  # metres
    mapping: str  # "cylinder" around z, or "box": projected along the normal's main axis
    wrap_radius: float = 0.0  # metres of radius at which a cylinder's print has its true scale

    def sample(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Colours [N, 3] float32 at surface points [N, 3] with unit normals [N, 3], object frame."""
        import cv2

        u, v = self._coordinates(points, normals)
        size = self.image.shape[0]
        # cv2.remap wants a 2D map with sides below 32768.
        width = 4096
        rows = -(-len(u) // width)
        maps = np.zeros((2, rows * width), dtype=np.float32)
        maps[0, : len(u)], maps[1, : len(u)] = np.mod(u / self.texel, size), np.mod(v / self.texel, size)
        maps = maps.reshape(2, rows, width)
        colors = cv2.remap(self.image, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return colors.reshape(-1, 3)[: len(u)]

    def _coordinates(self, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Texture coordinates u, v [N] in metres."""
        axis = np.abs(normals).argmax(axis=1)
        u = np.where(axis == 0, points[:, 1], points[:, 0])
        v = np.where(axis == 2, points[:, 1], points[:, 2])
        # The six sides of a carton show different parts of the print.
        side = axis * 2 + (np.take_along_axis(normals, axis[:, None], axis=1)[:, 0] > 0)
        if self.mapping == "cylinder":
            around = axis != 2
            u = np.where(around, np.arctan2(points[:, 1], points[:, 0]) * self.wrap_radius, u)
            side = np.where(around, 0, side)
        return u + 0.083 * side, v + 0.047 * side


def object_texture(
    rng: np.random.Generator, mapping: str, wrap_radius: float, plain: bool = False
) -> Texture:
    """A random print for one object, or one plain colour with hardly visible mottling."""
    style = STYLES[rng.integers(len(STYLES))]
    palette = random_palette(rng)
    if plain:
        image = np.clip(palette[0] * (1 + 0.01 * noise(rng, 6.0))[..., None], 0.02, 0.98)
        return Texture(image.astype(np.float32), TEXEL, mapping, wrap_radius)
    return Texture(finish(style(rng, palette), rng), TEXEL, mapping, wrap_radius)


def surface_texture(rng: np.random.Generator, texel: float) -> Texture:
    """Wood, cloth or terrazzo for a table, floor or wall; coarser where `texel` (metres) is."""
    style = (wood, cloth, terrazzo)[rng.integers(3)]
    hue = rng.uniform(0.05, 0.14) if rng.uniform() < 0.7 else rng.uniform()
    base = hsv(hue, rng.uniform(0.08, 0.4), rng.uniform(0.5, 0.8))
    return Texture(finish(style(rng, base), rng), texel, "box")


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    import colorsys

    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), dtype=np.float32)


def random_palette(rng: np.random.Generator) -> np.ndarray:
    """[5, 3] colours of one print: base, complement, accent, light, dark."""
    hue, saturation = rng.uniform(), rng.uniform(0.25, 0.85)
    return np.stack(
        [
            hsv(hue, saturation, rng.uniform(0.55, 0.95)),
            hsv(hue + rng.uniform(0.3, 0.7), saturation, rng.uniform(0.4, 0.9)),
            hsv(hue + rng.uniform(-0.12, 0.12), 0.9 * saturation, rng.uniform(0.3, 0.7)),
            hsv(hue, 0.08, 0.95),
            hsv(hue, 0.3, 0.15),
        ]
    )


def blur(image: np.ndarray, sigma: float | tuple[float, float]) -> np.ndarray:
    """A periodic image [S, S(, C)] float32 smoothed by a Gaussian of `sigma` texels (rows, columns)."""
    from scipy.fft import irfft2, rfft2

    sigma_v, sigma_u = np.broadcast_to(sigma, 2)
    falloff = np.exp(-2 * (np.pi * sigma_v * np.fft.fftfreq(SIZE)) ** 2)[:, None]
    falloff = falloff * np.exp(-2 * (np.pi * sigma_u * np.fft.rfftfreq(SIZE)) ** 2)
    planes = np.moveaxis(image.reshape(SIZE, SIZE, -1).astype(np.float32), 2, 0)
    smooth = np.asarray(irfft2(rfft2(planes) * falloff.astype(np.float32), s=(SIZE, SIZE)))
    return np.ascontiguousarray(np.moveaxis(smooth, 0, 2)).reshape(image.shape)


def noise(rng: np.random.Generator, sigma: float | tuple[float, float]) -> np.ndarray:
    """[S, S] periodic Gaussian noise of unit variance, smooth over `sigma` texels."""
    field = blur(rng.standard_normal((SIZE, SIZE), dtype=np.float32), sigma)
    return (field - field.mean()) / field.std()


def finish(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add fine speckle, soften to what a print resolves (about 1 mm), clip to [0.02, 0.98]."""
    image = blur(image, 1.5)
    speckle = rng.uniform(0.03, 0.06) * noise(rng, 2.5) + rng.uniform(0.02, 0.05) * noise(rng, 8.0)
    return np.clip(image + speckle[..., None], 0.02, 0.98).astype(np.float32)


def blocks(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    """A package: colour fields, disks and rows of letters."""
    import cv2

    colors = [[int(255 * c) for c in color] for color in palette]  # cv2 writes text on uint8 only
    image = np.full((SIZE, SIZE, 3), colors[0], dtype=np.uint8)
    for _ in range(rng.integers(8, 16)):
        x, y = (int(c) for c in rng.integers(0, SIZE, 2))
        w, h = (int(c) for c in rng.integers(30, 160, 2))
        color = colors[rng.integers(1, 5)]
        if rng.uniform() < 0.6:
            cv2.rectangle(image, (x, y), (x + w, y + h), color, -1)
        else:
            cv2.circle(image, (x, y), min(w, h) // 2, color, -1)
    letters = np.array(list("ABCDEFGHKLMNPRSTUVXYZ0123456789&%"))
    for _ in range(rng.integers(14, 24)):
        text = "".join(rng.choice(letters, rng.integers(3, 9)))
        at = (int(rng.integers(-20, SIZE - 60)), int(rng.integers(15, SIZE)))
        color = colors[rng.integers(3, 5)]
        scale, thick = float(rng.uniform(0.6, 1.8)), int(rng.integers(2, 5))
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thick)
    return image.astype(np.float32) / 255


def stripes(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    """Bands of random width, some cut into dashes."""
    image = np.empty((SIZE, SIZE, 3), dtype=np.float32)
    row = 0
    while row < SIZE:
        width = int(rng.integers(8, 50))
        image[row : row + width] = palette[rng.integers(5)]
        if rng.uniform() < 0.5:
            period, phase = int(rng.choice([16, 32, 64])), int(rng.integers(64))
            dashes = (np.arange(SIZE) + phase) % period < period // 2
            image[row : row + width, dashes] = palette[rng.integers(5)]
        row += width
    return image if rng.uniform() < 0.6 else image.transpose(1, 0, 2)


def marble(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    """Smooth fields of three colours with veins."""
    field = noise(rng, rng.uniform(10, 30)) + 0.5 * noise(rng, 5.0)
    detail = noise(rng, rng.uniform(6, 12))
    mix = 1 / (1 + np.exp(-2.5 * field))[..., None]
    image = palette[0] * mix + palette[1] * (1 - mix)
    return np.where(np.abs(detail)[..., None] < 0.18, palette[4], image).astype(np.float32)


def gradient(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    """A slow gradient with scattered dots and rings."""
    import cv2

    phase = np.linspace(0, 2 * np.pi, SIZE, endpoint=False)
    mix = (0.5 + 0.5 * np.sin(phase))[:, None, None]
    image = np.broadcast_to(palette[0] * mix + palette[2] * (1 - mix), (SIZE, SIZE, 3))
    image = np.ascontiguousarray(image, dtype=np.float32)
    for _ in range(rng.integers(60, 120)):
        x, y = (int(c) for c in rng.integers(0, SIZE, 2))
        color = [float(c) for c in palette[rng.integers(1, 5)]]
        cv2.circle(image, (x, y), int(rng.integers(4, 15)), color, int(rng.choice([-1, 3])))
    return image


def glaze(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    """Pottery: nearly plain, mottled, with a few brushed bands."""
    mottle = 0.07 * noise(rng, 14.0) + 0.05 * noise(rng, 4.0)
    image = np.broadcast_to(palette[3] if rng.uniform() < 0.4 else palette[0], (SIZE, SIZE, 3))
    image = image + mottle[..., None]
    rows = np.arange(SIZE)[:, None] + 5.0 * noise(rng, 20.0)
    for _ in range(rng.integers(2, 6)):
        centre, width = rng.uniform(0, SIZE), rng.uniform(4, 18)
        image = np.where((np.abs(rows - centre) < width)[..., None], palette[rng.integers(1, 5)], image)
    return image.astype(np.float32)


def checker(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    """A mosaic of squares in the palette's colours."""
    cell = int(rng.choice([16, 32, 64]))
    tones = rng.permutation(5)[:3]
    cells = tones[rng.integers(0, 3, (SIZE // cell, SIZE // cell))]
    return palette[np.kron(cells, np.ones((cell, cell), dtype=int))]


def wood(rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
    """Grain along u."""
    grain = 0.07 * noise(rng, (6.0, 60.0)) + 0.05 * noise(rng, (2.0, 25.0)) + 0.06 * noise(rng, 12.0)
    grain += 0.08 * noise(rng, 4.0)  # knots and pores: something to match between views
    return base * (1 + grain[..., None])


def cloth(rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
    """Crossing bands over mottled ground."""
    image = np.broadcast_to(base, (SIZE, SIZE, 3)).copy()
    for axis in (0, 1):
        for _ in range(rng.integers(5, 10)):
            start, width = int(rng.integers(SIZE)), int(rng.integers(6, 40))
            rows = np.arange(start, start + width) % SIZE
            tint = np.float32(rng.uniform(0.8, 1.15))
            if axis:
                image[:, rows] *= tint
            else:
                image[rows] *= tint
    return image * (1 + 0.1 * noise(rng, 4.0) + 0.06 * noise(rng, 15.0))[..., None]


def terrazzo(rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
    """Chips of other brightness in a plain ground."""
    field, tone = noise(rng, 4.5), noise(rng, 10.0)
    chips = np.where(field > 0.9, 0.3 * np.sign(tone), 0.0) + 0.05 * noise(rng, 20.0)
    return base * (1 + chips[..., None]).astype(np.float32)


STYLES = (blocks, stripes, marble, gradient, glaze, checker)

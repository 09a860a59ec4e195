"""Smooth random fields and the small image operations that all depth sensors share."""

from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera

GRID = (12, 16)  # nodes of a field that bends slowly over the whole image
CONTROL = (4, 5)  # independent random numbers behind it: bends about a quarter of the image long


def blobs(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """[H, W] float32 noise of variance 1, smooth over `sigma` pixels."""
    import cv2

    # Wide blobs are made small and enlarged: the same look at a fraction of the time.
    factor = max(1, int(sigma / 2))
    small = (-(-shape[0] // factor), -(-shape[1] // factor))
    noise = rng.standard_normal(small, dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigma / factor)
    if factor > 1:
        noise = cv2.resize(noise, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return noise / max(float(noise.std()), 1e-6)


@dataclass(frozen=True)
class SlowField:
    """A smooth field over the image: a constant part and one that swings to and fro."""

    constant: np.ndarray  # [h, w] float32 over the whole image, in the unit of the user
    cosine: np.ndarray  # [h, w] float32
    sine: np.ndarray  # [h, w] float32
    period: float  # frames

    def at(self, moment: float, shape: tuple[int, int]) -> np.ndarray:
        """The field [H, W] float32 at frame `moment`."""
        import cv2

        angle = 2 * np.pi * moment / self.period
        field = (
            self.constant + np.float32(np.cos(angle)) * self.cosine + np.float32(np.sin(angle)) * self.sine
        )
        return cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def draw_field(rng: np.random.Generator, peak: float, drift: float, period: float) -> SlowField:
    """A field whose constant part reaches ± `peak` and whose slow part about ± `drift`."""
    import cv2

    def part(size: float) -> np.ndarray:
        control = rng.standard_normal(CONTROL, dtype=np.float32)
        field = cv2.resize(control, (GRID[1], GRID[0]), interpolation=cv2.INTER_CUBIC)
        return size * field / np.abs(field).max()

    return SlowField(part(peak), part(drift), part(drift), period)


def inverse_of(depth: np.ndarray) -> np.ndarray:
    """[H, W] float32 1 / depth, 0 where nothing is."""
    return np.where(depth > 0, 1 / np.maximum(depth, 1e-6), 0).astype(np.float32)


def facing(inverse: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Cosine [H, W] float32 between a surface and the ray that meets it, from inverse depth [H, W].

    Inverse depth is linear in the pixel on a plane, so its slopes give the normal; of the two one-sided
    slopes the smaller counts, which keeps steps between surfaces out.
    """

    def slope(image: np.ndarray, axis: int) -> np.ndarray:
        difference = np.diff(image, axis=axis)
        first, last = np.take(difference, [0], axis), np.take(difference, [-1], axis)
        after = np.concatenate([difference, last], axis)
        before = np.concatenate([first, difference], axis)
        return np.where(np.abs(after) < np.abs(before), after, before)

    if min(inverse.shape) < 2:
        return np.ones_like(inverse)
    a, b = slope(inverse, 1) * np.float32(camera.fx), slope(inverse, 0) * np.float32(camera.fy)
    x, y = camera.rays[0, :, 0], camera.rays[:, 0, 1][:, None]
    c = inverse - x * a - y * b
    length = np.sqrt((a * a + b * b + c * c) * (x * x + y * y + 1))
    return np.where(inverse > 0, inverse / np.maximum(length, 1e-12), 1)


def shadowed(disparity: np.ndarray) -> np.ndarray:
    """[H, W] bool: what the second eye, right of the first, cannot see.

    disparity [H, W] in image pixels, 0 = nothing.  Column x appears at x − disparity in the second eye;
    it is hidden where something further right appears at the same place or left of it.
    """
    columns = np.arange(disparity.shape[1], dtype=np.float32) - disparity
    leftmost = np.minimum.accumulate(columns[:, ::-1], axis=1)[:, ::-1]
    hidden = np.zeros(disparity.shape, dtype=bool)
    # Half a pixel of tolerance: rounding on slanted surfaces is no shadow.
    hidden[:, :-1] = leftmost[:, 1:] <= columns[:, :-1] - 0.5
    return hidden & (disparity > 0)


def grey(rgb: np.ndarray) -> np.ndarray:
    """[H, W] float32 brightness in [0, 1] of an image [H, W, 3] uint8."""
    import cv2

    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def contrast(brightness: np.ndarray, window: int) -> np.ndarray:
    """[H, W] float32 standard deviation of the brightness within `window` pixels."""
    import cv2

    mean = cv2.blur(brightness, (window, window))
    return np.sqrt(np.maximum(cv2.blur(brightness * brightness, (window, window)) - mean * mean, 0))


def fatten(inverse: np.ndarray, radius: np.ndarray, largest: int, step: float) -> np.ndarray:
    """Inverse depth [H, W] whose foreground reaches `radius` [H, W] pixels beyond its edges.

    Only where it steps by more than the share `step`: slanted surfaces keep their depth.
    """
    import cv2

    # Squares and crosses in turn grow an octagon, much faster than a disc of each radius.
    shapes = [cv2.getStructuringElement(kind, (3, 3)) for kind in (cv2.MORPH_CROSS, cv2.MORPH_RECT)]
    result = grown = inverse
    threshold = inverse * (1 + step) + 1e-6
    for r in range(1, largest + 1):
        grown = cv2.dilate(grown, shapes[r % 2])
        reached = (radius > r - 0.5) & (grown > threshold) & (result == inverse)
        result = np.where(reached, grown, result)
    return result


def odd(size: float) -> int:
    """The odd number next to `size`, at least 3."""
    return max(3, 2 * round((size - 1) / 2) + 1)

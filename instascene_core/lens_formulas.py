"""Lens models beyond OpenCV's: how they bend the image plane, as COLMAP defines them.

Each takes points of the plane z = 1 of an ideal camera to those of the lens, from which focal length and
principal point make pixels.  Checked against pycolmap in the tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Coefficients = Sequence[float]
TINY = 1e-12


@dataclass(frozen=True)
class LensFormula:
    """One model.

    size: how many coefficients it takes.  radial: radii [...] of the plane z = 1, and coefficients → radii of
    the lens, NaN where it has none.  bend: points [..., 2] as `radial` alone puts them, the same points of
    the plane, and coefficients → where tangential terms and thin prisms move them.
    """

    size: int
    radial: Callable[[np.ndarray, Coefficients], np.ndarray]
    bend: Callable[[np.ndarray, np.ndarray, Coefficients], np.ndarray] | None = None

    def distorted(self, xy: np.ndarray, k: Coefficients) -> np.ndarray:
        """[..., 2] on the plane of the lens of points xy [..., 2] of the plane z = 1."""
        xy = xy.astype(np.float64)
        radius = np.linalg.norm(xy, axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.where(radius > TINY, self.radial(radius, k) / np.maximum(radius, TINY), 1.0)
        seen = xy * scale[..., None]
        return seen if self.bend is None else self.bend(seen, xy, k)


def _polynomial(values: np.ndarray, k: Coefficients) -> np.ndarray:
    """1 + k₀ v² + k₁ v⁴ + …"""
    total = np.ones_like(values)
    for index, coefficient in enumerate(k):
        total += coefficient * values ** (2 * index + 2)
    return total


def _field_of_view(r: np.ndarray, k: Coefficients) -> np.ndarray:
    """Devernay and Faugeras; k: ω."""
    omega = k[0]
    return r if abs(omega) < 1e-6 else np.arctan(2 * r * np.tan(omega / 2)) / omega


def _division(r: np.ndarray, k: Coefficients) -> np.ndarray:
    """Fitzgibbon: r = s / (1 + k s²) for the radius s of the lens; the smaller root."""
    return 2 * r / (1 + np.sqrt(1 - 4 * k[0] * r**2))


def _enhanced_unified(r: np.ndarray, k: Coefficients) -> np.ndarray:
    """Khomutenko and others; k: α β."""
    alpha, beta = k
    return r / (alpha * np.sqrt(beta * r**2 + 1) + 1 - alpha)


def _thin_prism_radial(r: np.ndarray, k: Coefficients) -> np.ndarray:
    angle = np.arctan(r)
    return angle * _polynomial(angle, (k[0], k[1], k[4], k[5]))


def _thin_prism(seen: np.ndarray, xy: np.ndarray, k: Coefficients) -> np.ndarray:
    """k: k1 k2 p1 p2 k3 k4 sx1 sy1; added terms are of the equidistant image, before its radial terms."""
    radius = np.linalg.norm(xy, axis=-1)
    x, y = (xy * np.where(radius > TINY, np.arctan(radius) / np.maximum(radius, TINY), 1.0)[..., None]).T
    square = x**2 + y**2
    p1, p2, sx1, sy1 = k[2], k[3], k[6], k[7]
    added = (
        2 * p1 * x * y + p2 * (square + 2 * x**2) + sx1 * square,
        2 * p2 * x * y + p1 * (square + 2 * y**2) + sy1 * square,
    )
    return seen + np.stack(added).T


def _aria_radial(r: np.ndarray, k: Coefficients) -> np.ndarray:
    angle = np.arctan(r)
    return angle * _polynomial(angle, k[:6])


def _aria(seen: np.ndarray, xy: np.ndarray, k: Coefficients) -> np.ndarray:
    """k: k0 … k5 p0 p1 s0 … s3, as Project Aria has it; added terms are of what the radial ones make."""
    x, y = seen.T
    square = x**2 + y**2
    p0, p1, s0, s1, s2, s3 = k[6:]
    both = 2 * (x * p0 + y * p1)
    added = (
        both * x + square * p0 + s0 * square + s1 * square**2,
        both * y + square * p1 + s2 * square + s3 * square**2,
    )
    return seen + np.stack(added).T


# By the names that LensModel takes.
FORMULAS = {
    "fov": LensFormula(1, _field_of_view),
    "division": LensFormula(1, _division),
    "eucm": LensFormula(2, _enhanced_unified),
    "thin_prism_fisheye": LensFormula(8, _thin_prism_radial, _thin_prism),
    "rad_tan_thin_prism_fisheye": LensFormula(12, _aria_radial, _aria),
}

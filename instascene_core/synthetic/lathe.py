"""Bodies of revolution from outlines: what a lathe or a potter's wheel makes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from instascene_core.synthetic.anatomy import RIM, THINNEST_RIM, anatomy_of
from instascene_core.synthetic.solids import Solid, convex_slices, revolve, ring, shell_parts, solid


def smooth_profile(control: ArrayLike, samples: int) -> np.ndarray:
    """[samples, 2] points on the monotone cubic through control points [K, 2] (radius, height)."""
    from scipy.interpolate import PchipInterpolator

    points = np.asarray(control, dtype=np.float64)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return PchipInterpolator(length, points)(np.linspace(0.0, length[-1], samples))


def round_edge(radius: float, height: float, fillet: float, top: bool, steps: int = 5) -> np.ndarray:
    """[steps, 2] quarter circle that rounds the bottom (or top) edge of a cylinder, bottom first."""
    angle = np.linspace(0, np.pi / 2, steps)
    if top:
        return np.stack(
            [radius - fillet * (1 - np.cos(angle)), height - fillet * (1 - np.sin(angle))], axis=1
        )
    return np.stack([radius - fillet * (1 - np.sin(angle)), height + fillet * (1 - np.cos(angle))], axis=1)


def on_axis(outline: np.ndarray) -> np.ndarray:
    """The outline closed to the axis at both ends."""
    return np.vstack([[0.0, outline[0, 1]], outline, [0.0, outline[-1, 1]]])


def full_body(
    kind: str, outline: np.ndarray, density: float, above: Sequence[tuple[str, float]] = ()
) -> Solid:
    """A solid of revolution with the outline [K, 2], bottom to top, off the axis.

    above: (name of a part, height from which it is that), ascending; below it is "body".
    """
    outline = on_axis(outline)
    body = revolve(outline)
    anatomy = anatomy_of(body, [("body", body)], above)
    return solid(kind, body, convex_slices(outline), "cylinder", density, anatomy)


def rim_above(outer: np.ndarray) -> list[tuple[str, float]]:
    """Where the rim of a vessel with that outer outline [K, 2] begins, as `anatomy_of` takes it."""
    top = float(outer[-1, 1])
    return [("rim", top - max(RIM * top, THINNEST_RIM))]


def hollow_body(outer: np.ndarray, wall: float, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """(outer, inner) outlines [K, 2] of an open vessel, point k of one facing point k of the other.

    outer runs from the edge of the bottom to the rim; the cavity is its offset by `wall` metres
    along the normal, and ends flat at height `floor`.
    """
    tangent = np.gradient(outer, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    inner = outer + wall * np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    inner[:, 0] = np.maximum(inner[:, 0], 0.2 * outer[:, 0])
    inner[:, 1] = np.maximum(inner[:, 1], floor)
    inner[-1, 1] = outer[-1, 1]
    inner[:, 1] = np.maximum.accumulate(inner[:, 1])
    inner[:, 0] = np.minimum(inner[:, 0], outer[:, 0] - 0.3 * wall)
    outer = np.vstack([[0.0, outer[0, 1]], outer])
    inner = np.vstack([[0.0, floor], inner])
    return outer, inner


def vessel(outer: np.ndarray, inner: np.ndarray):
    """(body, parts, cavity body) of an open vessel from facing outlines."""
    profile = np.vstack([outer, inner[::-1]])
    lid = np.vstack([inner, [inner[-1, 0], outer[-1, 1] + 1.0], [0.0, outer[-1, 1] + 1.0]])
    return revolve(profile), shell_parts(outer, inner), revolve(lid)


def sphere_like(outline: np.ndarray) -> np.ndarray:
    """[n, 3] points whose hull is the convex body of revolution with this outline."""
    return np.concatenate([ring(r, z, 24) for r, z in on_axis(outline)])
